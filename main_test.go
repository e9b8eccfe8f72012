package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-cdk-go/cdktf"
	"go.yaml.in/yaml/v3"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/faststart"
	"prefect-worker-ecs/internal/prefect/workpool"
	"prefect-worker-ecs/internal/test/golden"
	"prefect-worker-ecs/internal/test/stackrules"
	"prefect-worker-ecs/internal/test/testtools"
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
	testtools.NoError(t, synth(envs, &cdktf.AppConfig{Outdir: &out}))
	files := map[string]string{}
	for _, env := range envs {
		file, err := os.ReadFile(filepath.Join(out, "stacks", env.Name, "cdk.tf.json"))
		testtools.NoError(t, err)
		files[env.Name] = string(file)
		packed(t, parse(t, string(file)), filepath.Join(out, "stacks", env.Name))
		everyReferenceLeads(t, string(file))
		findings, err := stackrules.Check(file, env)
		testtools.NoError(t, err)
		for _, f := range findings {
			t.Errorf("%s: %s", env.Name, f)
		}
	}
	return files
}

// packed fails the test for a function whose code is not beside the stack.
func packed(t *testing.T, s stack, dir string) {
	t.Helper()
	name := s.text("resource.aws_lambda_function.probe.filename")
	if name == "" {
		return
	}
	archive, err := os.ReadFile(filepath.Join(dir, name))
	testtools.NoError(t, err)
	sum := sha256.Sum256(archive)
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != s.text("resource.aws_lambda_function.probe.source_code_hash") {
		t.Errorf("%s has the hash %s, and the stack names another", name, got)
	}
}

// everyReferenceLeads fails the test for a reference to an element that the stack has not,
// wherever it stands: in an expression, in depends_on, in an import block.
func everyReferenceLeads(t *testing.T, file string) {
	t.Helper()
	addresses := parse(t, file).addresses()
	references := regexp.MustCompile(`\b((?:data\.|ephemeral\.)?aws_\w+\.\w+)`).FindAllStringSubmatch(file, -1)
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
	testtools.NoError(t, err)
	more, err := config.Load("testdata/environments")
	testtools.NoError(t, err)
	return append(shipped, more...)
}

func TestGolden(t *testing.T) {
	// WHEN all environments are synthesized in one app
	files := synthesize(t, goldenEnvironments(t)...)
	for name, file := range files {
		// THEN the JSON that a reviewer sees, and the addresses that real resources hang on,
		// are the ones in the repository
		if base := golden.Base(name); base == "" {
			golden.Equal(t, filepath.Join("testdata/golden", name+".tf.json"), file)
		} else {
			golden.Equal(t, filepath.Join("testdata/golden", name+".diff"), golden.Difference(t, files[base], file))
		}
		golden.Equal(t, filepath.Join("testdata/golden", name+".addresses"), strings.Join(parse(t, file).addresses(), "\n")+"\n")
	}
	if len(files) != 9 {
		t.Errorf("%d stacks, want dev, closed, ecs, existing, full, own, server, serverdb and shared", len(files))
	}
}

// TestGeneratedAlarms: the table of alarms in the documentation is that of the stacks.
func TestGeneratedAlarms(t *testing.T) {
	rows := map[string]string{}
	files := golden.Stacks(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		s := parse(t, string(files[name]))
		for _, address := range s.addresses() {
			alarm, ok := strings.CutPrefix(address, "aws_cloudwatch_metric_alarm.")
			if !ok || rows[alarm] != "" {
				continue
			}
			meaning, first, ok := strings.Cut(s.text("resource."+address+".alarm_description"), " First: ")
			if !ok {
				t.Errorf("the alarm %s does not say what to do first", address)
			}
			text := fmt.Sprintf("| `%s` | %s | %s |\n", strings.ReplaceAll(alarm, "_", "-"), meaning, first)
			rows[alarm] = strings.NewReplacer(name+"-worker", "<service>", "verify "+name, "verify", "runs "+name, "runs").Replace(text)
		}
	}
	var table strings.Builder
	table.WriteString("| alarm | meaning | first |\n|---|---|---|\n")
	for _, alarm := range slices.Sorted(maps.Keys(rows)) {
		table.WriteString(rows[alarm])
	}
	golden.Section(t, "docs/monitoring.md", "alarms", table.String())
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
	testtools.NoError(t, json.Unmarshal([]byte(file), &s))
	return s
}

// addresses are those of all resources and data sources, sorted.
func (s stack) addresses() []string {
	var all []string
	for prefix, section := range map[string]any{"": s["resource"], "data.": s["data"], "ephemeral.": s["ephemeral"]} {
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

// arguments returns those of all resources and data sources, as type and argument.
func (s stack) arguments() map[string]bool {
	all := map[string]bool{}
	for _, section := range []string{"resource", "data", "ephemeral"} {
		types, _ := s[section].(map[string]any)
		for kind, named := range types {
			for _, arguments := range named.(map[string]any) {
				for argument := range arguments.(map[string]any) {
					all[section+"."+kind+"."+argument] = true
				}
			}
		}
	}
	return all
}

// get is the value at a path such as resource.aws_vpc.main.cidr_block, as JSON. A number
// in the path is an index. Absent values are "".
func (s stack) get(path string) string {
	at := stackrules.Get(map[string]any(s), path)
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

// statements are those of an inline policy by Sid.
func (s stack) statements(t *testing.T, policy string) stack {
	t.Helper()
	var document struct{ Statement []map[string]any }
	if err := json.Unmarshal([]byte(s.text("resource.aws_iam_role_policy."+policy+".policy")), &document); err != nil {
		t.Fatalf("policy %s: %v", policy, err)
	}
	all := stack{}
	for _, statement := range document.Statement {
		all[statement["Sid"].(string)] = statement
	}
	return all
}

func TestDefaultsAreTheOriginalDesign(t *testing.T) {
	s := parse(t, synthesize(t, config.Default("dev"))["dev"])
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
		"PREFECT_API_REQUEST_TIMEOUT": "120",
		"DO_NOT_TRACK":                "1",

		"PREFECT_CLIENT_MAX_RETRIES":        "7",
		"PREFECT_CLIENT_RETRY_EXTRA_CODES":  "500,502,503,504",
		"PREFECT_LOGGING_TO_API_BATCH_SIZE": "2000000",
	}
	if got := s.variables(t); !maps.Equal(got, want) {
		t.Errorf("environment = %v, want %v", got, want)
	}
}

// option is a row of testdata/options.yaml.
type option struct {
	Set       yaml.Node
	Stack     map[string]any
	Worker    map[string]any
	Statement map[string]any
	Pool      map[string]any
	Same      []string
}

// optionRows are the rows of testdata/options.yaml by the option's key. What follows a comma
// in it tells several rows of one option apart.
func optionRows(t *testing.T) map[string]option {
	t.Helper()
	file, err := os.ReadFile("testdata/options.yaml")
	testtools.NoError(t, err)
	var rows map[string]option
	testtools.NoError(t, yaml.Unmarshal(file, &rows))
	return rows
}

// load reads an environment dev of this YAML.
func load(t *testing.T, content []byte) *config.Environment {
	t.Helper()
	dir := t.TempDir()
	testtools.NoError(t, os.WriteFile(filepath.Join(dir, "dev.yaml"), content, 0o644))
	envs, err := config.LoadLocal(dir)
	testtools.NoError(t, err)
	return envs[0]
}

// TestEachOption changes one option at a time and looks where it must arrive, and that it
// is not there by default. An option without a row, or without an effect, fails.
func TestEachOption(t *testing.T) {
	rows := optionRows(t)
	for _, o := range config.Options() {
		if _, ok := rows[o.Key]; !ok {
			t.Errorf("the option %s has no row in testdata/options.yaml", o.Key)
		}
	}
	defaults := parse(t, synthesize(t, config.Default("dev"))["dev"])
	ecsPool := parse(t, synthesize(t, load(t, []byte("work_pool: {type: ecs}\nworker: {cpu: 512, memory: 1024}\n")))["dev"])
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			key, _, _ := strings.Cut(name, ",")
			content, err := yaml.Marshal(&row.Set)
			testtools.NoError(t, err)
			// WHEN the option is set
			env := load(t, content)
			if o := config.Options(); !slices.ContainsFunc(o, func(o config.Option) bool {
				return o.Key == key && !reflect.DeepEqual(o.Value(env), o.Value(config.Default("dev")))
			}) {
				t.Errorf("there is no option %s, or the row does not change it", key)
			}
			s := parse(t, synthesize(t, env)["dev"])
			// THEN it arrives, and the default differs there
			arrives := func(where string, want map[string]any, got, byDefault stack) {
				for path, value := range want {
					text := ""
					if value != nil {
						text = *tf.JSON(value)
					}
					if got := got.get(path); got != text {
						t.Errorf("%s%s = %s, want %s", where, path, got, text)
					}
					if byDefault.get(path) == text && !slices.Contains(row.Same, path) {
						t.Errorf("%s%s is %s by default too, so this row shows nothing", where, path, text)
					}
				}
			}
			arrives("", row.Stack, s, defaults)
			arrives("container ", row.Worker, s.container(t), defaults.container(t))
			if row.Statement != nil {
				arrives("statement ", row.Statement, s.statements(t, "task"), ecsPool.statements(t, "task"))
			}
			pool, byDefault := templateOf(env), templateOf(config.Default("dev"))
			for name, want := range row.Pool {
				if got := pool[name]; *tf.JSON(got) != *tf.JSON(want) || *tf.JSON(byDefault[name]) == *tf.JSON(want) {
					t.Errorf("the pool's %s is %v, by default %v; want %v", name, got, byDefault[name], want)
				}
			}
			if len(row.Stack)+len(row.Worker)+len(row.Statement)+len(row.Pool) == 0 {
				t.Error("the row looks nowhere")
			}
		})
	}
}

// templateOf is what the configuration says to the template of an ecs pool.
func templateOf(env *config.Environment) map[string]any {
	wanted := workpool.Configured(env)
	for _, more := range []map[string]any{wanted.Task, wanted.Container} {
		maps.Copy(wanted.Defaults, more)
	}
	if wanted.Proxy != nil {
		wanted.Defaults["env"] = wanted.Proxy
	}
	return wanted.Defaults
}

// TestTheRulesHoldWhereOptionsMeet sets options on top of each golden environment, several at
// once where they go together: synthesize judges every stack by the rules of
// internal/test/stackrules, and a fault can be where options meet. (TestEachOption has each one
// alone.) A combination has no argument that no golden stack has, because nobody would review it.
func TestTheRulesHoldWhereOptionsMeet(t *testing.T) {
	const together = 6
	rows := optionRows(t)
	files, err := filepath.Glob("testdata/environments/*.yaml")
	testtools.NoError(t, err)
	// with adds an option to settings, or returns nil where they exclude each other.
	with := func(settings []byte, name, key string) (*config.Environment, []byte) {
		var before, option map[string]any
		row := rows[key]
		testtools.NoError(t, yaml.Unmarshal(settings, &before), row.Set.Decode(&option))
		both, err := yaml.Marshal(merged(before, option))
		testtools.NoError(t, err)
		dir := t.TempDir()
		testtools.NoError(t, os.WriteFile(filepath.Join(dir, name+".yaml"), both, 0o644))
		loaded, err := config.LoadLocal(dir)
		if problems := (config.Problems{}); errors.As(err, &problems) {
			return nil, nil
		} else if err != nil {
			t.Fatal(err)
		}
		return loaded[0], both
	}
	reviewed := map[string]bool{}
	for _, file := range golden.Stacks(t) {
		maps.Copy(reviewed, parse(t, string(file)).arguments())
	}
	set := 0
	for _, file := range files {
		plain, err := os.ReadFile(file)
		testtools.NoError(t, err)
		var envs []*config.Environment // an app for each file: the time of one grows faster than its size
		settings, count := plain, together
		for i, key := range slices.Sorted(maps.Keys(rows)) {
			name := fmt.Sprintf("%s-%d", strings.TrimSuffix(filepath.Base(file), ".yaml"), i)
			if count < together {
				if env, both := with(settings, name, key); env != nil {
					envs[len(envs)-1], settings, count, set = env, both, count+1, set+1
					continue
				}
			}
			if env, both := with(plain, name, key); env != nil {
				envs, settings, count, set = append(envs, env), both, 1, set+1
			}
		}
		for name, stack := range synthesize(t, envs...) {
			for argument := range parse(t, stack).arguments() {
				if !reviewed[argument] {
					t.Errorf("%s: no golden stack has %s", name, argument)
				}
			}
		}
	}
	if all := len(files) * len(rows); set < all/2 {
		t.Errorf("only %d of %d can be built", set, all)
	}
}

// merged is settings with those of over in it.
func merged(settings, over map[string]any) map[string]any {
	for key, value := range over {
		below, isMap := value.(map[string]any)
		if under, ok := settings[key].(map[string]any); ok && isMap {
			value = merged(under, below)
		}
		settings[key] = value
	}
	return settings
}

// TestEveryOptionIsInAGoldenStack: a golden file shows what a change of the program does to an
// option, if it is set in one of them to something else than its default.
func TestEveryOptionIsInAGoldenStack(t *testing.T) {
	envs := goldenEnvironments(t)
	for _, o := range config.Options() {
		set := slices.ContainsFunc(envs, func(env *config.Environment) bool {
			return !reflect.DeepEqual(o.Value(env), o.Value(config.Default(env.Name)))
		})
		if !set && o.Key != "local_run" { // is refused there
			t.Errorf("no environment in testdata/environments sets %s", o.Key)
		}
	}
}

func TestAWrongConfigurationLeavesNothing(t *testing.T) {
	// GIVEN a project with a wrong configuration
	project, tmp := t.TempDir(), t.TempDir()
	file := filepath.Join(project, filepath.FromSlash(config.Dir), "dev.yaml")
	testtools.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	testtools.NoError(t, os.WriteFile(file, []byte("network: {nat: two}\n"), 0o644))

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

func TestTheEmulatorIsOnThisMachine(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"http://127.0.0.1:5000": true, "http://[::1]:5000": true,
		"": false, "https://vpce.example.com": false, "http://10.0.0.1:5000": false, "127.0.0.1": false,
	} {
		if got := emulated(endpoint); got != want {
			t.Errorf("emulated(%q) = %t", endpoint, got)
		}
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
