package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/testtools"
	"prefect-worker-ecs/internal/toolchain"
	"prefect-worker-ecs/internal/verify"
)

func TestAFileThatWinsOverAVariable(t *testing.T) {
	// GIVEN a file with two values, and another one commented out
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "terraform.tfvars"), []byte("prefect_api_key = \"pnu_old\"\n  aws_region=\"eu-west-1\"\n# prefect_api_url = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// WHEN variables of the same names are set
	var out bytes.Buffer
	warnOfFiles(&out, toolchain.ReadVariables(dir, []string{"PATH=/bin", "TF_VAR_prefect_api_key=pnu_new", "TF_VAR_prefect_api_url=y", "TF_VAR_prefect_account_id=z"}))
	// THEN the user is told of the one that counts for nothing, without its value
	if want := "note: terraform.tfvars sets prefect_api_key too, and wins over TF_VAR_prefect_api_key\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestVariablesAreCheckedBeforeTerraformShowsThem(t *testing.T) {
	for _, test := range []struct{ environ, file, want string }{
		{"TF_VAR_prefect_api_url=https://prefect.example.com/api", "", ""},
		{"TF_VAR_prefect_api_key=pnu_hunter2", "", ""}, // made for it
		{"TF_VAR_prefect_api_url=https://u:hunter2@prefect.example.com/api", "", "TF_VAR_prefect_api_url: prefect.api_url = (not shown)"},
		{"TF_VAR_prefect_account_id=pnu_hunter2", "", "TF_VAR_prefect_account_id: prefect.account_id = (not shown)"},
		{"TF_VAR_prefect_api_url=http://127.1:4200/api", "", "TF_VAR_prefect_api_url: prefect.api_url = http://127.1:4200/api"},
		{"TF_VAR_aws_region=us-east-9", "", "TF_VAR_aws_region: region = us-east-9"},
		{"TF_VAR_aws_region=eu-west-1", "aws_region = \"Frankfurt\"\n", "terraform.tfvars: region = Frankfurt"},
	} {
		dir := t.TempDir()
		t.Chdir(dir)
		for name, content := range map[string]string{"terraform.tfvars": test.file, config.Dir + "/dev.yaml": "prefect: {account_id: 11111111-1111-4111-8111-111111111111}"} {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		values := toolchain.ReadVariables(dir, []string{test.environ})
		err := checkConfiguration([]string{"deploy", "dev"}, values)
		if (err != nil) != (test.want != "") || err != nil && (!strings.Contains(err.Error(), "\n"+test.want+"\n") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s %s: got %v, want %s", test.environ, test.file, err, test.want)
		}
		if err := checkConfiguration([]string{"destroy", "dev"}, values); err != nil {
			t.Errorf("%s: destroy is refused: %v", test.environ, err)
		}
	}
}

func TestApprovalNeedsATerminal(t *testing.T) {
	// GIVEN no terminal
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	stdin := os.Stdin
	os.Stdin = null
	defer func() { os.Stdin = stdin }()

	for args, refused := range map[string]bool{
		"deploy dev": true, "destroy dev": true, "deploy dev --auto-approve": false, "diff dev": false, "synth": false,
	} {
		if err := requireApproval(strings.Fields(args)); (err != nil) != refused {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestMissingToolsAreNamed(t *testing.T) {
	// GIVEN a machine with nothing on it
	t.Setenv("PATH", t.TempDir())
	for own, want := range map[string]string{"": "Go Node.js npm Terraform", "tofu": "Go Node.js npm"} {
		t.Setenv("TERRAFORM_BINARY_NAME", own)
		// THEN each tool that is needed has a line
		var named []string
		for line := range strings.Lines(checkTools().Error()) {
			name, _, _ := strings.Cut(line, " is not installed; ")
			named = append(named, name)
		}
		if got := strings.Join(named, " "); got != want {
			t.Errorf("named are %q, want %q", got, want)
		}
	}
}

func TestTheConfigurationIsCheckedFirst(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(config.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(yaml string) {
		if err := os.WriteFile(filepath.Join(config.Dir, "dev.yaml"), []byte(yaml), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	for args, want := range map[string]string{
		"deploy dev --auto-approve":   "",
		"deploy --outputs-file x dev": "", // what follows a flag may be its value
		"diff prod":                   `there is no environment "prod"`,
		"--version":                   "",
	} {
		err := checkConfiguration(strings.Fields(args), nil)
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", args, err)
		}
	}
	write("regoin: x")
	var problems config.Problems
	if err := checkConfiguration([]string{"synth"}, nil); !errors.As(err, &problems) || problems[0].Line != 1 {
		t.Errorf("got %v", err)
	}
}

func TestTheRegionToVerifyIsTheOneDeployedTo(t *testing.T) {
	testtools.Require(t, testtools.Node)
	for variable, want := range map[string]string{"": "us-east-1", "eu-west-1": "eu-west-1"} {
		t.Setenv("TF_VAR_aws_region", variable)
		t.Chdir(".") // the command changes the folder
		opt, err := verifyOptions(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
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
		"verify --json dev":      "", // no credentials: a checklist, with what could not be checked
		"verify --json missing":  `there is no environment "missing"`,
		"verify --json dev prod": "verify takes one environment, and these are 2: dev prod",
	} {
		t.Chdir(".")
		var out bytes.Buffer
		root := newRootCommand()
		root.SetOut(&out)
		root.SetErr(io.Discard)
		root.SetArgs(strings.Fields(args))
		err := root.ExecuteContext(t.Context())
		var status reported
		if !errors.As(err, &status) || int(status) != 2 {
			t.Errorf("%s: %v, want status 2", args, err)
		}
		var report verify.Report
		if err := json.Unmarshal(out.Bytes(), &report); err != nil {
			t.Fatalf("%s: %v in %s", args, err, out.String())
		}
		if report.Outcome != verify.Unknown || !strings.Contains(report.Error, want) || report.Environment == "" {
			t.Errorf("%s: %+v", args, report)
		}
	}
}

func TestHowItEnds(t *testing.T) {
	cli := &toolchain.CLIError{Args: []string{"deploy"}, Status: 3}
	for _, test := range []struct {
		err    error
		status int
		says   string
	}{
		{errors.New("anything"), 1, "workerctl: anything\n"},
		{config.Problems{{File: "dev.yaml", Rule: "r", Fix: "f"}}, 1, "1 problem in the configuration, nothing was written\n\ndev.yaml\n    rule: r\n    fix:  f\n"},
		{errors.New(`unknown command "pnu_hunter2" for "workerctl"`), 1, "workerctl: unknown command \"(not shown)\" for \"workerctl\"\n"},
		{reported(2), 2, ""},
		{fmt.Errorf("deploy: %w", context.Canceled), 130, "interrupted\n"},
		{cli, 3, ""}, // the CLI has said why
		{fmt.Errorf("%w; the end of its log: why", cli), 3, "workerctl: cdktf deploy ended with status 3; the end of its log: why\n"},
	} {
		var out bytes.Buffer
		if got := report(&out, test.err); got != test.status || out.String() != test.says {
			t.Errorf("%v: status %d, %q; want %d, %q", test.err, got, out.String(), test.status, test.says)
		}
	}
}

func TestWaitingShowsWhatIsWaitedFor(t *testing.T) {
	if waiting(io.Discard, 0) != nil {
		t.Error("nothing is waited for, so nothing is shown")
	}
	if got := firstLine("a\nb"); got != "a" {
		t.Errorf("firstLine = %q", got)
	}
	waiting(io.Discard, 1)(verify.Report{Checks: []verify.Check{{Name: "x", Status: verify.Failed, Detail: "y"}}})
}

// run calls workerctl in a project with the environments, with streams of its own.
func run(t *testing.T, environments map[string]string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{"internal/toolchain/cli/package.json": "{}"} // what a project is known by
	for name, yaml := range environments {
		files[config.Dir+"/"+name] = yaml
	}
	for name, content := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	command := newRootCommand()
	var out, errors bytes.Buffer
	command.SetOut(&out)
	command.SetErr(&errors)
	command.SetArgs(args)
	err = command.ExecuteContext(t.Context())
	return out.String(), errors.String(), err
}

func TestConfigShowsWhatIsInForce(t *testing.T) {
	// GIVEN an option from each source, and a URL with a password in a variable
	t.Setenv("TF_VAR_aws_region", "eu-west-1")
	t.Setenv("TF_VAR_prefect_api_url", "https://u:hunter2@prefect.example.com/api")
	environments := map[string]string{"dev.yaml": "worker:\n  cpu:\n  memory: 1024\n  environment: {B: x y, A: ''}\n" +
		"  secrets: {DB_PASSWORD: 'arn:aws:ssm:us-east-1:123456789012:parameter/db'}\n  extra_pip_packages: [s3fs]\n"}

	// WHEN they are shown
	stdout, stderr, err := run(t, environments, "config")
	if err != nil || stderr != "" {
		t.Fatalf("%v: %s", err, stderr)
	}
	// THEN each has its value and says where that is from
	lines := map[string]string{}
	for line := range strings.Lines(stdout) {
		key, rest, _ := strings.Cut(line, " ")
		lines[key] = strings.Join(strings.Fields(rest), " ")
	}
	for key, want := range map[string]string{
		"region":                      "eu-west-1 TF_VAR_aws_region",
		"prefect.api_url":             "(not shown) TF_VAR_prefect_api_url",
		"worker.cpu":                  "256 default",
		"worker.memory":               "1024 config/environments/dev.yaml:3",
		"worker.environment":          `{A: "", B: "x y"} config/environments/dev.yaml:4`,
		"worker.secrets":              `{DB_PASSWORD: "arn:aws:ssm:us-east-1:123456789012:parameter/db"} config/environments/dev.yaml:5`,
		"worker.extra_pip_packages":   "[s3fs] config/environments/dev.yaml:6",
		"account_id":                  "- default",
		"network.public_subnet_cidrs": "[10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24] default",
	} {
		if lines[key] != want {
			t.Errorf("%s: %q, want %q", key, lines[key], want)
		}
	}
	if len(lines) != len(config.Options()) {
		t.Errorf("%d lines for %d options", len(lines), len(config.Options()))
	}

	// AND a program gets the same
	stdout, _, err = run(t, environments, "config", "dev", "--json")
	var settings []setting
	if err := errors.Join(err, json.Unmarshal([]byte(stdout), &settings)); err != nil {
		t.Fatal(err)
	}
	if len(settings) != len(config.Options()) || settings[0] != (setting{"region", "eu-west-1", "variable", "TF_VAR_aws_region"}) {
		t.Errorf("%d settings, the first %+v", len(settings), settings[0])
	}
	if strings.Contains(stdout, "hunter2") {
		t.Error("the password is shown")
	}
}

func TestNewWritesAnEnvironment(t *testing.T) {
	stdout, _, err := run(t, map[string]string{"dev.yaml": ""}, "new", "prod")
	if want := "wrote config/environments/prod.yaml; change it as you like, then look with: make diff ENV=prod\n"; err != nil || stdout != want {
		t.Fatalf("%v: %q, want %q", err, stdout, want)
	}
	envs, err := config.Load(config.Dir)
	if err != nil || len(envs) != 2 {
		t.Errorf("%d environments, %v", len(envs), err)
	}
	if _, _, err := run(t, map[string]string{"dev.yaml": ""}, "config", "prod"); err == nil || !strings.HasPrefix(err.Error(), `there is no environment "prod"`) {
		t.Errorf("got %v", err)
	}
}
