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
func (u *up) deploy(ctx context.Context) (leftOut []string, err error) {
	port := 0
	if u.state.Prefect != nil {
		port = u.state.Prefect.Port
	} else if port, err = proc.FreePort(); err != nil {
		return nil, err
	}
	url := func(port int) string { return fmt.Sprintf("http://127.0.0.1:%d/api", port) }

	if u.env.Server.Enabled {
		// The server runs from what is deployed.
		if err := u.startEmulator(ctx); err != nil {
			return nil, err
		}
		if leftOut, err = u.deployStack(ctx, url(port)); err != nil {
			return nil, err
		}
		return leftOut, u.startOwnServer(ctx, port)
	}
	if u.state.Prefect != nil {
		// What is wrong with its pool is said before anything changes.
		if err := u.connect(ctx); err != nil {
			return nil, err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return u.startPrefect(gctx, port) })
	g.Go(func() error {
		if err := u.startEmulator(gctx); err != nil {
			return err
		}
		var err error
		leftOut, err = u.deployStack(gctx, url(port))
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if u.state.Prefect.Port != port {
		// Somebody took the port in between. The stack follows the server.
		if _, err := u.deployStack(ctx, url(u.state.Prefect.Port)); err != nil {
			return nil, err
		}
	}
	return leftOut, nil
}

func (u *up) deployStack(ctx context.Context, apiURL string) (leftOut []string, err error) {
	user, err := readEnvironment(u.opt.config(), u.env.Name)
	if err != nil {
		return nil, err
	}
	ids, err := u.placeholders(ctx)
	if err != nil {
		return nil, err
	}
	local, leftOut, err := localSettings(user, apiURL, ids)
	if err != nil {
		return nil, err
	}
	if err := u.compile.Wait(); err != nil {
		return nil, err
	}
	u.workspace.Environ = u.environ()
	file := filepath.Join(u.workspace.StackDir(u.env.Name), "cdk.tf.json")
	before, _ := os.ReadFile(file) // none at first
	interruption := u.readInterruption(ctx)
	if err := u.workspace.Synth(ctx, u.env.Name, local); err != nil {
		return nil, err
	}
	after, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if interruption != "" && (ofWorker(before) != ofWorker(after) || !u.state.Supervisor.Alive()) {
		u.p.Note("warning: %s", interruption)
	}
	if err := u.imported(ctx, local); err != nil {
		return nil, err
	}
	err = u.p.Step("deploying the stack with Terraform", func() (string, error) {
		if err := u.terraform(ctx, u.opt.Project, apiURL, "apply"); err != nil {
			return "", err
		}
		return fmt.Sprintf("terraform apply %s: %s", u.env.Name, applied(u.deployLog())), u.grant(ctx)
	})
	return leftOut, err
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
	var processes []proc.Identity // of init and of the command
	stack := terraform.Stack{
		Dir: project.Workspace{Dir: r.workspaceDir()}.StackDir(r.state.Environment), Environ: environ, TrustProvider: true,
		Started: func(id proc.Identity) { processes = append(processes, id); r.starting(id) },
	}
	err = stack.Init(ctx)
	if err == nil {
		err = stack.Run(ctx, log, log, command, "-auto-approve", "-input=false", "-no-color")
	}
	if updateErr := r.update(func(s *State) {
		for _, id := range processes {
			s.started(id)
		}
	}); err == nil {
		err = updateErr
	}
	var failed *terraform.Error
	if errors.As(err, &failed) && failed.Output == "" && ctx.Err() == nil {
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
