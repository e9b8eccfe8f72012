package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/terraform/terraform"
	"prefect-worker-ecs/internal/test/testtools"
)

// errNoTools is how a command ends on a machine with nothing on it, where all else was
// right.
const errNoTools = "Terraform is not installed; "

func TestAFileThatWinsOverAVariable(t *testing.T) {
	// GIVEN a file with two values, and another one commented out
	inProject(t, map[string]string{
		"terraform.tfvars":       "prefect_api_key = \"pnu_old\"\n  aws_region=\"eu-west-1\"\n# prefect_api_url = \"x\"\n",
		config.Dir + "/dev.yaml": "",
	})
	// WHEN variables of the same names are set
	t.Setenv("TF_VAR_prefect_api_key", "pnu_new")
	t.Setenv("TF_VAR_prefect_api_url", "https://prefect.example.com/api")
	t.Setenv("TF_VAR_prefect_account_id", "11111111-1111-4111-8111-111111111111")
	t.Setenv("PATH", t.TempDir())
	_, stderr, _ := workerctl(t, "plan")
	// THEN the user is told of the one that counts for nothing, without its value
	if want := "note: terraform.tfvars sets prefect_api_key too, and wins over TF_VAR_prefect_api_key\n"; stderr != want {
		t.Errorf("got %q, want %q", stderr, want)
	}
}

func TestVariablesAreCheckedBeforeTerraformShowsThem(t *testing.T) {
	for _, test := range []struct{ name, value, file, want string }{
		{"prefect_api_url", "https://prefect.example.com/api", "", ""},
		{"prefect_api_key", "pnu_hunter2", "", ""}, // made for it
		{"prefect_api_url", "https://u:hunter2@prefect.example.com/api", "", "TF_VAR_prefect_api_url: prefect.api_url = (not shown)"},
		{"prefect_account_id", "pnu_hunter2", "", "TF_VAR_prefect_account_id: prefect.account_id = (not shown)"},
		{"prefect_api_url", "http://127.1:4200/api", "", "TF_VAR_prefect_api_url: prefect.api_url = http://127.1:4200/api"},
		{"aws_region", "us-east-9", "", "TF_VAR_aws_region: region = us-east-9"},
		{"aws_region", "eu-west-1", "aws_region = \"Frankfurt\"\n", "terraform.tfvars: region = Frankfurt"},
	} {
		t.Run(test.name+" "+test.value, func(t *testing.T) {
			inProject(t, map[string]string{
				"terraform.tfvars":       test.file,
				config.Dir + "/dev.yaml": "prefect: {account_id: 11111111-1111-4111-8111-111111111111}",
			})
			t.Setenv("TF_VAR_"+test.name, test.value)
			t.Setenv("PATH", t.TempDir())
			want := errNoTools
			if test.want != "" {
				want = "\n" + test.want + "\n"
			}
			if _, _, err := workerctl(t, "deploy", "dev", "--auto-approve"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestMissingToolsAreNamed(t *testing.T) {
	inProject(t, map[string]string{config.Dir + "/dev.yaml": ""})
	// GIVEN a machine with nothing on it
	t.Setenv("PATH", t.TempDir())
	for own, want := range map[string]string{"": "Go Node.js Terraform", "tofu": "Go Node.js OpenTofu"} {
		t.Setenv("TERRAFORM_BINARY_NAME", own)
		_, _, err := workerctl(t, "plan")
		if err == nil {
			t.Fatal("it ran without tools")
		}
		// THEN each tool that is needed has a line
		var named []string
		for line := range strings.Lines(err.Error()) {
			if name, _, missing := strings.Cut(line, " is not installed; "); missing {
				named = append(named, name)
			}
		}
		if got := strings.Join(named, " "); got != want {
			t.Errorf("named are %q, want %q", got, want)
		}
	}
}

func TestTheConfigurationIsCheckedFirst(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	inProject(t, map[string]string{config.Dir + "/dev.yaml": "protect: true"})
	if _, _, err := workerctl(t, "destroy", "dev", "--auto-approve"); err == nil || err.Error() != "dev is protected, and with it its network, secret and log group: nothing was destroyed. To take it down, remove protect from config/environments/dev.yaml and call this again; nothing has to be deployed in between" {
		t.Errorf("destroy of what is protected: %v", err)
	}
	if _, _, err := workerctl(t, "deploy", "dev", "--auto-approve"); err == nil || !strings.Contains(err.Error(), errNoTools) {
		t.Errorf("deploy of what is protected: %v", err)
	}
	inProject(t, map[string]string{config.Dir + "/dev.yaml": "regoin: x"})
	var problems config.Problems
	if _, _, err := workerctl(t, "plan"); !errors.As(err, &problems) || problems[0].Line != 1 {
		t.Errorf("got %v", err)
	}
}

func TestTheRegionToVerifyIsTheOneDeployedTo(t *testing.T) {
	testtools.Require(t, testtools.Node)
	for variable, want := range map[string]string{"": "us-east-1", "eu-west-1": "eu-west-1"} {
		t.Setenv("TF_VAR_aws_region", variable)
		t.Chdir(".") // the command changes the folder
		cmd := newVerifyCommand()
		cmd.SetContext(t.Context())
		opt, err := verifyOptions(cmd, nil)
		testtools.NoError(t, err)
		if opt.Environment.Name != "dev" || opt.AWS.Region != want || len(opt.Stack) == 0 {
			t.Errorf("TF_VAR_aws_region=%s: %s in %s, want dev in %s", variable, opt.Environment.Name, opt.AWS.Region, want)
		}
	}
}

// TestVerifyAlwaysReports: whoever reads the JSON gets some, whatever goes wrong.
func TestVerifyAlwaysReports(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_PROFILE", "")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	for args, want := range map[string]string{
		"verify --json dev":                    "", // no credentials: a checklist, with what could not be checked
		"verify --json missing":                `there is no environment "missing"`,
		"verify --json --wait soon":            `invalid argument "soon"`,
		"verify --json --flows":                "unknown flag: --flows",
		"verify --json --token=pnu_0123456789": "unknown flag: --token",
		"verify --json dev prod":               "verify takes one environment, and these are 2: dev prod",
	} {
		t.Chdir(".")
		out, _, err := workerctl(t, strings.Fields(args)...)
		var status exitCode
		if !errors.As(err, &status) || int(status) != 2 {
			t.Errorf("%s: %v, want status 2", args, err)
		}
		var report verify.Report
		if err := json.Unmarshal([]byte(out), &report); err != nil || strings.Contains(out, "pnu_") {
			t.Fatalf("%s: %v in %s", args, err, out)
		}
		if report.Outcome != verify.Unknown || !strings.Contains(report.Error, want) || report.Environment == "" {
			t.Errorf("%s: %+v", args, report)
		}
	}
	// AND a wrong flag is no worker that does not run flows, for a person either
	var status exitCode
	if _, message, err := workerctl(t, "verify", "--flows"); !errors.As(err, &status) || int(status) != 2 || message != "workerctl: unknown flag: --flows\n" {
		t.Errorf("%v: %s", err, message)
	}
}

func TestHowItEnds(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		says   string
	}{
		{errors.New("anything"), 1, "workerctl: anything\n"},
		{config.Problems{{File: "dev.yaml", Rule: "r", Fix: "f"}}, 1, "1 problem in the configuration, nothing was written\n\ndev.yaml\n    rule: r\n    fix:  f\n"},
		{errors.New(`unknown command "pnu_hunter2" for "workerctl"`), 1, "workerctl: unknown command \"(not shown)\" for \"workerctl\"\n"},
		{exitCode(2), 2, ""},
		{fmt.Errorf("deploy: %w", context.Canceled), 130, "interrupted\n"},
		{fmt.Errorf("deploy: %w", &terraform.Error{Command: "apply"}), 1, ""}, // Terraform has printed why
		{&terraform.Error{Command: "plan", Fix: "unlock it"}, 1, "workerctl: unlock it\n"},
		{&terraform.Error{Command: "plan", Output: "why"}, 1, "workerctl: terraform plan: <nil>\n    why\n"},
	} {
		var out bytes.Buffer
		if got := report(&out, test.err); got != test.status || out.String() != test.says {
			t.Errorf("%v: status %d, %q; want %d, %q", test.err, got, out.String(), test.status, test.says)
		}
	}
}

// inProject makes a project with the files the working directory.
func inProject(t *testing.T, files map[string]string) {
	t.Helper()
	root := t.TempDir()
	write := func(name, content string) {
		file := filepath.Join(root, filepath.FromSlash(name))
		testtools.NoError(t, errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)))
	}
	write("cmd/workerctl/main.go", "package main") // what a project is known by
	for name, content := range files {
		write(name, content)
	}
	t.Chdir(root)
}

// workerctl runs the command with streams of its own, and nobody at them.
func workerctl(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	command := newRootCommand()
	var out, errors bytes.Buffer
	command.SetIn(strings.NewReader(""))
	command.SetOut(&out)
	command.SetErr(&errors)
	command.SetArgs(args)
	err = command.ExecuteContext(t.Context())
	return out.String(), errors.String(), err
}

// TestTheShellCompletesEnvironments: at their place among the arguments, and there alone.
func TestTheShellCompletesEnvironments(t *testing.T) {
	inProject(t, map[string]string{config.Dir + "/dev.yaml": "", config.Dir + "/prod.yml": "name_suffix: -prod", config.Dir + "/dev.imports.json": "{}"})
	const names, none, files = "dev\nprod\n:4\n", ":4\n", ":0\n"
	for args, want := range map[string]string{
		"plan": names, "verify": names, "local up": names, "runs retry x": names, "local run flow.py": names, "plan dev": none, "runs retry": files, "local run": files,
	} {
		if out, _, err := workerctl(t, append(append([]string{"__complete"}, strings.Fields(args)...), "")...); err != nil || out != want {
			t.Errorf("%s: %q (%v), want %q", args, out, err, want)
		}
	}
}

func TestConfigShowsWhatIsInForce(t *testing.T) {
	// GIVEN an option from each source, and a URL with a password in a variable
	t.Setenv("TF_VAR_aws_region", "eu-west-1")
	t.Setenv("TF_VAR_prefect_api_url", "https://u:hunter2@prefect.example.com/api")
	inProject(t, map[string]string{config.Dir + "/dev.yaml": "worker:\n  cpu:\n  memory: 1024\n  environment: {B: x y, A: ''}\n" +
		"  secrets: {DB_PASSWORD: 'arn:aws:ssm:us-east-1:123456789012:parameter/db'}\n  extra_pip_packages: [s3fs]\n" +
		"network: {egress: [{description: Warehouse, from_port: 5432, cidr: 10.9.0.0/16}]}\n"})

	// WHEN they are shown
	stdout, stderr, err := workerctl(t, "config")
	if err != nil || stderr != "" {
		t.Fatalf("%v: %s", err, stderr)
	}
	// THEN each has its value and says where that is from
	lines := map[string]string{}
	for line := range strings.Lines(stdout) {
		key, rest, _ := strings.Cut(line, " ")
		lines[key] = strings.Join(strings.Fields(rest), " ")
		if len(line) > 81 && strings.HasPrefix(line, "iam.") {
			t.Errorf("it needs %d columns: %s", len(line)-1, line)
		}
	}
	for key, want := range map[string]string{
		"region":                      "eu-west-1 (TF_VAR_aws_region)",
		"prefect.api_url":             "(not shown) (TF_VAR_prefect_api_url)",
		"worker.cpu":                  "256 (default)",
		"worker.memory":               "1024 (config/environments/dev.yaml:3)",
		"worker.environment":          `{A: "", B: "x y"} (config/environments/dev.yaml:4)`,
		"worker.secrets":              `{DB_PASSWORD: "arn:aws:ssm:us-east-1:123456789012:parameter/db"} (config/environments/dev.yaml:5)`,
		"worker.extra_pip_packages":   "[s3fs] (config/environments/dev.yaml:6)",
		"network.egress":              `[{"cidr":"10.9.0.0/16","description":"Warehouse","from_port":5432,"protocol":"tcp","to_port":5432}] (config/environments/dev.yaml:7)`,
		"account_id":                  "- (default)",
		"network.public_subnet_cidrs": "[10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24] (default)",
	} {
		if lines[key] != want {
			t.Errorf("%s: %q, want %q", key, lines[key], want)
		}
	}
	if len(lines) != len(config.Options()) {
		t.Errorf("%d lines for %d options", len(lines), len(config.Options()))
	}

	// AND a program gets the same
	stdout, _, err = workerctl(t, "config", "dev", "--json")
	var settings []setting
	testtools.NoError(t, errors.Join(err, json.Unmarshal([]byte(stdout), &settings)))
	if len(settings) != len(config.Options()) || settings[0] != (setting{"region", "eu-west-1", "variable", "TF_VAR_aws_region"}) {
		t.Errorf("%d settings, the first %+v", len(settings), settings[0])
	}
	if strings.Contains(stdout, "hunter2") {
		t.Error("the password is shown")
	}
}

func TestWhatACommandNeedsIsNamed(t *testing.T) {
	inProject(t, map[string]string{config.Dir + "/dev.yaml": ""})
	t.Setenv("PATH", t.TempDir())
	const noTerminal = "there is no terminal to approve the changes at"
	for args, want := range map[string]string{
		"setup":                     errNoTools,
		"deploy dev":                noTerminal,
		"destroy dev":               noTerminal,
		"deploy dev --auto-approve": errNoTools,
		"plan dev":                  errNoTools,
		"plan prod":                 `there is no environment "prod"`,
		"lock dev":                  "run make synth first",
		"lock prod":                 `there is no environment "prod"`,
		"local verify dev":          "nothing of the local run of dev runs",
		"local open":                "nothing of the local run of dev runs",
		"local up prod":             `there is no environment "prod"`,
		"exec dev":                  "set worker.execute_command to true in config/environments/dev.yaml and deploy",
		"exec dev prod":             "exec takes one environment",
	} {
		if stdout, _, err := workerctl(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) || stdout != "" {
			t.Errorf("%s: %v and %q, want %s", args, err, stdout, want)
		}
	}
	if stdout, _, err := workerctl(t, "local", "status"); err != nil || !strings.HasPrefix(stdout, "There is no local run of dev") {
		t.Errorf("local status: %v and %q", err, stdout)
	}
}

// TestARoleIsAssumed: AWS is called as the role of the environment.
func TestARoleIsAssumed(t *testing.T) {
	may := true
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		key, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="), "/")
		asked = append(asked, r.Form.Get("Action")+" "+r.Form.Get("RoleArn")+" by "+key)
		switch {
		case r.Form.Get("Action") == "GetCallerIdentity":
			fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/me</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		case may:
			fmt.Fprint(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>of-the-role</AccessKeyId><SecretAccessKey>x</SecretAccessKey><SessionToken>y</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>`)
		}
	}))
	defer server.Close()
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "x", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_PROFILE": ""} {
		t.Setenv(name, value)
	}
	const role = "arn:aws:iam::210987654321:role/deployer"
	inProject(t, map[string]string{config.Dir + "/dev.yaml": "assume_role_arn: " + role})
	// WHEN the role may be assumed THEN its credentials are used
	d, err := deployment.Open("dev")
	testtools.NoError(t, err)
	testtools.NoError(t, d.CheckCredentials(t.Context()))
	cfg, err := d.AWS(t.Context())
	testtools.NoError(t, err)
	testtools.Call(t, sts.NewFromConfig(cfg).GetCallerIdentity, &sts.GetCallerIdentityInput{})
	want := []string{"GetCallerIdentity  by mine", "AssumeRole " + role + " by mine", "GetCallerIdentity  by of-the-role"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	// WHEN it may not THEN that is said, with who wanted it
	may = false
	if d, err = deployment.Open("dev"); err != nil {
		t.Fatal(err)
	}
	err = d.CheckCredentials(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "arn:aws:iam::123456789012:user/me is not authorized to assume the role "+role+" of assume_role_arn (") || !strings.HasSuffix(err.Error(), "let the role's trust policy name it, or use other credentials") {
		t.Errorf("got %v", err)
	}
}

func TestNewWritesAnEnvironment(t *testing.T) {
	inProject(t, map[string]string{config.Dir + "/dev.yaml": ""})
	stdout, _, err := workerctl(t, "new", "prod")
	if want := "wrote config/environments/prod.yaml; change it as you like, then look with: make plan ENV=prod\n"; err != nil || stdout != want {
		t.Fatalf("%v: %q, want %q", err, stdout, want)
	}
	envs, err := config.Load(config.Dir)
	if err != nil || len(envs) != 2 {
		t.Errorf("%d environments, %v", len(envs), err)
	}
	if _, _, err := workerctl(t, "config", "test"); err == nil || !strings.HasPrefix(err.Error(), `there is no environment "test"`) {
		t.Errorf("got %v", err)
	}
}

// TestPolicy: a whole policy goes to the screen, parts that AWS takes to files.
func TestPolicy(t *testing.T) {
	testtools.Require(t, testtools.Node)
	stdout, stderr, err := workerctl(t, "policy", "--read-only", "--account", "123456789012")
	if err != nil || stderr != "" || !strings.Contains(stdout, "arn:aws:ecs:us-east-1:123456789012:service/prefect-cluster/dev-worker") || strings.Contains(stdout, ":Create") {
		t.Errorf("%v, %q\n%s", err, stderr, stdout)
	}
	_, stderr, err = workerctl(t, "policy")
	if want := "note: the account is unknown and written as *; set account_id, or give --account\nnote: it is longer than a managed policy may be; --out DIR splits it into 2\n"; err != nil || stderr != want {
		t.Errorf("%v, %q\nwant %q", err, stderr, want)
	}
	dir := t.TempDir()
	stdout, _, err = workerctl(t, "policy", "--account", "123456789012", "--out", dir)
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	if want := "wrote " + dir + "/dev-deploy-1.json\nwrote " + dir + "/dev-deploy-2.json\n"; err != nil || stdout != want || len(files) != 2 {
		t.Errorf("%v, %q, %q", err, stdout, files)
	}
}

func TestWhoseThePolicyIs(t *testing.T) {
	const role, states = "arn:aws:iam::123456789012:role/deploy", "arn:aws:iam::210987654321:role/states"
	const caller = "the caller of Terraform and workerctl"
	of := "it is the policy of the role " + role + ", on which " + caller + " needs sts:AssumeRole"
	for name, test := range map[string]struct {
		role    string
		backend config.Backend
		want    []string
	}{
		"the caller's":                 {"", config.Backend{Type: config.BackendLocal}, nil},
		"the caller's, with the state": {"", config.Backend{Type: config.BackendS3}, nil},
		"a role's":                     {role, config.Backend{Type: config.BackendLocal}, []string{of}},
		"a role's, and the state is the caller's": {role, config.Backend{Type: config.BackendS3}, []string{of, "what it says of s3 and its key is for " + caller}},
		"two roles'": {role, config.Backend{Type: config.BackendS3, AssumeRoleARN: states},
			[]string{of, "what it says of s3 and its key is for the role " + states + ", on which " + caller + " needs sts:AssumeRole"}},
	} {
		env := config.Default("dev")
		env.AssumeRoleARN, env.Backend = test.role, test.backend
		if got := assumptions(env); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestAnEnvironmentAsAPath(t *testing.T) {
	for arg, want := range map[string]string{"": "dev", "prod": "prod", "config/environments/prod.yaml": "prod", "./prod.yml": "prod", "--auto-approve": "--auto-approve", "a/b": "a/b",
		"../x/config/environments/prod.yaml": "prod", "../x/prod.yaml": "../x/prod.yaml"} {
		var args []string
		if arg != "" {
			args = []string{arg}
		}
		if got := environmentName(args); got != want {
			t.Errorf("%q: %q, want %q", arg, got, want)
		}
	}
}
