package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/flowruns"
)

// namedRuns is how many runs a finding names.
const namedRuns = 5

// runs checks that flow runs which are due are taken, and that none was left behind by a worker or a task
// that is gone. Runs that wait for a slot are a backlog and no failure.
func (c *checklist) runs(ctx context.Context) finding {
	survey, err := flowruns.Pool{Environment: c.env, API: c.API, ECS: c.aws.ecs}.Survey(ctx)
	if _, ofAWS := errors.AsType[smithy.APIError](err); ofAWS {
		return unreadable("the flow runs", err)
	} else if err != nil {
		return unreachable("the flow runs", err)
	}
	found := c.judgeRuns(survey, c.API.Now())
	if c.env.Worker.ProtectRuns && found.status == OK {
		if unprotected := c.protection(ctx, survey.Running, c.API.Now()); unprotected.status != OK {
			return unprotected
		}
	}
	return found
}

func (c *checklist) judgeRuns(s flowruns.Survey, now time.Time) finding {
	var f findings
	c.leftBehind(&f, slices.Concat(s.Orphaned, s.Lost), now)
	var late []flowruns.Run
	byQueue := map[string]int{}
	for _, run := range s.Late {
		if reason := c.closed(run.Queue); reason != "" {
			byQueue[fmt.Sprintf("the queue %s, which %s", run.Queue, reason)]++
		} else {
			late = append(late, run)
		}
	}
	for where, n := range byQueue {
		f.failed(fmt.Sprintf("%d late in %s", n, where), "open the queue: prefect work-queue resume, or clear-concurrency-limit")
	}
	slices.SortFunc(f, func(a, b finding) int { return cmp.Compare(a.detail, b.detail) })
	backlog := ""
	if len(late) > 0 {
		text := fmt.Sprintf("%d late, the oldest for %s", len(late), now.Sub(late[0].Since).Round(time.Second))
		reason := c.bound(late, s)
		for _, run := range s.Silent[:min(namedRuns, len(s.Silent))] {
			switch {
			case reason == "":
			case run.Worker == "":
				f.unknown(fmt.Sprintf("%s, and %s. Which worker took the flow run %s (%s), that holds one, is not known", text, reason, run.Name, run.ID),
					"look whether it goes on; if it is over: prefect flow-run delete "+run.ID)
			default:
				f.failed(fmt.Sprintf("%s, and %s. The flow run %s (%s) holds one, and its worker %s, which is not of this service, sends no heartbeat", text, reason, run.Name, run.ID, run.Worker),
					"if the run is over: prefect flow-run delete "+run.ID)
			}
		}
		if reason == "" && now.Sub(s.LastMove) <= c.pollLimit() {
			reason = fmt.Sprintf("runs are taken, the last one moved %s ago", max(0, now.Sub(s.LastMove)).Round(time.Second))
		}
		if waited := now.Sub(late[0].Since); reason == "" && c.env.Worker.Scales() && c.Service.DesiredCount == 0 && waited < startsWithin {
			reason = "a worker task is started for them"
		}
		if reason == "" {
			fix := "look at the log below"
			if c.await(checkWorker).status != OK || c.await(checkPool).status != OK {
				fix = "they start when what failed above is fixed"
			}
			f.failed(text+", and no worker takes them", fix)
		}
		backlog = "; " + text + ": a backlog, " + reason
	}
	return f.finding(fmt.Sprintf("%d underway, none lost or orphaned", s.Count(c.env.WorkPool.Queues...)) + backlog)
}

// leftBehind records the runs that what took them has left behind.
func (c *checklist) leftBehind(f *findings, runs []flowruns.Run, now time.Time) {
	for i, run := range runs {
		if i == namedRuns {
			f.failed(fmt.Sprintf("and %d more", len(runs)-i), "workerctl runs "+c.env.Name+" lists all")
			break
		}
		by := ""
		if run.Worker != "" {
			by = ", of the worker " + run.Worker
		}
		if run.Task != "" {
			by += ", in the task " + run.Task
		}
		f.failed(fmt.Sprintf("the flow run %s (%s) is %s for %s%s: it holds a slot, and Prefect never takes it back", run.Name, run.ID, run.Issue, now.Sub(run.Since).Round(time.Second), by),
			fmt.Sprintf("workerctl runs retry RUN %[1]s to run it again, or workerctl runs end RUN %[1]s", c.env.Name))
	}
}

// closed returns why a queue hands out no runs. Empty: it does.
func (c *checklist) closed(name string) string {
	for _, q := range c.Queues {
		if q.Name == name {
			return closedQueue(q)
		}
	}
	return ""
}

func closedQueue(q api.WorkQueue) string {
	switch {
	case q.Paused:
		return "is paused"
	case q.ConcurrencyLimit != nil && *q.ConcurrencyLimit == 0:
		return "has a concurrency limit of 0"
	}
	return ""
}

// bound returns the limit that runs wait for, all of whose slots are taken. Empty: there is none.
func (c *checklist) bound(late []flowruns.Run, s flowruns.Survey) string {
	// In the eyes of a pool and of a queue a run that was left behind takes a slot too.
	taken := map[string]int{}
	for queue, n := range s.Underway {
		taken[queue] += n
	}
	for _, run := range slices.Concat(s.Orphaned, s.Lost) {
		taken[run.Queue]++
	}
	all := 0
	for _, n := range taken {
		all += n
	}
	if n := c.env.Worker.ConcurrencyLimit * max(1, c.wantedTasks()); n > 0 && s.Count(c.env.WorkPool.Queues...) >= n {
		return fmt.Sprintf("they wait for one of the worker's %d slots, all of which are taken", n)
	}
	if n := c.Pool.ConcurrencyLimit; n != nil && all >= *n {
		return fmt.Sprintf("they wait for one of the pool's %d slots, all of which are taken", *n)
	}
	// Of queues each has to be full that a run waits in.
	full := map[string]int{}
	for _, q := range c.Queues {
		if q.ConcurrencyLimit != nil && taken[q.Name] >= *q.ConcurrencyLimit {
			full[q.Name] = *q.ConcurrencyLimit
		}
	}
	var waits []string
	for _, run := range late {
		n, bounded := full[run.Queue]
		if !bounded {
			return ""
		}
		if text := fmt.Sprintf("the %d slots of the queue %s", n, run.Queue); !slices.Contains(waits, text) {
			waits = append(waits, text)
		}
	}
	return "they wait for one of " + strings.Join(waits, " and ") + ", all of which are taken"
}

// Interruption returns a warning that names the flow runs that end when the tasks of the deployed worker are stopped.
// Empty: none do. byECS says that ECS replaces the tasks, which waits for runs that are protected.
func Interruption(ctx context.Context, opt Options, byECS bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*Timeout)
	defer cancel()
	c, err := connect(ctx, opt)
	if err != nil {
		return "", err
	}
	defer c.closeAPI()
	// The guard of worker.protect_runs is in the command.
	if byECS && strings.Contains(strings.Join(c.Container.Command, " "), "task protection: ") {
		return "", nil
	}
	// A deployment may change the pool, of which the worker runs flows until then.
	env := *c.env
	env.WorkPool.Name = c.Variable("PREFECT_WORK_POOL_NAME")
	pool, err := c.API.WorkPool(ctx, env.WorkPool.Name)
	if errors.Is(err, api.ErrNotFound) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	env.WorkPool.Type = config.PoolType(pool.Type)
	runs, err := flowruns.Pool{Environment: &env, API: c.API, ECS: c.aws.ecs}.InWorker(ctx)
	if err != nil || len(runs) == 0 {
		return "", err
	}
	names := make([]string, len(runs))
	for i, run := range runs {
		names[i] = run.Name
	}
	if more := len(names) - namedRuns; more > 0 {
		names = append(names[:namedRuns], fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("the tasks of the worker are stopped, with flow runs underway in them (%d): %s. Prefect 3 ends them at once, Prefect 2 after worker.stop_timeout (%d s)",
		len(runs), strings.Join(names, ", "), env.Worker.StopTimeoutSeconds), nil
}
