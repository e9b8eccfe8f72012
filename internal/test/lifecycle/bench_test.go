package lifecycle

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

// BenchmarkPlan measures `workerctl plan` against `terraform plan` alone, alternately, on the
// default stack as it was deployed to the emulator, without changes. It reports medians and their
// ratio, of which the rest is the synth, the check of the credentials and the report.
func BenchmarkPlan(b *testing.B) {
	testtools.Require(b, testtools.Node, testtools.Terraform)
	aws, err := emulator.Start(b.Context(), emulator.Options{Python: testtools.Environment(b, pyenv.Moto), Dir: b.TempDir()})
	testtools.NoError(b, err)
	b.Cleanup(func() {
		if err := aws.Stop(context.Background()); err != nil {
			b.Error(err)
		}
	})
	// GIVEN a project with the default environment and what make builds
	dir := b.TempDir()
	bin, environments := filepath.Join(dir, ".local", "bin"), filepath.Join(dir, "config", "environments")
	marker := filepath.Join(dir, "cmd", "workerctl") // by which workerctl finds the project
	err = errors.Join(os.MkdirAll(bin, 0o755), os.MkdirAll(environments, 0o755), os.MkdirAll(marker, 0o755),
		os.WriteFile(filepath.Join(marker, "main.go"), nil, 0o644), os.WriteFile(filepath.Join(environments, "dev.yaml"), nil, 0o644))
	testtools.NoError(b, err)
	run := func(dir, name string, args ...string) time.Duration {
		b.Helper()
		cmd := exec.CommandContext(b.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(append(os.Environ(), aws.Env(emulator.Region)...), "TF_VAR_prefect_api_key=bench", "TF_VAR_prefect_api_url=https://prefect.example.com/api")
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 2 && args[0] == "plan" {
			err = nil // there are changes
		}
		if err != nil {
			b.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return time.Since(begin)
	}
	run("../../..", "go", "build", "-o", bin, ".", "./cmd/workerctl")
	workerctl, stack := filepath.Join(bin, "workerctl"), filepath.Join(dir, "cdktf.out", "stacks", "dev")
	run(dir, workerctl, "plan", "--built", "dev") // synthesizes and initializes
	run(stack, "terraform", "apply", "-auto-approve", "-input=false", "-no-color")

	var alone, whole []time.Duration
	for b.Loop() {
		alone = append(alone, run(stack, "terraform", "plan", "-input=false", "-no-color"))
		whole = append(whole, run(dir, workerctl, "plan", "--built", "dev"))
	}
	slices.Sort(alone)
	slices.Sort(whole)
	a, w := alone[len(alone)/2].Seconds(), whole[len(whole)/2].Seconds()
	b.ReportMetric(a, "terraform-s")
	b.ReportMetric(w, "workerctl-s")
	b.ReportMetric(w/a, "x-terraform")
	b.ReportMetric(0, "ns/op") // of both, which says nothing
}
