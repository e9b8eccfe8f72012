package localrun

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fatih/color"

	"prefect-worker-ecs/internal/ecstask"
)

// Down destroys what the local run deployed, with cdktf destroy, and stops
// what it started, and nothing else. Without a run it does nothing. Everything
// is stopped even if the destroy fails; the error says so.
func Down(ctx context.Context, opt Options) error {
	r, err := opt.run()
	if err != nil {
		return err
	}
	p := newProgress(opt.Out)
	if _, err := os.Stat(r.statePath()); errors.Is(err, os.ErrNotExist) {
		p.line("There is no local run of %s.", opt.Environment)
		return nil
	}
	release, err := r.lock()
	if err != nil {
		return err
	}
	defer release()
	if err := r.load(); err != nil {
		return err
	}

	// As ECS does when a service is deleted: its tasks are stopped first.
	stopErr := p.step("stopping the worker", func() (string, error) { return "worker stopped", r.stopWorker(ctx, drain) })
	destroyErr := r.destroy(ctx, opt, p)
	stopErr = errors.Join(stopErr, p.step("stopping the servers", func() (string, error) {
		return "everything is stopped", r.stopAll(context.WithoutCancel(ctx))
	}))
	if stopErr != nil {
		return errors.Join(destroyErr, stopErr) // The state stays, for another try.
	}
	if destroyErr != nil {
		return errors.Join(destroyErr, r.forget())
	}
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("remove the folder of the local run: %w", err)
	}
	return nil
}

func (r *run) destroy(ctx context.Context, opt Options, p *progress) error {
	if r.state.Emulator == nil || !r.state.Emulator.Ready(ctx) {
		p.note("the AWS emulator does not run any more, and what was in it is gone: nothing to destroy")
		return nil
	}
	if r.state.Prefect == nil {
		return nil // Nothing was deployed yet.
	}
	return p.step("destroying the stack with cdktf", func() (string, error) {
		if err := opt.Project.EnsureCLI(ctx, func(s string) { p.note("%s", s) }); err != nil {
			return "", err
		}
		err := r.cdktf(ctx, opt.Project, r.state.Prefect.APIURL(), "destroy", r.state.Environment, "--auto-approve")
		return "cdktf destroy " + r.state.Environment, err
	})
}

// Status shows what of the local run is running. It changes nothing.
func Status(ctx context.Context, opt Options) error {
	r, err := opt.run()
	if err != nil {
		return err
	}
	p := newProgress(opt.Out)
	switch err := r.load(); {
	case errors.Is(err, errNoRun):
		p.line("There is no local run of %s.", opt.Environment)
		return nil
	case err != nil:
		return err
	}
	s := r.state
	show := func(name string, running bool, pid int, detail string) {
		mark, word := color.GreenString("✓"), "running"
		if !running {
			mark, word = color.RedString("✗"), "not running"
		}
		p.line("  %s %-15s %-12s pid %-8d %s", mark, name, word, pid, detail)
	}
	if s.Emulator != nil {
		show("AWS emulator", s.Emulator.Process.Alive() && s.Emulator.Ready(ctx), s.Emulator.PID(), s.Emulator.Endpoint)
	}
	if s.Prefect != nil {
		show("Prefect server", s.Prefect.Process.Alive() && s.Prefect.Ready(ctx), s.Prefect.PID(), s.Prefect.URL)
	}
	if s.Supervisor.PID != 0 {
		show("task supervisor", s.Supervisor.Alive(), s.Supervisor.PID, s.TaskDefinition)
	}
	var started, last *ecstask.Event
	health := ecstask.HealthUnknown
	for _, e := range r.events() {
		last = &e
		switch e.Kind {
		case ecstask.Started:
			started, health = &e, ecstask.HealthUnknown
		case ecstask.HealthChanged:
			health = e.Health
		}
	}
	if started != nil {
		show("worker", started.Process.Alive(), started.Process.PID, fmt.Sprintf("task %s, health %s", started.TaskID, health))
	}
	if last != nil && last.Reason != "" {
		p.line("    last: %s", last.Reason)
	}
	p.line("  files: %s", r.dir)
	return nil
}
