package config

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"prefect-worker-ecs/config/strict"
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
	x, made := e.IAM.Existing, map[string]string{}
	for _, c := range e.uniqueNames() {
		if c.kind == "role" {
			made[strings.ToLower(c.value)] = c.key
		}
	}
	for _, role := range []struct {
		key, arn string
		settings []string
	}{
		{"assume_role_arn", e.AssumeRoleARN, nil},
		{"iam.existing.execution_role", x.ExecutionRole, []string{"iam.execution_role_name", "iam.execution_policy_arns"}},
		{"iam.existing.task_role", x.TaskRole, []string{"iam.task_role_name", "iam.task_policy_arns", "iam.task_statements"}},
		{"iam.existing.flow_execution_role", x.FlowExecutionRole, []string{"iam.flow_execution_role_name"}},
		{"iam.existing.flow_task_role", x.FlowTaskRole, sectionKeys("iam.flow_task_role.")},
	} {
		if key := made[strings.ToLower(role.arn[strings.LastIndex(role.arn, "/")+1:])]; key != "" {
			v.reject(role.key, role.arn, "the stack makes a role of this name itself, see "+key, "name a role that exists, or remove it", key)
		}
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
	v.flowRoles(e)
	if w := e.Worker; len(w.KMSKeyARNs) > 0 && len(w.Secrets)+len(e.WorkPool.Job.Secrets) == 0 && w.RegistryCredentials == "" {
		v.reject("worker.kms_key_arns", w.KMSKeyARNs[0], "there is nothing that they encrypt: none of worker.secrets, work_pool.job.secrets and worker.registry_credentials", "remove it; the key of the API key's secret is secret.kms_key_arn")
	}
}

// rolesOfOthers returns the roles of the environment that flows must not have, and the options that name them: by
// name in lower case, as IAM ignores case, or by ARN where they exist. The task role of a process pool is one for flows.
func (e *Environment) rolesOfOthers() map[string]string {
	x := e.IAM.Existing
	roles := map[string]string{x.ExecutionRole: "iam.existing.execution_role", x.TaskRole: "iam.existing.task_role", x.FlowExecutionRole: "iam.existing.flow_execution_role"}
	forFlows := []string{"iam.flow_task_role.name"}
	if e.WorkPool.FlowsInWorker() {
		forFlows = append(forFlows, "iam.task_role_name", "iam.existing.task_role")
	}
	for _, c := range e.uniqueNames() {
		if c.kind == "role" {
			roles[strings.ToLower(c.value)] = c.key
		}
	}
	maps.DeleteFunc(roles, func(role, key string) bool { return role == "" || slices.Contains(forFlows, key) })
	return roles
}

// flowRoles rejects roles for flows that have another use in an environment: a user who may set job variables can run
// code in any role that the worker may pass.
func (v *validator) flowRoles(in *Environment) {
	if !v.env.WorkPool.FlowsAreTasks() {
		return
	}
	others := in.rolesOfOthers()
	check := func(key, role string) {
		if use := cmp.Or(others[role], others[strings.ToLower(role[strings.LastIndex(role, "/")+1:])]); use != "" && role != "" {
			v.reject(key, role, fmt.Sprintf("it is the role of %s in %s, and flows would have its permissions", use, cmp.Or(in.source.File, in.Name)), "name a role that is for flows only, or let the program make one with iam.flow_task_role")
		}
	}
	for i, role := range v.env.IAM.FlowRoleARNs {
		check(fmt.Sprintf("iam.flow_role_arns[%d]", i), role)
	}
	check("iam.existing.flow_task_role", v.env.IAM.Existing.FlowTaskRole)
}

// Forms of a condition in a policy ("IAM JSON policy elements: Condition operators").
var (
	conditionOperator = regexp.MustCompile(`^((ForAllValues|ForAnyValue):)?(String(Not)?Equals(IgnoreCase)?|String(Not)?Like|(Numeric|Date)(Not)?Equals|(Numeric|Date)(Less|Greater)Than(Equals)?|Bool|BinaryEquals|(Not)?IpAddress|Arn(Not)?(Equals|Like))(IfExists)?$|^Null$`)
	conditionKey      = regexp.MustCompile(`^[A-Za-z0-9./_-]+:\S.*$`) // that of an identity provider begins with its host
	// conditionOperators are what a mistyped operator is compared with.
	conditionOperators = []string{"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "NumericEquals", "DateLessThan", "DateGreaterThan", "Bool", "IpAddress", "ArnEquals", "ArnLike", "Null"}
	conditionValues    = []struct {
		operator      string // a part of its name
		what, example string
		valid         func(string) bool
	}{
		{"Bool", "true or false", `"true"`, regexp.MustCompile(`^(true|false)$`).MatchString},
		{"Null", "true or false", `"true"`, regexp.MustCompile(`^(true|false)$`).MatchString},
		{"Numeric", "a number", `"3600"`, regexp.MustCompile(`^-?\d+(\.\d+)?$`).MatchString},
		{"Date", "a date", `"2030-01-31T00:00:00Z"`, isDate},
		{"Binary", "Base64", "QUJD", func(s string) bool { _, err := base64.StdEncoding.DecodeString(s); return err == nil }},
		{"IpAddress", "an address or a range", "10.0.0.0/8", isRange},
		{"Arn", "an ARN", "arn:aws:s3:::example/*", regexp.MustCompile(`^arn:|^\*`).MatchString},
	}
)

// isDate reports whether text is a date of ISO 8601 as IAM takes it, or seconds since 1970.
func isDate(text string) bool {
	if _, err := strconv.ParseUint(text, 10, 63); err == nil {
		return true
	}
	return slices.ContainsFunc([]string{time.DateOnly, time.RFC3339, "2006-01-02T15:04Z07:00"}, func(layout string) bool {
		_, err := time.Parse(layout, text)
		return err == nil
	})
}

// isRange reports whether text is an IP address or a range of them.
func isRange(text string) bool {
	_, err := netip.ParseAddr(text)
	_, noRange := netip.ParsePrefix(text)
	return err == nil || noRange == nil
}

// statements refuses statements of which something is missing, or that allow more than anybody
// would write on purpose.
func (v *validator) statements() {
	v.checkStatements("iam.task_statements", v.env.IAM.TaskStatements)
	v.checkStatements("iam.flow_task_role.statements", v.env.IAM.FlowTaskRole.Statements)
}

func (v *validator) checkStatements(list string, statements []Statement) {
	for i, s := range statements {
		key := func(name string) string { return fmt.Sprintf("%s[%d].%s", list, i, name) }
		everything := slices.Contains(s.Resources, "*")
		switch {
		case everything && !s.AllResources:
			v.reject(key("resources"), s.Resources, "a star alone is for all resources of the account", "write ARNs; for actions without resource-level permissions, say it twice: all_resources: true")
		case s.AllResources && (!everything || len(s.Resources) > 1):
			v.reject(key("all_resources"), true, "the resources are not all", "remove it, or write resources: [\"*\"]", key("resources"))
		}
		for j, resource := range s.Resources {
			v.resource(fmt.Sprintf("%s[%d]", key("resources"), j), resource)
		}
		for _, operator := range slices.Sorted(maps.Keys(s.Conditions)) {
			if !conditionOperator.MatchString(operator) {
				v.reject(key("conditions."+operator), operator, "IAM has no such condition operator", strict.Nearest(operator, conditionOperators)+"rename it, for example to StringEquals")
			}
			for _, name := range slices.Sorted(maps.Keys(s.Conditions[operator])) {
				key, values := key("conditions."+operator+"."+name), s.Conditions[operator][name]
				if !conditionKey.MatchString(name) {
					v.reject(key, strings.Join(values, ", "), "a condition key is service:Name", "rename it, for example to aws:RequestedRegion")
				}
				if len(values) == 0 {
					v.reject(key, "[]", "a condition compares with a value", "write one, or remove the key")
				}
				for _, of := range conditionValues {
					for _, value := range values {
						if strings.Contains(operator, of.operator) && !of.valid(value) && !strings.Contains(value, "${") {
							v.reject(key, value, "the operator "+operator+" compares "+of.what, "write for example "+of.example)
						}
					}
				}
			}
		}
	}
}

// Services whose ARNs have no region, and those that have some without ("Resource types defined by" each
// service in the Service Authorization Reference).
const (
	withoutRegion = " account billing budgets ce chatbot cloudfront cloudfront-keyvaluestore ecr-public globalaccelerator iam identitystore networkmanager organizations" +
		" payments route53-recovery-control route53-recovery-readiness savingsplans shield sso sts waf "
	partlyWithoutRegion = " apigateway artifact aws-marketplace bedrock cloudwatch codecatalyst codestar directconnect dynamodb ec2 eks elasticache elasticloadbalancing es" +
		" health license-manager quicksight ram rds route53 s3 ssm support trustedadvisor verifiedpermissions wellarchitected "
	// Services all of whose ARNs have an account, of those that flows use most.
	withAccount = " athena batch codebuild dynamodb ecr ecs elasticfilesystem events firehose glue iam kinesis kms lambda logs redshift secretsmanager sns sqs states sts "
)

// resource rejects an ARN that none of a service's resources has.
func (v *validator) resource(key, text string) {
	const parts = 6
	part := strings.SplitN(text, ":", parts)
	if len(part) != parts {
		return // a star, or rejected as malformed
	}
	service, region := " "+part[2]+" ", part[3]
	v.place(key, text, arn.ARN{Partition: part[1]}, "")
	partition, known := awsRegions[region]
	switch regionless := strings.Contains(withoutRegion, service) || service == " s3 " && part[4] == ""; {
	case part[4] == "" && strings.Contains(withAccount, service):
		v.reject(key, text, "ARNs of"+service+"have an account", "write its 12 digits before the last part, or *")
	case part[4] != "" && region == "" && service == " s3 ":
		v.reject(key, text, "ARNs of buckets and their objects have no account", "write "+strings.Replace(text, ":"+part[4]+":", "::", 1))
	case region != "" && regionless:
		v.reject(key, text, "ARNs of"+service+"have no region", "write "+strings.Replace(text, ":"+region+":", "::", 1))
	case region == "" && !regionless && !strings.Contains(partlyWithoutRegion, service):
		v.reject(key, text, "ARNs of"+service+"have a region", "write "+strings.Replace(text, "::", ":"+v.env.Region+":", 1))
	case region != "" && !strings.Contains(region, "*") && (!known || partition.ID() != part[1]):
		v.reject(key, text, fmt.Sprintf("%s is no region of the partition %s", region, part[1]), "write the region's code, for example "+v.env.Region, "region")
	}
}
