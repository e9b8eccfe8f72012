package stackrules

import (
	"regexp"
	"slices"
	"strings"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/restype"
)

// parts are the kinds of elements that are no resources.
var parts = []string{"container", "output", "variable"}

// arguments are those that may be set of the types where another one opens, shares or weakens
// something: an inline rule, a policy of the resource's own, a replica, a volume, a load balancer.
var arguments = map[string]string{
	"container":                 "command dockerLabels entryPoint environment essential healthCheck image logConfiguration name repositoryCredentials secrets stopTimeout",
	"aws_appautoscaling_policy": "name policy_type resource_id scalable_dimension service_namespace step_scaling_policy_configuration",
	"aws_appautoscaling_target": "max_capacity min_capacity resource_id scalable_dimension service_namespace",
	"aws_db_instance": "allocated_storage allow_major_version_upgrade apply_immediately auto_minor_version_upgrade backup_retention_period copy_tags_to_snapshot" +
		" db_name db_subnet_group_name deletion_protection engine engine_version final_snapshot_identifier identifier instance_class max_allocated_storage multi_az" +
		" parameter_group_name password_wo password_wo_version port publicly_accessible skip_final_snapshot storage_encrypted storage_type username vpc_security_group_ids",
	"aws_default_security_group": "tags vpc_id",
	"aws_ecs_service": "capacity_provider_strategy cluster deployment_circuit_breaker deployment_maximum_percent deployment_minimum_healthy_percent desired_count" +
		" enable_ecs_managed_tags enable_execute_command launch_type name network_configuration platform_version propagate_tags service_registries task_definition" +
		" timeouts wait_for_steady_state",
	"aws_ecs_task_definition": "container_definitions cpu ephemeral_storage execution_role_arn family memory network_mode requires_compatibilities runtime_platform task_role_arn",
	"aws_eip":                 "domain tags",
	"aws_iam_role":            "assume_role_policy description name path permissions_boundary",
	"aws_lambda_function": "architectures description environment filename function_name handler memory_size role runtime source_code_hash timeout" +
		" vpc_config",
	"aws_route":                           "destination_cidr_block gateway_id nat_gateway_id route_table_id",
	"aws_route_table":                     "tags vpc_id",
	"aws_secretsmanager_secret":           "description kms_key_id name recovery_window_in_days",
	"aws_secretsmanager_secret_version":   "secret_id secret_string_wo secret_string_wo_version",
	"aws_security_group":                  "description name tags vpc_id",
	"aws_sns_topic":                       "name",
	"aws_sqs_queue":                       "message_retention_seconds name sqs_managed_sse_enabled visibility_timeout_seconds",
	"aws_subnet":                          "availability_zone cidr_block map_public_ip_on_launch tags vpc_id",
	"aws_vpc_endpoint":                    "private_dns_enabled route_table_ids security_group_ids service_name subnet_ids tags vpc_endpoint_type vpc_id",
	"aws_vpc_security_group_egress_rule":  "cidr_ipv4 description from_port ip_protocol prefix_list_id referenced_security_group_id security_group_id tags to_port",
	"aws_vpc_security_group_ingress_rule": "description from_port ip_protocol referenced_security_group_id security_group_id tags to_port",
}

// readable is the form of a name in an address.
var readable = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

var typeRules = []rule{
	{"known-types", "nobody has judged what another type opens, runs, reads or costs", func(s *stack) {
		for _, e := range s.elements {
			if _, known := restype.Of(e.kind); !known && !slices.Contains(parts, e.kind) {
				s.report(e.address(), "has a type that is not in the allow-list")
			}
		}
	}},
	{"known-blocks", "a module, a moved or a removed block deploys or abandons resources that no rule sees", func(s *stack) {
		s.only("stack", s.root, "// data ephemeral import locals output provider resource terraform variable")
	}},
	{"known-arguments", "another argument can open, share or weaken the resource", func(s *stack) {
		for kind, allowed := range arguments {
			s.each(kind, func(e element) { s.only(e.address(), e.arguments, allowed+" // depends_on lifecycle") })
		}
	}},
	{"no-meta-arguments", "a provisioner runs programs on the machine that deploys; copies and other providers deploy what no rule sees", func(s *stack) {
		for _, e := range s.elements {
			for _, name := range []string{"provisioner", "connection", "count", "for_each", "provider"} {
				s.want(e, name, nil)
			}
		}
	}},
	{"readable-addresses", "an address with a hash changes by itself, and a changed address destroys and recreates the resource", func(s *stack) {
		for _, e := range s.elements {
			if !readable.MatchString(e.name) {
				s.report(e.address(), "is not readable")
			}
		}
	}},
	{"as-many-as-configured", "one more opens, runs or costs something that no option asks for, and one fewer is a gap", func(s *stack) {
		have := map[string]int{}
		for _, e := range s.elements {
			have[e.kind]++
		}
		for _, expected := range counts(s.env) {
			for _, kind := range strings.Fields(expected.kinds) {
				if have[kind] != expected.n {
					s.report(kind, "exists %d times, and the options imply %d", have[kind], expected.n)
				}
			}
		}
	}},
}

// expected is how many elements of some kinds the options imply.
type expected struct {
	n     int
	kinds string
}

func counts(env *config.Environment) []expected {
	n, x := env.Network, env.IAM.Existing
	own, endpoints, flowLogs := one(!n.Exists()), one(!n.Exists() && len(n.Endpoints) > 0), one(n.FlowLogs != config.FlowLogsNone)
	ecs, queue, spot := one(env.WorkPool.Type == config.PoolECS), one(env.EventQueue() != ""), one(env.Worker.Spot || env.WorkPool.Job.Spot)
	server, database := one(env.Server.Enabled), one(env.Server.Enabled && env.Server.OwnDatabase())
	secret := one(env.Prefect.Authentication != config.AuthNone && env.Secret.ExistingARN == "")
	scaling, probe := one(env.Worker.Scaling.Max > 0), one(env.Monitoring.Enabled || env.Worker.Scaling.Max > 0)
	monitoring, topic := one(env.Monitoring.Enabled), one(env.Monitoring.Enabled && env.Monitoring.TopicARN == "")
	cluster, logs, nats := one(!env.Cluster.Existing), one(!env.Logs.Existing), own*tables(n)*one(n.NAT != config.NATNone)
	return []expected{
		{own, "aws_vpc aws_internet_gateway aws_default_security_group"},
		{own * (len(n.PublicSubnetCIDRs) + len(n.PrivateSubnetCIDRs)), "aws_subnet aws_route_table_association"},
		{own * (1 + tables(n)), "aws_route_table"},
		{own + nats, "aws_route"},
		{nats, "aws_eip aws_nat_gateway"},
		{own * (len(n.Endpoints) + one(n.S3Endpoint)), "aws_vpc_endpoint"},
		{flowLogs, "aws_flow_log"},
		{1 + endpoints + server + database, "aws_security_group"},
		{server + database + endpoints*(1+server), "aws_vpc_security_group_ingress_rule"},
		{cluster, "aws_ecs_cluster"},
		{cluster * spot, "aws_ecs_cluster_capacity_providers"},
		{1 + server, "aws_ecs_service aws_ecs_task_definition container"},
		{one(x.ExecutionRole == "") + one(x.TaskRole == "") + ecs*one(x.FlowExecutionRole == "") + one(env.HasFlowTaskRole() && x.FlowTaskRole == "") +
			flowLogs + 2*server + 2*probe, "aws_iam_role"},
		{secret + database, "aws_secretsmanager_secret aws_secretsmanager_secret_version"},
		{database, "aws_db_instance aws_db_parameter_group"},
		{server, "aws_service_discovery_service"},
		{logs + flowLogs + probe, "aws_cloudwatch_log_group"},
		{2 * queue, "aws_sqs_queue"},
		{queue, "aws_sqs_queue_redrive_policy aws_sqs_queue_policy"},
		{queue + 2*monitoring, "aws_cloudwatch_event_rule aws_cloudwatch_event_target"},
		{monitoring*(8+queue+2*database+2*scaling) + 2*scaling, "aws_cloudwatch_metric_alarm"},
		{monitoring, "aws_cloudwatch_log_metric_filter aws_cloudwatch_dashboard"},
		{probe, "aws_lambda_function aws_scheduler_schedule"},
		{scaling, "aws_appautoscaling_target"},
		{2 * scaling, "aws_appautoscaling_policy"},
		{topic, "aws_sns_topic aws_sns_topic_policy"},
		{4 + secret*(1-server), "variable"},
	}
}

// tables returns the number of private route tables.
func tables(n config.Network) int {
	if n.NAT == config.NATPerAZ {
		return len(n.PrivateSubnetCIDRs)
	}
	return 1
}

// one returns 1 for true.
func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
