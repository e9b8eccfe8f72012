package restype

// rdsTypes are those of RDS.
var rdsTypes = []Type{
	{
		Name: "aws_db_instance",
		Find: func(f *Search, r Resource) (string, error) {
			_, err := f.aws.InstanceStatus(f.Context, r.text("identifier"))
			return r.text("identifier"), err
		},
		Loss:     "its data goes with it, but for a final snapshot",
		Replaces: []string{"db_name", "engine", "kms_key_id", "storage_encrypted", "username"},
		Grants: []Grant{
			// Terraform reads it by the id that RDS gives it.
			{Read: "rds:DescribeDBInstances", On: "rds:db:*"},
			{Read: "rds:ListTagsForResource", On: "rds:db:{identifier}"},
			{Write: "rds:CreateDBInstance", On: "rds:db:{identifier} rds:subgrp:{db_subnet_group_name} rds:pg:{parameter_group_name}"},
			{Write: "rds:ModifyDBInstance rds:DeleteDBInstance rds:AddTagsToResource rds:RemoveTagsFromResource", On: "rds:db:{identifier}"},
			{Write: "rds:ModifyDBInstance", On: "rds:pg:{parameter_group_name}"},
			{Write: "iam:CreateServiceLinkedRole", On: "iam:role/aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS"},
		},
	},
	{
		Name: "aws_db_subnet_group",
		Find: func(f *Search, r Resource) (string, error) {
			return r.text("name"), f.aws.SubnetGroup(f.Context, r.text("name"))
		},
		Loss:     Nothing,
		Replaces: []string{"name"},
		Grants: []Grant{
			{Read: "rds:DescribeDBSubnetGroups rds:ListTagsForResource", On: "rds:subgrp:{name}"},
			{Write: "rds:CreateDBSubnetGroup rds:ModifyDBSubnetGroup rds:DeleteDBSubnetGroup rds:AddTagsToResource rds:RemoveTagsFromResource", On: "rds:subgrp:{name}"},
		},
	},
	{
		Name: "aws_db_parameter_group",
		Find: func(f *Search, r Resource) (string, error) {
			found, err := f.aws.ParameterGroup(f.Context, r.text("name"))
			if err == nil && !found {
				err = errNone
			}
			return r.text("name"), err
		},
		Loss:     Nothing,
		Replaces: []string{"family", "name"},
		Grants: []Grant{
			{Read: "rds:DescribeDBParameterGroups rds:DescribeDBParameters rds:ListTagsForResource", On: "rds:pg:{name}"},
			{Write: "rds:CreateDBParameterGroup rds:ModifyDBParameterGroup rds:ResetDBParameterGroup rds:DeleteDBParameterGroup rds:AddTagsToResource rds:RemoveTagsFromResource", On: "rds:pg:{name}"},
		},
	},
}
