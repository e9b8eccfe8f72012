package restype

// lambdaTypes are those of Lambda.
var lambdaTypes = []Type{
	{
		Name: "aws_lambda_function",
		ARN:  "lambda:function:{name}",
		Find: func(f *Search, r Resource) (string, error) {
			_, err := f.aws.Function(f.Context, r.text("function_name"))
			return r.text("function_name"), err
		},
		Loss:     Nothing,
		Replaces: []string{"function_name"},
		Grants: []Grant{
			{Read: "lambda:GetFunction lambda:GetFunctionCodeSigningConfig lambda:GetFunctionConfiguration lambda:ListVersionsByFunction", On: "lambda:function:{function_name}"},
			{Write: "lambda:CreateFunction lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration lambda:DeleteFunction lambda:DeleteFunctionConcurrency lambda:TagResource lambda:UntagResource", On: "lambda:function:{function_name}"},
			{Write: "iam:PassRole", On: "iam:role/{role}", PassedTo: "lambda"},
			// Lambda looks at the network of a function with the permissions of its creator.
			{Write: "ec2:DescribeSecurityGroups ec2:DescribeSubnets ec2:DescribeVpcs"},
		},
	},
}
