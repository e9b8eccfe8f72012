package iam

import (
	"fmt"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrole"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrolepolicy"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrolepolicyattachment"

	"prefect-worker-ecs/internal/policy"
	"prefect-worker-ecs/internal/tf"
)

// newFlowRoles builds the roles of flow tasks. They are others than the worker's: whoever may
// set the variables of a flow run could have the code of his flow run as any role that the
// worker may pass, and the worker's execution role reads all of its secrets.
func (cfg Config) newFlowRoles(scope constructs.Construct, roles *IAM, trust, boundary *string) {
	execution := tf.Fix(iamrole.NewIamRole(scope, jsii.String("flow-execution-role"), &iamrole.IamRoleConfig{
		Name:                &cfg.IAM.FlowExecutionRoleName,
		Description:         jsii.String("Starts the tasks of Prefect flow runs: pulls the image, writes the log"),
		AssumeRolePolicy:    trust,
		PermissionsBoundary: boundary,
	}), "aws_iam_role.flow_execution")
	roles.FlowExecutionRoleARN = *tf.ARN(execution)
	roles.Ready = append(roles.Ready, tf.Fix(iamrolepolicy.NewIamRolePolicy(scope, jsii.String("flow-execution-policy"), &iamrolepolicy.IamRolePolicyConfig{
		Name:   jsii.String("start-flow-tasks"),
		Role:   tf.ID(execution),
		Policy: tf.JSON(cfg.flowExecutionPolicy()),
	}), "aws_iam_role_policy.flow_execution").Element)

	own := cfg.IAM.FlowTaskRole
	if !own.Wanted() {
		return
	}
	task := tf.Fix(iamrole.NewIamRole(scope, jsii.String("flow-task-role"), &iamrole.IamRoleConfig{
		Name:                &own.Name,
		Description:         jsii.String("What the flows of an ecs pool may do in AWS"),
		AssumeRolePolicy:    trust,
		PermissionsBoundary: boundary,
	}), "aws_iam_role.flow_task")
	roles.FlowTaskRoleARN = *tf.ARN(task)
	for i, policyARN := range own.PolicyARNs {
		roles.Ready = append(roles.Ready, tf.Fix(iamrolepolicyattachment.NewIamRolePolicyAttachment(scope, jsii.String(fmt.Sprintf("flow-task-managed-policy-%d", i+1)), &iamrolepolicyattachment.IamRolePolicyAttachmentConfig{
			Role:      tf.Name(task),
			PolicyArn: jsii.String(policyARN),
		}), fmt.Sprintf("aws_iam_role_policy_attachment.flow_task_%d", i+1)).Element)
	}
	if own.Policy != "" {
		roles.Ready = append(roles.Ready, tf.Fix(iamrolepolicy.NewIamRolePolicy(scope, jsii.String("flow-task-policy"), &iamrolepolicy.IamRolePolicyConfig{
			Name:   jsii.String("flows"),
			Role:   tf.ID(task),
			Policy: jsii.String(tf.Literal(own.Policy)),
		}), "aws_iam_role_policy.flow_task").Element)
	}
}

// flowExecutionPolicy is what ECS does before and while a flow task runs. AWS's own policy for
// it would let the role write to every log group.
func (cfg Config) flowExecutionPolicy() policy.Document {
	flow := cfg.FlowTasks
	statements := []policy.Statement{
		policy.Allow("LogInToRegistry", []string{"ecr:GetAuthorizationToken"}, "*"), // it knows no resource
		policy.Allow("PullImages", []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
			cfg.Account.Of("ecr", "repository/*")),
		policy.Allow("WriteFlowLogs", []string{"logs:CreateLogStream", "logs:PutLogEvents"}, flow.streams()),
	}
	if flow.APIKeyARN != "" {
		statements = append(statements, policy.Allow("ReadAPIKey", []string{"secretsmanager:GetSecretValue"}, flow.APIKeyARN))
		if cfg.SecretKMSKeyARN != "" {
			statements = append(statements, policy.DecryptSecrets(cfg.Account, cfg.SecretKMSKeyARN))
		}
	}
	return policy.New(statements...)
}

// streams are the log streams of flow tasks.
func (f FlowTasks) streams() string { return f.LogGroupARN + ":log-stream:" + f.LogStream + "*" }

// workerPolicy is what the ecs worker of prefect-aws calls, each action as narrow as
// AWS lets it be (the Service Authorization Reference says which ones know a resource, and
// which condition keys). A key that a call may lack stands in a condition that then holds.
func (cfg Config) workerPolicy(roles *IAM) policy.Document {
	account, flow := cfg.Account, cfg.FlowTasks
	cluster := account.Of("ecs", "cluster/"+flow.ClusterName)
	tasks := account.Of("ecs", "task/"+flow.ClusterName+"/*")
	var families []string
	for _, family := range cfg.IAM.FlowTaskFamilies {
		families = append(families, account.Of("ecs", "task-definition/"+family+"*:*"))
	}
	passed := []string{roles.FlowExecutionRoleARN}
	if roles.FlowTaskRoleARN != "" {
		passed = append(passed, roles.FlowTaskRoleARN)
	}
	statements := []policy.Statement{
		// These three know no resource.
		policy.Allow("Describe", []string{"ec2:DescribeSubnets", "ec2:DescribeVpcs", "ecs:DescribeTaskDefinition"}, "*"),
		policy.Allow("RegisterFlows", []string{"ecs:RegisterTaskDefinition"}, families...).
			If("StringEqualsIfExists", "ecs:privileged", "false"),
		policy.Allow("RunFlows", []string{"ecs:RunTask"}, families...).If("ArnEquals", "ecs:cluster", cluster).
			If("StringEqualsIfExists", "ecs:enable-execute-command", "false"),
		policy.Allow("WatchFlows", []string{"ecs:DescribeTasks"}, tasks).If("ArnEquals", "ecs:cluster", cluster),
		// prefect-aws tags the tasks of flow runs: the worker's own task is none of them.
		policy.Allow("StopFlows", []string{"ecs:StopTask"}, tasks).If("ArnEquals", "ecs:cluster", cluster).
			If("StringLike", "aws:ResourceTag/prefect.io/flow-run-id", "*"),
		policy.Allow("TagFlows", []string{"ecs:TagResource"}, tasks).
			If("StringEquals", "ecs:CreateAction", "RunTask"),
		policy.Allow("PassRoles", []string{"iam:PassRole"}, append(passed, cfg.IAM.FlowRoleARNs...)...).
			If("StringEquals", "iam:PassedToService", tasksService),
		policy.Allow("ReadFlowLogs", []string{"logs:GetLogEvents"}, flow.streams()),
	}
	if flow.Deregister {
		statements = append(statements, policy.Allow("DeregisterFlows", []string{"ecs:DeregisterTaskDefinition"}, "*")) // it knows no resource
	}
	if flow.EventQueueARN != "" {
		statements = append(statements, policy.Allow("ReceiveTaskEvents", []string{
			"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage",
		}, flow.EventQueueARN))
	}
	return policy.New(statements...)
}
