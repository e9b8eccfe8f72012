package restype

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	secretstypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

// secretsmanagerTypes are those of Secrets Manager.
var secretsmanagerTypes = []Type{
	{
		Name:     "aws_secretsmanager_secret",
		ARN:      "secretsmanager:secret:{name}-??????",
		Find:     (*Search).secret,
		Loss:     "the credential goes with it, and with a recovery window its name cannot be used again for days",
		Replaces: []string{"name"},
		Options: map[string]string{
			"kms_key_id": "secret.kms_key_arn",
		},
		Grants: []Grant{
			{Read: "secretsmanager:DescribeSecret secretsmanager:GetResourcePolicy", On: "secretsmanager:secret:{name}-??????"},
			{Find: "secretsmanager:ListSecrets"},
			// verify: the same as for the keys of a role's policy, which an existing role has not.
			{Read: "kms:DescribeKey kms:GetKeyPolicy kms:ListGrants", On: "{kms_key_id}"},
			{Read: "kms:Decrypt", On: "{kms_key_id}", Via: "secretsmanager"},
			{Write: "kms:GenerateDataKey", On: "{kms_key_id}", Via: "secretsmanager"},
			{Write: "secretsmanager:CreateSecret secretsmanager:UpdateSecret secretsmanager:DeleteSecret secretsmanager:TagResource secretsmanager:UntagResource", On: "secretsmanager:secret:{name}-??????"},
		},
	},
	{
		Name:        "aws_secretsmanager_secret_version",
		NotImported: "it is a new version, and the value of before stays as AWSPREVIOUS",
		Loss:        Nothing,
		Replaces:    []string{"secret_id", "secret_string_wo_version"},
		Grants: []Grant{
			{Read: "secretsmanager:DescribeSecret secretsmanager:GetSecretValue", On: "secretsmanager:secret:{secret_id}-??????"},
			{Write: "secretsmanager:PutSecretValue secretsmanager:UpdateSecretVersionStage", On: "secretsmanager:secret:{secret_id}-??????"},
		},
	},
	{
		Name: "ephemeral.aws_secretsmanager_secret_version",
		Grants: []Grant{
			{Write: "secretsmanager:GetSecretValue", On: "secretsmanager:secret:{secret_id}-??????"},
		},
	},
}

// secret looks in the list, which does not support resource-level permissions: before there is one,
// its ARN is not known. It is none while it is deleted: only who restores it can use its name.
func (f *Search) secret(r Resource) (string, error) {
	pages := secretsmanager.NewListSecretsPaginator(secretsmanager.NewFromConfig(f.cfg), &secretsmanager.ListSecretsInput{
		Filters: []secretstypes.Filter{{Key: secretstypes.FilterNameStringTypeName, Values: []string{r.text("name")}}}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(f.Context)
		if err != nil {
			return "", err
		}
		for _, s := range page.SecretList { // the filter is for how a name begins
			if aws.ToString(s.Name) == r.text("name") {
				return aws.ToString(s.ARN), nil
			}
		}
	}
	return "", errNone
}
