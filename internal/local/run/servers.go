package run

import (
	"context"
	"fmt"

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
			Python: u.moto, Dir: u.emulatorDir(), Started: u.starting,
		})
		if err != nil {
			return "", err
		}
		return "AWS emulator: " + e.Endpoint, u.update(func(s *State) { s.Emulator = e; s.started(e.Process) })
	})
}

// startPrefect starts the Prefect server and makes its client.
func (u *up) startPrefect(ctx context.Context, port int) (err error) {
	if u.state.Prefect == nil {
		err = u.p.Step("starting the Prefect server", func() (string, error) {
			s, err := prefectserver.Start(ctx, prefectserver.Options{
				Env: u.prefect, Dir: u.prefectDir(), Port: port, Started: u.starting,
			})
			if err != nil {
				return "", err
			}
			return "Prefect server: " + s.URL(), u.update(func(st *State) { st.Prefect = s; st.started(s.Process) })
		})
		if err != nil {
			return err
		}
	}
	u.client, err = api.New(u.state.Prefect.APIURL(), "")
	return err
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
