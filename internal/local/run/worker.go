package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/prefect/api"
)

// readInterruption reads which flow runs end if the worker that an earlier run left behind is replaced. It is called
// before the stack is another one.
func (u *up) readInterruption(ctx context.Context) string {
	if u.state.TaskDefinition == "" {
		return ""
	}
	checklist, err := u.checklist()
	var warning string
	if err == nil {
		warning, err = verify.Interruption(ctx, checklist, u.state.Supervisor.Alive())
	}
	if err != nil {
		return "whether flow runs end with the worker could not be read: " + err.Error()
	}
	return warning
}

// ofWorker returns the worker's service and task definition in a stack, as JSON.
func ofWorker(stack []byte) string {
	var s struct {
		Resource struct {
			Service    map[string]json.RawMessage `json:"aws_ecs_service"`
			Definition map[string]json.RawMessage `json:"aws_ecs_task_definition"`
		}
	}
	_ = json.Unmarshal(stack, &s) // Terraform says what is wrong with it
	return string(s.Resource.Service["worker"]) + string(s.Resource.Definition["worker"])
}

// startWorker runs the service's tasks, and waits until a worker of the deployed definition is online in Prefect's API.
func (u *up) startWorker(ctx context.Context) error {
	definition, err := definitionOf(ctx, u.aws(), u.env.Cluster.Name, u.env.Worker.ServiceName)
	if err != nil {
		return err
	}
	arn := *definition.TaskDefinitionArn
	supervised := u.state.Supervisor.Alive()
	if !supervised {
		// A task that a killed supervisor has left behind is stopped; what it wrote is not taken for the next one's.
		if err := u.stopWorker(ctx, drain); err != nil {
			return err
		}
		if err := errors.Join(u.tasks().Clear(), u.flowTasks().Clear()); err != nil {
			return err
		}
	}
	if !supervised || u.state.TaskDefinition != arn {
		if err := u.update(func(s *State) {
			s.TaskDefinition, s.WorkerStarted = arn, time.Now()
		}); err != nil {
			return err
		}
	}
	if !supervised {
		id, err := u.startSupervisor(u.supervisorLog())
		if err != nil {
			return err
		}
		if err := u.update(func(s *State) { s.Supervisor = id }); err != nil {
			return err
		}
	}
	before := fmt.Sprintf("running the task definition %s as ECS would, until its worker is online", iam.ResourceName(arn))
	return u.p.Step(before, func() (string, error) {
		name, err := u.awaitOnline(ctx)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("worker %s is ONLINE, from task definition %s", name, iam.ResourceName(arn)), nil
	})
}

// startSupervisor starts a process of its own that keeps a task of the stack.
func (u *up) startSupervisor(logFile string, flags ...string) (proc.Identity, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return proc.Identity{}, err
	}
	defer log.Close()
	cmd := exec.Command(u.opt.Program, slices.Concat([]string{"local", "supervise"}, flags, []string{u.dir, u.env.Name})...)
	cmd.Dir = u.opt.Project.Root
	cmd.Stdout, cmd.Stderr = log, log
	id, err := proc.Start(cmd, true)
	if err != nil {
		return proc.Identity{}, err
	}
	go func() { _ = cmd.Wait() }()
	return id, nil
}

// onlineTimeout is how long a worker may take to be online: Prefect alone takes 10 s to
// start, and packages may have to be installed first.
const onlineTimeout = 5 * time.Minute

// awaitOnline waits for a worker in a task of the deployed definition, with a heartbeat newer than its start, and
// gives up when such a task ends.
func (u *up) awaitOnline(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, onlineTimeout)
	defer cancel()
	var name string
	var apiErr error
	err := poll.Until(ctx, 500*time.Millisecond, func() (bool, error) {
		var workers []api.Worker
		workers, apiErr = u.client.OnlineWorkers(ctx, u.env.WorkPool.Name, u.state.WorkerStarted)
		for _, e := range u.tasks().Events() {
			for _, w := range workers {
				if e.Kind == ecstask.Started && e.Definition == u.state.TaskDefinition && strings.HasSuffix(w.Name, e.TaskID) {
					name = w.Name
					return true, nil
				}
			}
		}
		return false, u.workerEnded()
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("no worker of the pool is online after %v (last answer of the API: %v); the end of its output:\n%s", onlineTimeout, apiErr, proc.Tail(u.tasks().Log(), 30))
	}
	return name, err
}

// workerEnded returns an error if no worker will be online: a task of the deployment or the supervisor has ended.
func (u *up) workerEnded() error {
	for _, e := range u.tasks().Events() {
		switch {
		case e.Definition != u.state.TaskDefinition || e.Time.Before(u.state.WorkerStarted):
			// of an earlier deployment
		case e.Kind == ecstask.Failed:
			return fmt.Errorf("the task does not start: %s", e.Reason)
		case e.Kind == ecstask.Stopped:
			return fmt.Errorf("the task ended with exit code %d (%s); the end of its output:\n%s", e.ExitCode, e.Reason, proc.Tail(u.tasks().Log(), 30))
		}
	}
	if !u.state.Supervisor.Alive() {
		return fmt.Errorf("the task's supervisor ended; the end of %s:\n%s", u.supervisorLog(), proc.Tail(u.supervisorLog(), 10))
	}
	return nil
}
