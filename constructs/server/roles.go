package server

import (
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/internal/aws/iam"
)

// newRoles builds roles of the server's own: no other role may read the database's password,
// and the flows of a process pool must not have the permissions of ECS Exec.
func newRoles(scope constructs.Construct, cfg Config) (executionARN, taskARN string, policies []cdktf.ITerraformDependable) {
	role := func(id, address, name, description string) block.Role {
		return block.NewRole(scope, id, block.RoleConfig{Address: address, Name: name, Description: description,
			Trust: iam.Trust("ecs-tasks.amazonaws.com", cfg.Account, cfg.Account.Of("ecs", "*")), Path: cfg.RolePath, PermissionsBoundaryARN: cfg.PermissionsBoundaryARN})
	}
	execution := role("execution", "server_execution", cfg.Server.ExecutionRole(), "Starts the Prefect server: pulls the image, reads its passwords, writes the log")
	secrets := []string{cfg.Database.SecretARN}
	if cfg.CredentialARN != "" && cfg.CredentialARN != cfg.Database.SecretARN {
		secrets = append(secrets, cfg.CredentialARN)
	}
	keys := []string{cfg.KMSKeyARN}
	if cfg.RegistryCredentials != "" {
		secrets = append(secrets, cfg.RegistryCredentials)
		keys = append(keys, cfg.RegistryKMSKeyARNs...)
	}
	reads := []iam.Statement{iam.Allow("ReadSecrets", []string{"secretsmanager:GetSecretValue"}, secrets...)}
	reads = append(reads, iam.Decrypt(cfg.Account, "DecryptSecrets", "secretsmanager", keys...)...)
	task := role("task", "server_task", cfg.Server.TaskRole(), "What the Prefect server may do in AWS: let people in through ECS Exec")
	return *execution.ARN(), *task.ARN(), []cdktf.ITerraformDependable{
		execution.Attach("execution-managed-policy", "server_execution", cfg.Account.AWSPolicy("service-role/AmazonECSTaskExecutionRolePolicy")),
		execution.Inline("execution-policy", "server_execution", "read-passwords", reads...),
		task.Inline("task-policy", "server_task", "ecs-exec", iam.ECSExec()),
	}
}
