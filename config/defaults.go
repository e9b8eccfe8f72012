package config

import "net/netip"

const defaultVPC = "10.0.0.0/16"

// Default returns the environment that an empty file of that name gives.
func Default(name string) *Environment {
	env := base()
	env.Name = name
	env.fillDerived()
	return env
}

// base holds the defaults that depend on nothing else. YAML is decoded over it.
func base() *Environment {
	return &Environment{
		Region: "us-east-1",
		Network: Network{
			VPCCIDR:    defaultVPC,
			NAT:        NATSingle,
			FlowLogs:   FlowLogsAll,
			S3Endpoint: true,
		},
		Cluster: Cluster{
			Namespace:         "default.prefect.local",
			ContainerInsights: true,
		},
		Worker: Worker{
			Image:              "prefecthq/prefect:2-latest",
			CPU:                256,
			MemoryMiB:          512,
			Architecture:       X8664,
			DesiredCount:       1,
			StopTimeoutSeconds: 120,
		},
		WorkPool: WorkPool{
			Name: "ecs-work-pool",
			Type: PoolProcess,
		},
		Prefect: Prefect{Authentication: AuthAPIKey},
		Secret: Secret{
			Version:            1,
			RecoveryWindowDays: 0,
		},
		Logs: Logs{RetentionDays: 30},
		IAM:  IAM{FlowTaskFamilies: []string{"prefect"}},
		Backend: Backend{
			Type: BackendLocal,
		},
	}
}

// fillDerived sets what is still empty and depends on other values.
func (e *Environment) fillDerived() {
	orDefault(&e.Network.Name, "prefect-ecs"+e.NameSuffix)
	if e.Network.PublicSubnetCIDRs == nil {
		e.Network.PublicSubnetCIDRs = defaultSubnets(e.Network.VPCCIDR, 1)
	}
	if e.Network.PrivateSubnetCIDRs == nil {
		e.Network.PrivateSubnetCIDRs = defaultSubnets(e.Network.VPCCIDR, 4)
	}
	orDefault(&e.Cluster.Name, "prefect-cluster"+e.NameSuffix)
	orDefault(&e.Worker.ServiceName, e.Name+"-worker")
	orDefault(&e.Secret.Name, "prefect-api-key-new-2"+e.NameSuffix)
	orDefault(&e.Logs.Group, "/ecs/prefect-worker"+e.NameSuffix)
	orDefault(&e.IAM.ExecutionRoleName, "prefect-task-execution-role"+e.NameSuffix)
	orDefault(&e.IAM.TaskRoleName, "prefect-task-role"+e.NameSuffix)
	if e.Backend.Type == BackendS3 {
		orDefault(&e.Backend.Key, "prefect-worker/"+e.Name+".tfstate")
		orDefault(&e.Backend.Region, e.Region)
	}
	if e.Worker.ConcurrencyLimit == 0 && e.WorkPool.Type == PoolProcess {
		e.Worker.ConcurrencyLimit = 1
	}

	tags := map[string]string{
		"Project":     "prefect-worker",
		"Environment": e.Name,
		"ManagedBy":   "cdktf",
	}
	for key, value := range e.Tags {
		tags[key] = value
	}
	e.Tags = tags
}

// defaultSubnets are three subnets of 256 addresses, from the first-th of the VPC on. Whether
// they fit is left to validation, and so is a VPC whose range is none: the subnets are
// then those of the default, so that it alone is reported.
func defaultSubnets(vpcCIDR string, first byte) []string {
	vpc, err := netip.ParsePrefix(vpcCIDR)
	if err != nil || !vpc.Addr().Is4() {
		vpc = netip.MustParsePrefix(defaultVPC)
	}
	var cidrs []string
	for n := first; n < first+3; n++ {
		address := vpc.Addr().As4()
		address[2] += n
		cidrs = append(cidrs, netip.PrefixFrom(netip.AddrFrom4(address), 24).Masked().String())
	}
	return cidrs
}

func orDefault(value *string, def string) {
	if *value == "" {
		*value = def
	}
}

// FlowLogGroup is the name of the log group of the VPC's flow logs.
func (e *Environment) FlowLogGroup() string { return "/vpc/" + e.Network.Name }

// FlowLogRole is the name of the role that writes the VPC's flow logs.
func (e *Environment) FlowLogRole() string { return e.Network.Name + "-flow-logs" }

// EventQueue is the name of the SQS queue in which the worker learns what became of the
// tasks of its flow runs. Empty where it needs none: a process pool has no such tasks,
// and with Prefect 2 the worker watches them itself.
func (e *Environment) EventQueue() string {
	runtime, err := e.Worker.Runtime()
	if err != nil || e.WorkPool.Type != PoolECS || runtime.Major() < 3 {
		return ""
	}
	return e.Worker.ServiceName + "-task-events"
}
