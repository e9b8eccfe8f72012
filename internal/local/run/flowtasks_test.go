package run

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/test/testtools"
)

// tasks is a local run of an ecs pool, with a flow that takes its time.
type tasks struct {
	workerctl
	run        *run
	client     *api.Client
	ecs        *ecs.Client
	iam        *iam.Client
	deployment string
}

const slowFlow = `import time
from prefect import flow

@flow
def slow(seconds: float):
    time.sleep(seconds)
`

const tasksPool = "tasks"

// existing is an environment in an account where everything exists but the service: the image in ECR, which contains
// prefect-aws, and a network without internet egress.
const existing = `
work_pool: {type: ecs, name: tasks}
worker: {image: '210987654321.dkr.ecr.us-east-1.amazonaws.com/prefect:3', prefect_version: 3.9.1, prefect_aws_included: true}
prefect: {api_url: 'https://prefect.example.internal/api'}
network:
  existing: {vpc_id: vpc-0123456789abcdef0, subnet_ids: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]}
  endpoints: [ec2, ecr.api, ecr.dkr, ecs, logs, secretsmanager, sqs]
  egress: [{description: Warehouse, from_port: 5432, security_group_id: sg-0123456789abcdef0}]
  security_group_ids: [sg-0123456789abcdef1]
cluster: {name: prefect-cluster, existing: true, namespace: none}
logs: {group: /ecs/prefect-worker, existing: true}
iam:
  existing:
    execution_role: arn:aws:iam::210987654321:role/team/execution
    task_role: arn:aws:iam::210987654321:role/team/prefect-task-role
    flow_execution_role: arn:aws:iam::210987654321:role/team/prefect-flow-execution-role
`

func newTasks(t *testing.T, environment string, wants ...string) *tasks {
	w := newWorkerctl(t)
	testtools.Environment(t, pyenv.Prefect3)
	write(t, w.config, map[string]string{"dev.yaml": environment})
	out := w.must("up", "dev")
	for _, want := range append(wants, "is COMPLETED", "by the execution role, all allowed by: ", "PassRoles; ", "TagFlows; ", "WatchFlows; ", "WriteFlowLogs") {
		if !strings.Contains(out, want) {
			t.Fatalf("the output lacks %q:\n%s", want, out)
		}
	}
	return w.serving(tasksPool, "slow", slowFlow)
}

// serving returns the clients of a run that is up, with a deployment of a flow.
func (w workerctl) serving(pool, function, flow string) *tasks {
	w.t.Helper()
	s := w.state()
	cfg := s.Emulator.Config(s.Region)
	x := &tasks{workerctl: w, run: &run{dir: w.dir, state: *s}, ecs: ecs.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg)}
	var err error
	if x.client, err = api.New(s.Prefect.APIURL(), ""); err != nil {
		w.t.Fatal(err)
	}
	dir := w.t.TempDir()
	write(w.t, dir, map[string]string{"flow.py": flow})
	if x.deployment, err = x.client.Deploy(w.t.Context(), api.LocalFlow{Name: function, Pool: pool, Dir: dir, Entrypoint: "flow.py:" + function}); err != nil {
		w.t.Fatal(err)
	}
	return x
}

// submit makes a run that sleeps for some seconds.
func (x *tasks) submit(seconds float64) string {
	x.t.Helper()
	run, err := x.client.Run(x.t.Context(), x.deployment, map[string]any{"seconds": seconds})
	testtools.NoError(x.t, err)
	return run.ID
}

// await waits until a run is in one of the states, which are those of Prefect.
func (x *tasks) await(id string, states ...string) api.FlowRun {
	x.t.Helper()
	var run api.FlowRun
	for end := time.Now().Add(3 * time.Minute); !slices.Contains(states, run.State); time.Sleep(time.Second) {
		now, err := x.client.FlowRun(x.t.Context(), id)
		if err == nil {
			run = now
		} else if !errors.Is(err, api.ErrUnreachable) { // a server with four new processes beside it may be slow
			x.t.Fatal(err)
		}
		if time.Now().After(end) || run.Ended() && !slices.Contains(states, run.State) {
			x.t.Fatalf("the run is %s (%s), %v, want %v\n%s\n%s", run.State, run.StateDetail.Message, err, states,
				proc.Tail(x.run.flowTasks().Log(), 30), proc.Tail(x.run.tasks().Log(), 30))
		}
	}
	return run
}

// task is the ECS task of a flow run.
func (x *tasks) task(run string) types.Task {
	x.t.Helper()
	for _, status := range []types.DesiredStatus{types.DesiredStatusRunning, types.DesiredStatusStopped} {
		listed := testtools.Call(x.t, x.ecs.ListTasks, &ecs.ListTasksInput{Cluster: aws.String("prefect-cluster"), DesiredStatus: status})
		if len(listed.TaskArns) == 0 {
			continue
		}
		out := testtools.Call(x.t, x.ecs.DescribeTasks, &ecs.DescribeTasksInput{Cluster: aws.String("prefect-cluster"), Tasks: listed.TaskArns, Include: []types.TaskField{types.TaskFieldTags}})
		for _, task := range out.Tasks {
			if slices.ContainsFunc(task.Tags, func(tag types.Tag) bool { return aws.ToString(tag.Value) == run }) {
				return task
			}
		}
	}
	x.t.Fatalf("no task has the tag of the flow run %s", run)
	return types.Task{}
}

// stopped is the task of a flow run when its agent has reported its end.
func (x *tasks) stopped(run string) types.Task {
	x.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if task := x.task(run); aws.ToString(task.LastStatus) == "STOPPED" || time.Now().After(end) {
			return task
		}
	}
}

// process is that of a task's container.
func (x *tasks) process(task types.Task) proc.Identity {
	x.t.Helper()
	for _, e := range x.run.flowTasks().Events() {
		if e.Kind == ecstask.Started && strings.HasSuffix(*task.TaskArn, "/"+e.TaskID) {
			return e.Process
		}
	}
	x.t.Fatalf("the state of the run does not have the task %s", *task.TaskArn)
	return proc.Identity{}
}

// kill ends the container of a run's task.
func (x *tasks) kill(run string) {
	x.t.Helper()
	testtools.NoError(x.t, x.process(x.task(run)).Stop(x.t.Context(), syscall.SIGKILL, time.Second))
}

// onSpot lets the pool's tasks run on Spot from now on.
func (x *tasks) onSpot() {
	x.t.Helper()
	pool, err := x.client.WorkPool(x.t.Context(), tasksPool)
	testtools.NoError(x.t, err)
	launch := pool.BaseJobTemplate["variables"].(map[string]any)["properties"].(map[string]any)["launch_type"].(map[string]any)
	launch["default"] = "FARGATE_SPOT"
	testtools.NoError(x.t, x.client.SetTemplate(x.t.Context(), tasksPool, pool.BaseJobTemplate))
}

func (x *tasks) policy(role, name string) string {
	x.t.Helper()
	out := testtools.Call(x.t, x.iam.GetRolePolicy, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &name})
	text, err := url.PathUnescape(*out.PolicyDocument)
	testtools.NoError(x.t, err)
	return text
}

// without takes a statement out of a role's policy for the time of do.
func (x *tasks) without(role, name, sid string, do func()) {
	x.t.Helper()
	before := x.policy(role, name)
	var document map[string]any
	testtools.NoError(x.t, json.Unmarshal([]byte(before), &document))
	statements := document["Statement"].([]any)
	left := slices.DeleteFunc(slices.Clone(statements), func(s any) bool { return s.(map[string]any)["Sid"] == sid })
	if len(left) != len(statements)-1 {
		x.t.Fatalf("%s has no statement %s", role, sid)
	}
	// AWS takes no policy that says nothing.
	document["Statement"] = append(left, map[string]string{"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"})
	after, err := json.Marshal(document)
	testtools.NoError(x.t, err)
	put := func(text string) {
		if _, err := x.iam.PutRolePolicy(context.WithoutCancel(x.t.Context()), &iam.PutRolePolicyInput{RoleName: &role, PolicyName: &name, PolicyDocument: &text}); err != nil {
			x.t.Fatal(err)
		}
	}
	put(string(after))
	defer put(before)
	do()
}

// right is a statement of a role's policy, and a call that needs it.
type right struct{ role, policy, sid, call string }

// needed takes statements away for the time of do, and fails the test unless each of them is named
// by the refusal of its call, with which the whole run fails.
func (x *tasks) needed(do func(), statements ...right) {
	x.t.Helper()
	for _, s := range statements {
		within := do
		do = func() { x.without(s.role, s.policy, s.sid, within) }
	}
	do()
	for _, s := range statements {
		want := "the nearest is the statement " + s.sid + " of the stack, which the role does not have"
		refused := x.refusals(s.call)
		if !slices.ContainsFunc(refused, func(text string) bool { return strings.HasSuffix(text, want) }) {
			x.t.Errorf("want ... may not call %s ... %s\nrefused are %v", s.call, want, refused)
		}
	}
	if _, err := x.run.allowed(); err == nil {
		x.t.Errorf("without %v the run is good", statements)
	}
	testtools.NoError(x.t, os.Truncate(filepath.Join(x.run.dir, "task", "calls.jsonl"), 0))
}

// refusals are what is said of the refused calls that begin so.
func (x *tasks) refusals(call string) []string {
	var texts []string
	for _, c := range x.run.tasks().Calls() {
		if text := c.String(); !c.Allowed && strings.Contains(text, " may not call "+call) {
			texts = append(texts, text)
		}
	}
	return texts
}

// awaitRefusal waits for a call that is refused.
func (x *tasks) awaitRefusal(call string) {
	x.t.Helper()
	for end := time.Now().Add(time.Minute); len(x.refusals(call)) == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("no call of %s is refused", call)
		}
	}
}

// all submits a run of each length and returns when all of them run, each in a task of its own.
func (x *tasks) all(seconds ...float64) (runs []string) {
	x.t.Helper()
	for _, n := range seconds {
		runs = append(runs, x.submit(n))
	}
	arns := map[string]bool{}
	for _, run := range runs {
		x.await(run, "RUNNING")
		arns[*x.task(run).TaskArn] = true
	}
	if len(arns) != len(runs) {
		x.t.Errorf("%d runs have the tasks %v", len(runs), arns)
	}
	if status := x.must("status", "dev"); strings.Count(status, "flow task") < len(runs) {
		x.t.Errorf("status:\n%s", status)
	}
	if _, err := x.run.allowed(); err != nil {
		x.t.Error(err)
	}
	return runs
}

// killWorker kills the worker, and returns what waits for the next one.
func (x *tasks) killWorker() (next func()) {
	x.t.Helper()
	events := x.run.tasks().Events()
	first := events[slices.IndexFunc(events, func(e ecstask.Event) bool { return e.Kind == ecstask.Started })]
	testtools.NoError(x.t, first.Process.Stop(x.t.Context(), syscall.SIGKILL, time.Second))
	return func() {
		x.t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
			workers, err := x.client.OnlineWorkers(x.t.Context(), tasksPool, first.Time)
			if slices.ContainsFunc(workers, func(w api.Worker) bool { return !strings.HasSuffix(w.Name, first.TaskID) }) {
				return
			}
			if time.Now().After(end) {
				x.t.Fatalf("no new worker: %v", err)
			}
		}
	}
}

// cancel cancels a run, with which its task ends.
func (x *tasks) cancel(run string) {
	x.t.Helper()
	testtools.NoError(x.t, x.client.Cancel(x.t.Context(), run))
	x.await(run, "CANCELLED")
	if task := x.stopped(run); aws.ToInt32(task.Containers[0].ExitCode) != 0 {
		x.t.Errorf("the task of the cancelled run ended with %d", aws.ToInt32(task.Containers[0].ExitCode))
	}
}

// end takes the run down. (What was deployed is gone with the emulator, which saves the time to destroy it.)
func (x *tasks) end() {
	x.t.Helper()
	testtools.NoError(x.t, x.run.state.Emulator.Process.Stop(x.t.Context(), syscall.SIGKILL, time.Second))
	x.must("down", "dev")
	if _, err := os.Stat(x.dir); err == nil {
		x.t.Error("the run's folder is still there")
	}
}

func TestFlowsOfAnECSPoolWithPrefect2(t *testing.T) {
	t.Parallel() // mostly, it waits
	x := newTasks(t, "work_pool: {type: ecs, name: tasks}\nworker: {image: 'prefecthq/prefect:2-latest', spot: true}\n")
	// GIVEN flow runs at once, on Spot (that of up was not)
	x.onSpot()
	runs := x.all(600, 600, 30)
	killed, cancelled, survivor := runs[0], runs[1], runs[2]
	// WHEN the task of one is killed THEN the worker, which started it, says so
	x.kill(killed)
	x.await(killed, "CRASHED")
	// WHEN the worker is killed THEN a new one comes, and the others run on
	x.killWorker()()
	x.await(survivor, "COMPLETED")
	x.cancel(cancelled)
	x.end()
}

func TestFlowsOfAnECSPoolWithPrefect3(t *testing.T) {
	t.Parallel()
	x := newTasks(t, existing, ": 2 imported, ") // the queues, with which nobody waits
	began := time.Now()
	lap := func(what string) { t.Logf("%s after %.0f s", what, time.Since(began).Seconds()) }
	secrets := right{"execution", "needed", "ReadSecrets", "secretsmanager:GetSecretValue"}
	worker := func(sid, call string) right { return right{"prefect-task-role", "needed", sid, call} }
	start := func(sid, call string) right { return right{"prefect-flow-execution-role", "needed", sid, call} }

	// GIVEN flow runs at once, on Spot (that of up was not)
	x.onSpot()
	runs := x.all(600, 600, 600, 600, 30)
	killed, cancelled, stopped, left, survivor := runs[0], runs[1], runs[2], runs[3], runs[4]
	lap("all run")

	// WHEN the worker is killed while they run, and another one may not read its secret
	var next func()
	x.needed(func() {
		next = x.killWorker()
		x.awaitRefusal(secrets.call)
	}, secrets)
	// THEN a new one comes as soon as it may, and they run on to their end
	next()
	x.await(survivor, "COMPLETED")
	lap("one completed, with another worker")

	// WHEN a task is killed, and an operator stops another one
	x.kill(killed)
	testtools.Call(t, x.ecs.StopTask, &ecs.StopTaskInput{Cluster: aws.String("prefect-cluster"), Task: x.task(stopped).TaskArn, Reason: aws.String("by a person")})
	// THEN ECS says why they ended
	if task := x.stopped(killed); aws.ToInt32(task.Containers[0].ExitCode) != 137 || task.StopCode != "EssentialContainerExited" {
		t.Errorf("the killed task ended with %v, %s", task.Containers[0].ExitCode, task.StopCode)
	}
	if task := x.stopped(stopped); aws.ToString(task.StoppedReason) != "by a person" || task.StopCode != "UserInitiated" {
		t.Errorf("the stopped task ended with %v, %s", aws.ToString(task.StoppedReason), task.StopCode)
	}
	// AND the new worker, which did not start them, learns of it from the queue
	x.await(killed, "CRASHED")
	x.await(stopped, "CRASHED")
	lap("two crashed")
	x.cancel(cancelled)
	lap("one cancelled")

	// AND verify says that the pool is not that of the deployment
	if out, err := x.command("verify", "dev").CombinedOutput(); err == nil || !strings.Contains(string(out), `launch_type is "FARGATE_SPOT", configured is "FARGATE"`) || !strings.Contains(string(out), "workerctl pool apply dev") {
		t.Errorf("verify: %v\n%s", err, out)
	}

	// WHEN a flow task cannot start, because its role may not write the log or read the secret
	fails := func() string {
		run := x.submit(0)
		x.await(run, "CRASHED", "FAILED")
		return run
	}
	notStarted := func() {
		// THEN ECS and the run say why
		if task := x.stopped(fails()); !strings.HasPrefix(aws.ToString(task.StoppedReason), "ResourceInitializationError: ") || task.StopCode != "TaskFailedToStart" {
			t.Errorf("the task ended with %q, %s", aws.ToString(task.StoppedReason), task.StopCode)
		}
	}
	x.needed(notStarted, start("WriteFlowLogs", "logs:"))
	x.needed(notStarted, start("ReadSecrets", "secretsmanager:GetSecretValue"))
	lap("some did not start")

	// WHEN the worker lacks one of its rights THEN the run fails and the statement is named
	failed := func() { fails() }
	x.needed(failed, worker("Describe", "ecs:DescribeTaskDefinition"), worker("RegisterFlows", "ecs:RegisterTaskDefinition"))
	x.needed(failed, worker("RunFlows", "ecs:RunTask on arn:aws:ecs:"))
	x.needed(failed, worker("PassRoles", "iam:PassRole"))
	x.needed(failed, worker("TagFlows", "ecs:TagResource"))
	// (A run whose task nobody may look at stays as it is.)
	watch, write := worker("WatchFlows", "ecs:DescribeTasks"), start("WriteFlowLogs", "logs:")
	x.needed(func() {
		x.submit(0)
		x.awaitRefusal(write.call)
		x.awaitRefusal(watch.call)
	}, watch, write)
	receive := worker("ReceiveTaskEvents", "sqs:")
	x.needed(func() { x.awaitRefusal(receive.call) }, receive)
	lap("some were refused")

	x.unread()
	x.drift()
	lap("verify saw what is wrong with what exists")

	// WHEN the supervisor is killed while a flow task runs
	process := x.process(x.task(left))
	testtools.NoError(t, x.run.state.Supervisor.Stop(t.Context(), syscall.SIGKILL, time.Second))
	// THEN down finds the task
	if !process.Alive() {
		t.Error("the flow task ended with the supervisor")
	}
	x.end()
	x.assertAllEnded([]proc.Identity{process})
}

// unread shows that a queue which nobody reads is seen: a worker whose observer has ended is
// online all the same, so up sends an event to its queue. (That the worker reads it is a step of
// each up with Prefect 3.)
func (x *tasks) unread() {
	x.t.Helper()
	queue := "nobody-reads"
	testtools.Call(x.t, sqs.NewFromConfig(x.run.aws()).CreateQueue, &sqs.CreateQueueInput{QueueName: &queue})
	err := (&up{run: x.run, p: terminal.NewProgress(io.Discard)}).observe(x.t.Context(), queue, time.Second)
	if want := "the worker does not read the events of its tasks from the queue nobody-reads within 1s, so that a flow run whose task crashes would stay running"; err == nil || !strings.HasPrefix(err.Error(), want) {
		x.t.Errorf("got  %v\nwant %s", err, want)
	}
}

// drift takes something away from what exists, of which the program makes nothing, and sees verify
// say so, with a fix that is not to deploy.
func (x *tasks) drift() {
	x.t.Helper()
	opt, err := x.run.checklist()
	testtools.NoError(x.t, err)
	find := func(opt verify.Options, check, detail, fix string) {
		x.t.Helper()
		report := verify.Run(x.t.Context(), opt)
		if !slices.ContainsFunc(report.Checks, func(c verify.Check) bool {
			return c.Name == check && c.Status == verify.Failed && strings.Contains(c.Detail, detail) && strings.Contains(c.Fix, fix)
		}) {
			x.t.Errorf("want %s: %q, fix %q\n%+v", check, detail, fix, report.Checks)
		}
	}
	if report := verify.Run(x.t.Context(), opt); slices.ContainsFunc(report.Checks, func(c verify.Check) bool {
		// (The log has the runs that were denied.)
		return slices.Contains([]string{"ECS cluster", "network", "roles of the next task"}, c.Name) && c.Status == verify.Failed
	}) {
		x.t.Errorf("before: %+v", report.Checks)
	}
	const network = "name other subnets in network.existing.subnet_ids"
	client := ec2.NewFromConfig(opt.AWS)
	endpoints, err := client.DescribeVpcEndpoints(x.t.Context(), &ec2.DescribeVpcEndpointsInput{Filters: []ec2types.Filter{{Name: aws.String("service-name"), Values: []string{"com.amazonaws.us-east-1.logs"}}}})
	if err != nil || len(endpoints.VpcEndpoints) != 1 {
		x.t.Fatalf("%v, %d endpoints of logs", err, len(endpoints.VpcEndpoints))
	}
	testtools.Call(x.t, client.DeleteVpcEndpoints, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*endpoints.VpcEndpoints[0].VpcEndpointId}})
	find(opt, "network", "has no endpoint of logs", network)
	const image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/flows:7"
	deployment := x.run.state.Prefect.APIURL() + "/deployments/" + x.deployment
	patch(x.t, deployment, `{"job_variables": {"image": "`+image+`"}}`)
	spot := *opt.Environment // as onSpot has left the template
	spot.WorkPool.Job.Spot = true
	onSpot := opt
	onSpot.Environment = &spot
	find(onSpot, "work pool", "the image "+image+" is not in ECR", "push it")
	patch(x.t, deployment, `{"job_variables": {}}`)
	x.without("prefect-task-role", "needed", "StopFlows", func() {
		find(opt, "roles of the next task", "the task role prefect-task-role may not call ecs:StopTask", "give it what the output task_role_policy says")
	})
	x.without("execution", "needed", "WriteLogs", func() {
		find(opt, "roles of the next task", "the execution role execution may not call logs:PutLogEvents", "give it what the output execution_role_policy says")
	})
	logs, group := cloudwatchlogs.NewFromConfig(opt.AWS), aws.String("/ecs/prefect-worker")
	testtools.Call(x.t, logs.DeleteLogGroup, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: group})
	find(opt, "log", "the log group /ecs/prefect-worker does not exist", "")
	testtools.Call(x.t, logs.CreateLogGroup, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group})
}
