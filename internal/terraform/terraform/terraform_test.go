package terraform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/test/testtools"
)

// stateVariable turns the test binary into a Terraform that needs a moment to save its state, the
// file that the variable names, when it is interrupted.
const stateVariable = "TERRAFORM_TEST_STATE"

func TestMain(m *testing.M) {
	if file := os.Getenv(stateVariable); file != "" {
		slowTerraform(file)
		return
	}
	os.Exit(m.Run())
}

func slowTerraform(file string) {
	interrupts := make(chan os.Signal, 9)
	signal.Notify(interrupts, os.Interrupt)
	note := func(what string) {
		state, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		defer state.Close()
		fmt.Fprintln(state, what)
	}
	note("begun")
	ended := time.After(time.Minute) // whatever goes wrong
	for {
		select {
		case <-interrupts:
			note("interrupted")
			ended = time.After(noticeAfter + 300*time.Millisecond)
		case <-ended:
			note("saved")
			return
		}
	}
}

func TestAnInterruptedTerraformSavesItsState(t *testing.T) {
	// GIVEN a Terraform that has begun
	state := filepath.Join(t.TempDir(), "state")
	t.Setenv("TERRAFORM_BINARY_NAME", os.Args[0])
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		defer interrupt()
		for begun := []byte(nil); len(begun) == 0 && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			begun, _ = os.ReadFile(state)
		}
	}()
	// WHEN the user interrupts it
	var stderr bytes.Buffer
	err := Stack{Dir: t.TempDir(), Environ: append(os.Environ(), stateVariable+"="+state)}.Run(ctx, &bytes.Buffer{}, &stderr, "apply")
	// THEN it gets one signal, is waited for, and a message says so
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got, _ := os.ReadFile(state); string(got) != "begun\ninterrupted\nsaved\n" {
		t.Errorf("Terraform wrote %q", got)
	}
	if want := "Terraform is finishing what it has begun and saves the state; please wait\n"; stderr.String() != want {
		t.Errorf("stderr is %q", stderr.String())
	}
}

// fake is a stack for which a shell script takes the place of Terraform.
func fake(t *testing.T, script string) Stack {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "terraform")
	testtools.NoError(t, os.WriteFile(binary, []byte("#!/bin/sh\n"+script), 0o755))
	t.Setenv("TERRAFORM_BINARY_NAME", binary)
	return Stack{Dir: t.TempDir(), Environ: os.Environ(), Secrets: []string{"hunter22"}}
}

func TestErrorsOfTerraformAreShownWithoutCredentials(t *testing.T) {
	s := fake(t, "echo planned hunter22\necho 'Error: hunter22 failed' >&2\nprintf unfinished >&2\nexit 1\n")
	// WHEN its output is shown as it comes
	var stdout, stderr bytes.Buffer
	err := s.Run(t.Context(), &stdout, &stderr, "apply")
	var failed *Error
	if !errors.As(err, &failed) || failed.Output != "" {
		t.Errorf("got %v", err)
	}
	if stdout.String() != "planned (not shown)\n" || stderr.String() != "Error: (not shown) failed\nunfinished" {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
	// AND WHEN it is read THEN the error holds it
	_, err = s.Output(t.Context(), "plan")
	if want := "terraform plan: exit status 1\n    planned (not shown)\n    Error: (not shown) failed\n    unfinished"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	// AND what is read of a Terraform that succeeds is as it is
	s = fake(t, "echo hunter22\n")
	if out, err := s.Output(t.Context(), "state", "pull"); err != nil || string(out) != "hunter22\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// TestALockedState: the message of Terraform says neither that a lock can be left behind nor how to remove it.
func TestALockedState(t *testing.T) {
	s := fake(t, `cat >&2 <<'END'
╷
│ Error: Error acquiring the state lock
│
│ Error message: resource temporarily unavailable
│ Lock Info:
│   ID:        9db590f1-b6fe-c5f2-2678-8804f089deba
│   Path:      ../../../terraform.dev.tfstate
╵
END
exit 1
`)
	err := s.Run(t.Context(), &bytes.Buffer{}, &bytes.Buffer{}, "plan")
	if want := "cd " + s.Dir + " && terraform force-unlock 9db590f1-b6fe-c5f2-2678-8804f089deba"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want an end of %s", err, want)
	}
	// AND another error has no such fix
	s = fake(t, "echo 'Error: no lock. ID: 1' >&2; exit 1\n")
	if err := s.Run(t.Context(), &bytes.Buffer{}, &bytes.Buffer{}, "plan"); err == nil || err.Error() != "terraform plan: exit status 1" {
		t.Errorf("got %v", err)
	}
}

func TestLockNeedsASynthesizedStack(t *testing.T) {
	_, err := Lock(t.Context(), project.Project{Root: t.TempDir()}, "dev", new(bytes.Buffer))
	if want := "write the provider lock of dev: cdktf.out holds no stack of that name; run make synth first"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestInitRunsOnce(t *testing.T) {
	// GIVEN a stack, and a Terraform that counts its calls
	s := fake(t, "echo x >> count; mkdir -p .terraform/providers/host/namespace/type/version/platform/x\n")
	testtools.NoError(t, os.WriteFile(filepath.Join(s.Dir, "cdk.tf.json"), []byte(`{"terraform": {"required_providers": {}}}`), 0o644))
	calls := func() int {
		t.Helper()
		testtools.NoError(t, s.Init(t.Context()))
		content, err := os.ReadFile(filepath.Join(s.Dir, "count"))
		testtools.NoError(t, err)
		return strings.Count(string(content), "x")
	}
	if got := calls() + calls(); got != 2 {
		t.Errorf("a second init was run")
	}
	// WHEN the lock changes THEN there is another
	testtools.NoError(t, os.WriteFile(filepath.Join(s.Dir, ".terraform.lock.hcl"), []byte("# new"), 0o644))
	if got := calls(); got != 2 {
		t.Errorf("%d calls of init after a change of the lock, want 2", got)
	}
}
