package adopt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	secretstypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	discoverytypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"prefect-worker-ecs/internal/terraform/stackjson"
)

type clients struct {
	cloudwatch *cloudwatch.Client
	discovery  *servicediscovery.Client
	ec2        *ec2.Client
	ecs        *ecs.Client
	events     *eventbridge.Client
	iam        *iam.Client
	lambda     *lambda.Client
	logs       *cloudwatchlogs.Client
	rds        *rds.Client
	route53    *route53.Client
	scheduler  *scheduler.Client
	secrets    *secretsmanager.Client
	sns        *sns.Client
	sqs        *sqs.Client
}

func newClients(cfg aws.Config) clients {
	return clients{cloudwatch.NewFromConfig(cfg), servicediscovery.NewFromConfig(cfg), ec2.NewFromConfig(cfg), ecs.NewFromConfig(cfg),
		eventbridge.NewFromConfig(cfg), iam.NewFromConfig(cfg), lambda.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg), rds.NewFromConfig(cfg),
		route53.NewFromConfig(cfg), scheduler.NewFromConfig(cfg), secretsmanager.NewFromConfig(cfg), sns.NewFromConfig(cfg), sqs.NewFromConfig(cfg)}
}

// made are the types that are made whatever there is in AWS, and why that does no harm.
var made = map[string]string{
	"aws_default_security_group":         "it came with the VPC: Terraform takes it over, and removes its rules",
	"aws_ecs_cluster_capacity_providers": "it is a setting of the cluster",
	"aws_ecs_task_definition":            "it is a new revision, and those that are there stay",
	"aws_secretsmanager_secret_version":  "it is a new version, and the value of before stays as AWSPREVIOUS",
	"aws_sns_topic_policy":               "it is a setting of the topic",
	"aws_sqs_queue_policy":               "it is a setting of the queue",
	"aws_sqs_queue_redrive_policy":       "it is a setting of the queue",
}

// kinds are how a resource of each type is found. The functions return what Terraform imports it
// by ("Import" on the page of each resource in the provider's documentation).
var kinds map[string]func(*finder, resource) (string, error)

// It is filled here because the functions call each other through it.
func init() {
	kinds = map[string]func(*finder, resource) (string, error){
		"aws_vpc":                             (*finder).vpc,
		"aws_subnet":                          (*finder).subnet,
		"aws_internet_gateway":                (*finder).internetGateway,
		"aws_nat_gateway":                     (*finder).natGateway,
		"aws_eip":                             (*finder).natAddress,
		"aws_route_table":                     (*finder).routeTable,
		"aws_route":                           (*finder).route,
		"aws_route_table_association":         (*finder).association,
		"aws_security_group":                  (*finder).securityGroup,
		"aws_vpc_security_group_egress_rule":  (*finder).securityGroupRule,
		"aws_vpc_security_group_ingress_rule": (*finder).securityGroupRule,
		"aws_vpc_endpoint":                    (*finder).endpoint,
		"aws_flow_log":                        (*finder).flowLog,

		"aws_ecs_cluster": (*finder).cluster,
		"aws_ecs_service": (*finder).service,
		"aws_service_discovery_private_dns_namespace": (*finder).namespace,
		"aws_service_discovery_service":               (*finder).discoveryService,
		"aws_iam_role_policy_attachment":              (*finder).attachment,
		"aws_cloudwatch_log_group":                    (*finder).logGroup,
		"aws_cloudwatch_log_metric_filter":            (*finder).metricFilter,
		"aws_cloudwatch_event_target":                 (*finder).eventTarget,
		"aws_secretsmanager_secret":                   (*finder).secret,
		"aws_sns_topic_subscription":                  (*finder).subscription,

		// What has a name of its own: AWS is asked for it, and says so if there is none.
		"aws_iam_role": func(f *finder, r resource) (string, error) {
			_, err := f.aws.iam.GetRole(f.ctx, &iam.GetRoleInput{RoleName: aws.String(r.text("name"))})
			return r.text("name"), err
		},
		"aws_iam_role_policy": func(f *finder, r resource) (string, error) {
			role, err := f.stack.NameOf(r.arguments["role"])
			if err != nil {
				return "", err
			}
			_, err = f.aws.iam.GetRolePolicy(f.ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: aws.String(r.text("name"))})
			return role + ":" + r.text("name"), err
		},
		"aws_cloudwatch_event_rule": func(f *finder, r resource) (string, error) {
			_, err := f.aws.events.DescribeRule(f.ctx, &eventbridge.DescribeRuleInput{Name: aws.String(r.text("name"))})
			return r.text("name"), err
		},
		"aws_cloudwatch_dashboard": func(f *finder, r resource) (string, error) {
			_, err := f.aws.cloudwatch.GetDashboard(f.ctx, &cloudwatch.GetDashboardInput{DashboardName: aws.String(r.text("dashboard_name"))})
			return r.text("dashboard_name"), err
		},
		"aws_cloudwatch_metric_alarm": func(f *finder, r resource) (string, error) {
			out, err := f.aws.cloudwatch.DescribeAlarms(f.ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{r.text("alarm_name")}})
			if err == nil && len(out.MetricAlarms) == 0 {
				err = errNone
			}
			return r.text("alarm_name"), err
		},
		"aws_lambda_function": func(f *finder, r resource) (string, error) {
			_, err := f.aws.lambda.GetFunctionConfiguration(f.ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String(r.text("function_name"))})
			return r.text("function_name"), err
		},
		"aws_scheduler_schedule": func(f *finder, r resource) (string, error) {
			_, err := f.aws.scheduler.GetSchedule(f.ctx, &scheduler.GetScheduleInput{Name: aws.String(r.text("name"))})
			return "default/" + r.text("name"), err
		},
		"aws_sns_topic": func(f *finder, r resource) (string, error) {
			place := f.stack.Place()
			topic := strings.Join([]string{"arn", place.Partition, "sns", place.Region, place.Account, r.text("name")}, ":")
			_, err := f.aws.sns.GetTopicAttributes(f.ctx, &sns.GetTopicAttributesInput{TopicArn: &topic})
			return topic, err
		},
		"aws_sqs_queue": func(f *finder, r resource) (string, error) {
			out, err := f.aws.sqs.GetQueueUrl(f.ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(r.text("name"))})
			if err != nil {
				return "", err
			}
			return aws.ToString(out.QueueUrl), nil
		},
		"aws_db_instance": func(f *finder, r resource) (string, error) {
			_, err := f.aws.rds.DescribeDBInstances(f.ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String(r.text("identifier"))})
			return r.text("identifier"), err
		},
		"aws_db_subnet_group": func(f *finder, r resource) (string, error) {
			_, err := f.aws.rds.DescribeDBSubnetGroups(f.ctx, &rds.DescribeDBSubnetGroupsInput{DBSubnetGroupName: aws.String(r.text("name"))})
			return r.text("name"), err
		},
		"aws_db_parameter_group": func(f *finder, r resource) (string, error) {
			out, err := f.aws.rds.DescribeDBParameterGroups(f.ctx, &rds.DescribeDBParameterGroupsInput{DBParameterGroupName: aws.String(r.text("name"))})
			if err == nil && len(out.DBParameterGroups) == 0 {
				err = errNone
			}
			return r.text("name"), err
		},
	}
}

// where are the filters of EC2, as name, value, name, value.
func where(pairs ...string) []ec2types.Filter {
	var filters []ec2types.Filter
	for i := 0; i < len(pairs); i += 2 {
		filters = append(filters, ec2types.Filter{Name: &pairs[i], Values: []string{pairs[i+1]}})
	}
	return filters
}

// vpc is the one with the address range and the Name tag.
func (f *finder) vpc(r resource) (string, error) {
	tags, _ := r.arguments["tags"].(map[string]any)
	out, err := f.aws.ec2.DescribeVpcs(f.ctx, &ec2.DescribeVpcsInput{Filters: where("cidr", r.text("cidr_block"), "tag:Name", fmt.Sprint(tags["Name"]))})
	if err != nil {
		return "", err
	}
	var ids []string
	for _, v := range out.Vpcs {
		ids = append(ids, aws.ToString(v.VpcId))
	}
	return r.one(ids)
}

func (f *finder) subnet(r resource) (string, error) {
	vpc, err := f.id(r.arguments["vpc_id"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.ec2.DescribeSubnets(f.ctx, &ec2.DescribeSubnetsInput{Filters: where("vpc-id", vpc, "cidr-block", r.text("cidr_block"))})
	if err != nil || len(out.Subnets) == 0 {
		return "", orNone(err)
	}
	return aws.ToString(out.Subnets[0].SubnetId), nil // a range is there once in a VPC
}

// orNone is why a list is empty.
func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

func (f *finder) internetGateway(r resource) (string, error) {
	vpc, err := f.id(r.arguments["vpc_id"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.ec2.DescribeInternetGateways(f.ctx, &ec2.DescribeInternetGatewaysInput{Filters: where("attachment.vpc-id", vpc)})
	if err != nil || len(out.InternetGateways) == 0 {
		return "", orNone(err)
	}
	return aws.ToString(out.InternetGateways[0].InternetGatewayId), nil // a VPC has one at most
}

// natGateway is the one of its subnet, or else one of the VPC in a subnet where the stack has none.
func (f *finder) natGateway(r resource) (string, error) {
	vpc, err := f.find("aws_vpc.main")
	if err != nil || vpc == "" {
		return "", orNone(err)
	}
	out, err := f.aws.ec2.DescribeNatGateways(f.ctx, &ec2.DescribeNatGatewaysInput{Filter: where("vpc-id", vpc, "state", "available")})
	if err != nil {
		return "", err
	}
	bySubnet := map[string][]string{}
	for _, g := range out.NatGateways {
		bySubnet[aws.ToString(g.SubnetId)] = append(bySubnet[aws.ToString(g.SubnetId)], aws.ToString(g.NatGatewayId))
	}
	for _, name := range f.stack.Names("aws_nat_gateway") {
		subnet, err := f.id(f.stack.Resource("aws_nat_gateway", name)["subnet_id"])
		switch here := bySubnet[subnet]; {
		case errors.Is(err, errNone):
		case err != nil:
			return "", err
		case "aws_nat_gateway."+name == r.address && len(here) > 0:
			return r.one(here)
		default:
			delete(bySubnet, subnet)
		}
	}
	others := slices.Concat(slices.Collect(maps.Values(bySubnet))...)
	slices.Sort(others)
	return r.one(others)
}

// natAddress is the address of the NAT gateway that the stack gives it to. Without one it is an
// address of its Name tag that nothing has, left over from a gateway that is gone.
func (f *finder) natAddress(r resource) (string, error) {
	for _, name := range f.stack.Names("aws_nat_gateway") {
		if of, _ := stackjson.Address(f.stack.Resource("aws_nat_gateway", name)["allocation_id"]); of != r.address {
			continue
		}
		gateway, err := f.find("aws_nat_gateway." + name)
		if err != nil {
			return "", err
		}
		if gateway == "" {
			continue
		}
		out, err := f.aws.ec2.DescribeNatGateways(f.ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{gateway}})
		if err != nil {
			return "", err
		}
		for _, g := range out.NatGateways {
			for _, a := range g.NatGatewayAddresses {
				if a.AllocationId != nil {
					return *a.AllocationId, nil
				}
			}
		}
	}
	tags, _ := r.arguments["tags"].(map[string]any)
	out, err := f.aws.ec2.DescribeAddresses(f.ctx, &ec2.DescribeAddressesInput{Filters: where("domain", "vpc", "tag:Name", fmt.Sprint(tags["Name"]))})
	if err != nil {
		return "", err
	}
	for _, a := range out.Addresses { // one is as good as another
		if id := aws.ToString(a.AllocationId); a.AssociationId == nil && !f.taken["aws_eip "+id] {
			return id, nil
		}
	}
	return "", errNone
}

// tableOf is the route table that a subnet is associated with. The main one is of no subnet.
func (f *finder) tableOf(subnet any) (string, error) {
	id, err := f.id(subnet)
	if err != nil {
		return "", err
	}
	out, err := f.aws.ec2.DescribeRouteTables(f.ctx, &ec2.DescribeRouteTablesInput{Filters: where("association.subnet-id", id)})
	if err != nil || len(out.RouteTables) == 0 {
		return "", orNone(err)
	}
	return aws.ToString(out.RouteTables[0].RouteTableId), nil // a subnet has one
}

// routeTable is that of the first of its subnets that has one.
func (f *finder) routeTable(r resource) (string, error) {
	for _, name := range f.stack.Names("aws_route_table_association") {
		association := f.stack.Resource("aws_route_table_association", name)
		if of, _ := stackjson.Address(association["route_table_id"]); of != r.address {
			continue
		}
		if table, err := f.tableOf(association["subnet_id"]); !errors.Is(err, errNone) {
			return table, err
		}
	}
	return "", errNone
}

func (f *finder) route(r resource) (string, error) {
	table, err := f.id(r.arguments["route_table_id"])
	if err != nil {
		return "", err
	}
	to := r.text("destination_cidr_block")
	out, err := f.aws.ec2.DescribeRouteTables(f.ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})
	if err != nil {
		return "", err
	}
	for _, t := range out.RouteTables {
		if slices.ContainsFunc(t.Routes, func(route ec2types.Route) bool { return aws.ToString(route.DestinationCidrBlock) == to }) {
			return table + "_" + to, nil
		}
	}
	return "", errNone
}

// association is the one that the subnet has, which may be with another table than the stack's.
func (f *finder) association(r resource) (string, error) {
	table, err := f.tableOf(r.arguments["subnet_id"])
	if err != nil {
		return "", err
	}
	subnet, err := f.id(r.arguments["subnet_id"])
	return subnet + "/" + table, err
}

func (f *finder) securityGroup(r resource) (string, error) {
	vpc, err := f.id(r.arguments["vpc_id"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.ec2.DescribeSecurityGroups(f.ctx, &ec2.DescribeSecurityGroupsInput{Filters: where("vpc-id", vpc, "group-name", r.text("name"))})
	if err != nil || len(out.SecurityGroups) == 0 {
		return "", orNone(err)
	}
	return aws.ToString(out.SecurityGroups[0].GroupId), nil // a name is there once in a VPC
}

func (f *finder) securityGroupRule(r resource) (string, error) {
	group, err := f.id(r.arguments["security_group_id"])
	if err != nil {
		return "", err
	}
	peer := ""
	if other := r.arguments["referenced_security_group_id"]; other != nil {
		if peer, err = f.id(other); err != nil {
			return "", err
		}
	}
	out, err := f.aws.ec2.DescribeSecurityGroupRules(f.ctx, &ec2.DescribeSecurityGroupRulesInput{Filters: where("group-id", group)})
	if err != nil {
		return "", err
	}
	egress := strings.HasPrefix(r.address, "aws_vpc_security_group_egress_rule.")
	for _, rule := range out.SecurityGroupRules {
		other := ""
		if rule.ReferencedGroupInfo != nil {
			other = aws.ToString(rule.ReferencedGroupInfo.GroupId)
		}
		if aws.ToBool(rule.IsEgress) == egress && aws.ToString(rule.IpProtocol) == r.text("ip_protocol") &&
			aws.ToInt32(rule.FromPort) == r.number("from_port") && aws.ToInt32(rule.ToPort) == r.number("to_port") &&
			aws.ToString(rule.CidrIpv4) == r.text("cidr_ipv4") && aws.ToString(rule.CidrIpv6) == r.text("cidr_ipv6") &&
			aws.ToString(rule.PrefixListId) == r.text("prefix_list_id") && other == peer {
			return aws.ToString(rule.SecurityGroupRuleId), nil // AWS takes a rule once
		}
	}
	return "", errNone
}

func (f *finder) endpoint(r resource) (string, error) {
	vpc, err := f.id(r.arguments["vpc_id"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.ec2.DescribeVpcEndpoints(f.ctx, &ec2.DescribeVpcEndpointsInput{Filters: where("vpc-id", vpc, "service-name", r.text("service_name"))})
	if err != nil {
		return "", err
	}
	var ids []string
	for _, e := range out.VpcEndpoints {
		if strings.EqualFold(string(e.State), "available") && string(e.VpcEndpointType) == r.text("vpc_endpoint_type") {
			ids = append(ids, aws.ToString(e.VpcEndpointId))
		}
	}
	return r.one(ids)
}

// flowLog is the one of the VPC that writes the same into the same log group: nothing of a flow
// log can be changed.
func (f *finder) flowLog(r resource) (string, error) {
	vpc, err := f.id(r.arguments["vpc_id"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.ec2.DescribeFlowLogs(f.ctx, &ec2.DescribeFlowLogsInput{Filter: where("resource-id", vpc)})
	if err != nil {
		return "", err
	}
	_, group, _ := strings.Cut(r.text("log_destination"), ":log-group:")
	var ids []string
	for _, l := range out.FlowLogs {
		if aws.ToString(l.LogGroupName) == group && string(l.TrafficType) == r.text("traffic_type") {
			ids = append(ids, aws.ToString(l.FlowLogId))
		}
	}
	return r.one(ids)
}

func (f *finder) cluster(r resource) (string, error) {
	out, err := f.aws.ecs.DescribeClusters(f.ctx, &ecs.DescribeClustersInput{Clusters: []string{r.text("name")}})
	if err != nil || len(out.Clusters) == 0 || aws.ToString(out.Clusters[0].Status) == "INACTIVE" {
		return "", orNone(err)
	}
	return r.text("name"), nil
}

func (f *finder) service(r resource) (string, error) {
	cluster, err := f.stack.NameOf(r.arguments["cluster"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.ecs.DescribeServices(f.ctx, &ecs.DescribeServicesInput{Cluster: &cluster, Services: []string{r.text("name")}})
	if err != nil || len(out.Services) == 0 || aws.ToString(out.Services[0].Status) != "ACTIVE" {
		return "", orNone(err)
	}
	return cluster + "/" + r.text("name"), nil
}

// namespace is the one of the name in the VPC: other VPCs may have the same.
func (f *finder) namespace(r resource) (string, error) {
	vpc, err := f.id(r.arguments["vpc"])
	if err != nil {
		return "", err
	}
	pages := servicediscovery.NewListNamespacesPaginator(f.aws.discovery, &servicediscovery.ListNamespacesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(f.ctx)
		if err != nil {
			return "", err
		}
		for _, n := range page.Namespaces {
			if n.Type != discoverytypes.NamespaceTypeDnsPrivate || aws.ToString(n.Name) != r.text("name") || n.Properties == nil || n.Properties.DnsProperties == nil {
				continue
			}
			zone, err := f.aws.route53.GetHostedZone(f.ctx, &route53.GetHostedZoneInput{Id: n.Properties.DnsProperties.HostedZoneId})
			if err != nil {
				return "", err
			}
			for _, v := range zone.VPCs {
				if aws.ToString(v.VPCId) == vpc {
					return aws.ToString(n.Id) + ":" + vpc, nil
				}
			}
		}
	}
	return "", errNone
}

func (f *finder) discoveryService(r resource) (string, error) {
	config, _ := r.arguments["dns_config"].(map[string]any)
	namespace, err := f.id(config["namespace_id"])
	if err != nil {
		return "", err
	}
	namespace, _, _ = strings.Cut(namespace, ":") // it is imported with its VPC
	out, err := f.aws.discovery.ListServices(f.ctx, &servicediscovery.ListServicesInput{
		Filters: []discoverytypes.ServiceFilter{{Name: discoverytypes.ServiceFilterNameNamespaceId, Values: []string{namespace}}}})
	if err != nil {
		return "", err
	}
	for _, s := range out.Services {
		if aws.ToString(s.Name) == r.text("name") {
			return aws.ToString(s.Id), nil
		}
	}
	return "", errNone
}

func (f *finder) attachment(r resource) (string, error) {
	role, err := f.stack.NameOf(r.arguments["role"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.iam.ListAttachedRolePolicies(f.ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &role})
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

func (f *finder) logGroup(r resource) (string, error) {
	out, err := f.aws.logs.DescribeLogGroups(f.ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String(r.text("name"))})
	// The groups are in the order of their names: the one with no more than the prefix is first.
	if err != nil || len(out.LogGroups) == 0 || aws.ToString(out.LogGroups[0].LogGroupName) != r.text("name") {
		return "", orNone(err)
	}
	return r.text("name"), nil
}

func (f *finder) metricFilter(r resource) (string, error) {
	group, err := f.stack.NameOf(r.arguments["log_group_name"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.logs.DescribeMetricFilters(f.ctx, &cloudwatchlogs.DescribeMetricFiltersInput{LogGroupName: &group, FilterNamePrefix: aws.String(r.text("name"))})
	if err != nil || len(out.MetricFilters) == 0 || aws.ToString(out.MetricFilters[0].FilterName) != r.text("name") {
		return "", orNone(err)
	}
	return group + ":" + r.text("name"), nil
}

func (f *finder) eventTarget(r resource) (string, error) {
	rule, err := f.stack.NameOf(r.arguments["rule"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.events.ListTargetsByRule(f.ctx, &eventbridge.ListTargetsByRuleInput{Rule: &rule})
	if err != nil {
		return "", err
	}
	for _, t := range out.Targets {
		if aws.ToString(t.Arn) == r.text("arn") {
			return rule + "/" + aws.ToString(t.Id), nil
		}
	}
	return "", errNone
}

// secret is looked for in the list, whose right knows no secret: before there is one, its ARN is
// not known. It is none while it is deleted: only who restores it can use its name.
func (f *finder) secret(r resource) (string, error) {
	pages := secretsmanager.NewListSecretsPaginator(f.aws.secrets, &secretsmanager.ListSecretsInput{
		Filters: []secretstypes.Filter{{Key: secretstypes.FilterNameStringTypeName, Values: []string{r.text("name")}}}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(f.ctx)
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

// subscription is none while nobody has confirmed it: it has no ARN until then.
func (f *finder) subscription(r resource) (string, error) {
	out, err := f.aws.sns.ListSubscriptionsByTopic(f.ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: aws.String(r.text("topic_arn"))})
	if err != nil {
		return "", err
	}
	for _, s := range out.Subscriptions {
		if aws.ToString(s.Endpoint) == r.text("endpoint") && aws.ToString(s.Protocol) == r.text("protocol") && strings.HasPrefix(aws.ToString(s.SubscriptionArn), "arn:") {
			return aws.ToString(s.SubscriptionArn), nil
		}
	}
	return "", errNone
}
