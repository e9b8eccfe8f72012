package restype

// s3Types are those of S3: the backend ("Permissions Required" in Terraform's documentation of it).
var s3Types = []Type{
	{
		Name: "backend.s3",
		Grants: []Grant{
			{Read: "s3:ListBucket", On: "s3:{bucket}"},
			{Read: "s3:GetObject", On: "s3:{bucket}/{key}"},
			{Write: "s3:PutObject", On: "s3:{bucket}/{key}"},
			{Read: "s3:GetObject s3:PutObject s3:DeleteObject", On: "s3:{bucket}/{key}.tflock"},
			{Read: "kms:Decrypt kms:GenerateDataKey", On: "{kms_key_id}", Via: "s3"}, // the lock is written for a plan too
		},
	},
}
