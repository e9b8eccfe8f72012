package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/aws/logs"
	"prefect-worker-ecs/internal/prefect/flowruns"
	"prefect-worker-ecs/internal/prefect/metrics"
)

// alarms checks that the probe publishes, that no alarm is in ALARM, and that each address has
// confirmed its subscription.
func (c *checklist) alarms(ctx context.Context) finding {
	var f findings
	f.sideBySide(
		func(f *findings) { c.probeMetrics(ctx, f) },
		func(f *findings) { c.alarmStates(ctx, f) },
		func(f *findings) { c.subscriptions(ctx, f) },
		func(f *findings) { c.existingTopic(ctx, f) },
	)
	return f.finding("none is in ALARM; the probe published its metrics " + Ago(c.metrics.At))
}

// probeMetrics checks that the probe has lately published its metrics, and that it could read them all.
func (c *checklist) probeMetrics(ctx context.Context, f *findings) {
	var err error
	c.metrics, err = metrics.Read(ctx, c.aws.cloudwatch, c.env.Worker.ServiceName)
	switch failures := c.metrics.Values["ProbeErrors"]; {
	case err != nil:
		f.unreadable("the probe's metrics", err)
	case c.metrics.Values == nil:
		f.failed(fmt.Sprintf("the probe has published no metrics for %.0f minutes", metrics.Fresh.Minutes()),
			fmt.Sprintf("wait for it if it is new (workerctl verify --wait 5m); otherwise the log group %s says why", c.env.ProbeLogGroup()))
	case failures > 0:
		f.failed(fmt.Sprintf("%.0f queries of the probe failed%s", failures, c.failedQueries(ctx)), "look in the log group "+c.env.ProbeLogGroup())
	}
}

// failedQueries returns what the last line in the probe's log says of its queries.
func (c *checklist) failedQueries(ctx context.Context) string {
	lines, err := logs.Newest(ctx, c.aws.logs, c.env.ProbeLogGroup(), "", time.Now().Add(-metrics.Fresh))
	if err != nil {
		return ""
	}
	for _, line := range slices.Backward(lines) {
		var said struct{ Failed map[string]string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Failed != nil {
			text := ""
			for _, query := range slices.Sorted(maps.Keys(said.Failed)) {
				text += fmt.Sprintf("\n%s: %s", query, said.Failed[query])
			}
			return text
		}
	}
	return ""
}

// alarmStates checks that no alarm of the stack is in ALARM. They are read by their names, as the
// environment's policy for reading allows.
func (c *checklist) alarmStates(ctx context.Context, f *findings) {
	var names []string
	for _, address := range c.stack.Names("aws_cloudwatch_metric_alarm") {
		name, _ := c.stack.Resource("aws_cloudwatch_metric_alarm", address)["alarm_name"].(string)
		names = append(names, name)
	}
	out, err := c.aws.cloudwatch.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: names})
	if err == nil && len(out.MetricAlarms) == 0 {
		err = errEmpty
	}
	if err != nil {
		f.unreadable("the alarms", err)
		return
	}
	for _, alarm := range out.MetricAlarms {
		if alarm.StateValue == types.StateValueAlarm {
			meaning, first, _ := strings.Cut(aws.ToString(alarm.AlarmDescription), " First: ")
			f.failed(fmt.Sprintf("%s is in ALARM since %s: %s", aws.ToString(alarm.AlarmName), Ago(aws.ToTime(alarm.StateUpdatedTimestamp)), meaning), strings.TrimSuffix(first, "."))
		}
	}
}

// subscriptions checks that each e-mail address of the topic has confirmed its subscription. A topic
// that exists is somebody else's.
func (c *checklist) subscriptions(ctx context.Context, f *findings) {
	policy := c.stack.Resource("aws_sns_topic_policy", "alarms")
	if policy == nil {
		return
	}
	arn, _ := policy["arn"].(string)
	subscriptions, err := c.aws.Subscriptions(ctx, arn)
	switch {
	case is(err, "NotFound", "NotFoundException"):
		f.failed("there is no topic "+arn+", so that nobody is notified of an alarm", c.deployFix())
	case err != nil:
		f.unreadable("the subscriptions of the topic "+arn, err)
	}
	for _, s := range subscriptions {
		if s.ARN == "PendingConfirmation" {
			f.failed(s.Endpoint+" is notified of no alarm: the subscription is not confirmed", "follow the link in the e-mail that AWS has sent there")
		}
	}
}

// existingTopic checks that alarms and events can be published to a topic that exists. That of the stack is in
// Terraform's plan.
func (c *checklist) existingTopic(ctx context.Context, f *findings) {
	arn := c.env.Monitoring.TopicARN
	if arn == "" {
		return
	}
	topic, err := c.aws.Topic(ctx, arn)
	err = orEmpty(err, topic.Attribute("Policy") == "")
	switch {
	case is(err, "NotFound", "NotFoundException"):
		f.failed("there is no topic "+arn+", so that nobody is notified of an alarm", "create it, or correct monitoring.topic_arn")
		return
	case err != nil:
		f.unreadable("the topic "+arn, err)
		return
	case topic.Attribute("KmsMasterKeyId") == "alias/aws/sns":
		f.failed("the topic "+arn+" is encrypted with AWS's own key, with which CloudWatch cannot publish", "encrypt it with a customer key whose policy allows cloudwatch.amazonaws.com kms:Decrypt and kms:GenerateDataKey")
	}
	document, ok := f.policy(topic.Attribute("Policy"), "the policy of the topic "+arn)
	if !ok {
		return
	}
	account, service := iam.AccountOf(arn), c.env.Worker.ServiceName
	for _, publisher := range []struct {
		name, source string
		// owner is a condition of a topic's first policy, and EventBridge does not send its key.
		owner []string
	}{
		{"cloudwatch.amazonaws.com", account.Of("cloudwatch", "alarm:"+service+"-silent-worker"), []string{account.ID}},
		{"events.amazonaws.com", account.Of("events", "rule/"+c.env.DeploymentRule()), nil},
	} {
		result := iam.Evaluate(document, iam.Request{Action: "sns:Publish", Resource: arn, Caller: publisher.name, Context: map[string][]string{
			"aws:sourceaccount": {account.ID}, "aws:sourcearn": {publisher.source}, "aws:sourceowner": publisher.owner, "aws:securetransport": {"true"}}})
		f.decided(result, fmt.Sprintf("%s may publish to the topic %s", publisher.name, arn), fmt.Sprintf("%s may not publish to the topic %s: its policy does not allow it", publisher.name, arn),
			"allow cloudwatch.amazonaws.com and events.amazonaws.com sns:Publish in the topic's policy")
	}
}

// byProbe returns the finding of a check of Prefect by the probe's metrics, where this machine cannot
// reach the API and the probe can.
func (c *checklist) byProbe(name string) (finding, bool) {
	if name != checkWorker && name != checkRuns {
		return finding{}, false
	}
	c.await(checkAlarms)
	value := c.metrics.Values
	if value == nil || value["ProbeErrors"] > 0 || c.answered {
		return finding{}, false
	}
	source := ", by the probe's metrics of " + Ago(c.metrics.At)
	if name == checkWorker {
		online, desired := value["WorkersOnline"], value["TasksDesired"]
		detail := fmt.Sprintf("%.0f of %.0f workers of this service are online", online, desired) + source
		if online < max(1, desired) {
			return failed(detail, "the log below says why"), true
		}
		c.online = true
		return ok("%s", detail), true
	}
	stuck := value["FlowRunsOrphaned"] + value["FlowRunsLost"]
	detail := fmt.Sprintf("%.0f due, the oldest for %.0f s; %.0f orphaned or lost", value["FlowRunsDue"], value["OldestDueSeconds"], stuck) + source
	if value["OldestDueSeconds"] > flowruns.LateAfter.Seconds() || stuck > 0 {
		return failed(detail, "look at them from where the API is reached: workerctl runs "+c.env.Name), true
	}
	return ok("%s", detail), true
}

// Ago returns how long ago a point of time is, for a person. The zero time is unknown.
func Ago(at time.Time) string {
	if at.IsZero() {
		return "an unknown time ago"
	}
	return time.Since(at).Round(time.Second).String() + " ago"
}
