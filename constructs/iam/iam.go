// Package iam builds the two roles of the worker: the one with which ECS starts its
// task, and the one that the code inside the task has.
package iam

import (
	"fmt"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrole"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrolepolicy"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrolepolicyattachment"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/arn"
	"prefect-worker-ecs/internal/policy"
	"prefect-worker-ecs/internal/tf"
)

// tasksService is who assumes both roles.
const tasksService = "ecs-tasks.amazonaws.com"

// Config says which roles New builds.
type Config struct {
	IAM config.IAM

	// Account is where the worker runs.
	Account arn.Account

	// SecretARNs are the secrets, and parameters of the Parameter Store, that ECS hands to
	// the container. None: the execution role may read none.
	SecretARNs []string

	// SecretKMSKeyARN is the customer key of the API key's secret. Empty: none.
	SecretKMSKeyARN string

	// FlowTasks are the permissions for the flow runs of an ecs pool. Nil for a process
	// pool, whose worker calls nothing in AWS.
	FlowTasks *FlowTasks
}

// FlowTasks limits what the worker of an ecs pool may start.
type FlowTasks struct {
	// ClusterName is the cluster in which flow runs are started.
	ClusterName string
	// LogGroupARN is the group from which the worker reads what a flow run wrote.
	LogGroupARN string
	// EventQueueARN is the queue with the changes of tasks. Empty: none.
	EventQueueARN string
}

// IAM is what the rest of the stack needs of the roles.
type IAM struct {
	// ExecutionRole is the role with which ECS starts the task.
	ExecutionRole tf.Fixed[iamrole.IamRole]

	// TaskRole is the role of the code inside the task.
	TaskRole tf.Fixed[iamrole.IamRole]

	// Ready are the policies that must be in place before a task starts, and that may go
	// only after it has stopped.
	Ready []cdktf.ITerraformDependable
}

// New builds the roles and their policies.
func New(scope constructs.Construct, id string, cfg Config) *IAM {
	scope = constructs.NewConstruct(scope, &id)
	trust := tf.JSON(policy.Trust(tasksService, cfg.Account, cfg.Account.Of("ecs", "*")))
	boundary := tf.Optional(cfg.IAM.PermissionsBoundaryARN)

	execution := tf.Fix(iamrole.NewIamRole(scope, jsii.String("execution-role"), &iamrole.IamRoleConfig{
		Name:                &cfg.IAM.ExecutionRoleName,
		Description:         jsii.String("Starts the Prefect worker: pulls the image, reads the API key, writes the log"),
		AssumeRolePolicy:    trust,
		PermissionsBoundary: boundary,
	}), "aws_iam_role.execution")
	ready := []cdktf.ITerraformDependable{tf.Fix(iamrolepolicyattachment.NewIamRolePolicyAttachment(scope, jsii.String("execution-managed-policy"), &iamrolepolicyattachment.IamRolePolicyAttachmentConfig{
		Role:      tf.Name(execution),
		PolicyArn: jsii.String(cfg.Account.AWSPolicy("service-role/AmazonECSTaskExecutionRolePolicy")),
	}), "aws_iam_role_policy_attachment.execution").Element}
	if len(cfg.SecretARNs) > 0 {
		ready = append(ready, tf.Fix(iamrolepolicy.NewIamRolePolicy(scope, jsii.String("execution-policy"), &iamrolepolicy.IamRolePolicyConfig{
			Name:   jsii.String("read-prefect-api-key"),
			Role:   tf.ID(execution),
			Policy: tf.JSON(cfg.executionPolicy()),
		}), "aws_iam_role_policy.execution").Element)
	}

	task := tf.Fix(iamrole.NewIamRole(scope, jsii.String("task-role"), &iamrole.IamRoleConfig{
		Name:                &cfg.IAM.TaskRoleName,
		Description:         jsii.String("What the Prefect worker, and the flows of a process pool, may do in AWS"),
		AssumeRolePolicy:    trust,
		PermissionsBoundary: boundary,
	}), "aws_iam_role.task")
	for i, policyARN := range cfg.IAM.TaskPolicyARNs {
		ready = append(ready, tf.Fix(iamrolepolicyattachment.NewIamRolePolicyAttachment(scope, jsii.String(fmt.Sprintf("task-managed-policy-%d", i+1)), &iamrolepolicyattachment.IamRolePolicyAttachmentConfig{
			Role:      tf.Name(task),
			PolicyArn: jsii.String(policyARN),
		}), fmt.Sprintf("aws_iam_role_policy_attachment.task_%d", i+1)).Element)
	}
	if cfg.FlowTasks != nil {
		ready = append(ready, tf.Fix(iamrolepolicy.NewIamRolePolicy(scope, jsii.String("task-policy"), &iamrolepolicy.IamRolePolicyConfig{
			Name:   jsii.String("run-flow-tasks"),
			Role:   tf.ID(task),
			Policy: tf.JSON(cfg.flowTaskPolicy(*tf.ARN(execution))),
		}), "aws_iam_role_policy.task").Element)
	}
	return &IAM{ExecutionRole: execution, TaskRole: task, Ready: ready}
}

func (cfg Config) executionPolicy() policy.Document {
	var secrets, parameters []string
	for _, arn := range cfg.SecretARNs {
		if config.IsParameter(arn) {
			parameters = append(parameters, arn)
		} else {
			secrets = append(secrets, arn)
		}
	}
	var statements []policy.Statement
	if len(secrets) > 0 {
		statements = append(statements, policy.Allow("ReadSecrets", []string{"secretsmanager:GetSecretValue"}, secrets...))
	}
	if len(parameters) > 0 {
		statements = append(statements, policy.Allow("ReadParameters", []string{"ssm:GetParameters"}, parameters...))
	}
	if cfg.SecretKMSKeyARN != "" {
		statements = append(statements,
			policy.Allow("DecryptSecrets", []string{"kms:Decrypt"}, cfg.SecretKMSKeyARN).
				If("StringEquals", "kms:ViaService", fmt.Sprintf("secretsmanager.%s.amazonaws.com", cfg.Account.Region)))
	}
	return policy.New(statements...)
}

// flowTaskPolicy is what the ecs worker of prefect-aws calls, each action as narrow as
// AWS lets it be (the Service Authorization Reference says which ones know a resource).
func (cfg Config) flowTaskPolicy(executionRoleARN string) policy.Document {
	account, flow := cfg.Account, cfg.FlowTasks
	cluster := account.Of("ecs", "cluster/"+flow.ClusterName)
	tasks := account.Of("ecs", "task/"+flow.ClusterName+"/*")
	var families []string
	for _, family := range cfg.IAM.FlowTaskFamilies {
		families = append(families, account.Of("ecs", "task-definition/"+family+"*:*"))
	}
	statements := []policy.Statement{
		// These four know no resource.
		policy.Allow("Describe", []string{
			"ec2:DescribeSubnets", "ec2:DescribeVpcs",
			"ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition",
		}, "*"),
		policy.Allow("RegisterFlows", []string{"ecs:RegisterTaskDefinition"}, families...),
		policy.Allow("RunFlows", []string{"ecs:RunTask"}, families...).If("ArnEquals", "ecs:cluster", cluster),
		policy.Allow("WatchFlows", []string{"ecs:DescribeTasks", "ecs:StopTask"}, tasks).If("ArnEquals", "ecs:cluster", cluster),
		policy.Allow("TagFlows", []string{"ecs:TagResource"}, tasks).
			If("StringEquals", "ecs:CreateAction", "RunTask"),
		policy.Allow("TagFlowDefinitions", []string{"ecs:TagResource"}, families...).
			If("StringEquals", "ecs:CreateAction", "RegisterTaskDefinition"),
		policy.Allow("PassRoles", []string{"iam:PassRole"}, append([]string{executionRoleARN}, cfg.IAM.FlowRoleARNs...)...).
			If("StringEquals", "iam:PassedToService", tasksService),
		policy.Allow("ReadFlowLogs", []string{"logs:GetLogEvents"}, flow.LogGroupARN+":*"),
	}
	if flow.EventQueueARN != "" {
		statements = append(statements, policy.Allow("ReceiveTaskEvents", []string{
			"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage",
		}, flow.EventQueueARN))
	}
	return policy.New(statements...)
}
