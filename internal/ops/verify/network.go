package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/terraform/stackjson"
)

// network checks that the tasks are where the program puts them, and that there is a way
// out: without one a worker is silent for many minutes, and no task can start.
func (c *checklist) network(ctx context.Context) finding {
	var got *ecstypes.AwsVpcConfiguration
	if configuration := c.service.service.NetworkConfiguration; configuration != nil {
		got = configuration.AwsvpcConfiguration
	}
	if got == nil {
		return failed("the service has no network configuration", c.deploy())
	}
	want, _ := c.stack.Resource("aws_ecs_service", "worker")["network_configuration"].(map[string]any)

	var s several
	public, _ := want["assign_public_ip"].(bool)
	if (got.AssignPublicIp == ecstypes.AssignPublicIpEnabled) != public {
		s.failed(fmt.Sprintf("tasks get a public address: %s, configured is %t", got.AssignPublicIp, public), c.deploy())
	}
	c.subnets(ctx, &s, want["subnets"], got.Subnets)
	c.securityGroups(ctx, &s, want["security_groups"], got.SecurityGroups)
	ways := "a way out"
	if c.env.Network.Closed() {
		ways = "endpoints in place of a way out"
	}
	return s.finding(fmt.Sprintf("%d subnets with %s, and only what is configured is open", len(got.Subnets), ways))
}

// networkFix is for what is wrong with the network.
func (c *checklist) networkFix() string {
	if c.env.Network.Exists() {
		return "mend it in the VPC, of which the program makes nothing, or name other subnets in network.existing.subnet_ids"
	}
	return c.deploy()
}

// subnets checks the subnets of the service by their ranges, or by their ids if they exist
// already, and the default route of each; and the endpoints of their VPC.
func (c *checklist) subnets(ctx context.Context, s *several, want any, ids []string) {
	// A subnet's zone and default route in the synthesized stack.
	type placed struct {
		zone  string
		route defaultRoute
	}
	wanted := map[string]placed{}
	items, _ := want.([]any)
	for _, item := range items {
		address, made := stackjson.Address(item)
		if !made {
			wanted[fmt.Sprint(item)] = placed{route: c.existingRoute()}
			continue
		}
		subnet := c.stack.Resource("aws_subnet", strings.TrimPrefix(address, "aws_subnet."))
		cidr, _ := subnet["cidr_block"].(string)
		zone, _ := subnet["availability_zone"].(string)
		wanted[cidr] = placed{zone, c.defaultRoute(address)}
	}
	gateways := map[string]string{} // the address of a gateway to the one that serves for it
	out, err := c.aws.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: ids})
	if err != nil {
		if is(err, "InvalidSubnetID.NotFound") {
			s.failed("a subnet of the service does not exist any more: "+why(err), c.networkFix())
			return
		}
		s.unread("the subnets", err)
		return
	}
	for _, subnet := range out.Subnets {
		cidr, key := aws.ToString(subnet.CidrBlock), aws.ToString(subnet.SubnetId)
		if !c.env.Network.Exists() {
			key = cidr
		}
		place, ok := wanted[key]
		if !ok {
			s.failed(fmt.Sprintf("the service runs in the subnet %s (%s), which is not one of the configuration", aws.ToString(subnet.SubnetId), cidr), c.deploy())
			continue
		}
		delete(wanted, key)
		if zone := aws.ToString(subnet.AvailabilityZone); place.zone != "" && !stackjson.Same(place.zone, zone) {
			s.failed(fmt.Sprintf("the subnet %s is in %s, configured is %s", cidr, zone, place.zone), c.deploy())
		}
		if aws.ToInt32(subnet.AvailableIpAddressCount) == 0 {
			s.failed(fmt.Sprintf("the subnet %s has no free address: no task can start there", cidr), "remove what uses its addresses, or give the worker larger subnets")
		}
		c.route(ctx, s, subnet, place.route, gateways)
	}
	for key := range wanted {
		s.failed("the service does not run in the subnet "+key+" of the configuration", c.deploy())
	}
	if len(out.Subnets) > 0 {
		c.endpoints(ctx, s, aws.ToString(out.Subnets[0].VpcId))
	}
	slices.Sort(s.problems)
}

// endpoints checks that the interface endpoints are there, and lead where host names do.
func (c *checklist) endpoints(ctx context.Context, s *several, vpc string) {
	if len(c.env.Network.Endpoints) == 0 {
		return
	}
	out, err := c.aws.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{vpc}}}})
	if err != nil {
		s.unread("the VPC endpoints", err)
		return
	}
	for _, service := range c.env.Network.Endpoints {
		there := slices.ContainsFunc(out.VpcEndpoints, func(e types.VpcEndpoint) bool {
			return strings.HasSuffix(aws.ToString(e.ServiceName), "."+c.opt.AWS.Region+"."+string(service)) && strings.EqualFold(string(e.State), string(types.StateAvailable)) && aws.ToBool(e.PrivateDnsEnabled)
		})
		if !there {
			s.failed(fmt.Sprintf("the VPC %s has no endpoint of %s that is available and has private DNS", vpc, service), c.networkFix())
		}
	}
}

// addresses are what a list of ids stands for.
func addresses(v any) []string {
	items, _ := v.([]any)
	var all []string
	for _, item := range items {
		if address, ok := stackjson.Address(item); ok {
			all = append(all, address)
		}
	}
	return all
}

// anyGateway stands for what leads out of private subnets that exist: a NAT gateway, a transit
// gateway or another, but no internet gateway.
const anyGateway = "any"

// defaultRoute is a default route in the synthesized stack: the argument that holds its
// target (nat_gateway_id or gateway_id, or anyGateway), and the target's address. Empty: there
// is none.
type defaultRoute struct{ argument, target string }

func (c *checklist) defaultRoute(subnet string) defaultRoute {
	for _, name := range c.stack.Names("aws_route_table_association") {
		association := c.stack.Resource("aws_route_table_association", name)
		if address, _ := stackjson.Address(association["subnet_id"]); address != subnet {
			continue
		}
		for _, name := range c.stack.Names("aws_route") {
			route := c.stack.Resource("aws_route", name)
			if route["route_table_id"] != association["route_table_id"] || route["destination_cidr_block"] != "0.0.0.0/0" {
				continue
			}
			for _, target := range []string{"nat_gateway_id", "gateway_id"} {
				if address, ok := stackjson.Address(route[target]); ok {
					return defaultRoute{target, address}
				}
			}
		}
	}
	return defaultRoute{}
}

// existingRoute is what leads out of subnets that exist. That endpoints stand in its place does
// not forbid one.
func (c *checklist) existingRoute() defaultRoute {
	switch {
	case c.env.Network.Existing.Public:
		return defaultRoute{argument: "gateway_id"}
	case c.env.Network.Closed():
		return defaultRoute{}
	}
	return defaultRoute{argument: anyGateway}
}

// route checks the default route of a subnet: of its own route table, or of the main one.
func (c *checklist) route(ctx context.Context, s *several, subnet types.Subnet, want defaultRoute, gateways map[string]string) {
	table := func(filter, value string) (*types.RouteTable, error) {
		filters := []types.Filter{{Name: &filter, Values: []string{value}}}
		if filter == "association.main" {
			filters = append(filters, types.Filter{Name: aws.String("vpc-id"), Values: []string{aws.ToString(subnet.VpcId)}})
		}
		out, err := c.aws.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: filters})
		if err != nil || len(out.RouteTables) == 0 {
			return nil, err
		}
		return &out.RouteTables[0], nil
	}
	found, err := table("association.subnet-id", aws.ToString(subnet.SubnetId))
	if err == nil && found == nil {
		found, err = table("association.main", "true")
	}
	if err != nil {
		s.unread("the routes", err)
		return
	}
	cidr := aws.ToString(subnet.CidrBlock)
	const why = ": the worker reaches neither the Prefect API nor the image's registry"
	if found == nil {
		s.failed("the subnet "+cidr+" has no route table"+why, c.networkFix())
		return
	}
	i := slices.IndexFunc(found.Routes, func(r types.Route) bool { return aws.ToString(r.DestinationCidrBlock) == "0.0.0.0/0" })
	if i < 0 {
		if want.argument != "" {
			s.failed("the subnet "+cidr+" has no default route"+why, c.networkFix())
		}
		return
	}
	route := found.Routes[i]
	target := aws.ToString(route.NatGatewayId)
	got := "nat_gateway_id"
	if target == "" {
		target, got = aws.ToString(route.GatewayId), "gateway_id"
	}
	internet := strings.HasPrefix(target, "igw-")
	switch {
	case want.argument == "" && c.env.Network.Exists():
	case route.State == types.RouteStateBlackhole:
		s.failed(fmt.Sprintf("the default route of the subnet %s leads to %s, which does not exist any more%s", cidr, target, why), c.networkFix())
	case want.argument == anyGateway && internet:
		s.failed(fmt.Sprintf("the default route of the subnet %s leads to %s, which a task without a public address cannot use", cidr, target), c.networkFix()+", or set network.existing.public")
	case want.argument == anyGateway:
		if got == "nat_gateway_id" {
			c.natGateway(ctx, s, target, cidr, why)
		}
	case got != want.argument || target == "" || (got == "gateway_id" && !internet):
		s.failed(fmt.Sprintf("the default route of the subnet %s leads to %s, configured is a %s", cidr, orNone(target), gatewayName(want.argument)), c.networkFix())
	case got == "nat_gateway_id":
		for address, other := range gateways {
			if (address == want.target) != (other == target) {
				s.failed(fmt.Sprintf("the default route of the subnet %s leads to %s, which is not the NAT gateway that the configuration gives it (network.nat)", cidr, target), c.deploy())
			}
		}
		gateways[want.target] = target
		c.natGateway(ctx, s, target, cidr, why)
	}
}

func gatewayName(argument string) string {
	switch argument {
	case "nat_gateway_id":
		return "NAT gateway"
	case "gateway_id":
		return "internet gateway"
	}
	return "way out through none"
}

func (c *checklist) natGateway(ctx context.Context, s *several, id, cidr, why string) {
	out, err := c.aws.ec2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{id}})
	switch {
	case err != nil && !is(err, "NatGatewayNotFound"):
		s.unread("the NAT gateway", err)
	case err != nil || len(out.NatGateways) == 0 || out.NatGateways[0].State != types.NatGatewayStateAvailable:
		state := "gone"
		if err == nil && len(out.NatGateways) > 0 {
			state = string(out.NatGateways[0].State)
		}
		s.failed(fmt.Sprintf("the NAT gateway %s of the subnet %s is %s%s", id, cidr, state, why), c.networkFix())
	}
}

// rule is one rule of a security group: protocol, ports, and where to or from.
type rule struct {
	protocol string
	from, to int
	peer     string
}

func (r rule) String() string {
	if r.protocol == "-1" {
		return "everything to " + r.peer
	}
	ports := fmt.Sprint(r.from)
	if r.to != r.from {
		ports = fmt.Sprintf("%d to %d", r.from, r.to)
	}
	return fmt.Sprintf("%s %s to %s", r.protocol, ports, r.peer)
}

// securityGroups checks that the tasks have the configured groups, with the configured
// rules and no others.
func (c *checklist) securityGroups(ctx context.Context, s *several, want any, ids []string) {
	out, err := c.aws.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: ids})
	if err != nil {
		if is(err, "InvalidGroup.NotFound") {
			s.failed("a security group of the service does not exist any more: "+why(err), c.deploy())
			return
		}
		s.unread("the security groups", err)
		return
	}
	var further []string // ids of groups that exist already
	items, _ := want.([]any)
	for _, item := range items {
		if id, isText := item.(string); isText && strings.HasPrefix(id, "sg-") {
			further = append(further, id)
		}
	}
	wanted := map[string]string{} // name to address
	for _, address := range addresses(want) {
		name, _ := c.stack.Resource("aws_security_group", strings.TrimPrefix(address, "aws_security_group."))["name"].(string)
		wanted[name] = address
	}
	for _, group := range out.SecurityGroups {
		name := aws.ToString(group.GroupName)
		if i := slices.Index(further, aws.ToString(group.GroupId)); i >= 0 {
			further = slices.Delete(further, i, i+1)
			continue // what is in it is not the program's
		}
		address, ok := wanted[name]
		if !ok {
			s.failed("the service has the security group "+name+", which is not one of the configuration", c.deploy())
			continue
		}
		delete(wanted, name)
		c.rules(ctx, s, name, "out", c.wantedRules(ctx, "aws_vpc_security_group_egress_rule", address), group.IpPermissionsEgress)
		c.rules(ctx, s, name, "in", c.wantedRules(ctx, "aws_vpc_security_group_ingress_rule", address), group.IpPermissions)
	}
	for _, name := range append(slices.Sorted(maps.Keys(wanted)), further...) {
		s.failed("the service lacks the security group "+name, c.deploy())
	}
}

// wantedRules are the rules of a group in the synthesized stack.
func (c *checklist) wantedRules(ctx context.Context, kind, group string) []rule {
	var rules []rule
	for _, name := range c.stack.Names(kind) {
		r := c.stack.Resource(kind, name)
		if address, _ := stackjson.Address(r["security_group_id"]); address != group {
			continue
		}
		from, _ := r["from_port"].(float64)
		to, _ := r["to_port"].(float64)
		protocol, _ := r["ip_protocol"].(string)
		for _, argument := range []string{"cidr_ipv4", "cidr_ipv6", "prefix_list_id", "referenced_security_group_id"} {
			if peer, ok := r[argument].(string); ok {
				if address, ok := stackjson.Address(peer); ok {
					name, _ := c.stack.Resource("aws_security_group", strings.TrimPrefix(address, "aws_security_group."))["name"].(string)
					peer = groupPeer(name)
				} else if argument == "referenced_security_group_id" {
					peer = groupPeer(c.groupName(ctx, peer))
				}
				rules = append(rules, rule{protocol, int(from), int(to), peer})
			}
		}
	}
	return rules
}

// groupPeer is how a rule names another group: by its name, because its id is known to AWS only.
func groupPeer(name string) string { return "the group " + name }

// groupName is the name of a group, or its id if AWS does not tell.
func (c *checklist) groupName(ctx context.Context, id string) string {
	out, err := c.aws.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
	if err != nil || len(out.SecurityGroups) == 0 {
		return id
	}
	return aws.ToString(out.SecurityGroups[0].GroupName)
}

func (c *checklist) rules(ctx context.Context, s *several, group, direction string, want []rule, permissions []types.IpPermission) {
	var got []rule
	for _, p := range permissions {
		add := func(peer *string) {
			got = append(got, rule{aws.ToString(p.IpProtocol), int(aws.ToInt32(p.FromPort)), int(aws.ToInt32(p.ToPort)), aws.ToString(peer)})
		}
		for _, r := range p.IpRanges {
			add(r.CidrIp)
		}
		for _, r := range p.Ipv6Ranges {
			add(r.CidrIpv6)
		}
		for _, r := range p.PrefixListIds {
			add(r.PrefixListId)
		}
		for _, r := range p.UserIdGroupPairs {
			add(aws.String(groupPeer(c.groupName(ctx, aws.ToString(r.GroupId)))))
		}
	}
	same := func(a, b rule) bool {
		return a.protocol == b.protocol && a.from == b.from && a.to == b.to && stackjson.Same(a.peer, b.peer)
	}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g rule) bool { return same(w, g) }) {
			s.failed(fmt.Sprintf("the security group %s does not let %s: %s", group, direction, w), c.deploy())
		}
	}
	for _, g := range got {
		if !slices.ContainsFunc(want, func(w rule) bool { return same(w, g) }) {
			s.failed(fmt.Sprintf("the security group %s lets %s what is not configured: %s", group, direction, g), "remove the rule")
		}
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
