package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/terraform/terraform"
)

// deploy brings both servers up and deploys the stack, at the same time as far
// as one does not need the other: the stack needs only the address of the
// Prefect server.
func (u *up) deploy(ctx context.Context) (err error) {
	port := 0
	if u.state.Prefect != nil {
		port = u.state.Prefect.Port
	} else if port, err = proc.FreePort(); err != nil {
		return err
	}
	deployStack := func(ctx context.Context) error {
		if err := u.startEmulator(ctx); err != nil {
			return err
		}
		return u.deployStack(ctx, fmt.Sprintf("http://127.0.0.1:%d/api", port))
	}
	if u.env.Server.Enabled {
		// The server runs from what is deployed.
		if err := deployStack(ctx); err != nil {
			return err
		}
		return u.startOwnServer(ctx, port)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return u.startPrefect(ctx, port) })
	g.Go(func() error { return deployStack(ctx) })
	return g.Wait()
}

func (u *up) deployStack(ctx context.Context, apiURL string) error {
	user, err := readEnvironment(u.opt.config(), u.env.Name)
	if err != nil {
		return err
	}
	ids, err := u.placeholders(ctx)
	if err != nil {
		return err
	}
	local, leftOut, err := localSettings(user, apiURL, ids)
	if err != nil {
		return err
	}
	u.leftOut = leftOut
	if err := u.compile.Wait(); err != nil {
		return err
	}
	u.workspace.Environ = u.environ()
	file := filepath.Join(u.workspace.StackDir(u.env.Name), "cdk.tf.json")
	before, _ := os.ReadFile(file) // none at first
	interruption := u.readInterruption(ctx)
	if err := u.workspace.Synth(ctx, u.env.Name, local); err != nil {
		return err
	}
	after, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if interruption != "" && (ofWorker(before) != ofWorker(after) || !u.state.Supervisor.Alive()) {
		u.p.Note("warning: %s", interruption)
	}
	if err := u.imported(ctx, local); err != nil {
		return err
	}
	return u.p.Step("deploying the stack with Terraform", func() (string, error) {
		if err := u.terraform(ctx, u.opt.Project, apiURL, "apply"); err != nil {
			return "", err
		}
		return fmt.Sprintf("terraform apply %s: %s", u.env.Name, applied(u.deployLog())), u.grant(ctx)
	})
}

// terraform runs apply or destroy on the run's stack, with the output in the run's log.
func (r *run) terraform(ctx context.Context, p project.Project, apiURL, command string) error {
	log, err := os.Create(r.deployLog())
	if err != nil {
		return err
	}
	defer log.Close()
	key := make([]byte, 16)
	_, _ = rand.Read(key) // Never fails.
	environ, err := p.Environ(append(r.environ(),
		// The Prefect server needs no credential. The worker sends one all the same, that of the
		// environment's authentication, and only the emulator's Secrets Manager stores it.
		"TF_VAR_prefect_api_key=local_"+hex.EncodeToString(key),
		"TF_VAR_prefect_api_auth_string=local:"+hex.EncodeToString(key),
		"TF_VAR_prefect_api_url="+apiURL,
		"TF_VAR_aws_region="+r.state.Region,
	))
	if err != nil {
		return err
	}
	stack := terraform.Stack{
		Dir: project.Workspace{Dir: r.workspaceDir()}.StackDir(r.state.Environment), Environ: environ, TrustProvider: true, Started: r.starting,
	}
	if err := stack.Init(ctx); err != nil {
		return err
	}
	err = stack.Run(ctx, log, log, command, "-auto-approve", "-input=false", "-no-color")
	if failed, ok := errors.AsType[*terraform.Error](err); ok && failed.Output == "" && ctx.Err() == nil {
		failed.Output = fmt.Sprintf("the end of %s:\n%s", r.deployLog(), proc.Tail(r.deployLog(), 30))
	}
	return err
}

// environ returns the variables of a process that finds the emulator, and no AWS of the user's.
func (r *run) environ() []string {
	return append(emulator.WithoutUserSettings(os.Environ()), r.state.Emulator.Env(r.state.Region)...)
}

// applied returns Terraform's own summary.
func applied(log string) string {
	raw, _ := os.ReadFile(log)
	found := "done"
	for line := range strings.Lines(string(raw)) {
		if _, after, ok := strings.Cut(line, "Apply complete! Resources: "); ok {
			found = strings.TrimRight(strings.TrimSpace(after), ".")
		}
	}
	return found
}
