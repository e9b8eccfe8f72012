package verify

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/local/prefectserver"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/flowruns"
	"prefect-worker-ecs/internal/prefect/metrics"
	"prefect-worker-ecs/internal/prefect/probe"
	"prefect-worker-ecs/internal/test/testtools"
)

// watched is a worker process on a server, and the probe that watches it.
type watched struct {
	h         *harness
	t         *testing.T
	service   string
	server    *prefectserver.Server
	client    *api.Client
	variables []string // of the synthesized function
	function  probe.Function
	looked    time.Time
	major     int
	env       *config.Environment
	number    int // of the worker, one that no other watched has
}

// task is the id of the ECS task that the worker is said to run in.
func (w *watched) task() string { return fmt.Sprintf("%032d", w.number) }

// report says of the task what its agent would.
func (w *watched) report(status string) {
	w.t.Helper()
	services := call(w.t, w.h.ecs.DescribeServices, &ecs.DescribeServicesInput{Cluster: aws.String("prefect-cluster"), Services: []string{w.service}})
	call(w.t, w.h.ecs.SubmitTaskStateChange, &ecs.SubmitTaskStateChangeInput{Cluster: aws.String("prefect-cluster"), Status: &status, Reason: services.Services[0].Deployments[0].Id,
		Task: aws.String("arn:aws:ecs:us-east-1:123456789012:task/prefect-cluster/" + w.task())})
}

// probes runs the probes of two services, one on each server.
func (h *harness) probes(t *testing.T) {
	// GIVEN the credential of the server of Prefect 3, which the other does not look at
	h.put(t, basic)
	defer h.put(t, apiKey)
	two, three := h.watch(t, 2), h.watch(t, 3)
	t.Run("both", func(t *testing.T) {
		for _, w := range []*watched{two, three} {
			t.Run(w.service, func(t *testing.T) {
				t.Parallel()
				w.seesAll(t)
			})
		}
	})
}

// watch prepares a service with a name of its own, so that its metrics are its own too.
func (h *harness) watch(t *testing.T, major int) *watched {
	t.Helper()
	server, settings := h.two, fmt.Sprintf("service_name: watch%d", major)
	if major == 3 {
		server, settings = h.three, settings+", "+prefect3
	}
	yaml := h.yaml("watched", server.APIURL(), settings) + "monitoring: {enabled: true, emails: [a@example.com]}\n"
	if major == 3 {
		yaml = strings.Replace(yaml, "prefect: {", "prefect: {authentication: basic, ", 1)
	}
	opt := h.synthesize(t, yaml)
	w := &watched{h: h, t: t, env: opt.Environment, service: opt.Environment.Worker.ServiceName, major: major, number: 10 * major, server: server, client: h.client(t, server)}
	h.createPool(t, server, "watched", "process")
	call(t, h.ecs.CreateService, &ecs.CreateServiceInput{Cluster: aws.String("prefect-cluster"), ServiceName: &w.service, TaskDefinition: aws.String("dev-worker"), DesiredCount: aws.Int32(1)})
	w.function.Python, w.function.Archive = testtools.Environment(t, pyenv.Moto).Python(), filepath.Join(t.TempDir(), probe.ArchiveName)
	t.Cleanup(func() { _ = w.function.Close() })
	if err := os.WriteFile(w.function.Archive, probe.Archive(), 0o644); err != nil {
		t.Fatal(err)
	}
	environment := parsed(t, opt).Resource("aws_lambda_function", "probe")["environment"].(map[string]any)
	for name, value := range environment["variables"].(map[string]any) {
		if name == "CREDENTIAL" {
			value = h.secretARN(t) // six characters of it are AWS's
		}
		w.variables = append(w.variables, fmt.Sprintf("%s=%v", name, value))
	}
	return w
}

// work starts a worker as a process in a group of its own, which end ends.
func (w *watched) work() (end func()) {
	w.t.Helper()
	cmd := exec.Command(w.h.envs[w.major].Python(), "-c", "from prefect.cli import app; app()", "worker", "start",
		"--pool", "watched", "--type", "process", "--limit", "1", "--name", w.service+"-"+w.task())
	cmd.Dir = w.t.TempDir()
	cmd.Env = append(prefectserver.Environ(cmd.Dir), "PREFECT_API_URL="+w.server.APIURL(), "PREFECT_WORKER_HEARTBEAT_SECONDS=2", "PREFECT_WORKER_QUERY_SECONDS=2")
	if w.major == 3 {
		cmd.Env = append(cmd.Env, "PREFECT_API_AUTH_STRING="+basic)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	end = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}
	w.t.Cleanup(end)
	return end
}

// lookEvery is more than a second, so that no two looks at a service have metrics of the same
// one. The servers answer each look, and have a worker to serve.
const lookEvery = 3 * time.Second

// see runs the probe, with further variables, and reads its metrics back from CloudWatch.
func (w *watched) see(further ...string) map[string]float64 {
	w.t.Helper()
	time.Sleep(time.Until(w.looked.Add(lookEvery)))
	in := &cloudwatch.GetMetricDataInput{StartTime: aws.Time(time.Now().Truncate(time.Second))}
	out, err := w.function.Run(w.t.Context(), append(append(append(os.Environ(), w.variables...), w.h.environ...), further...))
	w.looked = time.Now()
	if err != nil || strings.Contains(out, "marker") {
		w.t.Fatalf("%v\n%s", err, out)
	}
	in.EndTime = aws.Time(w.looked.Add(time.Second))
	for i, name := range append(slices.Clone(metrics.Names), "TasksRunning") {
		in.MetricDataQueries = append(in.MetricDataQueries, metrics.Query(i, w.service, name))
	}
	values := map[string]float64{}
	for _, result := range call(w.t, w.h.cloudwatch.GetMetricData, in).MetricDataResults {
		if len(result.Values) > 0 {
			values[*result.Label] = result.Values[0]
		}
	}
	return values
}

// until waits for metrics.
func (w *watched) until(what string, want map[string]float64, further ...string) map[string]float64 {
	w.t.Helper()
	var got map[string]float64
	began := time.Now()
	defer func() {
		w.t.Logf("Prefect %d, %s: %.0f s, %v", w.major, what, time.Since(began).Seconds(), got)
	}()
	eventually(w.t, fmt.Sprintf("Prefect %d, %s: %v", w.major, what, want), func() bool {
		got = w.see(further...)
		for name, value := range want {
			if v, there := got[name]; !there || v != value {
				return false
			}
		}
		return true
	})
	return got
}

// seesAll makes each metric true once, with a real worker.
func (w *watched) seesAll(t *testing.T) {
	w.t = t
	ctx := t.Context()
	dir := t.TempDir()
	submit := w.h.flow(t, w.server, "watched", dir)
	run := func() api.FlowRun { return api.FlowRun{ID: submit(time.Now())} }

	// GIVEN no worker, THEN all is zero
	quiet := map[string]float64{"ProbeErrors": 0, "WorkersOnline": 0, "TasksDesired": 1, "TasksRunning": 1, "FlowRunsDue": 0, "FlowRunsLate": 0, "OldestDueSeconds": 0,
		"FlowRunsRunning": 0, "FlowRunsPending": 0, "FlowRunsOrphaned": 0, "FlowRunsLost": 0, "PoolPaused": 0}
	w.until("nothing", quiet)
	// WHEN a worker runs one flow and another is due
	end := w.work()
	w.until("a worker", map[string]float64{"WorkersOnline": 1})
	lost := run()
	w.until("a run", map[string]float64{"FlowRunsRunning": 1, "FlowRunsDue": 0, "FlowRunsLost": 0})
	waiting := run()
	w.report("RUNNING")
	// THEN the run that waits becomes late
	if late := w.until("late", map[string]float64{"FlowRunsDue": 1, "FlowRunsLate": 1}); late["OldestDueSeconds"] < 10 {
		t.Errorf("the oldest run is due for %.0f s", late["OldestDueSeconds"])
	}
	// WHEN the worker is killed, THEN its run stays Running indefinitely
	end()
	w.report("STOPPED")
	w.until("killed", map[string]float64{"WorkersOnline": 0, "FlowRunsRunning": 1, "FlowRunsLost": 1})
	// WHEN a run was taken and its worker is gone before it started, THEN it is orphaned
	w.h.prefect(t, w.server, "POST", "/flow_runs/"+waiting.ID+"/set_state", map[string]any{"state": map[string]any{"type": "PENDING", "name": "Pending"}})
	w.until("pending", map[string]float64{"FlowRunsPending": 1, "FlowRunsOrphaned": 0, "FlowRunsDue": 0, "PoolPaused": 0})
	w.h.prefect(t, w.server, "PATCH", "/work_pools/watched", map[string]any{"is_paused": true})
	w.until("orphaned, and paused", map[string]float64{"FlowRunsPending": 1, "FlowRunsOrphaned": 1, "PoolPaused": 1}, "PENDING_MINUTES=0")

	// AND a person sees the lost run, and the other if he waits for less long
	pool := flowruns.Pool{Environment: w.env, API: w.client, ECS: w.h.ecs}
	pool.Environment.Monitoring.PendingMinutes = 0
	found, err := pool.List(ctx)
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, r := range found {
		if want := map[string]flowruns.Run{
			lost.ID:    {Issue: flowruns.Lost, Worker: w.service + "-" + w.task(), Task: w.task()},
			waiting.ID: {Issue: flowruns.Orphaned},
		}[r.ID]; r.Issue != want.Issue || r.Worker != want.Worker || r.Task != want.Task {
			t.Errorf("got %+v, want %+v", r, want)
		}
	}
	// WHEN the first attempt may live, THEN no run is rescheduled
	refused := func(id, why string) {
		t.Helper()
		if _, err := pool.Stopped(ctx, id); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, want %q", err, why)
		}
	}
	if evidence, err := pool.Stopped(ctx, waiting.ID); err != nil || !strings.HasPrefix(evidence, "each task of the service was created after the run was taken") {
		t.Errorf("%q, %v", evidence, err)
	}
	w.h.prefect(t, w.server, "POST", "/work_pools/watched/workers/heartbeat", map[string]any{"name": "laptop"})
	refused(waiting.ID, "is not known (worker: \"\"), so that it may still live, and would run twice; ")
	refused("00000000-0000-4000-8000-000000000000", "there is no flow run 0000")
	w.report("RUNNING")
	refused(lost.ID, "is RUNNING: the run would run twice; if it hangs, stop the task first: aws ecs stop-task --cluster prefect-cluster --task "+w.task())
	// WHEN its task has stopped, THEN it is rescheduled, and another worker runs it to its end
	w.report("STOPPED")
	evidence, err := pool.Stopped(ctx, lost.ID)
	if err != nil || !strings.HasPrefix(evidence, "the task "+w.task()+" stopped at ") {
		t.Errorf("%q, %v", evidence, err)
	}
	if err := w.client.Reschedule(ctx, lost.ID); err != nil {
		t.Fatal(err)
	}
	refused(lost.ID, "is SCHEDULED: no worker has it")
	w.h.prefect(t, w.server, "PATCH", "/work_pools/watched", map[string]any{"is_paused": false})
	w.number++
	end = w.work()
	w.until("another worker", map[string]float64{"WorkersOnline": 1, "FlowRunsRunning": 1, "FlowRunsLost": 0})
	if err := os.Remove(filepath.Join(dir, "f.py")); err != nil {
		t.Fatal(err)
	}
	if ended, err := w.client.AwaitEnd(ctx, lost.ID, nil); err != nil || ended.State != "COMPLETED" {
		t.Errorf("the rescheduled run: %+v, %v", ended, err)
	}
	refused(lost.ID, "has ended as COMPLETED")
	end()
}
