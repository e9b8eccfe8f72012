package config

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// uniqueName is a name that can exist once, and the setting that gives it.
type uniqueName struct{ kind, key, value string }

// id returns a text that is the same for two uniqueNames that clash. IAM and EC2 ignore case in names.
func (c uniqueName) id() string {
	if c.kind == "role" || strings.HasPrefix(c.kind, "security group") {
		return c.kind + strings.ToLower(c.value)
	}
	return c.kind + c.value
}

// uniqueNames returns the names that the environment takes. Those of a region carry it; roles
// belong to the whole account.
func (e *Environment) uniqueNames() []uniqueName {
	var names []uniqueName
	add := func(made bool, kind, key, value string) {
		if made {
			names = append(names, uniqueName{kind, key, value})
		}
	}
	regional := func(made bool, kind, key, name string) { add(made, kind+" in "+e.Region, key, name) }
	role := func(made bool, key, name string) { add(made, "role", key, name) }
	vpc := cmp.Or(e.Network.Existing.VPCID, "the VPC of "+e.Name)
	group := func(made bool, key, name string) { add(made, "security group in "+vpc, key, name) }
	server, flowLogs, flows, queue := e.Server.Enabled, e.Network.FlowLogs != FlowLogsNone, e.WorkPool.FlowsAreTasks(), e.EventQueue()
	database := server && e.Server.OwnDatabase()
	service := "service of the cluster " + e.Cluster.Name

	regional(true, service, "worker.service_name", e.Worker.ServiceName)
	regional(!e.Cluster.Existing, "cluster", "cluster.name", e.Cluster.Name)
	regional(!e.Logs.Existing, "log group", "logs.group", e.Logs.Group)
	role(e.IAM.Existing.ExecutionRole == "", "iam.execution_role_name", e.IAM.ExecutionRoleName)
	role(e.IAM.Existing.TaskRole == "", "iam.task_role_name", e.IAM.TaskRoleName)
	group(server, "server.enabled", e.SecurityGroup(ServerSecurityGroup))
	group(database, "server.enabled", e.SecurityGroup(DatabaseSecurityGroup))
	group(len(e.Network.Endpoints) > 0 && !e.Network.Exists(), "network.endpoints", EndpointsSecurityGroup)
	group(true, "network.security_group_name", e.WorkerSecurityGroup())
	// By them the deployer's policy distinguishes what is whose.
	add(true, "pair of the tags Project and Environment", "tags.Environment", e.Tags["Project"]+" and "+e.Tags["Environment"])
	add(e.Network.Exists() && e.Cluster.Namespaced(), "namespace in "+e.Network.Existing.VPCID, "cluster.namespace", e.Cluster.Namespace)
	regional(flowLogs, "log group", "network.name", e.FlowLogGroup())
	role(flowLogs, "network.name", e.FlowLogRole())
	regional(e.Secret.ExistingARN == "" && e.Prefect.Authentication != AuthNone, "secret", "secret.name", e.Secret.Name)
	role(flows && e.IAM.Existing.FlowExecutionRole == "", "iam.flow_execution_role_name", e.IAM.FlowExecutionRoleName)
	role(flows && e.IAM.FlowTaskRole.Enabled(), "iam.flow_task_role.name", e.IAM.FlowTaskRole.Name)
	regional(server, service, "server.name", e.Server.Name)
	role(server, "server.name", e.Server.ExecutionRole())
	role(server, "server.name", e.Server.TaskRole())
	regional(database, "database", "server.name", e.Server.Name)
	regional(database, "secret", "server.name", e.Server.DatabaseSecret())
	role(e.HasProbe(), "worker.service_name", e.ProbeRole())
	role(e.HasProbe(), "worker.service_name", e.ScheduleRole())
	regional(e.HasProbe(), "function", "worker.service_name", e.Probe())
	regional(e.HasProbe(), "log group", "worker.service_name", e.ProbeLogGroup())
	regional(queue != "", "queue", "worker.service_name", queue)
	return names
}

// account returns the account that the environment is deployed to, if it says so.
func (e *Environment) account() string {
	if e.AccountID != "" {
		return e.AccountID
	}
	role, _ := arn.Parse(e.AssumeRoleARN) // empty, or rejected as malformed
	return role.AccountID
}

// anotherName returns the fix for a name that is taken: the suffix, where the name is made of it and the file has
// none.
func (e *Environment) anotherName(key string) string {
	for _, o := range options() {
		if o.Key == key && strings.Contains(o.Default(), "{name_suffix}") && !e.given(key) && e.NameSuffix == "" {
			suffix := "-" + e.Name
			return fmt.Sprintf("set name_suffix: %q, or set %s", suffix[:min(len(suffix), formats["name-suffix"].longest)], key)
		}
	}
	return "set " + key + " to another name"
}

// conflicts reports environments that would fight over one name in one account, or over
// one state. An environment that does not say its account may be in any.
func conflicts(envs []*Environment) Problems {
	var problems Problems
	for i, env := range envs {
		v := &validator{env: env}
		for _, other := range envs[:i] {
			if a, b := env.Backend, other.Backend; a.Type == BackendS3 && b.Type == BackendS3 && a.Bucket == b.Bucket {
				switch lock := ".tflock"; { // which Terraform adds to the key
				case a.Key == b.Key:
					v.reject("backend.key", a.Key, "each environment has a state of its own, and "+other.source.File+" uses this one", "choose another key")
				case a.Key == b.Key+lock || a.Key+lock == b.Key:
					v.reject("backend.key", a.Key, "it is the lock file of the other, and "+other.source.File+" has the key "+b.Key, "choose another key")
				}
			}
			if a, b := env.account(), other.account(); a != "" && b != "" && a != b {
				continue
			}
			taken := map[string]bool{}
			for _, c := range other.uniqueNames() {
				taken[c.id()] = true
			}
			for _, c := range env.uniqueNames() {
				if taken[c.id()] {
					v.reject(c.key, c.value, fmt.Sprintf("a %s of this name can exist once, and %s has it too", c.kind, other.source.File),
						env.anotherName(c.key)+"; if the two are in different accounts, set account_id in both")
				}
			}
			v.flowRoles(other)
			w := &validator{env: other}
			w.flowRoles(env)
			problems = append(problems, w.problems...)
		}
		problems = append(problems, v.problems...)
	}
	return problems
}
