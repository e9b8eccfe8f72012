package verify

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"prefect-worker-ecs/internal/aws/iam"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
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
	case len(subnets.Subnets) < len(place.Subnets):
		f.unreadable("the subnets", errEmpty)
	default:
		vpc := subnets.Subnets[0].VpcId
		f.sideBySide(
			func(f *findings) { c.addresses(f, subnets.Subnets) },
			func(f *findings) {
				c.routes(ctx, f, vpc, subnets.Subnets, place.AssignPublicIp == ecstypes.AssignPublicIpEnabled)
			},
			func(f *findings) { c.networkACLs(ctx, f, vpc, subnets.Subnets) },
			func(f *findings) { c.endpoints(ctx, f, vpc, subnets.Subnets, place.SecurityGroups) },
			func(f *findings) { c.addedRules(ctx, f, vpc) },
		)
	}
	groups, err := c.aws.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: place.SecurityGroups})
	switch {
	case is(err, "InvalidGroup.NotFound"):
		f.failed("a security group of the service does not exist any more: "+Reason(err), c.deploy())
	case err != nil:
		f.unreadable("the security groups", err)
	case len(groups.SecurityGroups) < len(place.SecurityGroups):
		f.unreadable("the security groups", errEmpty)
	}
	egress := "a working default route"
	if c.env.Network.Closed() {
		egress = "endpoints instead of internet egress"
	}
	return f.finding(fmt.Sprintf("%d subnets with free addresses and %s; no rule was added to the security groups%s", len(place.Subnets), egress, c.started(ctx, subnets)))
}

// started returns in which subnets a running task of the current deployment has started: that is evidence, and of
// the others only tables were read. Empty: ECS does not say.
func (c *checklist) started(ctx context.Context, subnets *ec2.DescribeSubnetsOutput) string {
	if len(c.Tasks) == 0 || subnets == nil {
		return ""
	}
	out, err := c.aws.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &c.env.Cluster.Name, Tasks: c.Tasks[:min(100, len(c.Tasks))]})
	if err != nil {
		return ""
	}
	var places []string
	for _, task := range out.Tasks {
		for _, attachment := range task.Attachments {
			for _, detail := range attachment.Details {
				i := slices.IndexFunc(subnets.Subnets, func(s types.Subnet) bool { return aws.ToString(s.SubnetId) == aws.ToString(detail.Value) })
				if aws.ToString(detail.Name) == "subnetId" && task.StartedAt != nil && i >= 0 {
					places = append(places, fmt.Sprintf("%s (%s)", aws.ToString(subnets.Subnets[i].CidrBlock), aws.ToString(subnets.Subnets[i].AvailabilityZone)))
				}
			}
		}
	}
	if len(places) == 0 {
		return ""
	}
	slices.Sort(places)
	return "; tasks of this deployment have started in " + strings.Join(slices.Compact(places), ", ")
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

// endpoints checks that the interface endpoints are there, that host names lead to them, and that they let the
// tasks in.
func (c *checklist) endpoints(ctx context.Context, f *findings, vpc *string, subnets []types.Subnet, groups []string) {
	if len(c.env.Network.Endpoints) == 0 {
		return
	}
	out, err := c.aws.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: filter("vpc-id", *vpc)})
	if err != nil {
		f.unreadable("the VPC endpoints", err)
		return
	}
	for _, service := range c.env.Network.Endpoints {
		i := slices.IndexFunc(out.VpcEndpoints, func(e types.VpcEndpoint) bool {
			return strings.HasSuffix(aws.ToString(e.ServiceName), "."+c.opt.AWS.Region+"."+string(service)) && strings.EqualFold(string(e.State), string(types.StateAvailable)) && aws.ToBool(e.PrivateDnsEnabled)
		})
		if i < 0 {
			f.failed(fmt.Sprintf("the VPC %s has no endpoint of %s that is available and has private DNS", *vpc, service), c.networkFix())
			continue
		}
		c.endpointAdmits(ctx, f, string(service), out.VpcEndpoints[i], subnets, groups)
	}
}

// endpointAdmits checks that the security groups and the policy of an endpoint let the tasks in.
func (c *checklist) endpointAdmits(ctx context.Context, f *findings, service string, e types.VpcEndpoint, subnets []types.Subnet, groups []string) {
	var own []string
	for _, group := range e.Groups {
		own = append(own, aws.ToString(group.GroupId))
	}
	if len(own) > 0 {
		rules, err := c.aws.ec2.DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{Filters: filter("group-id", own...)})
		if err != nil {
			f.unreadable("the rules of the endpoint of "+service, err)
		} else if !slices.ContainsFunc(rules.SecurityGroupRules, func(r types.SecurityGroupRule) bool { return admits(r, subnets, groups) }) {
			f.failed(fmt.Sprintf("the security groups of the endpoint of %s (%s) let no task in on port 443", service, strings.Join(own, ", ")), c.networkFix())
		}
	}
	request, judged := c.endpointRequest(service)
	document, err := iam.Parse(aws.ToString(e.PolicyDocument))
	if !judged || err != nil {
		return // no policy allows all
	}
	switch result := iam.Evaluate([]iam.Document{document}, request); result.Decision {
	case iam.Denied, iam.ExplicitlyDenied:
		f.failed(fmt.Sprintf("the policy of the endpoint of %s does not allow %s on %s", service, request.Action, request.Resource), c.networkFix())
	case iam.Unknown:
		f.unknown(fmt.Sprintf("whether the policy of the endpoint of %s allows %s could not be judged: %s in the statement %s", service, request.Action, result.Reason, result.Statement), "look at that statement in the VPC console")
	}
}

// endpointRequest returns a call that a task makes through an endpoint before its container starts.
func (c *checklist) endpointRequest(service string) (iam.Request, bool) {
	c.await(checkDefinition)
	arn := aws.ToString(c.Definition.ExecutionRoleArn)
	request := iam.Request{Caller: arn, Context: c.requestContext(&role{arn: arn})}
	switch service {
	case "secretsmanager":
		request.Action = "secretsmanager:GetSecretValue"
		request.Resource, _ = c.credentialSource()
	case "ecr.api":
		request.Action, request.Resource = "ecr:GetAuthorizationToken", "*"
	case "logs":
		partition, account := arnParts(arn)
		request.Action, request.Resource = "logs:PutLogEvents", fmt.Sprintf("arn:%s:logs:%s:%s:log-group:%s:log-stream:*", partition, c.opt.AWS.Region, account, c.env.Logs.Group)
	}
	return request, arn != "" && request.Resource != ""
}

// admits reports whether a rule lets tasks in the subnets, with the groups, connect to port 443.
func admits(r types.SecurityGroupRule, subnets []types.Subnet, groups []string) bool {
	protocol := aws.ToString(r.IpProtocol)
	if aws.ToBool(r.IsEgress) || protocol != "-1" && (protocol != "tcp" || aws.ToInt32(r.FromPort) > 443 || aws.ToInt32(r.ToPort) < 443) {
		return false
	}
	if r.ReferencedGroupInfo != nil && slices.Contains(groups, aws.ToString(r.ReferencedGroupInfo.GroupId)) {
		return true
	}
	return slices.ContainsFunc(subnets, func(s types.Subnet) bool { return covers(aws.ToString(r.CidrIpv4), aws.ToString(s.CidrBlock)) }) || r.PrefixListId != nil
}

// covers reports whether a range of addresses holds all of another.
func covers(outer, inner string) bool {
	o, errO := netip.ParsePrefix(outer)
	i, errI := netip.ParsePrefix(inner)
	return errO == nil && errI == nil && o.Bits() <= i.Bits() && o.Contains(i.Addr())
}

// The ports of a connection: that which tasks connect to, and those at which they get the answers (the ephemeral
// ports of Linux).
const (
	httpsPort      = 443
	ephemeralFirst = 32768
	ephemeralLast  = 60999
)

// networkACLs checks that the network ACLs of the subnets let tasks connect to port 443 and let the answers in. They
// are nothing of the stack.
func (c *checklist) networkACLs(ctx context.Context, f *findings, vpc *string, subnets []types.Subnet) {
	out, err := c.aws.ec2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{Filters: filter("vpc-id", *vpc)})
	if err == nil && len(out.NetworkAcls) == 0 {
		err = errEmpty // each VPC has a default one
	}
	if err != nil {
		f.unreadable("the network ACLs", err)
		return
	}
	for _, subnet := range subnets {
		cidr := aws.ToString(subnet.CidrBlock)
		var acl types.NetworkAcl
		for _, a := range out.NetworkAcls {
			own := slices.ContainsFunc(a.Associations, func(of types.NetworkAclAssociation) bool {
				return aws.ToString(of.SubnetId) == aws.ToString(subnet.SubnetId)
			})
			if own || aws.ToBool(a.IsDefault) && acl.NetworkAclId == nil {
				acl = a
			}
		}
		peer := "0.0.0.0/0"
		if c.env.Network.Closed() {
			peer = cidr // the endpoints
		}
		for _, way := range []struct {
			egress      bool
			first, last int32
			text        string
		}{{true, httpsPort, httpsPort, "egress of tcp 443 to "}, {false, ephemeralFirst, ephemeralLast, "ingress of the answers (tcp 32768 to 60999) from "}} {
			if !aclAllows(acl.Entries, way.egress, way.first, way.last, peer) {
				f.failed(fmt.Sprintf("the network ACL %s of the subnet %s does not allow %s%s", aws.ToString(acl.NetworkAclId), cidr, way.text, peer), "add the rule to the network ACL")
			}
		}
	}
}

// aclAllows reports whether the entries of a network ACL allow tcp on all of the ports with all of the peer's
// addresses. The entry with the lowest number that is about any of them decides.
func aclAllows(entries []types.NetworkAclEntry, egress bool, first, last int32, peer string) bool {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b types.NetworkAclEntry) int {
		return cmp.Compare(aws.ToInt32(a.RuleNumber), aws.ToInt32(b.RuleNumber))
	})
	for _, e := range entries {
		protocol := aws.ToString(e.Protocol)
		if aws.ToBool(e.Egress) != egress || protocol != "-1" && protocol != "6" || e.CidrBlock == nil {
			continue
		}
		from, to := int32(0), int32(65535)
		if e.PortRange != nil && protocol == "6" {
			from, to = aws.ToInt32(e.PortRange.From), aws.ToInt32(e.PortRange.To)
		}
		whole := covers(*e.CidrBlock, peer) && from <= first && last <= to
		switch {
		case e.RuleAction == types.RuleActionAllow && whole:
			return true
		case e.RuleAction == types.RuleActionDeny && covers(*e.CidrBlock, peer) && from <= last && first <= to:
			return false
		}
	}
	return false
}

func filter(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

// noEgress is what follows from a route that does not work.
const noEgress = ": the worker reaches neither the Prefect API nor the image's registry"

// routes checks the default route of each subnet. Without internet egress none is needed.
func (c *checklist) routes(ctx context.Context, f *findings, vpc *string, subnets []types.Subnet, public bool) {
	if c.env.Network.Closed() {
		return
	}
	out, err := c.aws.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: filter("vpc-id", *vpc)})
	if err == nil && len(out.RouteTables) == 0 {
		err = errEmpty // each VPC has a main one
	}
	if err != nil {
		f.unreadable("the routes", err)
		return
	}
	nats := map[string][]string{} // subnets by the NAT gateway of their default route
	for _, subnet := range subnets {
		cidr := aws.ToString(subnet.CidrBlock)
		table := routeTable(out.RouteTables, aws.ToString(subnet.SubnetId))
		c.addedRoutes(f, table, cidr)
		route, found := defaultRoute(table)
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
	c.natGateways(ctx, f, nats, out.RouteTables)
}

// routeTable returns the route table of a subnet: its own, or else the main one of the VPC.
func routeTable(tables []types.RouteTable, subnet string) types.RouteTable {
	var main types.RouteTable
	for _, table := range tables {
		for _, association := range table.Associations {
			if aws.ToString(association.SubnetId) == subnet {
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

// addedRoutes checks that no more specific route takes internet traffic away from the default route. Terraform,
// for which each route is a resource, does not see others. Those to private addresses, such as of a peering, are
// nothing to the worker.
func (c *checklist) addedRoutes(f *findings, table types.RouteTable, cidr string) {
	for _, r := range table.Routes {
		to, err := netip.ParsePrefix(aws.ToString(r.DestinationCidrBlock))
		if err != nil || to.Bits() == 0 || to.Addr().IsPrivate() || aws.ToString(r.GatewayId) == "local" {
			continue
		}
		if !c.env.Network.Exists() || r.State == types.RouteStateBlackhole {
			f.failed(fmt.Sprintf("the route table %s of the subnet %s has a route to %s that is more specific than the default one (%s)", aws.ToString(table.RouteTableId), cidr, to, r.State), "remove the route")
		}
	}
}

// natGateways checks that NAT gateways are available, have a public address and a route to the internet.
func (c *checklist) natGateways(ctx context.Context, f *findings, nats map[string][]string, tables []types.RouteTable) {
	for id, subnets := range nats {
		out, err := c.aws.ec2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{id}})
		if err == nil && len(out.NatGateways) == 0 {
			err = errEmpty
		}
		state := "gone"
		switch {
		case err == nil:
			state = string(out.NatGateways[0].State)
		case !is(err, "NatGatewayNotFound"):
			f.unreadable("the NAT gateway "+id, err)
			continue
		}
		of := fmt.Sprintf("the NAT gateway %s of the subnets %s", id, strings.Join(subnets, ", "))
		if state != string(types.NatGatewayStateAvailable) {
			f.failed(of+" is "+state+noEgress, c.networkFix())
			continue
		}
		nat := out.NatGateways[0]
		if nat.ConnectivityType == types.ConnectivityTypePrivate {
			continue // it leads to another network
		}
		if !slices.ContainsFunc(nat.NatGatewayAddresses, func(a types.NatGatewayAddress) bool { return a.PublicIp != nil }) {
			f.failed(of+" has no public address"+noEgress, c.networkFix())
		}
		if route, found := defaultRoute(routeTable(tables, aws.ToString(nat.SubnetId))); !found || !strings.HasPrefix(aws.ToString(route.GatewayId), "igw-") || route.State == types.RouteStateBlackhole {
			f.failed(of+" stands in a subnet without a route to an internet gateway"+noEgress, c.networkFix())
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
		if len(page.SecurityGroupRules) == 0 {
			f.unreadable("the rules of the security groups", errEmpty)
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
