// Package iam builds the two roles of the worker: the one with which ECS starts its
// task, and the one that the code inside the task has; and for an ecs pool those of the
// tasks of its flow runs.
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
	// LogGroupARN is the group that flow tasks write to, and LogStream how the names of
	// their streams in it begin.
	LogGroupARN, LogStream string
	// APIKeyARN is the secret with the API key, which flow tasks get. Empty: none.
	APIKeyARN string
	// Deregister lets the worker deregister task definitions.
	Deregister bool
	// EventQueueARN is the queue with the changes of tasks. Empty: none.
	EventQueueARN string
}

// IAM is what the rest of the stack needs of the roles.
type IAM struct {
	// ExecutionRole is the role with which ECS starts the task.
	ExecutionRole tf.Fixed[iamrole.IamRole]

	// TaskRole is the role of the code inside the task.
	TaskRole tf.Fixed[iamrole.IamRole]

	// FlowExecutionRoleARN is the role with which ECS starts a flow task, and FlowTaskRoleARN
	// that of the code inside. Empty: there is none.
	FlowExecutionRoleARN, FlowTaskRoleARN string

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
	roles := &IAM{ExecutionRole: execution, TaskRole: task, Ready: ready}
	if cfg.FlowTasks != nil {
		cfg.newFlowRoles(scope, roles, trust, boundary)
		roles.Ready = append(roles.Ready, tf.Fix(iamrolepolicy.NewIamRolePolicy(scope, jsii.String("task-policy"), &iamrolepolicy.IamRolePolicyConfig{
			Name:   jsii.String("run-flow-tasks"),
			Role:   tf.ID(task),
			Policy: tf.JSON(cfg.workerPolicy(roles)),
		}), "aws_iam_role_policy.task").Element)
	}
	return roles
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
		statements = append(statements, policy.DecryptSecrets(cfg.Account, cfg.SecretKMSKeyARN))
	}
	return policy.New(statements...)
}
