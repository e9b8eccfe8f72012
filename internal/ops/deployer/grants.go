package deployer

// grant is some actions on a kind of resource. Actions that only read come to a read-only
// policy too, and those that find something to the policy of who adopts.
//
// Which actions know a resource and which a condition key is from the Service Authorization
// Reference (https://docs.aws.amazon.com/service-authorization/latest/reference), which a test
// asks. Which actions Terraform's provider calls was seen on the way: a deployment with only
// this policy is in the tests.
type grant struct {
	read, write, find string // actions of one service, separated by blanks
	// on are resources, separated by blanks, without what all ARNs of a service begin with:
	// {name} is the argument of that name, or the name of the resource that it refers to, and where
	// it stands alone the ARNs that the argument holds; a resource of an argument that is not set is
	// left out. Empty: the actions know none.
	on string
	// when limits it further.
	when condition
}

// condition limits a grant to what is the environment's own.
type condition int

const (
	// tagged: the request gives the resource that it makes the tags of the environment.
	tagged condition = iota + 1
	// atCreation: the request gives tags to a resource that it makes, and to no other.
	atCreation
	// own: the resource has the tags of the environment.
	own
	// inCluster: it is about the cluster of the argument cluster.
	inCluster
	// bounded: the role has the permissions boundary of the environment, if there is one.
	bounded
	// toECS, toFlowLogs, toLambda, toScheduler: the role is handed to that service.
	toECS
	toFlowLogs
	toLambda
	toScheduler
	// thatPolicy: the policy that is attached is the one of the argument policy_arn.
	thatPolicy
	// viaSecretsManager, viaS3: that service uses the key for who calls it.
	viaSecretsManager
	viaS3
)

// grants are what Terraform needs for each type of resource.
var grants = map[string][]grant{
	"aws_vpc": {
		{read: "ec2:DescribeVpcs ec2:DescribeNetworkAcls ec2:DescribeRouteTables ec2:DescribeSecurityGroups"},
		{read: "ec2:DescribeVpcAttribute", on: "ec2:vpc/*", when: own},
		{write: "ec2:CreateVpc", on: "ec2:vpc/*", when: tagged},
		{write: "ec2:ModifyVpcAttribute ec2:DeleteVpc", on: "ec2:vpc/*", when: own},
	},
	"aws_subnet": {
		{read: "ec2:DescribeSubnets"},
		{write: "ec2:CreateSubnet", on: "ec2:subnet/*", when: tagged},
		{write: "ec2:CreateSubnet", on: "ec2:vpc/*", when: own},
		{write: "ec2:DeleteSubnet ec2:ModifySubnetAttribute", on: "ec2:subnet/*", when: own},
		// What is still in a subnet when it is destroyed.
		{write: "ec2:DescribeNetworkInterfaces"},
	},
	"aws_internet_gateway": {
		{read: "ec2:DescribeInternetGateways"},
		{write: "ec2:CreateInternetGateway", on: "ec2:internet-gateway/*", when: tagged},
		{write: "ec2:AttachInternetGateway ec2:DetachInternetGateway", on: "ec2:internet-gateway/* ec2:vpc/*", when: own},
		{write: "ec2:DeleteInternetGateway", on: "ec2:internet-gateway/*", when: own},
	},
	"aws_eip": {
		{read: "ec2:DescribeAddresses ec2:DescribeAddressesAttribute"},
		{write: "ec2:AllocateAddress", on: "ec2:elastic-ip/*", when: tagged},
		{write: "ec2:DisassociateAddress ec2:ReleaseAddress", on: "ec2:elastic-ip/*", when: own},
	},
	"aws_nat_gateway": {
		{read: "ec2:DescribeNatGateways"},
		{write: "ec2:CreateNatGateway", on: "ec2:natgateway/*", when: tagged},
		{write: "ec2:CreateNatGateway", on: "ec2:subnet/* ec2:elastic-ip/*", when: own},
		{write: "ec2:DeleteNatGateway", on: "ec2:natgateway/*", when: own},
	},
	"aws_route_table": {
		{read: "ec2:DescribeRouteTables"},
		{write: "ec2:CreateRouteTable", on: "ec2:route-table/*", when: tagged},
		{write: "ec2:CreateRouteTable", on: "ec2:vpc/*", when: own},
		{write: "ec2:DeleteRouteTable", on: "ec2:route-table/*", when: own},
	},
	"aws_route": {
		{read: "ec2:DescribeRouteTables"},
		{write: "ec2:CreateRoute ec2:ReplaceRoute ec2:DeleteRoute", on: "ec2:route-table/*", when: own},
	},
	"aws_route_table_association": {
		{read: "ec2:DescribeRouteTables"},
		{write: "ec2:AssociateRouteTable ec2:DisassociateRouteTable ec2:ReplaceRouteTableAssociation", on: "ec2:route-table/* ec2:subnet/*", when: own},
	},
	"aws_vpc_endpoint": {
		{read: "ec2:DescribeVpcEndpoints ec2:DescribePrefixLists ec2:DescribeNetworkInterfaces"}, // the provider looks for those of an interface endpoint
		{write: "ec2:CreateVpcEndpoint", on: "ec2:vpc-endpoint/*", when: tagged},
		{write: "ec2:CreateVpcEndpoint", on: "ec2:vpc/* ec2:route-table/* ec2:subnet/* ec2:security-group/*", when: own},
		{write: "ec2:ModifyVpcEndpoint ec2:DeleteVpcEndpoints", on: "ec2:vpc-endpoint/*", when: own},
		{write: "ec2:ModifyVpcEndpoint", on: "ec2:route-table/* ec2:subnet/* ec2:security-group/*", when: own},
	},
	"aws_security_group": { // every stack has one
		// All that EC2 makes is tagged, and tagged only by who makes it.
		{write: "ec2:CreateTags", on: "ec2:*/*", when: atCreation},
		{write: "ec2:CreateTags ec2:DeleteTags", on: "ec2:*/*", when: own},
		{read: "ec2:DescribeSecurityGroups"},
		{write: "ec2:CreateSecurityGroup", on: "ec2:security-group/*", when: tagged},
		{write: "ec2:CreateSecurityGroup", on: "ec2:vpc/*", when: own},
		// AWS gives a new group a rule that lets everything out; Terraform removes it.
		{write: "ec2:RevokeSecurityGroupEgress ec2:RevokeSecurityGroupIngress ec2:DeleteSecurityGroup", on: "ec2:security-group/*", when: own},
		{write: "ec2:DescribeNetworkInterfaces"},
	},
	"aws_default_security_group": {
		{read: "ec2:DescribeSecurityGroups"},
		// It came with the VPC, without a tag.
		{write: "ec2:CreateTags", on: "ec2:security-group/*", when: tagged},
		{write: "ec2:RevokeSecurityGroupEgress ec2:RevokeSecurityGroupIngress", on: "ec2:security-group/*", when: own},
	},
	"aws_vpc_security_group_egress_rule": {
		{read: "ec2:DescribeSecurityGroupRules"},
		{write: "ec2:AuthorizeSecurityGroupEgress", on: "ec2:security-group-rule/*", when: tagged},
		{write: "ec2:AuthorizeSecurityGroupEgress ec2:RevokeSecurityGroupEgress ec2:ModifySecurityGroupRules", on: "ec2:security-group/* ec2:security-group-rule/*", when: own},
	},
	"aws_vpc_security_group_ingress_rule": {
		{read: "ec2:DescribeSecurityGroupRules"},
		{write: "ec2:AuthorizeSecurityGroupIngress", on: "ec2:security-group-rule/*", when: tagged},
		{write: "ec2:AuthorizeSecurityGroupIngress ec2:RevokeSecurityGroupIngress ec2:ModifySecurityGroupRules", on: "ec2:security-group/* ec2:security-group-rule/*", when: own},
	},
	"aws_flow_log": {
		{read: "ec2:DescribeFlowLogs"},
		{write: "ec2:CreateFlowLogs", on: "ec2:vpc-flow-log/*", when: tagged},
		{write: "ec2:CreateFlowLogs", on: "ec2:vpc/*", when: own},
		{write: "ec2:DeleteFlowLogs", on: "ec2:vpc-flow-log/*", when: own},
		{write: "iam:PassRole", on: "iam:role/{iam_role_arn}", when: toFlowLogs},
	},
	"aws_ecs_cluster": {
		{read: "ecs:DescribeClusters", on: "ecs:cluster/{name}"},
		{write: "ecs:CreateCluster ecs:UpdateCluster ecs:DeleteCluster ecs:TagResource ecs:UntagResource", on: "ecs:cluster/{name}"},
		{write: "iam:CreateServiceLinkedRole", on: "iam:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"},
	},
	"aws_ecs_cluster_capacity_providers": {
		{read: "ecs:DescribeClusters", on: "ecs:cluster/{cluster_name}"},
		{write: "ecs:PutClusterCapacityProviders", on: "ecs:cluster/{cluster_name}"},
	},
	"aws_ecs_service": {
		{read: "ecs:DescribeServices", on: "ecs:service/{cluster}/{name}"},
		// verify: what runs.
		{read: "ecs:ListTasks", when: inCluster},
		{read: "ecs:DescribeTasks", on: "ecs:task/{cluster}/*"},
		{write: "ecs:CreateService ecs:UpdateService ecs:DeleteService ecs:TagResource ecs:UntagResource", on: "ecs:service/{cluster}/{name}"},
	},
	"aws_ecs_task_definition": {
		{read: "ecs:DescribeTaskDefinition"},
		{write: "ecs:RegisterTaskDefinition ecs:TagResource ecs:UntagResource", on: "ecs:task-definition/{family}:*"},
		{write: "ecs:DeregisterTaskDefinition"},
		{write: "iam:PassRole", on: "iam:role/{execution_role_arn} iam:role/{task_role_arn}", when: toECS},
		// verify: whether the task may read them, and the credential that the worker uses.
		{read: "secretsmanager:DescribeSecret secretsmanager:GetResourcePolicy", on: "{existing_secrets}"},
		{read: "secretsmanager:GetSecretValue", on: "{existing_credential}"},
	},
	"aws_iam_role": {
		{read: "iam:GetRole iam:ListRolePolicies iam:ListAttachedRolePolicies", on: "iam:role/{name}"},
		{read: "iam:GetPolicy iam:GetPolicyVersion", on: "{permissions_boundary}"},
		{write: "iam:CreateRole iam:PutRolePermissionsBoundary", on: "iam:role/{name}", when: bounded},
		{write: "iam:UpdateRole iam:UpdateRoleDescription iam:UpdateAssumeRolePolicy iam:DeleteRole iam:TagRole iam:UntagRole iam:ListInstanceProfilesForRole", on: "iam:role/{name}"},
	},
	"aws_iam_role_policy": {
		{read: "iam:GetRolePolicy", on: "iam:role/{role}"},
		{write: "iam:PutRolePolicy iam:DeleteRolePolicy", on: "iam:role/{role}", when: bounded},
		// verify: whether the worker may decrypt its secrets, and the credential that it uses.
		{read: "kms:DescribeKey kms:GetKeyPolicy", on: "{keys}"},
		{read: "kms:Decrypt", on: "{keys}", when: viaSecretsManager},
	},
	"aws_iam_role_policy_attachment": {
		{read: "iam:ListAttachedRolePolicies", on: "iam:role/{role}"},
		// verify: what it allows.
		{read: "iam:GetPolicy iam:GetPolicyVersion", on: "{policy_arn}"},
		{write: "iam:AttachRolePolicy iam:DetachRolePolicy", on: "iam:role/{role}", when: thatPolicy},
	},
	"aws_cloudwatch_log_group": {
		{read: "logs:DescribeLogGroups"},
		{read: "logs:ListTagsForResource", on: "logs:log-group:{name}"},
		// verify and logs: what the worker says.
		{read: "logs:FilterLogEvents", on: "logs:log-group:{name}:*"},
		{write: "logs:CreateLogGroup logs:DeleteLogGroup logs:PutRetentionPolicy logs:DeleteRetentionPolicy logs:AssociateKmsKey logs:DisassociateKmsKey logs:TagResource logs:UntagResource", on: "logs:log-group:{name} logs:log-group:{name}:*"},
	},
	"aws_secretsmanager_secret": {
		{read: "secretsmanager:DescribeSecret secretsmanager:GetResourcePolicy", on: "secretsmanager:secret:{name}-??????"},
		{find: "secretsmanager:ListSecrets"},
		// verify: the same as for the keys of a role's policy, which an existing role has not.
		{read: "kms:DescribeKey kms:GetKeyPolicy", on: "{kms_key_id}"},
		{read: "kms:Decrypt", on: "{kms_key_id}", when: viaSecretsManager},
		{write: "kms:GenerateDataKey", on: "{kms_key_id}", when: viaSecretsManager},
		{write: "secretsmanager:CreateSecret secretsmanager:UpdateSecret secretsmanager:DeleteSecret secretsmanager:TagResource secretsmanager:UntagResource", on: "secretsmanager:secret:{name}-??????"},
	},
	"aws_secretsmanager_secret_version": {
		{read: "secretsmanager:DescribeSecret secretsmanager:GetSecretValue", on: "secretsmanager:secret:{secret_id}-??????"},
		{write: "secretsmanager:PutSecretValue secretsmanager:UpdateSecretVersionStage", on: "secretsmanager:secret:{secret_id}-??????"},
	},
	"aws_service_discovery_private_dns_namespace": {
		{read: "servicediscovery:GetNamespace", on: "servicediscovery:namespace/*", when: own},
		{find: "servicediscovery:ListNamespaces"},
		{find: "route53:GetHostedZone", on: "route53:hostedzone/*"},
		// The operation that makes a namespace is about none yet.
		{read: "servicediscovery:GetOperation servicediscovery:ListTagsForResource"},
		{write: "servicediscovery:CreatePrivateDnsNamespace servicediscovery:TagResource", when: tagged},
		{write: "servicediscovery:UpdatePrivateDnsNamespace servicediscovery:DeleteNamespace", on: "servicediscovery:namespace/*", when: own},
		{write: "servicediscovery:UntagResource"},
		// Cloud Map makes the hosted zone with the rights of who calls.
		{write: "route53:CreateHostedZone route53:ListHostedZonesByName"},
		{write: "route53:GetHostedZone route53:DeleteHostedZone", on: "route53:hostedzone/*"},
		{write: "ec2:DescribeVpcs ec2:DescribeRegions"},
	},
	"aws_service_discovery_service": {
		{read: "servicediscovery:GetService", on: "servicediscovery:service/*", when: own},
		{find: "servicediscovery:ListServices"},
		{read: "servicediscovery:ListTagsForResource"},
		{write: "servicediscovery:CreateService", on: "servicediscovery:namespace/*", when: own},
		{write: "servicediscovery:CreateService", on: "servicediscovery:service/*", when: tagged},
		{write: "servicediscovery:UpdateService servicediscovery:DeleteService", on: "servicediscovery:service/*", when: own},
	},
	"aws_cloudwatch_event_rule": {
		{read: "events:DescribeRule events:ListTagsForResource", on: "events:rule/{name}"},
		{write: "events:PutRule events:DeleteRule events:TagResource events:UntagResource", on: "events:rule/{name}"},
	},
	"aws_cloudwatch_event_target": {
		{read: "events:ListTargetsByRule", on: "events:rule/{rule}"},
		{write: "events:PutTargets events:RemoveTargets", on: "events:rule/{rule}"},
	},
	"aws_sqs_queue": {
		{read: "sqs:GetQueueAttributes sqs:ListQueueTags", on: "sqs:{name}"},
		{find: "sqs:GetQueueUrl", on: "sqs:{name}"},
		{write: "sqs:CreateQueue sqs:DeleteQueue sqs:SetQueueAttributes sqs:TagQueue sqs:UntagQueue", on: "sqs:{name}"},
	},
	"aws_sqs_queue_policy":         {{read: "sqs:GetQueueAttributes", on: "sqs:{queue_url}"}, {write: "sqs:SetQueueAttributes", on: "sqs:{queue_url}"}},
	"aws_sqs_queue_redrive_policy": {{read: "sqs:GetQueueAttributes", on: "sqs:{queue_url}"}, {write: "sqs:SetQueueAttributes", on: "sqs:{queue_url}"}},
	"aws_cloudwatch_metric_alarm": {
		{read: "cloudwatch:DescribeAlarms cloudwatch:ListTagsForResource", on: "cloudwatch:alarm:{alarm_name}"},
		// status and verify: the probe's figures.
		{read: "cloudwatch:GetMetricData"},
		{write: "cloudwatch:PutMetricAlarm cloudwatch:DeleteAlarms cloudwatch:TagResource cloudwatch:UntagResource", on: "cloudwatch:alarm:{alarm_name}"},
	},
	"aws_cloudwatch_dashboard": {
		{read: "cloudwatch:GetDashboard", on: "cloudwatch:dashboard/{dashboard_name}"},
		{write: "cloudwatch:PutDashboard cloudwatch:DeleteDashboards", on: "cloudwatch:dashboard/{dashboard_name}"},
	},
	"aws_cloudwatch_log_metric_filter": {
		{read: "logs:DescribeMetricFilters", on: "logs:log-group:{log_group_name} logs:log-group:{log_group_name}:*"},
		{write: "logs:PutMetricFilter logs:DeleteMetricFilter", on: "logs:log-group:{log_group_name} logs:log-group:{log_group_name}:*"},
	},
	"aws_lambda_function": {
		{read: "lambda:GetFunction lambda:GetFunctionCodeSigningConfig lambda:GetFunctionConfiguration lambda:ListVersionsByFunction", on: "lambda:function:{function_name}"},
		{write: "lambda:CreateFunction lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration lambda:DeleteFunction lambda:TagResource lambda:UntagResource", on: "lambda:function:{function_name}"},
		{write: "iam:PassRole", on: "iam:role/{role}", when: toLambda},
		// Lambda looks at the network of a function with the rights of who makes it.
		{write: "ec2:DescribeSecurityGroups ec2:DescribeSubnets ec2:DescribeVpcs"},
	},
	"aws_scheduler_schedule": {
		{read: "scheduler:GetSchedule", on: "scheduler:schedule/default/{name}"},
		{write: "scheduler:CreateSchedule scheduler:UpdateSchedule scheduler:DeleteSchedule", on: "scheduler:schedule/default/{name}"},
		{write: "iam:PassRole", on: "iam:role/{target.role_arn}", when: toScheduler},
	},
	"aws_sns_topic": {
		{read: "sns:GetTopicAttributes sns:ListTagsForResource", on: "sns:{name}"},
		{write: "sns:CreateTopic sns:SetTopicAttributes sns:DeleteTopic sns:TagResource sns:UntagResource", on: "sns:{name}"},
	},
	"aws_sns_topic_policy": {{read: "sns:GetTopicAttributes", on: "sns:{arn}"}, {write: "sns:SetTopicAttributes", on: "sns:{arn}"}},
	"aws_sns_topic_subscription": {
		{read: "sns:GetSubscriptionAttributes", on: "sns:{topic_arn}"},
		// verify and adopt: who hears of alarms.
		{read: "sns:ListSubscriptionsByTopic", on: "sns:{topic_arn}"},
		{write: "sns:Subscribe sns:Unsubscribe", on: "sns:{topic_arn}"},
	},
	"aws_db_instance": {
		// Terraform asks for it by the id that RDS gives it.
		{read: "rds:DescribeDBInstances", on: "rds:db:*"},
		{read: "rds:ListTagsForResource", on: "rds:db:{identifier}"},
		{write: "rds:CreateDBInstance", on: "rds:db:{identifier} rds:subgrp:{db_subnet_group_name} rds:pg:{parameter_group_name}"},
		{write: "rds:ModifyDBInstance rds:DeleteDBInstance rds:AddTagsToResource rds:RemoveTagsFromResource", on: "rds:db:{identifier}"},
		{write: "rds:ModifyDBInstance", on: "rds:pg:{parameter_group_name}"},
		{write: "iam:CreateServiceLinkedRole", on: "iam:role/aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS"},
	},
	"aws_db_subnet_group": {
		{read: "rds:DescribeDBSubnetGroups rds:ListTagsForResource", on: "rds:subgrp:{name}"},
		{write: "rds:CreateDBSubnetGroup rds:ModifyDBSubnetGroup rds:DeleteDBSubnetGroup rds:AddTagsToResource rds:RemoveTagsFromResource", on: "rds:subgrp:{name}"},
	},
	"aws_db_parameter_group": {
		{read: "rds:DescribeDBParameterGroups rds:DescribeDBParameters rds:ListTagsForResource", on: "rds:pg:{name}"},
		{write: "rds:CreateDBParameterGroup rds:ModifyDBParameterGroup rds:ResetDBParameterGroup rds:DeleteDBParameterGroup rds:AddTagsToResource rds:RemoveTagsFromResource", on: "rds:pg:{name}"},
	},
	"data.aws_vpc": {
		// verify: whether the network ACLs let the tasks through.
		{read: "ec2:DescribeVpcs ec2:DescribeRouteTables ec2:DescribeNetworkAcls"},
		{read: "ec2:DescribeVpcAttribute", on: "ec2:vpc/{id}"},
		// It has not the environment's tags.
		{write: "ec2:CreateSecurityGroup", on: "ec2:vpc/{id}"},
	},
	"data.aws_subnet":                              {{read: "ec2:DescribeSubnets"}},
	"data.aws_route_table":                         {{read: "ec2:DescribeRouteTables"}},
	"data.aws_route_tables":                        {{read: "ec2:DescribeRouteTables"}},
	"data.aws_vpc_endpoint":                        {{read: "ec2:DescribeVpcEndpoints"}},
	"data.aws_ecs_clusters":                        {{read: "ecs:ListClusters"}},
	"data.aws_cloudwatch_log_groups":               {{read: "logs:DescribeLogGroups"}},
	"data.aws_availability_zones":                  {{read: "ec2:DescribeAvailabilityZones"}},
	"data.aws_caller_identity":                     nil, // everybody may ask who he is
	"data.aws_partition":                           nil,
	"ephemeral.aws_secretsmanager_random_password": {{read: "secretsmanager:GetRandomPassword"}},
	"ephemeral.aws_secretsmanager_secret_version":  {{write: "secretsmanager:GetSecretValue", on: "secretsmanager:secret:{secret_id}-??????"}},
	// The S3 backend ("Permissions Required" in Terraform's documentation of it).
	"backend.s3": {
		{read: "s3:ListBucket", on: "s3:{bucket}"},
		{read: "s3:GetObject", on: "s3:{bucket}/{key}"},
		{write: "s3:PutObject", on: "s3:{bucket}/{key}"},
		{read: "s3:GetObject s3:PutObject s3:DeleteObject", on: "s3:{bucket}/{key}.tflock"},
		{read: "kms:Decrypt kms:GenerateDataKey", on: "{kms_key_id}", when: viaS3}, // the lock is written for a plan too
	},
	"backend.local": nil,
}
