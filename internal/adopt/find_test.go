package adopt

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cloudwatchtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventstypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"prefect-worker-ecs/internal/emulator"
	"prefect-worker-ecs/internal/pyenv"
	"prefect-worker-ecs/internal/testtools"
)

// TestFind looks for all that the golden stacks have: in an empty account, where each service must
// be understood when it says that there is nothing, and for some that life cycles do not adopt.
func TestFind(t *testing.T) {
	emu, err := emulator.Start(t.Context(), emulator.Options{Python: testtools.Environment(t, pyenv.Moto), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = emu.Stop(context.Background()) })
	cfg := testtools.AWS(t, emu.Env())
	files, err := filepath.Glob("../../testdata/golden/*.tf.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		found, err := Find(t.Context(), cfg, stack(t, file), nil, nil)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, r := range found {
			if r.ID != "" {
				t.Errorf("%s: %s is found as %s", file, r.Address, r.ID)
			}
		}
	}

	// GIVEN queues, a rule with its target, and an alarm
	queues, events := sqs.NewFromConfig(cfg), eventbridge.NewFromConfig(cfg)
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("ecs-worker-task-events")})
	if err != nil {
		t.Fatal(err)
	}
	ecs := stack(t, "../../testdata/golden/ecs.tf.json")
	rule := ecs.Resource("aws_cloudwatch_event_rule", "task_events")["name"].(string)
	if _, err := events.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: &rule, EventPattern: aws.String(`{"source":["aws.ecs"]}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := events.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: &rule, Targets: []eventstypes.Target{
		{Id: aws.String("mine"), Arn: aws.String("arn:aws:sqs:us-east-1:123456789012:ecs-worker-task-events")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := cloudwatch.NewFromConfig(cfg).PutMetricAlarm(t.Context(), &cloudwatch.PutMetricAlarmInput{AlarmName: aws.String("ecs-worker-cpu"), MetricName: aws.String("CPUUtilization"), Namespace: aws.String("AWS/ECS"),
		Statistic: cloudwatchtypes.StatisticAverage, Period: aws.Int32(60), EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(1), ComparisonOperator: cloudwatchtypes.ComparisonOperatorGreaterThanThreshold}); err != nil {
		t.Fatal(err)
	}
	// WHEN they are looked for THEN they are found, and nothing else
	found, err := Find(t.Context(), cfg, ecs, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"aws_sqs_queue.task_events": *queue.QueueUrl, "aws_cloudwatch_event_rule.task_events": rule,
		"aws_cloudwatch_event_target.task_events": rule + "/mine", "aws_cloudwatch_metric_alarm.cpu": "ecs-worker-cpu"}
	for _, r := range found {
		if r.ID != want[r.Address] {
			t.Errorf("%s is %q, want %q", r.Address, r.ID, want[r.Address])
		}
	}
}
