package alarm

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// deployed is an alarm of a golden stack, as CloudWatch has it.
func deployed(t *testing.T, name string) types.MetricAlarm {
	t.Helper()
	file, err := os.ReadFile("../../../testdata/golden/full.tf.json")
	if err != nil {
		t.Fatal(err)
	}
	type metric struct {
		Name string `json:"metric_name"`
	}
	var stack struct {
		Resource struct {
			Alarms map[string]struct {
				metric
				Operator  string  `json:"comparison_operator"`
				Threshold float64 `json:"threshold"`
				Within    int32   `json:"evaluation_periods"`
				Wanted    int32   `json:"datapoints_to_alarm"`
				Missing   string  `json:"treat_missing_data"`
				Queries   []struct {
					ID, Expression string
					Metric         *metric
				} `json:"metric_query"`
			} `json:"aws_cloudwatch_metric_alarm"`
		}
	}
	if err := json.Unmarshal(file, &stack); err != nil {
		t.Fatal(err)
	}
	a, there := stack.Resource.Alarms[name]
	if !there {
		t.Fatalf("there is no alarm %s", name)
	}
	alarm := types.MetricAlarm{ComparisonOperator: types.ComparisonOperator(a.Operator), Threshold: &a.Threshold, EvaluationPeriods: &a.Within,
		DatapointsToAlarm: &a.Wanted, TreatMissingData: &a.Missing, MetricName: &a.Name}
	for _, q := range a.Queries {
		query := types.MetricDataQuery{Id: &q.ID}
		if q.Metric == nil {
			query.Expression = &q.Expression
		} else {
			query.MetricStat = &types.MetricStat{Metric: &types.Metric{MetricName: &q.Metric.Name}}
		}
		alarm.Metrics = append(alarm.Metrics, query)
	}
	return alarm
}

func TestTheDeployedAlarms(t *testing.T) {
	well := Sample{"ProbeErrors": 0, "WorkersOnline": 3, "TasksDesired": 3, "TasksRunning": 3, "OldestDueSeconds": 0, "FlowRunsOrphaned": 0, "FlowRunsLost": 0}
	with := func(name string, value float64) Sample {
		f := Sample{}
		for k, v := range well {
			f[k] = v
		}
		if f[name] = value; value < 0 {
			delete(f, name)
		}
		return f
	}
	times := func(n int, f Sample) []Sample { return slices.Repeat([]Sample{f}, n) }
	excess := Sample{"ProbeErrors": 0, "TasksMissing": -1}
	paused := Sample{"ProbeErrors": 0, "WorkersOnline": 0, "TasksDesired": 0, "TasksRunning": 0}
	for _, test := range []struct {
		name, alarm string
		samples     []Sample
		red         bool
	}{
		{"all is well", "silent_worker", times(5, well), false},
		{"one of three is silent", "silent_worker", times(5, with("WorkersOnline", 2)), true},
		{"it was, and beats again", "silent_worker", append(times(5, with("WorkersOnline", 0)), well), false},
		{"silent for four minutes only", "silent_worker", append(times(1, well), times(4, with("WorkersOnline", 0))...), false},
		{"a paused service", "silent_worker", times(5, paused), false},
		{"a paused service, and Prefect is away", "silent_worker", times(5, Sample{"ProbeErrors": 6, "TasksDesired": 0}), false},
		{"Prefect is away", "silent_worker", times(5, with("WorkersOnline", -1)), true},
		{"no probe", "silent_worker", nil, true},
		{"no probe", "probe", nil, true},
		{"a question fails", "probe", times(5, with("ProbeErrors", 1)), true},
		{"a question failed once", "probe", append(times(4, well), with("ProbeErrors", 1)), false},
		{"late", "late_runs", times(2, with("OldestDueSeconds", 300)), true},
		{"not late enough", "late_runs", times(2, with("OldestDueSeconds", 299)), false},
		{"late on purpose", "late_runs", times(2, Sample{"OldestDueSeconds": 900, "TasksDesired": 0}), false},
		{"one task more", "scale_out", times(1, with("TasksMissing", 1)), true},
		{"enough tasks", "scale_out", times(1, with("TasksMissing", 0)), false},
		{"one task too many", "scale_in", times(10, excess), true},
		{"for nine minutes", "scale_in", append(times(9, excess), well), false},
		{"too many, and Prefect is away", "scale_in", append(times(9, excess), Sample{"ProbeErrors": 9}), false},
		{"nobody starts them", "too_few_tasks", times(15, with("TasksMissing", 2)), true},
		{"as many as there may be", "most_tasks", times(30, with("TasksNeeded", 3)), false},
		{"more than there may be", "most_tasks", times(30, with("TasksNeeded", 4)), true},
		{"nobody knows", "late_runs", times(2, with("OldestDueSeconds", -1)), false},
		{"orphaned", "orphaned_runs", times(3, with("FlowRunsOrphaned", 1)), true},
		{"lost", "lost_runs", times(5, with("FlowRunsLost", 2)), true},
		{"lost while a worker ends", "lost_runs", append(times(3, with("FlowRunsLost", 1)), well, well), false},
		{"a task is missing", "missing_tasks", times(10, with("TasksRunning", 2)), true},
		{"a deployment has more", "missing_tasks", times(10, with("TasksRunning", 6)), false},
	} {
		if got := InAlarm(deployed(t, test.alarm), test.samples); got != test.red {
			t.Errorf("%s: %s is red: %t, want %t", test.name, test.alarm, got, test.red)
		}
	}
	broken := deployed(t, "silent_worker")
	for i := range broken.Metrics {
		if broken.Metrics[i].Expression != nil {
			broken.Metrics[i].Expression = aws.String("FILL(online, 0 - desired")
		}
	}
	if !InAlarm(broken, times(5, well)) {
		t.Error("an expression that is none counts as missing data")
	}
}
