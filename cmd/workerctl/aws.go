package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"prefect-worker-ecs/config"
)

// awsConfig is where an environment is deployed: its region, with the credentials of the AWS CLI
// or of the role that these assume (assume_role_arn), as Terraform does.
func awsConfig(ctx context.Context, env *config.Environment) (aws.Config, error) {
	cfg, err := ownCredentials(ctx, env)
	if err == nil && env.AssumeRoleARN != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), env.AssumeRoleARN,
			func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "workerctl" }))
	}
	return cfg, err
}

// attemptTimeout is how long AWS may take to answer one attempt of a call.
const attemptTimeout = 7 * time.Second

// ownCredentials are those of the AWS CLI.
func ownCredentials(ctx context.Context, env *config.Environment) (aws.Config, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(env.Region), awsconfig.WithRetryMaxAttempts(2), awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(attemptTimeout)), awsconfig.WithLogger(logging.Nop{}))
	if err != nil {
		return aws.Config{}, fmt.Errorf("AWS configuration: %w", err)
	}
	return cfg, nil
}
