package monitoring

import (
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatchdashboard"

	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/prefect/probe"
)

// widget is one of a dashboard ("Dashboard body structure and syntax" in the CloudWatch API
// reference).
type widget struct {
	Type       string         `json:"type"`
	Width      int            `json:"width"`
	Height     int            `json:"height"`
	Properties map[string]any `json:"properties"`
}

// newDashboard shows the alarms, the probe's metrics, the service and the last failures in the
// log on one page.
func (cfg Config) newDashboard(scope constructs.Construct, alarms []string) {
	env, region := cfg.Environment, cfg.Account.Region
	service := env.Worker.ServiceName
	graph := func(title, stat string, metrics ...[]string) widget {
		return widget{"metric", 8, 6, map[string]any{
			"title": title, "region": region, "stat": stat, "period": 60, "view": "timeSeries", "metrics": metrics,
		}}
	}
	probeMetrics := func(title string, names ...string) widget {
		var metrics [][]string
		for _, name := range names {
			metrics = append(metrics, []string{probe.Namespace, name, probe.Dimension, service})
		}
		return graph(title, "Maximum", metrics...)
	}
	ofService := func(name string) []string {
		return []string{"AWS/ECS", name, "ClusterName", env.Cluster.Name, "ServiceName", service}
	}
	workers, waiting := []string{"WorkersOnline", "TasksRunning", "TasksDesired"}, []string{"FlowRunsDue", "FlowRunsLate", "PoolPaused"}
	if env.Worker.Scales() {
		workers, waiting = append(workers, "TasksNeeded", probe.TasksMissing), append(waiting, "FlowRunsDemand")
	}
	tf.WithAddress(cloudwatchdashboard.NewCloudwatchDashboard(scope, jsii.String("dashboard"), &cloudwatchdashboard.CloudwatchDashboardConfig{
		DashboardName: &service,
		DashboardBody: tf.JSON(map[string]any{"widgets": []widget{
			{"alarm", 24, 3, map[string]any{"title": "Alarms", "alarms": alarms}},
			probeMetrics("Workers", workers...),
			probeMetrics("Flow runs underway", "FlowRunsRunning", "FlowRunsPending", "FlowRunsOrphaned", "FlowRunsLost"),
			probeMetrics("Flow runs waiting", waiting...),
			probeMetrics("Oldest flow run that is due, in seconds", "OldestDueSeconds"),
			graph("CPU and memory, in percent", "Maximum", ofService("CPUUtilization"), ofService("MemoryUtilization")),
			probeMetrics("Failed calls of the probe", "ProbeErrors"),
			{"log", 24, 6, map[string]any{
				"title": "Last errors in the log", "region": region, "view": "table",
				"query": "SOURCE '" + cfg.LogGroup + "' | fields @timestamp, @logStream, @message | filter @message like /ERROR|CRITICAL|Traceback|An exception occurred/ | sort @timestamp desc | limit 50",
			}},
		}}),
	}), "aws_cloudwatch_dashboard.worker")
}
