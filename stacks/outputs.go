package stacks

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/cluster"
	"prefect-worker-ecs/constructs/ecsworker"
	"prefect-worker-ecs/constructs/iam"
	"prefect-worker-ecs/constructs/logs"
	"prefect-worker-ecs/constructs/network"
	"prefect-worker-ecs/constructs/secrets"
	"prefect-worker-ecs/constructs/tf"
	awsiam "prefect-worker-ecs/internal/aws/iam"
)

// built is what the outputs describe.
type built struct {
	network *network.Network
	logs    *logs.Logs
	secrets *secrets.Secrets
	iam     *iam.IAM
	cluster *cluster.Cluster
	group   *ecsworker.Group
	worker  *ecsworker.ECSWorker
	own     *ownServer
}

// newOutputs gives the operator what the next step needs: names for the AWS CLI, values for
// the form of the work pool, links to the consoles.
func newOutputs(stack cdktf.TerraformStack, env *config.Environment, b built) {
	for _, o := range []struct {
		name, description string
		value             any
	}{
		{"ecs_cluster_arn", "ARN of the ECS cluster", b.cluster.ARN},
		{"ecs_cluster_name", "Name of the ECS cluster", b.cluster.Name},
		{"ecs_service_name", "Name of the ECS service that keeps the worker running", *tf.Name(b.worker.Service)},
		{"task_definition_arn", "ARN of the revision of the task definition that the service runs", *tf.ARN(b.worker.TaskDefinition)},
		{"log_group_name", "CloudWatch log group of the worker", b.logs.Name},
		{"secret_arn", "ARN of the secret with the Prefect " + env.Prefect.Authentication.Noun(), b.secrets.ARN},
		{"vpc_id", "VPC of the worker; vpc_id of an ecs work pool", b.network.VPCID},
		{"public_subnet_ids", "Public subnets", b.network.PublicSubnetIDs},
		{"private_subnet_ids", "Private subnets; for the network configuration of an ecs work pool", b.network.PrivateSubnetIDs},
		{"security_group_id", "Security group of the worker; for the network configuration of an ecs work pool", *b.group.ID()},
		{"prefect_api_url", "Prefect API that the worker talks to", apiURLReference},
		{"console_service_url", "The service in the AWS console", consoleURL("ecs/v2/clusters/" + env.Cluster.Name + "/services/" + env.Worker.ServiceName + "/health?region=" + regionReference)},
		{"console_logs_url", "The worker's log in the AWS console", consoleURL("cloudwatch/home?region=" + regionReference + "#logsV2:log-groups/log-group/" + consoleEscape(env.Logs.Group))},
	} {
		if list, isList := o.value.([]string); o.value == "" || isList && len(list) == 0 {
			continue // there is no such thing in this deployment
		}
		output(stack, o.name, o.description, o.value)
	}
	for _, o := range []struct {
		name, role, description string
		is                      *iam.Role
	}{
		{"execution_role", "the execution role", "Role with which ECS starts the worker", b.iam.Execution},
		{"task_role", "the task role", "Role of the code inside the worker's task", b.iam.Task},
		{"flow_execution_role", "the execution role of flow tasks", "Role with which ECS starts the tasks of flow runs; execution_role_arn of an ecs work pool", b.iam.FlowExecution},
		{"flow_task_role", "the role of flows", "Role of the flows; task_role_arn of an ecs work pool", b.iam.FlowTask},
	} {
		if o.is == nil {
			continue
		}
		output(stack, o.name+"_arn", o.description, o.is.ARN)
		if len(o.is.Needs) > 0 {
			output(stack, o.name+"_policy", "What "+o.role+", which exists, must be allowed", *tf.JSON(awsiam.New(o.is.Needs...)))
		}
	}
	if env.Monitoring.Enabled {
		output(stack, "console_dashboard_url", "The dashboard in the AWS console", consoleURL("cloudwatch/home?region="+regionReference+"#dashboards/dashboard/"+env.Worker.ServiceName))
	}
	if !env.Server.Enabled {
		return
	}
	output(stack, "server_service_name", "Name of the ECS service of the Prefect server", *tf.Name(b.own.server.Service))
	output(stack, "server_security_group_id", "Security group of the Prefect server; for a load balancer and other clients", *b.own.server.SecurityGroup.ID())
	output(stack, "database_address", "Address of the Prefect server's database", b.own.database.Host)
	output(stack, "database_secret_arn", "ARN of the secret with the database's password", b.own.database.SecretARN)
}

func output(stack cdktf.TerraformStack, name, description string, value any) {
	cdktf.NewTerraformOutput(stack, &name, &cdktf.TerraformOutputConfig{Description: &description, Value: value})
}

// consoleURL returns an address in the console, which has a domain of its own in each partition
// ("AWS Management Console endpoints" in the AWS General Reference, and the guides for China
// and GovCloud).
func consoleURL(path string) string {
	return fmt.Sprintf("https://%s.console.%s/%s", regionReference, consoleDomainReference, path)
}

// consoleEscape encodes a log group's name as the CloudWatch console does: percent
// encoding twice, with $ for the percent sign.
func consoleEscape(name string) string {
	return tf.Literal(strings.ReplaceAll(url.QueryEscape(url.QueryEscape(name)), "%", "$"))
}
