package supervise

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"prefect-worker-ecs/internal/local/alarm"
	"prefect-worker-ecs/internal/local/ecstask"
)

// scale changes the number of tasks by the deployed alarms and scaling policies, as CloudWatch and Application Auto
// Scaling do and the emulator does not: each run of the probe counts as one minute. It returns what it did, empty if
// nothing.
func (s *supervisor) scale(ctx context.Context) (string, error) {
	client, resource := applicationautoscaling.NewFromConfig(s.aws), "service/"+s.Cluster+"/"+s.Service
	targets, err := client.DescribeScalableTargets(ctx, &applicationautoscaling.DescribeScalableTargetsInput{ServiceNamespace: types.ServiceNamespaceEcs, ResourceIds: []string{resource}})
	if err != nil || len(targets.ScalableTargets) == 0 {
		return "", err
	}
	target := targets.ScalableTargets[0]
	policies, err := client.DescribeScalingPolicies(ctx, &applicationautoscaling.DescribeScalingPoliciesInput{ServiceNamespace: types.ServiceNamespaceEcs, ResourceId: &resource})
	if err != nil {
		return "", err
	}
	alarms, samples, err := alarm.Read(ctx, s.aws, s.Service)
	if err != nil {
		return "", err
	}
	service, err := ecstask.Describe(ctx, s.ecs, s.Cluster, s.Service)
	if err != nil {
		return "", err
	}
	before := service.DesiredCount
	within := func(n int32) int32 {
		return min(max(n, aws.ToInt32(target.MinCapacity)), aws.ToInt32(target.MaxCapacity))
	}
	wanted, why := within(before), "the range of the scalable target"
	for _, p := range policies.ScalingPolicies {
		for _, a := range alarms {
			if !slices.Contains(a.AlarmActions, aws.ToString(p.PolicyARN)) || time.Now().Before(s.cooldown[*p.PolicyName]) || !alarm.InAlarm(a, samples) {
				continue
			}
			value, _ := alarm.Value(a, samples[len(samples)-1])
			change := adjustment(p.StepScalingPolicyConfiguration.StepAdjustments, value-aws.ToFloat64(a.Threshold))
			if suspended := target.SuspendedState; suspended != nil && (change > 0 && aws.ToBool(suspended.DynamicScalingOutSuspended) || change < 0 && aws.ToBool(suspended.DynamicScalingInSuspended)) {
				continue
			}
			if n := within(before + change); n != before {
				wanted, why = n, "the policy "+*p.PolicyName
				s.cooldown[*p.PolicyName] = time.Now().Add(time.Duration(aws.ToInt32(p.StepScalingPolicyConfiguration.Cooldown)) * probeEvery / 60)
			}
		}
	}
	if wanted == before {
		return "", nil
	}
	if _, err := s.ecs.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: &s.Cluster, Service: &s.Service, DesiredCount: &wanted}); err != nil {
		return "", fmt.Errorf("scale the service %s: %w", s.Service, err)
	}
	return fmt.Sprintf("from %d to %d tasks, by %s", before, wanted, why), nil
}

// adjustment returns the change of the step in whose interval a value is, counted from the alarm's threshold.
func adjustment(steps []types.StepAdjustment, value float64) int32 {
	for _, step := range steps {
		low, high := math.Inf(-1), math.Inf(1)
		if step.MetricIntervalLowerBound != nil {
			low = *step.MetricIntervalLowerBound
		}
		if step.MetricIntervalUpperBound != nil {
			high = *step.MetricIntervalUpperBound
		}
		// Below the threshold the upper bound belongs to an interval, and above it the lower one ("Step adjustments"
		// in the user guide of Application Auto Scaling).
		if value >= low && value < high || value <= 0 && value > low && value <= high {
			return aws.ToInt32(step.ScalingAdjustment)
		}
	}
	return 0
}
