package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/faststart"
	"prefect-worker-ecs/internal/golden"
	"prefect-worker-ecs/internal/stackrules"
	"prefect-worker-ecs/internal/testtools"
	"prefect-worker-ecs/internal/tf"
)

// All tests here share one jsii process, which is not safe for use by several at once:
// none of them may be parallel.
func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		return
	}
	faststart.Enable()
	code := m.Run()
	faststart.Close()
	os.Exit(code)
}

// programVariable turns the test binary into the program.
const programVariable = "PREFECT_WORKER_TEST_PROGRAM"

// synthesize writes the stacks of the environments as the program does and returns the
// files of Terraform JSON by environment.
func synthesize(t *testing.T, envs ...*config.Environment) map[string]string {
	t.Helper()
	testtools.Require(t, testtools.Node)
	out := t.TempDir()
	for _, env := range envs {
		if problems := env.Validate(); len(problems) > 0 {
			t.Fatal(problems)
		}
	}
	if err := synth(envs, &cdktf.AppConfig{Outdir: &out}); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, env := range envs {
		file, err := os.ReadFile(filepath.Join(out, "stacks", env.Name, "cdk.tf.json"))
		if err != nil {
			t.Fatal(err)
		}
		files[env.Name] = string(file)
		everyReferenceLeads(t, string(file))
		findings, err := stackrules.Check(file, env)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			t.Errorf("%s: %s", env.Name, f)
		}
	}
	return files
}

// everyReferenceLeads fails the test for a reference to an element that the stack has not:
// references are text (tf.Ref), which no compiler checks.
func everyReferenceLeads(t *testing.T, file string) {
	t.Helper()
	addresses := parse(t, file).addresses()
	references := regexp.MustCompile(`\$\{((?:data\.)?aws_\w+\.\w+)`).FindAllStringSubmatch(file, -1)
	for _, reference := range references {
		if !slices.Contains(addresses, reference[1]) {
			t.Errorf("nothing has the address %s", reference[1])
		}
	}
	if len(references) < 30 {
		t.Errorf("only %d references found", len(references))
	}
}

// goldenEnvironments are dev as shipped, and those in testdata, each a set of options.
func goldenEnvironments(t *testing.T) []*config.Environment {
	t.Helper()
	shipped, err := config.Load(config.Dir)
	if err != nil {
		t.Fatal(err)
	}
	more, err := config.Load("testdata/environments")
	if err != nil {
		t.Fatal(err)
	}
	return append(shipped, more...)
}

func TestGolden(t *testing.T) {
	// WHEN all environments are synthesized in one app
	files := synthesize(t, goldenEnvironments(t)...)
	for name, file := range files {
		// THEN the JSON that a reviewer sees, and the addresses that real resources hang on,
		// are the ones in the repository
		golden.Equal(t, filepath.Join("testdata/golden", name+".tf.json"), file)
		golden.Equal(t, filepath.Join("testdata/golden", name+".addresses"), strings.Join(parse(t, file).addresses(), "\n")+"\n")
	}
	if len(files) != 3 {
		t.Errorf("%d stacks, want dev, ecs and full", len(files))
	}
}

func TestReadmeNamesTheNumberOfResources(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, address := range build(t, nil).addresses() {
		if !strings.HasPrefix(address, "data.") {
			count++
		}
	}
	if want := fmt.Sprintf("\n%d resources in all", count); !strings.Contains(string(readme), want) {
		t.Errorf("README lacks %q", want)
	}
}

func TestTheSameBytesInEveryFolder(t *testing.T) {
	// GIVEN the default environment
	first := synthesize(t, config.Default("dev"))["dev"]
	// WHEN it is synthesized again, from another working directory
	t.Chdir(t.TempDir())
	second := synthesize(t, config.Default("dev"))["dev"]
	// THEN the bytes are the same, and no path of this machine is in them
	if first != second {
		t.Error("two runs gave different JSON")
	}
	home, _ := os.UserHomeDir()
	for _, path := range []string{os.TempDir() + "/", home + "/"} {
		if strings.Contains(first, path) {
			t.Errorf("the path %s of this machine is in the JSON", path)
		}
	}
}

// stack is a synthesized stack.
type stack map[string]any

func parse(t *testing.T, file string) stack {
	t.Helper()
	var s stack
	if err := json.Unmarshal([]byte(file), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// build synthesizes the default environment with changes.
func build(t *testing.T, change func(*config.Environment)) stack {
	t.Helper()
	env := config.Default("dev")
	if change != nil {
		change(env)
	}
	return parse(t, synthesize(t, env)["dev"])
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// addresses are those of all resources and data sources, sorted.
func (s stack) addresses() []string {
	var all []string
	for prefix, section := range map[string]any{"": s["resource"], "data.": s["data"]} {
		types, _ := section.(map[string]any)
		for kind, named := range types {
			for name := range named.(map[string]any) {
				all = append(all, prefix+kind+"."+name)
			}
		}
	}
	slices.Sort(all)
	return all
}

// get is the value at a path such as resource.aws_vpc.main.cidr_block, as JSON. A number
// in the path is an index. Absent values are "".
func (s stack) get(path string) string {
	var at any = map[string]any(s)
	for part := range strings.SplitSeq(path, ".") {
		switch node := at.(type) {
		case map[string]any:
			at = node[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(node) {
				return ""
			}
			at = node[i]
		default:
			return ""
		}
	}
	if at == nil {
		return ""
	}
	return *tf.JSON(at)
}

// text is get for a string.
func (s stack) text(path string) string {
	var text string
	_ = json.Unmarshal([]byte(s.get(path)), &text)
	return text
}

// container is the worker's container definition, as it arrives in AWS: with Terraform's
// escapes undone.
func (s stack) container(t *testing.T) stack {
	t.Helper()
	definitions := strings.NewReplacer("$${", "${", "%%{", "%{").Replace(s.text("resource.aws_ecs_task_definition.worker.container_definitions"))
	var all []stack
	if err := json.Unmarshal([]byte(definitions), &all); err != nil {
		t.Fatalf("container_definitions: %v", err)
	}
	if len(all) != 1 {
		t.Fatalf("%d containers, want 1", len(all))
	}
	return all[0]
}

// variables are the container's environment.
func (s stack) variables(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, v := range s.container(t)["environment"].([]any) {
		v := v.(map[string]any)
		all[v["name"].(string)] = v["value"].(string)
	}
	return all
}

func TestDefaultsAreTheOriginalDesign(t *testing.T) {
	s := build(t, nil)
	for path, want := range map[string]string{
		"resource.aws_vpc.main.cidr_block":                                           `"10.0.0.0/16"`,
		"resource.aws_vpc.main.enable_dns_support":                                   `true`,
		"resource.aws_vpc.main.enable_dns_hostnames":                                 `true`,
		"resource.aws_vpc.main.tags.Name":                                            `"prefect-ecs"`,
		"resource.aws_subnet.public_1.cidr_block":                                    `"10.0.1.0/24"`,
		"resource.aws_subnet.public_2.cidr_block":                                    `"10.0.2.0/24"`,
		"resource.aws_subnet.public_3.cidr_block":                                    `"10.0.3.0/24"`,
		"resource.aws_subnet.private_1.cidr_block":                                   `"10.0.4.0/24"`,
		"resource.aws_subnet.private_2.cidr_block":                                   `"10.0.5.0/24"`,
		"resource.aws_subnet.private_3.cidr_block":                                   `"10.0.6.0/24"`,
		"resource.aws_subnet.private_3.tags.Name":                                    `"prefect-ecs"`,
		"resource.aws_subnet.private_3.availability_zone":                            `"${data.aws_availability_zones.available.names[2]}"`,
		"resource.aws_eip.nat_1.domain":                                              `"vpc"`,
		"resource.aws_nat_gateway.nat_1.subnet_id":                                   `"${aws_subnet.public_1.id}"`,
		"resource.aws_nat_gateway.nat_1.tags.Name":                                   `"prefect-ecs"`,
		"resource.aws_route.private_1.nat_gateway_id":                                `"${aws_nat_gateway.nat_1.id}"`,
		"resource.aws_route.public.gateway_id":                                       `"${aws_internet_gateway.main.id}"`,
		"resource.aws_ecs_cluster.main.name":                                         `"prefect-cluster"`,
		"resource.aws_service_discovery_private_dns_namespace.main.name":             `"default.prefect.local"`,
		"resource.aws_ecs_service.worker.name":                                       `"dev-worker"`,
		"resource.aws_ecs_service.worker.launch_type":                                `"FARGATE"`,
		"resource.aws_ecs_service.worker.network_configuration.assign_public_ip":     `false`,
		"resource.aws_ecs_service.worker.network_configuration.subnets":              `["${aws_subnet.private_1.id}","${aws_subnet.private_2.id}","${aws_subnet.private_3.id}"]`,
		"resource.aws_ecs_service.worker.deployment_circuit_breaker":                 `{"enable":true,"rollback":true}`,
		"resource.aws_ecs_service.worker.wait_for_steady_state":                      `true`,
		"resource.aws_ecs_task_definition.worker.cpu":                                `"256"`,
		"resource.aws_ecs_task_definition.worker.memory":                             `"512"`,
		"resource.aws_iam_role.execution.name":                                       `"prefect-task-execution-role"`,
		"resource.aws_iam_role_policy_attachment.execution.policy_arn":               `"arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"`,
		"resource.aws_secretsmanager_secret.prefect_api_key.name":                    `"prefect-api-key-new-2"`,
		"resource.aws_secretsmanager_secret.prefect_api_key.recovery_window_in_days": `0`,
		"resource.aws_cloudwatch_log_group.worker.name":                              `"/ecs/prefect-worker"`,
		"resource.aws_security_group.prefect_worker_sg.name":                         `"prefect_worker_sg"`,
		"output.ecs_cluster_arn.value":                                               `"${aws_ecs_cluster.main.arn}"`,
		"provider.aws.0.default_tags.0.tags":                                         `{"Environment":"dev","ManagedBy":"cdktf","Project":"prefect-worker"}`,
		"provider.aws.0.region":                                                      `"${var.aws_region}"`,
		"terraform.required_version":                                                 `">= 1.11"`,
		"terraform.required_providers.aws":                                           `{"source":"hashicorp/aws","version":"~> 5.99"}`,
		"terraform.backend.local.path":                                               `"../../../terraform.dev.tfstate"`,
	} {
		if got := s.get(path); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}

	c := s.container(t)
	for path, want := range map[string]string{
		"image": `"prefecthq/prefect:2-latest"`,
		"command": `["/bin/sh","-c","task=${ECS_CONTAINER_METADATA_URI_V4##*/}; exec \"$@\" --name \"dev-worker-${task%%-*}\"","worker",` +
			`"prefect","worker","start","--pool","ecs-work-pool","--type","process","--limit","1","--with-healthcheck"]`,
		"entryPoint":                    `["/usr/bin/tini","--","/opt/prefect/entrypoint.sh"]`,
		"stopTimeout":                   `120`,
		"secrets":                       `[{"name":"PREFECT_API_KEY","valueFrom":"${aws_secretsmanager_secret.prefect_api_key.arn}"}]`,
		"logConfiguration.logDriver":    `"awslogs"`,
		"healthCheck.command.0":         `"CMD"`,
		"healthCheck.command.1":         `"python"`,
		"healthCheck.startPeriod":       `120`,
		"dockerLabels":                  `{"prefect-api-key-version":"1"}`,
		"logConfiguration.options.mode": `"non-blocking"`,
	} {
		if got := c.get(path); got != want {
			t.Errorf("container %s = %s, want %s", path, got, want)
		}
	}
	want := map[string]string{
		"PREFECT_API_URL":             "${local.prefect_api_url}",
		"PREFECT_WORK_POOL_NAME":      "ecs-work-pool",
		"PREFECT_CLI_WRAP_LINES":      "false",
		"PREFECT_LOGGING_COLORS":      "false",
		"PREFECT_API_REQUEST_TIMEOUT": "10",
		"DO_NOT_TRACK":                "1",
	}
	if got := s.variables(t); !maps.Equal(got, want) {
		t.Errorf("environment = %v, want %v", got, want)
	}
}

// TestEachOption changes one option at a time and looks where it must arrive, and that it
// is not there by default.
func TestEachOption(t *testing.T) {
	const (
		service = "resource.aws_ecs_service.worker."
		task    = "resource.aws_ecs_task_definition.worker."
		policy  = "arn:aws:iam::123456789012:policy/p"
		kmsKey  = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
		secret  = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prefect-AbCdEf"
	)
	defaults := build(t, nil)
	for _, test := range []struct {
		name   string
		change func(*config.Environment)
		// stack and container map a path to its JSON; "" is absent.
		stack, container map[string]string
	}{
		{name: "region", change: func(e *config.Environment) { e.Region = "eu-west-1" },
			stack: map[string]string{"variable.aws_region.default": `"eu-west-1"`}},
		{name: "account", change: func(e *config.Environment) { e.AccountID = "123456789012" },
			stack: map[string]string{"provider.aws.0.allowed_account_ids": `["123456789012"]`}},
		{name: "tags", change: func(e *config.Environment) { e.Tags["Team"] = "data" },
			stack: map[string]string{"provider.aws.0.default_tags.0.tags.Team": `"data"`}},
		{name: "network name", change: func(e *config.Environment) { e.Network.Name = "n" },
			stack: map[string]string{"resource.aws_vpc.main.tags.Name": `"n"`, "resource.aws_cloudwatch_log_group.flow_logs.name": `"/vpc/n"`, "resource.aws_iam_role.flow_logs.name": `"n-flow-logs"`}},
		{name: "VPC range", change: func(e *config.Environment) { e.Network.VPCCIDR = "10.0.0.0/20" },
			stack: map[string]string{"resource.aws_vpc.main.cidr_block": `"10.0.0.0/20"`}},
		{name: "subnets", change: func(e *config.Environment) {
			e.Network.PublicSubnetCIDRs, e.Network.PrivateSubnetCIDRs = []string{"10.0.7.0/24"}, []string{"10.0.8.0/24"}
		}, stack: map[string]string{"resource.aws_subnet.public_1.cidr_block": `"10.0.7.0/24"`, "resource.aws_subnet.private_1.cidr_block": `"10.0.8.0/24"`, "resource.aws_subnet.private_2": "",
			"data.aws_availability_zones.available.lifecycle.postcondition.0.condition": `"${length(self.names) >= 1}"`}},
		{name: "availability zones", change: func(e *config.Environment) {
			e.Network.AvailabilityZones = []string{"us-east-1b", "us-east-1c", "us-east-1d"}
		}, stack: map[string]string{"resource.aws_subnet.public_1.availability_zone": `"us-east-1b"`, "data.aws_availability_zones": ""}},
		{name: "NAT per zone", change: func(e *config.Environment) { e.Network.NAT = config.NATPerAZ },
			stack: map[string]string{
				"resource.aws_nat_gateway.nat_3.subnet_id":                      `"${aws_subnet.public_3.id}"`,
				"resource.aws_route.private_3.nat_gateway_id":                   `"${aws_nat_gateway.nat_3.id}"`,
				"resource.aws_route_table_association.private_3.route_table_id": `"${aws_route_table.private_3.id}"`,
			}},
		{name: "public IP and no NAT", change: func(e *config.Environment) { e.Network.NAT = config.NATNone; e.Worker.PublicIP = true },
			stack: map[string]string{
				"resource.aws_nat_gateway": "", "resource.aws_eip": "", "resource.aws_route.private_1": "",
				service + "network_configuration.assign_public_ip": `true`,
				service + "network_configuration.subnets.0":        `"${aws_subnet.public_1.id}"`,
			}},
		{name: "flow logs of refused traffic", change: func(e *config.Environment) { e.Network.FlowLogs = config.FlowLogsReject },
			stack: map[string]string{"resource.aws_flow_log.main.traffic_type": `"REJECT"`}},
		{name: "no flow logs", change: func(e *config.Environment) { e.Network.FlowLogs = config.FlowLogsNone },
			stack: map[string]string{"resource.aws_flow_log": "", "resource.aws_iam_role.flow_logs": "", "resource.aws_cloudwatch_log_group.flow_logs": ""}},
		{name: "no S3 endpoint", change: func(e *config.Environment) { e.Network.S3Endpoint = false },
			stack: map[string]string{"resource.aws_vpc_endpoint": ""}},
		{name: "cluster", change: func(e *config.Environment) { e.Cluster = config.Cluster{Name: "c", Namespace: "n.example"} },
			stack: map[string]string{"resource.aws_ecs_cluster.main.name": `"c"`, "resource.aws_ecs_cluster.main.setting.0.value": `"disabled"`, "resource.aws_service_discovery_private_dns_namespace.main.name": `"n.example"`}},
		{name: "service name", change: func(e *config.Environment) { e.Worker.ServiceName = "w" },
			stack:     map[string]string{service + "name": `"w"`, task + "family": `"w"`},
			container: map[string]string{"command.2": `"task=${ECS_CONTAINER_METADATA_URI_V4##*/}; exec \"$@\" --name \"w-${task%%-*}\""`}},
		{name: "Prefect 3", change: func(e *config.Environment) { e.Worker.Image = "prefecthq/prefect:3-latest" },
			container: map[string]string{"image": `"prefecthq/prefect:3-latest"`, "entryPoint": "", "command.13": `"--no-create-pool-if-not-found"`}},
		{name: "Prefect 3 before 3.6.23", change: func(e *config.Environment) { e.Worker.Image = "prefecthq/prefect:3.6.22-python3.12" },
			container: map[string]string{"command.13": `"--with-healthcheck"`}},
		{name: "own image", change: func(e *config.Environment) { e.Worker.Image, e.Worker.PrefectVersion = "example.com/w:1", "2.20" },
			container: map[string]string{"image": `"example.com/w:1"`, "entryPoint": ""}},
		{name: "size", change: func(e *config.Environment) { e.Worker.CPU, e.Worker.MemoryMiB = 512, 2048 },
			stack: map[string]string{task + "cpu": `"512"`, task + "memory": `"2048"`}},
		{name: "architecture", change: func(e *config.Environment) { e.Worker.Architecture = config.ARM64 },
			stack: map[string]string{task + "runtime_platform.cpu_architecture": `"ARM64"`}},
		{name: "count", change: func(e *config.Environment) { e.Worker.DesiredCount = 0 },
			stack: map[string]string{service + "desired_count": `0`}},
		{name: "spot", change: func(e *config.Environment) { e.Worker.Spot = true },
			stack: map[string]string{service + "launch_type": "", service + "capacity_provider_strategy.0.capacity_provider": `"FARGATE_SPOT"`,
				"resource.aws_ecs_cluster_capacity_providers.main.capacity_providers": `["FARGATE","FARGATE_SPOT"]`}},
		{name: "concurrency", change: func(e *config.Environment) { e.Worker.ConcurrencyLimit = 2 },
			container: map[string]string{"command.12": `"2"`}},
		{name: "packages", change: func(e *config.Environment) { e.Worker.ExtraPipPackages = []string{"s3fs==2025.3.0", "boto3"} },
			container: map[string]string{"environment.1": `{"name":"EXTRA_PIP_PACKAGES","value":"s3fs==2025.3.0 boto3"}`, "healthCheck.startPeriod": `300`}},
		{name: "variables", change: func(e *config.Environment) {
			e.Worker.Environment = map[string]string{"A": `${x} %{y} "z" <&> \`, "PREFECT_CLI_WRAP_LINES": "true"}
		}, container: map[string]string{"environment.0": `{"name":"A","value":"${x} %{y} \"z\" <&> \\"}`, "environment.4": `{"name":"PREFECT_CLI_WRAP_LINES","value":"true"}`}},
		{name: "secrets", change: func(e *config.Environment) { e.Worker.Secrets = map[string]string{"DB": secret} },
			container: map[string]string{"secrets.1": `{"name":"DB","valueFrom":"` + secret + `"}`}},
		{name: "part of a secret, and a parameter", change: func(e *config.Environment) {
			e.Worker.Secrets = map[string]string{"A": secret + ":user::", "B": secret + ":password::", "C": "arn:aws:ssm:us-east-1:123456789012:parameter/x"}
		}, stack: map[string]string{"resource.aws_iam_role_policy.execution.policy": string(must(json.Marshal(`{"Version":"2012-10-17","Statement":[` +
			`{"Sid":"ReadSecrets","Effect":"Allow","Action":["secretsmanager:GetSecretValue"],"Resource":["${aws_secretsmanager_secret.prefect_api_key.arn}","` + secret + `"]},` +
			`{"Sid":"ReadParameters","Effect":"Allow","Action":["ssm:GetParameters"],"Resource":["arn:aws:ssm:us-east-1:123456789012:parameter/x"]}]}`)))},
			container: map[string]string{"secrets.1": `{"name":"A","valueFrom":"` + secret + `:user::"}`, "secrets.3": `{"name":"C","valueFrom":"arn:aws:ssm:us-east-1:123456789012:parameter/x"}`}},
		{name: "stop timeout", change: func(e *config.Environment) { e.Worker.StopTimeoutSeconds = 30 },
			container: map[string]string{"stopTimeout": `30`}},
		{name: "pool", change: func(e *config.Environment) { e.WorkPool.Name, e.WorkPool.Queues = `a "b" ${c}`, []string{"q1", "q 2"} },
			container: map[string]string{"command.8": `"a \"b\" ${c}"`, "command.11": `"--work-queue"`, "command.12": `"q1"`, "command.14": `"q 2"`,
				"environment.5": `{"name":"PREFECT_WORK_POOL_NAME","value":"a \"b\" ${c}"}`}},
		{name: "API on another port", change: func(e *config.Environment) { e.Prefect.APIURL = "http://prefect.example.com:4200/api" },
			stack: map[string]string{
				"variable.prefect_api_url.default":                                  `"http://prefect.example.com:4200/api"`,
				"resource.aws_vpc_security_group_egress_rule.prefect_api.from_port": `4200`,
				"resource.aws_vpc_security_group_egress_rule.prefect_api.to_port":   `4200`,
				task + "lifecycle.precondition.1.condition":                         `"${contains([443, 4200], local.prefect_api_port)}"`,
			}},
		{name: "user and password", change: func(e *config.Environment) {
			e.Prefect.APIURL, e.Prefect.Authentication, e.Worker.Image = "https://prefect.example.com/api", config.AuthBasic, "prefecthq/prefect:3-latest"
		}, stack: map[string]string{
			"variable.prefect_api_key": "", "variable.prefect_api_auth_string.ephemeral": `true`, "variable.prefect_api_auth_string.sensitive": `true`,
			"resource.aws_secretsmanager_secret_version.prefect_api_key.secret_string_wo": `"${var.prefect_api_auth_string}"`,
		}, container: map[string]string{"secrets": `[{"name":"PREFECT_API_AUTH_STRING","valueFrom":"${aws_secretsmanager_secret.prefect_api_key.arn}"}]`}},
		{name: "no credential", change: func(e *config.Environment) {
			e.Prefect.APIURL, e.Prefect.Authentication = "https://prefect.example.com/api", config.AuthNone
		}, stack: map[string]string{
			"variable.prefect_api_key": "", "resource.aws_secretsmanager_secret": "", "resource.aws_secretsmanager_secret_version": "",
			"resource.aws_iam_role_policy.execution": "", "output.secret_arn": "",
		}, container: map[string]string{"secrets": "", "dockerLabels": ""}},
		{name: "account and workspace", change: func(e *config.Environment) {
			e.Prefect.AccountID, e.Prefect.WorkspaceID = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
		}, stack: map[string]string{"variable.prefect_account_id.default": `"11111111-1111-4111-8111-111111111111"`, "variable.prefect_workspace_id.default": `"22222222-2222-4222-8222-222222222222"`}},
		{name: "secret", change: func(e *config.Environment) {
			e.Secret = config.Secret{Name: "s", Version: 2, RecoveryWindowDays: 7, KMSKeyARN: kmsKey}
		}, stack: map[string]string{
			"resource.aws_secretsmanager_secret.prefect_api_key.name":                             `"s"`,
			"resource.aws_secretsmanager_secret.prefect_api_key.recovery_window_in_days":          `7`,
			"resource.aws_secretsmanager_secret.prefect_api_key.kms_key_id":                       `"` + kmsKey + `"`,
			"resource.aws_secretsmanager_secret_version.prefect_api_key.secret_string_wo_version": `2`,
		}, container: map[string]string{"dockerLabels.prefect-api-key-version": `"2"`}},
		{name: "existing secret", change: func(e *config.Environment) { e.Secret.ExistingARN, e.Secret.JSONKey = secret, "k" },
			stack: map[string]string{"resource.aws_secretsmanager_secret": "", "resource.aws_secretsmanager_secret_version": "", "variable.prefect_api_key": "",
				"output.secret_arn.value": `"` + secret + `"`},
			container: map[string]string{"secrets.0.valueFrom": `"` + secret + `:k::"`}},
		{name: "logs", change: func(e *config.Environment) {
			e.Logs = config.Logs{Group: "/a/b", RetentionDays: 7, KMSKeyARN: kmsKey}
		}, stack: map[string]string{
			"resource.aws_cloudwatch_log_group.worker.name":                 `"/a/b"`,
			"resource.aws_cloudwatch_log_group.worker.retention_in_days":    `7`,
			"resource.aws_cloudwatch_log_group.worker.kms_key_id":           `"` + kmsKey + `"`,
			"resource.aws_cloudwatch_log_group.flow_logs.retention_in_days": `7`,
		}},
		{name: "role names and boundary", change: func(e *config.Environment) {
			e.IAM.ExecutionRoleName, e.IAM.TaskRoleName, e.IAM.PermissionsBoundaryARN, e.IAM.TaskPolicyARNs = "x", "y", policy, []string{policy}
		}, stack: map[string]string{
			"resource.aws_iam_role.execution.name":                      `"x"`,
			"resource.aws_iam_role.task.name":                           `"y"`,
			"resource.aws_iam_role.execution.permissions_boundary":      `"` + policy + `"`,
			"resource.aws_iam_role.task.permissions_boundary":           `"` + policy + `"`,
			"resource.aws_iam_role.flow_logs.permissions_boundary":      `"` + policy + `"`,
			"resource.aws_iam_role_policy_attachment.task_1.policy_arn": `"` + policy + `"`,
		}},
		{name: "ecs pool with Prefect 2", change: func(e *config.Environment) { e.WorkPool.Type, e.Worker.ConcurrencyLimit = config.PoolECS, 0 },
			stack: map[string]string{"resource.aws_iam_role_policy.task.role": `"${aws_iam_role.task.id}"`},
			container: map[string]string{"environment.1": `{"name":"EXTRA_PIP_PACKAGES","value":"prefect-aws==0.4.20"}`,
				"command.10": `"ecs"`, "command.11": `"--with-healthcheck"`}},
		{name: "ecs pool with Prefect 3", change: func(e *config.Environment) {
			e.WorkPool.Type, e.Worker.Image, e.Worker.ConcurrencyLimit = config.PoolECS, "prefecthq/prefect:3-latest", 0
		}, stack: map[string]string{"resource.aws_sqs_queue.task_events.name": `"dev-worker-task-events"`},
			container: map[string]string{"environment.5": `{"name":"PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME","value":"dev-worker-task-events"}`}},
		{name: "adoption", change: func(e *config.Environment) {
			e.Adopt = []config.Adoptable{config.AdoptExecutionRole, config.AdoptTaskRole, config.AdoptLogGroup}
		}, stack: map[string]string{"import": `[{"id":"prefect-task-execution-role","to":"aws_iam_role.execution"},{"id":"prefect-task-role","to":"aws_iam_role.task"},{"id":"/ecs/prefect-worker","to":"aws_cloudwatch_log_group.worker"}]`}},
		{name: "state in S3", change: func(e *config.Environment) {
			e.Backend = config.Backend{Type: config.BackendS3, Bucket: "states", Key: "k", Region: "us-east-1", KMSKeyARN: kmsKey}
		}, stack: map[string]string{"terraform.backend.s3": `{"bucket":"states","encrypt":true,"key":"k","kms_key_id":"` + kmsKey + `","region":"us-east-1","use_lockfile":true}`, "terraform.backend.local": ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			// WHEN one option is changed
			s := build(t, test.change)
			// THEN it arrives, and the default differs there
			for path, want := range test.stack {
				if got := s.get(path); got != want {
					t.Errorf("%s = %s, want %s", path, got, want)
				}
				if defaults.get(path) == want {
					t.Errorf("%s is %s by default too, so this case shows nothing", path, want)
				}
			}
			c, defaultContainer := s.container(t), defaults.container(t)
			for path, want := range test.container {
				if got := c.get(path); got != want {
					t.Errorf("container %s = %s, want %s", path, got, want)
				}
				if path != "command.13" && defaultContainer.get(path) == want {
					t.Errorf("container %s is %s by default too, so this case shows nothing", path, want)
				}
			}
		})
	}
}

// TestTheServiceWaits: it starts after all that a task needs, and goes before it.
func TestTheServiceWaits(t *testing.T) {
	s := build(t, nil)
	dependsOn := s.get("resource.aws_ecs_service.worker.depends_on")
	for _, address := range []string{
		"aws_route.public", "aws_route.private_1", "aws_route_table_association.private_3",
		"aws_vpc_security_group_egress_rule.https",
		"aws_iam_role_policy.execution", "aws_iam_role_policy_attachment.execution",
		"aws_secretsmanager_secret_version.prefect_api_key",
	} {
		if !strings.Contains(dependsOn, `"`+address+`"`) {
			t.Errorf("the service does not wait for %s: %s", address, dependsOn)
		}
	}
}

func TestVariables(t *testing.T) {
	s := build(t, nil)
	variables := slices.Sorted(maps.Keys(s["variable"].(map[string]any)))
	want := []string{"aws_region", "prefect_account_id", "prefect_api_key", "prefect_api_url", "prefect_workspace_id"}
	if !slices.Equal(variables, want) {
		t.Fatalf("variables %v, want %v", variables, want)
	}
	for _, name := range variables {
		at := "variable." + name + "."
		if s.get(at+"type") != `"string"` || s.text(at+"description") == "" || s.get(at+"validation.0.condition") == "" || s.get(at+"nullable") != "false" {
			t.Errorf("%s lacks a type, description or validation: %s", name, s.get("variable."+name))
		}
		// Without a default the CDKTF CLI hangs when the value is missing.
		if s.get(at+"default") == "" {
			t.Errorf("%s has no default", name)
		}
		if sensitive := s.get(at+"sensitive") == "true"; sensitive != (name == "prefect_api_key") {
			t.Errorf("%s: sensitive = %t", name, sensitive)
		}
	}
}

func TestAWrongConfigurationLeavesNothing(t *testing.T) {
	// GIVEN a project with a wrong configuration
	project, tmp := t.TempDir(), t.TempDir()
	file := filepath.Join(project, filepath.FromSlash(config.Dir), "dev.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("network: {nat: none}\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	// WHEN the program runs
	program := exec.Command(os.Args[0])
	program.Dir = project
	program.Env = append(os.Environ(), programVariable+"=1", "TMPDIR="+tmp)
	var stdout, stderr strings.Builder
	program.Stdout, program.Stderr = &stdout, &stderr
	err := program.Run()

	// THEN it fails and says why, and nothing else
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit status 1", err)
	}
	_, problems := config.Load(filepath.Join(project, filepath.FromSlash(config.Dir)))
	if want := strings.ReplaceAll(problems.Error(), project+"/", "") + "\n"; stdout.String() != "" || stderr.String() != want {
		t.Errorf("printed %q and %q, want %q", stdout.String(), stderr.String(), want)
	}
	// AND nothing was written, there or elsewhere
	left, _ := filepath.Glob(filepath.Join(project, "*"))
	temporary, _ := filepath.Glob(filepath.Join(tmp, "*"))
	if len(left) != 1 || len(temporary) != 0 {
		t.Errorf("left %v and %v, want only the configuration", left, temporary)
	}
}

func TestPanicsOfCDKTFAreErrors(t *testing.T) {
	testtools.Require(t, testtools.Node)
	// GIVEN two environments of one name, which CDKTF refuses by a panic
	twice := []*config.Environment{config.Default("dev"), config.Default("dev")}
	// WHEN they are built
	out := t.TempDir()
	err := synth(twice, &cdktf.AppConfig{Outdir: &out})
	// THEN the program gets an error that says what is wrong, in one line
	if err == nil || !strings.Contains(err.Error(), "There is already a Construct with name 'dev'") {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "goroutine") {
		t.Errorf("a stack trace is shown: %v", err)
	}
}
