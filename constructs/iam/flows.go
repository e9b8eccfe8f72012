package iam

import (
	"fmt"

	"prefect-worker-ecs/internal/aws/iam"
)

// flowRoles builds the roles of flow tasks. They are not the worker's: a user who may
// set the variables of a flow run can run code in any role that the worker may pass, and the worker's execution
// role reads all of its secrets.
func (b *builder) flowRoles(roles *IAM) {
	exist, own := b.IAM.Existing, b.IAM.FlowTaskRole
	roles.FlowExecution = b.role("flow-execution", exist.FlowExecutionRole, b.IAM.FlowExecutionRoleName, "Starts the tasks of Prefect flow runs: pulls the image, writes the log")
	b.inline(roles.FlowExecution, "flow-execution-policy", "flow_execution", "start-flow-tasks", b.startFlows()...)
	if exist.FlowTaskRole == "" && !own.Enabled() {
		return
	}
	roles.FlowTask = b.role("flow-task", exist.FlowTaskRole, own.Name, "What the flows of an ecs pool may do in AWS")
	for i, policyARN := range own.PolicyARNs {
		b.attach(roles.FlowTask, fmt.Sprintf("flow-task-managed-policy-%d", i+1), fmt.Sprintf("flow_task_%d", i+1), policyARN)
	}
	b.inline(roles.FlowTask, "flow-task-policy", "flow_task", "flows", statements(own.Statements)...)
}

// startFlows returns the statements for what ECS does before and while a flow task runs.
func (b *builder) startFlows() []iam.Statement {
	flow := b.FlowTasks
	return append(b.startTasks("WriteFlowLogs", b.flowStreams()), b.readSecrets(flow.SecretARNs, flow.SecretKMSKeyARN, flow.KMSKeyARNs)...)
}

// flowStreams returns the log streams of flow tasks.
func (b *builder) flowStreams() string {
	return b.LogGroupARN + ":log-stream:" + b.FlowTasks.LogStream + "*"
}

// runFlows returns the statements for what the ecs worker of prefect-aws calls, each action as narrow as
// AWS lets it be (the Service Authorization Reference says which ones support resource-level permissions, and
// which condition keys). A key that a call may lack stands in a condition that then holds.
func (b *builder) runFlows(roles *IAM) []iam.Statement {
	account, flow := b.Account, b.FlowTasks
	cluster := account.Of("ecs", "cluster/"+flow.ClusterName)
	tasks := account.Of("ecs", "task/"+flow.ClusterName+"/*")
	var families []string
	for _, family := range b.IAM.FlowTaskFamilies {
		families = append(families, account.Of("ecs", "task-definition/"+family+"*:*"))
	}
	passed := []string{roles.FlowExecution.ARN}
	if roles.FlowTask != nil {
		passed = append(passed, roles.FlowTask.ARN)
	}
	statements := []iam.Statement{
		// These three do not support resource-level permissions.
		iam.Allow("Describe", []string{"ec2:DescribeSubnets", "ec2:DescribeVpcs", "ecs:DescribeTaskDefinition"}, "*"),
		iam.Allow("RegisterFlows", []string{"ecs:RegisterTaskDefinition"}, families...).
			If("StringEqualsIfExists", "ecs:privileged", "false"),
		iam.Allow("RunFlows", []string{"ecs:RunTask"}, families...).If("ArnEquals", "ecs:cluster", cluster).
			If("StringEqualsIfExists", "ecs:enable-execute-command", "false"),
		iam.Allow("WatchFlows", []string{"ecs:DescribeTasks"}, tasks).If("ArnEquals", "ecs:cluster", cluster),
		// prefect-aws tags the tasks of flow runs: the worker's own task is none of them.
		iam.Allow("StopFlows", []string{"ecs:StopTask"}, tasks).If("ArnEquals", "ecs:cluster", cluster).
			If("StringLike", "aws:ResourceTag/prefect.io/flow-run-id", "*"),
		iam.Allow("TagFlows", []string{"ecs:TagResource"}, tasks).
			If("StringEquals", "ecs:CreateAction", "RunTask"),
		iam.Allow("PassRoles", []string{"iam:PassRole"}, append(passed, b.IAM.FlowRoleARNs...)...).
			If("StringEquals", "iam:PassedToService", tasksService),
		iam.Allow("ReadFlowLogs", []string{"logs:GetLogEvents"}, b.flowStreams()),
	}
	if flow.Deregister {
		statements = append(statements, iam.Allow("DeregisterFlows", []string{"ecs:DeregisterTaskDefinition"}, "*")) // it does not support resource-level permissions
	}
	if flow.EventQueueARN != "" {
		statements = append(statements, iam.Allow("ReceiveTaskEvents", []string{
			"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage",
		}, flow.EventQueueARN))
	}
	return statements
}
