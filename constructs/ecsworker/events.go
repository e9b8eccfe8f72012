package ecsworker

import (
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatcheventtarget"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/sqsqueue"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/sqsqueuepolicy"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/sqsqueueredrivepolicy"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// taskEvents sends the changes of tasks to a queue. prefect-aws since 0.5.14 no longer
// watches the tasks of its flow runs itself: without the queue a crashed task leaves
// its flow run Running indefinitely. Times are those of Prefect's own template.
func taskEvents(scope constructs.Construct, cfg Config) {
	deadLetters := tf.WithAddress(sqsqueue.NewSqsQueue(scope, jsii.String("task-events-dead-letters"), &sqsqueue.SqsQueueConfig{
		Name:                    jsii.String(config.DeadLetterQueue(cfg.EventQueue)),
		MessageRetentionSeconds: jsii.Number(14 * 24 * 3600),
		SqsManagedSseEnabled:    jsii.Bool(true),
	}), "aws_sqs_queue.task_events_dead_letters")
	queue := tf.WithAddress(sqsqueue.NewSqsQueue(scope, jsii.String("task-events"), &sqsqueue.SqsQueueConfig{
		Name:                     &cfg.EventQueue,
		MessageRetentionSeconds:  jsii.Number(7 * 24 * 3600),
		VisibilityTimeoutSeconds: jsii.Number(300),
		SqsManagedSseEnabled:     jsii.Bool(true),
	}), "aws_sqs_queue.task_events")
	// A resource of its own, so that the queues do not wait for each other: the provider takes
	// 25 s for each, whatever SQS says.
	tf.WithAddress(sqsqueueredrivepolicy.NewSqsQueueRedrivePolicy(scope, jsii.String("task-events-redrive"), &sqsqueueredrivepolicy.SqsQueueRedrivePolicyConfig{
		QueueUrl: tf.URL(queue),
		RedrivePolicy: tf.JSON(struct {
			DeadLetterTargetARN string `json:"deadLetterTargetArn"`
			MaxReceiveCount     int    `json:"maxReceiveCount"`
		}{*tf.ARN(deadLetters), 3}),
	}), "aws_sqs_queue_redrive_policy.task_events")
	// The cluster is in the detail; "resources" holds the task's ARN.
	rule := block.NewEventRule(scope, "task-events-rule", "task_events", cfg.EventQueue, "Changes of the tasks of Prefect flow runs", block.EventPattern{
		DetailType: []string{"ECS Task State Change"},
		Detail:     map[string][]string{"clusterArn": {cfg.Cluster.ARN}},
	})
	// The rule's ARN follows from its name: the policy waits for no cluster.
	tf.WithAddress(sqsqueuepolicy.NewSqsQueuePolicy(scope, jsii.String("task-events-policy"), &sqsqueuepolicy.SqsQueuePolicyConfig{
		QueueUrl: tf.URL(queue),
		Policy: tf.JSON(iam.New(iam.Statement{
			Sid:       "ReceiveTaskEvents",
			Effect:    "Allow",
			Principal: iam.ByService("events.amazonaws.com"),
			Action:    []string{"sqs:SendMessage"},
			Resource:  []string{*tf.ARN(queue)},
		}.If("ArnEquals", "aws:SourceArn", cfg.Account.Of("events", "rule/"+cfg.EventQueue)))),
	}), "aws_sqs_queue_policy.task_events")
	tf.WithAddress(cloudwatcheventtarget.NewCloudwatchEventTarget(scope, jsii.String("task-events-target"), &cloudwatcheventtarget.CloudwatchEventTargetConfig{
		Rule: tf.Name(rule),
		Arn:  tf.ARN(queue),
	}), "aws_cloudwatch_event_target.task_events")
}
