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

func TestExitStatus(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{errors.New("anything"), 1},
		{config.Problems{{}}, 1},
		{errReported, 1},
		{fmt.Errorf("deploy: %w", context.Canceled), 130},
		{fmt.Errorf("deploy: %w", &toolchain.CLIError{Status: 3}), 3},
	} {
		if got := report(test.err); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
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
