package monitoring

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatchmetricalarm"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/prefect/probe"
)

// metric is one of CloudWatch's.
type metric struct {
	namespace, name string
	dimensions      map[string]*string
	// stat is the statistic over a period.
	stat string
}

// alarm is one condition with a notification.
type alarm struct {
	// name ends the alarm's name, and with underscores it is its address.
	name string
	// description says what it means and the first thing to do.
	description string
	// metrics is one metric, or those of the expression by their names in it.
	metrics    map[string]metric
	expression string
	operator   string
	threshold  float64
	// period is in seconds. The condition must hold in datapointsToAlarm of the last
	// evaluationPeriods.
	period, datapointsToAlarm, evaluationPeriods int
	// treatMissingData is what a period without data counts as.
	treatMissingData string
}

// How the alarm treats a period without data.
const (
	// breaching: silence is the alarm.
	breaching = "breaching"
	// ignore keeps the state: the alarm on the probe itself says that the metrics are missing.
	ignore = "ignore"
	// notBreaching: without data there is nothing to worry about, as of a service without tasks.
	notBreaching = "notBreaching"
)

const (
	atLeast = "GreaterThanOrEqualToThreshold"
	below   = "LessThanThreshold"
)

// probeMetric returns a metric of the probe.
func (cfg Config) probeMetric(name string) metric {
	return metric{probe.Namespace, name, map[string]*string{probe.Dimension: &cfg.Environment.Worker.ServiceName}, "Maximum"}
}

func one(m metric) map[string]metric { return map[string]metric{"": m} }

// logFailures counts the log lines that show a known failure.
const logFailures = "LogFailures"

// alarms returns all alarms of the environment.
func (cfg Config) alarms() []alarm {
	env := cfg.Environment
	service := func(name, stat string) map[string]metric {
		return one(metric{"AWS/ECS", name, map[string]*string{"ClusterName": &env.Cluster.Name, "ServiceName": &env.Worker.ServiceName}, stat})
	}
	verify := "First: workerctl verify " + env.Name
	runs := "First: workerctl runs " + env.Name
	all := []alarm{{
		name: "silent-worker", description: "Fewer workers send heartbeats to Prefect than ECS is to run, for 5 minutes: a worker is dead, frozen or cut off, even if its task runs. " + verify + ".",
		metrics: map[string]metric{"online": cfg.probeMetric("WorkersOnline"), "desired": cfg.probeMetric("TasksDesired")},
		// Right for a paused service, and where Prefect does not answer.
		expression: "FILL(online, 0) - desired",
		operator:   below, threshold: 0, period: 60, datapointsToAlarm: 5, evaluationPeriods: 5, treatMissingData: breaching,
	}, {
		name: "late-runs", description: fmt.Sprintf("A flow run is due for more than %d minutes, nothing in Prefect holds it back, and no worker has taken it: none is online, or all their slots are taken. %s.", env.Monitoring.LateMinutes, runs),
		metrics: map[string]metric{"oldest": cfg.probeMetric("OldestDueSeconds"), "desired": cfg.probeMetric("TasksDesired")},
		// Of a service that is paused on purpose they are late on purpose.
		expression: "IF(desired > 0, oldest, 0)",
		operator:   atLeast, threshold: float64(60 * env.Monitoring.LateMinutes), period: 60, datapointsToAlarm: 2, evaluationPeriods: 2, treatMissingData: ignore,
	}, {
		name: "orphaned-runs", description: fmt.Sprintf("A flow run is Pending for more than %d minutes: the worker that took it is gone, or its task does not start. Prefect never takes such a run back. %s; workerctl runs retry puts one back.", env.Monitoring.PendingMinutes, runs),
		metrics:  one(cfg.probeMetric("FlowRunsOrphaned")),
		operator: atLeast, threshold: 1, period: 60, datapointsToAlarm: 3, evaluationPeriods: 3, treatMissingData: ignore,
	}, {
		name: "lost-runs", description: "Prefect shows a flow run as Running, and what ran it is gone: the run never ends by itself. " + runs + "; workerctl runs retry puts one back.",
		metrics: one(cfg.probeMetric("FlowRunsLost")),
		// A run that is retried at once needs no notification.
		operator: atLeast, threshold: 1, period: 60, datapointsToAlarm: 5, evaluationPeriods: 5, treatMissingData: ignore,
	}, {
		name: "probe", description: "The probe does not run, or one of its queries fails, for 5 minutes: the Prefect API does not answer or refuses the key, and other alarms may be blind. First: look at the log group " + env.ProbeLogGroup() + ", each line of which names what failed.",
		metrics:  one(cfg.probeMetric("ProbeErrors")),
		operator: atLeast, threshold: 1, period: 60, datapointsToAlarm: 5, evaluationPeriods: 5, treatMissingData: breaching,
	}, {
		name: "missing-tasks", description: "ECS runs fewer tasks than it is to, for 10 minutes: tasks stop, or cannot be placed. " + verify + ", which shows why tasks stopped.",
		metrics:    map[string]metric{"running": cfg.probeMetric("TasksRunning"), "desired": cfg.probeMetric("TasksDesired")},
		expression: "running - desired",
		operator:   below, threshold: 0, period: 60, datapointsToAlarm: 10, evaluationPeriods: 10, treatMissingData: ignore,
	}, {
		name: "memory", description: "A worker task uses 90 % of its memory; at 100 % a flow run, or the worker itself, is killed. First: raise worker.memory or lower worker.concurrency_limit, and deploy.",
		metrics:  service("MemoryUtilization", "Maximum"),
		operator: atLeast, threshold: 90, period: 60, datapointsToAlarm: 5, evaluationPeriods: 5, treatMissingData: notBreaching,
	}, {
		name: "log-failures", description: "The worker ends again and again, or its log keeps naming why it cannot work. " + verify + ", which explains the line.",
		metrics: one(metric{probe.Namespace, logFailures + "/" + env.Worker.ServiceName, nil, "Sum"}),
		// A worker that ends once is replaced. One that cannot start ends again and again, and ECS waits longer
		// before each further task.
		operator: atLeast, threshold: 1, period: 300, datapointsToAlarm: 2, evaluationPeriods: 6, treatMissingData: notBreaching,
	}}
	if w := env.Worker; w.Scales() {
		all = append(all, alarm{
			name: "too-few-tasks", description: "Flow runs need more worker tasks than ECS is to run, for 15 minutes, and nothing starts them: scaling is suspended, or its policy or alarm is gone. " + verify + ".",
			metrics:  one(cfg.probeMetric(probe.TasksMissing)),
			operator: atLeast, threshold: 1, period: 60, datapointsToAlarm: 15, evaluationPeriods: 15, treatMissingData: ignore,
		}, alarm{
			name: "most-tasks", description: fmt.Sprintf("Flow runs need more than %d worker tasks, the most of worker.scaling.max, for 30 minutes: they wait. First: raise it and deploy, or see which runs they are: workerctl runs %s.", w.Scaling.Max, env.Name),
			metrics:  one(cfg.probeMetric("TasksNeeded")),
			operator: atLeast, threshold: float64(w.Scaling.Max + 1), period: 60, datapointsToAlarm: 30, evaluationPeriods: 30, treatMissingData: ignore,
		})
	}
	if queue := env.EventQueue(); queue != "" {
		letters := config.DeadLetterQueue(queue)
		all = append(all, alarm{
			name: "dead-letters", description: "Events of flow tasks could not be handled and lie in the queue " + letters + ": the worker may not learn that a flow run's task has ended. " + verify + ", then look at the messages: aws sqs receive-message.",
			metrics:  one(metric{"AWS/SQS", "ApproximateNumberOfMessagesVisible", map[string]*string{"QueueName": &letters}, "Maximum"}),
			operator: atLeast, threshold: 1, period: 300, datapointsToAlarm: 1, evaluationPeriods: 1, treatMissingData: notBreaching,
		})
	}
	if s := env.Server; s.Enabled && s.OwnDatabase() {
		database := func(name, stat string) map[string]metric {
			return one(metric{"AWS/RDS", name, map[string]*string{"DBInstanceIdentifier": &s.Name}, stat})
		}
		all = append(all, alarm{
			name: "database-storage", description: fmt.Sprintf("The database has less than 5 %% of its %d GiB free: RDS enlarges it at 10 %%, up to five times, and has not. A full database stops the Prefect server. First: aws rds describe-events --source-type db-instance --source-identifier %s; raise server.database.storage and deploy.", s.Database.StorageGiB, s.Name),
			metrics:  database("FreeStorageSpace", "Minimum"),
			operator: below, threshold: float64(s.Database.StorageGiB) * (1 << 30) / 20, period: 300, datapointsToAlarm: 3, evaluationPeriods: 3, treatMissingData: breaching,
		}, alarm{
			// Prefect's server has a pool of 5 connections and 10 more (SQLAlchemy's defaults), the
			// smallest class of RDS takes about 80.
			name: "database-connections", description: "More than 60 connections are open to the database, of which the Prefect server needs up to 20: something else uses them up. First: look who, SELECT * FROM pg_stat_activity.",
			metrics:  database("DatabaseConnections", "Maximum"),
			operator: atLeast, threshold: 60, period: 300, datapointsToAlarm: 3, evaluationPeriods: 3, treatMissingData: breaching,
		})
	}
	return all
}

// newAlarm builds an alarm, and returns a reference to its ARN.
func (cfg Config) newAlarm(scope constructs.Construct, a alarm, topic *string) string {
	c := &cloudwatchmetricalarm.CloudwatchMetricAlarmConfig{
		AlarmName:          jsii.String(cfg.Environment.Worker.ServiceName + "-" + a.name),
		AlarmDescription:   &a.description,
		ComparisonOperator: &a.operator,
		Threshold:          &a.threshold,
		EvaluationPeriods:  jsii.Number(a.evaluationPeriods),
		DatapointsToAlarm:  jsii.Number(a.datapointsToAlarm),
		TreatMissingData:   &a.treatMissingData,
		AlarmActions:       &[]*string{topic},
		OkActions:          &[]*string{topic},
	}
	if m, single := a.metrics[""]; single {
		c.Namespace, c.MetricName, c.Statistic, c.Period = &m.namespace, &m.name, &m.stat, jsii.Number(a.period)
		if m.dimensions != nil {
			c.Dimensions = &m.dimensions
		}
	} else {
		c.MetricQuery = a.queries()
	}
	return *tf.ARN(tf.WithAddress(cloudwatchmetricalarm.NewCloudwatchMetricAlarm(scope, jsii.String("alarm-"+a.name), c), "aws_cloudwatch_metric_alarm."+strings.ReplaceAll(a.name, "-", "_")))
}

// queries returns the expression of the alarm and its metrics.
func (a alarm) queries() []*cloudwatchmetricalarm.CloudwatchMetricAlarmMetricQuery {
	queries := []*cloudwatchmetricalarm.CloudwatchMetricAlarmMetricQuery{{
		Id: jsii.String("result"), Expression: &a.expression, Label: &a.name, ReturnData: jsii.Bool(true),
	}}
	for _, id := range slices.Sorted(maps.Keys(a.metrics)) {
		m := a.metrics[id]
		queries = append(queries, &cloudwatchmetricalarm.CloudwatchMetricAlarmMetricQuery{
			Id: &id, Metric: &cloudwatchmetricalarm.CloudwatchMetricAlarmMetricQueryMetric{
				Namespace: &m.namespace, MetricName: &m.name, Dimensions: &m.dimensions, Stat: &m.stat, Period: jsii.Number(a.period),
			},
		})
	}
	return queries
}
