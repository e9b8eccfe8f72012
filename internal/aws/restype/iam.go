package restype

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// iamTypes are those of IAM.
var iamTypes = []Type{
	{
		Name: "aws_iam_role",
		ARN:  "iam:role/{name}",
		Find: func(f *Search, r Resource) (string, error) {
			_, err := f.aws.iam.GetRole(f.Context, &iam.GetRoleInput{RoleName: aws.String(r.text("name"))})
			return r.text("name"), err
		},
		Loss:     "running tasks lose their rights",
		Replaces: []string{"name", "path"},
		Options: map[string]string{
			"path":                 "iam.path",
			"permissions_boundary": "iam.permissions_boundary_arn",
		},
		Grants: []Grant{
			{Read: "iam:GetRole iam:ListRolePolicies iam:ListAttachedRolePolicies", On: "iam:role/{name}"},
			{Read: "iam:GetPolicy iam:GetPolicyVersion", On: "{permissions_boundary}"},
			{Write: "iam:CreateRole iam:PutRolePermissionsBoundary", On: "iam:role/{name}", When: Bounded},
			{Write: "iam:UpdateRole iam:UpdateRoleDescription iam:UpdateAssumeRolePolicy iam:DeleteRole iam:TagRole iam:UntagRole iam:ListInstanceProfilesForRole", On: "iam:role/{name}"},
		},
	},
	{
		Name: "aws_iam_role_policy",
		Find: func(f *Search, r Resource) (string, error) {
			role, err := f.Stack.NameOf(r.arguments["role"])
			if err != nil {
				return "", err
			}
			_, err = f.aws.iam.GetRolePolicy(f.Context, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: aws.String(r.text("name"))})
			return role + ":" + r.text("name"), err
		},
		Loss:     Nothing,
		Replaces: []string{"name", "role"},
		Grants: []Grant{
			{Read: "iam:GetRolePolicy", On: "iam:role/{role}"},
			{Write: "iam:PutRolePolicy iam:DeleteRolePolicy", On: "iam:role/{role}", When: Bounded},
			// verify: whether the worker may decrypt its secrets, and the credential that it uses.
			{Read: "kms:DescribeKey kms:GetKeyPolicy", On: "{keys}"},
			{Read: "kms:Decrypt", On: "{keys}", When: ViaSecretsManager},
		},
	},
	{
		Name:     "aws_iam_role_policy_attachment",
		Find:     (*Search).attachment,
		Loss:     Nothing,
		Replaces: []string{"policy_arn", "role"},
		Grants: []Grant{
			{Read: "iam:ListAttachedRolePolicies", On: "iam:role/{role}"},
			// verify: what it allows.
			{Read: "iam:GetPolicy iam:GetPolicyVersion", On: "{policy_arn}"},
			{Write: "iam:AttachRolePolicy iam:DetachRolePolicy", On: "iam:role/{role}", When: ThatPolicy},
		},
	},
}

func (f *Search) attachment(r Resource) (string, error) {
	role, err := f.Stack.NameOf(r.arguments["role"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.iam.ListAttachedRolePolicies(f.Context, &iam.ListAttachedRolePoliciesInput{RoleName: &role})
	if err != nil {
		return "", err
	}
	for _, p := range out.AttachedPolicies {
		if aws.ToString(p.PolicyArn) == r.text("policy_arn") {
			return role + "/" + r.text("policy_arn"), nil
		}
	}
	return "", errNone
}
