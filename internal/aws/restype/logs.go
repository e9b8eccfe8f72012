package restype

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

// logsTypes are those of CloudWatch Logs.
var logsTypes = []Type{
	{
		Name:     "aws_cloudwatch_log_group",
		ARN:      "logs:log-group:{name}",
		Find:     (*Search).logGroup,
		Loss:     "its log lines go with it",
		Replaces: []string{"name"},
		Options: map[string]string{
			"kms_key_id":        "logs.kms_key_arn",
			"retention_in_days": "logs.retention_days",
		},
		Grants: []Grant{
			{Read: "logs:DescribeLogGroups"},
			{Read: "logs:ListTagsForResource", On: "logs:log-group:{name}"},
			// verify and logs: what the worker says.
			{Read: "logs:FilterLogEvents", On: "logs:log-group:{name}:*"},
			{Write: "logs:CreateLogGroup logs:DeleteLogGroup logs:PutRetentionPolicy logs:DeleteRetentionPolicy logs:AssociateKmsKey logs:DisassociateKmsKey logs:TagResource logs:UntagResource", On: "logs:log-group:{name} logs:log-group:{name}:*"},
		},
	},
	{
		Name:     "aws_cloudwatch_log_metric_filter",
		Find:     (*Search).metricFilter,
		Loss:     Nothing,
		Replaces: []string{"log_group_name", "name"},
		Grants: []Grant{
			{Read: "logs:DescribeMetricFilters", On: "logs:log-group:{log_group_name} logs:log-group:{log_group_name}:*"},
			{Write: "logs:PutMetricFilter logs:DeleteMetricFilter", On: "logs:log-group:{log_group_name} logs:log-group:{log_group_name}:*"},
		},
	},
}

func (f *Search) logGroup(r Resource) (string, error) {
	out, err := cloudwatchlogs.NewFromConfig(f.cfg).DescribeLogGroups(f.Context, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String(r.text("name"))})
	// The groups are in the order of their names: the one with no more than the prefix is first.
	if err != nil || len(out.LogGroups) == 0 || aws.ToString(out.LogGroups[0].LogGroupName) != r.text("name") {
		return "", orNone(err)
	}
	return r.text("name"), nil
}

func (f *Search) metricFilter(r Resource) (string, error) {
	group, err := f.Stack.NameOf(r.arguments["log_group_name"])
	if err != nil {
		return "", err
	}
	out, err := cloudwatchlogs.NewFromConfig(f.cfg).DescribeMetricFilters(f.Context, &cloudwatchlogs.DescribeMetricFiltersInput{LogGroupName: &group, FilterNamePrefix: aws.String(r.text("name"))})
	if err != nil || len(out.MetricFilters) == 0 || aws.ToString(out.MetricFilters[0].FilterName) != r.text("name") {
		return "", orNone(err)
	}
	return group + ":" + r.text("name"), nil
}
