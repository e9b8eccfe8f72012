package adopt

import "strings"

// options are which option says what an attribute is, by type and attribute.
var options = map[string]string{
	"aws_cloudwatch_log_group.kms_key_id":        "logs.kms_key_arn",
	"aws_cloudwatch_log_group.retention_in_days": "logs.retention_days",
	"aws_ecs_cluster.setting":                    "cluster.container_insights",
	"aws_ecs_service.capacity_provider_strategy": "worker.spot",
	"aws_ecs_service.desired_count":              "worker.desired_count",
	"aws_ecs_service.enable_execute_command":     "worker.execute_command",
	"aws_ecs_service.launch_type":                "worker.spot",
	"aws_ecs_service.network_configuration":      "network.security_group_ids",
	"aws_iam_role.path":                          "iam.path",
	"aws_iam_role.permissions_boundary":          "iam.permissions_boundary_arn",
	"aws_nat_gateway.subnet_id":                  "network.public_subnet_cidrs",
	"aws_secretsmanager_secret.kms_key_id":       "secret.kms_key_arn",
	"aws_subnet.availability_zone":               "network.availability_zones",
}

// Option is the option with which the configuration can say what an attribute is in AWS. Empty:
// there is none, or nothing depends on it, as on a tag.
func Option(address, attribute string) string {
	kind, _, _ := strings.Cut(address, ".")
	if i := strings.IndexAny(attribute, ".["); i >= 0 {
		attribute = attribute[:i]
	}
	return options[kind+"."+attribute]
}
