package run

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

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/atomicfile"
	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/postgres"
	"prefect-worker-ecs/internal/local/prefectserver"
	"prefect-worker-ecs/internal/local/supervise"
)

// State is what a local run consists of. It is written to state.json in the
// run's folder each time something is started, so that the next up or down
// finds all of it, even after a kill -9. It holds no secrets.
type State struct {
	// Of is stateOf. A state.json without it belongs to another program.
	Of string `json:"of"`
	// Folder is the folder of the run. Another one is a copy, and the processes are not its.
	Folder string `json:"folder"`
	// MadeFolder says that a run made the folder, and did not find it there.
	MadeFolder bool `json:"made_folder"`
	// Environment is the name of the environment.
	Environment string `json:"environment"`
	// PrefectMajor is the major version of Prefect: 2 or 3.
	PrefectMajor int `json:"prefect_major"`
	// Region is the AWS region of the environment.
	Region string `json:"region"`
	// Emulator and Prefect are the two servers, nil before they are ready.
	Emulator *emulator.Emulator    `json:"emulator,omitempty"`
	Prefect  *prefectserver.Server `json:"prefect,omitempty"`
	// TaskDefinition is the ARN of the revision that the worker's service runs.
	TaskDefinition string `json:"task_definition,omitempty"`
	// OwnServer is the in-stack Prefect server, nil where there is none: Prefect is then
	// where it answers, and the supervisor of its task.
	OwnServer *OwnServer `json:"own_server,omitempty"`
	// WorkerStarted is when the worker's supervisor was started.
	WorkerStarted time.Time `json:"worker_started,omitzero"`
	// Supervisor is the process that runs the service's task.
	Supervisor proc.Identity `json:"supervisor,omitzero"`
	// Starting are processes that were not ready when they were recorded, those of Terraform among them.
	Starting []proc.Identity `json:"starting,omitempty"`
}

// OwnServer is the Prefect server of the stack itself.
type OwnServer struct {
	// TaskDefinition is the ARN of the revision that its service runs.
	TaskDefinition string `json:"task_definition"`
	// Database is PostgreSQL in place of RDS. Nil: SQLite.
	Database *postgres.Server `json:"database,omitempty"`
}

// run is the folder of a local run and what is in it.
type run struct {
	dir string
	// began is when this up began.
	began time.Time

	mu    sync.Mutex
	state State
}

func (r *run) statePath() string    { return filepath.Join(r.dir, "state.json") }
func (r *run) emulatorDir() string  { return filepath.Join(r.dir, "emulator") }
func (r *run) prefectDir() string   { return filepath.Join(r.dir, "prefect") }
func (r *run) flowDir() string      { return filepath.Join(r.dir, "flow") }
func (r *run) workspaceDir() string { return filepath.Join(r.dir, "workspace") }
func (r *run) environments() string {
	return filepath.Join(r.workspaceDir(), filepath.FromSlash(config.Dir))
}

// folder returns the folder of some tasks.
func (r *run) folder(name string) supervise.Folder {
	return supervise.Folder(filepath.Join(r.dir, name))
}

func (r *run) tasks() supervise.Folder       { return r.folder("task") } // of the worker's service
func (r *run) flowTasks() supervise.Folder   { return r.folder("flow-tasks") }
func (r *run) serverTasks() supervise.Folder { return r.folder("server") } // of the in-stack server

func (r *run) deployLog() string     { return filepath.Join(r.dir, "terraform.log") }
func (r *run) serverLog() string     { return filepath.Join(r.dir, "server-supervisor.log") }
func (r *run) supervisorLog() string { return filepath.Join(r.dir, "supervisor.log") }

// errNoRun says that there is no local run.
var errNoRun = errors.New("there is no local run")

// stateOf distinguishes the state of a local run from any other state.json. The number is raised when a
// state of before can no longer be used.
const stateOf = "local run of prefect-worker-ecs, 1"

// load reads the state of a run of the environment, or returns errNoRun. What it cannot
// be sure of is an error: the state says what is stopped and removed.
func (r *run) load(environment string) error {
	raw, err := os.ReadFile(r.statePath())
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return errNoRun
	}
	if err != nil {
		return fmt.Errorf("read the state of the local run: %w", err)
	}
	var s State
	if err := json.Unmarshal(raw, &s); err != nil || s.Of != stateOf {
		return fmt.Errorf("%s is not the state of a local run as this workerctl writes it, so nothing was touched: name another folder with --dir; or, if another version of workerctl made it, take it down with that one, or stop what runs by hand and remove the folder", r.statePath())
	}
	folder, err := os.Stat(s.Folder)
	here, hereErr := os.Stat(r.dir)
	if err != nil || hereErr != nil || !os.SameFile(folder, here) {
		return fmt.Errorf("%s is of the local run in %s and was copied or moved here, so nothing was touched: name that folder with --dir, or remove this one by hand", r.statePath(), s.Folder)
	}
	if s.Environment != environment {
		return fmt.Errorf("%s holds the local run of %s, not of %s, so nothing was touched: name %s, or another folder with --dir", r.dir, s.Environment, environment, s.Environment)
	}
	r.state = s
	return nil
}

// idle reports that nothing of the run runs, because it failed or was interrupted.
func (s State) idle() bool { return s.PrefectMajor == 0 }

// update changes the state and writes it at once.
func (r *run) update(change func(*State)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.state)
	r.state.Of, r.state.Folder = stateOf, r.dir
	raw, err := json.MarshalIndent(r.state, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(r.statePath(), raw, 0o600); err != nil {
		return fmt.Errorf("write the state of the local run: %w", err)
	}
	return nil
}

// starting records a process before it is ready. The error is left to the
// update that follows when it is ready.
func (r *run) starting(id proc.Identity) {
	_ = r.update(func(s *State) { s.Starting = append(s.Starting, id) })
}

// started takes a process that is recorded elsewhere off that list.
func (s *State) started(id proc.Identity) {
	s.Starting = slices.DeleteFunc(s.Starting, func(other proc.Identity) bool { return other == id })
}

const (
	// drain is how long a worker may take to stop: Fargate's longest stop
	// timeout, and some time to send the last lines of its log.
	drain = 130 * time.Second
	// abort is the same when somebody pressed Ctrl-C, or something failed: it is
	// enough for a worker without a flow run.
	abort = 5 * time.Second
	// serverGrace is enough for a Prefect server: measured are 10 s.
	serverGrace = 20 * time.Second
)

// stopWorker stops the service's task as ECS would, and the supervisor. What
// still runs after grace is killed.
func (r *run) stopWorker(ctx context.Context, grace time.Duration) error {
	if err := stopTask(ctx, r.state.Supervisor, append(r.tasks().Events(), r.flowTasks().Events()...), grace); err != nil {
		return fmt.Errorf("stop the worker: %w", err)
	}
	return nil
}

func stopTask(ctx context.Context, supervisor proc.Identity, events []ecstask.Event, grace time.Duration) error {
	err := supervisor.Stop(ctx, syscall.SIGTERM, grace)
	// If the supervisor was killed, the container is on its own.
	for _, e := range events {
		if e.Kind == ecstask.Started {
			err = errors.Join(err, e.Process.Stop(ctx, syscall.SIGKILL, time.Second))
		}
	}
	return err
}

// stopPrefect stops the Prefect server, and the database of one that is in-stack.
func (r *run) stopPrefect(ctx context.Context) error {
	own := r.state.OwnServer
	if own == nil {
		if r.state.Prefect == nil {
			return nil
		}
		return r.state.Prefect.Stop(ctx)
	}
	var errs []error
	if r.state.Prefect != nil {
		errs = append(errs, stopTask(ctx, r.state.Prefect.Process, r.serverTasks().Events(), serverGrace))
	}
	if own.Database != nil {
		errs = append(errs, own.Database.Stop(ctx))
	}
	return errors.Join(errs...)
}

// stopAll stops everything of the run, and nothing else.
func (r *run) stopAll(ctx context.Context) error {
	errs := []error{r.stopWorker(ctx, abort)}
	proc.KillWith("TMPDIR=" + r.dir + "/") // flows of a task whose supervisor was killed
	errs = append(errs, r.stopPrefect(ctx))
	if r.state.Emulator != nil {
		errs = append(errs, r.state.Emulator.Stop(ctx))
	}
	return errors.Join(append(errs, r.stopStarting(ctx))...)
}

// stopStarting stops what a killed up was just starting: a Terraform that still deploys among it.
func (r *run) stopStarting(ctx context.Context) error {
	var errs []error
	for _, id := range r.state.Starting {
		errs = append(errs, id.Stop(ctx, syscall.SIGINT, 10*time.Second))
	}
	return errors.Join(errs...)
}
