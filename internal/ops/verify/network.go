package verify

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/aws/iam"
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
	subnets, err := query.Subnets(ctx, c.aws.Client, query.Params{"SubnetId": place.Subnets})
	switch err = orEmpty(err, len(subnets) < len(place.Subnets)); {
	case is(err, "InvalidSubnetID.NotFound"):
		f.failed("a subnet of the service does not exist any more: "+Reason(err), c.networkFix())
	case err != nil:
		f.unreadable("the subnets", err)
	default:
		vpc := subnets[0].VPCID
		f.sideBySide(
			func(f *findings) { c.addresses(f, subnets) },
			func(f *findings) {
				acls := c.networkACLs(ctx, f, vpc, subnets)
				c.routes(ctx, f, vpc, subnets, place.AssignPublicIp == ecstypes.AssignPublicIpEnabled, acls)
			},
			func(f *findings) { c.endpoints(ctx, f, vpc, subnets, place.SecurityGroups) },
			func(f *findings) { c.addedRules(ctx, f, vpc) },
		)
	}
	groups, err := query.SecurityGroups(ctx, c.aws.Client, query.Params{"GroupId": place.SecurityGroups})
	switch err = orEmpty(err, len(groups) < len(place.SecurityGroups)); {
	case is(err, "InvalidGroup.NotFound"):
		f.failed("a security group of the service does not exist any more: "+Reason(err), c.deploy())
	case err != nil:
		f.unreadable("the security groups", err)
	}
	egress := "a working default route"
	if c.env.Network.Isolated() {
		egress = "endpoints instead of internet egress"
	}
	return f.finding(fmt.Sprintf("%d subnets with free addresses and %s; no rule was added to the security groups%s", len(place.Subnets), egress, c.started(ctx, subnets)))
}

// started returns in which subnets a running task of the current deployment has started: that is evidence, and of
// the others only tables were read. Empty: ECS does not say.
func (c *checklist) started(ctx context.Context, subnets []query.Subnet) string {
	if len(c.Tasks) == 0 || len(subnets) == 0 {
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
				i := slices.IndexFunc(subnets, func(s query.Subnet) bool { return s.ID == aws.ToString(detail.Value) })
				if aws.ToString(detail.Name) == "subnetId" && task.StartedAt != nil && i >= 0 {
					places = append(places, fmt.Sprintf("%s (%s)", subnets[i].CIDRBlock, subnets[i].Zone))
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

// networkFix returns the fix for what is wrong with the network.
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

// endpoints checks that the interface endpoints are there, that host names lead to them, and that they let the
// tasks in.
func (c *checklist) endpoints(ctx context.Context, f *findings, vpc string, subnets []query.Subnet, groups []string) {
	if len(c.env.Network.Endpoints) == 0 {
		return
	}
	endpoints, err := query.VPCEndpoints(ctx, c.aws.Client, query.Filters("vpc-id", vpc))
	if err != nil {
		f.unreadable("the VPC endpoints", err)
		return
	}
	for _, service := range c.env.Network.Endpoints {
		i := slices.IndexFunc(endpoints, func(e query.VPCEndpoint) bool {
			return strings.HasSuffix(e.ServiceName, "."+c.opt.AWS.Region+"."+string(service)) && strings.EqualFold(e.State, "available") && e.PrivateDNS
		})
		if i < 0 {
			f.failed(fmt.Sprintf("the VPC %s has no endpoint of %s that is available and has private DNS", vpc, service), c.networkFix())
			continue
		}
		c.endpointAdmits(ctx, f, string(service), endpoints[i], subnets, groups)
	}
}

// endpointAdmits checks that the security groups and the policy of an endpoint let the tasks in.
func (c *checklist) endpointAdmits(ctx context.Context, f *findings, service string, e query.VPCEndpoint, subnets []query.Subnet, groups []string) {
	if len(e.Groups) > 0 {
		rules, err := query.SecurityGroupRules(ctx, c.aws.Client, query.Params{"Filter": []query.Params{{"Name": "group-id", "Value": e.Groups}}})
		if err != nil {
			f.unreadable("the rules of the endpoint of "+service, err)
		} else if !slices.ContainsFunc(rules, func(r query.SecurityGroupRule) bool { return admits(r, subnets, groups) }) {
			f.failed(fmt.Sprintf("the security groups of the endpoint of %s (%s) let no task in on port 443", service, strings.Join(e.Groups, ", ")), c.networkFix())
		}
	}
	request, judged := c.endpointRequest(service)
	document, err := iam.Parse(e.Policy)
	if !judged || err != nil {
		return // no policy allows all
	}
	f.decided(iam.Evaluate([]iam.Document{document}, request), fmt.Sprintf("the policy of the endpoint of %s allows %s", service, request.Action),
		fmt.Sprintf("the policy of the endpoint of %s does not allow %s on %s", service, request.Action, request.Resource), c.networkFix())
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
		request.Action, request.Resource = "logs:PutLogEvents", c.accountOf(arn).Of("logs", "log-group:"+c.env.Logs.Group+":log-stream:*")
	}
	return request, arn != "" && request.Resource != ""
}

// admits reports whether a rule lets tasks in the subnets, with the groups, connect to port 443.
func admits(r query.SecurityGroupRule, subnets []query.Subnet, groups []string) bool {
	if r.IsEgress || r.Protocol != "-1" && (r.Protocol != "tcp" || r.FromPort > httpsPort || r.ToPort < httpsPort) {
		return false
	}
	if r.PrefixListID != "" || slices.Contains(groups, r.ReferencedGroup) {
		return true
	}
	return slices.ContainsFunc(subnets, func(s query.Subnet) bool { return covers(r.CIDRIPv4, s.CIDRBlock) })
}

// covers reports whether a range of addresses holds all of another.
func covers(outer, inner string) bool {
	o, errO := netip.ParsePrefix(outer)
	i, errI := netip.ParsePrefix(inner)
	return errO == nil && errI == nil && o.Bits() <= i.Bits() && o.Contains(i.Addr())
}

// httpsPort is the port that tasks connect to.
const httpsPort = 443

// ports are a range of ports.
type ports struct{ first, last int }

// The ports at which the answers of a connection arrive: the ephemeral ports of Linux, and those of a NAT gateway ("Custom
// network ACLs" in the user guide of Amazon VPC).
var (
	ofTask = ports{32768, 60999}
	ofNAT  = ports{1024, 65535}
)

// networkACLs returns the network ACLs of the VPC, and checks that those of the subnets let tasks connect to port 443 and
// let the answers in. They are nothing of the stack.
func (c *checklist) networkACLs(ctx context.Context, f *findings, vpc string, subnets []query.Subnet) []query.NetworkACL {
	acls, err := query.NetworkACLs(ctx, c.aws.Client, query.Filters("vpc-id", vpc))
	if err := orEmpty(err, len(acls) == 0); err != nil { // each VPC has a default one
		f.unreadable("the network ACLs", err)
		return nil
	}
	for _, subnet := range subnets {
		peer := "0.0.0.0/0"
		if c.env.Network.Isolated() {
			peer = subnet.CIDRBlock // the endpoints
		}
		f.aclConnects(acls, subnet.ID, "the subnet "+subnet.CIDRBlock, peer, ofTask)
	}
	return acls
}

// aclConnects checks that the network ACL of a subnet lets connections to port 443 of a peer out, and their answers in.
func (f *findings) aclConnects(acls []query.NetworkACL, subnet, of, peer string, answers ports) {
	var acl query.NetworkACL
	for _, a := range acls {
		if slices.Contains(a.Subnets, subnet) || a.Default && acl.ID == "" {
			acl = a
		}
	}
	const fix = "add the rule to the network ACL"
	if !aclAllows(acl.Entries, true, ports{httpsPort, httpsPort}, peer) {
		f.failed(fmt.Sprintf("the network ACL %s of %s does not allow egress of tcp 443 to %s", acl.ID, of, peer), fix)
	}
	if !aclAllows(acl.Entries, false, answers, peer) {
		f.failed(fmt.Sprintf("the network ACL %s of %s does not allow ingress of the answers (tcp %d to %d) from %s", acl.ID, of, answers.first, answers.last, peer), fix)
	}
}

// aclAllows reports whether the entries of a network ACL allow tcp on all of the ports with all of the peer's
// addresses. The entry with the lowest number that is about any of them decides.
func aclAllows(entries []query.NetworkACLEntry, egress bool, of ports, peer string) bool {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b query.NetworkACLEntry) int { return cmp.Compare(a.Number, b.Number) })
	for _, e := range entries {
		if e.Egress != egress || e.Protocol != "-1" && e.Protocol != "6" || e.CIDRBlock == "" {
			continue
		}
		from, to := 0, 65535
		if e.Protocol == "6" && e.LastPort > 0 {
			from, to = e.FirstPort, e.LastPort
		}
		whole := covers(e.CIDRBlock, peer) && from <= of.first && of.last <= to
		switch {
		case e.Action == "allow" && whole:
			return true
		case e.Action == "deny" && covers(e.CIDRBlock, peer) && from <= of.last && of.first <= to:
			return false
		}
	}
	return false
}

// noEgress is what follows from a route that does not work.
const noEgress = ": the worker reaches neither the Prefect API nor the image's registry"

// routes checks the default route of each subnet. Without internet egress none is needed.
func (c *checklist) routes(ctx context.Context, f *findings, vpc string, subnets []query.Subnet, public bool, acls []query.NetworkACL) {
	if c.env.Network.Isolated() {
		return
	}
	tables, err := query.RouteTables(ctx, c.aws.Client, query.Filters("vpc-id", vpc))
	if err := orEmpty(err, len(tables) == 0); err != nil { // each VPC has a main one
		f.unreadable("the routes", err)
		return
	}
	nats := map[string][]string{} // subnets by the NAT gateway of their default route
	for _, subnet := range subnets {
		cidr := subnet.CIDRBlock
		table := routeTable(tables, subnet.ID)
		c.addedRoutes(f, table, cidr)
		route, found := defaultRoute(table)
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
	c.natGateways(ctx, f, nats, tables, acls)
}

// routeTable returns the route table of a subnet: its own, or else the main one of the VPC.
func routeTable(tables []query.RouteTable, subnet string) query.RouteTable {
	var main query.RouteTable
	for _, table := range tables {
		for _, association := range table.Associations {
			if association.SubnetID == subnet {
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

// addedRoutes checks that no more specific route takes internet traffic away from the default route. Terraform,
// for which each route is a resource, does not see others. Those to private addresses, such as of a peering, are
// nothing to the worker.
func (c *checklist) addedRoutes(f *findings, table query.RouteTable, cidr string) {
	for _, r := range table.Routes {
		to, err := netip.ParsePrefix(r.Destination)
		if err != nil || to.Bits() == 0 || to.Addr().IsPrivate() || r.GatewayID == "local" {
			continue
		}
		if !c.env.Network.Exists() || r.State == "blackhole" {
			f.failed(fmt.Sprintf("the route table %s of the subnet %s has a route to %s that is more specific than the default one (%s)", table.ID, cidr, to, r.State), "remove the route")
		}
	}
}

// natGateways checks that NAT gateways are available, have a public address and a route to the internet, which their network
// ACLs let them use. What these say of the traffic with the tasks' subnets is not looked at.
func (c *checklist) natGateways(ctx context.Context, f *findings, nats map[string][]string, tables []query.RouteTable, acls []query.NetworkACL) {
	for id, subnets := range nats {
		gateways, err := query.NATGateways(ctx, c.aws.Client, query.Params{"NatGatewayId": []string{id}})
		err = orEmpty(err, len(gateways) == 0)
		state := "gone"
		switch {
		case err == nil:
			state = gateways[0].State
		case !is(err, "NatGatewayNotFound"):
			f.unreadable("the NAT gateway "+id, err)
			continue
		}
		of := fmt.Sprintf("the NAT gateway %s of the subnets %s", id, strings.Join(subnets, ", "))
		if state != "available" {
			f.failed(of+" is "+state+noEgress, c.networkFix())
			continue
		}
		nat := gateways[0]
		if nat.ConnectivityType == "private" {
			continue // it leads to another network
		}
		if len(nat.PublicAddresses) == 0 {
			f.failed(of+" has no public address"+noEgress, c.networkFix())
		}
		if route, found := defaultRoute(routeTable(tables, nat.SubnetID)); !found || !strings.HasPrefix(route.GatewayID, "igw-") || route.State == "blackhole" {
			f.failed(of+" stands in a subnet without a route to an internet gateway"+noEgress, c.networkFix())
		}
		if len(acls) > 0 {
			f.aclConnects(acls, nat.SubnetID, of, "0.0.0.0/0", ofNAT)
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
	groups, err := query.SecurityGroups(ctx, c.aws.Client, query.Params{"Filter": []query.Params{{"Name": "vpc-id", "Value": []string{vpc}}, {"Name": "group-name", "Value": names}}})
	if err != nil || len(groups) == 0 {
		return // the check of the service's groups reports it
	}
	named := map[string]string{}
	var ids []string
	for _, group := range groups {
		ids = append(ids, group.ID)
		named[group.ID] = group.Name
	}
	rules, err := query.SecurityGroupRules(ctx, c.aws.Client, query.Params{"Filter": []query.Params{{"Name": "group-id", "Value": ids}}})
	if err := orEmpty(err, len(rules) == 0); err != nil {
		f.unreadable("the rules of the security groups", err)
		return
	}
	for _, rule := range rules {
		group := named[rule.GroupID]
		if !slices.ContainsFunc(rule.Tags, func(t query.Tag) bool { return t.Key == "Name" && t.Value == group }) {
			f.failed(fmt.Sprintf("the security group %s allows what is not configured: %s", group, rule), "remove the rule "+rule.ID)
		}
	}
}
