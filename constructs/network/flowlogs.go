package network

import (
	"strings"

	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatchloggroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/flowlog"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrole"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrolepolicy"

	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// FlowLogs are the settings of the VPC's flow logs.
type FlowLogs struct {
	// Group and Role are the names of the log group and of the role that writes it.
	Group, Role string
	// RetentionDays is how long the records are kept; 0 is for ever.
	RetentionDays int
	// KMSKeyARN encrypts the group. Empty: CloudWatch's own encryption.
	KMSKeyARN string
	// RolePath is the role's path, and PermissionsBoundaryARN is put on it. Empty: none.
	RolePath, PermissionsBoundaryARN string
}

// flowLogs records the traffic of the VPC in a log group of its own. The role may write
// to that group and not create it: otherwise a late record would bring the group
// back after destroy, and the next deployment would find it in the way.
func (b *builder) flowLogs() {
	group := tf.Fix(cloudwatchloggroup.NewCloudwatchLogGroup(b.scope, jsii.String("flow-log-group"), &cloudwatchloggroup.CloudwatchLogGroupConfig{
		Name:            &b.FlowLogs.Group,
		RetentionInDays: jsii.Number(b.FlowLogs.RetentionDays),
		KmsKeyId:        tf.Optional(b.FlowLogs.KMSKeyARN),
	}), "aws_cloudwatch_log_group.flow_logs")
	role := tf.Fix(iamrole.NewIamRole(b.scope, jsii.String("flow-log-role"), &iamrole.IamRoleConfig{
		Name:                &b.FlowLogs.Role,
		Description:         jsii.String("Writes the flow logs of the VPC"),
		Path:                tf.Optional(b.FlowLogs.RolePath),
		AssumeRolePolicy:    tf.JSON(iam.Trust("vpc-flow-logs.amazonaws.com", b.Account, b.Account.Of("ec2", "vpc-flow-log/*"))),
		PermissionsBoundary: tf.Optional(b.FlowLogs.PermissionsBoundaryARN),
	}), "aws_iam_role.flow_logs")
	tf.Fix(iamrolepolicy.NewIamRolePolicy(b.scope, jsii.String("flow-log-policy"), &iamrolepolicy.IamRolePolicyConfig{
		Name: jsii.String("write-flow-logs"),
		Role: tf.ID(role),
		Policy: tf.JSON(iam.New(iam.Allow("WriteFlowLogs",
			[]string{"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"},
			*tf.ARN(group)+":*"))),
	}), "aws_iam_role_policy.flow_logs")
	tf.Fix(flowlog.NewFlowLog(b.scope, jsii.String("flow-log"), &flowlog.FlowLogConfig{
		VpcId:              tf.ID(b.vpc),
		TrafficType:        jsii.String(strings.ToUpper(string(b.Network.FlowLogs))),
		LogDestination:     tf.ARN(group),
		LogDestinationType: jsii.String("cloud-watch-logs"),
		IamRoleArn:         tf.ARN(role),
		Tags:               b.name(),
	}), "aws_flow_log.main")
}
