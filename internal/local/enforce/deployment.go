package enforce

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
)

// deployment are the calls of a deployer that can be judged, with the resources that each is
// for by the Service Authorization Reference: {X} is a parameter of the call, which may be a
// list, and + stands before what the call makes. Empty: the call knows no resource.
var deployment = map[string]string{
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
	"ec2:ReleaseAddress":                "elastic-ip/{AllocationId}",
	"ec2:RevokeSecurityGroupEgress":     "security-group/{GroupId}",
	"ec2:RevokeSecurityGroupIngress":    "security-group/{GroupId}",

	"ecs:CreateCluster":               "+cluster/{clusterName}",
	"ecs:CreateService":               "+service/{cluster}/{serviceName}",
	"ecs:DeleteCluster":               "cluster/{cluster}",
	"ecs:DeleteService":               "service/{cluster}/{service}",
	"ecs:DescribeClusters":            "cluster/{clusters}",
	"ecs:DescribeServices":            "service/{cluster}/{services}",
	"ecs:ListClusters":                "",
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
	"iam:CreateRole":                  "+role/{RoleName}",
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
	"servicediscovery:ListNamespaces":            "",
	"servicediscovery:ListServices":              "",
	"servicediscovery:ListTagsForResource":       "",

	"sqs:CreateQueue":        "+{QueueName}",
	"sqs:DeleteQueue":        "{QueueUrl}",
	"sqs:GetQueueAttributes": "{QueueUrl}",
	"sqs:ListQueueTags":      "{QueueUrl}",
	"sqs:SetQueueAttributes": "{QueueUrl}",
}

// further are rights that a call needs beside its own: what Cloud Map and ECS then do with the
// rights of the caller.
var further = map[string][]string{
	"servicediscovery:CreatePrivateDnsNamespace": {"route53:CreateHostedZone", "ec2:DescribeVpcs"},
	"servicediscovery:DeleteNamespace":           {"route53:DeleteHostedZone"},
}

// tagging is the action with which a service tags what it makes.
var tagging = map[string]string{
	"cloudwatch": "cloudwatch:TagResource", "lambda": "lambda:TagResource", "sns": "sns:TagResource",
	"ec2": "ec2:CreateTags", "ecs": "ecs:TagResource", "events": "events:TagResource", "iam": "iam:TagRole", "logs": "logs:TagResource",
	"rds": "rds:AddTagsToResource", "secretsmanager": "secretsmanager:TagResource", "servicediscovery": "servicediscovery:TagResource", "sqs": "sqs:TagQueue",
}

// deploy are the rights that a deployer's call needs.
func (c *call) deploy(ctx context.Context, resources string) ([]right, error) {
	tags := c.requestTags()
	var all []right
	for _, pattern := range strings.Fields(resources) {
		name, made := strings.CutPrefix(pattern, "+")
		for _, arn := range c.resources(name) {
			if !made {
				tagged, err := c.resourceTags(ctx, arn)
				if err != nil {
					return nil, err
				}
				all = append(all, c.on(c.action, arn, tagged))
				continue
			}
			all = append(all, c.on(c.action, arn, tags))
			if len(tags) > 0 {
				create := map[string][]string{c.service + ":createaction": {strings.TrimPrefix(c.action, c.service+":")}}
				for key, values := range tags {
					create[key] = values
				}
				all = append(all, c.on(tagging[c.service], arn, create))
			}
		}
	}
	switch {
	case resources == "":
		all = append(all, c.on(c.action, "*", nil))
	case len(all) == 0: // none of the parameters is there
		return nil, errNotJudged
	}
	for _, action := range further[c.action] {
		resource := "*"
		if action == "route53:DeleteHostedZone" {
			resource = "arn:" + c.partition + ":route53:::hostedzone/Z1"
		}
		all = append(all, c.on(action, resource, nil))
	}
	switch c.service {
	case "iam":
		return all, c.roleKeys(ctx, all)
	case "ecs":
		for _, r := range all {
			r.context["ecs:cluster"] = []string{c.cluster()}
		}
	}
	all = append(all, c.passTo("vpc-flow-logs.amazonaws.com", c.text("DeliverLogsPermissionArn"))...)
	if c.service == "lambda" {
		all = append(all, c.passTo("lambda.amazonaws.com", c.text("Role"))...)
	}
	role, _ := c.at("Target", "RoleArn").(string)
	return append(all, c.passTo("scheduler.amazonaws.com", role)...), nil
}

// resources are the ARNs of a pattern.
func (c *call) resources(pattern string) []string {
	texts := []string{pattern}
	for strings.Contains(texts[0], "{") {
		before, rest, _ := strings.Cut(texts[0], "{")
		name, _, _ := strings.Cut(rest, "}")
		values := c.values(name)
		var next []string
		for _, text := range texts {
			for _, value := range values {
				if before != "" && strings.HasPrefix(value, "arn:") || strings.Contains(value, "://") {
					value = lastPart(value)
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
		case c.service == "sns" && strings.Count(text, ":") == 6: // a subscription's: the right is to its topic
			texts[i] = text[:strings.LastIndex(text, ":")]
		case strings.HasPrefix(text, "arn:"), text == "*":
		case c.service == "cloudwatch" && strings.HasPrefix(text, "dashboard/"):
			texts[i] = fmt.Sprintf("arn:%s:cloudwatch::%s:%s", c.partition, c.account, text)
		case c.service == "route53":
			texts[i] = "arn:" + c.partition + ":route53:::" + text
		case c.service == "iam":
			texts[i] = fmt.Sprintf("arn:%s:iam::%s:%s", c.partition, c.account, text)
		default:
			texts[i] = c.arn(c.service, c.kind(text))
		}
	}
	return texts
}

// kind puts the type of a resource of EC2 before its id, where a call takes all of them.
func (c *call) kind(resource string) string {
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

// values are those of a parameter, which may be a list: in JSON, or as Name.1 or Name.member.1
// in a query.
func (c *call) values(name string) []string {
	var all []string
	switch value := c.parameters[name].(type) {
	case string:
		all = append(all, value)
	case []any:
		for _, item := range value {
			all = append(all, fmt.Sprint(item))
		}
	case nil:
		for key := range c.parameters {
			if rest, ok := strings.CutPrefix(key, name+"."); ok && strings.Trim(strings.TrimPrefix(rest, "member."), "0123456789") == "" {
				all = append(all, c.text(key))
			}
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, func(value string) bool { return value == "" })
}

// requestTags are the condition keys of the tags that the call gives.
func (c *call) requestTags() map[string][]string {
	tags := map[string][]string{}
	for key, value := range c.parameters {
		if tag, ok := strings.CutSuffix(key, ".Key"); ok && !strings.HasPrefix(key, "Filter") {
			tags["aws:requesttag/"+strings.ToLower(fmt.Sprint(value))] = []string{c.text(tag + ".Value")}
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

// roleKeys puts the condition keys of IAM into rights.
func (c *call) roleKeys(ctx context.Context, all []right) error {
	boundary := c.text("PermissionsBoundary")
	if role := c.text("RoleName"); role != "" && c.action != "iam:CreateRole" {
		got, err := c.guard.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &role})
		if err != nil {
			return nil // AWS says itself that there is none
		}
		if got.Role.PermissionsBoundary != nil {
			boundary = aws.ToString(got.Role.PermissionsBoundary.PermissionsBoundaryArn)
		}
	}
	for _, r := range all {
		if boundary != "" {
			r.context["iam:permissionsboundary"] = []string{boundary}
		}
		if policy := c.text("PolicyArn"); policy != "" {
			r.context["iam:policyarn"] = []string{policy}
		}
	}
	return nil
}

// resourceTags are the condition keys of the tags that a resource of EC2 or Cloud Map has: no
// policy asks for those of others.
func (c *call) resourceTags(ctx context.Context, arn string) (map[string][]string, error) {
	context := map[string][]string{}
	if c.action == "ec2:CreateTags" {
		context = c.requestTags()
	}
	switch c.service {
	case "ec2":
		tags, err := c.guard.tags(ctx, c.associated(ctx, lastPart(arn)))
		if err != nil {
			return nil, err
		}
		for key, value := range tags {
			context["aws:resourcetag/"+strings.ToLower(key)] = []string{value}
		}
	case "servicediscovery":
		out, err := c.guard.cloudMap.ListTagsForResource(ctx, &servicediscovery.ListTagsForResourceInput{ResourceARN: &arn})
		if err != nil {
			return nil, fmt.Errorf("the tags of %s cannot be read: %w", arn, err)
		}
		for _, tag := range out.Tags {
			context["aws:resourcetag/"+strings.ToLower(aws.ToString(tag.Key))] = []string{aws.ToString(tag.Value)}
		}
	}
	return context, nil
}

// associated is the resource that is joined to another one by an association, and any other id
// as it is.
func (c *call) associated(ctx context.Context, id string) string {
	filter := func(name string) []ec2types.Filter { return []ec2types.Filter{{Name: &name, Values: []string{id}}} }
	switch {
	case strings.HasPrefix(id, "rtbassoc-"):
		if out, err := c.guard.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: filter("association.route-table-association-id")}); err == nil && len(out.RouteTables) == 1 {
			return aws.ToString(out.RouteTables[0].RouteTableId)
		}
	case strings.HasPrefix(id, "eipassoc-"):
		if out, err := c.guard.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: filter("association-id")}); err == nil && len(out.Addresses) == 1 {
			return aws.ToString(out.Addresses[0].AllocationId)
		}
	}
	return id
}

// tags are those of a resource of EC2.
func (g *Guard) tags(ctx context.Context, id string) (map[string]string, error) {
	out, err := g.ec2.DescribeTags(ctx, &ec2.DescribeTagsInput{Filters: []ec2types.Filter{{Name: aws.String("resource-id"), Values: []string{id}}}})
	if err != nil {
		return nil, fmt.Errorf("the tags of %s cannot be read: %w", id, err)
	}
	tags := map[string]string{}
	for _, tag := range out.Tags {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return tags, nil
}
