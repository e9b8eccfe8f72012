package stackrules

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"prefect-worker-ecs/internal/prefect/symptoms"
)

// signal is what an alarm is on: a metric or an expression, the thresholds that it reaches and
// that somebody should know of, and what a period without data counts as. Silence is the alarm
// of what must report each minute; the others keep their state, or have nothing to report.
type signal struct {
	metric              string
	least, most         float64
	comparison, missing string
}

const (
	atLeast = "GreaterThanOrEqualToThreshold"
	below   = "LessThanThreshold"
)

// signals returns the signals of the alarms by name.
func (s *stack) signals() map[string]signal {
	late, disk := float64(60*s.env.Monitoring.LateMinutes), float64(s.env.Server.Database.StorageGiB<<30)
	most := float64(s.env.Worker.Scaling.Max)
	return map[string]signal{
		"silent_worker":        {"FILL(online, 0) - desired", 0, 0, below, "breaching"},
		"missing_tasks":        {"running - desired", 0, 0, below, "ignore"},
		"probe":                {"ProbeErrors", 1, 1, atLeast, "breaching"},
		"late_runs":            {"IF(desired > 0, oldest, 0)", late, late, atLeast, "ignore"},
		"orphaned_runs":        {"FlowRunsOrphaned", 1, 1, atLeast, "ignore"},
		"lost_runs":            {"FlowRunsLost", 1, 1, atLeast, "ignore"},
		"memory":               {"MemoryUtilization", 70, 99, atLeast, "notBreaching"},
		"too_few_tasks":        {"TasksMissing", 1, 1, atLeast, "ignore"},
		"most_tasks":           {"TasksNeeded", most + 1, most + 1, atLeast, "ignore"},
		"scale_out":            {"TasksMissing", 1, 1, atLeast, "missing"},
		"scale_in":             {"TasksMissing", -1, -1, "LessThanOrEqualToThreshold", "notBreaching"},
		"log_failures":         {"LogFailures/" + s.env.Worker.ServiceName, 1, 5, atLeast, "notBreaching"},
		"dead_letters":         {"ApproximateNumberOfMessagesVisible", 1, 1, atLeast, "notBreaching"},
		"database_storage":     {"FreeStorageSpace", disk / 50, disk / 10, below, "breaching"},
		"database_connections": {"DatabaseConnections", 20, 79, atLeast, "breaching"}, // the smallest class takes about 80
	}
}

var monitoringRules = []rule{
	{"alarms-can-fire", "an alarm that needs hours, or a value that its metric never has, is none", func(s *stack) {
		s.each("aws_cloudwatch_metric_alarm", func(e element) {
			want, path := s.signals()[e.name], ""
			s.want(e, "alarm_name", s.env.Worker.ServiceName+"-"+strings.ReplaceAll(e.name, "_", "-")) // another one may be another environment's
			if e.get("metric_query") == nil {
				s.want(e, "metric_name", want.metric)
				statistic := map[string]string{"log_failures": "Sum", "database_storage": "Minimum"}[e.name]
				s.want(e, "statistic", cmp.Or(statistic, "Maximum"))
			} else {
				s.want(e, "metric_query.0.expression", want.metric)
				s.want(e, "metric_query.0.return_data", true)
				path = "metric_query.1.metric."
				for i := 1; e.get(fmt.Sprintf("metric_query.%d", i)) != nil; i++ {
					at := fmt.Sprintf("metric_query.%d.", i)
					s.want(e, at+"metric.metric_name", map[string]string{"online": "WorkersOnline", "desired": "TasksDesired", "running": "TasksRunning", "oldest": "OldestDueSeconds"}[e.text(at+"id")])
					s.want(e, at+"metric.stat", "Maximum")
					s.want(e, at+"metric.period", e.get(path+"period"))
				}
			}
			s.want(e, "comparison_operator", want.comparison)
			s.within(e, "threshold", want.least, want.most)
			s.within(e, path+"period", 60, 300)
			period, _ := e.get(path + "period").(float64)
			periods, _ := e.get("evaluation_periods").(float64)
			s.within(e, "evaluation_periods", 1, 3600/max(period, 1))
			s.within(e, "datapoints_to_alarm", 1, periods)
			s.want(e, "actions_enabled", nil) // they are
		})
	}},
	{"alarms-watch-this-worker", "an alarm on metrics of another service, queue or database is silent when this one fails", func(s *stack) {
		dimensions := map[string]map[string]string{
			"PrefectWorker": {"Service": s.env.Worker.ServiceName},
			"AWS/ECS":       {"ClusterName": s.env.Cluster.Name, "ServiceName": s.env.Worker.ServiceName},
			"AWS/SQS":       {"QueueName": s.env.EventQueue() + "-dlq"},
			"AWS/RDS":       {"DBInstanceIdentifier": s.env.Server.Name},
		}
		s.each("aws_cloudwatch_metric_alarm", func(e element) {
			for _, path := range []string{"", "metric_query.1.metric.", "metric_query.2.metric."} {
				if e.get(path+"metric_name") == nil {
					continue
				}
				namespace := map[string]string{"memory": "AWS/ECS", "dead_letters": "AWS/SQS", "database_storage": "AWS/RDS", "database_connections": "AWS/RDS"}[e.name]
				s.want(e, path+"namespace", cmp.Or(namespace, "PrefectWorker"))
				if e.name != "log_failures" { // a log filter's metric has none
					s.want(e, path+"dimensions", dimensions[e.text(path+"namespace")])
				}
			}
		})
		s.all("aws_cloudwatch_log_metric_filter", "log_group_name", s.logGroup("name"))
		s.all("aws_cloudwatch_log_metric_filter", "pattern", symptoms.FilterPattern())
		s.all("aws_cloudwatch_log_metric_filter", "metric_transformation.value", "1")
		s.all("aws_cloudwatch_log_metric_filter", "metric_transformation.namespace", "PrefectWorker")
		s.all("aws_cloudwatch_log_metric_filter", "metric_transformation.name", s.signals()["log_failures"].metric)
	}},
	{"silence-is-judged", "a worker that reports nothing must not look healthy, and one that is paused must not wake anybody", func(s *stack) {
		s.each("aws_cloudwatch_metric_alarm", func(e element) { s.want(e, "treat_missing_data", s.signals()[e.name].missing) })
	}},
	{"alarms-reach-everybody", "whoever is on call and not subscribed learns it from the users", func(s *stack) {
		s.each("aws_cloudwatch_metric_alarm", func(e element) {
			if strings.HasPrefix(e.name, "scale_") {
				s.want(e, "alarm_actions", []string{ref("aws_appautoscaling_policy." + e.name + ".arn")})
				s.want(e, "ok_actions", nil)
				return
			}
			s.want(e, "alarm_actions", []string{s.topic()})
			s.want(e, "ok_actions", []string{s.topic()})
		})
		s.all("aws_sns_topic_subscription", "topic_arn", s.topic())
		s.all("aws_sns_topic_subscription", "protocol", "email")
		var have, want []string
		s.each("aws_sns_topic_subscription", func(e element) { have = append(have, e.text("endpoint")) })
		for _, email := range s.env.Monitoring.Emails {
			want = append(want, literal(email))
		}
		slices.Sort(have)
		slices.Sort(want)
		if s.env.Monitoring.Enabled && !slices.Equal(have, want) {
			s.report("aws_sns_topic_subscription", "subscribes %q, want %q", have, want)
		}
	}},
	{"scales-as-configured", "another service or range runs workers that nobody asked for, or too few; a scale-in by more than one at a time stops them before the runs are counted again", func(s *stack) {
		service := "service/" + s.env.Cluster.Name + "/" + ref("aws_ecs_service.worker.name")
		s.all("aws_appautoscaling_target", "resource_id", service)
		s.all("aws_appautoscaling_target", "min_capacity", s.env.Worker.Scaling.Min)
		s.all("aws_appautoscaling_target", "max_capacity", s.env.Worker.Scaling.Max)
		s.all("aws_appautoscaling_policy", "resource_id", ref("aws_appautoscaling_target.worker.resource_id"))
		s.all("aws_appautoscaling_policy", "policy_type", "StepScaling")
		s.all("aws_appautoscaling_target", "service_namespace", "ecs")
		s.all("aws_appautoscaling_target", "scalable_dimension", "ecs:service:DesiredCount")
		const steps = "step_scaling_policy_configuration."
		s.all("aws_appautoscaling_policy", steps+"adjustment_type", "ChangeInCapacity")
		s.all("aws_appautoscaling_policy", steps+"metric_aggregation_type", "Maximum")
		s.each("aws_appautoscaling_policy", func(e element) { s.within(e, steps+"cooldown", 60, 300) })
		s.all("aws_appautoscaling_policy.scale_in", steps+"step_adjustment", []map[string]any{{"metric_interval_upper_bound": "0", "scaling_adjustment": -1}})
		s.each("aws_appautoscaling_policy", func(e element) {
			for i, step := range e.list(steps + "step_adjustment") {
				if change, _ := Get(step, "scaling_adjustment").(float64); (change > 0) != (e.name == "scale_out") {
					s.report(fmt.Sprintf("%s.%sstep_adjustment.%d", e.address(), steps, i), "changes the number of tasks by %v", change)
				}
			}
		})
		s.all("aws_cloudwatch_metric_alarm.scale_in", "evaluation_periods", 10)
		s.all("aws_cloudwatch_metric_alarm.scale_in", "datapoints_to_alarm", 10)
		s.all("aws_cloudwatch_metric_alarm.scale_out", "evaluation_periods", 1)
		var scaling any
		if w := s.env.Worker; w.Scaling.Max > 0 {
			scaling = fmt.Sprintf(`{"min":%d,"max":%d,"slots":%d}`, w.Scaling.Min, w.Scaling.Max, w.ConcurrencyLimit)
		}
		s.all("aws_lambda_function", "environment.variables.SCALING", scaling)
	}},
	{"probe-as-configured", "the alarms know what the probe reports, and it runs with the credential of the Prefect API", func(s *stack) {
		s.all("aws_scheduler_schedule", "schedule_expression", "rate(1 minute)")
		s.all("aws_scheduler_schedule", "state", nil) // enabled
		s.all("aws_scheduler_schedule", "target.arn", ref("aws_lambda_function.probe.arn"))
		s.all("aws_lambda_function", "filename", "probe.zip")
		s.all("aws_lambda_function", "handler", "probe.handler")
		s.each("aws_lambda_function", func(e element) {
			if !slices.Contains(e.list("depends_on"), any("aws_iam_role_policy.probe")) {
				s.report(e.address()+".depends_on", "lacks aws_iam_role_policy.probe")
			}
		})
		s.each("aws_lambda_function", func(e element) { s.within(e, "timeout", 30, 59) })
		queues, _ := json.Marshal(s.env.WorkPool.Queues)
		for name, value := range map[string]any{
			"AUTHENTICATION": s.env.Prefect.Authentication, "WORK_POOL_TYPE": s.env.WorkPool.Type, "QUEUES": literal(string(queues)),
			"CREDENTIAL": optional(s.credential()), "PREFECT_API_URL": "${local.prefect_api_url}", "WORK_POOL": literal(s.env.WorkPool.Name),
			"CLUSTER": s.env.Cluster.Name, "SERVICE": s.env.Worker.ServiceName, "PENDING_MINUTES": strconv.Itoa(s.env.Monitoring.PendingMinutes),
		} {
			s.all("aws_lambda_function", "environment.variables."+name, value)
		}
	}},
}

// topic returns the topic that alarms are sent to.
func (s *stack) topic() string {
	if arn := s.env.Monitoring.TopicARN; arn != "" {
		return arn
	}
	return ref("aws_sns_topic.alarms.arn")
}
