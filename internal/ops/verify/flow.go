package verify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/prefect/api"
)

// flowFile is the flow of the smoke test. A run makes the file itself, in its own folder: so it
// needs no storage, and works where the server has no access to files of this machine.
const (
	flowFile = "workerctl_verify.py"
	flowText = "from prefect import flow\\n\\n@flow(log_prints=True)\\ndef smoke_test():\\n    print('this worker runs flows')\\n"
)

// flowTimeout is how long the flow may take: enough for the start of a task on Fargate.
const flowTimeout = 5 * time.Minute

// flow runs a small flow through the pool, after all other checks, and removes it.
func (c *checklist) flow(ctx context.Context) (result finding) {
	for name := range c.outcomes {
		if name != checkFlow {
			c.await(name)
		}
	}
	name := "workerctl-verify-" + strings.ToLower(rand.Text()[:8])
	client := c.API

	defer func() {
		// The clean-up also happens after Ctrl-C.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if err := client.DeleteFlow(ctx, name); err != nil && !errors.Is(err, api.ErrNotFound) {
			result.detail += fmt.Sprintf("\nthe flow %s could not be removed: %v", name, err)
			result.fix = fmt.Sprintf("remove it: prefect flow delete, or in the user interface; its name is %s", name)
			if result.status == OK {
				result.status = Unknown
			}
		}
	}()

	queue := ""
	if len(c.env.WorkPool.Queues) > 0 {
		queue = c.env.WorkPool.Queues[0]
	}
	deployment, err := client.Deploy(ctx, api.LocalFlow{
		Name: name, Pool: c.Pool.Name, Queue: queue, Entrypoint: flowFile + ":smoke_test",
		PullSteps: []map[string]any{{"prefect.deployments.steps.run_shell_script": map[string]any{
			"script": fmt.Sprintf(`python -c "open('%s', 'w').write('''%s''')"`, flowFile, flowText),
		}}},
	})
	if err != nil {
		return unreachable("whether flows run, for which a deployment could not be created,", err)
	}
	began := time.Now()
	run, err := client.Run(ctx, deployment, nil)
	if err != nil {
		return unreachable("whether flows run, for which a run could not be created,", err)
	}
	waiting, cancel := context.WithTimeout(ctx, flowTimeout)
	defer cancel()
	ended, err := client.AwaitEnd(waiting, run.ID, nil)
	took := time.Since(began).Round(time.Second)
	switch {
	case err == nil && ended.State == "COMPLETED":
		return c.ranHere(ctx, ended, fmt.Sprintf("%s ran to COMPLETED in %s", name, took))
	case err == nil:
		return failed(fmt.Sprintf("%s ended as %s after %s: %s", name, ended.State, took, ended.StateDetail.Message), "look at the log below")
	}
	// Without this the run would start later, and find nothing.
	stop, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancelStop()
	_ = client.Cancel(stop, run.ID)
	if waiting.Err() != nil && ctx.Err() == nil {
		return failed(fmt.Sprintf("%s did not end within %s: %v", name, flowTimeout, err), "fix first what failed above; if nothing did, look at the log below")
	}
	return unknown(err.Error(), "try again")
}

// ranHere checks that a worker of this service took a run, and that one is still online.
func (c *checklist) ranHere(ctx context.Context, run api.FlowRun, detail string) finding {
	// With Prefect 2 only a line of the log names the worker, which it sends some seconds later.
	worker := ""
	named, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := poll.Until(named, time.Second, func() (_ bool, err error) {
		worker, err = c.API.WorkerOf(named, run)
		return worker != "", err
	})
	if err != nil && worker == "" {
		return unknown(detail+", but which worker took it is not known", "look at the run in the user interface of Prefect")
	}
	if c.env.Worker.Scales() {
		c.workerService(ctx) // the task was perhaps started for this run
	}
	if !c.IsCurrent(c.env, worker) {
		return failed(fmt.Sprintf("%s, but another worker took it: %s", detail, worker), "stop the other worker, or give it a work pool of its own; whether that of this service works is seen without it")
	}
	ctx, cancel = context.WithTimeout(ctx, Timeout)
	defer cancel()
	// The queues were read before the flow run, and a worker that has just started one may poll late.
	var after finding
	_ = poll.Until(ctx, time.Second, func() (bool, error) {
		if queues, err := c.API.WorkQueues(ctx, c.env.WorkPool.Name); err == nil {
			c.servedQueues(queues)
		}
		if now := c.worker(ctx); ctx.Err() == nil || after.status == "" {
			after = now
		}
		return after.status == OK, nil
	})
	if after.status != OK {
		after.detail = detail + ", and after it: " + after.detail
		return after
	}
	return ok("%s, on %s", detail, worker)
}
