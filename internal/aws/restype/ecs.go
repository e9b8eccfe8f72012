package restype

import (
	"cmp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// ecsTypes are those of ECS.
var ecsTypes = []Type{
	{
		Name:     "aws_ecs_cluster",
		ARN:      "ecs:cluster/{name}",
		Find:     (*Search).cluster,
		Loss:     "the worker stops, and so do flow runs that are ECS tasks",
		Replaces: []string{"name"},
		Options: map[string]string{
			"setting": "cluster.container_insights",
		},
		Grants: []Grant{
			{Read: "ecs:DescribeClusters", On: "ecs:cluster/{name}"},
			{Write: "ecs:CreateCluster ecs:UpdateCluster ecs:DeleteCluster ecs:TagResource ecs:UntagResource", On: "ecs:cluster/{name}"},
			{Write: "iam:CreateServiceLinkedRole", On: "iam:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"},
		},
	},
	{
		Name:     "aws_ecs_cluster_capacity_providers",
		Find:     (*Search).cluster,
		Loss:     Nothing,
		Replaces: []string{"cluster_name"},
		Grants: []Grant{
			{Read: "ecs:DescribeClusters", On: "ecs:cluster/{cluster_name}"},
			{Write: "ecs:PutClusterCapacityProviders", On: "ecs:cluster/{cluster_name}"},
		},
	},
	{
		Name:     "aws_ecs_service",
		Find:     (*Search).service,
		Loss:     "its tasks stop: a worker with the flow runs of a process pool, or the Prefect server",
		Replaces: []string{"cluster", "launch_type", "name"},
		Options: map[string]string{
			"capacity_provider_strategy": "worker.spot",
			"desired_count":              "worker.desired_count",
			"enable_execute_command":     "worker.execute_command",
			"launch_type":                "worker.spot",
			"network_configuration":      "network.security_group_ids",
		},
		Grants: []Grant{
			{Read: "ecs:DescribeServices", On: "ecs:service/{cluster}/{name}"},
			{Find: "ecs:ListServices", When: InCluster},
			// verify: what runs.
			{Read: "ecs:ListTasks", When: InCluster},
			{Read: "ecs:DescribeTasks ecs:GetTaskProtection", On: "ecs:task/{cluster}/*"},
			{Write: "ecs:CreateService ecs:UpdateService ecs:DeleteService ecs:TagResource ecs:UntagResource", On: "ecs:service/{cluster}/{name}"},
		},
	},
	{
		Name:        "aws_ecs_task_definition",
		NotImported: "it is a new revision, and those that are there stay",
		Loss:        Nothing,
		Replaces:    []string{"container_definitions", "cpu", "ephemeral_storage", "execution_role_arn", "family", "memory", "runtime_platform", "task_role_arn"},
		Grants: []Grant{
			{Read: "ecs:DescribeTaskDefinition"},
			{Write: "ecs:RegisterTaskDefinition ecs:TagResource ecs:UntagResource", On: "ecs:task-definition/{family}:*"},
			{Write: "ecs:DeregisterTaskDefinition"},
			{Write: "iam:PassRole", On: "iam:role/{execution_role_arn} iam:role/{task_role_arn}", PassedTo: "ecs-tasks"},
			// verify: whether the task may read them, and the credential that the worker uses.
			{Read: "secretsmanager:DescribeSecret secretsmanager:GetResourcePolicy", On: "{existing_secrets}"},
			{Read: "secretsmanager:GetSecretValue", On: "{existing_credential}"},
			// verify: whether they are there; those of flow tasks are not in the stack.
			{Read: "ssm:DescribeParameters", On: "{all_parameters}"},
			{Read: "ecr:DescribeImages ecr:GetRepositoryPolicy", On: "ecr:repository/*"},
		},
	},
}

func (f *Search) cluster(r Resource) (string, error) {
	name := cmp.Or(r.text("name"), r.text("cluster_name"))
	out, err := ecs.NewFromConfig(f.cfg).DescribeClusters(f.Context, &ecs.DescribeClustersInput{Clusters: []string{name}})
	if err != nil || len(out.Clusters) == 0 || aws.ToString(out.Clusters[0].Status) == "INACTIVE" {
		return "", orNone(err)
	}
	return name, nil
}

func (f *Search) service(r Resource) (string, error) {
	cluster, err := f.Stack.NameOf(r.arguments["cluster"])
	if err != nil {
		return "", err
	}
	out, err := ecs.NewFromConfig(f.cfg).DescribeServices(f.Context, &ecs.DescribeServicesInput{Cluster: &cluster, Services: []string{r.text("name")}})
	if err != nil || len(out.Services) == 0 || aws.ToString(out.Services[0].Status) != "ACTIVE" {
		return "", orNone(err)
	}
	return cluster + "/" + r.text("name"), nil
}
