package stackrules

import (
	"slices"
	"strconv"
	"strings"

	"prefect-worker-ecs/config"
)

var storageRules = []rule{
	{"encrypted-as-configured", "what flows print, the credentials and the database are not readable without the configured key", func(s *stack) {
		s.all("aws_secretsmanager_secret", "kms_key_id", optional(s.env.Secret.KMSKeyARN))
		s.all("aws_cloudwatch_log_group", "kms_key_id", optional(s.env.Logs.KMSKeyARN))
		s.all("aws_sqs_queue", "sqs_managed_sse_enabled", true)
		s.all("aws_db_instance", "storage_encrypted", true)
		s.all("aws_db_instance", "parameter_group_name", ref("aws_db_parameter_group.server.name"))
		s.all("aws_db_parameter_group", "parameter", []any{map[string]string{"name": "rds.force_ssl", "value": "1"}})
	}},
	{"kept-as-configured", "logs that never expire cost more each month, and data that is deleted at once is gone", func(s *stack) {
		d := s.env.Server.Database
		s.all("aws_cloudwatch_log_group", "retention_in_days", s.env.Logs.RetentionDays)
		s.all("aws_secretsmanager_secret", "recovery_window_in_days", s.env.Secret.RecoveryWindowDays)
		s.all("aws_db_instance", "backup_retention_period", d.BackupDays)
		s.all("aws_db_instance", "deletion_protection", d.DeletionProtection)
		s.all("aws_db_instance", "skip_final_snapshot", !d.FinalSnapshot)
		s.all("aws_db_instance", "multi_az", d.MultiAZ)
	}},
	{"secrets-are-write-only", "any other value than an ephemeral one is in the plan and in the state", func(s *stack) {
		value := ref("var." + s.env.Prefect.Authentication.TerraformVariable())
		if s.env.GeneratedCredential() {
			value = config.ServerUser + ":" + ref("ephemeral.aws_secretsmanager_random_password.prefect_api.random_password")
		}
		for _, secret := range []struct{ address, argument, value string }{
			{"aws_secretsmanager_secret_version.prefect_api_key", "secret_string_wo", value},
			{"aws_secretsmanager_secret_version.database", "secret_string_wo", ref("ephemeral.aws_secretsmanager_random_password.database.random_password")},
			{"aws_db_instance.server", "password_wo", ref("ephemeral.aws_secretsmanager_secret_version.database.secret_string")},
		} {
			s.each(secret.address, func(e element) {
				if e.text(secret.argument) != secret.value { // which is not shown
					s.report(e.address()+"."+secret.argument, "is not %s", secret.value)
				}
			})
		}
	}},
	{"passwords-change-together", "a password of another version than the database's does not open it, and a short one can be guessed", func(s *stack) {
		version := s.env.Server.Database.PasswordVersion
		s.all("aws_db_instance", "password_wo_version", version)
		s.all("aws_secretsmanager_secret_version.database", "secret_string_wo_version", version)
		s.all("aws_secretsmanager_secret_version.prefect_api_key", "secret_string_wo_version", s.env.Secret.Version)
		if s.credential() != "" { // ECS does not see a new value
			s.all("container", "dockerLabels.prefect-api-key-version", strconv.Itoa(s.env.Secret.Version))
		}
		s.all("container.server", "dockerLabels.prefect-database-password-version", strconv.Itoa(version))
		s.all("ephemeral.aws_secretsmanager_secret_version", "version_id", ref("aws_secretsmanager_secret_version.database.version_id"))
		s.each("ephemeral.aws_secretsmanager_random_password", func(e element) { s.within(e, "password_length", 32, 4096) })
	}},
	{"events-are-not-lost", "an event that fails once is tried again, and one that always fails is kept aside for two weeks", func(s *stack) {
		s.all("aws_sqs_queue_redrive_policy", "redrive_policy.deadLetterTargetArn", ref("aws_sqs_queue.task_events_dead_letters.arn"))
		s.each("aws_sqs_queue_redrive_policy", func(e element) { s.within(e, "redrive_policy.maxReceiveCount", 2, 20) })
		s.all("aws_sqs_queue.task_events_dead_letters", "message_retention_seconds", 14*24*3600)
		s.each("aws_sqs_queue.task_events", func(e element) {
			s.within(e, "message_retention_seconds", 24*3600, 13*24*3600)
			s.within(e, "visibility_timeout_seconds", 30, 3600)
		})
	}},
	{"events-of-this-worker", "events of another cluster would reach the worker or wake somebody, and those that are sent elsewhere reach nobody", func(s *stack) {
		cluster, service := ref("aws_ecs_cluster.main.arn"), s.env.Worker.ServiceName
		if s.env.Cluster.Existing {
			cluster = account.Of("ecs", "cluster/"+s.env.Cluster.Name)
		}
		s.all("aws_cloudwatch_event_rule", "event_pattern.source", []string{"aws.ecs"})
		s.all("aws_cloudwatch_event_rule.task_events", "event_pattern.detail", map[string][]string{"clusterArn": {cluster}})
		for name, content := range map[string]string{
			"task_events":       `"ECS Task State Change"`,
			"ended_task":        `"ECS Task State Change" "STOPPED" "EssentialContainerExited"`,
			"failed_deployment": `"ECS Deployment State Change" "ECS Service Action" "SERVICE_DEPLOYMENT_FAILED" "SERVICE_TASK_PLACEMENT_FAILURE"`,
		} {
			s.each("aws_cloudwatch_event_rule."+name, func(e element) {
				for _, word := range strings.SplitAfter(content, `" `) {
					if !strings.Contains(encode(e.get("event_pattern")), strings.TrimSpace(word)) {
						s.report(e.address()+".event_pattern", "lacks %s", word)
					}
				}
			})
		}
		s.all("aws_cloudwatch_event_rule.ended_task", "event_pattern.detail.clusterArn", []string{cluster})
		s.all("aws_cloudwatch_event_rule.ended_task", "event_pattern.detail.group", []string{"service:" + service})
		s.all("aws_cloudwatch_event_rule.failed_deployment", "event_pattern.resources", []string{account.Of("ecs", "service/"+s.env.Cluster.Name+"/"+service)})
		s.each("aws_cloudwatch_event_target", func(e element) {
			target := map[string]string{"task_events": ref("aws_sqs_queue.task_events.arn"), "ended_task": s.topic(), "failed_deployment": s.topic()}[e.name]
			s.want(e, "rule", ref("aws_cloudwatch_event_rule."+e.name+".name"))
			s.want(e, "arn", target)
		})
	}},
	{"protected-as-configured", "what is protected is not destroyed by mistake, and what is not can be removed", func(s *stack) {
		kinds := []string{"aws_vpc", "aws_subnet", "aws_secretsmanager_secret", "aws_db_instance"}
		for _, e := range s.elements {
			var want any
			if s.env.Protect && (slices.Contains(kinds, e.kind) || e.address() == "aws_cloudwatch_log_group.worker") {
				want = true
			}
			s.want(e, "lifecycle.prevent_destroy", want)
		}
	}},
	{"lifecycle-as-known", "Terraform would leave alone what somebody changed by hand, or replace what nobody changed", func(s *stack) {
		for _, e := range s.elements {
			var ignored, first any
			if e.kind == "aws_security_group" && s.env.Imports[e.address()] != "" {
				ignored = []string{"description"} // AWS never changes it, and another one would replace the group
			}
			if e.kind == "aws_ecs_cluster" && s.env.Imports[e.address()] != "" {
				ignored = []string{"configuration", "service_connect_defaults"} // AWS keeps them, and services of others use them
			}
			if e.address() == "aws_ecs_service.worker" && s.env.Worker.Scaling.Max > 0 {
				ignored = []string{"desired_count"} // it is Application Auto Scaling's
			}
			if e.kind == "aws_db_parameter_group" {
				first = true // the database uses the old one until it has the new one
			}
			s.want(e, "lifecycle.ignore_changes", ignored)
			s.want(e, "lifecycle.create_before_destroy", first)
			s.only(e.address()+".lifecycle", e.get("lifecycle"), "create_before_destroy ignore_changes postcondition precondition prevent_destroy")
		}
	}},
}
