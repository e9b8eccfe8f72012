package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
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
	warnOfFiles(&out, dir, []string{"PATH=/bin", "TF_VAR_prefect_api_key=pnu_new", "TF_VAR_prefect_api_url=y", "TF_VAR_prefect_account_id=z"})
	// THEN the user is told of the one that counts for nothing, without its value
	if want := "note: terraform.tfvars sets prefect_api_key too, and wins over TF_VAR_prefect_api_key\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestACredentialInAVariableIsRefusedUnseen(t *testing.T) {
	for variable, refused := range map[string]bool{
		"TF_VAR_prefect_api_url=https://u:hunter2@prefect.example.com/api": true,
		"TF_VAR_prefect_account_id=pnu_hunter2":                            true,
		"TF_VAR_prefect_api_url=https://prefect.example.com/api":           false,
		"TF_VAR_prefect_api_key=pnu_hunter2":                               false,
		"PREFECT_API_KEY=pnu_hunter2":                                      false,
	} {
		err := refuseCredentials([]string{variable})
		if (err != nil) != refused || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", variable, err)
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
		err := checkConfiguration(strings.Fields(args))
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", args, err)
		}
	}
	write("regoin: x")
	var problems config.Problems
	if err := checkConfiguration([]string{"synth"}); !errors.As(err, &problems) || problems[0].Line != 1 {
		t.Errorf("got %v", err)
	}
}

func TestTheRegionToVerifyIsTheOneDeployedTo(t *testing.T) {
	for variable, want := range map[string]string{"": "us-east-1", "eu-west-1": "eu-west-1"} {
		t.Setenv("TF_VAR_aws_region", variable)
		t.Chdir(".") // environment changes the folder
		env, err := environment(nil)
		if err != nil {
			t.Fatal(err)
		}
		if env.Name != "dev" || env.Region != want {
			t.Errorf("TF_VAR_aws_region=%s: %s in %s, want dev in %s", variable, env.Name, env.Region, want)
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
		{errReported, 1, ""},
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
	if waiting(0) != nil {
		t.Error("nothing is waited for, so nothing is shown")
	}
	if got := firstLine("a\nb"); got != "a" {
		t.Errorf("firstLine = %q", got)
	}
	waiting(1)(verify.Report{Checks: []verify.Check{{Name: "x", Status: verify.Failed, Detail: "y"}}})
}
