package restype

// terraformTypes are those of Terraform itself: the backends, and data sources that need no permission.
var terraformTypes = []Type{
	// GetCallerIdentity needs no permission
	{
		Name: "data.aws_caller_identity",
	},
	{
		Name: "data.aws_partition",
	},
	// The S3 backend ("Permissions Required" in Terraform's documentation of it).
	{
		Name: "backend.s3",
		Grants: []Grant{
			{Read: "s3:ListBucket", On: "s3:{bucket}"},
			{Read: "s3:GetObject", On: "s3:{bucket}/{key}"},
			{Write: "s3:PutObject", On: "s3:{bucket}/{key}"},
			{Read: "s3:GetObject s3:PutObject s3:DeleteObject", On: "s3:{bucket}/{key}.tflock"},
			{Read: "kms:Decrypt kms:GenerateDataKey", On: "{kms_key_id}", When: ViaS3}, // the lock is written for a plan too
		},
	},
	{
		Name: "backend.local",
	},
}
