package iam

import (
	"context"
	"fmt"

	"prefect-worker-ecs/internal/aws/query"
)

// ReadPolicies reads what a role may do: its own and the attached policies, and its permissions boundary, nil if
// the ARN of one is empty. The errors of IAM come as they are.
func ReadPolicies(ctx context.Context, client query.Client, role, boundary string) (identity, limit []Document, err error) {
	names, err := client.RolePolicies(ctx, role)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		text, err := client.RolePolicy(ctx, role, name)
		if err != nil {
			return nil, nil, err
		}
		document, err := Parse(text)
		if err != nil {
			return nil, nil, fmt.Errorf("policy %s: %w", name, err)
		}
		identity = append(identity, document)
	}
	attached, err := client.AttachedPolicies(ctx, role)
	if err != nil {
		return nil, nil, err
	}
	for _, arn := range attached {
		document, err := readManaged(ctx, client, arn)
		if err != nil {
			return nil, nil, err
		}
		identity = append(identity, document)
	}
	if boundary == "" {
		return identity, nil, nil
	}
	document, err := readManaged(ctx, client, boundary)
	return identity, []Document{document}, err
}

// readManaged reads the version of a managed policy that is in force, of AWS or the account.
func readManaged(ctx context.Context, client query.Client, arn string) (Document, error) {
	text, err := client.ManagedPolicy(ctx, arn)
	if err != nil {
		return Document{}, err
	}
	return Parse(text)
}
