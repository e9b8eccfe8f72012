// Package metrics reads the last metrics that the probe of a worker published (internal/prefect/probe).
package metrics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"prefect-worker-ecs/internal/prefect/probe"
)

// Fresh is how old the last metrics may be: the probe publishes them each minute, and CloudWatch takes
// up to two minutes to show them.
const Fresh = 4 * time.Minute

// Names are the metrics that say how the worker is.
var Names = []string{probe.ProbeErrors, "WorkersOnline", "TasksDesired", "FlowRunsDue", "FlowRunsLate", "OldestDueSeconds", "FlowRunsRunning", "FlowRunsPending", "FlowRunsOrphaned", "FlowRunsLost", "PoolPaused",
	// With scaling:
	"FlowRunsDemand", "TasksNeeded", probe.TasksMissing}

// Last are the values of metrics by name, and when they were published. Without values: none were
// published lately.
type Last struct {
	Values map[string]float64
	At     time.Time
}

// Read returns the last metrics of the worker of an ECS service.
func Read(ctx context.Context, client *cloudwatch.Client, service string) (Last, error) {
	now := time.Now()
	in := &cloudwatch.GetMetricDataInput{StartTime: aws.Time(now.Add(-Fresh).Truncate(time.Minute)), EndTime: aws.Time(now.Add(time.Minute)), ScanBy: types.ScanByTimestampDescending}
	for i, name := range Names {
		in.MetricDataQueries = append(in.MetricDataQueries, Query(i, service, name))
	}
	out, err := client.GetMetricData(ctx, in)
	if err != nil {
		return Last{}, err
	}
	if len(out.MetricDataResults) == 0 { // there is one for each query, if it has values or not
		return Last{}, errors.New("the answer is empty")
	}
	values := map[string]float64{}
	var last Last
	for _, result := range out.MetricDataResults {
		if len(result.Values) == 0 {
			continue
		}
		values[aws.ToString(result.Label)] = result.Values[0]
		if aws.ToString(result.Label) == probe.ProbeErrors {
			last = Last{values, result.Timestamps[0]}
		}
	}
	return last, nil
}

// Query returns query i of GetMetricData: one of the metrics of the worker of a service.
func Query(i int, service, name string) types.MetricDataQuery {
	return types.MetricDataQuery{Id: aws.String(fmt.Sprintf("q%d", i)), Label: &name, MetricStat: &types.MetricStat{
		Metric: &types.Metric{Namespace: aws.String(probe.Namespace), MetricName: &name,
			Dimensions: []types.Dimension{{Name: aws.String(probe.Dimension), Value: &service}}},
		Period: aws.Int32(60), Stat: aws.String("Maximum"),
	}}
}
