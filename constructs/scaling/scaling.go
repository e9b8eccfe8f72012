// Package scaling lets the number of worker tasks follow the flow runs, by the metric TasksMissing of the
// probe.
package scaling

import (
	"strings"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/appautoscalingpolicy"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/appautoscalingtarget"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatchmetricalarm"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecsservice"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/prefect/probe"
)

// Config says what New scales.
type Config struct {
	// Range is the range of the number of tasks.
	Range config.Scaling

	// ClusterName and ServiceName name the worker's service.
	ClusterName, ServiceName string

	// Service must exist before it can be scaled.
	Service tf.Addressed[ecsservice.EcsService]
}

// policy is a step scaling policy with its alarm.
type policy struct {
	name, description, comparison string
	threshold                     float64
	// minutes is how long the metric must be beyond the threshold.
	minutes int
	// treatMissingData is what a minute without a metric counts as.
	treatMissingData string
	// cooldown is in seconds.
	cooldown int
	steps    []step
}

// step changes the number of tasks by change where the metric is between from and to, both counted from the
// threshold. An empty bound is none.
type step struct {
	from, to string
	change   int
}

// policies are both directions. A scale-out waits two minutes for the tasks of the one before it, which is
// what a task needs until it takes flow runs. A scale-in waits ten minutes, so that flow runs which come one
// by one do not each wait for a new task; and without the probe's metrics there is none.
var policies = []policy{{
	name: "scale-out", description: "More worker tasks are needed for the flow runs that are due or underway. Starts them. First: nothing; this is how scaling works.",
	comparison: "GreaterThanOrEqualToThreshold", threshold: 1, minutes: 1, treatMissingData: "missing", cooldown: 120,
	steps: []step{{"0", "1", 1}, {"1", "3", 2}, {"3", "9", 4}, {"9", "", 10}},
}, {
	name: "scale-in", description: "Fewer worker tasks are needed for 10 minutes. Stops one each minute, none that has flow runs. First: nothing; this is how scaling works.",
	comparison: "LessThanOrEqualToThreshold", threshold: -1, minutes: 10, treatMissingData: "notBreaching", cooldown: 60,
	steps: []step{{"", "0", -1}},
}}

// New builds the scalable target, and a policy and an alarm for each direction.
func New(scope constructs.Construct, id string, cfg Config) {
	scope = constructs.NewConstruct(scope, &id)
	const namespace, dimension = "ecs", "ecs:service:DesiredCount"
	target := tf.WithAddress(appautoscalingtarget.NewAppautoscalingTarget(scope, jsii.String("target"), &appautoscalingtarget.AppautoscalingTargetConfig{
		ServiceNamespace:  jsii.String(namespace),
		ScalableDimension: jsii.String(dimension),
		ResourceId:        jsii.String("service/" + cfg.ClusterName + "/" + *tf.Name(cfg.Service)),
		MinCapacity:       jsii.Number(cfg.Range.Min),
		MaxCapacity:       jsii.Number(cfg.Range.Max),
	}), "aws_appautoscaling_target.worker")
	for _, p := range policies {
		name, address := cfg.ServiceName+"-"+p.name, strings.ReplaceAll(p.name, "-", "_")
		built := tf.WithAddress(appautoscalingpolicy.NewAppautoscalingPolicy(scope, jsii.String(p.name), &appautoscalingpolicy.AppautoscalingPolicyConfig{
			Name:              &name,
			PolicyType:        jsii.String("StepScaling"),
			ServiceNamespace:  jsii.String(namespace),
			ScalableDimension: jsii.String(dimension),
			ResourceId:        tf.ResourceID(target),
			StepScalingPolicyConfiguration: &appautoscalingpolicy.AppautoscalingPolicyStepScalingPolicyConfiguration{
				AdjustmentType:        jsii.String("ChangeInCapacity"),
				Cooldown:              jsii.Number(p.cooldown),
				MetricAggregationType: jsii.String("Maximum"),
				StepAdjustment:        p.adjustments(),
			},
		}), "aws_appautoscaling_policy."+address)
		tf.WithAddress(cloudwatchmetricalarm.NewCloudwatchMetricAlarm(scope, jsii.String(p.name+"-alarm"), &cloudwatchmetricalarm.CloudwatchMetricAlarmConfig{
			AlarmName:          &name,
			AlarmDescription:   &p.description,
			Namespace:          jsii.String(probe.Namespace),
			MetricName:         jsii.String(probe.TasksMissing),
			Dimensions:         &map[string]*string{probe.Dimension: &cfg.ServiceName},
			Statistic:          jsii.String("Maximum"),
			Period:             jsii.Number(60),
			ComparisonOperator: &p.comparison,
			Threshold:          &p.threshold,
			EvaluationPeriods:  jsii.Number(p.minutes),
			DatapointsToAlarm:  jsii.Number(p.minutes),
			TreatMissingData:   &p.treatMissingData,
			AlarmActions:       &[]*string{tf.ARN(built)},
		}), "aws_cloudwatch_metric_alarm."+address)
	}
}

func (p policy) adjustments() *[]*appautoscalingpolicy.AppautoscalingPolicyStepScalingPolicyConfigurationStepAdjustment {
	var all []*appautoscalingpolicy.AppautoscalingPolicyStepScalingPolicyConfigurationStepAdjustment
	for _, s := range p.steps {
		all = append(all, &appautoscalingpolicy.AppautoscalingPolicyStepScalingPolicyConfigurationStepAdjustment{
			MetricIntervalLowerBound: tf.Optional(s.from), MetricIntervalUpperBound: tf.Optional(s.to), ScalingAdjustment: jsii.Number(s.change),
		})
	}
	return &all
}
