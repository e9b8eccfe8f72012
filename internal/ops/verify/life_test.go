package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/prefectserver"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/flowruns"
	"prefect-worker-ecs/internal/prefect/metrics"
	"prefect-worker-ecs/internal/prefect/probe"
	"prefect-worker-ecs/internal/prefect/workpool"
	"prefect-worker-ecs/internal/test/testtools"
)

// life is that of a worker, from its start to its end in the middle of a flow run, as verify, the probe and
// who looks after the flow runs see it.
type life struct {
	h       *harness
	t       *testing.T
	major   int // of Prefect
	opt     Options
	service string
	server  *prefectserver.Server
	client  *api.Client

	probe     probe.Function
	variables []string // of the synthesized function
	looked    time.Time
}

// lives goes through the lives of a worker of Prefect 2, and of one of Prefect 3 with user and password.
func (h *harness) lives(t *testing.T) {
	credential := testtools.Call(t, h.secrets.CreateSecret, &secretsmanager.CreateSecretInput{Name: aws.String(basicSecret), SecretString: aws.String(basic)}).ARN
	undo := h.inline(executionRole, fmt.Sprintf(`{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":%q}`, *credential))(t, nil)
	defer undo()
	two := h.life(t, 2, h.two, h.yaml("lived", h.two.APIURL(), ""))
	three := h.life(t, 3, h.three, strings.Replace(h.yaml("lived", h.three.APIURL(), prefect3), "prefect: {", "prefect: {authentication: basic, ", 1))
	t.Run("both", func(t *testing.T) {
		for _, l := range []*life{two, three} {
			t.Run(fmt.Sprintf("Prefect %d", l.major), func(t *testing.T) {
				t.Parallel()
				l.goes(t)
			})
		}
	})
	// AND flow tasks of an ecs pool read user and password from the same secret
	tasks := *three.opt.Environment
	tasks.WorkPool.Type = "ecs"
	wanted, err := workpool.Read(t.Context(), h.aws, &tasks)
	if got := wanted.Defaults["prefect_api_auth_string_secret_arn"]; err != nil || got != *credential {
		t.Errorf("flow tasks read %v, %v", got, err)
	}
	// WHEN the password is wrong, or there is none, THEN that is said
	for credential, want := range map[string]want{
		"admin:wrong-marker": failing(checkAPI, "the API rejects the user and password"),
		"admin":              failing(checkSecret, "is not user:password"),
	} {
		testtools.Call(t, h.secrets.PutSecretValue, &secretsmanager.PutSecretValueInput{SecretId: aws.String(basicSecret), SecretString: &credential})
		want.fixedBy("TF_VAR_prefect_api_auth_string").judge(t, Run(t.Context(), three.opt))
	}
}

// life prepares a service with a name of its own, its pool and its probe.
func (h *harness) life(t *testing.T, major int, server *prefectserver.Server, yaml string) *life {
	t.Helper()
	h.createPool(t, server, "lived", "process")
	l := &life{h: h, t: t, major: major, opt: h.serviceOf(t, yaml), server: server, client: h.client(t, server)}
	l.service = l.opt.Environment.Worker.ServiceName
	l.probe.Python, l.probe.Archive = testtools.Environment(t, pyenv.Moto).Python(), filepath.Join(t.TempDir(), probe.ArchiveName)
	t.Cleanup(func() { _ = l.probe.Close() })
	testtools.NoError(t, os.WriteFile(l.probe.Archive, probe.Archive(), 0o644))
	watched := h.synthesize(t, named(yaml, l.service)+"monitoring: {enabled: true, emails: [a@example.com]}\n")
	environment := parsed(t, watched).Resource("aws_lambda_function", "probe")["environment"].(map[string]any)
	for name, value := range environment["variables"].(map[string]any) {
		if name == "CREDENTIAL" {
			value = h.secretARN(t, l.opt) // six characters of it are AWS's
		}
		l.variables = append(l.variables, fmt.Sprintf("%s=%v", name, value))
	}
	return l
}

// lookEvery is more than a second, so that no two looks at a service have metrics of the same
// one. The servers answer each look, and have a worker to serve.
const lookEvery = 3 * time.Second

// see runs the probe, with further variables, and reads its metrics back from CloudWatch.
func (l *life) see(further ...string) map[string]float64 {
	l.t.Helper()
	time.Sleep(time.Until(l.looked.Add(lookEvery)))
	in := &cloudwatch.GetMetricDataInput{StartTime: aws.Time(time.Now().Truncate(time.Second))}
	out, err := l.probe.Run(l.t.Context(), slices.Concat(os.Environ(), l.variables, l.h.environ, further))
	l.looked = time.Now()
	if err != nil || strings.Contains(out, "marker") {
		l.t.Fatalf("%v\n%s", err, out)
	}
	in.EndTime = aws.Time(l.looked.Add(time.Second))
	for i, name := range append(slices.Clone(metrics.Names), "TasksRunning") {
		in.MetricDataQueries = append(in.MetricDataQueries, metrics.Query(i, l.service, name))
	}
	values := map[string]float64{}
	for _, result := range testtools.Call(l.t, l.h.cloudwatch.GetMetricData, in).MetricDataResults {
		if len(result.Values) > 0 {
			values[*result.Label] = result.Values[0]
		}
	}
	return values
}

// until waits for metrics.
func (l *life) until(want map[string]float64, further ...string) map[string]float64 {
	l.t.Helper()
	var got map[string]float64
	eventually(l.t, fmt.Sprintf("%v", want), func() bool {
		got = l.see(further...)
		for name, value := range want {
			if v, there := got[name]; !there || v != value {
				return false
			}
		}
		return true
	})
	return got
}

// goes makes each metric true once, with a real worker.
func (l *life) goes(t *testing.T) {
	l.t = t
	ctx, h := t.Context(), l.h
	dir := t.TempDir()
	submit := h.flow(t, l.server, "lived", dir)
	pool := flowruns.Pool{Environment: l.opt.Environment, API: l.client, ECS: h.ecs}
	refused := func(id, why string) {
		t.Helper()
		if _, err := pool.Stopped(ctx, id); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, want %q", err, why)
		}
	}
	interrupts := func(opt Options, byECS bool, want string) {
		t.Helper()
		if text, err := Interruption(ctx, opt, byECS); err != nil || !strings.HasPrefix(text, want) || (text == "") != (want == "") {
			t.Errorf("%q, %v, want %q", text, err, want)
		}
	}

	// GIVEN no worker, THEN all is zero
	l.until(map[string]float64{"ProbeErrors": 0, "WorkersOnline": 0, "TasksDesired": 1, "FlowRunsDue": 0, "FlowRunsLate": 0, "OldestDueSeconds": 0,
		"FlowRunsRunning": 0, "FlowRunsPending": 0, "FlowRunsOrphaned": 0, "FlowRunsLost": 0, "PoolPaused": 0})
	// WHEN there is one THEN it runs flows, and leaves nothing behind
	w := h.run(t, l.opt)
	withFlow := l.opt
	withFlow.Flow = true
	report := Wait(ctx, withFlow, time.Minute, nil)
	green(t, report)
	if !(want{check: checkFlow, status: OK, details: []string{"ran to COMPLETED"}}).in(report) {
		t.Errorf("the flow:\n%s", text(report))
	}
	if runs, err := l.client.Overdue(ctx, "lived", nil, time.Now().Add(time.Hour)); err != nil || len(runs) != 0 {
		t.Errorf("runs left: %v, %v", runs, err)
	}

	// WHEN it runs one flow and another is due
	lost := submit(time.Now())
	l.until(map[string]float64{"WorkersOnline": 1, "TasksRunning": 1, "FlowRunsRunning": 1, "FlowRunsDue": 0, "FlowRunsLost": 0})
	waiting := submit(time.Now().Add(-2 * time.Minute))
	// THEN a deployment that stops its task says which run ends with it, also one to another pool
	moved := l.opt
	env := *l.opt.Environment
	env.WorkPool.Name, moved.Environment = "another", &env
	interrupts(l.opt, true, "the tasks of the worker are stopped, with flow runs underway in them (1): ")
	interrupts(moved, true, "the tasks of the worker are stopped, with flow runs underway in them (1): ")
	// AND one for which the run is protected does not
	protected := l.opt
	edited(func(out *ecs.DescribeTaskDefinitionOutput) {
		out.TaskDefinition.ContainerDefinitions[0].Command = []string{`echo "task protection: $?"`}
	})(t, &protected)
	interrupts(protected, true, "")
	interrupts(protected, false, "the tasks of the worker are stopped")
	// AND the run that waits becomes late, which is a backlog
	if late := l.until(map[string]float64{"FlowRunsDue": 1, "FlowRunsLate": 1}); late["OldestDueSeconds"] < 10 {
		t.Errorf("the oldest run is due for %.0f s", late["OldestDueSeconds"])
	}
	backlog := l.opt
	backlog.only = withNeeds([]string{checkRuns})
	want{check: checkRuns, status: OK, details: []string{"a backlog, they wait for one of the worker's 1 slots"}}.judge(t, Run(ctx, backlog))
	// AND the other is not rescheduled
	refused(lost, "is RUNNING: the run would run twice; if it hangs, stop the task first: aws ecs stop-task --cluster prefect-cluster --task ")

	// WHEN the worker is frozen THEN it is soon not believed, though a task runs, and its run goes on as far as ECS says
	process := w.await(t, ecstask.Started).Process
	testtools.NoError(t, syscall.Kill(process.PID, syscall.SIGSTOP))
	worker := l.opt
	worker.only = withNeeds([]string{checkWorker})
	dead := failing(checkWorker, "lived").fixedBy("aws ecs stop-task --cluster prefect-cluster --task ")
	eventually(t, "a failed verification", func() bool { return dead.in(Run(ctx, worker)) })
	if report := Run(ctx, worker); !(want{check: checkService, status: OK, details: []string{"1 of 1 tasks running"}}).in(report) {
		t.Errorf("the emulator should still count a task:\n%s", text(report))
	}
	l.until(map[string]float64{"WorkersOnline": 0, "FlowRunsRunning": 1, "FlowRunsLost": 0})
	// WHEN it is killed and not replaced, THEN its run stays Running indefinitely, and is named
	testtools.NoError(t, syscall.Kill(process.PID, syscall.SIGKILL))
	w.stop()
	failing(checkWorker, "no worker of this service is online in lived").
		and(failing(checkRuns, lost+") is lost for ", "in the task ").fixedBy("workerctl runs end RUN dev")).judge(t, Run(ctx, l.opt))
	l.until(map[string]float64{"WorkersOnline": 0, "FlowRunsRunning": 1, "FlowRunsLost": 1})
	// AND no deployment ends it any more
	interrupts(l.opt, true, "")

	// WHEN a run was taken and its worker is gone before it started, THEN it is orphaned
	h.prefect(t, l.server, "POST", "/flow_runs/"+waiting+"/set_state", map[string]any{"state": map[string]any{"type": "PENDING", "name": "Pending"}})
	l.until(map[string]float64{"FlowRunsPending": 1, "FlowRunsOrphaned": 0, "FlowRunsDue": 0, "PoolPaused": 0})
	h.prefect(t, l.server, "PATCH", "/work_pools/lived", map[string]any{"is_paused": true})
	l.until(map[string]float64{"FlowRunsPending": 1, "FlowRunsOrphaned": 1, "PoolPaused": 1}, "PENDING_MINUTES=0")
	// AND a person sees the lost run, and the other if he waits for less long
	pool.Environment.Monitoring.PendingMinutes = 0
	found, err := pool.List(ctx)
	if err != nil || len(found) != 2 || found[0].ID != waiting || found[0].Issue != flowruns.Orphaned || found[0].Worker != "" {
		t.Fatalf("%+v, %v", found, err)
	}
	task := found[1].Task
	if found[1].ID != lost || found[1].Issue != flowruns.Lost || found[1].Worker != l.service+"-"+task {
		t.Errorf("got %+v", found[1])
	}
	// AND both are over, unless another worker may have the second
	ended, err := pool.Stopped(ctx, waiting)
	if err != nil || !strings.HasPrefix(ended, "each task of the service was created after the run was taken") {
		t.Errorf("%q, %v", ended, err)
	}
	h.prefect(t, l.server, "POST", "/work_pools/lived/workers/heartbeat", map[string]any{"name": "laptop"})
	refused(waiting, "is not known (worker: \"\"), so that it may still live, and would run twice; ")
	refused("00000000-0000-4000-8000-000000000000", "there is no flow run 0000")
	evidence, err := pool.Stopped(ctx, lost)
	if err != nil || !strings.HasPrefix(evidence, "the task "+task+" stopped at ") {
		t.Errorf("%q, %v", evidence, err)
	}
	// WHEN one is ended, and the other rescheduled
	testtools.NoError(t, l.client.End(ctx, waiting, ended))
	if run, err := l.client.FlowRun(ctx, waiting); err != nil || run.State != "CRASHED" || run.StateDetail.Message != ended {
		t.Errorf("the run that was ended: %+v, %v", run, err)
	}
	testtools.NoError(t, l.client.Reschedule(ctx, lost))
	refused(lost, "is SCHEDULED: no worker has it")
	h.prefect(t, l.server, "PATCH", "/work_pools/lived", map[string]any{"is_paused": false})
	// THEN another worker runs that to its end
	w = h.run(t, l.opt)
	l.until(map[string]float64{"WorkersOnline": 1, "FlowRunsRunning": 1, "FlowRunsLost": 0})
	testtools.NoError(t, os.Remove(filepath.Join(dir, "f.py")))
	if run, err := l.client.AwaitEnd(ctx, lost, nil); err != nil || run.State != "COMPLETED" {
		t.Errorf("the rescheduled run: %+v, %v", run, err)
	}
	refused(lost, "has ended as COMPLETED")
	if list, err := pool.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	// WHEN it ends, and others are online whose names begin alike, THEN none of those counts
	w.stop()
	for _, name := range []string{"laptop", "b-0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"} {
		h.prefect(t, l.server, "POST", "/work_pools/lived/workers/heartbeat", map[string]any{"name": l.service + "-" + name})
	}
	failing(checkWorker, "no worker of this service is online in lived\nnot of a running task of the current deployment: ").judge(t, Run(ctx, l.opt))
}
