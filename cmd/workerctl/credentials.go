package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/terraform/toolchain"
)

// credentialsTimeout is how long AWS may take to say whose credentials they are.
const credentialsTimeout = 15 * time.Second

// checkCredentials says in one line, before anything starts, that there are no AWS
// credentials, or none that AWS accepts. Terraform would say so once for each provider and
// backend, after several seconds.
func checkCredentials(ctx context.Context, environment string, variables toolchain.Variables) error {
	env, err := config.LoadOne(config.Dir, environment)
	if err != nil {
		return err
	}
	env, _ = env.WithVariables(variables.Lookup)
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	cfg, err := ownCredentials(ctx, env)
	if err == nil {
		_, err = cfg.Credentials.Retrieve(ctx)
	}
	const login = "log in with aws sso login, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	if err != nil {
		if profile := os.Getenv("AWS_PROFILE"); profile != "" {
			return fmt.Errorf("the AWS profile %s gives no credentials (%s); %s", profile, short(err), login)
		}
		return fmt.Errorf("there are no AWS credentials; %s", login)
	}
	identity, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	var refused smithy.APIError
	switch {
	case err == nil && env.AssumeRoleARN != "":
		if cfg, err = awsConfig(ctx, env); err == nil {
			_, err = cfg.Credentials.Retrieve(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s may not take on the role %s of assume_role_arn (%s); let the role's trust policy name it, or use other credentials", aws.ToString(identity.Arn), env.AssumeRoleARN, short(err))
		}
		return nil
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return fmt.Errorf("AWS does not accept the credentials (%s: %s); %s", refused.ErrorCode(), refused.ErrorMessage(), login)
	default:
		return fmt.Errorf("AWS cannot be reached in %s (%s); check the network and the proxy", env.Region, short(err))
	}
}

// short is the end of a chain of errors, in one line.
func short(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	if i := strings.LastIndex(text, ": "); i >= 0 && len(text) > 120 {
		text = text[i+2:]
	}
	return text
}
