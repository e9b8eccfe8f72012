package ecsworker_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

// TestGuard runs the guard in a task that consists of processes with its environment, before an ECS agent that
// records what it is called with, and a Prefect API that answers as the test says.
func TestGuard(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("tasks of Fargate run on Linux")
	}
	python := testtools.Environment(t, pyenv.Moto).Python()
	type request struct {
		ProtectionEnabled bool
		ExpiresInMinutes  int
	}
	requests, problem := make(chan request, 100), make(chan string, 1)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got request
		if r.Method != http.MethodPut || r.URL.Path != "/v4/task/task-protection/v1/state" || json.NewDecoder(r.Body).Decode(&got) != nil {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		select {
		case text := <-problem:
			_, _ = io.WriteString(w, text)
			return
		default:
		}
		requests <- got
		_, _ = io.WriteString(w, `{"protection": {}}`)
	}))
	t.Cleanup(agent.Close)
	questions, answers := make(chan string, 100), make(chan func(http.ResponseWriter), 1)
	prefect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		questions <- r.URL.Path + " " + r.Header.Get("Authorization") + " " + string(body)
		(<-answers)(w)
	}))
	t.Cleanup(prefect.Close)
	count := func(pending string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = io.WriteString(w, pending) }
	}
	status := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(code) }
	}

	// GIVEN a guard that releases the task after two seconds, and an agent that refuses the first request
	code, err := os.ReadFile("guard.py")
	testtools.NoError(t, err)
	process := func(command []string, environ ...string) (*exec.Cmd, *bufio.Reader) {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environ...)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		testtools.NoError(t, err)
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd, bufio.NewReader(out)
	}
	uri := "ECS_AGENT_URI=" + agent.URL + "/v4/task"
	problem <- `{"failure": {"Arn": "a", "Reason": "DEPLOYMENT_BLOCKED"}}`
	short := strings.NewReplacer("IDLE = 60", "IDLE = 2", "pause = True, 5", "pause = True, 0.1", "LONGEST = 900", "LONGEST = 8").Replace(string(code))
	_, output := process([]string{python, "-c", short}, uri, "PREFECT_API_URL="+prefect.URL+"/api", "PREFECT_WORK_POOL_NAME=p", "PREFECT_API_KEY=k")
	next := func(want request) {
		t.Helper()
		select {
		case got := <-requests:
			if got != want {
				t.Fatalf("%+v, want %+v", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("the agent is not called with %+v", want)
		}
	}
	// THEN the refusal is in the log, and the guard goes on
	if line, _ := output.ReadString('\n'); line != "task protection: flow runs of this task may be stopped: DEPLOYMENT_BLOCKED\n" {
		t.Errorf("%q", line)
	}
	for _, sequence := range [][]func(http.ResponseWriter){
		{count("0")},
		// A run that a worker has taken, an API that does not answer, one with too many requests, another one than Prefect's
		{count("1"), status(http.StatusBadGateway), status(http.StatusTooManyRequests), count("<html>"), count("0")},
		{status(http.StatusUnauthorized)}, // with another key the worker takes no run
	} {
		// WHEN a flow run begins
		run, _ := process([]string{"sleep", "60"}, uri, "PREFECT__FLOW_RUN_ID=00000000-0000-0000-0000-000000000000")
		// THEN the task is protected for as long as ECS allows
		next(request{true, 2880})
		// WHEN it has ended, and one of another task goes on
		process([]string{"sleep", "60"}, uri+"-other", "PREFECT__FLOW_RUN_ID=00000000-0000-0000-0000-000000000000")
		process([]string{"sleep", "60"}, uri, "PREFECT_API_URL=http://127.0.0.1:1")
		_ = run.Process.Kill()
		_ = run.Wait()
		// THEN the task stays protected until no run of the pool is Pending
		for _, answer := range sequence {
			select {
			case got := <-questions:
				if got != `/api/flow_runs/count Bearer k {"flow_runs": {"state": {"type": {"any_": ["PENDING"]}}}, "work_pools": {"name": {"any_": ["p"]}}}` {
					t.Error(got)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the API is not called")
			}
			if len(requests) > 0 {
				t.Errorf("the agent is called with %+v", <-requests)
			}
			answers <- answer
		}
		// AND is released then
		next(request{})
	}
	// WHEN a run stays Pending
	run, _ := process([]string{"sleep", "60"}, uri, "PREFECT__FLOW_RUN_ID=00000000-0000-0000-0000-000000000000")
	next(request{true, 2880})
	_ = run.Process.Kill()
	_ = run.Wait()
	go func() {
		for range questions {
			answers <- count("1")
		}
	}()
	// THEN the task is not protected for longer than that is worth
	next(request{})
	if len(requests) > 0 {
		t.Errorf("the agent is called once more with %+v", <-requests)
	}
}
