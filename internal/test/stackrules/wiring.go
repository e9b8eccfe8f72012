package stackrules

import (
	"fmt"
	"strings"

	"prefect-worker-ecs/config"
)

var wiringRules = []rule{
	{"named-as-configured", "under another name it is another environment's, or neither the deployer's policy nor an alarm is about it", func(s *stack) {
		e := s.env
		for address, name := range map[string]string{
			"aws_ecs_cluster.main": e.Cluster.Name, "aws_ecs_service.worker": e.Worker.ServiceName, "aws_ecs_service.server": e.Server.Name, "container.worker": e.Worker.ContainerName,
			"aws_service_discovery_private_dns_namespace.main": e.Cluster.Namespace, "aws_cloudwatch_log_group.worker": e.Logs.Group,
			"aws_cloudwatch_log_group.flow_logs": e.FlowLogGroup(), "aws_cloudwatch_log_group.probe": e.ProbeLogGroup(),
			"aws_iam_role.execution": e.IAM.ExecutionRoleName, "aws_iam_role.task": e.IAM.TaskRoleName, "aws_iam_role.flow_execution": e.IAM.FlowExecutionRoleName, "aws_iam_role.flow_task": e.IAM.FlowTaskRole.Name,
			"aws_iam_role.flow_logs": e.FlowLogRole(), "aws_iam_role.server_execution": e.Server.ExecutionRole(), "aws_iam_role.server_task": e.Server.TaskRole(), "aws_iam_role.probe": e.ProbeRole(), "aws_iam_role.probe_schedule": e.ScheduleRole(),
			"aws_secretsmanager_secret.prefect_api_key": e.Secret.Name, "aws_secretsmanager_secret.database": e.Server.DatabaseSecret(),
			"aws_security_group.prefect_worker_sg": e.WorkerSecurityGroup(), "aws_security_group.prefect_server_sg": e.SecurityGroup(config.ServerSecurityGroup), "aws_security_group.prefect_database_sg": e.SecurityGroup(config.DatabaseSecurityGroup),
			"aws_sns_topic.alarms": e.AlarmTopic(), "aws_sqs_queue.task_events": e.EventQueue(), "aws_sqs_queue.task_events_dead_letters": config.DeadLetterQueue(e.EventQueue()),
			"aws_cloudwatch_event_rule.task_events": e.EventQueue(), "aws_cloudwatch_event_rule.failed_deployment": e.DeploymentRule(), "aws_scheduler_schedule.probe": e.Probe(),
		} {
			s.all(address, "name", name)
		}
		s.all("aws_ecs_task_definition.worker", "family", e.Worker.Family())
		s.all("aws_ecs_task_definition.server", "family", e.Server.Name)
		s.all("aws_lambda_function", "function_name", e.Probe())
		s.all("aws_db_instance", "identifier", e.Server.Name)
	}},
	{"connected-as-configured", "what refers to another resource than its own works on nothing, or on what belongs to others", func(s *stack) {
		cluster := ref("aws_ecs_cluster.main.id")
		if s.env.Cluster.Existing {
			cluster = account.Of("ecs", "cluster/"+s.env.Cluster.Name)
		}
		for _, want := range []struct {
			address, path string
			value         any
		}{
			{"aws_ecs_service", "cluster", cluster},
			{"aws_ecs_cluster_capacity_providers", "cluster_name", ref("aws_ecs_cluster.main.name")},
			{"aws_ecs_cluster_capacity_providers", "capacity_providers", []string{"FARGATE", "FARGATE_SPOT"}},
			{"aws_secretsmanager_secret_version.prefect_api_key", "secret_id", ref("aws_secretsmanager_secret.prefect_api_key.id")},
			{"aws_secretsmanager_secret_version.database", "secret_id", ref("aws_secretsmanager_secret.database.id")},
			{"aws_db_instance", "db_subnet_group_name", ref("aws_db_subnet_group.server.name")},
			{"aws_flow_log", "log_destination", ref("aws_cloudwatch_log_group.flow_logs.arn")},
			{"aws_sqs_queue_redrive_policy", "queue_url", ref("aws_sqs_queue.task_events.url")},
			{"aws_sns_topic_policy", "arn", ref("aws_sns_topic.alarms.arn")},
			{"aws_eip", "domain", "vpc"},
			{"container", "logConfiguration.options.awslogs-region", ref("var.aws_region")},
		} {
			s.all(want.address, want.path, want.value)
		}
		for _, kind := range strings.Fields("aws_default_security_group aws_flow_log aws_internet_gateway aws_route_table aws_security_group aws_subnet aws_vpc_endpoint") {
			s.all(kind, "vpc_id", s.vpc())
		}
		s.each("aws_nat_gateway", func(e element) { s.want(e, "allocation_id", ref("aws_eip."+e.name+".id")) })
	}},
	{"database-as-configured", "another database, user or engine is empty, unreachable, or replaces the one that is there", func(s *stack) {
		d := s.env.Server.Database
		for path, want := range map[string]any{"engine": "postgres", "engine_version": d.EngineVersion, "username": d.User, "db_name": d.Name, "port": d.Port,
			"instance_class": d.InstanceClass, "allocated_storage": d.StorageGiB, "allow_major_version_upgrade": true, "storage_type": "gp3"} {
			s.all("aws_db_instance", path, want)
		}
		s.all("aws_db_parameter_group", "family", "postgres"+d.EngineVersion)
	}},
	{"values-are-checked", "a deployment without its key, or with the API of another, must stop in the plan", func(s *stack) {
		checked := []string{"aws_ecs_task_definition.worker"}
		if !s.env.GeneratedCredential() {
			checked = append(checked, "aws_secretsmanager_secret_version.prefect_api_key")
		}
		for _, address := range checked {
			s.each(address, func(e element) {
				conditions := e.list("lifecycle.precondition")
				for i := range max(len(conditions), 1) {
					if at := fmt.Sprintf("lifecycle.precondition.%d.condition", i); !strings.Contains(e.text(at), "var.") && !strings.Contains(e.text(at), "local.") {
						s.report(e.address()+"."+at, "is %s, and checks no variable", show(e.get(at)))
					}
				}
			})
		}
	}},
}
