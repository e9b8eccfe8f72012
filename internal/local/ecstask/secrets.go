package ecstask

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// resolveSecrets fetches the values of a container's secrets, as the ECS agent
// does before it starts the container. Errors hold no values.
func resolveSecrets(ctx context.Context, cfg aws.Config, secrets []types.Secret) (map[string]string, error) {
	values := make(map[string]string, len(secrets))
	for _, s := range secrets {
		name := aws.ToString(s.Name)
		value, err := Secret(ctx, cfg, aws.ToString(s.ValueFrom))
		if err != nil {
			// ECS's own name for it, for whoever searches its documentation.
			return nil, fmt.Errorf("ResourceInitializationError: unable to pull secrets: %s: %w", name, err)
		}
		values[name] = value
	}
	return values, nil
}

// Secret returns the value of a secret that a container's list names by its ARN. A local run has only
// secrets that it makes itself, so that none is named with a JSON key or a version.
func Secret(ctx context.Context, cfg aws.Config, arn string) (string, error) {
	out, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &arn})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.SecretString), nil
}
