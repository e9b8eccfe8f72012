// Package ecsworker builds the Fargate service that keeps the Prefect worker running, and the
// security group of the worker and its flow tasks. It is tested by TestEachOption in main_test.go.
package ecsworker

import (
	"fmt"
	"slices"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecsservice"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecstaskdefinition"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/cluster"
	"prefect-worker-ecs/constructs/fargate"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// GroupConfig says which security group NewGroup builds.
type GroupConfig struct {
	// Name of the group.
	Name string

	// VPCID is its VPC.
	VPCID string

	// APIPort is the TCP port of the Prefect API. 443 is open anyway; 0: the API is the stack's own
	// server, which opens the connection to itself.
	APIPort int

	// ProxyPort is the port of an HTTP proxy. 0: none.
	ProxyPort int

	// Egress are further rules.
	Egress []config.Egress

	// Endpoints is the group of the VPC's interface endpoints. Nil: the program made none.
	Endpoints *block.SecurityGroup
}

// Group is the security group of the worker and its flow tasks.
type Group struct {
	block.SecurityGroup
	// Rules must exist before a task of the group starts.
	Rules []cdktf.ITerraformDependable
}

// NewGroup builds the group. It allows no ingress, not even for the health check, which runs inside
// the container; and as egress only HTTPS, the port of the Prefect API and what is configured. DNS
// goes to the VPC's resolver, which security groups do not filter.
func NewGroup(scope constructs.Construct, id string, cfg GroupConfig) *Group {
	scope = constructs.NewConstruct(scope, &id)
	g := &Group{SecurityGroup: block.NewSecurityGroup(scope, "security-group", "prefect_worker_sg", cfg.Name, "Prefect worker: nothing in, HTTPS and the Prefect API out", cfg.VPCID)}
	g.Rules = append(g.Rules, g.Egress(scope, "https", "Prefect Cloud, the image registry and the APIs of AWS", 443, nil))
	if cfg.APIPort != 443 && cfg.APIPort != 0 {
		g.Rules = append(g.Rules, g.Egress(scope, "prefect_api", "Self-hosted Prefect API", cfg.APIPort, nil))
	}
	if port := cfg.ProxyPort; port != 0 && port != 443 && port != cfg.APIPort {
		g.Rules = append(g.Rules, g.Egress(scope, "proxy", "HTTP proxy", port, nil))
	}
	for _, r := range cfg.Egress {
		g.Rules = append(g.Rules, g.EgressTo(scope, r))
	}
	if cfg.Endpoints != nil {
		g.Rules = append(g.Rules, cfg.Endpoints.Ingress(scope, "endpoints_worker", "The worker and its flows", 443, g.SecurityGroup))
	}
	return g
}

// Config says which worker New builds.
type Config struct {
	Worker   config.Worker
	WorkPool config.WorkPool

	// Cluster is where the service runs, and Group is its security group.
	Cluster *cluster.Cluster
	Group   *Group

	// CreatePool lets the worker create its work pool: an in-stack server has none
	// before.
	CreatePool bool

	// Runtime is what the worker's image holds.
	Runtime config.Runtime

	// PipPackages are installed when the container starts.
	PipPackages []string

	// Account is where the worker runs.
	Account iam.Account

	// APIURL is the URL of the Prefect API, a Terraform reference.
	APIURL string

	// Requirements are conditions for the task definition, checked by Terraform.
	Requirements *cdktf.TerraformResourceLifecycle

	// Credential is the worker's for the Prefect API.
	Credential Credential

	// LogGroup is the name of the worker's log group.
	LogGroup string

	// SubnetIDs are where the tasks run.
	SubnetIDs []string

	// PublicIP gives the tasks public addresses, which they need in public subnets.
	PublicIP bool

	// SecurityGroupIDs are further groups of the tasks.
	SecurityGroupIDs []string

	// Proxy are the environment variables of a proxy. Empty: none.
	Proxy map[string]string

	// ExecutionRoleARN and TaskRoleARN are the roles of the task.
	ExecutionRoleARN, TaskRoleARN string

	// EventQueue is the name of the queue with the state changes of the tasks of
	// flow runs, for the worker of an ecs pool. Empty: none.
	EventQueue string

	// DependsOn must exist before a task can start, and may go only after the service:
	// the route to the internet, the roles' policies, the key.
	DependsOn []cdktf.ITerraformDependable
}

// Credential is the worker's for the Prefect API.
type Credential struct {
	// Variable is the environment variable that Prefect's client reads. Empty: the API
	// needs none.
	Variable string
	// ValueFrom is the secret's ARN, with or without a JSON key, as ECS takes it.
	ValueFrom string
	// Version is its version number. A new one replaces the tasks.
	Version int
}

// ECSWorker is what New built.
type ECSWorker struct {
	Service        tf.Addressed[ecsservice.EcsService]
	TaskDefinition tf.Addressed[ecstaskdefinition.EcsTaskDefinition]
}

// New builds the task definition and the service.
func New(scope constructs.Construct, id string, cfg Config) *ECSWorker {
	scope = constructs.NewConstruct(scope, &id)
	worker := &ECSWorker{TaskDefinition: fargate.NewTaskDefinition(scope, fargate.Task{
		Address:             "worker",
		Family:              cfg.Worker.Family(),
		CPU:                 cfg.Worker.CPU,
		MemoryMiB:           cfg.Worker.MemoryMiB,
		EphemeralStorageGiB: cfg.Worker.EphemeralStorageGiB,
		Architecture:        cfg.Worker.Architecture,
		ExecutionRoleARN:    cfg.ExecutionRoleARN,
		TaskRoleARN:         cfg.TaskRoleARN,
		Container:           newContainer(cfg),
		Requirements:        cfg.Requirements,
	})}
	if cfg.EventQueue != "" {
		taskEvents(scope, cfg)
	}
	worker.Service = newService(scope, cfg, worker)
	return worker
}

func newService(scope constructs.Construct, cfg Config, worker *ECSWorker) tf.Addressed[ecsservice.EcsService] {
	// The new task must be healthy before the old one stops.
	groups := append([]*string{cfg.Group.ID()}, *jsii.Strings(cfg.SecurityGroupIDs...)...)
	service := fargate.NewService(cfg.Worker.ServiceName, &cfg.Cluster.ID, tf.ARN(worker.TaskDefinition), cfg.Worker.DesiredCount,
		fargate.Placement{SubnetIDs: cfg.SubnetIDs, SecurityGroupIDs: groups, PublicIP: cfg.PublicIP}, fargate.DeploymentPercent{MinHealthy: 100, Max: 200})
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
	// A task whose flow runs are protected stays until they have ended, hours perhaps; the deployment is
	// steady only then.
	service.WaitForSteadyState = jsii.Bool(!cfg.Worker.ProtectRuns)
	if cfg.Worker.Scales() {
		service.DesiredCount = jsii.Number(cfg.Worker.Scaling.Min)
		service.Lifecycle = &cdktf.TerraformResourceLifecycle{IgnoreChanges: jsii.Strings("desired_count")}
	}
	dependsOn := slices.Concat(cfg.Group.Rules, cfg.DependsOn, cfg.Cluster.Ready)
	service.DependsOn = &dependsOn
	return tf.WithAddress(ecsservice.NewEcsService(scope, jsii.String("service"), service), "aws_ecs_service.worker")
}

// workerName returns a shell expression for a name that no other task has. Prefect knows a
// worker by its name: two tasks with one name, as in each rolling deployment, would
// be one worker. On Fargate the last part of the metadata address is the task's id
// and, after a hyphen, a number for the container.
func workerName(service string) string {
	return fmt.Sprintf(`task=${ECS_CONTAINER_METADATA_URI_V4##*/}; exec "$@" --name "%s-${task%%%%-*}"`, service)
}
