// Package flowruns finds the flow runs that need a person, and puts one back.
//
// Prefect never takes back a run whose worker died: it stays Pending or Running for ever. One
// that is put back while its first attempt lives runs twice, with Prefect 2 and 3 alike; so
// that is done only if ECS says that the task of the first attempt has stopped.
package flowruns

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/prefect/api"
)

// Trouble is what is wrong with a flow run.
type Trouble string

// The troubles, as the probe counts them.
const (
	// Late: it is due for more than a minute and nobody has taken it.
	Late Trouble = "late"
	// Orphaned: it is Pending for longer than monitoring.pending_minutes.
	Orphaned Trouble = "orphaned"
	// Lost: it is Running, and what ran it is gone.
	Lost Trouble = "lost"
)

// LateAfter is how long a run may be due before nobody seems to take it: a worker asks each
// 10 s, and a server gives it some seconds more.
const LateAfter = time.Minute

// Run is a flow run that needs a person.
type Run struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Trouble Trouble   `json:"trouble"`
	Since   time.Time `json:"since"`
	// Worker took it, and Task is the id of the ECS task that it runs in. Empty: it is not known.
	Worker string `json:"worker,omitempty"`
	Task   string `json:"task,omitempty"`
}

// Pool is the work pool of an environment, and where its tasks run.
type Pool struct {
	Environment *config.Environment
	API         *api.Client
	ECS         *ecs.Client
}

// List finds the flow runs that need a person, the late ones first.
func (p Pool) List(ctx context.Context) ([]Run, error) {
	pool, queues, now := p.Environment.WorkPool.Name, p.Environment.WorkPool.Queues, p.API.Now()
	late, err := p.API.Overdue(ctx, pool, queues, now.Add(-LateAfter))
	if err != nil {
		return nil, fmt.Errorf("which flow runs are late: %w", err)
	}
	var all []Run
	for _, r := range late {
		all = append(all, Run{ID: r.ID, Name: r.Name, Trouble: Late, Since: *r.Due})
	}
	underway, err := p.API.UnderwayRuns(ctx, pool, queues)
	if err != nil {
		return nil, fmt.Errorf("which flow runs are underway: %w", err)
	}
	gone, err := p.goneCheck(ctx)
	if err != nil {
		return nil, err
	}
	pendingLimit := time.Duration(p.Environment.Monitoring.PendingMinutes) * time.Minute
	for _, r := range underway {
		run := Run{ID: r.ID, Name: r.Name, Since: r.StateDetail.Timestamp}
		if run.Worker, run.Task, err = p.place(ctx, r); err != nil {
			return nil, err
		}
		if r.State == "PENDING" {
			if now.Sub(run.Since) > pendingLimit {
				run.Trouble = Orphaned
			}
		} else if lost, err := gone(run); err != nil {
			return nil, err
		} else if lost {
			run.Trouble = Lost
		}
		if run.Trouble != "" {
			all = append(all, run)
		}
	}
	return all, nil
}

// goneCheck returns what tells whether a run's worker, or its task with an ecs pool, is gone.
// What is not known counts as there.
func (p Pool) goneCheck(ctx context.Context) (func(Run) (bool, error), error) {
	if p.Environment.WorkPool.FlowsAreTasks() {
		return func(r Run) (bool, error) {
			if r.Task == "" {
				return false, nil
			}
			task, err := p.describe(ctx, r.Task)
			return err == nil && stopped(task), err
		}, nil
	}
	workers, err := p.API.OnlineWorkers(ctx, p.Environment.WorkPool.Name, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("which workers are online: %w", err)
	}
	now := p.API.Now()
	return func(r Run) (bool, error) {
		there := slices.ContainsFunc(workers, func(w api.Worker) bool {
			return w.Name == r.Worker && now.Sub(w.LastHeartbeat) <= w.Freshness()
		})
		return r.Task != "" && !there, nil
	}, nil
}

var taskID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// IsTask tells whether a text is the id of a task on Fargate: 32 hexadecimal digits.
func IsTask(id string) bool { return taskID.MatchString(id) }

// place tells which worker of this service took a run, and in which ECS task it runs: that of
// the worker, or with an ecs pool its own.
func (p Pool) place(ctx context.Context, r api.FlowRun) (worker, task string, err error) {
	if worker, err = p.API.WorkerOf(ctx, r); err != nil {
		return "", "", fmt.Errorf("which worker took the flow run %s: %w", r.ID, err)
	}
	if p.Environment.WorkPool.FlowsAreTasks() {
		// prefect-aws writes CLUSTER::TASK.
		_, arn, _ := strings.Cut(r.InfrastructureID, "::")
		task = arn[strings.LastIndex(arn, "/")+1:]
	} else if id, ours := strings.CutPrefix(worker, p.Environment.Worker.ServiceName+"-"); ours {
		task = id
	}
	if !IsTask(task) {
		task = ""
	}
	return worker, task, nil
}

// describe asks ECS for a task. Nil: it knows none, because it stopped more than an hour ago.
func (p Pool) describe(ctx context.Context, id string) (*types.Task, error) {
	out, err := p.ECS.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &p.Environment.Cluster.Name, Tasks: []string{id}})
	if err != nil {
		return nil, fmt.Errorf("whether the task %s has stopped: %w", id, err)
	}
	if len(out.Tasks) == 0 {
		if len(out.Failures) != 1 || aws.ToString(out.Failures[0].Reason) != "MISSING" {
			return nil, fmt.Errorf("whether the task %s has stopped: ECS gives no answer", id)
		}
		return nil, nil
	}
	return &out.Tasks[0], nil
}

func stopped(task *types.Task) bool {
	return task == nil || aws.ToString(task.LastStatus) == "STOPPED"
}

// Refusal says why a flow run is not put back.
type Refusal struct{ Reason, Fix string }

func (r Refusal) Error() string { return r.Reason + "; " + r.Fix }

// Stopped shows that the first attempt of a flow run is over. The error is a Refusal if it may
// live, or if there is nothing to put back.
func (p Pool) Stopped(ctx context.Context, id string) (evidence string, err error) {
	run, err := p.API.FlowRun(ctx, id)
	if errors.Is(err, api.ErrNotFound) {
		return "", Refusal{"there is no flow run " + id, "workerctl runs " + p.Environment.Name + " lists those that need you"}
	}
	if err != nil {
		return "", fmt.Errorf("the flow run %s: %w", id, err)
	}
	switch {
	case run.Pool != p.Environment.WorkPool.Name:
		return "", Refusal{fmt.Sprintf("the flow run %s is in the work pool %s", id, run.Pool), "name the environment of that pool"}
	case run.Ended():
		return "", Refusal{fmt.Sprintf("the flow run %s has ended as %s", id, run.State), "start a new one: prefect deployment run"}
	case !slices.Contains([]string{"PENDING", "RUNNING", "CANCELLING"}, run.State):
		return "", Refusal{fmt.Sprintf("the flow run %s is %s: no worker has it", id, run.State), "a worker takes it when there is one: workerctl verify " + p.Environment.Name}
	}
	worker, task, err := p.place(ctx, run)
	if err != nil {
		return "", err
	}
	if task == "" {
		return "", Refusal{fmt.Sprintf("which task the flow run %s runs in cannot be told (worker: %q), so that it may still live, and would run twice", id, worker),
			"look for it yourself, and then: prefect flow-run cancel"}
	}
	found, err := p.describe(ctx, task)
	if err != nil {
		return "", err
	}
	if !stopped(found) {
		return "", Refusal{fmt.Sprintf("the task %s of the flow run %s is %s: the run would run twice", task, id, aws.ToString(found.LastStatus)),
			fmt.Sprintf("if it hangs, stop the task first: aws ecs stop-task --cluster %s --task %s", p.Environment.Cluster.Name, task)}
	}
	if found == nil {
		return fmt.Sprintf("ECS does not know the task %s any more: it stopped more than an hour ago", task), nil
	}
	at := ""
	if found.StoppedAt != nil {
		at = " at " + found.StoppedAt.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("the task %s stopped%s: %s", task, at, aws.ToString(found.StoppedReason)), nil
}
