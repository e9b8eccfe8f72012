package config

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Exists reports whether the VPC exists already, so that nothing of the network is made.
func (n Network) Exists() bool { return n.Existing.VPCID != "" }

// Isolated reports whether nothing but endpoints leads out of the worker's subnets.
func (n Network) Isolated() bool {
	return len(n.Endpoints) > 0 && (n.Exists() || n.NAT == NATNone)
}

// PublicIP reports whether the worker runs in public subnets with a public address.
func (n Network) PublicIP() bool {
	if n.Exists() {
		return n.Existing.Public
	}
	return n.NAT == NATNone && !n.Isolated()
}

// TaskSubnets returns the number of subnets in which tasks run.
func (n Network) TaskSubnets() int {
	if n.Exists() {
		return len(n.Existing.SubnetIDs)
	}
	return len(n.PrivateSubnetCIDRs) // as many as there are public ones
}

// SecurityGroup returns the name of a security group of the stack. In a VPC that exists other
// environments may have one too.
func (e *Environment) SecurityGroup(name string) string {
	if e.Network.Exists() {
		return name + "-" + e.Name
	}
	return name
}

// Names of the security groups beside the worker's in a VPC of the program's own.
const (
	ServerSecurityGroup    = "prefect_server_sg"
	DatabaseSecurityGroup  = "prefect_database_sg"
	EndpointsSecurityGroup = "prefect_endpoints_sg"
)

// WorkerSecurityGroup returns the name of the worker's security group.
func (e *Environment) WorkerSecurityGroup() string {
	return cmp.Or(e.Network.SecurityGroupName, e.SecurityGroup("prefect_worker_sg"))
}

// Address returns the name of the rule's resource, derived from the rule itself, so that the others stay
// when one of the list goes.
func (r Egress) Address() string {
	ports := strconv.Itoa(r.FromPort)
	if r.ToPort != r.FromPort {
		ports += "_" + strconv.Itoa(r.ToPort)
	}
	peer := r.CIDR + r.PrefixListID + r.SecurityGroupID
	return strings.NewReplacer(".", "_", "/", "_", "-", "_").Replace(fmt.Sprintf("%s_%s_to_%s", r.Protocol, ports, peer))
}

// ProxyPort returns the port of network.proxy, 0 without one.
func (n Network) ProxyPort() int {
	u, err := url.Parse(n.Proxy)
	if err != nil {
		return 0
	}
	port, _ := strconv.Atoi(u.Port())
	return port
}

// ProxyVariables returns the environment variables of a container that reaches the internet
// through network.proxy, none without one. region is that of the endpoints, a Terraform
// reference or a code.
//
// Python takes each name in NO_PROXY as the end of a host's name. 169.254.170.2 is where ECS
// hands out the task's credentials and metadata, 127.0.0.1 where the health check goes.
func (e *Environment) ProxyVariables(region string) map[string]string {
	n := e.Network
	if n.Proxy == "" {
		return nil
	}
	direct := []string{"localhost", "127.0.0.1", "169.254.170.2", "169.254.169.254"}
	if e.Server.Enabled {
		direct = append(direct, e.Cluster.Namespace)
	}
	suffix := awsRegions[e.Region].DNSSuffix()
	if n.S3Endpoint || n.Isolated() {
		direct = append(direct, fmt.Sprintf("s3.%s.%s", region, suffix))
	}
	for _, endpoint := range n.Endpoints {
		direct = append(direct, endpoint.host(region, suffix))
	}
	return map[string]string{"HTTP_PROXY": n.Proxy, "HTTPS_PROXY": n.Proxy, "NO_PROXY": strings.Join(append(direct, n.NoProxy...), ",")}
}

// host returns the name at which clients reach the service.
func (p Endpoint) host(region, suffix string) string {
	switch p {
	case "ecr.api":
		return fmt.Sprintf("api.ecr.%s.%s", region, suffix)
	case "ecr.dkr":
		return fmt.Sprintf("dkr.ecr.%s.%s", region, suffix)
	}
	return fmt.Sprintf("%s.%s.%s", p, region, suffix)
}

// completeNetwork sets what follows from a network that exists, and the defaults inside of lists.
func (e *Environment) completeNetwork() {
	n := &e.Network
	if n.Exists() {
		if !e.given("network.flow_logs") {
			n.FlowLogs = FlowLogsNone
		}
		if !e.given("network.s3_endpoint") {
			n.S3Endpoint = false
		}
	}
	for i := range n.Egress {
		r := &n.Egress[i]
		if r.Protocol == "" {
			r.Protocol = "tcp"
		}
		if !e.given(fmt.Sprintf("network.egress[%d].to_port", i)) && r.ToPort == 0 {
			r.ToPort = r.FromPort
		}
	}
}

// existingNetwork refuses an existing VPC of which something is missing, and settings of a
// network that is not made.
func (v *validator) existingNetwork() {
	x := v.env.Network.Existing
	switch {
	case x.VPCID == "" && len(x.SubnetIDs) > 0:
		v.reject("network.existing.vpc_id", x.VPCID, "subnets that exist are in a VPC that exists", "write the id of the VPC in which they are", "network.existing.subnet_ids")
		return
	case x.VPCID == "":
		v.rejectIgnored("there is no VPC that exists", "set network.existing.vpc_id, or remove it", "network.existing.public")
		return
	case len(x.SubnetIDs) == 0:
		v.reject("network.existing.subnet_ids", "[]", "tasks run in subnets, and the program makes none in a VPC that exists", "write the ids of one subnet in each of two or three availability zones", "network.existing.vpc_id")
	}
	v.rejectIgnored("nothing of the network is made in a VPC that exists", "remove it, or network.existing", "network.name", "network.vpc_cidr",
		"network.public_subnet_cidrs", "network.private_subnet_cidrs", "network.map_public_ip_on_launch", "network.availability_zones", "network.nat", "network.flow_logs", "network.s3_endpoint")
	if x.Public && len(v.env.Network.Endpoints) > 0 {
		v.reject("network.existing.public", x.Public, "with a VPC that exists network.endpoints stands instead of internet egress, and public subnets have one", "remove one of the two; endpoints that are there are used without being named", "network.endpoints")
	}
	if s := v.env.Server; s.Enabled && s.OwnDatabase() && x.Public {
		v.reject("network.existing.public", x.Public, "the database of the in-stack Prefect server would lie in public subnets", "name private subnets, or a database that exists (server.database.existing_host)", "server.enabled")
	}
}

// egress refuses rules that AWS does not take, or that lead nowhere.
func (v *validator) egress() {
	seen := map[string]string{fmt.Sprintf("tcp 443 443 %s", anywhere): "the program's own for HTTPS"}
	if port := APIPort(v.env.Prefect.APIURL); !v.env.Server.Enabled {
		seen[fmt.Sprintf("tcp %d %[1]d %s", port, anywhere)] = "the program's own for the Prefect API"
	}
	if port := v.env.Network.ProxyPort(); port != 0 {
		seen[fmt.Sprintf("tcp %d %[1]d %s", port, anywhere)] = "the program's own for network.proxy"
	}
	for i, r := range v.env.Network.Egress {
		key := func(name string) string { return fmt.Sprintf("network.egress[%d].%s", i, name) }
		if r.ToPort < r.FromPort {
			v.reject(key("to_port"), r.ToPort, fmt.Sprintf("the last port is not below the first, here %d", r.FromPort), "write the larger one, or remove it for a single port", key("from_port"))
		}
		if r.CIDR != "" {
			v.cidr(key("cidr"), r.CIDR, 0, 32)
		}
		rule := fmt.Sprintf("%s %d %d %s", r.Protocol, r.FromPort, r.ToPort, r.CIDR+r.PrefixListID+r.SecurityGroupID)
		if other, twice := seen[rule]; twice {
			v.reject(fmt.Sprintf("network.egress[%d]", i), rule, "AWS takes a rule once, and it is the same as "+other, "remove it")
		}
		seen[rule] = fmt.Sprintf("network.egress[%d]", i)
	}
	if v.env.Network.Proxy == "" {
		v.rejectIgnored("there is no proxy", "set network.proxy, or remove it", "network.no_proxy")
		return
	}
	for i, host := range v.env.Network.NoProxy {
		v.hostSyntax(fmt.Sprintf("network.no_proxy[%d]", i), host, strings.TrimPrefix(host, "."))
	}
	if u, err := url.Parse(v.env.Network.Proxy); err == nil { // or rejected as malformed
		v.port("network.proxy", v.env.Network.Proxy, u)
		v.host("network.proxy", v.env.Network.Proxy, u.Hostname())
	}
	for _, of := range v.env.taskVariables() {
		for list, variables := range map[string]map[string]string{".environment.": of.environment, ".secrets.": of.secrets} {
			for name, value := range variables {
				switch strings.ToUpper(name) { // the clients read both cases, and prefer lower case
				case "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY":
					v.reject(of.block+list+name, value, "the program sets the variables of the proxy itself, and this one would override them", "set network.proxy and network.no_proxy")
				}
			}
		}
	}
}

// anywhere is the range of all IPv4 addresses.
const anywhere = "0.0.0.0/0"

// opens reports whether a rule of network.egress opens a TCP port.
func (n Network) opens(port int) bool {
	return slices.ContainsFunc(n.Egress, func(r Egress) bool { return r.Protocol == "tcp" && r.FromPort <= port && port <= r.ToPort })
}

// need is an endpoint that a worker needs which has no other internet egress.
type need struct {
	endpoint Endpoint
	why      string
}

// neededEndpoints returns the endpoints without which no task starts, or the worker cannot work. The image,
// the log and the secrets are requested by ECS through the task's own network interface
// ("Amazon ECR interface VPC endpoints" in the Amazon ECR User Guide), the others by prefect-aws.
func (e *Environment) neededEndpoints() []need {
	needs := []need{{"ecr.api", "for the image"}, {"ecr.dkr", "for the image"}, {"logs", "for the log"}}
	secret, parameter := e.Prefect.Authentication != AuthNone || e.Server.Enabled, false
	for _, of := range e.taskVariables() {
		for _, from := range of.secrets {
			if IsParameter(from) {
				parameter = true
			} else {
				secret = true
			}
		}
	}
	if secret {
		needs = append(needs, need{"secretsmanager", "for the secrets"})
	}
	if parameter {
		needs = append(needs, need{"ssm", "for the parameters among the secrets"})
	}
	if e.WorkPool.FlowsAreTasks() {
		needs = append(needs, need{"ecs", "to start flow tasks"}, need{"ec2", "to look up the VPC of flow tasks"})
	}
	if e.EventQueue() != "" {
		needs = append(needs, need{"sqs", "for the events of flow tasks"})
	}
	if e.Server.Enabled {
		needs = append(needs, need{"ssmmessages", "for workerctl open"})
	} else if e.Worker.ExecuteCommand {
		needs = append(needs, need{"ssmmessages", "for workerctl exec"})
	}
	return needs
}

// closed refuses what a worker cannot reach that has no egress but endpoints.
func (v *validator) closed() {
	e := v.env
	n := e.Network
	if !n.Isolated() {
		return
	}
	const without = "without internet egress, with network.endpoints only, "
	otherwise := ", or give the network internet egress (network.nat: single)"
	if n.Exists() {
		otherwise = ", or give its subnets internet egress and remove network.endpoints"
	}
	var missing, whys []string
	for _, need := range e.neededEndpoints() {
		if !slices.Contains(n.Endpoints, need.endpoint) {
			missing = append(missing, string(need.endpoint))
			whys = append(whys, string(need.endpoint)+" "+need.why)
		}
	}
	if len(missing) > 0 {
		v.reject("network.endpoints", n.Endpoints, without+"the worker lacks "+strings.Join(whys, ", "), "add "+strings.Join(missing, ", ")+otherwise, "network.nat")
	}
	if !n.S3Endpoint && !n.Exists() {
		v.reject("network.s3_endpoint", n.S3Endpoint, without+"no image can be pulled: ECR keeps the layers in S3", "remove it"+otherwise, "network.endpoints")
	}
	image := func(key, image string) {
		if in, _ := ParseECRImage(image); in.Region != e.Region {
			v.reject(key, image, without+"only an image in ECR of "+e.Region+" can be pulled", "push it there"+otherwise, "network.endpoints")
		}
	}
	image("worker.image", e.Worker.Image)
	if e.WorkPool.FlowsAreTasks() {
		image("work_pool.job.image", e.WorkPool.Job.Image)
	}
	if n.Proxy != "" {
		return // API and packages are reached through it
	}
	if !e.Server.Enabled && !e.LocalRun && !e.insideAPI() {
		v.reject("prefect.api_url", e.Prefect.APIURL, without+"the worker reaches no API outside of the VPC, such as Prefect Cloud", "name a server by its private address or a name in a private zone, set server.enabled, set network.proxy"+otherwise, "network.endpoints")
	}
	if packages := e.PipPackages(); len(packages) > 0 {
		v.reject("worker.extra_pip_packages", strings.Join(packages, " "), without+"no package can be installed at start", "build the packages into the image"+otherwise, "network.endpoints", "work_pool.type")
	}
}

// insideAPI reports whether the Prefect API has a name or address of a VPC: a private address,
// in the program's own VPC one of it, or a name that no public zone has.
func (e *Environment) insideAPI() bool {
	u, err := url.Parse(e.Prefect.APIURL)
	if err != nil {
		return false
	}
	if ip, isAddress := parseAddress(u.Hostname()); isAddress {
		return private(ip) // in the VPC, or in one that exists: see unreachable
	}
	return privateName.MatchString(u.Hostname()) || within(u.Hostname(), e.Cluster.Namespace)
}
