package server

import (
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrole"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrolepolicy"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrolepolicyattachment"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// newRoles builds roles of the server's own: no other role may read the database's password,
// and the flows of a process pool must not have the rights of ECS Exec.
func newRoles(scope constructs.Construct, cfg Config) (executionARN, taskARN string, policies []cdktf.ITerraformDependable) {
	trust := tf.JSON(iam.Trust("ecs-tasks.amazonaws.com", cfg.Account, cfg.Account.Of("ecs", "*")))
	role := func(id, address, name, description string) tf.Fixed[iamrole.IamRole] {
		return tf.Fix(iamrole.NewIamRole(scope, jsii.String(id+"-role"), &iamrole.IamRoleConfig{
			Name:                &name,
			Description:         &description,
			Path:                tf.Optional(cfg.RolePath),
			AssumeRolePolicy:    trust,
			PermissionsBoundary: tf.Optional(cfg.PermissionsBoundaryARN),
		}), "aws_iam_role."+address)
	}
	inline := func(id, address, name string, to tf.Fixed[iamrole.IamRole], statements ...iam.Statement) {
		policies = append(policies, tf.Fix(iamrolepolicy.NewIamRolePolicy(scope, jsii.String(id+"-policy"), &iamrolepolicy.IamRolePolicyConfig{
			Name:   &name,
			Role:   tf.ID(to),
			Policy: tf.JSON(iam.New(statements...)),
		}), "aws_iam_role_policy."+address).Element)
	}

	execution := role("execution", "server_execution", cfg.Server.ExecutionRole(), "Starts the Prefect server: pulls the image, reads its passwords, writes the log")
	policies = append(policies, tf.Fix(iamrolepolicyattachment.NewIamRolePolicyAttachment(scope, jsii.String("execution-managed-policy"), &iamrolepolicyattachment.IamRolePolicyAttachmentConfig{
		Role:      tf.Name(execution),
		PolicyArn: jsii.String(cfg.Account.AWSPolicy("service-role/AmazonECSTaskExecutionRolePolicy")),
	}), "aws_iam_role_policy_attachment.server_execution").Element)
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
	inline("execution", "server_execution", "read-passwords", execution, reads...)

	task := role("task", "server_task", cfg.Server.TaskRole(), "What the Prefect server may do in AWS: let people in through ECS Exec")
	inline("task", "server_task", "ecs-exec", task, iam.ECSExec())
	return *tf.ARN(execution), *tf.ARN(task), policies
}
