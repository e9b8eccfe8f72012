package verify

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/local/prefectserver"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/workpool"
	"prefect-worker-ecs/internal/test/testtools"
)

// serve makes the calls of a local Prefect server that the local run makes. It is here, and not with the
// package prefectserver, because a server takes 5 s of processor to start.
func (h *harness) serve(t *testing.T, s *prefectserver.Server) {
	t.Helper()
	client := h.client(t, s)
	testtools.NoError(t, client.CreateWorkPool(t.Context(), "p", "process"))
	if err := client.CreateWorkPool(t.Context(), "p", "process"); !errors.Is(err, api.ErrConflict) {
		t.Errorf("a second pool of that name: %v, want ErrConflict", err)
	}
	pool, err := client.WorkPool(t.Context(), "p")
	if err != nil || pool.Type != "process" || pool.Paused || pool.Status != "NOT_READY" {
		t.Errorf("pool %+v, %v; want process, not paused, NOT_READY", pool, err)
	}
	if _, err := client.WorkPool(t.Context(), "absent"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("a pool that does not exist: %v, want ErrNotFound", err)
	}
	for range 2 { // The second time it exists.
		id, err := client.Deploy(t.Context(), api.LocalFlow{Name: "f", Pool: "p", Dir: t.TempDir(), Entrypoint: "f.py:f"})
		testtools.NoError(t, err)
		run, err := client.Run(t.Context(), id, nil)
		testtools.NoError(t, err)
		run, err = client.FlowRun(t.Context(), run.ID)
		if err != nil || run.State != "SCHEDULED" || run.Ended() {
			t.Errorf("run %+v, %v; want SCHEDULED", run, err)
		}
		for _, state := range []string{"PENDING", "RUNNING"} {
			h.prefect(t, s, http.MethodPost, "/flow_runs/"+run.ID+"/set_state", map[string]any{"state": map[string]any{"type": state}})
			if got, want := h.guardSeesPending(t, s), state == "PENDING"; got != want {
				t.Errorf("the guard of a worker says of a run that is %s: Pending is %t", state, got)
			}
		}
	}
	lifeOfAPool(t, client)
}

// guardSeesPending reports whether the guard of the worker's container sees a Pending run in the pool p.
func (h *harness) guardSeesPending(t *testing.T, s *prefectserver.Server) bool {
	t.Helper()
	code, err := os.ReadFile(filepath.Join(h.project.Root, "constructs", "ecsworker", "guard.py"))
	testtools.NoError(t, err)
	functions, _, _ := strings.Cut(string(code), "\nprotected, ")
	cmd := exec.CommandContext(t.Context(), h.envs[3].Python(), "-c", functions+"\nprint(pending())")
	cmd.Env = []string{"ECS_AGENT_URI=x", "PREFECT_WORK_POOL_NAME=p", "PREFECT_API_URL=" + s.APIURL()}
	if s == h.three {
		cmd.Env = append(cmd.Env, "PREFECT_API_AUTH_STRING="+basic)
	}
	out, err := cmd.Output()
	testtools.NoError(t, err)
	return string(out) == "True\n"
}

// end stops a server, after which nothing of it is left.
func end(t *testing.T, s *prefectserver.Server) {
	ctx := context.Background() // that of the test is over
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	if s.Process.GroupAlive() || s.Ready(ctx) {
		t.Error("a Prefect server still runs")
	}
}

// lifeOfAPool goes through the life of an ecs pool before a worker has ever polled the server.
func lifeOfAPool(t *testing.T, client *api.Client) {
	const (
		disk       = "ephemeralStorage"
		apiKey     = "prefect_api_key_secret_arn"
		authString = "prefect_api_auth_string_secret_arn"
	)
	wanted := workpool.Wanted{Task: map[string]any{disk: map[string]any{"sizeInGiB": 50}}, Defaults: map[string]any{
		"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/c", "cpu": 512,
		"network_configuration": map[string]any{"subnets": []string{"subnet-1", "subnet-2"}, "securityGroups": []string{"sg-1"}},
		apiKey:                  "arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf",
		authString:              "arn:aws:secretsmanager:us-east-1:123456789012:secret:both-AbCdEf",
	}}
	prepare := func(pool config.WorkPool) workpool.Plan {
		t.Helper()
		plan, err := workpool.Prepare(t.Context(), client, pool, wanted)
		testtools.NoError(t, err)
		return plan
	}
	apply := func(plan workpool.Plan) {
		t.Helper()
		testtools.NoError(t, plan.Apply(t.Context(), client))
	}
	pool := config.WorkPool{Name: "life", Type: config.PoolECS, Queues: []string{"urgent"}}

	// WHEN there is no such pool
	plan := prepare(pool)
	if !plan.Create || !slices.Equal(plan.Queues, pool.Queues) || !strings.Contains(strings.Join(plan.Lines(), "\n"), "the work pool life of type ecs is created\nthe queue urgent is created\ncluster: none -> ") {
		t.Errorf("plan %+v", plan.Lines())
	}
	// THEN a look at it changes nothing, and it is made
	if again := prepare(pool); !again.Create {
		t.Error("it was made by looking at it")
	}
	apply(plan)
	if again := prepare(pool); !again.Empty() {
		t.Errorf("a second time: %v", again.Lines())
	}

	found, err := client.WorkPool(t.Context(), pool.Name)
	testtools.NoError(t, err)
	// AND the secrets that the server's own template does not know reach the job
	job := found.BaseJobTemplate["job_configuration"].(map[string]any)
	if job[apiKey] != "{{ "+apiKey+" }}" || job[authString] != "{{ "+authString+" }}" || !reflect.DeepEqual(job["task_definition"].(map[string]any)[disk], map[string]any{"sizeInGiB": 50.0}) {
		t.Errorf("job %v", job)
	}

	// WHEN the pool is a process pool THEN it is made, with no template of ours
	process := config.WorkPool{Name: "processes", Type: config.PoolProcess}
	plan = prepare(process)
	if !slices.Equal(plan.Lines(), []string{"the work pool processes of type process is created"}) {
		t.Errorf("plan %q", plan.Lines())
	}
	apply(plan)
	if again := prepare(process); !again.Empty() {
		t.Errorf("a second time: %v", again.Lines())
	}
	// AND one of another type is refused
	process.Type = config.PoolECS
	if _, err := workpool.Prepare(t.Context(), client, process, wanted); err == nil || !strings.HasPrefix(err.Error(), "the work pool is of another type: processes is of type process, configured is ecs") {
		t.Errorf("another type: %v", err)
	}
}
