package stackrules

import (
	"fmt"
	"strconv"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
)

// monitoring is the probe, the alarms, where they are sent, and the dashboard.
func (r rules) monitoring(all map[string]rule) {
	m, service := r.env.Monitoring, r.env.Worker.ServiceName
	topic := m.TopicARN
	if topic == "" {
		topic = ref("aws_sns_topic.alarms.arn")
		r.alarmTopic(all, topic)
	}
	r.probe(all)

	const blind = "people would not be told, or told of something else"
	told := is([]string{topic})
	dimensions := func(kind string) shape {
		return is(map[string]map[string]string{
			"PrefectWorker": {"Service": service},
			"AWS/ECS":       {"ClusterName": r.env.Cluster.Name, "ServiceName": service},
			"AWS/SQS":       {"QueueName": r.env.EventQueue() + "-dlq"},
			"AWS/RDS":       {"DBInstanceIdentifier": r.env.Server.Name},
		}[kind])
	}
	alarm := func(name, called, missing string, more fields) {
		shape := fields{
			"alarm_name": is(service + "-" + called), "alarm_description": text, "alarm_actions": because(blind, told), "ok_actions": because(blind, told),
			"comparison_operator": is("GreaterThanOrEqualToThreshold", "LessThanThreshold"), "threshold": number,
			"evaluation_periods": number, "datapoints_to_alarm": number, "treat_missing_data": because("silence would be taken for the opposite", is(missing)),
		}
		for key, value := range more {
			shape[key] = value
		}
		all["aws_cloudwatch_metric_alarm."+name] = rule{why: blind, guards: blind, shape: shape}
	}
	single := func(name, called, missing, namespace, metric, stat string) {
		more := fields{"namespace": is(namespace), "metric_name": is(metric), "statistic": is(stat), "period": is(60, 300), "dimensions": dimensions(namespace)}
		if name == "log_failures" {
			delete(more, "dimensions") // a filter of plain text gives none
		}
		alarm(name, called, missing, more)
	}
	query := func(id, metric string) shape {
		return object(fields{"id": is(id), "metric": object(fields{
			"namespace": is("PrefectWorker"), "metric_name": is(metric), "stat": is("Maximum"), "period": is(60), "dimensions": dimensions("PrefectWorker"),
		})})
	}
	difference := func(name, called, missing, expression string, queries ...shape) {
		result := object(fields{"id": is("result"), "expression": is(expression), "label": text, "return_data": is(true)})
		alarm(name, called, missing, fields{"metric_query": list(append([]shape{result}, queries...)...)})
	}
	difference("silent_worker", "silent-worker", "breaching", "FILL(online, 0) - desired", query("desired", "TasksDesired"), query("online", "WorkersOnline"))
	difference("missing_tasks", "missing-tasks", "ignore", "running - desired", query("desired", "TasksDesired"), query("running", "TasksRunning"))
	single("late_runs", "late-runs", "ignore", "PrefectWorker", "OldestDueSeconds", "Maximum")
	single("orphaned_runs", "orphaned-runs", "ignore", "PrefectWorker", "FlowRunsOrphaned", "Maximum")
	single("lost_runs", "lost-runs", "ignore", "PrefectWorker", "FlowRunsLost", "Maximum")
	single("probe", "probe", "breaching", "PrefectWorker", "CallsFailed", "Maximum")
	single("memory", "memory", "notBreaching", "AWS/ECS", "MemoryUtilization", "Maximum")
	single("cpu", "cpu", "notBreaching", "AWS/ECS", "CPUUtilization", "Average")
	single("log_failures", "log-failures", "notBreaching", "PrefectWorker", "LogFailures/"+service, "Sum")
	if r.env.EventQueue() != "" {
		single("dead_letters", "dead-letters", "notBreaching", "AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum")
	}
	if s := r.env.Server; s.Enabled && s.OwnDatabase() {
		single("database_storage", "database-storage", "breaching", "AWS/RDS", "FreeStorageSpace", "Minimum")
		single("database_connections", "database-connections", "breaching", "AWS/RDS", "DatabaseConnections", "Maximum")
	}

	all["aws_cloudwatch_log_metric_filter.known_failures"] = rule{why: blind, shape: fields{
		"name": is(service + "-known-failures"), "log_group_name": is(r.logGroupName()), "pattern": text,
		"metric_transformation": object(fields{"namespace": is("PrefectWorker"), "name": is("LogFailures/" + service), "value": is("1")}),
	}}
	event := func(name, called string, pattern map[string]any) {
		all["aws_cloudwatch_event_rule."+name] = rule{why: "events of others than the worker's tasks would be sent to people", shape: fields{
			"name": is(service + "-" + called), "description": text, "event_pattern": document(is(pattern)),
		}}
		all["aws_cloudwatch_event_target."+name] = rule{why: "events would be sent elsewhere", shape: fields{
			"rule": is(ref("aws_cloudwatch_event_rule." + name + ".name")), "arn": is(topic),
			"input_transformer": object(fields{"input_paths": tags, "input_template": text}),
		}}
	}
	event("failed_deployment", "failed-deployment", map[string]any{
		"source": []string{"aws.ecs"}, "detail-type": []string{"ECS Deployment State Change", "ECS Service Action"},
		"resources": []string{account.Of("ecs", "service/"+r.env.Cluster.Name+"/"+service)},
		"detail":    map[string]any{"eventName": []string{"SERVICE_DEPLOYMENT_FAILED", "SERVICE_TASK_CONFIGURATION_FAILURE", "SERVICE_TASK_PLACEMENT_FAILURE", "SERVICE_TASK_START_IMPAIRED"}},
	})
	event("ended_task", "ended-task", map[string]any{
		"source": []string{"aws.ecs"}, "detail-type": []string{"ECS Task State Change"},
		"detail": map[string]any{
			"clusterArn": []string{r.cluster("arn")}, "group": []string{"service:" + service},
			"lastStatus": []string{"STOPPED"}, "stopCode": []string{"EssentialContainerExited"},
		},
	})
	all["aws_cloudwatch_dashboard.worker"] = rule{why: "the dashboard would show something else", shape: fields{
		"dashboard_name": is(service), "dashboard_body": text,
	}}
}

// alarmTopic is the topic that alarms are sent to, who may publish in it and who reads it.
func (r rules) alarmTopic(all map[string]rule, topic string) {
	const read = "others could read the alarms, or send false ones"
	publish := func(sid, service string) iam.Statement {
		return iam.Statement{Sid: sid, Effect: "Allow", Principal: iam.ByService(service), Action: []string{"sns:Publish"}, Resource: []string{topic}}
	}
	all["aws_sns_topic.alarms"] = rule{why: read, shape: fields{"name": is(r.env.Worker.ServiceName + "-alarms")}}
	all["aws_sns_topic_policy.alarms"] = rule{why: read, shape: fields{
		"arn": is(topic),
		"policy": grants(read,
			publish("Alarms", "cloudwatch.amazonaws.com").If("StringEquals", "aws:SourceAccount", account.ID).
				If("ArnLike", "aws:SourceArn", account.Of("cloudwatch", "alarm:"+r.env.Worker.ServiceName+"-*")),
			publish("Events", "events.amazonaws.com")),
	}}
	for i, email := range r.env.Monitoring.Emails {
		all[fmt.Sprintf("aws_sns_topic_subscription.alarms_%d", i+1)] = rule{why: read, shape: fields{
			"topic_arn": is(topic), "protocol": is("email"), "endpoint": is(literal(email)),
		}}
	}
}

// probe is the function, its schedule, and what both may do.
func (r rules) probe(all map[string]rule) {
	env := r.env
	name := env.Worker.ServiceName + "-probe"
	const code = "other code would run with the credential of the Prefect API"
	variables := fields{
		"AUTHENTICATION": is(string(env.Prefect.Authentication)), "CLUSTER": is(env.Cluster.Name), "SERVICE": is(env.Worker.ServiceName),
		"PENDING_MINUTES": is(strconv.Itoa(env.Monitoring.PendingMinutes)), "PREFECT_API_URL": is("${local.prefect_api_url}"),
		"QUEUES": is(literal(encode(env.WorkPool.Queues))), "WORK_POOL": is(literal(env.WorkPool.Name)), "WORK_POOL_TYPE": is(string(env.WorkPool.Type)),
	}
	if r.secret != "" {
		variables["CREDENTIAL"] = is(r.secret)
	}
	function := fields{
		"function_name": is(name), "description": text, "role": because(rights, is(ref("aws_iam_role.probe.arn"))),
		"runtime": is("python3.13"), "handler": is("probe.handler"), "architectures": is([]string{"arm64"}),
		"filename": because(code, is("probe.zip")), "source_code_hash": because(code, text), "memory_size": is(256), "timeout": is(55),
		"environment": object(fields{"variables": because("variables are in clear text, and steer where the credential is sent", object(variables))}),
		"depends_on":  dependsOn,
	}
	statements := []iam.Statement{
		iam.Allow("PublishFigures", []string{"cloudwatch:PutMetricData"}, "*").If("StringEquals", "cloudwatch:namespace", "PrefectWorker"),
		iam.Allow("DescribeWorker", []string{"ecs:DescribeServices"}, account.Of("ecs", "service/"+env.Cluster.Name+"/"+env.Worker.ServiceName)),
		iam.Allow("WriteLog", []string{"logs:CreateLogStream", "logs:PutLogEvents"}, ref("aws_cloudwatch_log_group.probe.arn")+":*"),
	}
	if env.WorkPool.Type == config.PoolECS {
		statements = append(statements, iam.Allow("DescribeFlows", []string{"ecs:DescribeTasks"}, account.Of("ecs", "task/"+env.Cluster.Name+"/*")).
			If("ArnEquals", "ecs:cluster", account.Of("ecs", "cluster/"+env.Cluster.Name)))
	}
	if r.secretARN != "" {
		statements = append(statements, iam.Allow("ReadCredential", []string{"secretsmanager:GetSecretValue"}, r.secretARN))
		statements = append(statements, decrypt("DecryptSecrets", "secretsmanager", []string{env.Secret.KMSKeyARN})...)
	}
	if env.ProbeInVPC() {
		statements = append(statements, iam.Allow("JoinVPC", []string{
			"ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
			"ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"}, "*"))
		function["vpc_config"] = object(fields{"subnet_ids": is(r.taskSubnets()), "security_group_ids": is([]string{ref("aws_security_group.prefect_worker_sg.id")})})
	}
	all["aws_lambda_function.probe"] = rule{why: code, shape: function}
	all["aws_scheduler_schedule.probe"] = rule{why: "the probe would not run each minute, or something else would", shape: fields{
		"name": is(name), "description": text, "schedule_expression": is("rate(1 minute)"), "flexible_time_window": object(fields{"mode": is("OFF")}),
		"target": object(fields{
			"arn": is(ref("aws_lambda_function.probe.arn")), "role_arn": because(rights, is(ref("aws_iam_role.probe_schedule.arn"))),
			"retry_policy": object(fields{"maximum_event_age_in_seconds": is(60), "maximum_retry_attempts": is(0)}),
		}),
	}}
	r.role(all, "probe", name, iam.Statement{Effect: "Allow", Principal: iam.ByService("lambda.amazonaws.com"), Action: []string{"sts:AssumeRole"}})
	r.inline(all, "probe", name, statements...)
	r.role(all, "probe_schedule", name+"-schedule", trust("scheduler.amazonaws.com", account.Of("scheduler", "schedule-group/default")))
	r.inline(all, "probe_schedule", name+"-schedule", iam.Allow("StartProbe", []string{"lambda:InvokeFunction"}, ref("aws_lambda_function.probe.arn")))
	r.logGroup(all, "probe", "/aws/lambda/"+name)
}
