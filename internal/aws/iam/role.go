package iam

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
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
func ReadRole(ctx context.Context, client *iam.Client, name string) (Role, error) {
	role := Role{Inline: map[string]string{}}
	inline := iam.NewListRolePoliciesPaginator(client, &iam.ListRolePoliciesInput{RoleName: &name})
	for inline.HasMorePages() {
		page, err := inline.NextPage(ctx)
		if err != nil {
			return Role{}, err
		}
		for _, policy := range page.PolicyNames {
			out, err := client.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &policy})
			if err != nil {
				return Role{}, err
			}
			document, err := Parse(aws.ToString(out.PolicyDocument))
			if err != nil {
				return Role{}, fmt.Errorf("policy %s: %w", policy, err)
			}
			role.Inline[policy] = aws.ToString(out.PolicyDocument)
			role.Policies = append(role.Policies, document)
		}
	}
	attached := iam.NewListAttachedRolePoliciesPaginator(client, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return Role{}, err
		}
		for _, policy := range page.AttachedPolicies {
			document, err := ReadManaged(ctx, client, aws.ToString(policy.PolicyArn))
			if err != nil {
				return Role{}, err
			}
			role.Attached = append(role.Attached, aws.ToString(policy.PolicyArn))
			role.Policies = append(role.Policies, document)
		}
	}
	return role, nil
}

// ReadManaged reads the version of a managed policy that is in force, of AWS or the
// account; a permissions boundary is one. The errors of IAM come as they are.
func ReadManaged(ctx context.Context, client *iam.Client, arn string) (Document, error) {
	policy, err := client.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
	if err != nil {
		return Document{}, err
	}
	if policy.Policy == nil {
		return Document{}, errors.New("the answer is empty")
	}
	version, err := client.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: policy.Policy.DefaultVersionId})
	if err != nil {
		return Document{}, err
	}
	if version.PolicyVersion == nil {
		return Document{}, errors.New("the answer is empty")
	}
	return Parse(aws.ToString(version.PolicyVersion.Document))
}
