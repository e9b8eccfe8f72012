package network

import (
	"strings"

	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/flowlog"

	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// FlowLogs are the settings of the VPC's flow logs.
type FlowLogs struct {
	// Group and Role are the names of the log group and of the role that writes it.
	Group, Role string
	// RetentionDays is how long the records are kept; 0 keeps them indefinitely.
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
	group := block.NewLogGroup(b.scope, "flow-log-group", block.LogGroupConfig{Address: "flow_logs", Name: b.FlowLogs.Group, RetentionDays: b.FlowLogs.RetentionDays, KMSKeyARN: b.FlowLogs.KMSKeyARN})
	role := block.NewRole(b.scope, "flow-log", block.RoleConfig{
		Address:                "flow_logs",
		Name:                   b.FlowLogs.Role,
		Description:            "Writes the flow logs of the VPC",
		Trust:                  iam.Trust("vpc-flow-logs.amazonaws.com", b.Account, b.Account.Of("ec2", "vpc-flow-log/*")),
		Path:                   b.FlowLogs.RolePath,
		PermissionsBoundaryARN: b.FlowLogs.PermissionsBoundaryARN,
	})
	role.Inline("flow-log-policy", "flow_logs", "write-flow-logs",
		iam.Allow("WriteFlowLogs", []string{"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"}, *tf.ARN(group)+":*"))
	tf.WithAddress(flowlog.NewFlowLog(b.scope, jsii.String("flow-log"), &flowlog.FlowLogConfig{
		VpcId:              tf.ID(b.vpc),
		TrafficType:        jsii.String(strings.ToUpper(string(b.Network.FlowLogs))),
		LogDestination:     tf.ARN(group),
		LogDestinationType: jsii.String("cloud-watch-logs"),
		IamRoleArn:         role.ARN(),
		Tags:               b.name(),
	}), "aws_flow_log.main")
}
