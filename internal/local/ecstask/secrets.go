package ecstask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"prefect-worker-ecs/config"
)

// resolveSecrets fetches the values of a container's secrets, as the ECS agent
// does before it starts the container. Errors hold no values.
func resolveSecrets(ctx context.Context, client *secretsmanager.Client, secrets []types.Secret) (map[string]string, error) {
	values := make(map[string]string, len(secrets))
	for _, s := range secrets {
		name := aws.ToString(s.Name)
		value, err := resolveSecret(ctx, client, aws.ToString(s.ValueFrom))
		if err != nil {
			// ECS's own name for it, for whoever searches its documentation.
			return nil, fmt.Errorf("ResourceInitializationError: unable to pull secrets: %s: %w", name, err)
		}
		values[name] = value
	}
	return values, nil
}

// Secret returns the value of a secret that a container's list names.
func Secret(ctx context.Context, cfg aws.Config, valueFrom string) (string, error) {
	return resolveSecret(ctx, secretsmanager.NewFromConfig(cfg), valueFrom)
}

func resolveSecret(ctx context.Context, client *secretsmanager.Client, valueFrom string) (string, error) {
	ref, err := config.ParseSecretReference(valueFrom)
	if err != nil {
		return "", err
	}
	in := &secretsmanager.GetSecretValueInput{SecretId: &ref.ARN}
	if ref.Stage != "" {
		in.VersionStage = &ref.Stage
	}
	if ref.Version != "" {
		in.VersionId = &ref.Version
	}
	out, err := client.GetSecretValue(ctx, in)
	if err != nil {
		return "", err
	}
	if out.SecretString == nil {
		return "", errors.New("the secret is binary; ECS passes text only")
	}
	if ref.JSONKey == "" {
		return *out.SecretString, nil
	}
	var object map[string]any
	if json.Unmarshal([]byte(*out.SecretString), &object) != nil {
		return "", fmt.Errorf("the secret is not a JSON object, so it has no key %q", ref.JSONKey)
	}
	value, ok := object[ref.JSONKey]
	if !ok {
		return "", fmt.Errorf("the JSON object in the secret has no key %q", ref.JSONKey)
	}
	if text, ok := value.(string); ok {
		return text, nil
	}
	raw, err := json.Marshal(value)
	return string(raw), err
}
