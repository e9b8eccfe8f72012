// Package deployment has the permissions that the calls of a deployer need, by the Service
// Authorization Reference: with it the enforcing proxy shows that a deployer's policy is complete, and
// that each of its actions is needed.
package deployment

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"

	"prefect-worker-ecs/internal/local/enforce"
)

// NotCalled are actions of a deployer that the life cycles of the tests do not need: they change nothing of the
// kind, or the emulator lacks what makes Terraform call them.
var NotCalled = map[string]string{
	"ec2:DeleteTags": "a tag is removed", "ecs:UntagResource": "a tag is removed", "events:UntagResource": "a tag is removed", "iam:UntagRole": "a tag is removed",
	"logs:UntagResource": "a tag is removed", "rds:RemoveTagsFromResource": "a tag is removed", "secretsmanager:UntagResource": "a tag is removed",
	"servicediscovery:UntagResource": "a tag is removed", "sqs:UntagQueue": "a tag is removed",

	"ec2:ModifySecurityGroupRules": "another port", "ec2:ModifySubnetAttribute": "another setting of a subnet", "ec2:ModifyVpcEndpoint": "another route table",
	"ec2:ReplaceRoute": "another gateway", "ec2:ReplaceRouteTableAssociation": "another route table", "ecs:UpdateCluster": "other insights",
	"iam:PutRolePermissionsBoundary": "a boundary comes", "iam:UpdateAssumeRolePolicy": "another release's trust policy", "iam:UpdateRole": "another release's description",
	"iam:UpdateRoleDescription": "another release's description", "logs:AssociateKmsKey": "a key comes", "logs:DisassociateKmsKey": "a key goes",
	"logs:DeleteRetentionPolicy": "logs never expire", "rds:ModifyDBSubnetGroup": "other subnets", "rds:ResetDBParameterGroup": "a parameter goes",
	"secretsmanager:UpdateSecret": "another description or key", "secretsmanager:UpdateSecretVersionStage": "a write that was half done", "servicediscovery:UpdatePrivateDnsNamespace": "another description",
	"servicediscovery:UpdateService": "another description", "servicediscovery:ListInstances": "verify",

	"ecr:DescribeImages": "verify", "ecr:GetRepositoryPolicy": "verify", "ecs:ListTasks": "verify", "ecs:GetTaskProtection": "verify", "ecs:DescribeTasks": "verify", "iam:GetPolicy": "verify", "iam:GetPolicyVersion": "verify", "logs:FilterLogEvents": "verify",
	"cloudwatch:GetMetricData": "verify", "lambda:GetFunctionConfiguration": "verify called it; whether Terraform waits with it in AWS is open", "kms:DescribeKey": "verify", "kms:GetKeyPolicy": "verify", "kms:ListGrants": "verify",
	"sns:ListSubscriptionsByTopic": "verify", "kms:Decrypt": "the emulator checks no key", "kms:GenerateDataKey": "the emulator checks no key",

	"cloudwatch:UntagResource": "a tag is removed", "lambda:UntagResource": "a tag is removed", "lambda:DeleteFunctionConcurrency": "somebody else has reserved concurrency", "sns:UntagResource": "a tag is removed",
	"lambda:UpdateFunctionCode": "another release's probe", "scheduler:UpdateSchedule": "another release's schedule",

	"ec2:DescribeRegions": "Cloud Map calls it", "route53:GetHostedZone": "Cloud Map calls it", "route53:ListHostedZonesByName": "Cloud Map calls it",
	"ec2:RevokeSecurityGroupIngress": "AWS gives a default group a rule that moto does not", "iam:CreateServiceLinkedRole": "the first cluster or database of an account",
}

// Actions returns the actions that a deployer, or somebody who adopts or verifies, calls.
func Actions() []string {
	return slices.Sorted(maps.Keys(calls))
}

// calls are the calls of a deployer that can be judged, with the resources that each is
// for by the Service Authorization Reference: {X} is a parameter of the call, which may be a
// list, and + stands before what the call makes. Empty: the call does not
// support resource-level permissions.
var calls = map[string]string{
	"application-autoscaling:DeleteScalingPolicy":      "scalable-target/*",
	"application-autoscaling:DeregisterScalableTarget": "scalable-target/*",
	"application-autoscaling:DescribeScalableTargets":  "",
	"application-autoscaling:DescribeScalingPolicies":  "",
	"application-autoscaling:ListTagsForResource":      "{ResourceARN}",
	"application-autoscaling:PutScalingPolicy":         "scalable-target/*",
	"application-autoscaling:RegisterScalableTarget":   "+scalable-target/*",

	"cloudwatch:DeleteAlarms":        "alarm:{AlarmNames}",
	"cloudwatch:DeleteDashboards":    "dashboard/{DashboardNames}",
	"cloudwatch:DescribeAlarms":      "alarm:{AlarmNames}",
	"cloudwatch:GetDashboard":        "dashboard/{DashboardName}",
	"cloudwatch:GetMetricData":       "",
	"cloudwatch:ListTagsForResource": "{ResourceARN}",
	"cloudwatch:PutDashboard":        "dashboard/{DashboardName}",
	"cloudwatch:PutMetricAlarm":      "+alarm:{AlarmName}",

	"lambda:CreateFunction":               "+function:{FunctionName}",
	"lambda:DeleteFunction":               "function:{FunctionName}",
	"lambda:GetFunction":                  "function:{FunctionName}",
	"lambda:GetFunctionCodeSigningConfig": "function:{FunctionName}",
	"lambda:GetFunctionConfiguration":     "function:{FunctionName}",
	"lambda:ListVersionsByFunction":       "function:{FunctionName}",
	"lambda:UpdateFunctionConfiguration":  "function:{FunctionName}",

	"scheduler:CreateSchedule": "schedule/default/{Name}",
	"scheduler:DeleteSchedule": "schedule/default/{Name}",
	"scheduler:GetSchedule":    "schedule/default/{Name}",

	"sns:CreateTopic":               "+{Name}",
	"sns:DeleteTopic":               "{TopicArn}",
	"sns:GetSubscriptionAttributes": "{SubscriptionArn}",
	"sns:GetTopicAttributes":        "{TopicArn}",
	"sns:ListSubscriptionsByTopic":  "{TopicArn}",
	"sns:ListTagsForResource":       "{ResourceArn}",
	"sns:SetTopicAttributes":        "{TopicArn}",
	"sns:Subscribe":                 "{TopicArn}",
	"sns:Unsubscribe":               "{SubscriptionArn}",

	"ec2:AllocateAddress":               "+elastic-ip/*",
	"ec2:AssociateRouteTable":           "route-table/{RouteTableId} subnet/{SubnetId}",
	"ec2:AttachInternetGateway":         "internet-gateway/{InternetGatewayId} vpc/{VpcId}",
	"ec2:AuthorizeSecurityGroupEgress":  "security-group/{GroupId} +security-group-rule/*",
	"ec2:AuthorizeSecurityGroupIngress": "security-group/{GroupId} +security-group-rule/*",
	"ec2:CreateFlowLogs":                "+vpc-flow-log/* vpc/{ResourceId}",
	"ec2:CreateInternetGateway":         "+internet-gateway/*",
	"ec2:CreateNatGateway":              "+natgateway/* subnet/{SubnetId} elastic-ip/{AllocationId}",
	"ec2:CreateRoute":                   "route-table/{RouteTableId}",
	"ec2:CreateRouteTable":              "+route-table/* vpc/{VpcId}",
	"ec2:CreateSecurityGroup":           "+security-group/* vpc/{VpcId}",
	"ec2:CreateSubnet":                  "+subnet/* vpc/{VpcId}",
	"ec2:CreateTags":                    "*/{ResourceId}",
	"ec2:CreateVpc":                     "+vpc/*",
	"ec2:CreateVpcEndpoint":             "+vpc-endpoint/* vpc/{VpcId} route-table/{RouteTableId} subnet/{SubnetId} security-group/{SecurityGroupId}",
	"ec2:DeleteFlowLogs":                "vpc-flow-log/{FlowLogId}",
	"ec2:DeleteInternetGateway":         "internet-gateway/{InternetGatewayId}",
	"ec2:DeleteNatGateway":              "natgateway/{NatGatewayId}",
	"ec2:DeleteRoute":                   "route-table/{RouteTableId}",
	"ec2:DeleteRouteTable":              "route-table/{RouteTableId}",
	"ec2:DeleteSecurityGroup":           "security-group/{GroupId}",
	"ec2:DeleteSubnet":                  "subnet/{SubnetId}",
	"ec2:DeleteTags":                    "*/{ResourceId}",
	"ec2:DeleteVpc":                     "vpc/{VpcId}",
	"ec2:DeleteVpcEndpoints":            "vpc-endpoint/{VpcEndpointId}",
	"ec2:DescribeAddresses":             "",
	"ec2:DescribeAddressesAttribute":    "",
	"ec2:DescribeAvailabilityZones":     "",
	"ec2:DescribeFlowLogs":              "",
	"ec2:DescribeInternetGateways":      "",
	"ec2:DescribeNatGateways":           "",
	"ec2:DescribeNetworkAcls":           "",
	"ec2:DescribeNetworkInterfaces":     "",
	"ec2:DescribePrefixLists":           "",
	"ec2:DescribeRouteTables":           "",
	"ec2:DescribeSecurityGroupRules":    "",
	"ec2:DescribeSecurityGroups":        "",
	"ec2:DescribeVpcAttribute":          "vpc/{VpcId}",
	"ec2:DescribeVpcEndpoints":          "",
	"ec2:DetachInternetGateway":         "internet-gateway/{InternetGatewayId} vpc/{VpcId}",
	"ec2:DisassociateAddress":           "elastic-ip/{AssociationId}",
	"ec2:DisassociateRouteTable":        "route-table/{AssociationId}",
	"ec2:ModifySecurityGroupRules":      "security-group/{GroupId} security-group-rule/{SecurityGroupRule}",
	"ec2:ModifySubnetAttribute":         "subnet/{SubnetId}",
	"ec2:ModifyVpcAttribute":            "vpc/{VpcId}",
	"ec2:ModifyVpcEndpoint":             "vpc-endpoint/{VpcEndpointId} route-table/{AddRouteTableId} route-table/{RemoveRouteTableId}",
	"ec2:ReplaceRouteTableAssociation":  "route-table/{RouteTableId} route-table/{AssociationId}",
	"ec2:ReleaseAddress":                "elastic-ip/{AllocationId}",
	"ec2:RevokeSecurityGroupEgress":     "security-group/{GroupId}",
	"ec2:RevokeSecurityGroupIngress":    "security-group/{GroupId}",

	"ecr:DescribeImages":      "repository/{repositoryName}",
	"ecr:GetRepositoryPolicy": "repository/{repositoryName}",

	"ssm:DescribeParameters": "",

	"ecs:CreateCluster":               "+cluster/{clusterName}",
	"ecs:CreateService":               "+service/{cluster}/{serviceName}",
	"ecs:DeleteCluster":               "cluster/{cluster}",
	"ecs:DeleteService":               "service/{cluster}/{service}",
	"ecs:DescribeClusters":            "cluster/{clusters}",
	"ecs:DescribeServices":            "service/{cluster}/{services}",
	"ecs:ListClusters":                "",
	"ecs:ListServices":                "",
	"ecs:ListTasks":                   "",
	"ecs:PutClusterCapacityProviders": "cluster/{cluster}",
	"ecs:UpdateService":               "service/{cluster}/{service}",

	"events:DeleteRule":          "rule/{Name}",
	"events:DescribeRule":        "rule/{Name}",
	"events:ListTagsForResource": "{ResourceARN}",
	"events:ListTargetsByRule":   "rule/{Rule}",
	"events:PutRule":             "+rule/{Name}",
	"events:PutTargets":          "rule/{Rule}",
	"events:RemoveTargets":       "rule/{Rule}",

	"iam:AttachRolePolicy":            "role/{RoleName}",
	"iam:CreateRole":                  "+role{Path}{RoleName}",
	"iam:DeleteRole":                  "role/{RoleName}",
	"iam:DeleteRolePolicy":            "role/{RoleName}",
	"iam:DetachRolePolicy":            "role/{RoleName}",
	"iam:GetRole":                     "role/{RoleName}",
	"iam:GetRolePolicy":               "role/{RoleName}",
	"iam:GetPolicy":                   "{PolicyArn}",
	"iam:GetPolicyVersion":            "{PolicyArn}",
	"iam:ListAttachedRolePolicies":    "role/{RoleName}",
	"iam:ListInstanceProfilesForRole": "role/{RoleName}",
	"iam:ListRolePolicies":            "role/{RoleName}",
	"iam:PutRolePolicy":               "role/{RoleName}",

	// Whether an action's ARN of a log group ends in :* differs; both must be allowed.
	"logs:CreateLogGroup":        "+log-group:{logGroupName}",
	"logs:DeleteLogGroup":        "log-group:{logGroupName} log-group:{logGroupName}:*",
	"logs:DescribeLogGroups":     "",
	"logs:FilterLogEvents":       "log-group:{logGroupName}:*",
	"logs:ListTagsForResource":   "{resourceArn}",
	"logs:DeleteMetricFilter":    "log-group:{logGroupName} log-group:{logGroupName}:*",
	"logs:DescribeMetricFilters": "log-group:{logGroupName} log-group:{logGroupName}:*",
	"logs:PutMetricFilter":       "log-group:{logGroupName} log-group:{logGroupName}:*",
	"logs:PutRetentionPolicy":    "log-group:{logGroupName} log-group:{logGroupName}:*",

	"rds:CreateDBInstance":          "+db:{DBInstanceIdentifier} subgrp:{DBSubnetGroupName} pg:{DBParameterGroupName}",
	"rds:CreateDBParameterGroup":    "+pg:{DBParameterGroupName}",
	"rds:CreateDBSubnetGroup":       "+subgrp:{DBSubnetGroupName}",
	"rds:DeleteDBInstance":          "db:{DBInstanceIdentifier}",
	"rds:DeleteDBParameterGroup":    "pg:{DBParameterGroupName}",
	"rds:DeleteDBSubnetGroup":       "subgrp:{DBSubnetGroupName}",
	"rds:DescribeDBInstances":       "db:*",
	"rds:DescribeDBParameterGroups": "pg:{DBParameterGroupName}",
	"rds:DescribeDBParameters":      "pg:{DBParameterGroupName}",
	"rds:DescribeDBSubnetGroups":    "subgrp:{DBSubnetGroupName}",
	"rds:ListTagsForResource":       "{ResourceName}",
	"rds:ModifyDBInstance":          "db:{DBInstanceIdentifier} pg:{DBParameterGroupName}",
	"rds:ModifyDBParameterGroup":    "pg:{DBParameterGroupName}",

	"route53:GetHostedZone": "hostedzone/{Id}",

	"secretsmanager:CreateSecret":             "+secret:{Name}-AbCdEf",
	"secretsmanager:DeleteSecret":             "{SecretId}",
	"secretsmanager:DescribeSecret":           "{SecretId}",
	"secretsmanager:GetRandomPassword":        "",
	"secretsmanager:GetResourcePolicy":        "{SecretId}",
	"secretsmanager:ListSecrets":              "",
	"secretsmanager:PutSecretValue":           "{SecretId}",
	"secretsmanager:UpdateSecretVersionStage": "{SecretId}",

	"servicediscovery:CreatePrivateDnsNamespace": "+*",
	"servicediscovery:CreateService":             "namespace/{NamespaceId} +service/*",
	"servicediscovery:DeleteNamespace":           "namespace/{Id}",
	"servicediscovery:DeleteService":             "service/{Id}",
	"servicediscovery:GetNamespace":              "namespace/{Id}",
	"servicediscovery:GetOperation":              "",
	"servicediscovery:GetService":                "service/{Id}",
	"servicediscovery:ListInstances":             "service/{ServiceId}",
	"servicediscovery:ListNamespaces":            "",
	"servicediscovery:ListServices":              "",
	"servicediscovery:ListTagsForResource":       "",

	"sqs:CreateQueue":        "+{QueueName}",
	"sqs:DeleteQueue":        "{QueueUrl}",
	"sqs:GetQueueAttributes": "{QueueUrl}",
	"sqs:ListQueueTags":      "{QueueUrl}",
	"sqs:SetQueueAttributes": "{QueueUrl}",
}

// further are permissions that a call also needs: what Cloud Map and ECS then do with the permissions
// of the caller.
var further = map[string][]string{
	"servicediscovery:CreatePrivateDnsNamespace": {"route53:CreateHostedZone", "ec2:DescribeVpcs"},
	"servicediscovery:DeleteNamespace":           {"route53:DeleteHostedZone"},
}

// tagging is the action with which a service tags what it makes.
var tagging = map[string]string{
	"application-autoscaling": "application-autoscaling:TagResource",
	"cloudwatch":              "cloudwatch:TagResource", "lambda": "lambda:TagResource", "sns": "sns:TagResource",
	"ec2": "ec2:CreateTags", "ecs": "ecs:TagResource", "events": "events:TagResource", "iam": "iam:TagRole", "logs": "logs:TagResource",
	"rds": "rds:AddTagsToResource", "secretsmanager": "secretsmanager:TagResource", "servicediscovery": "servicediscovery:TagResource", "sqs": "sqs:TagQueue",
}

// paths are the calls whose action is in their address, with the parameters that are there.
var paths = map[string]string{
	"POST /2015-03-31/functions":                                   "lambda:CreateFunction",
	"DELETE /2015-03-31/functions/{FunctionName}":                  "lambda:DeleteFunction",
	"GET /2015-03-31/functions/{FunctionName}":                     "lambda:GetFunction",
	"GET /2015-03-31/functions/{FunctionName}/configuration":       "lambda:GetFunctionConfiguration",
	"GET /2015-03-31/functions/{FunctionName}/versions":            "lambda:ListVersionsByFunction",
	"PUT /2015-03-31/functions/{FunctionName}/configuration":       "lambda:UpdateFunctionConfiguration",
	"GET /2020-06-30/functions/{FunctionName}/code-signing-config": "lambda:GetFunctionCodeSigningConfig",
	"GET /2013-04-01/hostedzone/{Id}":                              "route53:GetHostedZone",
	"POST /schedules/{Name}":                                       "scheduler:CreateSchedule",
	"GET /schedules/{Name}":                                        "scheduler:GetSchedule",
	"DELETE /schedules/{Name}":                                     "scheduler:DeleteSchedule",
}

// is reports whether the request has the path of a pattern, and reads its parameters.
func (c call) is(pattern, request string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(strings.TrimSuffix(request, "/"), "/")
	if len(want) != len(got) {
		return false
	}
	parameters := map[string]any{}
	for i, part := range want {
		if name, is := strings.CutPrefix(part, "{"); is {
			parameters[strings.TrimSuffix(name, "}")] = got[i]
		} else if part != got[i] {
			return false
		}
	}
	maps.Copy(c.Parameters, parameters)
	return true
}

// Permissions returns the function for enforce.Options. AWS is the emulator's, with keys that may do
// everything.
func Permissions(cfg aws.Config) func(context.Context, *enforce.APICall) ([]enforce.Permission, error) {
	clients := clients{ec2.NewFromConfig(cfg), iam.NewFromConfig(cfg), servicediscovery.NewFromConfig(cfg), applicationautoscaling.NewFromConfig(cfg)}
	return func(ctx context.Context, request *enforce.APICall) ([]enforce.Permission, error) {
		c := call{request, clients}
		for pattern, action := range paths {
			if c.Request != "" && c.is(pattern, c.Request) {
				c.Action = action
				c.Understood = len(c.Body) == 0 || json.Unmarshal(c.Body, &c.Parameters) == nil
			}
		}
		resources, known := calls[c.Action]
		if !known || !c.Understood {
			return nil, enforce.ErrNotJudged
		}
		return c.deploy(ctx, resources)
	}
}

type clients struct {
	ec2      *ec2.Client
	iam      *iam.Client
	cloudMap *servicediscovery.Client
	scaling  *applicationautoscaling.Client
}

// call is a call of a deployer.
type call struct {
	*enforce.APICall
	aws clients
}

// deploy returns the permissions that a call needs.
func (c call) deploy(ctx context.Context, resources string) ([]enforce.Permission, error) {
	tags := c.requestTags()
	var all []enforce.Permission
	for _, pattern := range strings.Fields(resources) {
		name, made := strings.CutPrefix(pattern, "+")
		for _, arn := range c.resources(name) {
			if !made {
				tagged, err := c.resourceTags(ctx, arn)
				if err != nil {
					return nil, err
				}
				all = append(all, c.On(c.Action, arn, tagged))
				continue
			}
			all = append(all, c.On(c.Action, arn, tags))
			if len(tags) > 0 {
				create := map[string][]string{c.Service + ":createaction": {strings.TrimPrefix(c.Action, c.Service+":")}}
				maps.Copy(create, tags)
				all = append(all, c.On(tagging[c.Service], arn, create))
			}
		}
	}
	switch {
	case resources == "":
		all = append(all, c.On(c.Action, "*", nil))
	case len(all) == 0: // none of the parameters is there
		return nil, enforce.ErrNotJudged
	}
	for _, action := range further[c.Action] {
		resource := "*"
		if action == "route53:DeleteHostedZone" {
			resource = "arn:" + c.Partition + ":route53:::hostedzone/Z1"
		}
		all = append(all, c.On(action, resource, nil))
	}
	switch c.Service {
	case "iam":
		c.roleKeys(ctx, all)
		return all, nil
	case "ecs":
		for _, r := range all {
			r.Context["ecs:cluster"] = []string{c.Cluster()}
		}
	}
	all = append(all, c.PassTo("vpc-flow-logs.amazonaws.com", c.Text("DeliverLogsPermissionArn"))...)
	if c.Service == "lambda" {
		all = append(all, c.PassTo("lambda.amazonaws.com", c.Text("Role"))...)
	}
	role, _ := c.At("Target", "RoleArn").(string)
	return append(all, c.PassTo("scheduler.amazonaws.com", role)...), nil
}

// resources returns the ARNs of a pattern.
func (c call) resources(pattern string) []string {
	texts := []string{pattern}
	for strings.Contains(texts[0], "{") {
		before, rest, _ := strings.Cut(texts[0], "{")
		name, _, _ := strings.Cut(rest, "}")
		values := c.values(name)
		var next []string
		for _, text := range texts {
			for _, value := range values {
				if before != "" && strings.HasPrefix(value, "arn:") || strings.Contains(value, "://") {
					value = path.Base(value)
				}
				next = append(next, strings.ReplaceAll(text, "{"+name+"}", value))
			}
		}
		if texts = next; len(texts) == 0 {
			return nil // an optional parameter
		}
	}
	for i, text := range texts {
		switch {
		case c.Service == "sns" && strings.Count(text, ":") == 6: // a subscription's: the permission is for its topic
			texts[i] = text[:strings.LastIndex(text, ":")]
		case strings.HasPrefix(text, "arn:"), text == "*":
		case c.Service == "cloudwatch" && strings.HasPrefix(text, "dashboard/"):
			texts[i] = fmt.Sprintf("arn:%s:cloudwatch::%s:%s", c.Partition, c.Account, text)
		case c.Service == "route53":
			texts[i] = "arn:" + c.Partition + ":route53:::" + text
		case c.Service == "iam":
			texts[i] = fmt.Sprintf("arn:%s:iam::%s:%s", c.Partition, c.Account, text)
		default:
			texts[i] = c.ARN(c.Service, c.kind(text))
		}
	}
	return texts
}

// kind puts the type of a resource of EC2 before its id, where a call takes all of them.
func (c call) kind(resource string) string {
	id, any := strings.CutPrefix(resource, "*/")
	if !any {
		return resource
	}
	for prefix, kind := range map[string]string{"sg-": "security-group", "sgr-": "security-group-rule", "igw-": "internet-gateway", "nat-": "natgateway", "rtb-": "route-table", "vpce-": "vpc-endpoint", "fl-": "vpc-flow-log", "eipalloc-": "elastic-ip", "subnet-": "subnet", "vpc-": "vpc"} {
		if strings.HasPrefix(id, prefix) {
			return kind + "/" + id
		}
	}
	return "unknown/" + id
}

// values returns the values of a parameter, which may be a list: in JSON, or as Name.1 or Name.member.1
// in a query.
func (c call) values(name string) []string {
	var all []string
	switch value := c.Parameters[name].(type) {
	case string:
		all = append(all, value)
	case []any:
		for _, item := range value {
			all = append(all, fmt.Sprint(item))
		}
	case nil:
		for key := range c.Parameters {
			if rest, ok := strings.CutPrefix(key, name+"."); ok && strings.Trim(strings.TrimPrefix(rest, "member."), "0123456789") == "" {
				all = append(all, c.Text(key))
			}
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, func(value string) bool { return value == "" })
}

// requestTags returns the condition keys of the tags that the call gives.
func (c call) requestTags() map[string][]string {
	tags := map[string][]string{}
	for key, value := range c.Parameters {
		if tag, ok := strings.CutSuffix(key, ".Key"); ok && !strings.HasPrefix(key, "Filter") {
			tags["aws:requesttag/"+strings.ToLower(fmt.Sprint(value))] = []string{c.Text(tag + ".Value")}
		}
		if strings.EqualFold(key, "tags") {
			switch value := value.(type) {
			case []any:
				for _, item := range value {
					tag, _ := item.(map[string]any)
					name, text := tag["Key"], tag["Value"]
					if name == nil {
						name, text = tag["key"], tag["value"]
					}
					tags["aws:requesttag/"+strings.ToLower(fmt.Sprint(name))] = []string{fmt.Sprint(text)}
				}
			case map[string]any:
				for name, text := range value {
					tags["aws:requesttag/"+strings.ToLower(name)] = []string{fmt.Sprint(text)}
				}
			}
		}
	}
	return tags
}

// roleKeys puts the condition keys of IAM, and the path of the role, into permissions.
func (c call) roleKeys(ctx context.Context, all []enforce.Permission) {
	boundary, arn := c.Text("PermissionsBoundary"), ""
	if role := c.Text("RoleName"); role != "" && c.Action != "iam:CreateRole" {
		got, err := c.aws.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &role})
		if err != nil {
			return // AWS says itself that there is none
		}
		arn = aws.ToString(got.Role.Arn)
		if got.Role.PermissionsBoundary != nil {
			boundary = aws.ToString(got.Role.PermissionsBoundary.PermissionsBoundaryArn)
		}
	}
	for i, r := range all {
		if arn != "" {
			all[i].Resource = arn
		}
		if boundary != "" {
			r.Context["iam:permissionsboundary"] = []string{boundary}
		}
		if policy := c.Text("PolicyArn"); policy != "" {
			r.Context["iam:policyarn"] = []string{policy}
		}
	}
}

// resourceTags returns the condition keys of the tags that a resource of EC2, Application Auto Scaling or Cloud Map has: no
// policy asks for those of others.
func (c call) resourceTags(ctx context.Context, arn string) (map[string][]string, error) {
	tags := map[string]string{}
	switch c.Service {
	case "ec2":
		id := c.associated(ctx, path.Base(arn))
		out, err := c.aws.ec2.DescribeTags(ctx, &ec2.DescribeTagsInput{Filters: []ec2types.Filter{{Name: aws.String("resource-id"), Values: []string{id}}}})
		if err != nil {
			return nil, fmt.Errorf("the tags of %s cannot be read: %w", id, err)
		}
		for _, tag := range out.Tags {
			tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
	case "application-autoscaling":
		targets, err := c.aws.scaling.DescribeScalableTargets(ctx, &applicationautoscaling.DescribeScalableTargetsInput{ServiceNamespace: "ecs", ResourceIds: c.values("ResourceId")})
		if err != nil {
			return nil, fmt.Errorf("the scalable target of the call cannot be read: %w", err)
		}
		for _, target := range targets.ScalableTargets {
			out, err := c.aws.scaling.ListTagsForResource(ctx, &applicationautoscaling.ListTagsForResourceInput{ResourceARN: target.ScalableTargetARN})
			if err != nil {
				return nil, fmt.Errorf("the tags of the scalable target cannot be read: %w", err)
			}
			maps.Copy(tags, out.Tags)
		}
	case "servicediscovery":
		out, err := c.aws.cloudMap.ListTagsForResource(ctx, &servicediscovery.ListTagsForResourceInput{ResourceARN: &arn})
		if err != nil {
			return nil, fmt.Errorf("the tags of %s cannot be read: %w", arn, err)
		}
		for _, tag := range out.Tags {
			tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
	}
	context := map[string][]string{}
	if c.Action == "ec2:CreateTags" {
		context = c.requestTags()
	}
	for key, value := range tags {
		context["aws:resourcetag/"+strings.ToLower(key)] = []string{value}
	}
	return context, nil
}

// associated returns the resource that is joined to another one by an association, and any other id
// as it is.
func (c call) associated(ctx context.Context, id string) string {
	filter := func(name string) []ec2types.Filter { return []ec2types.Filter{{Name: &name, Values: []string{id}}} }
	switch {
	case strings.HasPrefix(id, "rtbassoc-"):
		if out, err := c.aws.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: filter("association.route-table-association-id")}); err == nil && len(out.RouteTables) == 1 {
			return aws.ToString(out.RouteTables[0].RouteTableId)
		}
	case strings.HasPrefix(id, "eipassoc-"):
		if out, err := c.aws.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: filter("association-id")}); err == nil && len(out.Addresses) == 1 {
			return aws.ToString(out.Addresses[0].AllocationId)
		}
	}
	return id
}
