// Package secrets builds the secret that holds the credential for the Prefect API (an API
// key, or user and password), or references an existing one.
package secrets

import (
	"fmt"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/secretsmanagersecret"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/secretsmanagersecretversion"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/tf"
)

// Config says which secret New builds.
type Config struct {
	Secret config.Secret

	// Authentication says which credential it holds. With config.AuthNone there is
	// nothing to build.
	Authentication config.Authentication

	// Protect keeps the secret from being destroyed.
	Protect bool

	// Generated says that the stack makes the credential, for a Prefect server of its own. By
	// default it comes from a variable.
	Generated bool
}

// Secrets is what the rest of the stack needs of the secret.
type Secrets struct {
	// ARN of the secret. Empty: there is none.
	ARN string

	// ValueFrom is what a container's secrets list names: the ARN, with the key inside
	// a JSON value if there is one.
	ValueFrom string

	// Ready are the resources that must exist before a task can read the secret.
	Ready []cdktf.ITerraformDependable
}

// New builds the secret and the version with the credential, unless the secret exists or
// none is needed.
func New(scope constructs.Construct, id string, cfg Config) *Secrets {
	if cfg.Authentication == config.AuthNone {
		return &Secrets{}
	}
	s := cfg.Secret
	if s.ExistingARN != "" {
		valueFrom := s.ExistingARN
		if s.JSONKey != "" {
			valueFrom += ":" + s.JSONKey + "::"
		}
		return &Secrets{ARN: s.ExistingARN, ValueFrom: valueFrom}
	}

	scope = constructs.NewConstruct(scope, &id)
	secret := tf.WithAddress(secretsmanagersecret.NewSecretsmanagerSecret(scope, jsii.String("secret"), &secretsmanagersecret.SecretsmanagerSecretConfig{
		Name:                 &s.Name,
		Description:          jsii.String("Prefect " + cfg.Authentication.Noun() + " of the worker"),
		KmsKeyId:             tf.Optional(s.KMSKeyARN),
		RecoveryWindowInDays: jsii.Number(s.RecoveryWindowDays),
		Lifecycle:            tf.Protected(cfg.Protect),
	}), "aws_secretsmanager_secret.prefect_api_key")

	// A write-only argument never gets into the plan or the state, so Terraform cannot
	// see that the value changed: the version number shows it. The variable has an empty
	// default, because for a variable without one the CDKTF CLI waits indefinitely at a
	// prompt that is not shown; the precondition requires it instead. It is not
	// checked by destroy, which needs none. Addresses are a contract, so this one says key
	// whatever the credential is.
	name := cfg.Authentication.TerraformVariable()
	value := "${var." + name + "}"
	requirements := tf.Preconditions(tf.Rule{
		Condition: fmt.Sprintf(`var.%s != ""`, name),
		Message: fmt.Sprintf("The variable %[1]s is not set. Give the worker its Prefect %[2]s with: export TF_VAR_%[1]s=... or a line %[1]s = \"...\" in terraform.tfvars.",
			name, cfg.Authentication.Noun()),
	})
	if cfg.Generated {
		// Only letters and digits: it travels in a header, and people type it in a browser.
		value = config.ServerUser + ":${" + tf.Ephemeral(scope, "aws_secretsmanager_random_password", "prefect_api", map[string]any{
			"password_length": 40, "exclude_punctuation": true,
		}) + ".random_password}"
		requirements = nil
	}
	version := tf.WithAddress(secretsmanagersecretversion.NewSecretsmanagerSecretVersion(scope, jsii.String("version"), &secretsmanagersecretversion.SecretsmanagerSecretVersionConfig{
		SecretId:              tf.ID(secret),
		SecretStringWo:        &value,
		SecretStringWoVersion: jsii.Number(s.Version),
		Lifecycle:             requirements,
	}), "aws_secretsmanager_secret_version.prefect_api_key")

	arn := *tf.ARN(secret)
	return &Secrets{
		ARN:       arn,
		ValueFrom: arn,
		Ready:     []cdktf.ITerraformDependable{version.Element},
	}
}
