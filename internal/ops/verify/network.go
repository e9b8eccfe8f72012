package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/aws/query"
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
	subnets, err := c.aws.ec2.Subnets(ctx, query.Params{"SubnetId": place.Subnets})
	switch {
	case is(err, "InvalidSubnetID.NotFound"):
		f.failed("a subnet of the service does not exist any more: "+Reason(err), c.networkFix())
	case err != nil:
		f.unreadable("the subnets", err)
	case len(subnets) < len(place.Subnets):
		f.unreadable("the subnets", errEmpty)
	default:
		vpc := subnets[0].VPCID
		f.sideBySide(
			func(f *findings) { c.addresses(f, subnets) },
			func(f *findings) {
				c.routes(ctx, f, vpc, subnets, place.AssignPublicIp == ecstypes.AssignPublicIpEnabled)
			},
			func(f *findings) { c.endpoints(ctx, f, vpc) },
			func(f *findings) { c.addedRules(ctx, f, vpc) },
		)
	}
	groups, err := c.aws.ec2.SecurityGroups(ctx, query.Params{"GroupId": place.SecurityGroups})
	switch {
	case is(err, "InvalidGroup.NotFound"):
		f.failed("a security group of the service does not exist any more: "+Reason(err), c.deploy())
	case err != nil:
		f.unreadable("the security groups", err)
	case len(groups) < len(place.SecurityGroups):
		f.unreadable("the security groups", errEmpty)
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

func (c *checklist) addresses(f *findings, subnets []query.Subnet) {
	for _, subnet := range subnets {
		if subnet.FreeAddresses == 0 {
			f.failed(fmt.Sprintf("the subnet %s has no free address: no task can start there", subnet.CIDRBlock), "remove what uses its addresses, or give the worker larger subnets")
		}
	}
}

// endpoints checks that the interface endpoints are there, and that host names lead to them.
func (c *checklist) endpoints(ctx context.Context, f *findings, vpc string) {
	if len(c.env.Network.Endpoints) == 0 {
		return
	}
	endpoints, err := c.aws.ec2.VPCEndpoints(ctx, query.Filters("vpc-id", vpc))
	if err != nil {
		f.unreadable("the VPC endpoints", err)
		return
	}
	for _, service := range c.env.Network.Endpoints {
		there := slices.ContainsFunc(endpoints, func(e query.VPCEndpoint) bool {
			return strings.HasSuffix(e.ServiceName, "."+c.opt.AWS.Region+"."+string(service)) && strings.EqualFold(e.State, "available") && e.PrivateDNS
		})
		if !there {
			f.failed(fmt.Sprintf("the VPC %s has no endpoint of %s that is available and has private DNS", vpc, service), c.networkFix())
		}
	}
}

// noEgress is what follows from a route that does not work.
const noEgress = ": the worker reaches neither the Prefect API nor the image's registry"

// routes checks the default route of each subnet. Without internet egress none is needed.
func (c *checklist) routes(ctx context.Context, f *findings, vpc string, subnets []query.Subnet, public bool) {
	if c.env.Network.Isolated() {
		return
	}
	tables, err := c.aws.ec2.RouteTables(ctx, query.Filters("vpc-id", vpc))
	if err == nil && len(tables) == 0 {
		err = errEmpty // each VPC has a main one
	}
	if err != nil {
		f.unreadable("the routes", err)
		return
	}
	nats := map[string][]string{} // subnets by the NAT gateway of their default route
	for _, subnet := range subnets {
		cidr := subnet.CIDRBlock
		route, found := defaultRoute(routeTable(tables, subnet))
		switch {
		case !found:
			f.failed("the subnet "+cidr+" has no default route"+noEgress, c.networkFix())
		case route.State == "blackhole":
			f.failed(fmt.Sprintf("the default route of the subnet %s leads to %s, which does not exist any more%s", cidr, route.GatewayID+route.NATGatewayID, noEgress), c.networkFix())
		case strings.HasPrefix(route.GatewayID, "igw-") && !public:
			f.failed(fmt.Sprintf("the default route of the subnet %s leads to %s, which a task without a public address cannot use", cidr, route.GatewayID), c.networkFix())
		case route.NATGatewayID != "":
			nats[route.NATGatewayID] = append(nats[route.NATGatewayID], cidr)
		}
	}
	c.natGateways(ctx, f, nats)
}

// routeTable returns the route table of a subnet: its own, or else the main one of the VPC.
func routeTable(tables []query.RouteTable, subnet query.Subnet) query.RouteTable {
	var main query.RouteTable
	for _, table := range tables {
		for _, association := range table.Associations {
			if association.SubnetID == subnet.ID {
				return table
			}
			if association.Main {
				main = table
			}
		}
	}
	return main
}

func defaultRoute(table query.RouteTable) (query.Route, bool) {
	i := slices.IndexFunc(table.Routes, func(r query.Route) bool { return r.Destination == "0.0.0.0/0" })
	if i < 0 {
		return query.Route{}, false
	}
	return table.Routes[i], true
}

// natGateways checks that NAT gateways are available.
func (c *checklist) natGateways(ctx context.Context, f *findings, nats map[string][]string) {
	for id, subnets := range nats {
		gateways, err := c.aws.ec2.NATGateways(ctx, query.Params{"NatGatewayId": []string{id}})
		if err == nil && len(gateways) == 0 {
			err = errEmpty
		}
		state := "gone"
		switch {
		case err == nil:
			state = gateways[0].State
		case !is(err, "NatGatewayNotFound"):
			f.unreadable("the NAT gateway "+id, err)
			continue
		}
		if state != "available" {
			f.failed(fmt.Sprintf("the NAT gateway %s of the subnets %s is %s%s", id, strings.Join(subnets, ", "), state, noEgress), c.networkFix())
		}
	}
}

// addedRules checks that the security groups of the stack have no rules but those of the stack: their
// tag Name is that of the group. Terraform, for which each rule is a resource, does not see others.
func (c *checklist) addedRules(ctx context.Context, f *findings, vpc string) {
	var names []string
	for _, address := range c.stack.Names("aws_security_group") {
		name, _ := c.stack.Resource("aws_security_group", address)["name"].(string)
		names = append(names, name)
	}
	groups, err := c.aws.ec2.SecurityGroups(ctx, query.Params{"Filter": []query.Params{{"Name": "vpc-id", "Value": []string{vpc}}, {"Name": "group-name", "Value": names}}})
	if err != nil || len(groups) == 0 {
		return // the check of the service's groups reports it
	}
	named := map[string]string{}
	var ids []string
	for _, group := range groups {
		ids = append(ids, group.ID)
		named[group.ID] = group.Name
	}
	rules, err := c.aws.ec2.SecurityGroupRules(ctx, query.Params{"Filter": []query.Params{{"Name": "group-id", "Value": ids}}})
	if err == nil && len(rules) == 0 {
		err = errEmpty
	}
	if err != nil {
		f.unreadable("the rules of the security groups", err)
		return
	}
	for _, rule := range rules {
		group := named[rule.GroupID]
		if !slices.ContainsFunc(rule.Tags, func(t query.Tag) bool { return t.Key == "Name" && t.Value == group }) {
			f.failed(fmt.Sprintf("the security group %s allows what is not configured: %s", group, ruleText(rule)), "remove the rule "+rule.ID)
		}
	}
}

// ruleText returns a rule as a person says it, such as "ingress of tcp 22 from 0.0.0.0/0".
func ruleText(r query.SecurityGroupRule) string {
	traffic, direction, preposition := "everything", "ingress", "from"
	if r.IsEgress {
		direction, preposition = "egress", "to"
	}
	if protocol := r.Protocol; protocol != "-1" {
		traffic = fmt.Sprintf("%s %d", protocol, r.FromPort)
		if r.FromPort != r.ToPort {
			traffic += fmt.Sprintf(" to %d", r.ToPort)
		}
	}
	peer := r.CIDRIPv4 + r.CIDRIPv6 + r.PrefixListID + r.ReferencedGroup
	return fmt.Sprintf("%s of %s %s %s", direction, traffic, preposition, peer)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
