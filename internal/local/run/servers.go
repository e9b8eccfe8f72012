package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/prefectserver"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/workpool"
)

func (u *up) startEmulator(ctx context.Context) error {
	if u.state.Emulator != nil {
		return nil
	}
	return u.p.Step("starting the AWS emulator", func() (string, error) {
		e, err := emulator.Start(ctx, emulator.Options{
			Python: u.moto, Dir: u.emulatorDir(), Detached: true, Started: u.starting,
		})
		if err != nil {
			return "", err
		}
		return "AWS emulator: " + e.Endpoint, u.update(func(s *State) { s.Emulator = e; s.started(e.Process) })
	})
}

func (u *up) startPrefect(ctx context.Context, port int) error {
	if u.state.Prefect != nil {
		return nil
	}
	err := u.p.Step("starting the Prefect server", func() (string, error) {
		s, err := prefectserver.Start(ctx, prefectserver.Options{
			Env: u.prefect, Dir: u.prefectDir(), Port: port, Detached: true, Started: u.starting,
		})
		if err != nil {
			return "", err
		}
		return "Prefect server: " + s.URL, u.update(func(st *State) { st.Prefect = s; st.started(s.Process) })
	})
	if err != nil {
		return err
	}
	return u.connect(ctx)
}

// connect makes the client for the Prefect server, and looks at its work pool.
func (u *up) connect(ctx context.Context) (err error) {
	if u.client, err = api.New(u.state.Prefect.APIURL(), ""); err != nil {
		return err
	}
	return u.checkPool(ctx)
}

// checkPool refuses a work pool, or a queue in it, that hands out nothing: the worker would be
// online and no flow run would start.
func (u *up) checkPool(ctx context.Context) error {
	want := u.env.WorkPool
	pool, err := u.client.WorkPool(ctx, want.Name)
	switch {
	case errors.Is(err, api.ErrNotFound):
		return nil // applyPool makes it when the stack is deployed
	case err != nil:
		return fmt.Errorf("look for the work pool: %w", err)
	case pool.Type != string(want.Type):
		return fmt.Errorf("the Prefect server of the local run has a work pool %s of type %s from before; run %s first", pool.Name, pool.Type, u.opt.command("down"))
	case pool.Paused:
		return fmt.Errorf("the work pool %s of the local run is paused, and a paused pool hands out no flow run; resume it at %s/work-pools", pool.Name, u.state.Prefect.URL)
	case noneAtATime(pool.ConcurrencyLimit):
		return fmt.Errorf("the work pool %s of the local run has a concurrency limit of 0, with which no flow run starts; change it at %s/work-pools", pool.Name, u.state.Prefect.URL)
	}
	queues, err := u.client.WorkQueues(ctx, want.Name)
	if err != nil {
		return fmt.Errorf("look for the queues of the work pool: %w", err)
	}
	for _, queue := range queues {
		// Without a choice the worker serves all, and the flow run goes to the default one.
		served := slices.Contains(want.Queues, queue.Name) || len(want.Queues) == 0 && queue.Name == "default"
		switch {
		case served && queue.Paused:
			return fmt.Errorf("the queue %s of the work pool %s of the local run is paused, and a paused queue hands out no flow run; resume it at %s/work-pools", queue.Name, want.Name, u.state.Prefect.URL)
		case served && noneAtATime(queue.ConcurrencyLimit):
			return fmt.Errorf("the queue %s of the work pool %s of the local run has a concurrency limit of 0, with which no flow run starts; change it at %s/work-pools", queue.Name, want.Name, u.state.Prefect.URL)
		}
	}
	return nil
}

// applyPool makes the work pool fit the deployment, as workerctl pool apply does.
func (u *up) applyPool(ctx context.Context) error {
	return u.p.Step("making the work pool fit the deployment", func() (string, error) {
		options, err := u.checklist()
		if err != nil {
			return "", err
		}
		env := options.Environment
		var wanted workpool.Wanted
		if env.WorkPool.FlowsAreTasks() {
			if wanted, err = workpool.Read(ctx, options.AWS, env); err != nil {
				return "", err
			}
		}
		plan, err := workpool.Prepare(ctx, u.client, env.WorkPool, wanted)
		if err != nil {
			return "", err
		}
		for _, line := range plan.Lines() {
			u.p.Note("%s", line)
		}
		return fmt.Sprintf("work pool %s of type %s fits the deployment", env.WorkPool.Name, env.WorkPool.Type), plan.Apply(ctx, u.client)
	})
}

func noneAtATime(limit *int) bool { return limit != nil && *limit == 0 }
