package run

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/alarm"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/terraform/project"
)

// verifyTimeout is how long the checklist may take to become green once the
// worker is online: the first lines of its log are sent after a second, the first
// metrics of a probe after some more on a loaded machine.
const verifyTimeout = time.Minute

// Checklist returns what verify is to look at: the configuration that the run was deployed from,
// which is not quite the user's, and the emulator.
func (o Options) Checklist() (verify.Options, error) {
	r, err := o.running()
	if err != nil {
		return verify.Options{}, err
	}
	return r.checklist()
}

// Pages returns the addresses of Prefect's user interface and of the emulator's list of what it holds.
func (o Options) Pages() (prefect, aws string, err error) {
	r, err := o.running()
	if err != nil {
		return "", "", err
	}
	return r.state.Prefect.URL(), r.state.Emulator.Endpoint + "/moto-api/", nil
}

// running returns the run, of which both servers were started.
func (o Options) running() (*run, error) {
	r, err := o.run()
	if err != nil {
		return nil, err
	}
	switch err := r.load(o.Environment); {
	case errors.Is(err, errNoRun):
		if err := o.known(); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	if r.state.Emulator == nil || r.state.Prefect == nil {
		return nil, fmt.Errorf("nothing of the local run of %s runs; %s starts it", o.Environment, o.command("up"))
	}
	return r, nil
}

func (r *run) checklist() (verify.Options, error) {
	workspace := project.Workspace{Dir: r.workspaceDir()}
	stack, err := os.ReadFile(filepath.Join(workspace.StackDir(r.state.Environment), "cdk.tf.json"))
	if err != nil {
		return verify.Options{}, fmt.Errorf("read the deployed stack: %w", err)
	}
	envs, err := config.LoadLocal(r.environments())
	if err != nil {
		return verify.Options{}, err
	}
	return verify.Options{Environment: envs[0], Stack: stack, AWS: r.aws()}, nil // the only one
}

// verify goes through the very checklist that workerctl verify has for AWS.
func (u *up) verify(ctx context.Context) error {
	checklist, err := u.checklist()
	if err != nil {
		return err
	}
	var report verify.Report
	err = u.p.Step("verifying as workerctl verify does", func() (string, error) {
		report = verify.Wait(ctx, checklist, verifyTimeout, nil)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if !report.OK {
			return "", errors.New("the checklist of workerctl verify is not green; see above")
		}
		return fmt.Sprintf("verified: all %d checks of workerctl verify are green", len(report.Checks)), nil
	})
	if err != nil && ctx.Err() == nil {
		report.Print(u.opt.Out)
	}
	return err
}

//go:embed hello.py
var helloFlow []byte

// flowTimeout is how long the flow run may take: it starts a Python of its own, and a worker of the user's
// environment may poll seldom.
const flowTimeout = 3 * time.Minute

// submitFlow submits a flow run to the pool. A worker polls when it starts, and then each 2 s (see localSettings).
func (u *up) submitFlow(ctx context.Context) error {
	return u.p.Step("submitting a flow run to the work pool", func() (string, error) {
		dir := u.flowDir()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, "hello.py"), helloFlow, 0o644); err != nil {
			return "", err
		}
		run, err := submit(ctx, u.client, u.env, filepath.Join(dir, "hello.py"), "hello", nil)
		u.flow = run.ID
		return fmt.Sprintf("flow run %s is submitted to the work pool", run.Name), err
	})
}

// submit submits a run of a flow, a function in a file on this machine, to an environment's pool.
func submit(ctx context.Context, client *api.Client, env *config.Environment, file, function string, parameters map[string]any) (api.FlowRun, error) {
	flow := api.LocalFlow{
		Name: strings.TrimSuffix(filepath.Base(file), ".py"), Pool: env.WorkPool.Name, Dir: filepath.Dir(file), Entrypoint: filepath.Base(file) + ":" + function,
	}
	if len(env.WorkPool.Queues) > 0 {
		flow.Queue = env.WorkPool.Queues[0]
	}
	deployment, err := client.Deploy(ctx, flow)
	if err != nil {
		return api.FlowRun{}, fmt.Errorf("create the deployment of the flow: %w", err)
	}
	run, err := client.Run(ctx, deployment, parameters)
	if err != nil {
		return api.FlowRun{}, fmt.Errorf("submit the flow run: %w", err)
	}
	return run, nil
}

// awaitFlow waits until the flow run is COMPLETED.
func (u *up) awaitFlow(ctx context.Context) error {
	return u.p.Step("waiting for the flow run", func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, flowTimeout)
		defer cancel()
		run, err := u.client.AwaitEnd(ctx, u.flow, func(r api.FlowRun) { u.p.Note("flow run %s: %s", r.Name, r.State) })
		if err != nil {
			return "", fmt.Errorf("%w%s", err, u.outputs())
		}
		if run.State != "COMPLETED" {
			if call, found := u.refused(); found {
				return "", fmt.Errorf("flow run %s is %s: %s", run.Name, run.State, call)
			}
			return "", fmt.Errorf("flow run %s is %s: %s%s", run.Name, run.State, run.StateDetail.Message, u.outputs())
		}
		return fmt.Sprintf("flow run %s is COMPLETED", run.Name), nil
	})
}

// outputs returns the last lines of the containers' output.
func (u *up) outputs() string {
	text := "; the end of the worker's output:\n" + proc.Tail(u.tasks().Log(), 30)
	if u.env.WorkPool.FlowsAreTasks() {
		text += "\nthe end of the flow tasks' output:\n" + proc.Tail(u.flowTasks().Log(), 30)
	}
	return text
}

// checkCalls shows that the roles may do what was done with them, and no call was refused.
func (u *up) checkCalls(context.Context) error {
	return u.p.Step("looking at the calls of the roles", func() (string, error) { return u.allowed() })
}

// observerTimeout is how long the worker may take to read a message from its queue. It
// starts to read when it is online, and waits for messages without a pause.
const observerTimeout = time.Minute

// observed is observe for the worker's queue, where it has one.
func (u *up) observed(ctx context.Context) error {
	queue := u.env.EventQueue()
	if queue == "" {
		return nil
	}
	return u.observe(ctx, queue, observerTimeout)
}

// observe shows that the worker reads the queue with the events of its tasks. That part of
// it, the observer, can end while the worker stays online: then a flow run whose task
// crashed would be "running" indefinitely.
func (u *up) observe(ctx context.Context, queue string, limit time.Duration) error {
	return u.p.Step("sending an event to the worker's queue", func() (string, error) {
		client := sqs.NewFromConfig(u.aws())
		found, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &queue})
		if err != nil {
			return "", fmt.Errorf("find the queue %s: %w", queue, err)
		}
		// The observer deletes an event of an unknown type and does nothing else.
		event := `{"detail-type": "Local run", "detail": {}}`
		if _, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: found.QueueUrl, MessageBody: &event}); err != nil {
			return "", fmt.Errorf("send an event to the queue %s: %w", queue, err)
		}
		var queueErr error
		waiting, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		err = poll.Until(waiting, 200*time.Millisecond, func() (bool, error) {
			var got *sqs.GetQueueAttributesOutput
			got, queueErr = client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: found.QueueUrl, AttributeNames: []types.QueueAttributeName{"All"}})
			return queueErr == nil && got.Attributes["ApproximateNumberOfMessages"] == "0" && got.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0", nil
		})
		if waiting.Err() != nil && ctx.Err() == nil {
			return "", fmt.Errorf("the worker does not read the events of its tasks from the queue %s within %v, so that a flow run whose task crashes would stay running (last answer of the queue: %v); the end of its output:\n%s",
				queue, limit, queueErr, proc.Tail(u.tasks().Log(), 30))
		}
		return "the worker reads the events of its tasks from the queue " + queue, err
	})
}

// refused returns the first call that was refused since this up and its worker began, and whether there is one: what an
// earlier one ended with may be fixed.
func (r *run) refused() (enforce.Call, bool) {
	calls := r.tasks().Calls()
	i := slices.IndexFunc(calls, func(c enforce.Call) bool {
		return !c.Allowed && c.Time.After(r.began) && c.Time.After(r.state.WorkerStarted)
	})
	if i < 0 {
		return enforce.Call{}, false
	}
	return calls[i], true
}

// allowed returns a summary of the calls and of the statements that allowed them, or an error for a refused call.
func (r *run) allowed() (string, error) {
	if call, found := r.refused(); found {
		return "", errors.New(call.String())
	}
	count := map[enforce.Kind]int{}
	statements := map[string]bool{}
	for _, c := range r.tasks().Calls() {
		count[c.Kind]++
		if c.Allowed {
			statements[c.Statement] = true
		}
	}
	probe := ""
	if n := count[enforce.Function]; n > 0 {
		probe = fmt.Sprintf(", %d kinds by the probe", n)
	}
	return fmt.Sprintf("calls: %d by the task role, %d by the execution role%s, all allowed by: %s",
		count[enforce.Task], count[enforce.Execution], probe, strings.Join(slices.Sorted(maps.Keys(statements)), "; ")), nil
}

// watchedTimeout is how long CloudWatch may take to show that all is well: as many data points as
// the alarm with the longest view looks at.
const watchedTimeout = time.Minute

// watched waits, where there is a probe, until no alarm of the worker is in the state ALARM, and shows the last metrics.
func (u *up) watched(ctx context.Context) error {
	if !u.env.HasProbe() {
		return nil
	}
	return u.p.Step("looking at what CloudWatch shows", func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, watchedTimeout)
		defer cancel()
		var red []string
		var last alarm.Sample
		err := poll.Until(ctx, time.Second, func() (bool, error) {
			alarms, samples, err := alarm.Read(ctx, u.aws(), u.env.Worker.ServiceName)
			if err != nil || len(samples) == 0 {
				return false, err
			}
			red, last = nil, samples[len(samples)-1]
			for _, a := range alarms {
				// The alarms of scaling change the number of tasks and notify no one.
				forPeople := slices.ContainsFunc(a.AlarmActions, func(arn string) bool { return !strings.Contains(arn, ":scalingPolicy:") })
				if forPeople && alarm.InAlarm(a, samples) {
					red = append(red, aws.ToString(a.AlarmName))
				}
			}
			return len(red) == 0, nil
		})
		if errors.Is(err, context.DeadlineExceeded) {
			return "", fmt.Errorf("red in CloudWatch: %s; the last metrics are %v", strings.Join(red, ", "), last)
		}
		return fmt.Sprintf("CloudWatch: %.0f worker online, %.0f of %.0f tasks, %.0f flow runs due, %.0f lost; no alarm is red",
			last["WorkersOnline"], last["TasksRunning"], last["TasksDesired"], last["FlowRunsDue"], last["FlowRunsLost"]), err
	})
}
