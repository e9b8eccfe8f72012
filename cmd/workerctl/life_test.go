package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/ops/plan"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/terraform/terraform"
	"prefect-worker-ecs/internal/test/deployment"
	"prefect-worker-ecs/internal/test/testtools"
)

// TestLifeWithTerraformAlone takes over what was made by hand, deploys it with Terraform alone as
// workerctl wrote it, plans with workerctl, and destroys it. It does the same with OpenTofu where that
// is installed, which CI does without.
func TestLifeWithTerraformAlone(t *testing.T) {
	for _, binary := range []string{"terraform", "tofu"} {
		t.Run(binary, func(t *testing.T) {
			if _, err := exec.LookPath(binary); err != nil && binary == "tofu" {
				t.Skip("OpenTofu is not installed")
			}
			t.Setenv("TERRAFORM_BINARY_NAME", binary)
			testtools.Require(t, testtools.Node, testtools.Terraform)
			lifeWithTerraformAlone(t)
		})
	}
}

func lifeWithTerraformAlone(t *testing.T) {
	// GIVEN a checkout with values in a file, a bucket for the state, and the original design in AWS
	moto := testtools.Environment(t, pyenv.Moto)
	p := project.Project{Root: checkout(t)}
	t.Chdir(p.Root)
	emu, err := emulator.Start(t.Context(), emulator.Options{Python: moto, Dir: t.TempDir()})
	testtools.NoError(t, err)
	t.Cleanup(func() { _ = emu.Stop(context.Background()) })
	cfg := testtools.AWS(t, emu.Env(emulator.Region))
	testtools.NoError(t, os.WriteFile("terraform.tfvars", []byte("prefect_api_key = \"pnu_marker\"\nprefect_api_url = \"https://prefect.example.com/api\"\n"), 0o600))
	s3 := func(method, path string) string {
		request := must(http.NewRequestWithContext(t.Context(), method, *cfg.BaseEndpoint+path, nil))
		request.Header.Set("Authorization", "of anybody")
		response := must(http.DefaultClient.Do(request))
		defer response.Body.Close()
		return string(must(io.ReadAll(response.Body)))
	}
	s3(http.MethodPut, "/example-states")
	environment := func(yaml string) {
		t.Helper()
		yaml += "backend: {type: s3, bucket: example-states, key: state, assume_role_arn: 'arn:aws:iam::123456789012:role/states'}\n"
		testtools.NoError(t, os.WriteFile(filepath.Join("config", "environments", "dev.yaml"), []byte(yaml), 0o644))
	}
	environment("")
	vpc, service := byHand(t, cfg)

	plan := func(args ...string) (plan.Report, int) {
		t.Helper()
		out, _, err := workerctl(t, append([]string{"plan", "--json"}, args...)...)
		var status exitCode
		if err != nil && !errors.As(err, &status) {
			t.Fatal(err)
		}
		if strings.Contains(out, "pnu_") {
			t.Error("a key is in the plan")
		}
		var r plan.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		return r, int(status)
	}
	notDeployed := func() {
		t.Helper()
		out, _, err := workerctl(t, "output")
		if want := "nothing is deployed: the state of dev has no outputs; deploy with make deploy ENV=dev"; err == nil || err.Error() != want {
			t.Errorf("%q, %v, want %s", out, err, want)
		}
	}
	run := func(args ...string) {
		t.Helper()
		must(must(terraform.Open(p, "dev")).Output(t.Context(), append(args, "-input=false", "-no-color")...))
	}
	// The state is in the bucket, and holds no key.
	state := func(want string) {
		t.Helper()
		var text bytes.Buffer // Terraform indents it, OpenTofu does not
		testtools.NoError(t, json.Compact(&text, []byte(s3(http.MethodGet, "/example-states/state"))))
		if text := text.String(); strings.Contains(text, "pnu_") || !strings.Contains(text, want) {
			t.Errorf("%q is not in the state, or a key is:\n%s", want, text)
		}
		if local, _ := filepath.Glob("*.tfstate"); len(local) != 0 {
			t.Errorf("there is a state on this machine: %v", local)
		}
	}

	// Who adopts has no right but those that policy --adopt prints. The state is reached with a role of
	// its own, which is not judged.
	proxy, err := enforce.Start(enforce.Options{AWS: cfg, Deployer: deployment.Permissions(cfg), Journal: func(call enforce.Call) {
		if !call.Allowed {
			t.Error(call)
		}
	}})
	testtools.NoError(t, err)
	t.Cleanup(proxy.Close)
	policy, _, err := workerctl(t, "policy", "--adopt", "--account", "123456789012")
	testtools.NoError(t, err)
	adopter := proxy.As("arn:aws:iam::123456789012:user/adopter", must(iam.Parse(policy)))
	everything := os.Getenv("AWS_ACCESS_KEY_ID")
	ofTheState := regexp.MustCompile(`/(s3|sts)/aws4_request`)
	guarded := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		to := proxy.Endpoint()
		if ofTheState.MatchString(r.In.Header.Get("Authorization")) {
			to = *cfg.BaseEndpoint
		}
		r.SetURL(must(url.Parse(to)))
	}})
	t.Cleanup(guarded.Close)
	adopt := func() string {
		t.Helper()
		t.Setenv("AWS_ENDPOINT_URL", guarded.URL)
		t.Setenv("AWS_ACCESS_KEY_ID", adopter)
		out, _, err := workerctl(t, "adopt")
		t.Setenv("AWS_ENDPOINT_URL", *cfg.BaseEndpoint)
		t.Setenv("AWS_ACCESS_KEY_ID", everything)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return out
	}

	// WHEN a lock of the environment is there, as make lock writes it, and nothing but a synth has run
	notDeployed()
	stack := filepath.Dir(project.StackFile(p.Out(), "dev"))
	run("init")
	testtools.NoError(t, errors.Join(os.Rename(filepath.Join(stack, ".terraform.lock.hcl"), p.LockFile("dev")), os.RemoveAll(p.Out())))
	if _, _, err := workerctl(t, "synth"); err != nil {
		t.Fatal(err)
	}
	// THEN Terraform alone finds the lock
	run("init", "-lockfile=readonly")
	// (It has compared the provider, and need not do so again and again.)
	testtools.NoError(t, errors.Join(os.Remove(p.LockFile("dev")), terraform.TrustProvider(stack)))

	// WHEN what is there is adopted
	out := adopt()
	t.Log(out)
	// THEN all is found, nothing would be destroyed, and what differs is named with its option
	for _, want := range []string{
		"aws_vpc.main                                      " + vpc,
		"aws_ecs_service.worker                            prefect-cluster/dev-worker",
		"Not found, created by deploy:", "  aws_flow_log.main\n", "Created by deploy in any case:",
		"\n  worker.desired_count: aws_ecs_service.worker desired_count\n",
		"\n  logs.retention_days: aws_cloudwatch_log_group.worker retention_in_days\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	for _, not := range []string{"warning:", " to replace", " to destroy", "pnu_"} {
		if strings.Contains(out, not) {
			t.Errorf("%q is in\n%s", not, out)
		}
	}
	env, err := config.LoadOne(config.Dir, "dev")
	testtools.NoError(t, err)
	for kind, want := range map[string]int{"aws_vpc": 1, "aws_subnet": 6, "aws_internet_gateway": 1, "aws_nat_gateway": 1, "aws_eip": 1, "aws_route_table": 2, "aws_route": 2,
		"aws_route_table_association": 6, "aws_security_group": 1, "aws_vpc_security_group_egress_rule": 1, "aws_service_discovery_private_dns_namespace": 1,
		"aws_ecs_cluster": 1, "aws_ecs_service": 1, "aws_iam_role": 1, "aws_iam_role_policy_attachment": 1, "aws_secretsmanager_secret": 1, "aws_cloudwatch_log_group": 1} {
		got := 0
		for address := range env.Imports {
			if strings.HasPrefix(address, kind+".") {
				got++
			}
		}
		if got != want {
			t.Errorf("%d of type %s are imported, want %d: %v", got, kind, want, env.Imports)
		}
	}

	// WHEN it is deployed THEN Terraform finds the values, the same service runs in the same VPC,
	// and nothing is left to do
	if out, _, err := workerctl(t, "deploy", "--auto-approve"); err != nil || !strings.Contains(out, "Apply complete!") || strings.Contains(out, "pnu_") {
		t.Fatalf("%v\n%s", err, out)
	}
	services := must(ecs.NewFromConfig(cfg).DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: aws.String("prefect-cluster"), Services: []string{"dev-worker"}})).Services
	if len(services) != 1 || *services[0].ServiceArn != service || *services[0].Status != "ACTIVE" || !strings.HasSuffix(*services[0].TaskDefinition, "dev-worker:2") {
		t.Errorf("the services are %+v", services)
	}
	state(`"ecs_service_name":{`)
	if r, status := plan("dev"); status != 0 || len(r.Changes) != 0 {
		t.Errorf("status %d: %+v", status, r)
	}
	// AND verify says so, also to somebody who has no key, and not without a plan
	configured := func(args ...string) verify.Check {
		t.Helper()
		out, _, _ := workerctl(t, append([]string{"verify", "dev", "--json"}, args...)...) // no worker runs
		var r verify.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil || strings.Contains(out, "pnu_") {
			t.Fatalf("%v in %s", err, out)
		}
		i := slices.IndexFunc(r.Checks, func(c verify.Check) bool { return c.Name == "as configured" })
		if i < 0 {
			return verify.Check{}
		}
		return r.Checks[i]
	}
	if c := configured("--no-plan"); c.Name != "" {
		t.Errorf("without a plan: %+v", c)
	}
	values := must(os.ReadFile("terraform.tfvars"))
	testtools.NoError(t, os.WriteFile("terraform.tfvars", values[bytes.IndexByte(values, '\n')+1:], 0o600))
	if c := configured(); c.Status != verify.OK {
		t.Errorf("%+v", c)
	}
	testtools.NoError(t, os.WriteFile("terraform.tfvars", values, 0o600))
	// AND its outputs and its log can be looked at
	for args, want := range map[string]string{"output": "vpc_id               " + vpc + "\n", "output dev --json": `"ecs_service_name": "dev-worker",` + "\n"} {
		if out, _, err := workerctl(t, strings.Fields(args)...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	logs, group := cloudwatchlogs.NewFromConfig(cfg), aws.String("/ecs/prefect-worker")
	for _, task := range []string{"0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"} {
		stream := aws.String("prefect-worker/prefect-worker/" + task)
		must(logs.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}))
		must(logs.PutLogEvents(t.Context(), &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: []types.InputLogEvent{
			{Timestamp: aws.Int64(time.Now().UnixMilli()), Message: aws.String("20:11:12.123 | INFO    | line of " + task[:4] + "\n")}}}))
	}
	for args, want := range map[string][2]string{"logs": {" 01234567 INFO    | line of 0123\n", " fedcba98 INFO    | line of fedc\n"},
		"logs dev --since 5m --task fed": {" fedcba98 INFO    | line of fedc\n", ""}, "logs dev --run fedc": {" fedcba98 INFO    | line of fedc\n", ""}} {
		out, _, err := workerctl(t, strings.Fields(args)...)
		if err != nil || !strings.Contains(out, want[0]) || !strings.Contains(out, want[1]) || strings.Count(out, "\n") != len(want)-strings.Count(args, "fed") {
			t.Errorf("%s: %q, %v", args, out, err)
		}
	}
	// AND adopting again finds nothing new, and keeps what was written
	before := must(os.ReadFile(config.ImportsFile(config.Dir, "dev")))
	out = adopt()
	if after := must(os.ReadFile(config.ImportsFile(config.Dir, "dev"))); string(after) != string(before) || strings.Contains(out, "Found:") {
		t.Errorf("%s\n%s\n%s", out, before, after)
	}

	// WHEN the log group gets another name THEN a warning says what is lost
	environment("logs: {group: /ecs/other}\n")
	if r, status := plan(); status != 2 || len(r.Warnings) != 1 || r.Warnings[0] != "aws_cloudwatch_log_group.worker is destroyed and created again: its log lines go with it" {
		t.Errorf("status %d: %+v", status, r)
	}

	// WHEN it is destroyed THEN nothing is left of it, and adopt removes its file
	if out, _, err := workerctl(t, "destroy", "--auto-approve"); err != nil || !strings.Contains(out, "Apply complete!") || !strings.Contains(out, "warning: aws_cloudwatch_log_group.worker is destroyed: its log lines go with it") ||
		!strings.Contains(out, "warning: the tasks of the worker are stopped, and whether flow runs end with them could not be read: Prefect API: ") {
		t.Fatalf("%v\n%s", err, out)
	}
	state(`"resources":[]`)
	notDeployed()
	if vpcs := must(ec2.NewFromConfig(cfg).DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})).Vpcs; len(vpcs) != 2 {
		t.Errorf("%d VPCs are left, want the default one and somebody else's", len(vpcs))
	}
	if out := adopt(); !strings.Contains(out, "Nothing is to be taken over.") {
		t.Error(out)
	}
	if _, err := os.Stat(config.ImportsFile(config.Dir, "dev")); !os.IsNotExist(err) {
		t.Errorf("the file of imports: %v", err)
	}
}
