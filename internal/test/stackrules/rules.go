package stackrules

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
)

// rules are the lists for one environment. They are written down here a second time, apart
// from the constructs, so that a slip in one is a contradiction.
type rules struct {
	env *config.Environment
	// nats is the number of NAT gateways, tables that of private route tables.
	nats, tables int
	// credential is the Terraform variable with the credential, "" where there is none.
	credential string
	// secret is where the container reads it, and secretARN what the role may read.
	secret, secretARN string
}

func rulesFor(env *config.Environment) rules {
	r := rules{env: env, nats: 1, tables: 1, credential: env.Prefect.Authentication.TerraformVariable()}
	switch env.Network.NAT {
	case config.NATNone:
		r.nats = 0
	case config.NATPerAZ:
		r.tables = len(env.Network.PrivateSubnetCIDRs)
		r.nats = r.tables
	}
	if env.Server.Enabled {
		r.credential = "" // the stack makes it
	}
	switch s := env.Secret; {
	case env.Prefect.Authentication == config.AuthNone:
	case s.ExistingARN == "":
		r.secretARN = ref("aws_secretsmanager_secret.prefect_api_key.arn")
		r.secret = r.secretARN
	default:
		r.credential = ""
		r.secretARN, r.secret = s.ExistingARN, s.ExistingARN
		if s.JSONKey != "" {
			r.secret += ":" + s.JSONKey + "::"
		}
	}
	return r
}

// account is where the stack is deployed, in Terraform's terms.
var account = iam.Account{
	Partition: "${data.aws_partition.current.partition}",
	ID:        "${data.aws_caller_identity.current.account_id}",
	Region:    "${var.aws_region}",
}

func ref(attribute string) string { return "${" + attribute + "}" }

// literal is text with which Terraform does nothing.
func literal(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(s)
}

// vpc is the id of the VPC.
func (r rules) vpc() shape {
	if r.env.Network.Exists() {
		return is(ref("data.aws_vpc.existing.id"))
	}
	return is(ref("aws_vpc.main.id"))
}

// taskSubnets are the subnets in which tasks run.
func (r rules) taskSubnets() []string {
	n := r.env.Network
	address, count := "aws_subnet.private_", len(n.PrivateSubnetCIDRs)
	switch {
	case n.Exists():
		address, count = "data.aws_subnet.existing_", len(n.Existing.SubnetIDs)
	case n.NAT == config.NATNone && len(n.Endpoints) == 0:
		address = "aws_subnet.public_"
	}
	return subnetRefs(address, count)
}

func subnetRefs(address string, count int) []string {
	var all []string
	for i := range count {
		all = append(all, ref(fmt.Sprintf("%s%d.id", address, i+1)))
	}
	return all
}

// groupName is the name of a security group.
func (r rules) groupName(name string) shape {
	if r.env.Network.Exists() {
		return is(name + "-" + r.env.Name)
	}
	return is(name)
}

var (
	dependsOn = each(like(`(?:aws_\w+)\.\w+`, "an address"))
	checks    = because("Terraform would treat the resource otherwise than its neighbours", object(fields{
		"precondition?":  each(object(fields{"condition": text, "error_message": text})),
		"postcondition?": each(object(fields{"condition": text, "error_message": text})),
	}))
)

// resources are the resources that an environment may have.
func (r rules) resources() map[string]rule {
	all := map[string]rule{}
	r.network(all)
	r.identity(all)
	r.storage(all)
	r.service(all)
	r.events(all)
	if r.env.Server.Enabled {
		r.server(all)
	}
	if r.env.Monitoring.Enabled {
		r.monitoring(all)
	}
	for address := range r.env.Imports {
		if group, there := all[address]; there && strings.HasPrefix(address, "aws_security_group.") {
			group.shape["lifecycle"] = object(fields{"ignore_changes": is([]string{"description"})})
		}
	}
	return all
}

// ownNetwork is the VPC, if none exists.
func (r rules) ownNetwork(all map[string]rule) {
	n := r.env.Network
	vpc := r.vpc()
	const lets = "the network would let in or out what it was not made for"
	all["aws_vpc.main"] = rule{why: lets, shape: r.protected(fields{
		"cidr_block": is(n.VPCCIDR), "enable_dns_support": is(true), "enable_dns_hostnames": is(true), "tags": tags,
	})}
	all["aws_internet_gateway.main"] = rule{why: lets, shape: fields{"vpc_id": vpc, "tags": tags}}
	all["aws_default_security_group.main"] = rule{
		why: "the default group has no rule, so that nothing can use it by mistake", shape: fields{"vpc_id": vpc, "tags": tags},
		guards: "without it AWS's own rules stay in the VPC's default group, whose members reach each other and everything outside",
	}
	table := func(name string) {
		all["aws_route_table."+name] = rule{why: lets, shape: fields{"vpc_id": vpc, "tags": tags}}
	}
	associate := func(subnet, table string) {
		all["aws_route_table_association."+subnet] = rule{
			why: "a subnet with another route table is public where it should be private, or cut off",
			shape: fields{
				"subnet_id": is(ref("aws_subnet." + subnet + ".id")), "route_table_id": is(ref("aws_route_table." + table + ".id")),
			}, guards: "the subnet would follow the VPC's main route table, which nobody has written",
		}
	}
	subnet := func(name, cidr string, i int) {
		zone := fmt.Sprintf("${data.aws_availability_zones.available.names[%d]}", i)
		if len(n.AvailabilityZones) > 0 {
			zone = n.AvailabilityZones[i]
		}
		all["aws_subnet."+name] = rule{why: lets, shape: r.protected(fields{
			"availability_zone": is(zone), "cidr_block": is(cidr), "vpc_id": vpc, "tags": tags,
			"map_public_ip_on_launch": because("whatever is started in the subnet would get a public address", is(false)),
		})}
	}
	route := func(name, gateway, to string) {
		all["aws_route."+name] = rule{why: "another route leads the traffic elsewhere, or the internet in", shape: fields{
			"route_table_id": is(ref("aws_route_table." + name + ".id")), "destination_cidr_block": is("0.0.0.0/0"), gateway: is(to),
		}}
	}
	table("public")
	route("public", "gateway_id", ref("aws_internet_gateway.main.id"))
	routeTables := []shape{is(ref("aws_route_table.public.id"))}
	for i, cidr := range n.PublicSubnetCIDRs {
		name := fmt.Sprintf("public_%d", i+1)
		subnet(name, cidr, i)
		associate(name, "public")
	}
	for i := range r.tables {
		name := fmt.Sprintf("private_%d", i+1)
		table(name)
		routeTables = append(routeTables, is(ref("aws_route_table."+name+".id")))
	}
	for i, cidr := range n.PrivateSubnetCIDRs {
		name := fmt.Sprintf("private_%d", i+1)
		subnet(name, cidr, i)
		associate(name, fmt.Sprintf("private_%d", i%r.tables+1))
	}
	for i := range r.nats {
		nat := fmt.Sprintf("nat_%d", i+1)
		const why = "the address is the NAT gateway's and nobody else's: what has it is reachable from the internet"
		all["aws_eip."+nat] = rule{why: why, shape: fields{"domain": is("vpc"), "tags": tags, "depends_on": dependsOn}}
		all["aws_nat_gateway."+nat] = rule{why: why, shape: fields{
			"allocation_id": is(ref("aws_eip." + nat + ".id")), "subnet_id": is(ref(fmt.Sprintf("aws_subnet.public_%d.id", i+1))),
			"tags": tags, "depends_on": dependsOn,
		}}
		route(fmt.Sprintf("private_%d", i+1), "nat_gateway_id", ref("aws_nat_gateway."+nat+".id"))
	}
	if n.S3Endpoint {
		all["aws_vpc_endpoint.s3"] = rule{why: "an endpoint connects the network to a service of AWS or of others", shape: fields{
			"vpc_id": vpc, "tags": tags, "service_name": is("com.amazonaws.${var.aws_region}.s3"), "vpc_endpoint_type": is("Gateway"),
			"route_table_ids": list(routeTables...),
		}}
	}
	for _, service := range n.Endpoints {
		all["aws_vpc_endpoint."+strings.ReplaceAll(string(service), ".", "_")] = rule{why: "an endpoint connects the network to a service of AWS or of others", shape: fields{
			"vpc_id": vpc, "tags": tags, "service_name": is("com.amazonaws.${var.aws_region}." + string(service)), "vpc_endpoint_type": is("Interface"),
			"private_dns_enabled": because("clients would go out to the internet, or nowhere", is(true)), "subnet_ids": is(subnetRefs("aws_subnet.private_", len(n.PrivateSubnetCIDRs))),
			"security_group_ids": is([]string{ref("aws_security_group.prefect_endpoints_sg.id")}),
		}}
	}
	if len(n.Endpoints) > 0 {
		all["aws_security_group.prefect_endpoints_sg"] = rule{why: lets, shape: fields{"name": is("prefect_endpoints_sg"), "description": text, "vpc_id": vpc, "tags": tags}}
	}
	if n.FlowLogs != config.FlowLogsNone {
		const record = "who connected to what would not be on record"
		all["aws_flow_log.main"] = rule{why: record, guards: record, shape: fields{
			"vpc_id": vpc, "tags": tags, "traffic_type": is(strings.ToUpper(string(n.FlowLogs))), "log_destination_type": is("cloud-watch-logs"),
			"log_destination": is(ref("aws_cloudwatch_log_group.flow_logs.arn")), "iam_role_arn": is(ref("aws_iam_role.flow_logs.arn")),
		}}
	}
}

// network is the way in and out of the worker, and the VPC around it.
func (r rules) network(all map[string]rule) {
	n := r.env.Network
	if !n.Exists() {
		r.ownNetwork(all)
	}
	all["aws_security_group.prefect_worker_sg"] = rule{
		why: "rules inside the group undo the rules that stand by themselves, which are judged one by one", shape: fields{
			"name": r.groupName("prefect_worker_sg"), "description": text, "vpc_id": r.vpc(), "tags": tags,
		}}
	egress := func(name string, protocol string, from, to int, argument, peer string) {
		all["aws_vpc_security_group_egress_rule."+name] = rule{why: "the worker needs port 443, that of its Prefect API and what network.egress opens, and nothing else", shape: fields{
			"security_group_id": is(ref("aws_security_group.prefect_worker_sg.id")), "description": text, "tags": tags,
			"ip_protocol": is(protocol), "from_port": is(from), "to_port": is(to), argument: is(peer),
		}}
	}
	egress("https", "tcp", 443, 443, "cidr_ipv4", "0.0.0.0/0")
	port := config.APIPort(r.env.Prefect.APIURL)
	if port != 443 && !r.env.Server.Enabled {
		egress("prefect_api", "tcp", port, port, "cidr_ipv4", "0.0.0.0/0")
	}
	if p := n.ProxyPort(); p != 0 && p != 443 && p != port {
		egress("proxy", "tcp", p, p, "cidr_ipv4", "0.0.0.0/0")
	}
	for _, e := range n.Egress {
		argument, peer := "cidr_ipv4", e.CIDR
		if e.PrefixListID != "" {
			argument, peer = "prefix_list_id", e.PrefixListID
		}
		if e.SecurityGroupID != "" {
			argument, peer = "referenced_security_group_id", e.SecurityGroupID
		}
		egress(e.Address(), string(e.Protocol), e.FromPort, e.ToPort, argument, peer)
	}
	r.endpointIngress(all, "endpoints_worker", "prefect_worker_sg")
}

// endpointIngress lets a group use the interface endpoints that the stack makes.
func (r rules) endpointIngress(all map[string]rule, name, from string) {
	if len(r.env.Network.Endpoints) == 0 || r.env.Network.Exists() {
		return
	}
	all["aws_vpc_security_group_ingress_rule."+name] = rule{why: "others than the worker and its server could use the endpoints", shape: fields{
		"security_group_id": is(ref("aws_security_group.prefect_endpoints_sg.id")), "description": text, "tags": tags,
		"ip_protocol": is("tcp"), "from_port": is(443), "to_port": is(443), "referenced_security_group_id": is(ref("aws_security_group." + from + ".id")),
	}}
}

// proxy are the variables of a container that goes out through a proxy.
func (r rules) proxy(values map[string]string) {
	n := r.env.Network
	if n.Proxy == "" {
		return
	}
	suffix := "amazonaws.com"
	if strings.HasPrefix(r.env.Region, "cn-") {
		suffix += ".cn"
	}
	direct := "localhost,127.0.0.1,169.254.170.2,169.254.169.254"
	if r.env.Server.Enabled {
		direct += "," + r.env.Cluster.Namespace
	}
	hosts := map[config.Endpoint]string{"ecr.api": "api.ecr", "ecr.dkr": "dkr.ecr"}
	services := []string{}
	if n.S3Endpoint || n.Exists() && len(n.Endpoints) > 0 {
		services = append(services, "s3")
	}
	for _, service := range n.Endpoints {
		services = append(services, cmp.Or(hosts[service], string(service)))
	}
	for _, service := range services {
		direct += fmt.Sprintf(",%s.${var.aws_region}.%s", service, suffix)
	}
	values["HTTP_PROXY"], values["HTTPS_PROXY"] = n.Proxy, n.Proxy
	values["NO_PROXY"] = strings.Join(append([]string{direct}, n.NoProxy...), ",")
}

const (
	takes  = "others than the one service that works with the role, for this account, could take it on with all that it may do"
	rights = "the role may do more than its work needs"
)

// identity are the roles, who may take them on, and all that they may do.
func (r rules) identity(all map[string]rule) {
	i := r.env.IAM
	role := func(name, called, service, source string) { r.role(all, name, called, trust(service, source)) }
	inline := func(name, called string, allowed ...iam.Statement) { r.inline(all, name, called, allowed...) }
	attach := func(name, role, policyARN string) {
		all["aws_iam_role_policy_attachment."+name] = rule{why: rights, shape: fields{
			"role": is(ref("aws_iam_role." + role + ".name")), "policy_arn": is(policyARN),
		}}
	}
	if i.Existing.ExecutionRole == "" {
		role("execution", i.ExecutionRoleName, "ecs-tasks.amazonaws.com", account.Of("ecs", "*"))
		attach("execution", "execution", account.AWSPolicy("service-role/AmazonECSTaskExecutionRolePolicy"))
		if reads := r.readSecrets(); len(reads) > 0 {
			inline("execution", "read-prefect-api-key", reads...)
		}
	}
	if i.Existing.TaskRole == "" {
		role("task", i.TaskRoleName, "ecs-tasks.amazonaws.com", account.Of("ecs", "*"))
		for n, policyARN := range i.TaskPolicyARNs {
			attach(fmt.Sprintf("task_%d", n+1), "task", policyARN)
		}
		r.ownStatements(all, "task_statements", "task", "statements", i.TaskStatements)
		if r.env.Worker.ExecuteCommand {
			all["aws_iam_role_policy.task_exec"] = rule{why: rights, shape: fields{"name": is("ecs-exec"), "role": is(ref("aws_iam_role.task.id")), "policy": grants(rights, ecsExec)}}
		}
		if r.env.WorkPool.Type == config.PoolECS {
			inline("task", "run-flow-tasks", r.runFlows()...)
		}
	}
	if r.env.WorkPool.Type == config.PoolECS {
		if i.Existing.FlowExecutionRole == "" {
			role("flow_execution", i.FlowExecutionRoleName, "ecs-tasks.amazonaws.com", account.Of("ecs", "*"))
			inline("flow_execution", "start-flow-tasks", r.startFlows()...)
		}
		if flows := i.FlowTaskRole; flows.Wanted() {
			role("flow_task", flows.Name, "ecs-tasks.amazonaws.com", account.Of("ecs", "*"))
			for n, policyARN := range flows.PolicyARNs {
				attach(fmt.Sprintf("flow_task_%d", n+1), "flow_task", policyARN)
			}
			r.ownStatements(all, "flow_task", "flow_task", "flows", flows.Statements)
		}
	}
	if r.env.Network.FlowLogs != config.FlowLogsNone {
		role("flow_logs", r.env.FlowLogRole(), "vpc-flow-logs.amazonaws.com", account.Of("ec2", "vpc-flow-log/*"))
		inline("flow_logs", "write-flow-logs", iam.Allow("WriteFlowLogs",
			[]string{"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"}, ref("aws_cloudwatch_log_group.flow_logs.arn")+":*"))
	}
}

// role is a role of the stack, with who may take it on.
func (r rules) role(all map[string]rule, name, called string, takers ...iam.Statement) {
	i := r.env.IAM
	shape := fields{"name": is(called), "description": text, "assume_role_policy": grants(takes, takers...)}
	if i.Path != "" {
		shape["path"] = because("policies that speak of the path would not reach the role", is(i.Path))
	}
	if i.PermissionsBoundaryARN != "" {
		shape["permissions_boundary"] = because("without its boundary the role may do whatever a policy says", is(i.PermissionsBoundaryARN))
	}
	all["aws_iam_role."+name] = rule{why: rights, shape: shape}
}

// inline is the inline policy of a role of the stack, with the role's address.
func (r rules) inline(all map[string]rule, name, called string, allowed ...iam.Statement) {
	all["aws_iam_role_policy."+name] = rule{why: rights, shape: fields{
		"name": is(called), "role": is(ref("aws_iam_role." + name + ".id")), "policy": grants(rights, allowed...),
	}}
}

// ownStatements are the statements of the file.
func (r rules) ownStatements(all map[string]rule, name, role, called string, given []config.Statement) {
	if len(given) == 0 {
		return
	}
	var allowed []iam.Statement
	for _, s := range given {
		var resources []string
		for _, resource := range s.Resources {
			resources = append(resources, literal(resource))
		}
		statement := iam.Allow("", s.Actions, resources...)
		for operator, keys := range s.Conditions {
			for key, value := range keys {
				statement = statement.If(operator, key, literal(value))
			}
		}
		allowed = append(allowed, statement)
	}
	all["aws_iam_role_policy."+name] = rule{why: rights, shape: fields{
		"name": is(called), "role": is(ref("aws_iam_role." + role + ".id")), "policy": grants(rights, allowed...),
	}}
}

// roleARN is the ARN of a role of the stack, or of the one that exists.
func (r rules) roleARN(name string) string {
	x := r.env.IAM.Existing
	existing := map[string]string{"execution": x.ExecutionRole, "task": x.TaskRole, "flow_execution": x.FlowExecutionRole, "flow_task": x.FlowTaskRole}[name]
	return cmp.Or(existing, ref("aws_iam_role."+name+".arn"))
}

// hasFlowTaskRole tells whether flows have a role.
func (r rules) hasFlowTaskRole() bool {
	return r.env.IAM.FlowTaskRole.Wanted() || r.env.IAM.Existing.FlowTaskRole != ""
}

// logGroupName and logGroupARN are of the worker's log group.
func (r rules) logGroupName() string {
	if r.env.Logs.Existing {
		return r.env.Logs.Group
	}
	return ref("aws_cloudwatch_log_group.worker.name")
}

func (r rules) logGroupARN() string {
	if r.env.Logs.Existing {
		return account.Of("logs", "log-group:"+r.env.Logs.Group)
	}
	return ref("aws_cloudwatch_log_group.worker.arn")
}

// cluster is an attribute (id, arn, name) of the cluster.
func (r rules) cluster(attribute string) string {
	switch {
	case !r.env.Cluster.Existing:
		return ref("aws_ecs_cluster.main." + attribute)
	case attribute == "name":
		return r.env.Cluster.Name
	}
	return account.Of("ecs", "cluster/"+r.env.Cluster.Name)
}

// ecsExec is what ECS Exec does inside of a container; it knows no resource.
var ecsExec = iam.Allow("ECSExec", []string{
	"ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"}, "*")

// protected is what may not be destroyed, if the environment says so.
func (r rules) protected(shape fields) fields {
	if r.env.Protect {
		shape["lifecycle"] = because("what is protected could be destroyed", object(fields{"prevent_destroy": is(true)}))
	}
	return shape
}

// trust is the one statement with which a service takes on a role, for this account only.
func trust(service, source string) iam.Statement {
	return iam.Statement{Effect: "Allow", Principal: iam.ByService(service), Action: []string{"sts:AssumeRole"}, Condition: iam.Condition{
		"StringEquals": {"aws:SourceAccount": {account.ID}}, "ArnLike": {"aws:SourceArn": {source}},
	}}
}

// readSecrets is what ECS reads before it starts a task.
func (r rules) readSecrets() []iam.Statement {
	var secrets, parameters []string
	if r.secretARN != "" {
		secrets = append(secrets, r.secretARN)
	}
	for _, name := range slices.Sorted(maps.Keys(r.env.Worker.Secrets)) {
		switch from := config.SecretARN(r.env.Worker.Secrets[name]); {
		case slices.Contains(secrets, from) || slices.Contains(parameters, from):
		case config.IsParameter(from):
			parameters = append(parameters, from)
		default:
			secrets = append(secrets, from)
		}
	}
	if from := r.env.Worker.RegistryCredentials; from != "" && !slices.Contains(secrets, from) {
		secrets = append(secrets, from)
	}
	var all []iam.Statement
	if len(secrets) > 0 {
		all = append(all, iam.Allow("ReadSecrets", []string{"secretsmanager:GetSecretValue"}, secrets...))
	}
	if len(parameters) > 0 {
		all = append(all, iam.Allow("ReadParameters", []string{"ssm:GetParameters"}, parameters...))
	}
	if keys := r.env.Worker.KMSKeyARNs; len(secrets) > 0 {
		all = append(all, decrypt("DecryptSecrets", "secretsmanager", append([]string{r.env.Secret.KMSKeyARN}, keys...))...)
	}
	if len(parameters) > 0 {
		all = append(all, decrypt("DecryptParameters", "ssm", r.env.Worker.KMSKeyARNs)...)
	}
	return all
}

// decrypt is the use of keys through one service.
func decrypt(sid, service string, keys []string) []iam.Statement {
	keys = slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return key == "" })
	var all []string
	for _, key := range keys {
		if !slices.Contains(all, key) {
			all = append(all, key)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return []iam.Statement{iam.Allow(sid, []string{"kms:Decrypt"}, all...).If("StringEquals", "kms:ViaService", service+".${var.aws_region}.amazonaws.com")}
}

// runFlows is what the worker of an ecs pool calls.
func (r rules) runFlows() []iam.Statement {
	cluster := account.Of("ecs", "cluster/"+r.env.Cluster.Name)
	tasks := account.Of("ecs", "task/"+r.env.Cluster.Name+"/*")
	var families []string
	for _, family := range r.env.IAM.FlowTaskFamilies {
		families = append(families, account.Of("ecs", "task-definition/"+family+"*:*"))
	}
	streams := r.flowStreams()
	passed := []string{r.roleARN("flow_execution")}
	if r.hasFlowTaskRole() {
		passed = append(passed, r.roleARN("flow_task"))
	}
	inCluster := func(s iam.Statement) iam.Statement { return s.If("ArnEquals", "ecs:cluster", cluster) }
	all := []iam.Statement{
		// These three know no resource (Service Authorization Reference).
		iam.Allow("Describe", []string{"ec2:DescribeSubnets", "ec2:DescribeVpcs", "ecs:DescribeTaskDefinition"}, "*"),
		iam.Allow("RegisterFlows", []string{"ecs:RegisterTaskDefinition"}, families...).If("StringEqualsIfExists", "ecs:privileged", "false"),
		inCluster(iam.Allow("RunFlows", []string{"ecs:RunTask"}, families...)).If("StringEqualsIfExists", "ecs:enable-execute-command", "false"),
		inCluster(iam.Allow("WatchFlows", []string{"ecs:DescribeTasks"}, tasks)),
		inCluster(iam.Allow("StopFlows", []string{"ecs:StopTask"}, tasks)).If("StringLike", "aws:ResourceTag/prefect.io/flow-run-id", "*"),
		iam.Allow("TagFlows", []string{"ecs:TagResource"}, tasks).If("StringEquals", "ecs:CreateAction", "RunTask"),
		iam.Allow("PassRoles", []string{"iam:PassRole"}, append(passed, r.env.IAM.FlowRoleARNs...)...).
			If("StringEquals", "iam:PassedToService", "ecs-tasks.amazonaws.com"),
		iam.Allow("ReadFlowLogs", []string{"logs:GetLogEvents"}, streams),
	}
	if r.env.WorkPool.Job.Deregister {
		all = append(all, iam.Allow("DeregisterFlows", []string{"ecs:DeregisterTaskDefinition"}, "*")) // nor does this one
	}
	if queue := r.env.EventQueue(); queue != "" {
		all = append(all, iam.Allow("ReceiveTaskEvents",
			[]string{"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"}, account.Of("sqs", queue)))
	}
	return all
}

func (r rules) flowStreams() string {
	return r.logGroupARN() + ":log-stream:prefect-logs_" + r.env.WorkPool.Name + "_*"
}

// startFlows is what ECS does for the task of a flow run.
func (r rules) startFlows() []iam.Statement {
	all := r.startTasks("WriteFlowLogs", r.flowStreams())
	var keys []string
	if r.env.FlowsReadCredential() {
		all = append(all, iam.Allow("ReadAPIKey", []string{"secretsmanager:GetSecretValue"}, r.secretARN))
		keys = append(keys, r.env.Secret.KMSKeyARN)
	}
	if from := r.env.Worker.RegistryCredentials; from != "" {
		all = append(all, iam.Allow("ReadRegistryCredentials", []string{"secretsmanager:GetSecretValue"}, from))
		keys = append(keys, r.env.Worker.KMSKeyARNs...)
	}
	return append(all, decrypt("DecryptSecrets", "secretsmanager", keys)...)
}

// startTasks is what ECS does for every task.
func (r rules) startTasks(sid, streams string) []iam.Statement {
	return []iam.Statement{
		iam.Allow("LogInToRegistry", []string{"ecr:GetAuthorizationToken"}, "*"),
		iam.Allow("PullImages", []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}, account.Of("ecr", "repository/*")),
		iam.Allow(sid, []string{"logs:CreateLogStream", "logs:PutLogEvents"}, streams),
	}
}

// storage is what keeps anything: the logs and the secret.
func (r rules) storage(all map[string]rule) {
	if !r.env.Logs.Existing {
		r.logGroup(all, "worker", r.env.Logs.Group)
		r.protected(all["aws_cloudwatch_log_group.worker"].shape)
	}
	if r.env.Network.FlowLogs != config.FlowLogsNone {
		r.logGroup(all, "flow_logs", r.env.FlowLogGroup())
	}
	value := ref("var." + r.credential)
	switch {
	case r.env.GeneratedCredential():
		value = "prefect:" + ref("ephemeral.aws_secretsmanager_random_password.prefect_api.random_password")
	case r.credential == "":
		return
	}
	s := r.env.Secret
	secret := fields{"name": is(s.Name), "description": text, "recovery_window_in_days": is(s.RecoveryWindowDays)}
	if s.KMSKeyARN != "" {
		secret["kms_key_id"] = because("the API key would not be encrypted with the customer's key", is(s.KMSKeyARN))
	}
	all["aws_secretsmanager_secret.prefect_api_key"] = rule{why: "the secret would be copied, or readable by others", shape: r.protected(secret)}
	version := fields{
		"secret_id":        is(ref("aws_secretsmanager_secret.prefect_api_key.id")),
		"secret_string_wo": is(value), "secret_string_wo_version": is(s.Version),
	}
	if r.credential != "" {
		version["lifecycle"] = checks
	}
	all["aws_secretsmanager_secret_version.prefect_api_key"] = rule{why: "the API key would stand in the plan and the state", shape: version}
}

// logGroup is a log group, kept as the configuration says.
func (r rules) logGroup(all map[string]rule, name, called string) {
	shape := fields{
		"name":              is(called),
		"retention_in_days": because("logs would be kept for ever, and paid for", is(r.env.Logs.RetentionDays)),
	}
	if key := r.env.Logs.KMSKeyARN; key != "" {
		shape["kms_key_id"] = because("the logs would not be encrypted with the customer's key", is(key))
	}
	all["aws_cloudwatch_log_group."+name] = rule{
		why: "a log holds what flows print, and this would keep it otherwise than configured", shape: shape,
		guards: "ECS and flow logs would fail, or write to a group that is kept for ever",
	}
}

// service is the cluster, the task definition and the service.
func (r rules) service(all map[string]rule) {
	c, w := r.env.Cluster, r.env.Worker
	insights := map[bool]string{true: "enabled", false: "disabled"}[c.ContainerInsights]
	if !c.Existing {
		all["aws_ecs_cluster.main"] = rule{why: "the cluster would record or share what nobody asked for", shape: fields{
			"name": is(c.Name), "setting": list(object(fields{"name": is("containerInsights"), "value": is(insights)})),
		}}
	}
	if c.Namespace != "none" {
		all["aws_service_discovery_private_dns_namespace.main"] = rule{why: "names would be known elsewhere than in the VPC", shape: fields{
			"name": is(c.Namespace), "description": text, "vpc": r.vpc(),
		}}
	}
	definition := fields{
		"family": is(w.ServiceName), "cpu": is(strconv.Itoa(w.CPU)), "memory": is(strconv.Itoa(w.MemoryMiB)),
		"network_mode": is("awsvpc"), "requires_compatibilities": is([]string{"FARGATE"}),
		"runtime_platform": object(fields{
			"cpu_architecture": is(strings.ToUpper(string(w.Architecture))), "operating_system_family": is("LINUX"),
		}),
		"execution_role_arn":    because(rights, is(r.roleARN("execution"))),
		"task_role_arn":         because(rights, is(r.roleARN("task"))),
		"container_definitions": document(list(r.container())),
		"lifecycle":             checks,
	}
	if gib := w.EphemeralStorageGiB; gib > 0 {
		definition["ephemeral_storage"] = object(fields{"size_in_gib": is(gib)})
	}
	all["aws_ecs_task_definition.worker"] = rule{why: "the container would be less isolated, or not start", shape: definition}
	service := fields{
		"name": is(w.ServiceName), "cluster": is(r.cluster("id")), "task_definition": is(ref("aws_ecs_task_definition.worker.arn")),
		"desired_count": is(w.DesiredCount), "platform_version": is("LATEST"),
		"network_configuration":              r.placement("prefect_worker_sg"),
		"deployment_circuit_breaker":         object(fields{"enable": is(true), "rollback": is(true)}),
		"deployment_minimum_healthy_percent": is(100), "deployment_maximum_percent": is(200),
		"wait_for_steady_state": is(true), "enable_ecs_managed_tags": is(true), "propagate_tags": is("SERVICE"),
		"timeouts": tags, "depends_on": dependsOn,
	}
	if (w.Spot || r.env.WorkPool.Job.Spot) && !c.Existing {
		all["aws_ecs_cluster_capacity_providers.main"] = rule{why: "tasks would run on capacity that nobody chose", shape: fields{
			"cluster_name": is(ref("aws_ecs_cluster.main.name")), "capacity_providers": is([]string{"FARGATE", "FARGATE_SPOT"}),
		}}
	}
	if w.ExecuteCommand {
		service["enable_execute_command"] = is(true)
	}
	if w.Spot {
		strategy := []shape{object(fields{"capacity_provider": is("FARGATE_SPOT"), "weight": is(1)})}
		if w.OnDemandBase+w.OnDemandWeight > 0 {
			strategy = append([]shape{object(fields{"capacity_provider": is("FARGATE"), "base": is(w.OnDemandBase), "weight": is(w.OnDemandWeight)})}, strategy...)
		}
		service["capacity_provider_strategy"] = because("tasks would run on capacity that nobody chose", list(strategy...))
	} else {
		service["launch_type"] = is("FARGATE")
	}
	all["aws_ecs_service.worker"] = rule{why: "the service would run otherwise than it was judged", shape: service}
}

// container is the worker's container, of which every field is named.
func (r rules) container() shape {
	w := r.env.Worker
	settings := fields{
		"name": is("prefect-worker"), "essential": is(true),
		"image":            because("another image runs other code with the API key", is(w.Image)),
		"entryPoint?":      is([]string{"/usr/bin/tini", "--", "/opt/prefect/entrypoint.sh"}),
		"command":          because("another command runs other code with the API key", r.command()),
		"environment":      r.environment(),
		"stopTimeout":      is(w.StopTimeoutSeconds),
		"healthCheck":      r.healthCheck("http://127.0.0.1:8080/health", 120, 300),
		"logConfiguration": r.logConfiguration("prefect-worker"),
	}
	r.registry(settings)
	var secrets []any
	if r.secret != "" {
		secrets = append(secrets, map[string]string{"name": r.env.Prefect.Authentication.Variable(), "valueFrom": r.secret})
		settings["dockerLabels"] = is(map[string]string{"prefect-api-key-version": strconv.Itoa(r.env.Secret.Version)})
	}
	for _, name := range slices.Sorted(maps.Keys(w.Secrets)) {
		secrets = append(secrets, map[string]string{"name": name, "valueFrom": w.Secrets[name]})
	}
	if len(secrets) > 0 {
		settings["secrets"] = because("the container would get a secret that is not its own, or not the one that it needs", is(secrets))
	}
	return because("a field of the container that no rule names, or that is misspelt, changes what it may do or has no effect", object(settings))
}

// registry says where the credentials of the image's registry are, if it asks for some.
func (r rules) registry(settings fields) {
	if from := r.env.Worker.RegistryCredentials; from != "" {
		settings["repositoryCredentials"] = because("ECS would log in elsewhere, or show credentials that are not the registry's", object(fields{"credentialsParameter": is(from)}))
	}
}

// placement is where the tasks of a service run.
func (r rules) placement(group string) shape {
	const public = "the task would have a public address, or lie where one is needed and none is given"
	groups := []string{ref("aws_security_group." + group + ".id")}
	if group == "prefect_worker_sg" {
		groups = append(groups, r.env.Network.SecurityGroupIDs...)
	}
	return object(fields{
		"assign_public_ip": because(public, is(r.env.Network.PublicIP())),
		"subnets":          because(public, is(r.taskSubnets())),
		"security_groups":  because("another group can let others connect to the task", is(groups)),
	})
}

// healthCheck asks a URL inside of the container.
func (r rules) healthCheck(url string, startPeriods ...any) shape {
	return because("a task that hangs would not be replaced", object(fields{
		"command":  is([]string{"CMD", "python", "-c", "import urllib.request as u; u.urlopen('" + url + "', timeout=8)"}),
		"interval": is(30), "timeout": is(10), "retries": is(3), "startPeriod": is(startPeriods...),
	}))
}

func (r rules) logConfiguration(container string) shape {
	return because("the log would go elsewhere, or a slow log would stop the container", object(fields{
		"logDriver": is("awslogs"),
		"options": object(fields{
			"awslogs-group": is(r.logGroupName()), "awslogs-region": is("${var.aws_region}"),
			"awslogs-stream-prefix": is(container), "mode": is("non-blocking"), "max-buffer-size": is("4m"),
		}),
	}))
}

// command starts a worker of the pool and nothing else. Its options may come in any order.
func (r rules) command() shape {
	p := r.env.WorkPool
	options := []string{"--pool", literal(p.Name), "--type", string(p.Type), "--work-queue", "--limit", strconv.Itoa(r.env.Worker.ConcurrencyLimit), "--with-healthcheck"}
	if !r.env.Server.Enabled {
		options = append(options, "--no-create-pool-if-not-found")
	}
	for _, queue := range p.Queues {
		options = append(options, literal(queue))
	}
	start := []shape{
		is("/bin/sh"), is("-c"),
		like(`task=\$\$\{ECS_CONTAINER_METADATA_URI_V4##\*/\}; exec "\$@" --name "`+regexp.QuoteMeta(r.env.Worker.ServiceName)+`-\$\$\{task%%-\*\}"`, "the line that names the worker after its task"),
		is("worker"), is("prefect"), is("worker"), is("start"),
	}
	return func(j *judge, at, why string, value any) {
		given, ok := value.([]any)
		if !ok || len(given) < len(start) {
			j.find(at, fmt.Sprintf("is %s; allowed is a list that starts a worker", show(value)), why)
			return
		}
		list(start...)(j, at, why, given[:len(start)])
		for i, option := range given[len(start):] {
			if text, ok := option.(string); !ok || !slices.Contains(options, text) {
				j.find(fmt.Sprintf("%s[%d]", at, i+len(start)), fmt.Sprintf("is %s, which is no option or value that this worker has", show(option)), why)
			}
		}
	}
}

// environment is what stands in clear text.
func (r rules) environment() shape {
	values := map[string]string{
		"PREFECT_API_URL": "${local.prefect_api_url}", "PREFECT_WORK_POOL_NAME": literal(r.env.WorkPool.Name),
		"PREFECT_CLI_WRAP_LINES": "false", "PREFECT_LOGGING_COLORS": "false", "PREFECT_API_REQUEST_TIMEOUT": "10", "DO_NOT_TRACK": "1",
		"PREFECT_CLIENT_MAX_RETRIES": "7", "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,502,503,504",
	}
	if packages := r.env.PipPackages(); len(packages) > 0 {
		values["EXTRA_PIP_PACKAGES"] = strings.Join(packages, " ")
	}
	if queue := r.env.EventQueue(); queue != "" {
		values["PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME"] = queue
	}
	r.proxy(values)
	for name, value := range r.env.Worker.Environment {
		values[name] = literal(value)
	}
	const why = "variables are in clear text for whoever may read the task definition, and steer where the API key is sent and what is installed"
	variable := func(j *judge, at, _ string, value any) {
		given, _ := value.(map[string]any)
		name, _ := given["name"].(string)
		want, known := values[name]
		switch {
		case !known:
			j.find(at, fmt.Sprintf("sets %q, which %s", name, notListed), why)
		default:
			object(fields{"name": is(name), "value": is(want)})(j, at, why, value)
		}
	}
	return because(why, each(variable))
}

// events are the queue, and what may write to it, of an ecs pool's worker.
func (r rules) events(all map[string]rule) {
	queue := r.env.EventQueue()
	if queue == "" {
		return
	}
	encrypted := because("the events, names of flows in them, would lie in clear text", is(true))
	const why = "the queue would be readable or writable for others, or lose events"
	all["aws_sqs_queue.task_events_dead_letters"] = rule{why: why, shape: fields{
		"name": is(queue + "-dlq"), "message_retention_seconds": number, "sqs_managed_sse_enabled": encrypted,
	}}
	all["aws_sqs_queue.task_events"] = rule{why: why, shape: fields{
		"name": is(queue), "message_retention_seconds": number, "visibility_timeout_seconds": number, "sqs_managed_sse_enabled": encrypted,
	}}
	all["aws_sqs_queue_redrive_policy.task_events"] = rule{why: why, shape: fields{
		"queue_url":      is(ref("aws_sqs_queue.task_events.url")),
		"redrive_policy": document(object(fields{"deadLetterTargetArn": is(ref("aws_sqs_queue.task_events_dead_letters.arn")), "maxReceiveCount": number})),
	}}
	all["aws_sqs_queue_policy.task_events"] = rule{why: why, shape: fields{
		"queue_url": is(ref("aws_sqs_queue.task_events.url")),
		"policy": grants("others could send the worker events that did not happen, or read its own", iam.Statement{
			Sid: "ReceiveTaskEvents", Effect: "Allow", Principal: iam.ByService("events.amazonaws.com"),
			Action: []string{"sqs:SendMessage"}, Resource: []string{ref("aws_sqs_queue.task_events.arn")},
			Condition: iam.Condition{"ArnEquals": {"aws:SourceArn": {account.Of("events", "rule/"+queue)}}},
		}),
	}}
	all["aws_cloudwatch_event_rule.task_events"] = rule{why: "events of others than this cluster's tasks would reach the worker", shape: fields{
		"name": is(queue), "description": text,
		"event_pattern": document(is(map[string]any{
			"source": []string{"aws.ecs"}, "detail-type": []string{"ECS Task State Change"},
			"detail": map[string]any{"clusterArn": []string{r.cluster("arn")}},
		})),
	}}
	all["aws_cloudwatch_event_target.task_events"] = rule{why: "events would be sent elsewhere", shape: fields{
		"rule": is(ref("aws_cloudwatch_event_rule.task_events.name")), "arn": is(ref("aws_sqs_queue.task_events.arn")),
	}}
}

// data are the data sources.
func (r rules) data() map[string]rule {
	all := map[string]rule{
		"aws_caller_identity.current": {why: "nothing is asked for but the account"},
		"aws_partition.current":       {why: "nothing is asked for but the partition"},
	}
	if r.env.Cluster.Existing {
		all["aws_ecs_clusters.existing"] = rule{why: "nothing is asked for but the clusters that there are", shape: fields{"lifecycle": checks}}
	}
	if r.env.Logs.Existing {
		all["aws_cloudwatch_log_groups.existing"] = rule{why: "nothing is asked for but the log groups that there are", shape: fields{"log_group_name_prefix": is(r.env.Logs.Group), "lifecycle": checks}}
	}
	if x := r.env.Network.Existing; r.env.Network.Exists() {
		r.existingNetwork(all, x)
	} else if len(r.env.Network.AvailabilityZones) == 0 {
		all["aws_availability_zones.available"] = rule{why: "subnets would lie in zones without Fargate or NAT", shape: fields{
			"state": is("available"), "filter": is([]any{map[string]any{"name": "opt-in-status", "values": []string{"opt-in-not-required"}}}),
			"exclude_zone_ids": each(text), "lifecycle": checks,
		}}
	}
	return all
}

// existingNetwork is what is asked about a VPC that exists.
func (r rules) existingNetwork(all map[string]rule, x config.ExistingNetwork) {
	const other = "tasks would be put where nothing was checked"
	filter := func(name string, values ...string) shape {
		return is([]any{map[string]any{"name": name, "values": values}})
	}
	vpc := ref("data.aws_vpc.existing.id")
	all["aws_vpc.existing"] = rule{why: other, shape: fields{"id": is(x.VPCID), "lifecycle": checks}}
	all["aws_route_tables.existing_main"] = rule{why: other, shape: fields{"vpc_id": is(vpc), "filter": filter("association.main", "true")}}
	for i, id := range x.SubnetIDs {
		name := fmt.Sprintf("existing_%d", i+1)
		all["aws_subnet."+name] = rule{why: other, shape: fields{"id": is(id), "lifecycle": checks}}
		all["aws_route_tables."+name] = rule{why: other, shape: fields{"filter": filter("association.subnet-id", ref("data.aws_subnet."+name+".id"))}}
		all["aws_route_table."+name] = rule{why: other, shape: fields{
			"route_table_id": is(ref("try(data.aws_route_tables." + name + ".ids[0], data.aws_route_tables.existing_main.ids[0])")), "lifecycle": checks,
		}}
	}
	if len(r.env.Network.Endpoints) == 0 {
		return
	}
	for _, service := range r.env.Network.Endpoints {
		all["aws_vpc_endpoint.existing_"+strings.ReplaceAll(string(service), ".", "_")] = rule{why: other, shape: fields{
			"vpc_id": is(vpc), "service_name": is("com.amazonaws.${var.aws_region}." + string(service)), "lifecycle": checks,
		}}
	}
	all["aws_vpc_endpoint.existing_s3"] = rule{why: other, shape: fields{
		"vpc_id": is(vpc), "service_name": is("com.amazonaws.${var.aws_region}.s3"), "filter": filter("vpc-endpoint-type", "Gateway"),
	}}
}

// imports are what workerctl adopt has found and the stack still has.
func (r rules) imports() shape {
	var allowed []shape
	stack := r.resources()
	for _, address := range slices.Sorted(maps.Keys(r.env.Imports)) {
		if _, there := stack[address]; !there {
			continue
		}
		allowed = append(allowed, is(map[string]string{"to": address, "id": r.env.Imports[address]}))
	}
	return because("what is imported is changed by the next deploy, and removed by destroy", list(allowed...))
}

func (r rules) provider() shape {
	aws := fields{
		"region":       is("${var.aws_region}"),
		"default_tags": list(object(fields{"tags": tags})),
	}
	if r.env.AccountID != "" {
		aws["allowed_account_ids"] = because("another account could be deployed to by mistake", is([]string{r.env.AccountID}))
	}
	if role := r.env.AssumeRoleARN; role != "" {
		aws["assume_role"] = because("another role, and with it another account, would be deployed to", list(object(fields{"role_arn": is(role), "session_name": text})))
	}
	return because("another provider, or another setting of it, deploys elsewhere or with other keys", object(fields{"aws": list(object(aws))}))
}

func (r rules) terraform() shape {
	b := r.env.Backend
	backend := object(fields{"local": object(fields{"path": is("../../../terraform." + r.env.Name + ".tfstate")})})
	if b.Type == config.BackendS3 {
		s3 := fields{
			"bucket": is(b.Bucket), "key": is(b.Key), "region": is(b.Region),
			"encrypt":      because("the state would lie in clear text", is(true)),
			"use_lockfile": because("two deployments at once would ruin the state", is(true)),
		}
		if b.KMSKeyARN != "" {
			s3["kms_key_id"] = because("the state would not be encrypted with the customer's key", is(b.KMSKeyARN))
		}
		if b.AssumeRoleARN != "" {
			s3["assume_role"] = because("the state would be kept in another account", object(fields{"role_arn": is(b.AssumeRoleARN), "session_name": text}))
		}
		backend = object(fields{"s3": object(s3)})
	}
	return object(fields{
		"backend":          because("the state would be kept elsewhere than configured, or differ on each machine", backend),
		"required_version": because("older releases have no write-only arguments, and the API key would stand in the state", is(">= 1.11")),
		"required_providers": because("a provider of somebody else runs with the keys of AWS", object(fields{
			"aws": object(fields{"source": is("hashicorp/aws"), "version": is("~> 5.99")}),
		})),
	})
}

func (r rules) variables() shape {
	variable := func(value shape, more fields) shape {
		all := fields{"type": is("string"), "description": text, "nullable": is(false), "default": value,
			"validation": each(object(fields{"condition": text, "error_message": text}))}
		maps.Copy(all, more)
		return because("a value of a deployment would be stored, shown or left to chance", object(all))
	}
	all := fields{
		"aws_region":           variable(is(r.env.Region), nil),
		"prefect_api_url":      variable(is(literal(r.env.Prefect.APIURL)), nil),
		"prefect_account_id":   variable(is(literal(r.env.Prefect.AccountID)), nil),
		"prefect_workspace_id": variable(is(literal(r.env.Prefect.WorkspaceID)), nil),
	}
	if r.credential != "" {
		empty := func(j *judge, at, why string, value any) {
			if value != "" {
				j.find(at, "holds a value; allowed is none", why) // which is not shown
			}
		}
		all[r.credential] = variable(because("a credential would stand in the stack, which is no secret", empty), fields{
			"sensitive": because("Terraform would show the credential", is(true)),
			"ephemeral": because("the credential would stand in the plan", is(true)),
		})
	}
	return because("a further variable can bring anything into the stack", object(all))
}

func (r rules) locals() shape {
	return because("where the API key is sent follows from it", object(fields{
		"prefect_api_url":  is(`${var.prefect_api_url != "" ? trimsuffix(var.prefect_api_url, "/") : lower("` + config.CloudAPIURL + `${var.prefect_account_id}/workspaces/${var.prefect_workspace_id}")}`),
		"prefect_api_port": is(`${try(tonumber(regex("^https?://[^/:]+:([0-9]+)/", local.prefect_api_url)[0]), startswith(local.prefect_api_url, "http:") ? 80 : 443)}`),
		"console_domain":   is(`${lookup({ aws-cn = "amazonaws.cn", aws-us-gov = "amazonaws-us-gov.com" }, data.aws_partition.current.partition, "aws.amazon.com")}`),
	}))
}

// outputs are shown on every terminal and kept in the state: names, ids and addresses.
func (r rules) outputs() shape {
	output := func(value shape) shape { return object(fields{"description": text, "value": value}) }
	console := output(like(`https://\$\{var\.aws_region\}\.console\.\$\{local\.console_domain\}/[^{}]*(?:\$\{var\.aws_region\}[^{}]*)?`, "an address in the console"))
	all := fields{
		"ecs_cluster_arn": output(is(r.cluster("arn"))), "ecs_cluster_name": output(is(r.cluster("name"))),
		"ecs_service_name": output(is(ref("aws_ecs_service.worker.name"))), "task_definition_arn": output(is(ref("aws_ecs_task_definition.worker.arn"))),
		"log_group_name": output(is(r.logGroupName())), "vpc_id": output(r.vpc()),
		"security_group_id":  output(is(ref("aws_security_group.prefect_worker_sg.id"))),
		"execution_role_arn": output(is(r.roleARN("execution"))), "task_role_arn": output(is(r.roleARN("task"))),
		"prefect_api_url": output(is("${local.prefect_api_url}")), "console_service_url": console, "console_logs_url": console,
	}
	if r.env.Monitoring.Enabled {
		all["console_dashboard_url"] = console
	}
	if n := r.env.Network; n.Exists() {
		kind := map[bool]string{true: "public", false: "private"}[n.Existing.Public]
		all[kind+"_subnet_ids"] = output(is(r.taskSubnets()))
	} else {
		all["public_subnet_ids"] = output(is(subnetRefs("aws_subnet.public_", len(n.PublicSubnetCIDRs))))
		all["private_subnet_ids"] = output(is(subnetRefs("aws_subnet.private_", len(n.PrivateSubnetCIDRs))))
	}
	if r.env.WorkPool.Type == config.PoolECS {
		all["flow_execution_role_arn"] = output(is(r.roleARN("flow_execution")))
		if r.hasFlowTaskRole() {
			all["flow_task_role_arn"] = output(is(r.roleARN("flow_task")))
		}
	}
	r.neededPolicies(all, output)
	if r.secretARN != "" {
		all["secret_arn"] = output(is(r.secretARN))
	}
	if s := r.env.Server; s.Enabled {
		all["server_service_name"] = output(is(ref("aws_ecs_service.server.name")))
		all["server_security_group_id"] = output(is(ref("aws_security_group.prefect_server_sg.id")))
		host, secret := r.database()
		all["database_address"], all["database_secret_arn"] = output(is(host)), output(is(config.SecretARN(secret)))
	}
	return because("outputs are shown on every terminal and stand in the state", object(all))
}

// neededPolicies are the outputs that say what roles that exist must be allowed: people copy
// them, so they are judged as those of the stack's own roles are.
func (r rules) neededPolicies(all fields, output func(shape) shape) {
	x := r.env.IAM.Existing
	needs := func(role, existing string, statements ...iam.Statement) {
		if existing != "" && len(statements) > 0 {
			all[role+"_policy"] = output(grants(rights, statements...))
		}
	}
	needs("execution_role", x.ExecutionRole, append(r.startTasks("WriteLogs", r.logGroupARN()+":*"), r.readSecrets()...)...)
	var work []iam.Statement
	if r.env.Worker.ExecuteCommand {
		work = append(work, ecsExec)
	}
	if r.env.WorkPool.Type == config.PoolECS {
		work = append(work, r.runFlows()...)
	}
	needs("task_role", x.TaskRole, work...)
	if r.env.WorkPool.Type == config.PoolECS {
		needs("flow_execution_role", x.FlowExecutionRole, r.startFlows()...)
	}
}
