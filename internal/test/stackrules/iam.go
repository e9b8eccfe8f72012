package stackrules

import (
	"cmp"
	"slices"
	"strings"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
)

var iamRules = []rule{
	{"trust-one-service", "whoever else may assume a role can do all that it may do, and without a source another account can make the service use it", func(s *stack) {
		s.each("aws_iam_role", func(e element) { s.want(e, "assume_role_policy", trust(e.name)) })
	}},
	{"boundary-and-path", "a company's policies reach a role by its path, and limit it by its boundary", func(s *stack) {
		s.all("aws_iam_role", "permissions_boundary", optional(s.env.IAM.PermissionsBoundaryARN))
		s.all("aws_iam_role", "path", optional(s.env.IAM.Path))
	}},
	{"policies-attached-as-configured", "a managed policy gives a role all that it says", func(s *stack) {
		execution := []string{account.AWSPolicy("service-role/AmazonECSTaskExecutionRolePolicy")}
		allowed := map[string][]string{"execution": slices.Concat(execution, s.env.IAM.ExecutionPolicyARNs), "server_execution": execution, "task": s.env.IAM.TaskPolicyARNs, "flow_task": s.env.IAM.FlowTaskRole.PolicyARNs}
		have := map[string]bool{}
		s.each("aws_iam_role_policy_attachment", func(e element) {
			if !slices.Contains(allowed[roleOf(e)], e.text("policy_arn")) {
				s.report(e.address(), "attaches %s to %s", e.text("policy_arn"), e.text("role"))
			}
			have[roleOf(e)+e.text("policy_arn")] = true
		})
		for role, policies := range allowed {
			for _, policy := range policies {
				s.each("aws_iam_role."+role, func(e element) {
					if !have[role+policy] {
						s.report(e.address(), "lacks %s", policy)
					}
				})
			}
		}
	}},
	{"permissions-complete", "a task whose role lacks a permission does not start, or fails in the middle of a flow", func(s *stack) {
		have := map[string]bool{}
		s.eachStatement(func(_, role string, st iam.Statement) {
			for _, action := range st.Action {
				have[role+action] = true
			}
		})
		for _, g := range s.needed() {
			for action := range strings.FieldsSeq(g.actions) {
				missing := func(e element) {
					if !have[g.role+action] {
						s.report(e.address(), "lacks %s", action)
					}
				}
				s.each("aws_iam_role."+g.role, missing)
				s.each("output."+g.role+"_role_policy", missing)
			}
		}
	}},
	{"no-broad-statements", "a wildcard also stands for each action that AWS adds, and NotAction for all but a few", func(s *stack) {
		s.eachStatement(func(at, role string, st iam.Statement) {
			wildcard := strings.Contains(strings.Join(st.Action, ""), "*") && !covered(configuredGrants(s.env), role, st)
			if wildcard || st.Effect != "Allow" || st.NotAction != nil || st.NotResource != nil || st.NotPrincipal != nil {
				s.report(at, "has the statement %s", encode(st))
			}
		})
	}},
	{"permissions-as-needed", "a role may do what its work needs, on its own resources and under the conditions that AWS offers", func(s *stack) {
		allowed := slices.Concat(s.grants(), s.secretGrants(), configuredGrants(s.env))
		s.eachStatement(func(at, role string, st iam.Statement) {
			if !covered(allowed, role, st) {
				s.report(at, "allows %s", encode(st))
			}
		})
	}},
	{"resource-policies", "whoever else may send to the queue reports events that did not happen, and to the topic false alarms", func(s *stack) {
		send := func(sid, service, action, resource string) iam.Statement {
			return iam.Statement{Sid: sid, Effect: "Allow", Principal: iam.ByService(service + ".amazonaws.com"), Action: []string{action}, Resource: []string{resource}}
		}
		queue, topic := "aws_sqs_queue.task_events", "aws_sns_topic.alarms.arn"
		s.all("aws_sqs_queue_policy", "queue_url", ref(queue+".url"))
		s.all("aws_sqs_queue_policy", "policy", iam.New(send("ReceiveTaskEvents", "events", "sqs:SendMessage", ref(queue+".arn")).
			If("ArnEquals", "aws:SourceArn", account.Of("events", "rule/"+s.env.EventQueue()))))
		s.all("aws_sns_topic_policy", "policy", iam.New(send("Alarms", "cloudwatch", "sns:Publish", ref(topic)).If("StringEquals", "aws:SourceAccount", account.ID).
			If("ArnLike", "aws:SourceArn", account.Of("cloudwatch", "alarm:"+s.env.Worker.ServiceName+"-*")), send("Events", "events", "sns:Publish", ref(topic))))
	}},
	{"roles-as-configured", "the code of a task has the permissions of its task role, and ECS those of the execution role, which reads secrets", func(s *stack) {
		s.all("aws_ecs_task_definition.worker", "execution_role_arn", s.roleARN("execution"))
		s.all("aws_ecs_task_definition.worker", "task_role_arn", s.roleARN("task"))
		s.all("aws_ecs_task_definition.server", "execution_role_arn", s.roleARN("server_execution"))
		s.all("aws_ecs_task_definition.server", "task_role_arn", s.roleARN("server_task"))
		s.all("aws_lambda_function", "role", s.roleARN("probe"))
		s.all("aws_scheduler_schedule", "target.role_arn", s.roleARN("probe_schedule"))
		s.all("aws_flow_log", "iam_role_arn", s.roleARN("flow_logs"))
	}},
}

// trust returns the policy with which one service assumes a role, for this account.
func trust(role string) iam.Document {
	switch role {
	case "flow_logs":
		return iam.Trust("vpc-flow-logs.amazonaws.com", account, account.Of("ec2", "vpc-flow-log/*"))
	case "probe_schedule":
		return iam.Trust("scheduler.amazonaws.com", account, account.Of("scheduler", "schedule-group/default"))
	case "probe": // Lambda names no source when it assumes the role of a function
		return iam.New(iam.Statement{Effect: "Allow", Principal: iam.ByService("lambda.amazonaws.com"), Action: []string{"sts:AssumeRole"}})
	}
	return iam.Trust("ecs-tasks.amazonaws.com", account, account.Of("ecs", "*"))
}

// eachStatement calls f for the statements of inline policies, and of those that outputs propose
// for existing roles.
func (s *stack) eachStatement(f func(at, role string, st iam.Statement)) {
	judge := func(e element, argument, role string) {
		document, err := iam.Parse(encode(e.get(argument)))
		if err != nil || document.Version != "2012-10-17" {
			s.report(e.address()+"."+argument, "is %s, want a policy of version 2012-10-17", show(e.get(argument)))
		}
		for _, st := range document.Statement {
			f(e.address()+"."+argument, role, st)
		}
	}
	s.each("aws_iam_role_policy", func(e element) { judge(e, "policy", roleOf(e)) })
	s.each("output", func(e element) {
		if role, ok := strings.CutSuffix(e.name, "_role_policy"); ok {
			judge(e, "value", role)
		}
	})
}

// roleOf returns the name of the role that a policy or an attachment refers to.
func roleOf(e element) string {
	name := strings.TrimPrefix(e.text("role"), "${aws_iam_role.")
	return strings.TrimSuffix(strings.TrimSuffix(name, ".id}"), ".name}")
}

// roleARN returns the ARN of a role of the stack, or of the existing one in its place.
func (s *stack) roleARN(name string) string {
	x := s.env.IAM.Existing
	existing := map[string]string{"execution": x.ExecutionRole, "task": x.TaskRole, "flow_execution": x.FlowExecutionRole, "flow_task": x.FlowTaskRole}
	return cmp.Or(existing[name], ref("aws_iam_role."+name+".arn"))
}

// grant is what a role may do: these actions, on these resources, under just these conditions.
type grant struct {
	role, actions string
	resources     []string
	conditions    iam.Condition
}

// covered reports whether one of the grants allows all that a statement does.
func covered(grants []grant, role string, st iam.Statement) bool {
	return slices.ContainsFunc(grants, func(g grant) bool {
		return role == g.role && subset(st.Action, strings.Fields(g.actions)) && subset(st.Resource, g.resources) && encode(st.Condition) == encode(g.conditions)
	})
}

func subset(some, of []string) bool {
	return len(some) > 0 && !slices.ContainsFunc(some, func(one string) bool { return !slices.Contains(of, one) })
}

// when returns the conditions of a statement: operator, key and value in turn.
func when(conditions ...string) iam.Condition {
	var st iam.Statement
	for c := range slices.Chunk(conditions, 3) {
		st = st.If(c[0], c[1], c[2])
	}
	return st.Condition
}

const (
	writeLogs  = "logs:CreateLogStream logs:PutLogEvents"
	pullImages = "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer"
	ecsExec    = "ssmmessages:CreateControlChannel ssmmessages:CreateDataChannel ssmmessages:OpenControlChannel ssmmessages:OpenDataChannel"
	joinVPC    = "ec2:AssignPrivateIpAddresses ec2:CreateNetworkInterface ec2:DeleteNetworkInterface ec2:DescribeNetworkInterfaces ec2:DescribeSubnets ec2:UnassignPrivateIpAddresses"
)

// grants returns what the roles of the stack may do. "*" stands where AWS does not support
// resource-level permissions (Service Authorization Reference).
func (s *stack) grants() []grant {
	env, of := s.env, func(service, resource string) []string { return []string{account.Of(service, resource)} }
	cluster, tasks := account.Of("ecs", "cluster/"+env.Cluster.Name), of("ecs", "task/"+env.Cluster.Name+"/*")
	all, streams := []string{"*"}, []string{s.logGroup("arn") + ":log-stream:" + env.FlowStream() + "*"}
	grants := []grant{
		{"execution", writeLogs, []string{s.logGroup("arn") + ":*"}, nil},
		{"execution", "ecr:GetAuthorizationToken", all, nil},
		{"execution", pullImages, of("ecr", "repository/*"), nil},
		{"server_task", ecsExec, all, nil},
		{"flow_logs", writeLogs + " logs:DescribeLogStreams", []string{ref("aws_cloudwatch_log_group.flow_logs.arn") + ":*"}, nil},
		{"probe", writeLogs, []string{ref("aws_cloudwatch_log_group.probe.arn") + ":*"}, nil},
		{"probe", "cloudwatch:PutMetricData", all, when("StringEquals", "cloudwatch:namespace", "PrefectWorker")},
		{"probe", "ecs:DescribeServices", of("ecs", "service/"+env.Cluster.Name+"/"+env.Worker.ServiceName), nil},
		{"probe", "ecs:DescribeTasks", tasks, when("ArnEquals", "ecs:cluster", cluster)},
		{"probe_schedule", "lambda:InvokeFunction", []string{ref("aws_lambda_function.probe.arn")}, nil},
	}
	if env.Worker.ExecuteCommand {
		grants = append(grants, grant{"task", ecsExec, all, nil})
	}
	if env.Worker.ProtectRuns {
		grants = append(grants, grant{"task", "ecs:GetTaskProtection ecs:UpdateTaskProtection", tasks, nil})
	}
	if env.ProbeInVPC() {
		grants = append(grants, grant{"probe", joinVPC, all, nil})
	}
	if env.WorkPool.Type != config.PoolECS {
		return grants
	}
	var families []string
	for _, family := range env.IAM.FlowTaskFamilies {
		families = append(families, account.Of("ecs", "task-definition/"+family+"*:*"))
	}
	passed := append([]string{s.roleARN("flow_execution")}, env.IAM.FlowRoleARNs...)
	if env.HasFlowTaskRole() {
		passed = append(passed, s.roleARN("flow_task"))
	}
	if env.WorkPool.Job.Deregister {
		grants = append(grants, grant{"task", "ecs:DeregisterTaskDefinition", all, nil})
	}
	return append(grants, []grant{
		{"flow_execution", writeLogs, streams, nil},
		{"flow_execution", "ecr:GetAuthorizationToken", all, nil},
		{"flow_execution", pullImages, of("ecr", "repository/*"), nil},
		{"task", "logs:GetLogEvents", streams, nil},
		{"task", "ec2:DescribeSubnets ec2:DescribeVpcs ecs:DescribeTaskDefinition", all, nil},
		{"task", "ecs:RegisterTaskDefinition", families, when("StringEqualsIfExists", "ecs:privileged", "false")},
		{"task", "ecs:RunTask", families, when("ArnEquals", "ecs:cluster", cluster, "StringEqualsIfExists", "ecs:enable-execute-command", "false")},
		{"task", "ecs:DescribeTasks", tasks, when("ArnEquals", "ecs:cluster", cluster)},
		{"task", "ecs:StopTask", tasks, when("ArnEquals", "ecs:cluster", cluster, "StringLike", "aws:ResourceTag/prefect.io/flow-run-id", "*")},
		{"task", "ecs:TagResource", tasks, when("StringEquals", "ecs:CreateAction", "RunTask")},
		{"task", "iam:PassRole", passed, when("StringEquals", "iam:PassedToService", "ecs-tasks.amazonaws.com")},
		{"task", "sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueUrl sqs:ReceiveMessage", of("sqs", env.EventQueue()), nil},
	}...)
}

// needed returns the grants without which the tasks of the stack do not work. AWS's own policy has those of the
// execution role that the stack makes.
func (s *stack) needed() []grant {
	all := configuredGrants(s.env)
	for _, g := range s.grants() {
		managed := g.role == "execution" && s.env.IAM.Existing.ExecutionRole == ""
		flowsOnly := g.role == "probe" && g.actions == "ecs:DescribeTasks" && s.env.WorkPool.Type != config.PoolECS
		queue := strings.HasPrefix(g.actions, "sqs:") && s.env.EventQueue() == ""
		if !managed && !flowsOnly && !queue {
			all = append(all, g)
		}
	}
	for role, arns := range s.reads() {
		for _, from := range arns {
			switch {
			case config.IsParameter(from):
				all = append(all, grant{role: role, actions: "ssm:GetParameters"})
			case from != "":
				all = append(all, grant{role: role, actions: "secretsmanager:GetSecretValue"})
			}
		}
	}
	if s.env.Secret.KMSKeyARN != "" && s.credential() != "" {
		all = append(all, grant{role: "execution", actions: "kms:Decrypt"}, grant{role: "server_execution", actions: "kms:Decrypt"}, grant{role: "probe", actions: "kms:Decrypt"})
	}
	if len(s.env.Worker.KMSKeyARNs) > 0 {
		all = append(all, grant{role: "execution", actions: "kms:Decrypt"})
	}
	return all
}

// reads returns the secrets and parameters that each role may read, with "" for none.
func (s *stack) reads() map[string][]string {
	credential, registry := s.secretARN(), s.env.Worker.RegistryCredentials
	_, database := s.database()
	reads := map[string][]string{
		"execution": {credential, registry}, "flow_execution": {registry}, "server_execution": {credential, registry, config.SecretARN(database)}, "probe": {credential},
	}
	for _, from := range s.env.Worker.Secrets {
		reads["execution"] = append(reads["execution"], config.SecretARN(from))
	}
	for _, from := range s.env.WorkPool.Job.Secrets {
		reads["flow_execution"] = append(reads["flow_execution"], config.SecretARN(from))
	}
	if s.env.FlowsReadCredential() {
		reads["flow_execution"] = append(reads["flow_execution"], credential)
	}
	return reads
}

// secretGrants returns which role may read and decrypt which secrets and parameters.
func (s *stack) secretGrants() []grant {
	keys := append([]string{s.env.Secret.KMSKeyARN}, s.env.Worker.KMSKeyARNs...)
	var all []grant
	for role, arns := range s.reads() {
		for service, action := range map[string]string{"secretsmanager": "secretsmanager:GetSecretValue", "ssm": "ssm:GetParameters"} {
			all = append(all, grant{role, action, arns, nil},
				grant{role, "kms:Decrypt", keys, when("StringEquals", "kms:ViaService", service+".${var.aws_region}.amazonaws.com")})
		}
	}
	return all
}

// configuredGrants returns the statements of the configuration.
func configuredGrants(env *config.Environment) []grant {
	var all []grant
	for role, statements := range map[string][]config.Statement{"task": env.IAM.TaskStatements, "flow_task": env.IAM.FlowTaskRole.Statements} {
		for _, st := range statements {
			var built iam.Statement
			for operator, keys := range st.Conditions {
				for key, values := range keys {
					built = built.If(operator, key, literals(values)...)
				}
			}
			all = append(all, grant{role, strings.Join(st.Actions, " "), literals(st.Resources), built.Condition})
		}
	}
	return all
}

// secretARN returns the ARN of the secret with the credential of the Prefect API, "" without one.
func (s *stack) secretARN() string {
	if s.env.Prefect.Authentication == config.AuthNone {
		return ""
	}
	return cmp.Or(s.env.Secret.ExistingARN, ref("aws_secretsmanager_secret.prefect_api_key.arn"))
}

// database returns the host of the server's database, and where its password is.
func (s *stack) database() (host, secret string) {
	if d := s.env.Server.Database; d.ExistingHost != "" {
		return d.ExistingHost, d.ExistingSecret
	}
	return ref("aws_db_instance.server.address"), ref("aws_secretsmanager_secret.database.arn")
}

// logGroup returns an attribute (name, arn) of the worker's log group.
func (s *stack) logGroup(attribute string) string {
	switch {
	case !s.env.Logs.Existing:
		return ref("aws_cloudwatch_log_group.worker." + attribute)
	case attribute == "name":
		return s.env.Logs.Group
	}
	return account.Of("logs", "log-group:"+s.env.Logs.Group)
}
