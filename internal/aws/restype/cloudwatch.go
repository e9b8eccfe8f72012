package restype

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
)

// cloudwatchTypes are those of CloudWatch.
var cloudwatchTypes = []Type{
	{
		Name: "aws_cloudwatch_metric_alarm",
		Find: func(f *Search, r Resource) (string, error) {
			out, err := cloudwatch.NewFromConfig(f.cfg).DescribeAlarms(f.Context, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{r.text("alarm_name")}})
			if err == nil && len(out.MetricAlarms) == 0 {
				err = errNone
			}
			return r.text("alarm_name"), err
		},
		Loss:     Nothing,
		Replaces: []string{"alarm_name"},
		Grants: []Grant{
			{Read: "cloudwatch:DescribeAlarms cloudwatch:ListTagsForResource", On: "cloudwatch:alarm:{alarm_name}"},
			// verify: whether it can be published to.
			{Read: "sns:GetTopicAttributes", On: "{existing_topic}"},
			// status and verify: the probe's metrics.
			{Read: "cloudwatch:GetMetricData"},
			{Write: "cloudwatch:PutMetricAlarm cloudwatch:DeleteAlarms cloudwatch:TagResource cloudwatch:UntagResource", On: "cloudwatch:alarm:{alarm_name}"},
		},
	},
	{
		Name: "aws_cloudwatch_dashboard",
		Find: func(f *Search, r Resource) (string, error) {
			_, err := cloudwatch.NewFromConfig(f.cfg).GetDashboard(f.Context, &cloudwatch.GetDashboardInput{DashboardName: aws.String(r.text("dashboard_name"))})
			return r.text("dashboard_name"), err
		},
		Loss:     Nothing,
		Replaces: []string{"dashboard_name"},
		Grants: []Grant{
			{Read: "cloudwatch:GetDashboard", On: "cloudwatch:dashboard/{dashboard_name}"},
			{Write: "cloudwatch:PutDashboard cloudwatch:DeleteDashboards", On: "cloudwatch:dashboard/{dashboard_name}"},
		},
	},
}
