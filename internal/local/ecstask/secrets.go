package ecstask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// secretRef is a reference to a secret in a task definition, as the ECS
// developer guide describes it ("Pass Secrets Manager secrets through Amazon
// ECS environment variables"):
//
//	arn:<partition>:secretsmanager:<region>:<account>:secret:<name>[:<json key>:<stage>:<version id>]
type secretRef struct {
	arn, jsonKey, stage, versionID string
}

func parseSecretRef(valueFrom string) (secretRef, error) {
	part := strings.Split(valueFrom, ":")
	if part[0] != "arn" || len(part) < 7 || part[2] != "secretsmanager" {
		return secretRef{}, fmt.Errorf("%q is not the ARN of a secret in Secrets Manager, which is all that can be resolved here", valueFrom)
	}
	if len(part) != 7 && len(part) != 10 {
		return secretRef{}, fmt.Errorf("%q: after the ARN either nothing or :<json key>:<stage>:<version id> must follow, each of which may be empty", valueFrom)
	}
	ref := secretRef{arn: strings.Join(part[:7], ":")}
	if len(part) == 10 {
		ref.jsonKey, ref.stage, ref.versionID = part[7], part[8], part[9]
	}
	return ref, nil
}

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

// Secret is the value of a secret that a container's list names.
func Secret(ctx context.Context, cfg aws.Config, valueFrom string) (string, error) {
	return resolveSecret(ctx, secretsmanager.NewFromConfig(cfg), valueFrom)
}

func resolveSecret(ctx context.Context, client *secretsmanager.Client, valueFrom string) (string, error) {
	ref, err := parseSecretRef(valueFrom)
	if err != nil {
		return "", err
	}
	in := &secretsmanager.GetSecretValueInput{SecretId: &ref.arn}
	if ref.stage != "" {
		in.VersionStage = &ref.stage
	}
	if ref.versionID != "" {
		in.VersionId = &ref.versionID
	}
	out, err := client.GetSecretValue(ctx, in)
	if err != nil {
		return "", err
	}
	if out.SecretString == nil {
		return "", errors.New("the secret is binary; ECS passes text only")
	}
	if ref.jsonKey == "" {
		return *out.SecretString, nil
	}
	var object map[string]any
	if json.Unmarshal([]byte(*out.SecretString), &object) != nil {
		return "", fmt.Errorf("the secret is not a JSON object, so it has no key %q", ref.jsonKey)
	}
	value, ok := object[ref.jsonKey]
	if !ok {
		return "", fmt.Errorf("the JSON object in the secret has no key %q", ref.jsonKey)
	}
	if text, ok := value.(string); ok {
		return text, nil
	}
	raw, err := json.Marshal(value)
	return string(raw), err
}
