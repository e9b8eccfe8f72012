// Package secrets builds the secret that holds the Prefect API key, or takes one that
// exists.
package secrets

import (
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/secretsmanagersecret"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/secretsmanagersecretversion"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/tf"
)

// Config says which secret New builds.
type Config struct {
	Secret config.Secret

	// APIKey is a reference to the ephemeral variable with the key. Unused with an
	// existing secret.
	APIKey string
}

// Secrets is what the rest of the stack needs of the secret.
type Secrets struct {
	// ARN of the secret.
	ARN string

	// ValueFrom is what a container's secrets list names: the ARN, with the key inside
	// a JSON value if there is one.
	ValueFrom string

	// Ready are the resources that must exist before a task can read the secret.
	Ready []cdktf.ITerraformDependable
}

// New builds the secret and the version with the key, unless the secret exists.
func New(scope constructs.Construct, id string, cfg Config) *Secrets {
	s := cfg.Secret
	if s.ExistingARN != "" {
		valueFrom := s.ExistingARN
		if s.JSONKey != "" {
			valueFrom += ":" + s.JSONKey + "::"
		}
		return &Secrets{ARN: s.ExistingARN, ValueFrom: valueFrom}
	}

	scope = constructs.NewConstruct(scope, &id)
	tf.Fix(secretsmanagersecret.NewSecretsmanagerSecret(scope, jsii.String("secret"), &secretsmanagersecret.SecretsmanagerSecretConfig{
		Name:                 &s.Name,
		Description:          jsii.String("Prefect API key of the worker"),
		KmsKeyId:             tf.Optional(s.KMSKeyARN),
		RecoveryWindowInDays: jsii.Number(s.RecoveryWindowDays),
	}), "prefect_api_key")

	// A write-only argument never gets into the plan or the state, so Terraform cannot
	// see that the key changed: the version number tells it. The variable has an empty
	// default, because for a variable without one the CDKTF CLI waits for ever at a
	// prompt that nobody sees; the precondition asks for the key instead. It is not
	// checked by destroy, which needs no key.
	version := tf.Fix(secretsmanagersecretversion.NewSecretsmanagerSecretVersion(scope, jsii.String("version"), &secretsmanagersecretversion.SecretsmanagerSecretVersionConfig{
		SecretId:              tf.Ref("aws_secretsmanager_secret.prefect_api_key.id"),
		SecretStringWo:        &cfg.APIKey,
		SecretStringWoVersion: jsii.Number(s.Version),
		Lifecycle: tf.Require(tf.Rule{
			Condition: `var.prefect_api_key != ""`,
			Message:   "The variable prefect_api_key is not set. Give the worker its Prefect API key with: export TF_VAR_prefect_api_key=... or a line prefect_api_key = \"...\" in terraform.tfvars.",
		}),
	}), "prefect_api_key")

	arn := *tf.Ref("aws_secretsmanager_secret.prefect_api_key.arn")
	return &Secrets{
		ARN:       arn,
		ValueFrom: arn,
		Ready:     []cdktf.ITerraformDependable{version},
	}
}
