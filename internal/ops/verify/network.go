package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// network checks what no plan shows of the place of the tasks: that there are free addresses and
// working routes, without which no task can start, in a VPC that exists too, and that nobody has added a
// rule to the security groups of the stack.
func (c *checklist) network(ctx context.Context) finding {
	configuration := c.Service.NetworkConfiguration
	if configuration == nil || configuration.AwsvpcConfiguration == nil {
		return failed("the service has no network configuration", c.deploy())
	}
	place := configuration.AwsvpcConfiguration
	var f findings
	subnets, err := c.aws.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: place.Subnets})
	switch {
	case is(err, "InvalidSubnetID.NotFound"):
		f.failed("a subnet of the service does not exist any more: "+Reason(err), c.networkFix())
	case err != nil:
		f.unreadable("the subnets", err)
	case len(subnets.Subnets) > 0:
		vpc := subnets.Subnets[0].VpcId
		f.sideBySide(
			func(f *findings) { c.addresses(f, subnets.Subnets) },
			func(f *findings) {
				c.routes(ctx, f, vpc, subnets.Subnets, place.AssignPublicIp == ecstypes.AssignPublicIpEnabled)
			},
			func(f *findings) { c.endpoints(ctx, f, vpc) },
			func(f *findings) { c.addedRules(ctx, f, vpc) },
		)
	}
	if _, err := c.aws.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: place.SecurityGroups}); is(err, "InvalidGroup.NotFound") {
		f.failed("a security group of the service does not exist any more: "+Reason(err), c.deploy())
	} else if err != nil {
		f.unreadable("the security groups", err)
	}
	egress := "a working default route"
	if c.env.Network.Isolated() {
		egress = "endpoints instead of internet egress"
	}
	return f.finding(fmt.Sprintf("%d subnets with free addresses and %s; no rule was added to the security groups", len(place.Subnets), egress))
}

// networkFix is for what is wrong with the network.
func (c *checklist) networkFix() string {
	if c.env.Network.Exists() {
		return "fix it in the VPC, of which the program creates nothing, or name other subnets in network.existing.subnet_ids"
	}
	return c.deploy()
}

func (c *checklist) addresses(f *findings, subnets []types.Subnet) {
	for _, subnet := range subnets {
		if aws.ToInt32(subnet.AvailableIpAddressCount) == 0 {
			f.failed(fmt.Sprintf("the subnet %s has no free address: no task can start there", aws.ToString(subnet.CidrBlock)), "remove what uses its addresses, or give the worker larger subnets")
		}
	}
}

// endpoints checks that the interface endpoints are there, and that host names lead to them.
func (c *checklist) endpoints(ctx context.Context, f *findings, vpc *string) {
	if len(c.env.Network.Endpoints) == 0 {
		return
	}
	out, err := c.aws.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: filter("vpc-id", *vpc)})
	if err != nil {
		f.unreadable("the VPC endpoints", err)
		return
	}
	for _, service := range c.env.Network.Endpoints {
		there := slices.ContainsFunc(out.VpcEndpoints, func(e types.VpcEndpoint) bool {
			return strings.HasSuffix(aws.ToString(e.ServiceName), "."+c.opt.AWS.Region+"."+string(service)) && strings.EqualFold(string(e.State), string(types.StateAvailable)) && aws.ToBool(e.PrivateDnsEnabled)
		})
		if !there {
			f.failed(fmt.Sprintf("the VPC %s has no endpoint of %s that is available and has private DNS", *vpc, service), c.networkFix())
		}
	}
}

func filter(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

// noEgress is what follows from a route that does not work.
const noEgress = ": the worker reaches neither the Prefect API nor the image's registry"

// routes checks the default route of each subnet. Without internet egress none is needed.
func (c *checklist) routes(ctx context.Context, f *findings, vpc *string, subnets []types.Subnet, public bool) {
	if c.env.Network.Isolated() {
		return
	}
	out, err := c.aws.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: filter("vpc-id", *vpc)})
	if err != nil {
		f.unreadable("the routes", err)
		return
	}
	nats := map[string][]string{} // subnets by the NAT gateway of their default route
	for _, subnet := range subnets {
		cidr := aws.ToString(subnet.CidrBlock)
		route, found := defaultRoute(routeTable(out.RouteTables, subnet))
		target := aws.ToString(route.GatewayId)
		switch {
		case !found:
			f.failed("the subnet "+cidr+" has no default route"+noEgress, c.networkFix())
		case route.State == types.RouteStateBlackhole:
			f.failed(fmt.Sprintf("the default route of the subnet %s leads to %s, which does not exist any more%s", cidr, target+aws.ToString(route.NatGatewayId), noEgress), c.networkFix())
		case strings.HasPrefix(target, "igw-") && !public:
			f.failed(fmt.Sprintf("the default route of the subnet %s leads to %s, which a task without a public address cannot use", cidr, target), c.networkFix())
		case route.NatGatewayId != nil:
			nats[*route.NatGatewayId] = append(nats[*route.NatGatewayId], cidr)
		}
	}
	c.natGateways(ctx, f, nats)
}

// routeTable returns the route table of a subnet: its own, or else the main one of the VPC.
func routeTable(tables []types.RouteTable, subnet types.Subnet) types.RouteTable {
	var main types.RouteTable
	for _, table := range tables {
		for _, association := range table.Associations {
			if aws.ToString(association.SubnetId) == aws.ToString(subnet.SubnetId) {
				return table
			}
			if aws.ToBool(association.Main) {
				main = table
			}
		}
	}
	return main
}

func defaultRoute(table types.RouteTable) (types.Route, bool) {
	i := slices.IndexFunc(table.Routes, func(r types.Route) bool { return aws.ToString(r.DestinationCidrBlock) == "0.0.0.0/0" })
	if i < 0 {
		return types.Route{}, false
	}
	return table.Routes[i], true
}

// natGateways checks that NAT gateways are available.
func (c *checklist) natGateways(ctx context.Context, f *findings, nats map[string][]string) {
	for id, subnets := range nats {
		out, err := c.aws.ec2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{id}})
		state := "gone"
		switch {
		case err != nil && !is(err, "NatGatewayNotFound"):
			f.unreadable("the NAT gateway "+id, err)
			continue
		case err == nil && len(out.NatGateways) > 0:
			state = string(out.NatGateways[0].State)
		}
		if state != string(types.NatGatewayStateAvailable) {
			f.failed(fmt.Sprintf("the NAT gateway %s of the subnets %s is %s%s", id, strings.Join(subnets, ", "), state, noEgress), c.networkFix())
		}
	}
}

// addedRules checks that the security groups of the stack have no rules but those of the stack: their
// tag Name is that of the group. Terraform, for which each rule is a resource, does not see others.
func (c *checklist) addedRules(ctx context.Context, f *findings, vpc *string) {
	var names []string
	for _, address := range c.stack.Names("aws_security_group") {
		name, _ := c.stack.Resource("aws_security_group", address)["name"].(string)
		names = append(names, name)
	}
	groups, err := c.aws.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: append(filter("vpc-id", *vpc), filter("group-name", names...)...)})
	if err != nil || len(groups.SecurityGroups) == 0 {
		return // the check of the service's groups reports it
	}
	named := map[string]string{}
	var ids []string
	for _, group := range groups.SecurityGroups {
		ids = append(ids, aws.ToString(group.GroupId))
		named[aws.ToString(group.GroupId)] = aws.ToString(group.GroupName)
	}
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(c.aws.ec2, &ec2.DescribeSecurityGroupRulesInput{Filters: filter("group-id", ids...)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			f.unreadable("the rules of the security groups", err)
			return
		}
		for _, rule := range page.SecurityGroupRules {
			group := named[aws.ToString(rule.GroupId)]
			if !slices.ContainsFunc(rule.Tags, func(t types.Tag) bool { return aws.ToString(t.Key) == "Name" && aws.ToString(t.Value) == group }) {
				f.failed(fmt.Sprintf("the security group %s allows what is not configured: %s", group, ruleText(rule)), "remove the rule "+aws.ToString(rule.SecurityGroupRuleId))
			}
		}
	}
}

// ruleText returns a rule as a person says it, such as "ingress of tcp 22 from 0.0.0.0/0".
func ruleText(r types.SecurityGroupRule) string {
	traffic, direction, preposition := "everything", "ingress", "from"
	if aws.ToBool(r.IsEgress) {
		direction, preposition = "egress", "to"
	}
	if protocol := aws.ToString(r.IpProtocol); protocol != "-1" {
		traffic = fmt.Sprintf("%s %d", protocol, aws.ToInt32(r.FromPort))
		if aws.ToInt32(r.FromPort) != aws.ToInt32(r.ToPort) {
			traffic += fmt.Sprintf(" to %d", aws.ToInt32(r.ToPort))
		}
	}
	peer := aws.ToString(r.CidrIpv4) + aws.ToString(r.CidrIpv6) + aws.ToString(r.PrefixListId)
	if r.ReferencedGroupInfo != nil {
		peer = aws.ToString(r.ReferencedGroupInfo.GroupId)
	}
	return fmt.Sprintf("%s of %s %s %s", direction, traffic, preposition, peer)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
