// Command bench measures `make diff` against `terraform plan` on the same workspace: the
// default stack, deployed to the emulator, without changes. It takes medians of five runs,
// made alternately.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/terraform/toolchain"
)

const runs = 5

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	project, err := toolchain.Find(".")
	if err != nil {
		return err
	}
	if err := project.EnsureCLI(ctx, nil); err != nil {
		return err
	}
	moto, err := pyenv.Ensure(ctx, pyenv.Moto, pyenv.Options{Root: project.Local()})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-diff-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	aws, err := emulator.Start(ctx, emulator.Options{Python: moto, Dir: filepath.Join(dir, "emulator")})
	if err != nil {
		return err
	}
	defer func() { _ = aws.Stop(context.WithoutCancel(ctx)) }()
	workspace, err := project.NewWorkspace(ctx, filepath.Join(dir, "workspace"))
	if err != nil {
		return err
	}
	if err := workspace.WriteEnvironment("dev", nil); err != nil {
		return err
	}
	env := append(aws.Env(), "TF_VAR_prefect_api_key=bench", "TF_VAR_prefect_api_url=https://prefect.example.com/api")
	cdktf := func(args ...string) error {
		log := filepath.Join(dir, "log")
		file, err := os.Create(log)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := project.CDKTF(ctx, toolchain.Run{Dir: workspace.Dir, App: project.Program(), Args: args, Env: env, Stdout: file, Stderr: file}); err != nil {
			text, _ := os.ReadFile(log)
			return fmt.Errorf("%w\n%s", err, text)
		}
		return nil
	}
	fmt.Fprintln(out, "deploying to the emulator")
	if err := cdktf("deploy", "dev", "--auto-approve"); err != nil {
		return err
	}
	plan := func() error {
		_, err := project.TerraformIn(ctx, workspace.Stack("dev"), env, "plan", "-input=false", "-no-color")
		return err
	}
	var plans, diffs []time.Duration
	for range runs {
		for _, m := range []struct {
			run   func() error
			times *[]time.Duration
		}{{plan, &plans}, {func() error { return cdktf("diff", "dev") }, &diffs}} {
			began := time.Now()
			if err := m.run(); err != nil {
				return err
			}
			*m.times = append(*m.times, time.Since(began))
		}
	}
	p, d := median(plans), median(diffs)
	fmt.Fprintf(out, "terraform plan %.2f s, cdktf diff through workerctl %.2f s: %.2f times (bound 1.5)\n", p.Seconds(), d.Seconds(), d.Seconds()/p.Seconds())
	return nil
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
