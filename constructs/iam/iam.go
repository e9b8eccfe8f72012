// Package iam builds the two roles of the worker: the one with which ECS starts its
// task, and the one that the code inside the task has; and for an ecs pool those of the
// tasks of its flow runs. Roles that exist are taken as they are.
package iam

import (
	"fmt"
	"strings"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// tasksService is who assumes both roles.
const tasksService = "ecs-tasks.amazonaws.com"

// Config says which roles New builds.
type Config struct {
	IAM config.IAM

	// Account is where the worker runs.
	Account iam.Account

	// LogGroupARN is the log group of the worker and of flow tasks.
	LogGroupARN string

	// SecretARNs are the secrets, and parameters of the Parameter Store, that ECS hands to
	// the container. None: the execution role may read none.
	SecretARNs []string

	// SecretKMSKeyARN is the customer key of the API key's secret. Empty: none.
	SecretKMSKeyARN string

	// KMSKeyARNs are the customer keys of the other secrets and parameters.
	KMSKeyARNs []string

	// ExecuteCommand lets people into the worker's container.
	ExecuteCommand bool

	// ProtectTasksIn is the name of the cluster whose tasks the worker may protect from scale-in and
	// deployments. Empty: none.
	ProtectTasksIn string

	// FlowTasks are the permissions for the flow runs of an ecs pool. Nil for a process
	// pool, whose worker calls nothing in AWS.
	FlowTasks *FlowTasks
}

// FlowTasks limits what the worker of an ecs pool may start.
type FlowTasks struct {
	// ClusterName is the cluster in which flow runs are started.
	ClusterName string
	// LogStream is how the names of the streams of flow tasks begin.
	LogStream string
	// SecretARNs are the secrets and parameters that ECS hands to the container, or pulls the image with.
	SecretARNs []string
	// SecretKMSKeyARN is the customer key of the API key's secret, and KMSKeyARNs are those of the others. Empty:
	// none.
	SecretKMSKeyARN string
	KMSKeyARNs      []string
	// Deregister lets the worker deregister task definitions.
	Deregister bool
	// EventQueueARN is the queue with the changes of tasks. Empty: none.
	EventQueueARN string
}

// IAM is what the rest of the stack needs of the roles.
type IAM struct {
	// Execution is the role with which ECS starts the task, Task that of the code inside.
	Execution, Task *Role

	// FlowExecution and FlowTask are the same for flow tasks. Nil: there is none.
	FlowExecution, FlowTask *Role

	// Ready are the policies that must be in place before a task starts, and that may go
	// only after it has stopped.
	Ready []cdktf.ITerraformDependable
}

// Role is a role of a task.
type Role struct {
	// ARN is the role's.
	ARN string
	// Needs is what a role that exists must be allowed. Nil: the program made the role.
	Needs []iam.Statement

	made *block.Role
}

// builder carries what all roles share.
type builder struct {
	Config
	scope constructs.Construct
	ready []cdktf.ITerraformDependable
}

// New builds the roles and their policies.
func New(scope constructs.Construct, id string, cfg Config) *IAM {
	b := &builder{Config: cfg, scope: constructs.NewConstruct(scope, &id)}
	exist := cfg.IAM.Existing
	execution := b.role("execution", exist.ExecutionRole, cfg.IAM.ExecutionRoleName, "Starts the Prefect worker: pulls the image, reads the API key, writes the log")
	if execution.made != nil {
		b.attach(execution, "execution-managed-policy", "execution", cfg.Account.AWSPolicy("service-role/AmazonECSTaskExecutionRolePolicy"))
		for i, policyARN := range cfg.IAM.ExecutionPolicyARNs {
			b.attach(execution, fmt.Sprintf("execution-managed-policy-%d", i+1), fmt.Sprintf("execution_%d", i+1), policyARN)
		}
	} else {
		execution.Needs = b.startTasks("WriteLogs", cfg.LogGroupARN+":*")
	}
	b.inline(execution, "execution-policy", "execution", "read-prefect-api-key", b.readSecrets(cfg.SecretARNs, cfg.SecretKMSKeyARN, cfg.KMSKeyARNs)...)

	task := b.role("task", exist.TaskRole, cfg.IAM.TaskRoleName, "What the Prefect worker, and the flows of a process pool, may do in AWS")
	for i, policyARN := range cfg.IAM.TaskPolicyARNs {
		b.attach(task, fmt.Sprintf("task-managed-policy-%d", i+1), fmt.Sprintf("task_%d", i+1), policyARN)
	}
	b.inline(task, "task-statements", "task_statements", "statements", statements(cfg.IAM.TaskStatements)...)
	if cfg.ExecuteCommand {
		b.inline(task, "task-exec", "task_exec", "ecs-exec", iam.ECSExec())
	}
	if cfg.ProtectTasksIn != "" {
		b.inline(task, "task-protection", "task_protection", "task-protection", iam.Allow("ProtectTask",
			[]string{"ecs:GetTaskProtection", "ecs:UpdateTaskProtection"}, cfg.Account.Of("ecs", "task/"+cfg.ProtectTasksIn+"/*")))
	}
	roles := &IAM{Execution: execution, Task: task}
	if cfg.FlowTasks != nil {
		b.flowRoles(roles)
		b.inline(task, "task-policy", "task", "run-flow-tasks", b.runFlows(roles)...)
	}
	roles.Ready = b.ready
	return roles
}

// role builds a role, or references the existing one. id is the beginning of its construct's id,
// and with underscores its address.
func (b *builder) role(id, existing, name, description string) *Role {
	if existing != "" {
		return &Role{ARN: existing}
	}
	made := block.NewRole(b.scope, id, block.RoleConfig{
		Address:                strings.ReplaceAll(id, "-", "_"),
		Name:                   name,
		Description:            description,
		Trust:                  iam.Trust(tasksService, b.Account, b.Account.Of("ecs", "*")),
		Path:                   b.IAM.Path,
		PermissionsBoundaryARN: b.IAM.PermissionsBoundaryARN,
	})
	return &Role{ARN: *made.ARN(), made: &made}
}

// attach attaches a managed policy to a role that the program made.
func (b *builder) attach(to *Role, id, address, policyARN string) {
	b.ready = append(b.ready, to.made.Attach(id, address, policyARN))
}

// inline gives a role statements, if there are any. Of a role that exists it only says so.
func (b *builder) inline(to *Role, id, address, name string, statements ...iam.Statement) {
	switch {
	case len(statements) == 0:
	case to.made == nil:
		to.Needs = append(to.Needs, statements...)
	default:
		b.ready = append(b.ready, to.made.Inline(id, address, name, statements...))
	}
}

// statements returns the statements of a file, in which nothing is a reference of Terraform's.
func statements(given []config.Statement) []iam.Statement {
	literal := func(texts []string) []string {
		all := make([]string, len(texts))
		for i, text := range texts {
			all[i] = tf.Literal(text)
		}
		return all
	}
	var all []iam.Statement
	for _, s := range given {
		statement := iam.Allow("", s.Actions, literal(s.Resources)...)
		for operator, keys := range s.Conditions {
			for key, values := range keys {
				statement = statement.If(operator, key, literal(values)...)
			}
		}
		all = append(all, statement)
	}
	return all
}

// startTasks returns the statements for what ECS does before and while a task runs, beside reading secrets. AWS's own
// policy for it would let the role write to every log group.
func (b *builder) startTasks(sid, streams string) []iam.Statement {
	return []iam.Statement{
		iam.Allow("LogInToRegistry", []string{"ecr:GetAuthorizationToken"}, "*"), // does not support resource-level permissions
		iam.Allow("PullImages", []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
			b.Account.Of("ecr", "repository/*")),
		iam.Allow(sid, []string{"logs:CreateLogStream", "logs:PutLogEvents"}, streams),
	}
}

// readSecrets returns the statements for what ECS reads before it starts a task.
func (b *builder) readSecrets(arns []string, credentialKey string, keys []string) []iam.Statement {
	var secrets, parameters []string
	for _, arn := range arns {
		if config.IsParameter(arn) {
			parameters = append(parameters, arn)
		} else {
			secrets = append(secrets, arn)
		}
	}
	var all []iam.Statement
	if len(secrets) > 0 {
		all = append(all, iam.Allow("ReadSecrets", []string{"secretsmanager:GetSecretValue"}, secrets...))
	}
	if len(parameters) > 0 {
		all = append(all, iam.Allow("ReadParameters", []string{"ssm:GetParameters"}, parameters...))
	}
	if len(secrets) > 0 {
		all = append(all, iam.Decrypt(b.Account, "DecryptSecrets", "secretsmanager", append([]string{credentialKey}, keys...)...)...)
	}
	if len(parameters) > 0 {
		all = append(all, iam.Decrypt(b.Account, "DecryptParameters", "ssm", keys...)...)
	}
	return all
}
