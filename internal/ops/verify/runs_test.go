package verify

import (
	"strings"
	"testing"
	"time"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/flowruns"
)

// TestABacklogIsNoFailure: what counts is whether a limit holds the runs back, or whether anybody takes
// any.
func TestABacklogIsNoFailure(t *testing.T) {
	now := time.Now()
	two, zero := 2, 0
	late := func(queues ...string) (runs []flowruns.Run) {
		for _, queue := range queues {
			runs = append(runs, flowruns.Run{ID: "1", Name: "one", Issue: flowruns.Late, Since: now.Add(-5 * time.Minute), Queue: queue})
		}
		return runs
	}
	lost := []flowruns.Run{{ID: "2", Name: "two", Issue: flowruns.Lost, Since: now.Add(-time.Hour), Queue: "a", Worker: "w", Task: "t"}}
	for name, test := range map[string]struct {
		survey     flowruns.Survey
		worker     int // its limit
		pool, a, b *int
		paused     bool // the queue a
		status     Status
		want       string
	}{
		"nothing is due":                         {status: OK, want: "0 underway, none lost or orphaned"},
		"nobody takes them":                      {survey: flowruns.Survey{Late: late("a"), LastMove: now.Add(-time.Minute)}, status: Failed, want: "1 late, the oldest for 5m0s, and no worker takes them"},
		"one was taken ten seconds ago":          {survey: flowruns.Survey{Late: late("a"), LastMove: now.Add(-10 * time.Second)}, status: OK, want: "1 late, the oldest for 5m0s: a backlog, runs are taken, the last one moved 10s ago"},
		"all slots of the worker are taken":      {survey: flowruns.Survey{Late: late("a"), Underway: map[string]int{"a": 2}}, worker: 2, status: OK, want: "they wait for one of the worker's 2 slots"},
		"a slot of the worker is free":           {survey: flowruns.Survey{Late: late("a"), Underway: map[string]int{"a": 1}}, worker: 2, status: Failed, want: "no worker takes them"},
		"the pool is full":                       {survey: flowruns.Survey{Late: late("a"), Underway: map[string]int{"a": 1, "other": 1}}, pool: &two, status: OK, want: "the pool's 2 slots"},
		"a dead worker of others has a slot":     {survey: flowruns.Survey{Late: late("a"), Underway: map[string]int{"a": 2}, Silent: lost}, pool: &two, status: Failed, want: "The flow run two (2) holds one, and its worker w, which is not of this service, sends no heartbeat"},
		"a run of an unknown worker has a slot":  {survey: flowruns.Survey{Late: late("a"), Underway: map[string]int{"a": 2}, Silent: []flowruns.Run{{ID: "3", Name: "three"}}}, pool: &two, status: Unknown, want: "Which worker took the flow run three (3), that holds one, is not known"},
		"and others are taken":                   {survey: flowruns.Survey{Late: late("a"), Underway: map[string]int{"a": 1}, LastMove: now, Silent: lost}, pool: &two, status: OK, want: "runs are taken"},
		"the queue is full":                      {survey: flowruns.Survey{Late: late("a"), Underway: map[string]int{"a": 2}}, a: &two, status: OK, want: "they wait for one of the 2 slots of the queue a"},
		"another queue is full":                  {survey: flowruns.Survey{Late: late("b"), Underway: map[string]int{"a": 2}}, a: &two, status: Failed, want: "no worker takes them"},
		"one of two queues is full":              {survey: flowruns.Survey{Late: late("a", "b"), Underway: map[string]int{"a": 2}}, a: &two, status: Failed, want: "no worker takes them"},
		"both queues are full":                   {survey: flowruns.Survey{Late: late("a", "b"), Underway: map[string]int{"a": 2, "b": 2}}, a: &two, b: &two, status: OK, want: "the 2 slots of the queue a and the 2 slots of the queue b"},
		"the queue is paused":                    {survey: flowruns.Survey{Late: late("a"), LastMove: now}, paused: true, status: Failed, want: "1 late in the queue a, which is paused"},
		"the queue has a limit of 0":             {survey: flowruns.Survey{Late: late("a"), LastMove: now}, a: &zero, status: Failed, want: "1 late in the queue a, which has a concurrency limit of 0"},
		"a run was left behind":                  {survey: flowruns.Survey{Lost: lost}, status: Failed, want: "the flow run two (2) is lost for 1h0m0s, of the worker w, in the task t: it holds a slot"},
		"a run was left behind in the last slot": {survey: flowruns.Survey{Lost: lost, Late: late("a"), Underway: map[string]int{"a": 1}}, pool: &two, status: Failed, want: "the flow run two (2) is lost"},
	} {
		env := config.Default("dev")
		env.Worker.ConcurrencyLimit = test.worker
		c := newChecklist(Options{Environment: env})
		c.Pool = api.WorkPool{ConcurrencyLimit: test.pool}
		c.Queues = []api.WorkQueue{{Name: "a", ConcurrencyLimit: test.a, Paused: test.paused}, {Name: "b", ConcurrencyLimit: test.b}}
		f := c.judgeRuns(test.survey, now)
		if f.status != test.status || !strings.Contains(f.detail, test.want) || (f.fix == "") != (test.status == OK) {
			t.Errorf("%s: %s %q, fix %q\nwant %s %q", name, f.status, f.detail, f.fix, test.status, test.want)
		}
	}
}

// TestAFlowOfAnotherWorker: it proves nothing of the worker that is verified.
func TestAFlowOfAnotherWorker(t *testing.T) {
	c := newChecklist(Options{Environment: config.Default("dev")})
	c.Tasks = []string{newTask}
	run := api.FlowRun{Labels: map[string]any{"prefect.worker.name": "dev-worker-" + oldTask}}
	f := c.ranHere(t.Context(), run, "it ran")
	if f.status != Failed || f.detail != "it ran, but another worker took it: dev-worker-"+oldTask {
		t.Errorf("%s %q", f.status, f.detail)
	}
}
