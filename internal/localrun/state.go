package localrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"prefect-worker-ecs/internal/ecstask"
	"prefect-worker-ecs/internal/emulator"
	"prefect-worker-ecs/internal/prefectserver"
	"prefect-worker-ecs/internal/proc"
)

// State is what a local run consists of. It is written to state.json in the
// run's folder each time something is started, so that whoever comes next (the
// next up, or down) finds all of it, even after a kill -9. It holds no secrets.
type State struct {
	// Environment is the name of the environment.
	Environment string `json:"environment"`
	// PrefectMajor is the major version of Prefect: 2 or 3.
	PrefectMajor int `json:"prefect_major"`
	// Region is the AWS region of the environment.
	Region string `json:"region"`
	// Emulator and Prefect are the two servers, nil before they are ready.
	Emulator *emulator.Emulator    `json:"emulator,omitempty"`
	Prefect  *prefectserver.Server `json:"prefect,omitempty"`
	// Cluster and Service name the ECS service, TaskDefinition the ARN of the
	// revision that it runs.
	Cluster        string `json:"cluster,omitempty"`
	Service        string `json:"service,omitempty"`
	TaskDefinition string `json:"task_definition,omitempty"`
	// WorkerStarted is when the worker's supervisor was started.
	WorkerStarted time.Time `json:"worker_started,omitzero"`
	// Supervisor is the process that runs the service's task.
	Supervisor proc.Identity `json:"supervisor,omitzero"`
	// Starting are processes that are not ready yet, the CLI among them.
	Starting []proc.Identity `json:"starting,omitempty"`
}

// run is the folder of a local run and what is in it.
type run struct {
	dir string

	mu    sync.Mutex
	state State
}

func (r *run) statePath() string     { return filepath.Join(r.dir, "state.json") }
func (r *run) taskDir() string       { return filepath.Join(r.dir, "task") }
func (r *run) eventPath() string     { return filepath.Join(r.taskDir(), "events.jsonl") }
func (r *run) workspaceDir() string  { return filepath.Join(r.dir, "workspace") }
func (r *run) deployLog() string     { return filepath.Join(r.dir, "cdktf.log") }
func (r *run) supervisorLog() string { return filepath.Join(r.dir, "supervisor.log") }

// errNoRun says that there is no local run.
var errNoRun = errors.New("there is no local run")

// load reads the state, or returns errNoRun.
func (r *run) load() error {
	raw, err := os.ReadFile(r.statePath())
	if errors.Is(err, os.ErrNotExist) {
		return errNoRun
	}
	if err != nil {
		return fmt.Errorf("read the state of the local run: %w", err)
	}
	if err := json.Unmarshal(raw, &r.state); err != nil {
		return fmt.Errorf("read the state of the local run in %s: %w; stop its processes by hand and remove the folder", r.statePath(), err)
	}
	return nil
}

// update changes the state and writes it at once. The file is replaced as a
// whole, so that it is never half written.
func (r *run) update(change func(*State)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.state)
	raw, err := json.MarshalIndent(r.state, "", "  ")
	if err != nil {
		return err
	}
	partial := r.statePath() + ".new"
	if err := os.WriteFile(partial, raw, 0o600); err != nil {
		return fmt.Errorf("write the state of the local run: %w", err)
	}
	return os.Rename(partial, r.statePath())
}

// starting records a process before it is ready. The error is left to the
// update that follows when it is ready.
func (r *run) starting(id proc.Identity) {
	_ = r.update(func(s *State) { s.Starting = append(s.Starting, id) })
}

// started takes a process that is recorded elsewhere, or has ended, off that list.
func (s *State) started(id proc.Identity) {
	s.Starting = slices.DeleteFunc(s.Starting, func(other proc.Identity) bool { return other == id })
}

// events reads what the supervisor wrote about its tasks.
func (r *run) events() []ecstask.Event {
	file, err := os.Open(r.eventPath())
	if err != nil {
		return nil
	}
	defer file.Close()
	var events []ecstask.Event
	for in := json.NewDecoder(file); ; {
		var e ecstask.Event
		if in.Decode(&e) != nil { // The end, or a line that is being written.
			return events
		}
		events = append(events, e)
	}
}

const (
	// drain is how long a worker may take to stop: Fargate's longest stop
	// timeout, and some time to send the last lines of its log.
	drain = 130 * time.Second
	// abort is the same when somebody pressed Ctrl-C, or something failed: it is
	// enough for a worker without a flow run.
	abort = 5 * time.Second
)

// stopWorker stops the service's task as ECS would, and the supervisor. What
// still runs after grace is killed.
func (r *run) stopWorker(ctx context.Context, grace time.Duration) error {
	err := r.state.Supervisor.Stop(ctx, syscall.SIGTERM, grace)
	// If the supervisor was killed, the container is on its own.
	for _, e := range r.events() {
		if e.Kind == ecstask.Started {
			err = errors.Join(err, e.Process.Stop(ctx, syscall.SIGKILL, time.Second))
		}
	}
	if err != nil {
		return fmt.Errorf("stop the worker: %w", err)
	}
	return nil
}

// stopAll stops everything of the run, and nothing else.
func (r *run) stopAll(ctx context.Context) error {
	errs := []error{r.stopWorker(ctx, abort)}
	if r.state.Prefect != nil {
		errs = append(errs, r.state.Prefect.Stop(ctx))
	}
	if r.state.Emulator != nil {
		errs = append(errs, r.state.Emulator.Stop(ctx))
	}
	for _, id := range r.state.Starting {
		errs = append(errs, id.Stop(ctx, syscall.SIGINT, 10*time.Second))
	}
	return errors.Join(errs...)
}
