package stackrules

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"prefect-worker-ecs/config"
)

const (
	anywhere       = "0.0.0.0/0"
	workerGroup    = "${aws_security_group.prefect_worker_sg.id}"
	serverGroup    = "${aws_security_group.prefect_server_sg.id}"
	databaseGroup  = "${aws_security_group.prefect_database_sg.id}"
	endpointsGroup = "${aws_security_group.prefect_endpoints_sg.id}"
)

var networkRules = []rule{
	{"ingress-from-named-groups", "whoever connects to the server has its user interface, and to the database its data; nothing connects to a worker", func(s *stack) {
		database := s.env.Server.Database.Port
		s.flows("aws_vpc_security_group_ingress_rule", flow(serverGroup, "tcp", config.ServerPort, config.ServerPort, workerGroup), flow(databaseGroup, "tcp", database, database, serverGroup),
			flow(endpointsGroup, "tcp", 443, 443, workerGroup), flow(endpointsGroup, "tcp", 443, 443, serverGroup))
	}},
	{"egress-to-configured-targets", "a container reaches HTTPS, its Prefect API, its database and what network.egress opens, and nothing else", func(s *stack) {
		s.flows("aws_vpc_security_group_egress_rule", s.egress()...)
	}},
	{"public-addresses-as-configured", "a public address is reachable from the internet, and a task in a public subnet without one reaches nothing", func(s *stack) {
		s.all("aws_ecs_service", "network_configuration.assign_public_ip", s.env.Network.PublicIP())
		s.each("aws_subnet", func(e element) {
			s.want(e, "map_public_ip_on_launch", strings.HasPrefix(e.name, "public_") && s.env.Network.MapPublicIPOnLaunch)
		})
		s.all("aws_db_instance", "publicly_accessible", false)
	}},
	{"placed-as-configured", "another subnet is public, without a route or unchecked, and another security group lets others connect", func(s *stack) {
		s.all("aws_ecs_service", "network_configuration.subnets", s.taskSubnets())
		s.all("aws_ecs_service.worker", "network_configuration.security_groups", append([]string{workerGroup}, s.env.Network.SecurityGroupIDs...))
		s.all("aws_ecs_service.server", "network_configuration.security_groups", []string{serverGroup})
		s.all("aws_db_instance", "vpc_security_group_ids", []string{databaseGroup})
		s.all("aws_db_subnet_group", "subnet_ids", s.privateSubnets())
		var probe any
		if s.env.ProbeInVPC() {
			probe = map[string][]string{"subnet_ids": s.taskSubnets(), "security_group_ids": {workerGroup}}
		}
		s.all("aws_lambda_function", "vpc_config", probe)
		for _, e := range s.elements {
			if e.get("vpc_id") != nil && !strings.HasPrefix(e.kind, "data.") {
				s.want(e, "vpc_id", s.vpc())
			}
		}
	}},
	{"routes-stay-private", "a private subnet that follows a public route table is reachable from the internet, and one without a table follows the VPC's main one", func(s *stack) {
		s.all("aws_route", "destination_cidr_block", anywhere)
		s.each("aws_route", func(e element) {
			gateway, nat := any(ref("aws_internet_gateway.main.id")), any(nil)
			if e.name != "public" {
				gateway, nat = nil, ref("aws_nat_gateway."+strings.Replace(e.name, "private", "nat", 1)+".id")
			}
			s.want(e, "route_table_id", ref("aws_route_table."+e.name+".id"))
			s.want(e, "gateway_id", gateway)
			s.want(e, "nat_gateway_id", nat)
		})
		s.each("aws_route_table_association", func(e element) {
			table, n, _ := strings.Cut(e.name, "_")
			if i, err := strconv.Atoi(n); table == "private" && err == nil {
				table = fmt.Sprintf("private_%d", (i-1)%tables(s.env.Network)+1)
			}
			s.want(e, "subnet_id", ref("aws_subnet."+e.name+".id"))
			s.want(e, "route_table_id", ref("aws_route_table."+table+".id"))
		})
		s.each("aws_nat_gateway", func(e element) {
			s.want(e, "subnet_id", ref("aws_subnet."+strings.Replace(e.name, "nat", "public", 1)+".id"))
		})
	}},
	{"ranges-as-configured", "another range overlaps with networks that are connected, or is too small for the tasks", func(s *stack) {
		n := s.env.Network
		s.all("aws_vpc", "cidr_block", n.VPCCIDR)
		for kind, ranges := range map[string][]string{"public": n.PublicSubnetCIDRs, "private": n.PrivateSubnetCIDRs} {
			for i, want := range ranges {
				s.all(fmt.Sprintf("aws_subnet.%s_%d", kind, i+1), "cidr_block", want)
			}
		}
		s.all("aws_flow_log", "traffic_type", strings.ToUpper(string(n.FlowLogs)))
	}},
	{"zones-differ", "the loss of an availability zone must not stop all tasks, and RDS takes subnets of two", func(s *stack) {
		have := map[string]bool{}
		s.each("aws_subnet", func(e element) {
			zone := strings.TrimRight(e.name, "0123456789") + e.text("availability_zone")
			if have[zone] {
				s.report(e.address()+".availability_zone", "is %s, where another such subnet is", e.text("availability_zone"))
			}
			have[zone] = true
		})
	}},
	{"names-resolve", "tasks find the APIs of AWS, the endpoints and the server by DNS", func(s *stack) {
		s.all("aws_vpc", "enable_dns_support", true)
		s.all("aws_vpc", "enable_dns_hostnames", true)
		s.all("aws_service_discovery_private_dns_namespace", "vpc", s.vpc())
		s.all("aws_service_discovery_service", "name", config.ServerRecord)
		s.all("aws_service_discovery_service", "dns_config.namespace_id", ref("aws_service_discovery_private_dns_namespace.main.id"))
		s.all("aws_ecs_service.server", "service_registries.registry_arn", ref("aws_service_discovery_service.server.arn"))
	}},
	{"endpoints-of-aws", "an endpoint connects the network to a service, which must be AWS's own and the one whose name resolves to it", func(s *stack) {
		s.each("aws_vpc_endpoint", func(e element) {
			s.want(e, "service_name", "com.amazonaws.${var.aws_region}."+strings.Replace(e.name, "ecr_", "ecr.", 1))
			if e.name == "s3" {
				s.want(e, "route_table_ids", append([]string{ref("aws_route_table.public.id")}, references("aws_route_table.private_", tables(s.env.Network))...))
				return
			}
			s.want(e, "private_dns_enabled", true)
			s.want(e, "subnet_ids", s.privateSubnets())
			s.want(e, "security_group_ids", []string{endpointsGroup})
		})
	}},
	{"existing-resources-are-checked", "what exists and does not fit stops the plan instead of the tasks, minutes into the deployment", checkExisting},
}

// flow describes a rule of a security group: who may connect to whom.
func flow(group, protocol string, from, to any, peer string) string {
	return fmt.Sprintf("%s %s %v-%v %s", group, protocol, from, to, peer)
}

// flows reports the rules of security groups that are not among the allowed, and an egress rule
// that is missing.
func (s *stack) flows(kind string, allowed ...string) {
	have := map[string]bool{}
	s.each(kind, func(e element) {
		peer := e.text("cidr_ipv4") + e.text("prefix_list_id") + e.text("referenced_security_group_id")
		got := flow(e.text("security_group_id"), e.text("ip_protocol"), e.get("from_port"), e.get("to_port"), peer)
		switch {
		case have[got]:
			s.report(e.address(), "allows %s, as another rule does", got) // InvalidPermission.Duplicate
		case !slices.Contains(allowed, got):
			s.report(e.address(), "allows %s", got)
		}
		have[got] = true
	})
	for _, want := range allowed {
		if strings.Contains(kind, "egress") && !have[want] {
			s.report(kind, "lacks %s", want)
		}
	}
}

// egress returns what the security groups allow.
func (s *stack) egress() []string {
	n, server, api := s.env.Network, s.env.Server, config.APIPort(s.env.Prefect.APIURL)
	groups, peer := []string{workerGroup}, anywhere
	var all []string
	if server.Enabled {
		groups, peer = []string{workerGroup, serverGroup}, serverGroup
		database := anywhere
		if server.OwnDatabase() {
			database = databaseGroup
		}
		all = append(all, flow(serverGroup, "tcp", server.Database.Port, server.Database.Port, database))
	}
	all = append(all, flow(workerGroup, "tcp", api, api, peer))
	for _, group := range groups {
		all = append(all, flow(group, "tcp", 443, 443, anywhere))
		if port := n.ProxyPort(); port != 0 {
			all = append(all, flow(group, "tcp", port, port, anywhere))
		}
	}
	for _, e := range n.Egress {
		all = append(all, flow(workerGroup, string(e.Protocol), e.FromPort, e.ToPort, cmp.Or(e.CIDR, e.PrefixListID, e.SecurityGroupID)))
	}
	return all
}

// vpc returns the reference to the VPC.
func (s *stack) vpc() string {
	if s.env.Network.Exists() {
		return ref("data.aws_vpc.existing.id")
	}
	return ref("aws_vpc.main.id")
}

// taskSubnets returns the references to the subnets in which tasks run.
func (s *stack) taskSubnets() []string {
	if n := s.env.Network; !n.Exists() && n.PublicIP() {
		return references("aws_subnet.public_", len(n.PublicSubnetCIDRs))
	}
	return s.privateSubnets()
}

// privateSubnets returns the references to the private subnets, or to those that exist.
func (s *stack) privateSubnets() []string {
	if n := s.env.Network; n.Exists() {
		return references("data.aws_subnet.existing_", len(n.Existing.SubnetIDs))
	}
	return references("aws_subnet.private_", len(s.env.Network.PrivateSubnetCIDRs))
}

func references(address string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, ref(fmt.Sprintf("%s%d.id", address, i+1)))
	}
	return all
}

// checkExisting reports what exists and is not the configured one, or lacks a postcondition.
func checkExisting(s *stack) {
	n, x, cluster, logs := s.env.Network, s.env.Network.Existing, s.env.Cluster, s.env.Logs
	must := func(address, condition string) {
		found := false
		s.each(address, func(e element) {
			found = slices.ContainsFunc(e.list("lifecycle.postcondition"), func(p any) bool { return Get(p, "condition") == ref(condition) })
		})
		if !found {
			s.report(address, "has no postcondition %s", condition)
		}
	}
	if cluster.Existing {
		must("data.aws_ecs_clusters.existing", fmt.Sprintf(`anytrue([for arn in self.cluster_arns : endswith(arn, ":cluster/%s")])`, cluster.Name))
	}
	if logs.Existing {
		s.all("data.aws_cloudwatch_log_groups.existing", "log_group_name_prefix", logs.Group)
		must("data.aws_cloudwatch_log_groups.existing", fmt.Sprintf("contains(self.log_group_names, %q)", logs.Group))
	}
	if !n.Exists() {
		if len(n.AvailabilityZones) == 0 {
			must("data.aws_availability_zones.available", fmt.Sprintf("length(self.names) >= %d", len(n.PublicSubnetCIDRs)))
			s.each("data.aws_availability_zones.available", func(e element) {
				if len(e.list("exclude_zone_ids")) == 0 || e.get("filter") == nil {
					s.report(e.address(), "has zones without Fargate")
				}
			})
		}
		return
	}
	must("data.aws_vpc.existing", "self.enable_dns_support && self.enable_dns_hostnames")
	s.all("data.aws_vpc.existing", "id", x.VPCID)
	egress := `anytrue([for r in self.routes : r.cidr_block == "0.0.0.0/0" && !startswith(r.gateway_id, "igw-")])`
	switch {
	case x.Public:
		egress = strings.Replace(egress, "!startswith", "startswith", 1)
	case n.Isolated():
		egress = "contains(data.aws_vpc_endpoint.existing_s3.route_table_ids, self.id)"
		for _, service := range n.Endpoints {
			must("data.aws_vpc_endpoint.existing_"+strings.ReplaceAll(string(service), ".", "_"), "self.private_dns_enabled")
		}
	}
	var zones []string
	for i, id := range x.SubnetIDs {
		address := fmt.Sprintf("data.aws_subnet.existing_%d", i+1)
		must(strings.Replace(address, "subnet", "route_table", 1), egress)
		must(address, fmt.Sprintf("self.vpc_id == %q", x.VPCID))
		must(address, fmt.Sprintf("self.available_ip_address_count >= %d", (s.env.Worker.MostTasks()+len(x.SubnetIDs)-1)/len(x.SubnetIDs)))
		s.each(address, func(e element) {
			if text := encode(e.get("lifecycle")); !strings.Contains(text, "use1-az3") || !strings.Contains(text, "], self.availability_zone_id)") {
				s.report(address, "has no postcondition on zones without Fargate")
			}
		})
		if i > 0 {
			must(address, "!contains(["+strings.Join(zones, ", ")+"], self.availability_zone)")
		}
		s.all(address, "id", id)
		zones = append(zones, address+".availability_zone")
	}
}
