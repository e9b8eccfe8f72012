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
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"

	"prefect-worker-ecs/internal/prefect/flowruns"
	"prefect-worker-ecs/internal/prefect/probe"
)

// monitoringState is what watches the worker, and what it saw.
type monitoringState struct {
	alarms []cwtypes.MetricAlarm
	// figures are the probe's last ones, and at when it sent them. Nil: none are known, or they
	// are too old to say anything.
	figures map[string]float64
	at      time.Time
}

// monitoring checks that the probe, its schedule, the alarms, who hears of them, and the filter
// of the log are those of the configuration, and that there is the dashboard.
func (c *checklist) monitoring(ctx context.Context) finding {
	var s several
	c.probeFunction(ctx, &s)
	c.probeSchedule(ctx, &s)
	c.alarmDefinitions(ctx, &s)
	c.logFilter(ctx, &s)
	c.alarmTopic(ctx, &s)
	c.dashboard(ctx, &s)
	return s.finding(fmt.Sprintf("the probe %s runs each minute, and %d alarms are as configured", c.env.Probe(), len(c.watch.alarms)))
}

// differs records where what AWS has differs in what the program sets.
func differs[T any](c *checklist, s *several, what string, arguments map[string]any, got T) {
	found, err := differences[T](arguments, got)
	if err != nil {
		s.unknown(err.Error(), "update workerctl")
	} else if len(found) > 0 {
		s.failed(what+" is not that of the configuration: "+strings.Join(found, "; "), c.deploy())
	}
}

func (c *checklist) probeFunction(ctx context.Context, s *several) {
	name := c.env.Probe()
	got, err := c.aws.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
	if is(err, "ResourceNotFoundException") {
		s.failed("there is no function "+name, c.deployFix())
		return
	}
	if err != nil {
		s.unread("the function "+name, err)
		return
	}
	want := c.stack.Resource("aws_lambda_function", "probe")
	environment, _ := want["environment"].(map[string]any)
	// Names of variables are no names of arguments.
	if found := compare("Environment", map[string]any{"Variables": environment["variables"]}, generic(got.Environment), true); len(found) > 0 {
		s.failed("the function "+name+" is not that of the configuration: "+strings.Join(found, "; "), c.deploy())
	}
	for _, argument := range []string{"environment", "filename", "depends_on"} {
		delete(want, argument)
	}
	rename(want, "source_code_hash", "code_sha256")
	differs(c, s, "the function "+name, want, *got)
	if got.State == lambdatypes.StateFailed || got.State == lambdatypes.StateInactive || got.LastUpdateStatus == lambdatypes.LastUpdateStatusFailed {
		s.failed(fmt.Sprintf("the function %s is %s: %s%s", name, got.State, aws.ToString(got.StateReason), aws.ToString(got.LastUpdateStatusReason)), c.deploy())
	}
}

func (c *checklist) probeSchedule(ctx context.Context, s *several) {
	name := c.env.Probe()
	got, err := c.aws.scheduler.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: &name})
	if is(err, "ResourceNotFoundException") {
		s.failed("there is no schedule "+name+", so that the probe never runs", c.deployFix())
		return
	}
	if err != nil {
		s.unread("the schedule "+name, err)
		return
	}
	differs(c, s, "the schedule "+name, c.stack.Resource("aws_scheduler_schedule", "probe"), *got)
	if got.State != schedulertypes.ScheduleStateEnabled {
		s.failed(fmt.Sprintf("the schedule %s is %s: the probe does not run", name, got.State), "enable it again: "+c.deploy())
	}
}

func (c *checklist) alarmDefinitions(ctx context.Context, s *several) {
	prefix := c.env.Worker.ServiceName + "-"
	pages := cloudwatch.NewDescribeAlarmsPaginator(c.aws.cloudwatch, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: &prefix, AlarmTypes: []cwtypes.AlarmType{cwtypes.AlarmTypeMetricAlarm}})
	got := map[string]cwtypes.MetricAlarm{}
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			s.unread("the alarms", err)
			return
		}
		for _, alarm := range page.MetricAlarms {
			got[aws.ToString(alarm.AlarmName)] = alarm
		}
	}
	for _, address := range c.stack.Names("aws_cloudwatch_metric_alarm") {
		want := c.stack.Resource("aws_cloudwatch_metric_alarm", address)
		name, _ := want["alarm_name"].(string)
		alarm, there := got[name]
		if !there {
			s.failed("there is no alarm "+name, c.deployFix())
			continue
		}
		c.watch.alarms = append(c.watch.alarms, alarm)
		// Their order means nothing.
		slices.SortFunc(alarm.Metrics, func(a, b cwtypes.MetricDataQuery) int {
			return strings.Compare(aws.ToString(a.Id), aws.ToString(b.Id))
		})
		differs(c, s, "the alarm "+name, alarmArguments(want), alarm)
		if !aws.ToBool(alarm.ActionsEnabled) {
			s.failed("the alarm "+name+" tells nobody: its actions are switched off", "aws cloudwatch enable-alarm-actions --alarm-names "+name)
		}
	}
}

// alarmArguments are those of Terraform in the form of CloudWatch's API.
func alarmArguments(arguments map[string]any) map[string]any {
	dimensions := func(values map[string]any) {
		if given, ok := values["dimensions"].(map[string]any); ok {
			var list []any
			for _, name := range slices.Sorted(maps.Keys(given)) {
				list = append(list, map[string]any{"name": name, "value": given[name]})
			}
			values["dimensions"] = list
		}
	}
	dimensions(arguments)
	rename(arguments, "metric_query", "metrics")
	queries, _ := arguments["metrics"].([]any)
	slices.SortFunc(queries, func(a, b any) int {
		return strings.Compare(a.(map[string]any)["id"].(string), b.(map[string]any)["id"].(string))
	})
	for _, query := range queries {
		query := query.(map[string]any)
		if m, ok := query["metric"].(map[string]any); ok {
			dimensions(m)
			delete(query, "metric")
			query["metric_stat"] = map[string]any{"period": m["period"], "stat": m["stat"],
				"metric": map[string]any{"namespace": m["namespace"], "metric_name": m["metric_name"], "dimensions": m["dimensions"]}}
		}
	}
	return arguments
}

func (c *checklist) logFilter(ctx context.Context, s *several) {
	want := c.stack.Resource("aws_cloudwatch_log_metric_filter", "known_failures")
	name, _ := want["name"].(string)
	got, err := c.aws.logs.DescribeMetricFilters(ctx, &cloudwatchlogs.DescribeMetricFiltersInput{LogGroupName: &c.env.Logs.Group, FilterNamePrefix: &name})
	if is(err, "ResourceNotFoundException") || err == nil && len(got.MetricFilters) == 0 {
		s.failed("the log group "+c.env.Logs.Group+" has no filter "+name, c.deployFix())
		return
	}
	if err != nil {
		s.unread("the filters of the log group "+c.env.Logs.Group, err)
		return
	}
	rename(want, "name", "filter_name")
	rename(want, "pattern", "filter_pattern")
	rename(want["metric_transformation"].(map[string]any), "name", "metric_name")
	rename(want["metric_transformation"].(map[string]any), "namespace", "metric_namespace")
	rename(want["metric_transformation"].(map[string]any), "value", "metric_value")
	want["metric_transformations"] = []any{want["metric_transformation"]}
	delete(want, "metric_transformation")
	differs(c, s, "the filter "+name, want, got.MetricFilters[0])
}

// alarmTopic checks that AWS may send alarms to the topic, and that each address has confirmed that
// it wants them. A topic that exists is somebody else's.
func (c *checklist) alarmTopic(ctx context.Context, s *several) {
	policy := c.stack.Resource("aws_sns_topic_policy", "alarms")
	if policy == nil {
		return
	}
	arn, _ := policy["arn"].(string)
	topic, err := c.aws.sns.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
	if is(err, "NotFound", "NotFoundException") {
		s.failed("there is no topic "+arn+", so that nobody hears of an alarm", c.deployFix())
		return
	}
	if err != nil {
		s.unread("the topic "+arn, err)
		return
	}
	if want, _ := policy["policy"].(string); !samePolicy(want, topic.Attributes["Policy"]) {
		s.failed("the policy of the topic "+arn+" is not that of the configuration", c.deploy())
	}
	var subscriptions []snstypes.Subscription
	pages := sns.NewListSubscriptionsByTopicPaginator(c.aws.sns, &sns.ListSubscriptionsByTopicInput{TopicArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			s.unread("the subscriptions of the topic "+arn, err)
			return
		}
		subscriptions = append(subscriptions, page.Subscriptions...)
	}
	for _, address := range c.stack.Names("aws_sns_topic_subscription") {
		want := c.stack.Resource("aws_sns_topic_subscription", address)
		i := slices.IndexFunc(subscriptions, func(got snstypes.Subscription) bool {
			return aws.ToString(got.Endpoint) == want["endpoint"] && aws.ToString(got.Protocol) == want["protocol"]
		})
		switch {
		case i < 0:
			s.failed(fmt.Sprintf("%s hears of no alarm: the topic has no such subscription", want["endpoint"]), c.deploy())
		case aws.ToString(subscriptions[i].SubscriptionArn) == "PendingConfirmation":
			s.failed(fmt.Sprintf("%s hears of no alarm: the subscription is not confirmed", want["endpoint"]),
				"follow the link in the mail that AWS has sent there")
		}
	}
}

// dashboard checks that it is there. What it shows is for people, who may change it.
func (c *checklist) dashboard(ctx context.Context, s *several) {
	name, _ := c.stack.Resource("aws_cloudwatch_dashboard", "worker")["dashboard_name"].(string)
	_, err := c.aws.cloudwatch.GetDashboard(ctx, &cloudwatch.GetDashboardInput{DashboardName: &name})
	if is(err, "DashboardNotFoundError", "ResourceNotFound") {
		s.failed("there is no dashboard "+name, c.deployFix())
	} else if err != nil {
		s.unread("the dashboard "+name, err)
	}
}

// freshFigures is how old the probe's last figures may be: it sends them each minute, and
// CloudWatch takes up to two to show them.
const freshFigures = 4 * time.Minute

// shownFigures are those that say how the worker is.
var shownFigures = []string{"CallsFailed", "WorkersOnline", "TasksDesired", "FlowRunsDue", "FlowRunsLate", "OldestDueSeconds", "FlowRunsRunning", "FlowRunsPending", "FlowRunsOrphaned", "FlowRunsLost", "PoolPaused"}

// alarms checks that the probe has lately sent its figures, and that no alarm is in ALARM.
func (c *checklist) alarms(ctx context.Context) finding {
	var s several
	if err := c.readFigures(ctx); err != nil {
		s.unread("the probe's figures", err)
	} else if c.watch.figures == nil {
		s.failed(fmt.Sprintf("the probe has sent no figures for %.0f minutes", freshFigures.Minutes()),
			fmt.Sprintf("wait for it if it is new (workerctl verify --wait 5m); otherwise the log group %s says why", c.env.ProbeLogGroup()))
	} else if n := c.watch.figures["CallsFailed"]; n > 0 {
		s.failed(fmt.Sprintf("the probe could not ask %.0f of its questions%s", n, c.whatFailed(ctx)), "look in the log group "+c.env.ProbeLogGroup())
	}
	for _, alarm := range c.watch.alarms {
		if alarm.StateValue == cwtypes.StateValueAlarm {
			meaning, first, _ := strings.Cut(aws.ToString(alarm.AlarmDescription), " First: ")
			s.failed(fmt.Sprintf("%s is in ALARM since %s: %s", aws.ToString(alarm.AlarmName), ago(alarm.StateUpdatedTimestamp), meaning), strings.TrimSuffix(first, "."))
		}
	}
	return s.finding(fmt.Sprintf("none is in ALARM; the probe sent its figures %s", ago(&c.watch.at)))
}

// readFigures reads the probe's last figures.
func (c *checklist) readFigures(ctx context.Context) error {
	now := time.Now()
	in := &cloudwatch.GetMetricDataInput{StartTime: aws.Time(now.Add(-freshFigures).Truncate(time.Minute)), EndTime: aws.Time(now.Add(time.Minute)), ScanBy: cwtypes.ScanByTimestampDescending}
	for i, name := range shownFigures {
		in.MetricDataQueries = append(in.MetricDataQueries, cwtypes.MetricDataQuery{Id: aws.String(fmt.Sprintf("q%d", i)), Label: &name, MetricStat: &cwtypes.MetricStat{
			Metric: &cwtypes.Metric{Namespace: aws.String(probe.Namespace), MetricName: &name,
				Dimensions: []cwtypes.Dimension{{Name: aws.String(probe.Dimension), Value: &c.env.Worker.ServiceName}}},
			Period: aws.Int32(60), Stat: aws.String("Maximum"),
		}})
	}
	out, err := c.aws.cloudwatch.GetMetricData(ctx, in)
	if err != nil {
		return err
	}
	figures := map[string]float64{}
	for _, result := range out.MetricDataResults {
		if len(result.Values) > 0 {
			figures[aws.ToString(result.Label)] = result.Values[0]
			if aws.ToString(result.Label) == "CallsFailed" { // it is always sent
				c.watch.figures, c.watch.at = figures, result.Timestamps[0]
			}
		}
	}
	return nil
}

// whatFailed is what the probe's last line in its log says of its questions.
func (c *checklist) whatFailed(ctx context.Context) string {
	lines, err := c.logSince(ctx, c.env.ProbeLogGroup(), time.Now().Add(-freshFigures))
	if err != nil {
		return ""
	}
	for _, line := range slices.Backward(lines) {
		var said struct{ Failed map[string]string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Failed != nil {
			text := ""
			for _, call := range slices.Sorted(maps.Keys(said.Failed)) {
				text += fmt.Sprintf("\n%s: %s", call, said.Failed[call])
			}
			return text
		}
	}
	return ""
}

// byProbe answers a check of Prefect from the probe's figures, where this machine cannot reach
// the API and the probe can.
func (c *checklist) byProbe(name string) (finding, bool) {
	figures := c.watch.figures
	if figures == nil || figures["CallsFailed"] > 0 || c.client.answered {
		return finding{}, false
	}
	said := ", says the probe " + ago(&c.watch.at)
	online, due, desired := figures["WorkersOnline"], figures["FlowRunsDue"], figures["TasksDesired"]
	late, stuck := figures["OldestDueSeconds"], figures["FlowRunsOrphaned"]+figures["FlowRunsLost"]
	switch name {
	case checkWorker:
		detail := fmt.Sprintf("%.0f of %.0f workers of this service are online", online, desired) + said
		if online < max(1, desired) {
			return failed(detail, "the log below says why"), true
		}
		return ok("%s", detail), true
	case checkRuns:
		detail := fmt.Sprintf("%.0f due, the oldest for %.0f s; %.0f orphaned or lost", due, late, stuck) + said
		if late > flowruns.LateAfter.Seconds() || stuck > 0 {
			return failed(detail, "look at them from where the API is reached: workerctl runs "+c.env.Name), true
		}
		return ok("%s", detail), true
	}
	return finding{}, false
}
