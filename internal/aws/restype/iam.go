package restype

import "slices"

// iamTypes are those of IAM.
var iamTypes = []Type{
	{
		Name: "aws_iam_role",
		ARN:  "iam:role/{name}",
		Find: func(f *Search, r Resource) (string, error) {
			_, err := f.aws.Role(f.Context, r.text("name"))
			return r.text("name"), err
		},
		Loss:     "running tasks lose their permissions",
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
			_, err = f.aws.RolePolicy(f.Context, role, r.text("name"))
			return role + ":" + r.text("name"), err
		},
		Loss:     Nothing,
		Replaces: []string{"name", "role"},
		Grants: []Grant{
			{Read: "iam:GetRolePolicy", On: "iam:role/{role}"},
			{Write: "iam:PutRolePolicy iam:DeleteRolePolicy", On: "iam:role/{role}", When: Bounded},
			// verify: whether the worker may decrypt its secrets, and the credential that it uses.
			{Read: "kms:DescribeKey kms:GetKeyPolicy kms:ListGrants", On: "{keys}"},
			{Read: "kms:Decrypt", On: "{keys}", Via: "secretsmanager"},
			// verify: the secrets and parameters of flow tasks.
			{Read: "secretsmanager:DescribeSecret secretsmanager:GetResourcePolicy", On: "{existing_secrets}"},
			{Read: "ssm:DescribeParameters", On: "{all_parameters}"},
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
	attached, err := f.aws.AttachedPolicies(f.Context, role)
	if err != nil || !slices.Contains(attached, r.text("policy_arn")) {
		return "", orNone(err)
	}
	return role + "/" + r.text("policy_arn"), nil
}
