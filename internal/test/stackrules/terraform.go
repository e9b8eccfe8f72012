package stackrules

import (
	"fmt"
	"regexp"
	"strings"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/redact"
)

var (
	// interpolation is a reference of Terraform.
	interpolation = regexp.MustCompile(`\$\{([^{}]*)\}`)
	// shown is what an output may refer to: a name, an id or an address.
	shown = regexp.MustCompile(`^((data\.)?aws_\w+\.\w+\.(arn|id|name|address|partition|account_id)|local\.(prefect_api_url|console_domain)|var\.aws_region)$`)
	// host is where a URL leads.
	host = regexp.MustCompile(`https?://[^/\s"]*`)
)

var terraformRules = []rule{
	{"provider-as-configured", "another provider, account or endpoint deploys elsewhere or with other keys", func(s *stack) {
		aws := map[string]any{"region": "${var.aws_region}", "default_tags": []any{map[string]any{"tags": s.env.Tags}}}
		if s.env.AccountID != "" {
			aws["allowed_account_ids"] = []string{s.env.AccountID}
		}
		if s.env.AssumeRoleARN != "" {
			aws["assume_role"] = []any{session(s.env.AssumeRoleARN)}
		}
		stack := element{"stack", s.env.Name, s.root}
		s.want(stack, "provider", map[string]any{"aws": []any{aws}})
		s.want(stack, "terraform.required_providers", map[string]any{"aws": map[string]string{"source": "hashicorp/aws", "version": "~> 5.99"}})
		s.want(stack, "terraform.required_version", ">= 1.11") // the first with write-only arguments
	}},
	{"state-as-configured", "a state elsewhere, without a lock or in plaintext is lost, ruined or read by others", func(s *stack) {
		b := s.env.Backend
		want := map[string]any{"local": map[string]string{"path": "../../../terraform." + s.env.Name + ".tfstate"}}
		if b.Type == config.BackendS3 {
			s3 := map[string]any{"bucket": b.Bucket, "key": b.Key, "region": b.Region, "encrypt": true, "use_lockfile": true}
			if b.KMSKeyARN != "" {
				s3["kms_key_id"] = b.KMSKeyARN
			}
			if b.AssumeRoleARN != "" {
				s3["assume_role"] = session(b.AssumeRoleARN)
			}
			want = map[string]any{"s3": s3}
		}
		s.want(element{"stack", s.env.Name, s.root}, "terraform.backend", want)
	}},
	{"variables-as-known", "another variable brings anything into the stack, and a credential must never be shown, planned or a default", func(s *stack) {
		p := s.env.Prefect
		credential := p.Authentication.TerraformVariable()
		defaults := map[string]string{"aws_region": s.env.Region, "prefect_api_url": literal(p.APIURL), "prefect_account_id": literal(p.AccountID), "prefect_workspace_id": literal(p.WorkspaceID), credential: ""}
		s.each("variable", func(e element) {
			// Which is not shown. Without a default the CDKTF CLI hangs when the value is missing.
			if want, known := defaults[e.name]; !known || e.get("default") != any(want) {
				s.report(e.address(), "is unknown, or its default is not the configured one")
			}
			s.want(e, "nullable", false)
			if e.name == credential {
				s.want(e, "sensitive", true)
				s.want(e, "ephemeral", true)
			}
		})
	}},
	{"credential-goes-to-the-api", "where the credential is sent follows from prefect_api_url", func(s *stack) {
		s.only("locals", s.root["locals"], "console_domain prefect_api_port prefect_api_url")
		url := fmt.Sprint(Get(s.root, "locals.prefect_api_url"))
		hosts := host.FindAllString(url, -1)
		if !strings.HasPrefix(url, `${var.prefect_api_url != "" ? `) || len(hosts) != 1 || !strings.HasPrefix(config.CloudAPIURL, hosts[0]+"/") {
			s.report("locals.prefect_api_url", "is %s", url)
		}
	}},
	{"outputs-hold-no-secret", "outputs are shown on every terminal and are in the state", func(s *stack) {
		s.each("output", func(e element) {
			text := encode(e.get("value"))
			if redact.Text(text) != text {
				s.report(e.address(), "holds a credential") // which is not shown
			}
			for _, reference := range interpolation.FindAllStringSubmatch(text, -1) {
				if !shown.MatchString(reference[1]) {
					s.report(e.address(), "refers to %s, which is no name, id or address", reference[1])
				}
			}
			for _, url := range host.FindAllString(text, -1) {
				if url != "https://${var.aws_region}.console.${local.console_domain}" {
					s.report(e.address(), "leads to %s, want the AWS console", url)
				}
			}
		})
	}},
	{"imports-as-found", "what is imported is changed by the next deployment, and removed by destroy", func(s *stack) {
		blocks, _ := s.root["import"].([]any)
		for _, b := range blocks {
			if to, id := fmt.Sprint(Get(b, "to")), fmt.Sprint(Get(b, "id")); s.env.Imports[to] != id {
				s.report("import", "takes over %s as %s", id, to)
			}
		}
	}},
}

// session returns the block with which a role is assumed.
func session(role string) map[string]string {
	return map[string]string{"role_arn": role, "session_name": "prefect-worker-ecs"}
}
