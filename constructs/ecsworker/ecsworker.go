// Package ecsworker builds the ECS cluster and in it the Fargate service that keeps the
// Prefect worker running.
package ecsworker

import (
	"fmt"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawsecsclusters"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecscluster"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecsclustercapacityproviders"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecsservice"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecstaskdefinition"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/securitygroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/servicediscoveryprivatednsnamespace"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/vpcsecuritygroupegressrule"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/fargate"
	"prefect-worker-ecs/constructs/network"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// SecurityGroupName is the name of the worker's security group in a VPC of the program's own.
const SecurityGroupName = "prefect_worker_sg"

// Config says which worker New builds.
type Config struct {
	Cluster  config.Cluster
	Worker   config.Worker
	WorkPool config.WorkPool

	// Runtime is what the worker's image holds.
	Runtime config.Runtime

	// PipPackages are installed when the container starts.
	PipPackages []string

	// Account is where the worker runs.
	Account iam.Account

	// APIURL is the URL of the Prefect API, a Terraform reference.
	APIURL string

	// APIPort is the TCP port of the Prefect API, to which the worker may connect beside
	// 443.
	APIPort int

	// API builds the Prefect server of the stack itself, with the way to it, and returns what
	// must run before the worker. Nil: the API is elsewhere.
	API func(*ECSWorker) []cdktf.ITerraformDependable

	// Requirements are conditions for the task definition, checked by Terraform.
	Requirements *cdktf.TerraformResourceLifecycle

	// Credential is what the worker proves itself by to the Prefect API.
	Credential Credential

	// LogGroup is the name of the worker's log group.
	LogGroup string

	// VPCID and SubnetIDs are where the tasks run.
	VPCID     string
	SubnetIDs []string

	// PublicIP gives the tasks public addresses, which they need in public subnets.
	PublicIP bool

	// SecurityGroup is the name of the worker's own group, and SecurityGroupIDs are further
	// groups of its tasks.
	SecurityGroup    string
	SecurityGroupIDs []string

	// Egress are further rules of the worker's group.
	Egress []config.Egress

	// Endpoints guards the interface endpoints of the VPC. Nil: the program made none.
	Endpoints *tf.Fixed[securitygroup.SecurityGroup]

	// Proxy are the environment variables of a proxy, and ProxyPort its port. Empty: none.
	Proxy     map[string]string
	ProxyPort int

	// Spot says that the cluster has tasks on Fargate Spot, the worker's or those of flow runs.
	Spot bool

	// ExecutionRoleARN and TaskRoleARN are the roles of the task.
	ExecutionRoleARN, TaskRoleARN string

	// EventQueue is the name of the queue that tells the worker of an ecs pool what
	// became of the tasks of its flow runs. Empty: none.
	EventQueue string

	// DependsOn must exist before a task can start, and may go only after the service:
	// the route to the internet, the roles' policies, the key.
	DependsOn []cdktf.ITerraformDependable
}

// Credential is what the worker proves itself by to the Prefect API.
type Credential struct {
	// Variable is the environment variable that Prefect's client reads. Empty: the API
	// asks for no credential.
	Variable string
	// ValueFrom is where ECS reads it: a secret's ARN, with a JSON key or not.
	ValueFrom string
	// Version is its number. A new one replaces the tasks.
	Version int
}

// ECSWorker is what New built and the outputs speak of.
type ECSWorker struct {
	Cluster Cluster
	// NamespaceID is the id of the cluster's namespace. Empty: there is none.
	NamespaceID    string
	Service        tf.Fixed[ecsservice.EcsService]
	TaskDefinition tf.Fixed[ecstaskdefinition.EcsTaskDefinition]
	SecurityGroup  tf.Fixed[securitygroup.SecurityGroup]

	// SecurityGroupName is the name of the group.
	SecurityGroupName string
}

// Cluster is the cluster of the services.
type Cluster struct{ ID, ARN, Name string }

// New builds the cluster, its namespace, the task definition and the service.
func New(scope constructs.Construct, id string, cfg Config) *ECSWorker {
	scope = constructs.NewConstruct(scope, &id)

	worker := &ECSWorker{Cluster: newCluster(scope, cfg), SecurityGroupName: cfg.SecurityGroup}
	if cfg.Cluster.Namespaced() {
		namespace := tf.Fix(servicediscoveryprivatednsnamespace.NewServiceDiscoveryPrivateDnsNamespace(scope, jsii.String("namespace"), &servicediscoveryprivatednsnamespace.ServiceDiscoveryPrivateDnsNamespaceConfig{
			Name:        &cfg.Cluster.Namespace,
			Description: jsii.String("Names of services in the VPC of the Prefect worker"),
			Vpc:         &cfg.VPCID,
		}), "aws_service_discovery_private_dns_namespace.main")
		worker.NamespaceID = *tf.ID(namespace)
	}

	group, rules := newSecurityGroup(scope, cfg)
	worker.SecurityGroup = group
	worker.TaskDefinition = fargate.NewTaskDefinition(scope, fargate.Task{
		Address:             "worker",
		Family:              cfg.Worker.ServiceName,
		CPU:                 cfg.Worker.CPU,
		MemoryMiB:           cfg.Worker.MemoryMiB,
		EphemeralStorageGiB: cfg.Worker.EphemeralStorageGiB,
		Architecture:        cfg.Worker.Architecture,
		ExecutionRoleARN:    cfg.ExecutionRoleARN,
		TaskRoleARN:         cfg.TaskRoleARN,
		Container:           newContainer(cfg),
		Requirements:        cfg.Requirements,
	})

	if cfg.EventQueue != "" {
		taskEvents(scope, cfg, worker.Cluster.ARN)
	}
	dependsOn := append(rules, cfg.DependsOn...)
	if cfg.API != nil {
		dependsOn = append(dependsOn, cfg.API(worker)...)
	}
	worker.Service = newService(scope, cfg, worker, dependsOn)
	return worker
}

// newCluster builds the cluster, or takes one that exists.
func newCluster(scope constructs.Construct, cfg Config) Cluster {
	name := cfg.Cluster.Name
	if cfg.Cluster.Existing {
		tf.Fix(dataawsecsclusters.NewDataAwsEcsClusters(scope, jsii.String("existing-clusters"), &dataawsecsclusters.DataAwsEcsClustersConfig{
			Lifecycle: tf.Ensure(tf.Rule{
				Condition: fmt.Sprintf(`anytrue([for arn in self.cluster_arns : endswith(arn, ":cluster/%s")])`, name),
				Message:   fmt.Sprintf("There is no ECS cluster %s in this account and region. Name one that exists in cluster.name, or remove cluster.existing.", name),
			}),
		}), "data.aws_ecs_clusters.existing")
		arn := cfg.Account.Of("ecs", "cluster/"+name)
		return Cluster{ID: arn, ARN: arn, Name: name}
	}
	insights := "disabled"
	if cfg.Cluster.ContainerInsights {
		insights = "enabled"
	}
	cluster := tf.Fix(ecscluster.NewEcsCluster(scope, jsii.String("cluster"), &ecscluster.EcsClusterConfig{
		Name: &name,
		Setting: []*ecscluster.EcsClusterSetting{{
			Name:  jsii.String("containerInsights"),
			Value: &insights,
		}},
	}), "aws_ecs_cluster.main")
	return Cluster{ID: *tf.ID(cluster), ARN: *tf.ARN(cluster), Name: *tf.Name(cluster)}
}

// newSecurityGroup lets nothing in, not even the health check, which runs inside the
// container; and out only HTTPS and the port of the Prefect API. DNS goes to the VPC's
// resolver, which security groups do not filter. It returns the group and its rules.
func newSecurityGroup(scope constructs.Construct, cfg Config) (tf.Fixed[securitygroup.SecurityGroup], []cdktf.ITerraformDependable) {
	group := tf.Fix(securitygroup.NewSecurityGroup(scope, jsii.String("security-group"), &securitygroup.SecurityGroupConfig{
		Name:        &cfg.SecurityGroup,
		Description: jsii.String("Prefect worker: nothing in, HTTPS and the Prefect API out"),
		VpcId:       &cfg.VPCID,
		Tags:        tf.NameTag(cfg.SecurityGroup),
	}), "aws_security_group."+SecurityGroupName)

	rules := []cdktf.ITerraformDependable{fargate.Egress(scope, group, "https", "Prefect Cloud, the image registry and the APIs of AWS", 443, nil, &cfg.SecurityGroup)}
	if cfg.APIPort != 443 && cfg.API == nil {
		rules = append(rules, fargate.Egress(scope, group, "prefect_api", "Self-hosted Prefect API", cfg.APIPort, nil, &cfg.SecurityGroup))
	}
	if port := cfg.ProxyPort; port != 0 && port != 443 && port != cfg.APIPort {
		rules = append(rules, fargate.Egress(scope, group, "proxy", "HTTP proxy", port, nil, &cfg.SecurityGroup))
	}
	for _, r := range cfg.Egress {
		rules = append(rules, tf.Fix(vpcsecuritygroupegressrule.NewVpcSecurityGroupEgressRule(scope, jsii.String("egress-"+r.Address()), &vpcsecuritygroupegressrule.VpcSecurityGroupEgressRuleConfig{
			SecurityGroupId:           tf.ID(group),
			Description:               jsii.String(tf.Literal(r.Description)),
			IpProtocol:                jsii.String(string(r.Protocol)),
			FromPort:                  jsii.Number(r.FromPort),
			ToPort:                    jsii.Number(r.ToPort),
			CidrIpv4:                  tf.Optional(r.CIDR),
			PrefixListId:              tf.Optional(r.PrefixListID),
			ReferencedSecurityGroupId: tf.Optional(r.SecurityGroupID),
			Tags:                      tf.NameTag(cfg.SecurityGroup),
		}), "aws_vpc_security_group_egress_rule."+r.Address()).Element)
	}
	if cfg.Endpoints != nil {
		rules = append(rules, fargate.Ingress(scope, *cfg.Endpoints, "endpoints_worker", "The worker and its flows", 443, group, jsii.String(network.EndpointsSecurityGroup)))
	}
	return group, rules
}

// newService builds the service that runs the task of the worker in its cluster.
func newService(scope constructs.Construct, cfg Config, worker *ECSWorker, dependsOn []cdktf.ITerraformDependable) tf.Fixed[ecsservice.EcsService] {
	// The new task must be healthy before the old one stops.
	groups := append([]*string{tf.ID(worker.SecurityGroup)}, *jsii.Strings(cfg.SecurityGroupIDs...)...)
	service := fargate.NewService(cfg.Worker.ServiceName, &worker.Cluster.ID, tf.ARN(worker.TaskDefinition), cfg.Worker.DesiredCount,
		fargate.Placement{SubnetIDs: cfg.SubnetIDs, SecurityGroupIDs: groups, PublicIP: cfg.PublicIP}, fargate.Rollout{Least: 100, Most: 200})
	if cfg.Spot && !cfg.Cluster.Existing { // which others use too
		providers := tf.Fix(ecsclustercapacityproviders.NewEcsClusterCapacityProviders(scope, jsii.String("capacity-providers"), &ecsclustercapacityproviders.EcsClusterCapacityProvidersConfig{
			ClusterName:       &worker.Cluster.Name,
			CapacityProviders: jsii.Strings("FARGATE", "FARGATE_SPOT"),
		}), "aws_ecs_cluster_capacity_providers.main")
		dependsOn = append(dependsOn, providers.Element)
	}
	if cfg.Worker.Spot {
		service.LaunchType = nil
		var strategy []*ecsservice.EcsServiceCapacityProviderStrategy
		if base, weight := cfg.Worker.OnDemandBase, cfg.Worker.OnDemandWeight; base+weight > 0 {
			strategy = append(strategy, &ecsservice.EcsServiceCapacityProviderStrategy{CapacityProvider: jsii.String("FARGATE"), Base: jsii.Number(base), Weight: jsii.Number(weight)})
		}
		service.CapacityProviderStrategy = append(strategy, &ecsservice.EcsServiceCapacityProviderStrategy{CapacityProvider: jsii.String("FARGATE_SPOT"), Weight: jsii.Number(1)})
	}
	if cfg.Worker.ExecuteCommand {
		service.EnableExecuteCommand = jsii.Bool(true)
	}
	service.DependsOn = &dependsOn
	return tf.Fix(ecsservice.NewEcsService(scope, jsii.String("service"), service), "aws_ecs_service.worker")
}

// workerName is a shell expression for a name that no other task has. Prefect knows a
// worker by its name: two tasks with one name, as in each rolling deployment, would
// be one worker. On Fargate the last part of the metadata address is the task's id
// and, after a hyphen, a number for the container.
func workerName(service string) string {
	return fmt.Sprintf(`task=${ECS_CONTAINER_METADATA_URI_V4##*/}; exec "$@" --name "%s-${task%%%%-*}"`, service)
}
