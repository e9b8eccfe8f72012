package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"prefect-worker-ecs/internal/base/poll"
)

// Deployment is a deployment of a flow as the API shows it.
type Deployment struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	FlowID string `json:"flow_id"`
	// Variables are its job variables, which Prefect 2 calls Overrides.
	Variables map[string]any `json:"job_variables"`
	Overrides map[string]any `json:"infra_overrides"`
}

// Deployments returns the deployments of a pool that have job variables, of the first 200.
func (c *Client) Deployments(ctx context.Context, pool string) ([]Deployment, error) {
	filter := inPool(pool, nil)
	filter["limit"] = 200
	var all []Deployment
	err := c.do(ctx, http.MethodPost, []string{"deployments", "filter"}, filter, &all)
	for i, d := range all {
		if len(d.Variables) == 0 {
			all[i].Variables = d.Overrides
		}
	}
	return slices.DeleteFunc(all, func(d Deployment) bool { return len(d.Variables) == 0 }), err
}

// Completed reports whether a run of a pool that started after a point of time has completed, of one of its
// deployments if that is not empty.
func (c *Client) Completed(ctx context.Context, pool, deployment string, after time.Time) (bool, error) {
	filter := inPool(pool, nil)
	if deployment != "" {
		filter["deployments"] = map[string]any{"id": anyOf(deployment)}
	}
	filter["flow_runs"] = map[string]any{
		"state":      map[string]any{"type": anyOf("COMPLETED")},
		"start_time": map[string]any{"after_": after.UTC().Format(time.RFC3339Nano)},
	}
	var count int
	err := c.do(ctx, http.MethodPost, []string{"flow_runs", "count"}, filter, &count)
	return count > 0, err
}

// FlowName returns the name of a flow.
func (c *Client) FlowName(ctx context.Context, id string) (string, error) {
	var flow struct{ Name string }
	err := c.do(ctx, http.MethodGet, []string{"flows", id}, nil, &flow)
	return flow.Name, err
}

// LocalFlow is a flow in a file on the machine of the worker.
type LocalFlow struct {
	// Name is the flow's name, and that of its deployment.
	Name string
	// Pool is the work pool that its runs are given to, and Queue the queue in it. Default
	// queue: the pool's own.
	Pool, Queue string
	// Dir is the folder that a run copies to its own before it starts. Empty: PullSteps
	// bring the file.
	Dir string
	// PullSteps are what a run does in its own, empty folder to get the file, as Prefect's
	// deployment steps have it.
	PullSteps []map[string]any
	// Entrypoint is <file>:<function> within that folder, such as "hello.py:hello".
	Entrypoint string
}

// Deploy creates the flow and its deployment, or brings existing ones up to date, and
// returns the deployment's id.
func (c *Client) Deploy(ctx context.Context, flow LocalFlow) (string, error) {
	var created struct{ ID string }
	if err := c.do(ctx, http.MethodPost, []string{"flows", ""}, map[string]any{"name": flow.Name}, &created); err != nil {
		return "", err
	}
	deployment := map[string]any{
		"name": flow.Name, "flow_id": created.ID, "work_pool_name": flow.Pool,
		"entrypoint":               flow.Entrypoint,
		"enforce_parameter_schema": false,
	}
	if flow.Dir != "" {
		deployment["path"] = flow.Dir
	}
	if len(flow.PullSteps) > 0 {
		deployment["pull_steps"] = flow.PullSteps
	}
	if flow.Queue != "" {
		deployment["work_queue_name"] = flow.Queue
	}
	err := c.do(ctx, http.MethodPost, []string{"deployments", ""}, deployment, &created)
	return created.ID, err
}

// DeleteFlow deletes a flow with its deployments and runs. It is ErrNotFound if there is
// none of that name.
func (c *Client) DeleteFlow(ctx context.Context, name string) error {
	var flow struct{ ID string }
	if err := c.do(ctx, http.MethodGet, []string{"flows", "name", name}, nil, &flow); err != nil {
		return err
	}
	// The API deletes a flow's deployments and runs with it only in the database of some
	// releases, so each is deleted by itself first.
	of := map[string]any{"flows": map[string]any{"id": anyOf(flow.ID)}, "limit": 200}
	for _, kind := range []string{"flow_runs", "deployments"} {
		var found []struct{ ID string }
		if err := c.do(ctx, http.MethodPost, []string{kind, "filter"}, of, &found); err != nil {
			return err
		}
		for _, object := range found {
			if err := c.do(ctx, http.MethodDelete, []string{kind, object.ID}, nil, nil); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
	}
	return c.do(ctx, http.MethodDelete, []string{"flows", flow.ID}, nil, nil)
}

// FlowRun is one run of a flow as the API shows it.
type FlowRun struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// State is what Prefect calls the state's type: SCHEDULED, PENDING,
	// RUNNING, COMPLETED, FAILED, CANCELLED, CANCELLING, CRASHED or PAUSED.
	State string `json:"state_type"`
	// Due is when the run should start. Nil once a worker has taken it.
	Due *time.Time `json:"next_scheduled_start_time"`
	// StateDetail says more about the state.
	StateDetail struct {
		Name      string    `json:"name"`
		Message   string    `json:"message"`
		Timestamp time.Time `json:"timestamp"`
	} `json:"state"`
	// Pool is the name of its work pool, and Queue that of its queue. Empty: it has none.
	Pool  string `json:"work_pool_name"`
	Queue string `json:"work_queue_name"`
	// Started is when it started, and EndedAt when it ended. Zero: it has not.
	Started time.Time `json:"start_time"`
	EndedAt time.Time `json:"end_time"`
	// Labels are what a worker of Prefect 3 writes on it.
	Labels map[string]any `json:"labels"`
	// InfrastructureID is what its process or task is called by the worker.
	InfrastructureID string `json:"infrastructure_pid"`
}

// ended are the states of a run that is over, well or not.
var ended = []string{"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

// Ended reports whether the run is over, well or not.
func (r FlowRun) Ended() bool { return slices.Contains(ended, r.State) }

// Run submits a run of a deployment, to start as soon as a worker takes it. A server that gives no
// answer, such as one with SQLite whose disk is busy, gets the request twice more: Prefect makes one run of
// requests with the same key.
func (c *Client) Run(ctx context.Context, deployment string, parameters map[string]any) (FlowRun, error) {
	if parameters == nil {
		parameters = map[string]any{}
	}
	var run FlowRun
	path := []string{"deployments", deployment, "create_flow_run"}
	request := map[string]any{"state": map[string]any{"type": "SCHEDULED"}, "parameters": parameters, "idempotency_key": rand.Text()}
	err := c.do(ctx, http.MethodPost, path, request, &run)
	for again := 0; again < 2 && errors.Is(err, ErrUnreachable); again++ {
		err = c.do(ctx, http.MethodPost, path, request, &run)
	}
	return run, err
}

// FlowRun returns a run by its id.
func (c *Client) FlowRun(ctx context.Context, id string) (FlowRun, error) {
	var run FlowRun
	err := c.do(ctx, http.MethodGet, []string{"flow_runs", id}, nil, &run)
	return run, err
}

// AwaitEnd waits until a run is over, and returns it as it then is. seen, if
// not nil, is called with each new state. An API that cannot be reached for a
// moment is polled again; every other error ends the wait, as does ctx.
func (c *Client) AwaitEnd(ctx context.Context, id string, seen func(FlowRun)) (FlowRun, error) {
	var run FlowRun
	last := ""
	err := poll.Until(ctx, 500*time.Millisecond, func() (_ bool, err error) {
		run, err = c.FlowRun(ctx, id)
		if errors.Is(err, ErrUnreachable) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if run.State != last && seen != nil {
			seen(run)
		}
		last = run.State
		return run.Ended(), nil
	})
	if ctx.Err() != nil && !run.Ended() {
		return FlowRun{}, fmt.Errorf("flow run %s is still %s: %w", id, last, ctx.Err())
	}
	return run, err
}

// Cancel ends a run that has not ended: one that no worker took at once, another as soon as
// its worker sees it.
func (c *Client) Cancel(ctx context.Context, run string) error {
	return c.setState(ctx, run, map[string]any{"type": "CANCELLING", "name": "Cancelling"}, false)
}

// Reschedule puts a run back that a worker has taken, to start as soon as another takes it.
// Nothing in Prefect sees whether the first attempt still runs.
func (c *Client) Reschedule(ctx context.Context, run string) error {
	state := map[string]any{"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": map[string]any{"scheduled_time": c.Now().UTC().Format(time.RFC3339Nano)}}
	return c.setState(ctx, run, state, false)
}

// End ends a run that a worker has taken, as crashed, with a message. Nothing in Prefect sees whether it
// still runs.
func (c *Client) End(ctx context.Context, run, message string) error {
	state := map[string]any{"type": "CRASHED", "name": "Crashed", "message": message}
	return c.setState(ctx, run, state, true)
}

// setState sets the state of a run. forced states are accepted by the API from any other.
func (c *Client) setState(ctx context.Context, run string, state map[string]any, force bool) error {
	var answer struct {
		Status  string
		Details struct{ Reason string }
	}
	if err := c.do(ctx, http.MethodPost, []string{"flow_runs", run, "set_state"}, map[string]any{"state": state, "force": force}, &answer); err != nil {
		return err
	}
	if answer.Status != "ACCEPT" {
		return fmt.Errorf("the Prefect server does not set the flow run to %s: %s %s", state["name"], answer.Status, answer.Details.Reason)
	}
	return nil
}

// Overdue returns runs of a pool that should have started before a point of time and that no worker has
// taken, the oldest first, at most 200; retries too. Runs that wait for a slot of their deployment are
// not among them. Empty queues are all queues.
func (c *Client) Overdue(ctx context.Context, pool string, queues []string, before time.Time) ([]FlowRun, error) {
	filter := inPool(pool, queues)
	filter["flow_runs"] = map[string]any{
		"state":                     map[string]any{"type": anyOf("SCHEDULED")},
		"next_scheduled_start_time": map[string]any{"before_": before.UTC().Format(time.RFC3339Nano)},
	}
	filter["sort"], filter["limit"] = "NEXT_SCHEDULED_START_TIME_ASC", 200
	var runs []FlowRun
	err := c.do(ctx, http.MethodPost, []string{"flow_runs", "filter"}, filter, &runs)
	return slices.DeleteFunc(runs, func(r FlowRun) bool { return r.StateDetail.Name == "AwaitingConcurrencySlot" }), err
}

// Underway returns the runs of a pool that a worker has taken and that have not ended.
func (c *Client) Underway(ctx context.Context, pool string) ([]FlowRun, error) {
	const page = 200 // the most that the API gives at once
	filter := inPool(pool, nil)
	filter["flow_runs"] = map[string]any{"state": map[string]any{"type": anyOf("PENDING", "RUNNING", "CANCELLING")}}
	filter["sort"], filter["limit"] = "ID_DESC", page
	var all []FlowRun
	for {
		filter["offset"] = len(all)
		var runs []FlowRun
		if err := c.do(ctx, http.MethodPost, []string{"flow_runs", "filter"}, filter, &runs); err != nil {
			return nil, err
		}
		if all = append(all, runs...); len(runs) < page {
			return all, nil
		}
	}
}

// LastStartAndEnd returns when a run of a pool last started, and when one that had started last ended.
// Zero: none has. Empty queues are all queues.
func (c *Client) LastStartAndEnd(ctx context.Context, pool string, queues []string) (start, end time.Time, err error) {
	started := map[string]any{"start_time": map[string]any{"is_null_": false}}
	over := map[string]any{"start_time": started["start_time"], "state": map[string]any{"type": anyOf(ended...)}}
	newest := func(runs map[string]any, sort string) (FlowRun, error) {
		filter := inPool(pool, queues)
		filter["flow_runs"], filter["sort"], filter["limit"] = runs, sort, 1
		var found []FlowRun
		err := c.do(ctx, http.MethodPost, []string{"flow_runs", "filter"}, filter, &found)
		return append(found, FlowRun{})[0], err
	}
	last, err := newest(started, "START_TIME_DESC")
	if err == nil {
		start = last.Started
		last, err = newest(over, "END_TIME_DESC")
		end = last.EndedAt
	}
	return start, end, err
}

// submitting is the line with which a worker takes a run.
var submitting = regexp.MustCompile(`^Worker '(.+)' submitting flow run '`)

// WorkerOf returns the name of the worker that took a run: a label with Prefect 3, with 2 a line in
// the run's log. Empty: it is not known.
func (c *Client) WorkerOf(ctx context.Context, run FlowRun) (string, error) {
	if name, ok := run.Labels["prefect.worker.name"].(string); ok {
		return name, nil
	}
	var lines []struct{ Message string }
	// The last one before the state: a rescheduled run has one for each worker.
	err := c.do(ctx, http.MethodPost, []string{"logs", "filter"}, map[string]any{
		"logs": map[string]any{
			"flow_run_id": anyOf(run.ID),
			"timestamp":   map[string]any{"before_": run.StateDetail.Timestamp.UTC().Format(time.RFC3339Nano)},
		},
		"sort": "TIMESTAMP_DESC", "limit": 200,
	}, &lines)
	for _, line := range lines {
		if match := submitting.FindStringSubmatch(line.Message); match != nil {
			return match[1], err
		}
	}
	return "", err
}

// anyOf returns the condition of a filter that a value is one of those.
func anyOf(values ...string) map[string]any { return map[string]any{"any_": values} }

// inPool returns the filter for what belongs to a pool, or to some of its queues.
func inPool(pool string, queues []string) map[string]any {
	filter := map[string]any{"work_pools": map[string]any{"name": anyOf(pool)}}
	if len(queues) > 0 {
		filter["work_pool_queues"] = map[string]any{"name": anyOf(queues...)}
	}
	return filter
}
