package restype

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"prefect-worker-ecs/internal/aws/query"
)

// ec2Types are those of EC2 and VPC.
var ec2Types = []Type{
	{
		Name:     "aws_vpc",
		Find:     (*Search).vpc,
		Loss:     "the whole network is rebuilt",
		Replaces: []string{"cidr_block"},
		Grants: []Grant{
			{Read: "ec2:DescribeVpcs ec2:DescribeNetworkAcls ec2:DescribeRouteTables ec2:DescribeSecurityGroups"},
			{Find: "ec2:DescribeFlowLogs ec2:DescribeSubnets ec2:DescribeVpcEndpoints"},
			{Read: "ec2:DescribeVpcAttribute", On: "ec2:vpc/*", When: Own},
			{Write: "ec2:CreateVpc", On: "ec2:vpc/*", When: Tagged},
			{Write: "ec2:ModifyVpcAttribute ec2:DeleteVpc", On: "ec2:vpc/*", When: Own},
		},
	},
	{
		Name:     "aws_subnet",
		Find:     inVPC("vpc_id", (*Search).subnet),
		Loss:     "the worker's tasks move",
		Replaces: []string{"availability_zone", "cidr_block", "vpc_id"},
		Options: map[string]string{
			"availability_zone":       "network.availability_zones",
			"map_public_ip_on_launch": "network.map_public_ip_on_launch",
		},
		Grants: []Grant{
			{Read: "ec2:DescribeSubnets"},
			{Write: "ec2:CreateSubnet", On: "ec2:subnet/*", When: Tagged},
			{Write: "ec2:CreateSubnet", On: "ec2:vpc/*", When: Own},
			{Write: "ec2:DeleteSubnet ec2:ModifySubnetAttribute", On: "ec2:subnet/*", When: Own},
			// What is still in a subnet when it is destroyed.
			{Write: "ec2:DescribeNetworkInterfaces"},
		},
	},
	{
		Name: "aws_internet_gateway",
		Find: inVPC("vpc_id", (*Search).internetGateway),
		Loss: "the worker is cut off from the Prefect API",
		Grants: []Grant{
			{Read: "ec2:DescribeInternetGateways"},
			{Write: "ec2:CreateInternetGateway", On: "ec2:internet-gateway/*", When: Tagged},
			{Write: "ec2:AttachInternetGateway ec2:DetachInternetGateway", On: "ec2:internet-gateway/* ec2:vpc/*", When: Own},
			{Write: "ec2:DeleteInternetGateway", On: "ec2:internet-gateway/*", When: Own},
		},
	},
	{
		Name:     "aws_eip",
		Find:     (*Search).natAddress,
		Loss:     Nothing,
		Replaces: []string{"domain"},
		Grants: []Grant{
			{Read: "ec2:DescribeAddresses ec2:DescribeAddressesAttribute"},
			{Write: "ec2:AllocateAddress", On: "ec2:elastic-ip/*", When: Tagged},
			{Write: "ec2:DisassociateAddress ec2:ReleaseAddress", On: "ec2:elastic-ip/*", When: Own},
		},
	},
	{
		Name:     "aws_nat_gateway",
		Find:     (*Search).natGateway,
		Loss:     "the worker is cut off from the Prefect API until there is another",
		Replaces: []string{"allocation_id", "subnet_id"},
		Options: map[string]string{
			"subnet_id": "network.public_subnet_cidrs",
		},
		Grants: []Grant{
			{Read: "ec2:DescribeNatGateways"},
			{Write: "ec2:CreateNatGateway", On: "ec2:natgateway/*", When: Tagged},
			{Write: "ec2:CreateNatGateway", On: "ec2:subnet/* ec2:elastic-ip/*", When: Own},
			{Write: "ec2:DeleteNatGateway", On: "ec2:natgateway/*", When: Own},
		},
	},
	{
		Name:     "aws_route_table",
		Find:     (*Search).routeTable,
		Loss:     "the worker is cut off from the Prefect API until there is another",
		Replaces: []string{"vpc_id"},
		Grants: []Grant{
			{Read: "ec2:DescribeRouteTables"},
			{Write: "ec2:CreateRouteTable", On: "ec2:route-table/*", When: Tagged},
			{Write: "ec2:CreateRouteTable", On: "ec2:vpc/*", When: Own},
			{Write: "ec2:DeleteRouteTable", On: "ec2:route-table/*", When: Own},
		},
	},
	{
		Name:     "aws_route",
		Find:     (*Search).route,
		Loss:     "the worker is cut off from the Prefect API until there is another",
		Replaces: []string{"destination_cidr_block", "route_table_id"},
		Grants: []Grant{
			{Read: "ec2:DescribeRouteTables"},
			{Write: "ec2:CreateRoute ec2:ReplaceRoute ec2:DeleteRoute", On: "ec2:route-table/*", When: Own},
		},
	},
	{
		Name:     "aws_route_table_association",
		Find:     (*Search).association,
		Loss:     Nothing,
		Replaces: []string{"subnet_id"},
		Grants: []Grant{
			{Read: "ec2:DescribeRouteTables"},
			{Write: "ec2:AssociateRouteTable ec2:DisassociateRouteTable ec2:ReplaceRouteTableAssociation", On: "ec2:route-table/* ec2:subnet/*", When: Own},
		},
	},
	{
		Name:     "aws_vpc_endpoint",
		Find:     inVPC("vpc_id", (*Search).endpoint),
		Loss:     Nothing,
		Replaces: []string{"service_name", "vpc_endpoint_type", "vpc_id"},
		Grants: []Grant{
			{Read: "ec2:DescribeVpcEndpoints ec2:DescribePrefixLists ec2:DescribeNetworkInterfaces"}, // the provider looks for those of an interface endpoint
			{Write: "ec2:CreateVpcEndpoint", On: "ec2:vpc-endpoint/*", When: Tagged},
			{Write: "ec2:CreateVpcEndpoint", On: "ec2:vpc/* ec2:route-table/* ec2:subnet/* ec2:security-group/*", When: Own},
			{Write: "ec2:ModifyVpcEndpoint ec2:DeleteVpcEndpoints", On: "ec2:vpc-endpoint/*", When: Own},
			{Write: "ec2:ModifyVpcEndpoint", On: "ec2:route-table/* ec2:subnet/* ec2:security-group/*", When: Own},
		},
	},
	{
		Name:     "aws_security_group",
		Find:     inVPC("vpc_id", (*Search).securityGroup),
		Loss:     "the worker is cut off until it has another",
		Replaces: []string{"description", "name", "vpc_id"},
		Grants: []Grant{
			// every stack has one
			// All that EC2 makes is tagged, and tagged only by who makes it.
			{Write: "ec2:CreateTags", On: "ec2:*/*", When: AtCreation},
			{Write: "ec2:CreateTags ec2:DeleteTags", On: "ec2:*/*", When: Own},
			{Read: "ec2:DescribeSecurityGroups"},
			{Write: "ec2:CreateSecurityGroup", On: "ec2:security-group/*", When: Tagged},
			{Write: "ec2:CreateSecurityGroup", On: "ec2:vpc/*", When: Own},
			// AWS gives a new group a rule that lets everything out; Terraform removes it.
			{Write: "ec2:RevokeSecurityGroupEgress ec2:RevokeSecurityGroupIngress ec2:DeleteSecurityGroup", On: "ec2:security-group/*", When: Own},
			{Write: "ec2:DescribeNetworkInterfaces"},
		},
	},
	{
		Name:        "aws_default_security_group",
		NotImported: "it came with the VPC: Terraform takes it over, and removes its rules",
		Loss:        Nothing,
		Replaces:    []string{"vpc_id"},
		Grants: []Grant{
			{Read: "ec2:DescribeSecurityGroups"},
			// It came with the VPC, without a tag.
			{Write: "ec2:CreateTags", On: "ec2:security-group/*", When: Untagged},
			{Write: "ec2:RevokeSecurityGroupEgress ec2:RevokeSecurityGroupIngress", On: "ec2:security-group/*", When: Own},
		},
	},
	{
		Name:     "aws_vpc_security_group_egress_rule",
		Find:     (*Search).securityGroupRule,
		Loss:     "connections that it allows are cut off",
		Replaces: []string{"security_group_id"},
		Grants: []Grant{
			{Read: "ec2:DescribeSecurityGroupRules"},
			{Write: "ec2:AuthorizeSecurityGroupEgress", On: "ec2:security-group-rule/*", When: Tagged},
			{Write: "ec2:AuthorizeSecurityGroupEgress ec2:RevokeSecurityGroupEgress ec2:ModifySecurityGroupRules", On: "ec2:security-group/* ec2:security-group-rule/*", When: Own},
		},
	},
	{
		Name:     "aws_vpc_security_group_ingress_rule",
		Find:     (*Search).securityGroupRule,
		Loss:     Nothing,
		Replaces: []string{"security_group_id"},
		Grants: []Grant{
			{Read: "ec2:DescribeSecurityGroupRules"},
			{Write: "ec2:AuthorizeSecurityGroupIngress", On: "ec2:security-group-rule/*", When: Tagged},
			{Write: "ec2:AuthorizeSecurityGroupIngress ec2:RevokeSecurityGroupIngress ec2:ModifySecurityGroupRules", On: "ec2:security-group/* ec2:security-group-rule/*", When: Own},
		},
	},
	{
		Name:     "aws_flow_log",
		Find:     inVPC("vpc_id", (*Search).flowLog),
		Loss:     Nothing,
		Replaces: []string{"iam_role_arn", "log_destination", "log_destination_type", "traffic_type", "vpc_id"},
		Grants: []Grant{
			{Read: "ec2:DescribeFlowLogs"},
			{Write: "ec2:CreateFlowLogs", On: "ec2:vpc-flow-log/*", When: Tagged},
			{Write: "ec2:CreateFlowLogs", On: "ec2:vpc/*", When: Own},
			{Write: "ec2:DeleteFlowLogs", On: "ec2:vpc-flow-log/*", When: Own},
			{Write: "iam:PassRole", On: "iam:role/{iam_role_arn}", PassedTo: "vpc-flow-logs"},
		},
	},
	{
		Name: "data.aws_vpc",
		Grants: []Grant{
			// verify: whether the network ACLs let the tasks through.
			{Read: "ec2:DescribeVpcs ec2:DescribeRouteTables ec2:DescribeNetworkAcls"},
			{Read: "ec2:DescribeVpcAttribute", On: "ec2:vpc/{id}"},
			// It has not the environment's tags.
			{Write: "ec2:CreateSecurityGroup", On: "ec2:vpc/{id}"},
		},
	},
}

// vpc returns the VPC with the address range and the Name tag.
func (f *Search) vpc(r Resource) (string, error) {
	tags, _ := r.arguments["tags"].(map[string]any)
	vpcs, err := query.VPCs(f.Context, f.aws, query.Filters("cidr", r.text("cidr_block"), "tag:Name", fmt.Sprint(tags["Name"])))
	if err != nil {
		return "", err
	}
	var ids []string
	for _, v := range vpcs {
		ids = append(ids, v.ID)
	}
	return r.one(ids)
}

func (f *Search) subnet(r Resource, vpc string) (string, error) {
	subnets, err := query.Subnets(f.Context, f.aws, query.Filters("vpc-id", vpc, "cidr-block", r.text("cidr_block")))
	if err != nil || len(subnets) == 0 {
		return "", orNone(err)
	}
	return subnets[0].ID, nil // a range is there once in a VPC
}

func (f *Search) internetGateway(_ Resource, vpc string) (string, error) {
	gateways, err := query.InternetGateways(f.Context, f.aws, query.Filters("attachment.vpc-id", vpc))
	if err != nil || len(gateways) == 0 {
		return "", orNone(err)
	}
	return gateways[0].ID, nil // a VPC has one at most
}

// natGateway returns the gateway of its subnet, or else one of the VPC in a subnet where the stack has none.
func (f *Search) natGateway(r Resource) (string, error) {
	vpc, err := f.Find("aws_vpc.main")
	if err != nil || vpc == "" {
		return "", orNone(err)
	}
	gateways, err := query.NATGateways(f.Context, f.aws, query.Filters("vpc-id", vpc, "state", "available"))
	if err != nil {
		return "", err
	}
	bySubnet := map[string][]string{}
	for _, g := range gateways {
		bySubnet[g.SubnetID] = append(bySubnet[g.SubnetID], g.ID)
	}
	for _, name := range f.Stack.Names("aws_nat_gateway") {
		subnet, err := f.id(f.Stack.Resource("aws_nat_gateway", name)["subnet_id"])
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

// natAddress returns the address of the NAT gateway that the stack gives it to. Without one it is an
// address of its Name tag that nothing has, left over from a gateway that is gone.
func (f *Search) natAddress(r Resource) (string, error) {
	for _, name := range f.Stack.Names("aws_nat_gateway") {
		if of, _ := f.Stack.Address(f.Stack.Resource("aws_nat_gateway", name)["allocation_id"]); of != r.address {
			continue
		}
		gateway, err := f.Find("aws_nat_gateway." + name)
		if err != nil {
			return "", err
		}
		if gateway == "" {
			continue
		}
		gateways, err := query.NATGateways(f.Context, f.aws, query.Params{"NatGatewayId": []string{gateway}})
		if err != nil {
			return "", err
		}
		for _, g := range gateways {
			if len(g.Allocations) > 0 {
				return g.Allocations[0], nil
			}
		}
	}
	tags, _ := r.arguments["tags"].(map[string]any)
	addresses, err := query.Addresses(f.Context, f.aws, query.Filters("domain", "vpc", "tag:Name", fmt.Sprint(tags["Name"])))
	if err != nil {
		return "", err
	}
	for _, a := range addresses { // one is as good as another
		if a.AssociationID == "" && !f.taken["aws_eip "+a.AllocationID] {
			return a.AllocationID, nil
		}
	}
	return "", errNone
}

// tableOf returns the route table that a subnet is associated with. The main one is of no subnet.
func (f *Search) tableOf(subnet any) (string, error) {
	id, err := f.id(subnet)
	if err != nil {
		return "", err
	}
	tables, err := query.RouteTables(f.Context, f.aws, query.Filters("association.subnet-id", id))
	if err != nil || len(tables) == 0 {
		return "", orNone(err)
	}
	return tables[0].ID, nil // a subnet has one
}

// routeTable returns the table of the first of its subnets that has one.
func (f *Search) routeTable(r Resource) (string, error) {
	for _, name := range f.Stack.Names("aws_route_table_association") {
		association := f.Stack.Resource("aws_route_table_association", name)
		if of, _ := f.Stack.Address(association["route_table_id"]); of != r.address {
			continue
		}
		if table, err := f.tableOf(association["subnet_id"]); !errors.Is(err, errNone) {
			return table, err
		}
	}
	return "", errNone
}

func (f *Search) route(r Resource) (string, error) {
	table, err := f.id(r.arguments["route_table_id"])
	if err != nil {
		return "", err
	}
	to := r.text("destination_cidr_block")
	tables, err := query.RouteTables(f.Context, f.aws, query.Params{"RouteTableId": []string{table}})
	if err != nil {
		return "", err
	}
	for _, t := range tables {
		if slices.ContainsFunc(t.Routes, func(route query.Route) bool { return route.Destination == to }) {
			return table + "_" + to, nil
		}
	}
	return "", errNone
}

// association returns the association of the subnet, which may be with another table than the stack's.
func (f *Search) association(r Resource) (string, error) {
	table, err := f.tableOf(r.arguments["subnet_id"])
	if err != nil {
		return "", err
	}
	subnet, err := f.id(r.arguments["subnet_id"])
	return subnet + "/" + table, err
}

func (f *Search) securityGroup(r Resource, vpc string) (string, error) {
	groups, err := query.SecurityGroups(f.Context, f.aws, query.Filters("vpc-id", vpc, "group-name", r.text("name")))
	if err != nil || len(groups) == 0 {
		return "", orNone(err)
	}
	return groups[0].ID, nil // a name is there once in a VPC
}

func (f *Search) securityGroupRule(r Resource) (string, error) {
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
	rules, err := query.SecurityGroupRules(f.Context, f.aws, query.Filters("group-id", group))
	if err != nil {
		return "", err
	}
	egress := strings.HasPrefix(r.address, "aws_vpc_security_group_egress_rule.")
	for _, rule := range rules {
		if rule.IsEgress == egress && rule.Protocol == r.text("ip_protocol") &&
			rule.FromPort == r.number("from_port") && rule.ToPort == r.number("to_port") &&
			rule.CIDRIPv4 == r.text("cidr_ipv4") && rule.CIDRIPv6 == r.text("cidr_ipv6") &&
			rule.PrefixListID == r.text("prefix_list_id") && rule.ReferencedGroup == peer {
			return rule.ID, nil // AWS takes a rule once
		}
	}
	return "", errNone
}

func (f *Search) endpoint(r Resource, vpc string) (string, error) {
	endpoints, err := query.VPCEndpoints(f.Context, f.aws, query.Filters("vpc-id", vpc, "service-name", r.text("service_name")))
	if err != nil {
		return "", err
	}
	var ids []string
	for _, e := range endpoints {
		if strings.EqualFold(e.State, "available") && e.Type == r.text("vpc_endpoint_type") {
			ids = append(ids, e.ID)
		}
	}
	return r.one(ids)
}

// flowLog returns the flow log of the VPC that writes the same into the same log group: nothing of a flow
// log can be changed.
func (f *Search) flowLog(r Resource, vpc string) (string, error) {
	logs, err := query.FlowLogs(f.Context, f.aws, query.Filters("resource-id", vpc))
	if err != nil {
		return "", err
	}
	var ids []string
	for _, l := range logs {
		if (l.Destination == r.text("log_destination") || strings.HasSuffix(r.text("log_destination"), ":log-group:"+l.LogGroup)) && l.TrafficType == r.text("traffic_type") {
			ids = append(ids, l.ID)
		}
	}
	return r.one(ids)
}
