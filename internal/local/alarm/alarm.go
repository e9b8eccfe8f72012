// Package alarm evaluates deployed CloudWatch alarms on the probe's metrics, which the
// emulator does not: each run of the probe counts as one period.
package alarm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"prefect-worker-ecs/internal/prefect/probe"
)

// Sample is the metric values of one run of the probe, by name. A missing value is absent.
type Sample map[string]float64

// span is how far back Read reads: longer than the evaluation range of the alarms.
const span = 3 * time.Minute

// Read returns the alarms of a service on its probe's metrics, and the samples of the last runs,
// the oldest first.
func Read(ctx context.Context, cfg aws.Config, service string) ([]types.MetricAlarm, []Sample, error) {
	client := cloudwatch.NewFromConfig(cfg)
	out, err := client.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String(service + "-")})
	if err != nil {
		return nil, nil, fmt.Errorf("read the alarms: %w", err)
	}
	alarms := slices.DeleteFunc(out.MetricAlarms, func(a types.MetricAlarm) bool { return !ofProbe(a) })
	listed, err := client.ListMetrics(ctx, &cloudwatch.ListMetricsInput{Namespace: aws.String(probe.Namespace)})
	if err != nil {
		return nil, nil, fmt.Errorf("list the metrics: %w", err)
	}
	published := slices.DeleteFunc(listed.Metrics, func(m types.Metric) bool {
		return len(m.Dimensions) != 1 || aws.ToString(m.Dimensions[0].Value) != service
	})
	// ProbeErrors is read first: what the probe publishes while the other metrics are read is then without it.
	if i := slices.IndexFunc(published, func(m types.Metric) bool { return aws.ToString(m.MetricName) == probe.ProbeErrors }); i > 0 {
		published[0], published[i] = published[i], published[0]
	}
	now := time.Now()
	runs := map[time.Time]Sample{}
	for _, m := range published {
		points, err := client.GetMetricStatistics(ctx, &cloudwatch.GetMetricStatisticsInput{
			Namespace: m.Namespace, MetricName: m.MetricName, Dimensions: m.Dimensions,
			StartTime: aws.Time(now.Add(-span).Truncate(time.Second)), EndTime: aws.Time(now.Add(time.Second)), Period: aws.Int32(1), Statistics: []types.Statistic{types.StatisticMaximum},
		})
		if err != nil {
			return nil, nil, fmt.Errorf("read the metric %s: %w", aws.ToString(m.MetricName), err)
		}
		for _, p := range points.Datapoints {
			if runs[*p.Timestamp] == nil {
				runs[*p.Timestamp] = Sample{}
			}
			runs[*p.Timestamp][aws.ToString(m.MetricName)] = aws.ToFloat64(p.Maximum)
		}
	}
	var samples []Sample
	for _, at := range slices.SortedFunc(maps.Keys(runs), time.Time.Compare) {
		if _, complete := runs[at][probe.ProbeErrors]; complete {
			samples = append(samples, runs[at])
		}
	}
	return alarms, samples, nil
}

// ofProbe reports whether all metrics of an alarm are the probe's.
func ofProbe(a types.MetricAlarm) bool {
	for name, m := range metrics(a) {
		if name == "" || aws.ToString(m.Namespace) != probe.Namespace || len(m.Dimensions) != 1 {
			return false
		}
	}
	return true
}

// metrics returns the metrics of an alarm by their IDs in its expression. Without an expression the
// ID is value.
func metrics(a types.MetricAlarm) map[string]types.Metric {
	if len(a.Metrics) == 0 {
		return map[string]types.Metric{"value": {Namespace: a.Namespace, MetricName: a.MetricName, Dimensions: a.Dimensions}}
	}
	all := map[string]types.Metric{}
	for _, query := range a.Metrics {
		if query.MetricStat != nil {
			all[aws.ToString(query.Id)] = *query.MetricStat.Metric
		}
	}
	return all
}

// InAlarm reports whether an alarm is in the state ALARM after the samples, the oldest first: M out of
// N data points are breaching ("Evaluating an alarm" in the CloudWatch user guide).
func InAlarm(a types.MetricAlarm, samples []Sample) bool {
	periods := int(aws.ToInt32(a.EvaluationPeriods))
	datapoints := int(aws.ToInt32(a.DatapointsToAlarm))
	breaching := 0
	for i := range periods {
		value, known := 0.0, false
		if at := len(samples) - periods + i; at >= 0 {
			value, known = Value(a, samples[at])
		}
		if known && breaches(a, value) || !known && aws.ToString(a.TreatMissingData) == "breaching" {
			breaching++
		}
	}
	return breaching >= datapoints
}

func breaches(a types.MetricAlarm, value float64) bool {
	threshold := aws.ToFloat64(a.Threshold)
	switch a.ComparisonOperator {
	case types.ComparisonOperatorLessThanThreshold:
		return value < threshold
	case types.ComparisonOperatorLessThanOrEqualToThreshold:
		return value <= threshold
	}
	return value >= threshold
}

// Value returns what an alarm compares with its threshold, and whether there is one.
func Value(a types.MetricAlarm, sample Sample) (float64, bool) {
	expression := "value"
	for _, query := range a.Metrics {
		if query.Expression != nil {
			expression = *query.Expression
		}
	}
	variables := map[string]cty.Value{}
	for name, m := range metrics(a) {
		variables[name] = cty.NullVal(cty.Number)
		if value, known := sample[aws.ToString(m.MetricName)]; known {
			variables[name] = cty.NumberFloatVal(value)
		}
	}
	// The expressions of metric math that the stack has are HCL as well.
	parsed, diagnostics := hclsyntax.ParseExpression([]byte(expression), "", hcl.InitialPos)
	if diagnostics.HasErrors() {
		return 0, false
	}
	value, diagnostics := parsed.Value(&hcl.EvalContext{Variables: variables, Functions: map[string]function.Function{"FILL": fill, "IF": choose}})
	if diagnostics.HasErrors() || value.IsNull() {
		return 0, false
	}
	number, _ := value.AsBigFloat().Float64()
	return number, true
}

// choose returns the second or the third argument, by the first.
var choose = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "condition", Type: cty.Bool}, {Name: "then", Type: cty.Number}, {Name: "otherwise", Type: cty.Number}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if args[0].True() {
			return args[1], nil
		}
		return args[2], nil
	},
})

// fill puts a value in the place of one that is missing.
var fill = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "metric", Type: cty.Number, AllowNull: true}, {Name: "value", Type: cty.Number}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if args[0].IsNull() {
			return args[1], nil
		}
		return args[0], nil
	},
})
