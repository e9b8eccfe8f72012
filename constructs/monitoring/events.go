package monitoring

import (
	"fmt"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatcheventtarget"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatchlogmetricfilter"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/snstopic"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/snstopicpolicy"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/snstopicsubscription"

	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/prefect/probe"
	"prefect-worker-ecs/internal/prefect/symptoms"
)

// newTopic builds the topic that alarms are sent to, unless one exists, and returns its ARN.
func (cfg Config) newTopic(scope constructs.Construct) *string {
	env := cfg.Environment
	if env.Monitoring.TopicARN != "" {
		return &env.Monitoring.TopicARN
	}
	topic := tf.WithAddress(snstopic.NewSnsTopic(scope, jsii.String("topic"), &snstopic.SnsTopicConfig{
		Name: jsii.String(env.AlarmTopic()),
	}), "aws_sns_topic.alarms")
	publish := func(sid, service string) iam.Statement {
		return iam.Statement{Sid: sid, Effect: "Allow", Principal: iam.ByService(service), Action: []string{"sns:Publish"}, Resource: []string{*tf.ARN(topic)}}
	}
	tf.WithAddress(snstopicpolicy.NewSnsTopicPolicy(scope, jsii.String("topic-policy"), &snstopicpolicy.SnsTopicPolicyConfig{
		Arn: tf.ARN(topic),
		Policy: tf.JSON(iam.New(
			publish("Alarms", "cloudwatch.amazonaws.com").If("StringEquals", "aws:SourceAccount", cfg.Account.ID).
				If("ArnLike", "aws:SourceArn", cfg.Account.Of("cloudwatch", "alarm:"+env.Worker.ServiceName+"-*")),
			// AWS's documentation of EventBridge has no condition for topics: it would not be met.
			publish("Events", "events.amazonaws.com"),
		)),
	}), "aws_sns_topic_policy.alarms")
	for i, email := range env.Monitoring.Emails {
		tf.WithAddress(snstopicsubscription.NewSnsTopicSubscription(scope, jsii.String(fmt.Sprintf("email-%d", i+1)), &snstopicsubscription.SnsTopicSubscriptionConfig{
			TopicArn: tf.ARN(topic),
			Protocol: jsii.String("email"),
			Endpoint: jsii.String(tf.Literal(email)),
		}), fmt.Sprintf("aws_sns_topic_subscription.alarms_%d", i+1))
	}
	return tf.ARN(topic)
}

// newEvents sends notifications of the events of ECS, once for each time ("Amazon ECS events" in the
// Amazon ECS Developer Guide).
func (cfg Config) newEvents(scope constructs.Construct, topic *string) {
	env := cfg.Environment
	service := env.Worker.ServiceName
	// A deployment that is rolled back has failed as well.
	cfg.newEvent(scope, topic, "failed_deployment", env.DeploymentRule(), "A deployment of the worker failed, or its tasks cannot start", block.EventPattern{
		DetailType: []string{"ECS Deployment State Change", "ECS Service Action"},
		Resources:  []string{cfg.Account.Of("ecs", "service/"+env.Cluster.Name+"/"+service)},
		Detail: map[string][]string{"eventName": {
			"SERVICE_DEPLOYMENT_FAILED", "SERVICE_TASK_CONFIGURATION_FAILURE", "SERVICE_TASK_PLACEMENT_FAILURE", "SERVICE_TASK_START_IMPAIRED",
		}},
	}, map[string]*string{"event": jsii.String("$.detail.eventName"), "reason": jsii.String("$.detail.reason")},
		"ECS says <event> of the service "+service+": <reason> First: workerctl verify "+env.Name+", which shows why tasks stopped. A failed deployment is rolled back by itself; fix the cause and deploy again.")
	// Deployments and scaling stop tasks too, with another code.
	cfg.newEvent(scope, topic, "ended_task", service+"-ended-task", "A task of the worker ended by itself", block.EventPattern{
		DetailType: []string{"ECS Task State Change"},
		Detail: map[string][]string{
			"clusterArn": {cfg.ClusterARN}, "group": {"service:" + service}, "lastStatus": {"STOPPED"}, "stopCode": {"EssentialContainerExited"},
		},
	}, map[string]*string{"task": jsii.String("$.detail.taskArn"), "reason": jsii.String("$.detail.stoppedReason")},
		"The task <task> of the service "+service+" ended by itself: <reason>. ECS starts another one. If this comes again and again, first: workerctl verify "+env.Name+", which shows the exit code and the cause in the log.")
}

func (cfg Config) newEvent(scope constructs.Construct, topic *string, address, name, description string, pattern block.EventPattern, paths map[string]*string, message string) {
	rule := block.NewEventRule(scope, address+"-rule", address, name, description, pattern)
	tf.WithAddress(cloudwatcheventtarget.NewCloudwatchEventTarget(scope, jsii.String(address+"-target"), &cloudwatcheventtarget.CloudwatchEventTargetConfig{
		Rule: tf.Name(rule),
		Arn:  topic,
		InputTransformer: &cloudwatcheventtarget.CloudwatchEventTargetInputTransformer{
			InputPaths:    &paths,
			InputTemplate: tf.JSON(message),
		},
	}), "aws_cloudwatch_event_target."+address)
}

// newLogFilter counts the lines of the worker's log that show a known failure. The name of the
// metric holds the service's: a filter of plain text has no dimensions.
func (cfg Config) newLogFilter(scope constructs.Construct) {
	service := cfg.Environment.Worker.ServiceName
	tf.WithAddress(cloudwatchlogmetricfilter.NewCloudwatchLogMetricFilter(scope, jsii.String("log-filter"), &cloudwatchlogmetricfilter.CloudwatchLogMetricFilterConfig{
		Name:         jsii.String(service + "-known-failures"),
		LogGroupName: &cfg.LogGroup,
		Pattern:      jsii.String(symptoms.FilterPattern()),
		MetricTransformation: &cloudwatchlogmetricfilter.CloudwatchLogMetricFilterMetricTransformation{
			Namespace: jsii.String(probe.Namespace),
			Name:      jsii.String(logFailures + "/" + service),
			Value:     jsii.String("1"),
		},
	}), "aws_cloudwatch_log_metric_filter.known_failures")
}
