package run

import (
	"context"
	"errors"
	"path/filepath"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/terminal"
)

// Down destroys what the local run deployed, with terraform destroy, stops what it
// started and removes its files, and nothing else. Without a run it does nothing.
// Everything is stopped even if the destroy fails; the error says so.
func Down(ctx context.Context, opt Options) error {
	r, err := opt.run()
	if err != nil {
		return err
	}
	p := terminal.NewProgress(opt.Out)
	release, err := r.find(opt.Environment)
	if errors.Is(err, errNoRun) {
		return opt.noRun(p)
	}
	if err != nil {
		return err
	}
	defer release()

	if r.state.idle() {
		p.Line("The last local run of %s has ended; its files are removed.", opt.Environment)
	} else if err := r.end(ctx, opt, p); err != nil {
		return err
	}
	left, err := r.remove()
	for _, name := range left {
		p.Line("  left: %s, which no local run made", filepath.Join(r.dir, name))
	}
	return err
}

// end destroys and stops what the run consists of.
func (r *run) end(ctx context.Context, opt Options, p *terminal.Progress) error {
	// As ECS does when a service is deleted: its tasks are stopped first. And a Terraform
	// that an up left behind would go on deploying.
	stopErr := p.Step("stopping the worker", func() (string, error) {
		return "worker stopped", errors.Join(r.stopStarting(ctx), r.stopWorker(ctx, drain))
	})
	destroyErr := r.destroy(ctx, opt, p)
	stopErr = errors.Join(stopErr, p.Step("stopping the servers", func() (string, error) {
		return "everything is stopped", r.stopAll(context.WithoutCancel(ctx))
	}))
	if stopErr != nil {
		return errors.Join(destroyErr, stopErr) // The state stays, for another try.
	}
	return errors.Join(destroyErr, r.ended())
}

// noRun prints that there is no run, or returns an error if there is no such environment.
func (o Options) noRun(p *terminal.Progress) error {
	if err := o.known(); err != nil {
		return err
	}
	p.Line("There is no local run of %s.", o.Environment)
	return nil
}

// known returns an error where there is no such environment. One that cannot be read is there.
func (o Options) known() error {
	_, err := config.LoadOne(o.config(), o.Environment)
	if _, unreadable := errors.AsType[config.Problems](err); unreadable {
		return nil
	}
	return err
}

func (r *run) destroy(ctx context.Context, opt Options, p *terminal.Progress) error {
	// Alive too: what answers at the address of a dead emulator is another run's.
	if r.state.Emulator == nil || !r.state.Emulator.Process.Alive() || !r.state.Emulator.Ready(ctx) {
		p.Note("the AWS emulator does not run any more, and what was in it is gone: nothing to destroy")
		return nil
	}
	if r.state.Prefect == nil {
		return nil // Nothing was deployed yet.
	}
	return p.Step("destroying the stack with Terraform", func() (string, error) {
		return "terraform destroy " + r.state.Environment, r.terraform(ctx, opt.Project, r.state.Prefect.APIURL(), "destroy")
	})
}
