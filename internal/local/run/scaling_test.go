package run

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

// markFlow writes a line at its end, so that one that runs twice is seen.
const markFlow = `
import time
from prefect import flow, runtime

@flow
def mark(seconds: float, file: str):
    time.sleep(seconds)
    with open(file, "a") as marks:
        marks.write(runtime.flow_run.id + "\n")
`

// scaled is a local run whose number of workers follows the flow runs.
type scaled struct {
	*tasks
	marks string
}

func newScaled(t *testing.T) *scaled {
	w := newWorkerctl(t)
	testtools.Environment(t, pyenv.Prefect3)
	write(t, w.config, map[string]string{"dev.yaml": "worker: {image: 'prefecthq/prefect:3-latest', scaling: {min: 0, max: 4}, environment: {PREFECT_WORKER_HEARTBEAT_SECONDS: '10'}}\n"})
	if out := w.must("up", "dev"); !strings.Contains(out, "ProtectTask; ") {
		t.Errorf("the hello flow was not protected:\n%s", out)
	}
	return &scaled{tasks: w.serving("ecs-work-pool", "mark", markFlow), marks: filepath.Join(t.TempDir(), "marks")}
}

func (x *scaled) submit(seconds float64) string {
	x.t.Helper()
	run, err := x.client.Run(x.t.Context(), x.deployment, map[string]any{"seconds": seconds, "file": x.marks})
	testtools.NoError(x.t, err)
	return run.ID
}

func (x *scaled) service() types.Service {
	x.t.Helper()
	s, err := ecstask.Describe(x.t.Context(), x.ecs, "prefect-cluster", "dev-worker")
	testtools.NoError(x.t, err)
	return s
}

// deploy deploys another revision of the definition, and returns its ARN.
func (x *scaled) deploy(label string) string {
	x.t.Helper()
	now := testtools.Call(x.t, x.ecs.DescribeTaskDefinition, &ecs.DescribeTaskDefinitionInput{TaskDefinition: x.service().TaskDefinition})
	d := now.TaskDefinition
	d.ContainerDefinitions[0].DockerLabels = map[string]string{"revision": label}
	next, err := x.ecs.RegisterTaskDefinition(x.t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: d.Family, Cpu: d.Cpu, Memory: d.Memory, NetworkMode: d.NetworkMode, RequiresCompatibilities: d.RequiresCompatibilities, RuntimePlatform: d.RuntimePlatform,
		ExecutionRoleArn: d.ExecutionRoleArn, TaskRoleArn: d.TaskRoleArn, ContainerDefinitions: d.ContainerDefinitions,
	})
	testtools.NoError(x.t, err)
	arn := next.TaskDefinition.TaskDefinitionArn
	testtools.Call(x.t, x.ecs.UpdateService, &ecs.UpdateServiceInput{Cluster: aws.String("prefect-cluster"), Service: aws.String("dev-worker"), TaskDefinition: arn})
	return *arn
}

// running are the tasks that run, with their definitions.
func (x *scaled) running() map[string]string {
	all := map[string]string{}
	for _, e := range x.run.tasks().Events() {
		switch e.Kind {
		case ecstask.Started:
			all[e.TaskID] = e.Definition
		case ecstask.Stopped:
			delete(all, e.TaskID)
		}
	}
	return all
}

// none reports whether no task runs and none is wanted.
func (x *scaled) none() bool { return x.service().DesiredCount == 0 && len(x.running()) == 0 }

// until waits for a condition.
func (x *scaled) until(what string, limit time.Duration, holds func() bool) {
	x.t.Helper()
	began := time.Now()
	defer func() { x.t.Logf("%.0f s: %s", time.Since(began).Seconds(), what) }()
	for ; !holds(); time.Sleep(500 * time.Millisecond) {
		if time.Since(began) > limit {
			x.t.Fatalf("not within %v: %s\n%s\n%s", limit, what, proc.Tail(filepath.Join(x.workerctl.dir, "supervisor.log"), 60), proc.Tail(x.run.tasks().Log(), 40))
		}
	}
}

func (x *scaled) states(runs []string) map[string]int {
	x.t.Helper()
	count := map[string]int{}
	for _, id := range runs {
		run, err := x.client.FlowRun(x.t.Context(), id)
		if err != nil { // a server with many processes beside it may be slow
			return map[string]int{"unknown": len(runs)}
		}
		count[run.State]++
	}
	return count
}

// TestScaling: workers come for flow runs and go without them, and neither that nor a deployment stops a run.
func TestScaling(t *testing.T) {
	t.Parallel()
	// GIVEN a service of none to four tasks, each with one slot, which the guard releases after a minute
	x := newScaled(t)
	// WHEN 12 runs of 5 s are submitted, and a deployment comes when several workers have some
	var runs []string
	for range 12 {
		runs = append(runs, x.submit(5))
	}
	most := 0
	x.until("two busy workers", 5*time.Minute, func() bool {
		most = max(most, len(x.running()))
		now := x.states(runs)
		return most > 1 && now["RUNNING"] > 0 && now["RUNNING"]+now["PENDING"] > 1
	})
	first := slices.Sorted(maps.Keys(x.running()))
	second := x.deploy("second")
	both := false
	x.until("the end of all runs", 15*time.Minute, func() bool {
		now := x.running()
		most = max(most, len(now))
		old := slices.ContainsFunc(first, func(id string) bool { return now[id] != "" })
		both = both || old && slices.Contains(slices.Collect(maps.Values(now)), second)
		if n := len(x.service().Deployments); old && n > 2 {
			t.Errorf("%d deployments", n)
		}
		return x.states(runs)["COMPLETED"]+x.states(runs)["CRASHED"]+x.states(runs)["FAILED"] == len(runs)
	})
	// THEN all completed, each once, while tasks of both revisions ran
	if states := x.states(runs); states["COMPLETED"] != len(runs) {
		t.Errorf("the runs are %v\n%s", states, proc.Tail(x.run.tasks().Log(), 60))
	}
	marks, _ := os.ReadFile(x.marks)
	if lines := strings.Fields(string(marks)); len(lines) != len(runs) || !slices.Equal(slices.Sorted(slices.Values(lines)), slices.Sorted(slices.Values(runs))) {
		t.Errorf("%d runs wrote their mark, want each of %d once", len(lines), len(runs))
	}
	if !both || most < 3 {
		t.Errorf("%d tasks at the most; of both revisions at once: %t", most, both)
	}
	// AND the tasks of the first revision go when they are idle
	x.until("the end of the first deployment", 4*time.Minute, func() bool {
		for _, definition := range x.running() {
			if definition != second {
				return false
			}
		}
		return true
	})

	// AND the others, and verify is green at zero
	x.until("no task", 5*time.Minute, x.none)
	if report := x.must("verify", "dev"); !strings.Contains(report, "no task is needed: 0 running") {
		t.Errorf("at zero:\n%s", report)
	}

	// WHEN the guard may not protect the task of a run, and a deployment comes
	// from none on: a run that a task takes while the service scales in is not protected yet
	x.without("prefect-task-role", "task-protection", "ProtectTask", func() {
		lost := x.submit(60)
		x.until("a run", 2*time.Minute, func() bool { return x.states([]string{lost})["RUNNING"] == 1 })
		x.until("the guard's complaint", time.Minute, func() bool {
			return strings.Contains(proc.Tail(x.run.tasks().Log(), 1000), "task protection: flow runs of this task may be stopped: ")
		})
		third := x.deploy("third")
		x.until("the end of the second deployment", 2*time.Minute, func() bool {
			return !slices.ContainsFunc(slices.Collect(maps.Values(x.running())), func(definition string) bool { return definition != third })
		})
		// THEN the run is lost
		if run, err := x.client.FlowRun(t.Context(), lost); err != nil || run.State == "COMPLETED" {
			t.Errorf("without protection: %v, %v", run.State, err)
		}
		if now, _ := os.ReadFile(x.marks); !bytes.Equal(now, marks) {
			t.Error("the run without protection came to its end")
		}
	})
	x.must("down", "dev")
	fmt.Fprintln(t.Output(), "tasks at the most:", most)
}
