package config

import (
	"maps"
	"net/netip"
	"net/url"
	"strings"
)

// Default returns the environment that an empty file of that name gives.
func Default(name string) *Environment {
	env := base()
	env.Name = name
	env.complete()
	return env
}

// base returns the defaults that depend on nothing else. YAML is decoded over it.
func base() *Environment {
	env := &Environment{}
	for _, o := range options() {
		o.setDefault(env)
	}
	return env
}

// complete brings values to the form in which they are used, and sets what is still empty
// and depends on other values.
func (e *Environment) complete() {
	e.normalize()
	values := strings.NewReplacer("{environment}", e.Name, "{name_suffix}", e.NameSuffix, "{region}", e.Region)
	for _, o := range options() {
		if strings.HasPrefix(o.Key, "backend.") && e.Backend.Type != BackendS3 {
			continue // the local backend takes none of them
		}
		if strings.HasPrefix(o.Key, "server.") && !e.Server.Enabled {
			continue
		}
		if field := o.in(e); o.derived() && field.String() == "" {
			field.SetString(values.Replace(o.Schema.Default.(string)))
		}
	}
	e.completeNetwork()
	if e.Network.PublicSubnetCIDRs == nil {
		e.Network.PublicSubnetCIDRs = defaultSubnets(e.Network.VPCCIDR, 1)
	}
	if e.Network.PrivateSubnetCIDRs == nil {
		e.Network.PrivateSubnetCIDRs = defaultSubnets(e.Network.VPCCIDR, 4)
	}
	if !e.given("worker.concurrency_limit") && e.Worker.ConcurrencyLimit == 0 && e.WorkPool.FlowsInWorker() {
		e.Worker.ConcurrencyLimit = 1
	}
	if !e.given("worker.protect_runs") {
		e.Worker.ProtectRuns = e.Worker.Scales()
	}
	if e.WorkPool.FlowsAreTasks() {
		if e.IAM.FlowTaskFamilies == nil && formats["ecs-name"].accepts(e.FlowFamily()) {
			e.IAM.FlowTaskFamilies = []string{e.FlowFamily()}
		}
		if e.WorkPool.Job.Image == "" {
			e.WorkPool.Job.Image = e.Worker.Image
		}
	}
	e.useOwnServer()
	tags := map[string]string{"Project": "prefect-worker", "Environment": e.Name, "ManagedBy": "cdktf"}
	maps.Copy(tags, e.Tags)
	e.Tags = tags
}

// normalize accepts what is right but written otherwise: UUIDs in upper case, and URLs with
// a slash at the end, or a host in upper case or with the dot of a full name.
func (e *Environment) normalize() {
	p := &e.Prefect
	p.AccountID, p.WorkspaceID = strings.ToLower(p.AccountID), strings.ToLower(p.WorkspaceID)
	p.APIURL = strings.TrimRight(p.APIURL, "/")
	e.Network.Proxy = strings.TrimSuffix(e.Network.Proxy, "/")
	if u, err := url.Parse(p.APIURL); err == nil && u.User == nil {
		u.Host = strings.ToLower(strings.TrimSuffix(u.Host, ":"))
		u.Host = strings.Replace(u.Host, u.Hostname(), strings.TrimSuffix(u.Hostname(), "."), 1)
		if isCloud(u.Hostname()) {
			u.Path = strings.ToLower(u.Path)
		}
		p.APIURL = u.String()
	}
}

// defaultSubnets returns three subnets of 256 addresses, from the first-th of the VPC on. Whether
// they fit is left to validation, and so is a VPC whose range is none: the subnets are
// then those of the default, so that it alone is reported.
func defaultSubnets(vpcCIDR string, first byte) []string {
	vpc, err := netip.ParsePrefix(vpcCIDR)
	if err != nil || !vpc.Addr().Is4() {
		vpc = netip.MustParsePrefix(base().Network.VPCCIDR)
	}
	var cidrs []string
	for n := first; n < first+3; n++ {
		address := vpc.Addr().As4()
		address[2] += n
		cidrs = append(cidrs, netip.PrefixFrom(netip.AddrFrom4(address), 24).Masked().String())
	}
	return cidrs
}

// FlowLogGroup returns the name of the log group of the VPC's flow logs.
func (e *Environment) FlowLogGroup() string { return "/vpc/" + e.Network.Name }

// FlowLogRole returns the name of the role that writes the VPC's flow logs.
func (e *Environment) FlowLogRole() string { return e.Network.Name + "-flow-logs" }

// FlowFamily returns the prefix of the families of the task definitions that prefect-aws makes for the
// pool: prefect_<pool>_<id of the deployment>.
func (e *Environment) FlowFamily() string { return "prefect_" + e.WorkPool.Name + "_" }

// FlowStream returns the prefix of the log streams of the pool's flow tasks, as prefect-aws names them.
func (e *Environment) FlowStream() string { return "prefect-logs_" + e.WorkPool.Name + "_" }

// FlowsReadCredential reports whether flow tasks get the credential of the Prefect API from Secrets
// Manager. With an older prefect-aws the worker writes it into each call of RunTask.
func (e *Environment) FlowsReadCredential() bool {
	runtime, err := e.Worker.Runtime()
	return err == nil && e.WorkPool.FlowsAreTasks() && e.Prefect.Authentication != AuthNone && secretOfFlows.Check(runtime.Prefect)
}

// EventQueue returns the name of the SQS queue in which the worker learns what became of the
// tasks of its flow runs. Empty where it needs none: a process pool has no such tasks,
// and with Prefect 2 the worker watches them itself.
func (e *Environment) EventQueue() string {
	runtime, err := e.Worker.Runtime()
	if err != nil || !e.WorkPool.FlowsAreTasks() || runtime.Major() < 3 {
		return ""
	}
	return e.Worker.ServiceName + "-task-events"
}

// DeadLetterQueue returns the name of the queue for messages that could not be processed.
func DeadLetterQueue(queue string) string { return queue + "-dlq" }

// HasFlowTaskRole reports whether the flow tasks of an ecs pool have a role, made or existing.
func (e *Environment) HasFlowTaskRole() bool {
	return e.WorkPool.FlowsAreTasks() && (e.IAM.FlowTaskRole.Enabled() || e.IAM.Existing.FlowTaskRole != "")
}
