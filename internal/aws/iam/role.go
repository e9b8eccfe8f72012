package iam

import (
	"context"
	"fmt"

	"prefect-worker-ecs/internal/aws/query"
)

// Role is what a role in IAM may do by its policies, without its permissions boundary.
type Role struct {
	// Inline are the role's own policies by name, as IAM gives them.
	Inline map[string]string
	// Attached are the ARNs of the managed policies that are attached.
	Attached []string
	// Policies are all of both.
	Policies []Document
}

// ReadRole reads the policies of a role. The errors of IAM come as they are.
func ReadRole(ctx context.Context, client query.Client, name string) (Role, error) {
	role := Role{Inline: map[string]string{}}
	names, err := client.RolePolicies(ctx, name)
	if err != nil {
		return Role{}, err
	}
	for _, policy := range names {
		text, err := client.RolePolicy(ctx, name, policy)
		if err != nil {
			return Role{}, err
		}
		document, err := Parse(text)
		if err != nil {
			return Role{}, fmt.Errorf("policy %s: %w", policy, err)
		}
		role.Inline[policy] = text
		role.Policies = append(role.Policies, document)
	}
	if role.Attached, err = client.AttachedPolicies(ctx, name); err != nil {
		return Role{}, err
	}
	for _, arn := range role.Attached {
		document, err := ReadManaged(ctx, client, arn)
		if err != nil {
			return Role{}, err
		}
		role.Policies = append(role.Policies, document)
	}
	return role, nil
}

// ReadManaged reads the version of a managed policy that is in force, of AWS or the
// account; a permissions boundary is one. The errors of IAM come as they are.
func ReadManaged(ctx context.Context, client query.Client, arn string) (Document, error) {
	text, err := client.ManagedPolicy(ctx, arn)
	if err != nil {
		return Document{}, err
	}
	return Parse(text)
}
