// Package flowruns finds the flow runs that need a person, and shows that the first attempt of one is
// over, so that it may be rescheduled or ended.
//
// Prefect never takes back a run whose worker died: it stays Pending or Running indefinitely. One that is
// rescheduled while its first attempt lives runs twice, with Prefect 2 and 3 alike; so that is done only
// if ECS says that the task of the first attempt has stopped.
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
	"golang.org/x/sync/errgroup"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/prefect/api"
)

// Issue is what is wrong with a flow run.
type Issue string

// The issues, as the probe counts them.
const (
	// Late: it is due for more than a minute and no worker has taken it.
	Late Issue = "late"
	// Orphaned: it is Pending, and what took it is gone, or for longer than monitoring.pending_minutes.
	Orphaned Issue = "orphaned"
	// Lost: it is Running, and what ran it is gone.
	Lost Issue = "lost"
)

const (
	// LateAfter is how long a run may be due before it counts as not taken: a worker polls each 10 s, and
	// a server takes some seconds more.
	LateAfter = time.Minute
	// submitted is how long a worker may take to note that the task of a Pending run has ended.
	submitted = time.Minute
)

// Run is a flow run that needs a person.
type Run struct {
	ID    string    `json:"id"`
	Name  string    `json:"name"`
	Issue Issue     `json:"trouble"`
	Since time.Time `json:"since"`
	// Worker took it, and Task is the id of the ECS task that it runs in. Empty: it is not known.
	Worker string `json:"worker,omitempty"`
	Task   string `json:"task,omitempty"`
	// Queue is the name of its queue in the pool.
	Queue string `json:"queue,omitempty"`
}

// Pool is the work pool of an environment, and where its tasks run.
type Pool struct {
	Environment *config.Environment
	API         *api.Client
	ECS         *ecs.Client
}

// Survey is what the flow runs of a pool are.
type Survey struct {
	// Late, Orphaned and Lost are the runs that need a person, of the queues of the environment.
	Late, Orphaned, Lost []Run
	// Underway are the runs that are neither orphaned nor lost and have not ended, by queue and of all
	// queues of the pool.
	Underway map[string]int
	// Running are those of the environment's queues whose process or task has started.
	Running []Run
	// Silent are the runs that are underway in workers which are not known, or not of this service and send no heartbeat.
	// Whether they go on is not known.
	Silent []Run
	// LastMove is when a run of the environment's queues last was taken, started or ended. Zero: none is
	// known.
	LastMove time.Time
}

// Count returns how many runs are underway, of some queues or of all.
func (s Survey) Count(queues ...string) int {
	n := 0
	for queue, count := range s.Underway {
		if len(queues) == 0 || slices.Contains(queues, queue) {
			n += count
		}
	}
	return n
}

// List returns the flow runs that need a person, the late ones first.
func (p Pool) List(ctx context.Context) ([]Run, error) {
	s, err := p.Survey(ctx)
	return slices.Concat(s.Late, s.Orphaned, s.Lost), err
}

// Survey reads the flow runs of the pool and what became of the workers and tasks that took them.
func (p Pool) Survey(ctx context.Context) (Survey, error) {
	pool, queues, now := p.Environment.WorkPool.Name, p.Environment.WorkPool.Queues, p.API.Now()
	s := Survey{Underway: map[string]int{}}
	late, err := p.API.Overdue(ctx, pool, queues, now.Add(-LateAfter))
	if err != nil {
		return s, fmt.Errorf("which flow runs are late: %w", err)
	}
	for _, r := range late {
		s.Late = append(s.Late, Run{ID: r.ID, Name: r.Name, Issue: Late, Since: *r.Due, Queue: r.Queue})
	}
	start, end, err := p.API.LastStartAndEnd(ctx, pool, queues)
	if err != nil {
		return s, fmt.Errorf("when a flow run last started and ended: %w", err)
	}
	s.moved(start)
	s.moved(end)
	underway, err := p.underway(ctx)
	if err != nil {
		return s, err
	}
	var others []Run
	pendingLimit := time.Duration(p.Environment.Monitoring.PendingMinutes) * time.Minute
	for _, taken := range underway {
		run, pending, gone := taken.Run, taken.pending, taken.gone
		age := now.Sub(run.Since)
		served := len(queues) == 0 || slices.Contains(queues, run.Queue)
		switch {
		case pending && (age > pendingLimit || gone && (age > submitted || p.Environment.WorkPool.FlowsInWorker())):
			run.Issue = Orphaned
			if served {
				s.Orphaned = append(s.Orphaned, run)
			}
		case !pending && gone:
			run.Issue = Lost
			if served {
				s.Lost = append(s.Lost, run)
			}
		default:
			s.Underway[run.Queue]++
			if run.Task == "" && (run.Worker != "" || age > submitted) && p.Environment.WorkPool.FlowsInWorker() {
				others = append(others, run)
			}
			if served && !pending {
				s.Running = append(s.Running, run)
			}
			if served && pending {
				s.moved(run.Since)
			}
		}
	}
	if len(others) == 0 {
		return s, nil
	}
	workers, err := p.API.OnlineWorkers(ctx, pool, time.Time{})
	if err != nil {
		return s, fmt.Errorf("which workers are online: %w", err)
	}
	s.Silent = slices.DeleteFunc(others, func(r Run) bool {
		return slices.ContainsFunc(workers, func(w api.Worker) bool { return w.Name == r.Worker && now.Sub(w.LastHeartbeat) <= w.Freshness() })
	})
	return s, nil
}

func (s *Survey) moved(at time.Time) {
	if at.After(s.LastMove) {
		s.LastMove = at
	}
}

// InWorker returns the flow runs that are underway in a task of the worker, and end with it. With an ecs pool
// there are none: each run has a task of its own.
func (p Pool) InWorker(ctx context.Context) ([]Run, error) {
	if !p.Environment.WorkPool.FlowsInWorker() {
		return nil, nil
	}
	underway, err := p.underway(ctx)
	var in []Run
	for _, taken := range underway {
		if taken.Task != "" && !taken.gone {
			in = append(in, taken.Run)
		}
	}
	return in, err
}

// taken is a run that a worker has taken and that has not ended.
type taken struct {
	Run
	pending bool
	// task is that of Run.Task as ECS has it. Nil, and known: ECS has it no more.
	task  *types.Task
	known bool
	// gone says that what ran it is: its own task, or that of its worker, has stopped. What is not known counts as
	// there, and so do the runs of a worker that is frozen or cut off from the API: they go on.
	gone bool
}

// underway returns the runs that a worker has taken and that have not ended.
func (p Pool) underway(ctx context.Context) ([]taken, error) {
	found, err := p.API.Underway(ctx, p.Environment.WorkPool.Name)
	if err != nil {
		return nil, fmt.Errorf("which flow runs are underway: %w", err)
	}
	return p.placed(ctx, found...)
}

// placed returns runs that a worker has taken with the worker and the task of each.
func (p Pool) placed(ctx context.Context, found ...api.FlowRun) ([]taken, error) {
	runs := make([]taken, len(found))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(8) // with Prefect 2 each takes a call of the API
	for i, r := range found {
		group.Go(func() (err error) {
			run := Run{ID: r.ID, Name: r.Name, Since: r.StateDetail.Timestamp, Queue: r.Queue}
			run.Worker, run.Task, err = p.place(within, r)
			runs[i] = taken{Run: run, pending: r.State == "PENDING"}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var ids []string
	for _, r := range runs {
		if r.Task != "" {
			ids = append(ids, r.Task)
		}
	}
	slices.Sort(ids)
	tasks, err := p.tasks(ctx, slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	var before time.Time
	looked := false
	for i, r := range runs {
		task, known := tasks[r.Task]
		runs[i].task, runs[i].known, runs[i].gone = task, known, known && stopped(task)
		if r.Worker != "" || !p.Environment.WorkPool.FlowsInWorker() {
			continue
		}
		// With Prefect 2 only the run's log names the worker: one that was killed has not sent it, and Prefect Cloud
		// deletes it after days.
		if !looked {
			if before, err = p.outlived(ctx); err != nil {
				return nil, err
			}
			looked = true
		}
		runs[i].gone = r.Since.Before(before)
	}
	return runs, nil
}

// outlived returns the point of time before which whatever worker took a run is gone: each task of the service is
// younger, and no other worker is online in the pool. Zero: there is none.
func (p Pool) outlived(ctx context.Context) (before time.Time, err error) {
	service := p.Environment.Worker.ServiceName
	workers, err := p.API.OnlineWorkers(ctx, p.Environment.WorkPool.Name, time.Time{})
	if err != nil {
		return time.Time{}, fmt.Errorf("which workers are online: %w", err)
	}
	for _, w := range workers {
		if id, ours := strings.CutPrefix(w.Name, service+"-"); !ours || !IsTask(id) {
			return time.Time{}, nil
		}
	}
	var ids []string
	for _, status := range []types.DesiredStatus{types.DesiredStatusRunning, types.DesiredStatusStopped} {
		pages := ecs.NewListTasksPaginator(p.ECS, &ecs.ListTasksInput{Cluster: &p.Environment.Cluster.Name, ServiceName: &service, DesiredStatus: status})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return time.Time{}, fmt.Errorf("which tasks the service has: %w", err)
			}
			for _, arn := range page.TaskArns {
				ids = append(ids, lastPart(arn))
			}
		}
	}
	tasks, err := p.tasks(ctx, ids)
	if err != nil {
		return time.Time{}, err
	}
	before = time.Now()
	for _, id := range ids {
		task, known := tasks[id]
		if !known {
			return time.Time{}, nil
		}
		if !stopped(task) && aws.ToTime(task.CreatedAt).Before(before) {
			before = aws.ToTime(task.CreatedAt)
		}
	}
	return before, nil
}

// tasks returns tasks by their ids. Nil: ECS has it no more, because it stopped more than an hour ago. Without an entry:
// ECS gives no answer.
func (p Pool) tasks(ctx context.Context, ids []string) (map[string]*types.Task, error) {
	tasks := map[string]*types.Task{}
	for some := range slices.Chunk(ids, 100) { // the most that ECS takes
		out, err := p.ECS.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &p.Environment.Cluster.Name, Tasks: some})
		if err != nil {
			return nil, fmt.Errorf("which tasks have stopped: %w", err)
		}
		for _, failure := range out.Failures {
			if aws.ToString(failure.Reason) == "MISSING" {
				tasks[lastPart(aws.ToString(failure.Arn))] = nil
			}
		}
		for _, task := range out.Tasks {
			tasks[lastPart(aws.ToString(task.TaskArn))] = &task
		}
	}
	return tasks, nil
}

func lastPart(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

var taskID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// IsTask reports whether a text is the id of a task on Fargate: 32 hexadecimal digits.
func IsTask(id string) bool { return taskID.MatchString(id) }

// place returns which worker took a run, and the ECS task that it runs in: that of the worker, if it is one
// of this service, or with an ecs pool its own.
func (p Pool) place(ctx context.Context, r api.FlowRun) (worker, task string, err error) {
	if worker, err = p.API.WorkerOf(ctx, r); err != nil {
		return "", "", fmt.Errorf("which worker took the flow run %s: %w", r.ID, err)
	}
	if p.Environment.WorkPool.FlowsAreTasks() {
		// prefect-aws writes CLUSTER::TASK.
		_, arn, _ := strings.Cut(r.InfrastructureID, "::")
		task = lastPart(arn)
	} else if id, ours := strings.CutPrefix(worker, p.Environment.Worker.ServiceName+"-"); ours {
		task = id
	}
	if !IsTask(task) {
		task = ""
	}
	return worker, task, nil
}

func stopped(task *types.Task) bool {
	return task == nil || aws.ToString(task.LastStatus) == "STOPPED"
}

// Refusal says why a flow run is neither rescheduled nor ended.
type Refusal struct{ Reason, Fix string }

func (r Refusal) Error() string { return r.Reason + "; " + r.Fix }

// Stopped returns the evidence that the first attempt of a flow run is over. The error is a Refusal if it
// may live, or if the run needs nothing.
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
	placed, err := p.placed(ctx, run)
	if err != nil {
		return "", err
	}
	switch r := placed[0]; {
	case r.Task == "" && r.gone:
		return "each task of the service was created after the run was taken, and no other worker is online", nil
	case r.Task == "":
		return "", Refusal{fmt.Sprintf("the task of the flow run %s is not known (worker: %q), so that it may still live, and would run twice", id, r.Worker),
			"look for it yourself; when it is over: prefect flow-run delete " + id}
	case !r.known:
		return "", fmt.Errorf("whether the task %s has stopped: ECS gives no answer", r.Task)
	case !r.gone:
		return "", Refusal{fmt.Sprintf("the task %s of the flow run %s is %s: the run would run twice", r.Task, id, aws.ToString(r.task.LastStatus)),
			fmt.Sprintf("if it hangs, stop the task first: aws ecs stop-task --cluster %s --task %s", p.Environment.Cluster.Name, r.Task)}
	case r.task == nil:
		return fmt.Sprintf("ECS has no task %s any more: it stopped more than an hour ago", r.Task), nil
	case r.task.StoppedAt == nil:
		return fmt.Sprintf("the task %s stopped: %s", r.Task, aws.ToString(r.task.StoppedReason)), nil
	default:
		return fmt.Sprintf("the task %s stopped at %s: %s", r.Task, r.task.StoppedAt.UTC().Format(time.RFC3339), aws.ToString(r.task.StoppedReason)), nil
	}
}
