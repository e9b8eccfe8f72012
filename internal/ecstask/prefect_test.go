package ecstask

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/prefectapi"
	"prefect-worker-ecs/internal/prefectserver"
	"prefect-worker-ecs/internal/pyenv"
	"prefect-worker-ecs/internal/testtools"
)

// What happens to a flow run when ECS stops its worker's task, against a real
// worker and a real server. It is why the stack sets an entry point of its own
// for Prefect 2, and README says so.
func TestFlowRunWhenItsTaskIsStopped(t *testing.T) {
	t.Run("Prefect 2, with the stack's entry point, tini without -g", func(t *testing.T) {
		stopDuringFlowRun(t, pyenv.Prefect2, []string{"/usr/bin/tini", "--", "/opt/prefect/entrypoint.sh"}, "COMPLETED")
	})
	// The worker of Prefect 3 ends at once and takes its runs with it; nobody tells the API,
	// where they stay RUNNING. An entry point of one's own would change nothing (tried with
	// 3.8.3), and the stack sets none.
	t.Run("Prefect 3, with the image's own, tini -g", func(t *testing.T) {
		stopDuringFlowRun(t, pyenv.Prefect3, nil, "RUNNING")
	})
}

// stopDuringFlowRun stops a worker whose container has this entry point, nil for the image's
// own; want is the state of its flow run in the end.
func stopDuringFlowRun(t *testing.T, spec pyenv.Spec, entry []string, want string) {
	env := testtools.Environment(t, spec)
	server, err := prefectserver.Start(t.Context(), prefectserver.Options{Env: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	api, err := prefectapi.New(server.APIURL(), "")
	if err != nil {
		t.Fatal(err)
	}

	const pool = "p"
	// GIVEN a worker, as a task, with a flow run that goes on until it is told to end
	if err := api.CreateWorkPool(t.Context(), pool, "process"); err != nil {
		t.Fatal(err)
	}
	dir, signals := t.TempDir(), t.TempDir()
	running, finish := filepath.Join(signals, "running"), filepath.Join(signals, "finish")
	flow := fmt.Sprintf(`
import pathlib, time
from prefect import flow

@flow
def wait():
    pathlib.Path(%q).touch()
    while not pathlib.Path(%q).exists():
        time.sleep(0.05)
`, running, finish)
	if err := os.WriteFile(filepath.Join(dir, "wait.py"), []byte(flow), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runInBackground(t, Options{
		Image: func(context.Context, []string) (pyenv.Env, error) { return env, nil },
		Definition: definition("", func(c *types.ContainerDefinition) {
			c.EntryPoint = entry
			c.Command = []string{"prefect", "worker", "start", "--pool", pool, "--type", "process", "--name", "w"}
			c.StopTimeout = aws.Int32(120)
			for name, value := range map[string]string{
				"PREFECT_API_URL": server.APIURL(), "PREFECT_WORKER_QUERY_SECONDS": "1", "DO_NOT_TRACK": "1",
				"PREFECT_CLI_WRAP_LINES": "false",
			} {
				c.Environment = append(c.Environment, types.KeyValuePair{Name: aws.String(name), Value: aws.String(value)})
			}
		}),
	})
	deployment, err := api.Deploy(t.Context(), prefectapi.LocalFlow{Name: pool, Pool: pool, Dir: dir, Entrypoint: "wait.py:wait"})
	if err != nil {
		t.Fatal(err)
	}
	run, err := api.Run(t.Context(), deployment, nil)
	if err != nil {
		t.Fatal(err)
	}
	awaitFile(t, running, r)

	// WHEN the task is stopped, and the run could end a moment later
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	r.awaitOutput("Received SIGTERM")
	if want == "COMPLETED" {
		// The worker waits for its run.
		select {
		case <-stopped:
			t.Error("the worker did not wait for its flow run")
		case <-time.After(2 * time.Second):
		}
		if err := os.WriteFile(finish, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	<-stopped

	// THEN the run is what the README says, and the worker ended well
	end, err := api.FlowRun(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if end.State != want {
		t.Errorf("flow run %s: %s; want %s. Output:\n%s", end.State, end.StateDetail.Message, want, r.output())
	}
	if e := r.next(Stopped); e.ExitCode != 0 {
		t.Errorf("the worker ended with %d, want 0", e.ExitCode)
	}
	if n := strings.Count(r.output(), "Worker 'w' stopped!"); n != 1 {
		t.Errorf("the worker says %d times that it stopped, want once; output:\n%s", n, r.output())
	}
}

func awaitFile(t *testing.T, path string, r *taskRun) {
	t.Helper()
	for end := time.Now().Add(2 * limit); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the flow run does not start; output:\n%s", r.output())
		}
	}
}
