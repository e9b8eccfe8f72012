package verify

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventstypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/local/prefectserver"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/flowruns"
	"prefect-worker-ecs/internal/prefect/probe"
	"prefect-worker-ecs/internal/test/testtools"
)

// watched is a worker process on a server, and the probe that watches it.
type watched struct {
	b         *bench
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
	services := call(w.t, w.b.ecs.DescribeServices, &ecs.DescribeServicesInput{Cluster: aws.String("prefect-cluster"), Services: []string{w.service}})
	call(w.t, w.b.ecs.SubmitTaskStateChange, &ecs.SubmitTaskStateChangeInput{Cluster: aws.String("prefect-cluster"), Status: &status, Reason: services.Services[0].Deployments[0].Id,
		Task: aws.String("arn:aws:ecs:us-east-1:123456789012:task/prefect-cluster/" + w.task())})
}

// watch prepares a service with a name of its own, so that its figures are its own too.
func (b *bench) watch(t *testing.T, major int) *watched {
	t.Helper()
	server := b.two
	yaml := b.yaml("watched", "process", b.two.APIURL(), fmt.Sprintf("worker: {service_name: watch%d}\nmonitoring: {enabled: true, emails: [a@example.com]}\n", major))
	if major == 3 {
		server = b.three
		yaml = strings.NewReplacer(b.two.APIURL(), b.three.APIURL(), "prefect: {", "prefect: {authentication: basic, ", "worker: {", "worker: {image: \"prefecthq/prefect:3.8.3-python3.12\", ").Replace(yaml)
	}
	w := b.probeOf(t, b.synthesize(t, yaml))
	w.major, w.number, w.server, w.client = major, 10*major, server, b.client(t, server)
	b.createPool(t, server, "watched", "process")
	call(t, b.ecs.CreateService, &ecs.CreateServiceInput{Cluster: aws.String("prefect-cluster"), ServiceName: &w.service, TaskDefinition: aws.String("dev-worker"), DesiredCount: aws.Int32(1)})
	return w
}

// probeOf is the probe of an environment, with the variables of its synthesized function.
func (b *bench) probeOf(t *testing.T, opt Options) *watched {
	t.Helper()
	w := &watched{b: b, t: t, env: opt.Environment, service: opt.Environment.Worker.ServiceName}
	w.function.Python, w.function.Archive = testtools.Environment(t, pyenv.Moto).Python(), filepath.Join(t.TempDir(), probe.ArchiveName)
	t.Cleanup(func() { _ = w.function.Close() })
	if err := os.WriteFile(w.function.Archive, probe.Archive(), 0o644); err != nil {
		t.Fatal(err)
	}
	environment := b.checklist(t, opt).stack.Resource("aws_lambda_function", "probe")["environment"].(map[string]any)
	for name, value := range environment["variables"].(map[string]any) {
		if name == "CREDENTIAL" {
			value = b.secretARN(t) // six characters of it are AWS's
		}
		w.variables = append(w.variables, fmt.Sprintf("%s=%v", name, value))
	}
	return w
}

// changeMonitoring changes one thing of each kind by hand, and turns an alarm red.
func (b *bench) changeMonitoring(t *testing.T) {
	t.Helper()
	name := aws.String("dev-worker-probe")
	functions := lambda.NewFromConfig(b.aws)
	variables := call(t, functions.GetFunctionConfiguration, &lambda.GetFunctionConfigurationInput{FunctionName: name}).Environment.Variables
	variables["PENDING_MINUTES"] = "99"
	call(t, functions.UpdateFunctionConfiguration, &lambda.UpdateFunctionConfigurationInput{FunctionName: name, Environment: &lambdatypes.Environment{Variables: variables}})
	schedules := scheduler.NewFromConfig(b.aws)
	s := call(t, schedules.GetSchedule, &scheduler.GetScheduleInput{Name: name})
	call(t, schedules.UpdateSchedule, &scheduler.UpdateScheduleInput{Name: name, Description: s.Description, ScheduleExpression: s.ScheduleExpression, FlexibleTimeWindow: s.FlexibleTimeWindow, Target: s.Target, State: schedulertypes.ScheduleStateDisabled})
	alarms := cloudwatch.NewFromConfig(b.aws)
	put := func(name string, change func(*cloudwatch.PutMetricAlarmInput)) {
		a := call(t, alarms.DescribeAlarms, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{name}}).MetricAlarms[0]
		in := &cloudwatch.PutMetricAlarmInput{AlarmName: a.AlarmName, AlarmDescription: a.AlarmDescription, ComparisonOperator: a.ComparisonOperator, Threshold: a.Threshold,
			EvaluationPeriods: a.EvaluationPeriods, DatapointsToAlarm: a.DatapointsToAlarm, TreatMissingData: a.TreatMissingData, AlarmActions: a.AlarmActions,
			OKActions: a.OKActions, Namespace: a.Namespace, MetricName: a.MetricName, Statistic: a.Statistic, Period: a.Period, Dimensions: a.Dimensions}
		change(in)
		call(t, alarms.PutMetricAlarm, in)
	}
	put("dev-worker-late-runs", func(in *cloudwatch.PutMetricAlarmInput) { in.Threshold = aws.Float64(7) })
	put("dev-worker-probe", func(in *cloudwatch.PutMetricAlarmInput) { in.ActionsEnabled = aws.Bool(false) })
	call(t, alarms.DeleteAlarms, &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{"dev-worker-cpu"}})
	call(t, alarms.DeleteDashboards, &cloudwatch.DeleteDashboardsInput{DashboardNames: []string{"dev-worker"}})
	topics, topic := sns.NewFromConfig(b.aws), aws.String("arn:aws:sns:us-east-1:123456789012:dev-worker-alarms")
	call(t, topics.SetTopicAttributes, &sns.SetTopicAttributesInput{TopicArn: topic, AttributeName: aws.String("Policy"), AttributeValue: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
	call(t, topics.Unsubscribe, &sns.UnsubscribeInput{SubscriptionArn: call(t, topics.ListSubscriptionsByTopic, &sns.ListSubscriptionsByTopicInput{TopicArn: topic}).Subscriptions[0].SubscriptionArn})
	events := eventbridge.NewFromConfig(b.aws)
	ended, failed := aws.String("dev-worker-ended-task"), aws.String("dev-worker-failed-deployment")
	pattern := strings.Replace(*call(t, events.DescribeRule, &eventbridge.DescribeRuleInput{Name: ended}).EventPattern, "STOPPED", "RUNNING", 1)
	call(t, events.PutRule, &eventbridge.PutRuleInput{Name: ended, EventPattern: &pattern})
	target := call(t, events.ListTargetsByRule, &eventbridge.ListTargetsByRuleInput{Rule: ended}).Targets[0]
	target.InputTransformer.InputTemplate = aws.String(`"<task> ended"`)
	call(t, events.PutTargets, &eventbridge.PutTargetsInput{Rule: ended, Targets: []eventstypes.Target{target}})
	call(t, events.DisableRule, &eventbridge.DisableRuleInput{Name: failed})
	call(t, events.RemoveTargets, &eventbridge.RemoveTargetsInput{Rule: failed, Ids: []string{*call(t, events.ListTargetsByRule, &eventbridge.ListTargetsByRuleInput{Rule: failed}).Targets[0].Id}})
	call(t, alarms.SetAlarmState, &cloudwatch.SetAlarmStateInput{AlarmName: aws.String("dev-worker-silent-worker"), StateValue: cwtypes.StateValueAlarm, StateReason: aws.String("test")})
	call(t, cloudwatchlogs.NewFromConfig(b.aws).PutMetricFilter, &cloudwatchlogs.PutMetricFilterInput{LogGroupName: aws.String("/ecs/prefect-worker"), FilterName: aws.String("dev-worker-known-failures"), FilterPattern: aws.String("ERROR"),
		MetricTransformations: []logtypes.MetricTransformation{{MetricNamespace: aws.String("PrefectWorker"), MetricName: aws.String("LogFailures/dev-worker"), MetricValue: aws.String("1")}}})
}

// work starts a worker as a process in a group of its own, which end ends.
func (w *watched) work() (pid int, end func()) {
	w.t.Helper()
	cmd := exec.Command(w.b.envs[w.major].Python(), "-c", "from prefect.cli import app; app()", "worker", "start",
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
	return cmd.Process.Pid, end
}

// lookEvery is more than a second, so that no two looks at a service have figures of the same
// one. The servers answer each look, and have a worker to serve.
const lookEvery = 3 * time.Second

// see runs the probe, with further variables, and reads its figures back from CloudWatch.
func (w *watched) see(further ...string) map[string]float64 {
	w.t.Helper()
	time.Sleep(time.Until(w.looked.Add(lookEvery)))
	in := &cloudwatch.GetMetricDataInput{StartTime: aws.Time(time.Now().Truncate(time.Second))}
	out, err := w.function.Run(w.t.Context(), append(append(append(os.Environ(), w.variables...), w.b.environ...), further...))
	w.looked = time.Now()
	if err != nil || strings.Contains(out, "marker") {
		w.t.Fatalf("%v\n%s", err, out)
	}
	in.EndTime = aws.Time(w.looked.Add(time.Second))
	for i, name := range append(shownFigures, "TasksRunning") {
		in.MetricDataQueries = append(in.MetricDataQueries, cwtypes.MetricDataQuery{Id: aws.String(fmt.Sprintf("q%d", i)), Label: &name, MetricStat: &cwtypes.MetricStat{
			Metric: &cwtypes.Metric{Namespace: aws.String(probe.Namespace), MetricName: &name, Dimensions: []cwtypes.Dimension{{Name: aws.String(probe.Dimension), Value: &w.service}}},
			Period: aws.Int32(60), Stat: aws.String("Maximum"),
		}})
	}
	figures := map[string]float64{}
	for _, result := range call(w.t, cloudwatch.NewFromConfig(w.b.aws).GetMetricData, in).MetricDataResults {
		if len(result.Values) > 0 {
			figures[*result.Label] = result.Values[0]
		}
	}
	return figures
}

// until waits for figures.
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
			if figure, there := got[name]; !there || figure != value {
				return false
			}
		}
		return true
	})
	return got
}

// seesAll makes each figure true once, with a real worker.
func (w *watched) seesAll(t *testing.T) {
	w.t = t
	ctx := t.Context()
	dir := t.TempDir()
	// A flow that runs as long as its folder is there.
	code := fmt.Sprintf("import os, time\nfrom prefect import flow\n\n@flow\ndef f():\n    while os.path.exists(%q):\n        time.sleep(0.1)\n", filepath.Join(dir, "f.py"))
	if err := os.WriteFile(filepath.Join(dir, "f.py"), []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	deployment, err := w.client.Deploy(ctx, api.LocalFlow{Name: "watched", Pool: "watched", Dir: dir, Entrypoint: "f.py:f"})
	if err != nil {
		t.Fatal(err)
	}
	run := func() api.FlowRun {
		run, err := w.client.Run(ctx, deployment, nil)
		if err != nil {
			t.Fatal(err)
		}
		return run
	}

	// GIVEN no worker, THEN all is zero
	quiet := map[string]float64{"CallsFailed": 0, "WorkersOnline": 0, "TasksDesired": 1, "TasksRunning": 1, "FlowRunsDue": 0, "FlowRunsLate": 0, "OldestDueSeconds": 0,
		"FlowRunsRunning": 0, "FlowRunsPending": 0, "FlowRunsOrphaned": 0, "FlowRunsLost": 0, "PoolPaused": 0}
	w.until("nothing", quiet)
	// WHEN a worker runs one flow and another is due
	pid, end := w.work()
	w.until("a worker", map[string]float64{"WorkersOnline": 1})
	lost := run()
	w.until("a run", map[string]float64{"FlowRunsRunning": 1, "FlowRunsDue": 0, "FlowRunsLost": 0})
	waiting := run()
	// WHEN the worker is frozen, THEN it is offline, and its run is nobody's
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.until("frozen", map[string]float64{"WorkersOnline": 0, "FlowRunsLost": 1, "TasksRunning": 1})
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.until("thawed", map[string]float64{"WorkersOnline": 1, "FlowRunsLost": 0})
	// AND the run that waits becomes late
	if late := w.until("late", map[string]float64{"FlowRunsDue": 1, "FlowRunsLate": 1}); late["OldestDueSeconds"] < 10 {
		t.Errorf("the oldest run is due for %.0f s", late["OldestDueSeconds"])
	}
	// WHEN the worker is killed, THEN its run stays Running for ever
	end()
	w.until("killed", map[string]float64{"WorkersOnline": 0, "FlowRunsRunning": 1, "FlowRunsLost": 1})
	// WHEN a run was taken and its worker is gone before it started, THEN it is orphaned
	w.b.prefect(t, w.server, "POST", "/flow_runs/"+waiting.ID+"/set_state", map[string]any{"state": map[string]any{"type": "PENDING", "name": "Pending"}})
	w.until("pending", map[string]float64{"FlowRunsPending": 1, "FlowRunsOrphaned": 0, "FlowRunsDue": 0, "PoolPaused": 0})
	w.b.prefect(t, w.server, "PATCH", "/work_pools/watched", map[string]any{"is_paused": true})
	w.until("orphaned, and paused", map[string]float64{"FlowRunsPending": 1, "FlowRunsOrphaned": 1, "PoolPaused": 1}, "PENDING_MINUTES=0")

	// AND a person sees the lost run, and the other if he waits for less long
	pool := flowruns.Pool{Environment: w.env, API: w.client, ECS: w.b.ecs}
	pool.Environment.Monitoring.PendingMinutes = 0
	found, err := pool.List(ctx)
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, r := range found {
		if want := map[string]flowruns.Run{
			lost.ID:    {Trouble: flowruns.Lost, Worker: w.service + "-" + w.task(), Task: w.task()},
			waiting.ID: {Trouble: flowruns.Orphaned},
		}[r.ID]; r.Trouble != want.Trouble || r.Worker != want.Worker || r.Task != want.Task {
			t.Errorf("got %+v, want %+v", r, want)
		}
	}
	// WHEN the first attempt may live, THEN no run is put back
	refused := func(id, why string) {
		t.Helper()
		if _, err := pool.Stopped(ctx, id); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, want %q", err, why)
		}
	}
	refused(waiting.ID, "cannot be told (worker: \"\"), so that it may still live, and would run twice; ")
	refused("00000000-0000-4000-8000-000000000000", "there is no flow run 0000")
	w.report("RUNNING")
	refused(lost.ID, "is RUNNING: the run would run twice; if it hangs, stop the task first: aws ecs stop-task --cluster prefect-cluster --task "+w.task())
	// WHEN its task has stopped, THEN it is put back, and another worker runs it to its end
	w.report("STOPPED")
	evidence, err := pool.Stopped(ctx, lost.ID)
	if err != nil || !strings.HasPrefix(evidence, "the task "+w.task()+" stopped at ") {
		t.Errorf("%q, %v", evidence, err)
	}
	if err := w.client.Reschedule(ctx, lost.ID); err != nil {
		t.Fatal(err)
	}
	refused(lost.ID, "is SCHEDULED: no worker has it")
	w.b.prefect(t, w.server, "PATCH", "/work_pools/watched", map[string]any{"is_paused": false})
	w.number++
	_, end = w.work()
	w.until("another worker", map[string]float64{"WorkersOnline": 1, "FlowRunsRunning": 1, "FlowRunsLost": 0})
	if err := os.Remove(filepath.Join(dir, "f.py")); err != nil {
		t.Fatal(err)
	}
	if ended, err := w.client.AwaitEnd(ctx, lost.ID, nil); err != nil || ended.State != "COMPLETED" {
		t.Errorf("the run that was put back: %+v, %v", ended, err)
	}
	refused(lost.ID, "has ended as COMPLETED")
	end()

	// WHEN the key is refused, or nothing answers, THEN each question says so, and ECS is asked
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	blind := w.until("refused", map[string]float64{"CallsFailed": 6, "TasksDesired": 1}, "PREFECT_API_URL="+refusing.URL+"/api")
	refusing.Close()
	if _, known := blind["WorkersOnline"]; known {
		t.Errorf("what could not be asked has no figure: %v", blind)
	}
	w.until("away", map[string]float64{"CallsFailed": 6, "TasksDesired": 1}, "PREFECT_API_URL="+refusing.URL+"/api")
}
