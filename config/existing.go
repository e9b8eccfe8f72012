package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// existing refuses settings of what exists and is taken as it is.
func (v *validator) existing() {
	e := v.env
	if e.Cluster.Existing {
		v.rejectIgnored("nothing of a cluster that exists is changed", "remove it, or cluster.existing", "cluster.container_insights")
		if !v.env.given("cluster.name") {
			v.reject("cluster.name", e.Cluster.Name, "the name of an existing cluster has no default", "write its name", "cluster.existing")
		}
	}
	if e.Logs.Existing {
		if !v.env.given("logs.group") {
			v.reject("logs.group", e.Logs.Group, "the name of an existing log group has no default", "write its name", "logs.existing")
		}
		if e.Network.FlowLogs == FlowLogsNone { // otherwise both are those of the flow logs' group
			v.rejectIgnored("nothing of a log group that exists is changed", "remove it, or logs.existing", "logs.retention_days", "logs.kms_key_arn")
		}
	}
	x := e.IAM.Existing
	for _, role := range []struct {
		key, arn string
		settings []string
	}{
		{"iam.existing.execution_role", x.ExecutionRole, []string{"iam.execution_role_name", "iam.execution_policy_arns"}},
		{"iam.existing.task_role", x.TaskRole, []string{"iam.task_role_name", "iam.task_policy_arns", "iam.task_statements"}},
		{"iam.existing.flow_execution_role", x.FlowExecutionRole, []string{"iam.flow_execution_role_name"}},
		{"iam.existing.flow_task_role", x.FlowTaskRole, sectionKeys("iam.flow_task_role.")},
	} {
		if role.arn != "" {
			v.rejectIgnored("nothing of a role that exists is changed", "remove it, or "+role.key, role.settings...)
		}
	}
	if x.TaskRole != "" && x.TaskRole == x.ExecutionRole {
		v.reject("iam.existing.task_role", x.TaskRole, "the task's role is another one than the execution role, which may read the API key", "name another role", "iam.existing.execution_role")
	}
	if x.FlowExecutionRole != "" && x.FlowExecutionRole == x.ExecutionRole {
		v.reject("iam.existing.flow_execution_role", x.FlowExecutionRole, "whoever starts a flow could read all secrets of the worker with the worker's execution role", "name another role", "iam.existing.execution_role")
	}
	v.flowRoles()
	if w := e.Worker; len(w.KMSKeyARNs) > 0 && len(w.Secrets)+len(e.WorkPool.Job.Secrets) == 0 && w.RegistryCredentials == "" {
		v.reject("worker.kms_key_arns", w.KMSKeyARNs[0], "there is nothing that they encrypt: none of worker.secrets, work_pool.job.secrets and worker.registry_credentials", "remove it; the key of the API key's secret is secret.kms_key_arn")
	}
}

// flowRoles rejects roles for flows that are another's: whoever may set job variables can run code as
// any role that the worker may pass.
func (v *validator) flowRoles() {
	e := v.env
	if !e.WorkPool.FlowsAreTasks() {
		return
	}
	others := map[string]string{ // by name, and by ARN for those that exist
		e.IAM.ExecutionRoleName: "the worker's execution role, which reads its secrets", e.IAM.TaskRoleName: "the worker's task role, which may start tasks",
		e.IAM.FlowExecutionRoleName:  "the execution role of flow tasks, which reads the API's credential",
		e.IAM.Existing.ExecutionRole: "the worker's execution role, which reads its secrets", e.IAM.Existing.TaskRole: "the worker's task role, which may start tasks",
		e.IAM.Existing.FlowExecutionRole: "the execution role of flow tasks, which reads the API's credential",
	}
	if e.Server.Enabled {
		others[e.Server.ExecutionRole()], others[e.Server.TaskRole()] = "the Prefect server's execution role, which reads its passwords", "the Prefect server's task role"
	}
	if e.HasProbe() {
		others[e.ProbeRole()] = "the probe's role, which reads the API's credential"
	}
	delete(others, "")
	check := func(key, role string) {
		whose := others[role]
		if name := role[strings.LastIndex(role, "/")+1:]; whose == "" && strings.Contains(role, ":role/") {
			whose = others[name]
		}
		if role != "" && whose != "" {
			v.reject(key, role, "it is "+whose+", and flows would have its permissions", "name a role that is for flows only, or let the program make one with iam.flow_task_role")
		}
	}
	for i, role := range e.IAM.FlowRoleARNs {
		check(fmt.Sprintf("iam.flow_role_arns[%d]", i), role)
	}
	check("iam.existing.flow_task_role", e.IAM.Existing.FlowTaskRole)
}

// Forms of a condition in a policy ("IAM JSON policy elements: Condition operators").
var (
	conditionOperator = regexp.MustCompile(`^((ForAllValues|ForAnyValue):)?(String(Not)?Equals(IgnoreCase)?|String(Not)?Like|(Numeric|Date)(Not)?Equals|(Numeric|Date)(Less|Greater)Than(Equals)?|Bool|BinaryEquals|(Not)?IpAddress|Arn(Not)?(Equals|Like))(IfExists)?$|^Null$`)
	conditionKey      = regexp.MustCompile(`^[A-Za-z0-9-]+:\S+$`)
)

// statements refuses statements of which something is missing, or that allow more than anybody
// would write on purpose.
func (v *validator) statements() {
	v.checkStatements("iam.task_statements", v.env.IAM.TaskStatements)
	v.checkStatements("iam.flow_task_role.statements", v.env.IAM.FlowTaskRole.Statements)
}

func (v *validator) checkStatements(list string, statements []Statement) {
	text, err := json.Marshal(statements)
	if err != nil {
		panic(fmt.Sprintf("config: measure the statements: %v", err)) // lists and maps of text
	}
	if len(text) > mostPolicy-ownPolicy {
		v.reject(list, fmt.Sprintf("%d statements", len(statements)), "the inline policies of a role have at most 10240 characters, and these are longer", "put them into a managed policy")
	}
	for i, s := range statements {
		key := func(name string) string { return fmt.Sprintf("%s[%d].%s", list, i, name) }
		if len(s.Actions) == 0 {
			v.reject(key("actions"), "[]", "a statement allows an action", "write for example [s3:GetObject]")
		}
		everything := slices.Contains(s.Resources, "*")
		switch {
		case len(s.Resources) == 0:
			v.reject(key("resources"), "[]", "a statement is for resources", "write for example [\"arn:aws:s3:::results/*\"]")
		case everything && !s.AllResources:
			v.reject(key("resources"), s.Resources, "a star alone is for all resources of the account", "write ARNs; for actions without resource-level permissions, say it twice: all_resources: true")
		case s.AllResources && (!everything || len(s.Resources) > 1):
			v.reject(key("all_resources"), true, "the resources are not all", "remove it, or write resources: [\"*\"]", key("resources"))
		}
		for _, operator := range sortedKeys(s.Conditions) {
			if !conditionOperator.MatchString(operator) {
				v.reject(key("conditions."+operator), operator, "IAM has no such condition operator", "write for example StringEquals")
			}
			for _, name := range sortedKeys(s.Conditions[operator]) {
				if !conditionKey.MatchString(name) {
					v.reject(key("conditions."+operator+"."+name), s.Conditions[operator][name], "a condition key is service:Name", "write for example aws:RequestedRegion")
				}
			}
		}
	}
}
