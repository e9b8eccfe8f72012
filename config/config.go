// Package config is everything a user can set for a deployment: the types, the
// defaults, the strict reading of config/environments/*.yaml, and the rules that
// refuse a deployment which could not work.
//
// It is plain Go without Terraform or CDKTF, so that every rule is
// checked before a single construct exists.
//
// What can be data about an option stands beside its field: the doc comment is its
// meaning, the jsonschema tag its default, allowed values, range and format, and
// jsonschema_extras its unit, its source, a default in words where it is calculated, the
// formats of the names and values of a map, and the Terraform variable that may override it. Options reads them; defaults, validation,
// docs/configuration.md and the schema for editors come from there.
package config

import (
	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"
)

// Environment is one deployment: one YAML file, one stack, one set of AWS
// resources. An empty file is the deployment of the original design.
type Environment struct {
	// Name is the file's name without ".yaml". It is the name of the stack, of its
	// state file and of the Environment tag.
	Name string `yaml:"-"`

	// Region is the AWS region, the default of the Terraform variable aws_region.
	Region string `yaml:"region" jsonschema:"default=us-east-1,format=region" jsonschema_extras:"x-variable=aws_region"`

	// AccountID is the only AWS account that may be deployed to.
	AccountID string `yaml:"account_id" jsonschema:"format=account-id" jsonschema_extras:"x-default=the account of the credentials"`

	// NameSuffix is appended to each default name that must be unique in an account
	// (cluster, roles, secret, log groups), so that a second environment needs one line
	// and not six.
	NameSuffix string `yaml:"name_suffix" jsonschema:"format=name-suffix"`

	// Tags are put on every resource, over the three default ones.
	Tags map[string]string `yaml:"tags" jsonschema_extras:"x-default=Project=prefect-worker Environment={environment} ManagedBy=cdktf,x-names=tag-key,x-values=tag-value"`

	// AssumeRoleARN is the role that Terraform and workerctl assume, for a deployment into
	// another account than that of the credentials.
	AssumeRoleARN string `yaml:"assume_role_arn" jsonschema:"format=role-arn"`

	// Protect makes Terraform refuse to destroy or to replace what keeps data or others depend
	// on: the network, the secrets, the log group and the database.
	Protect bool `yaml:"protect" jsonschema:"default=false"`

	// LocalRun marks an environment that `workerctl local` has written for the emulator on
	// this machine. Only there may the Prefect API be on the loopback interface, which a task
	// on Fargate could never reach. It is refused in any other place.
	LocalRun bool `yaml:"local_run" jsonschema:"default=false"`

	Network  Network  `yaml:"network"`
	Cluster  Cluster  `yaml:"cluster"`
	Worker   Worker   `yaml:"worker"`
	WorkPool WorkPool `yaml:"work_pool"`
	Prefect  Prefect  `yaml:"prefect"`
	Server   Server   `yaml:"server"`
	Secret   Secret   `yaml:"secret"`
	Logs     Logs     `yaml:"logs"`
	IAM      IAM      `yaml:"iam"`

	Monitoring Monitoring `yaml:"monitoring"`

	Backend Backend `yaml:"backend"`

	// Imports are the ids of resources that exist and that Terraform takes over, by their
	// addresses. They are no option: workerctl adopt writes them into a file of their own.
	Imports map[string]string `yaml:"-"`

	source source
}

// Network is the VPC that the worker lives in.
type Network struct {
	// Name is the Name tag of the VPC, its subnets and its gateways, and part of the names
	// of the flow logs' group and role.
	Name string `yaml:"name" jsonschema:"default=prefect-ecs{name_suffix},format=network-name"`

	// VPCCIDR is the address range of the VPC, from /16 to /28.
	VPCCIDR string `yaml:"vpc_cidr" jsonschema:"default=10.0.0.0/16,format=cidr"`

	// PublicSubnetCIDRs are the ranges of the public subnets, each in another availability
	// zone.
	PublicSubnetCIDRs []string `yaml:"public_subnet_cidrs" jsonschema:"minItems=1,maxItems=6,format=cidr" jsonschema_extras:"x-default=the second to fourth /24 of the VPC"`

	// PrivateSubnetCIDRs are the ranges of the private subnets, as many as there are public
	// ones.
	PrivateSubnetCIDRs []string `yaml:"private_subnet_cidrs" jsonschema:"minItems=1,maxItems=6,format=cidr" jsonschema_extras:"x-default=the fifth to seventh /24 of the VPC"`

	// MapPublicIPOnLaunch gives public addresses to whatever else is launched in the public subnets. The
	// worker does not need it.
	MapPublicIPOnLaunch bool `yaml:"map_public_ip_on_launch" jsonschema:"default=false"`

	// AvailabilityZones are the zones of the subnets, in their order.
	AvailabilityZones []string `yaml:"availability_zones" jsonschema:"uniqueItems=true,format=zone" jsonschema_extras:"x-default=the first zones of the region that have Fargate"`

	// NAT is how the worker reaches the internet: from private subnets through one NAT gateway
	// (single), or through one in each availability zone, so that the loss of one does not cut
	// off the others (per_az); or from the public subnets with a public address of its own
	// (none), to which nothing can connect either. With none and network.endpoints it does not
	// reach the internet at all. A gateway costs about 32 USD a month before traffic, and takes an Elastic IP
	// address, of which an account has five in a region unless its quota is raised.
	NAT NATMode `yaml:"nat" jsonschema:"default=single,enum=single,enum=per_az,enum=none"`

	// FlowLogs says which traffic is recorded in the log group /vpc/NAME, where NAME is
	// network.name.
	FlowLogs FlowLogs `yaml:"flow_logs" jsonschema:"default=all,enum=all,enum=reject,enum=none"`

	// S3Endpoint adds the gateway endpoint of S3 to all route tables: free, and it keeps the
	// layers of images in ECR off the NAT gateway.
	S3Endpoint bool `yaml:"s3_endpoint" jsonschema:"default=true"`

	// Endpoints are the services of AWS that are reached through an interface endpoint, at
	// about 7 USD a month for each of them in each zone. With nat: none the worker then runs in
	// the private subnets, and has no other internet egress. In a VPC that exists they are those that
	// are there instead of internet egress.
	Endpoints []Endpoint `yaml:"endpoints" jsonschema:"uniqueItems=true,enum=ec2,enum=ecr.api,enum=ecr.dkr,enum=ecs,enum=logs,enum=secretsmanager,enum=sqs,enum=ssm,enum=ssmmessages,enum=sts" jsonschema_extras:"x-source=https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html"`

	// Egress are further ways out of the worker's security group, which its flow tasks share,
	// beside port 443 and that of the Prefect API.
	Egress []Egress `yaml:"egress" jsonschema:"maxItems=50" jsonschema_extras:"x-one-of=cidr prefix_list_id security_group_id,x-source=https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html"`

	// SecurityGroupName is the name of the worker's security group, which its flow tasks share.
	SecurityGroupName string `yaml:"security_group_name" jsonschema:"format=security-group-name" jsonschema_extras:"x-default=prefect_worker_sg and in a VPC that exists prefect_worker_sg-{environment}"`

	// SecurityGroupIDs are further security groups of the worker's tasks, and of flow tasks.
	SecurityGroupIDs []string `yaml:"security_group_ids" jsonschema:"uniqueItems=true,maxItems=4,format=security-group-id" jsonschema_extras:"x-source=https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html"`

	// Proxy is the HTTP proxy through which worker, flow tasks and the in-stack server reach
	// the internet. Its port is opened. ECS itself takes no proxy for images, logs and secrets.
	Proxy string `yaml:"proxy" jsonschema:"format=proxy-url"`

	// NoProxy are hosts, domains and addresses that are reached without the proxy, beside
	// those of ECS itself, the endpoints and the in-stack server.
	NoProxy []string `yaml:"no_proxy" jsonschema:"uniqueItems=true,format=no-proxy"`

	Existing ExistingNetwork `yaml:"existing"`
}

// ExistingNetwork is a VPC that exists, in which nothing of the network is made.
type ExistingNetwork struct {
	// VPCID is the VPC's id.
	VPCID string `yaml:"vpc_id" jsonschema:"format=vpc-id"`

	// SubnetIDs are the subnets in which tasks run, each in another availability zone.
	SubnetIDs []string `yaml:"subnet_ids" jsonschema:"uniqueItems=true,maxItems=16,format=subnet-id" jsonschema_extras:"x-source=https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AwsVpcConfiguration.html"`

	// Public says that the subnets lead to an internet gateway: tasks there get public
	// addresses.
	Public bool `yaml:"public" jsonschema:"default=false"`
}

// Endpoint is a service of AWS, as the name of its interface endpoint ends.
type Endpoint string

// Egress is a rule that allows connections: to ports of a range of addresses, of a prefix list or of the members of
// another security group.
type Egress struct {
	// Description says, in AWS as well, what is reached through it.
	Description string `yaml:"description" jsonschema:"required,format=rule-description"`

	// Protocol is the transport protocol.
	Protocol Protocol `yaml:"protocol" jsonschema:"default=tcp,enum=tcp,enum=udp"`

	// FromPort is the first port.
	FromPort int `yaml:"from_port" jsonschema:"required,minimum=1,maximum=65535"`

	// ToPort is the last port.
	ToPort int `yaml:"to_port" jsonschema:"minimum=1,maximum=65535" jsonschema_extras:"x-default=from_port"`

	// CIDR is the range of IPv4 addresses that is reached.
	CIDR string `yaml:"cidr" jsonschema:"format=cidr"`

	// PrefixListID is the prefix list that is reached.
	PrefixListID string `yaml:"prefix_list_id" jsonschema:"format=prefix-list-id"`

	// SecurityGroupID is the security group whose members are reached.
	SecurityGroupID string `yaml:"security_group_id" jsonschema:"format=security-group-id"`
}

// Protocol is a transport protocol.
type Protocol string

// NATMode is how the worker reaches the internet.
type NATMode string

// The modes of NAT. A NAT gateway costs about 32 USD a month before traffic.
const (
	// NATSingle is one NAT gateway in the first public subnet.
	NATSingle NATMode = "single"
	// NATPerAZ is one NAT gateway in each public subnet, so that the loss of one
	// availability zone does not cut off the others.
	NATPerAZ NATMode = "per_az"
	// NATNone is no NAT gateway: the worker runs in the public subnets, or with endpoints in
	// the private ones.
	NATNone NATMode = "none"
)

// FlowLogs says which traffic of the VPC is recorded.
type FlowLogs string

// The kinds of traffic that flow logs record.
const (
	FlowLogsAll    FlowLogs = "all"
	FlowLogsReject FlowLogs = "reject"
	FlowLogsNone   FlowLogs = "none"
)

// Cluster is the ECS cluster and its private DNS namespace.
type Cluster struct {
	// Name is the name of the cluster.
	Name string `yaml:"name" jsonschema:"default=prefect-cluster{name_suffix},format=ecs-name"`

	// Existing says that a cluster of that name exists, of which nothing is changed. For tasks
	// on Spot it must have the capacity provider FARGATE_SPOT.
	Existing bool `yaml:"existing" jsonschema:"default=false"`

	// Namespace is the Cloud Map private DNS namespace in the VPC; none makes none.
	Namespace string `yaml:"namespace" jsonschema:"default=default.prefect.local,format=dns-name"`

	// ContainerInsights collects CPU and memory of tasks in CloudWatch, at the price of
	// custom metrics.
	ContainerInsights bool `yaml:"container_insights" jsonschema:"default=true"`
}

// noNamespace is the value of Namespace that makes none.
const noNamespace = "none"

// Namespaced reports whether there is a namespace.
func (c Cluster) Namespaced() bool { return c.Namespace != noNamespace }

// Worker is the ECS service and the container that it runs.
type Worker struct {
	// ServiceName is the name of the ECS service and the first part of the worker's name in
	// Prefect.
	ServiceName string `yaml:"service_name" jsonschema:"default={environment}-worker,format=ecs-name"`

	// TaskFamily is the family of the worker's task definition.
	TaskFamily string `yaml:"task_family" jsonschema:"format=ecs-name" jsonschema_extras:"x-default=worker.service_name"`

	// ContainerName is the name of the container.
	ContainerName string `yaml:"container_name" jsonschema:"default=prefect-worker,format=ecs-name"`

	// Image is the container image, with a tag that names a version.
	Image string `yaml:"image" jsonschema:"default=prefecthq/prefect:2-latest,format=image"`

	// PrefectVersion is the version of Prefect inside the image. Needed for an image whose
	// tag does not say it.
	PrefectVersion string `yaml:"prefect_version" jsonschema:"format=version" jsonschema_extras:"x-default=read from the tag of the image"`

	// PrefectAWSIncluded says that an image of your own contains prefect-aws, so that an ecs
	// pool needs no installation at start.
	PrefectAWSIncluded bool `yaml:"prefect_aws_included" jsonschema:"default=false"`

	// CPU is the task's share of processors; 1024 is one vCPU.
	CPU int `yaml:"cpu" jsonschema:"default=256,enum=256,enum=512,enum=1024,enum=2048,enum=4096,enum=8192,enum=16384" jsonschema_extras:"x-unit=1/1024 vCPU,x-source=https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"`

	// MemoryMiB is the task's memory. Which values Fargate takes depends on cpu.
	MemoryMiB int `yaml:"memory" jsonschema:"default=512,minimum=512,maximum=122880" jsonschema_extras:"x-unit=MiB,x-source=https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"`

	// EphemeralStorageGiB is the size of the task's disk, for the image and for what flow runs
	// write.
	EphemeralStorageGiB int `yaml:"ephemeral_storage" jsonschema:"minimum=21,maximum=200" jsonschema_extras:"x-default=Fargate's own 20 GiB,x-unit=GiB,x-source=https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-storage.html"`

	// Architecture is the processor that the task runs on; arm64 is about 20 % cheaper.
	Architecture Architecture `yaml:"architecture" jsonschema:"default=x86_64,enum=x86_64,enum=arm64"`

	// DesiredCount is the number of worker tasks; 0 pauses the worker.
	DesiredCount int `yaml:"desired_count" jsonschema:"default=1,minimum=0,maximum=100" jsonschema_extras:"x-unit=tasks"`

	// ProtectRuns protects a task that has flow runs from scale-in and deployments, for a process
	// pool: ECS stops it when its runs have ended. The container gets a second process for it, which
	// needs about 20 MiB, and the task role two permissions.
	ProtectRuns bool `yaml:"protect_runs" jsonschema_extras:"x-default=true with worker.scaling and false without,x-source=https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html"`

	// Spot runs the worker on Fargate Spot: about 70 % cheaper, and stopped by AWS with two
	// minutes' notice when capacity is short.
	Spot bool `yaml:"spot" jsonschema:"default=false"`

	// OnDemandBase is how many of the tasks run on demand before the others run on Spot.
	OnDemandBase int `yaml:"on_demand_base" jsonschema:"default=0,minimum=0,maximum=100" jsonschema_extras:"x-unit=tasks,x-source=https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProviderStrategyItem.html"`

	// OnDemandWeight is how many of the others run on demand for each one on Spot.
	OnDemandWeight int `yaml:"on_demand_weight" jsonschema:"default=0,minimum=0,maximum=100" jsonschema_extras:"x-unit=tasks,x-source=https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProviderStrategyItem.html"`

	// ExecuteCommand lets people with the right ecs:ExecuteCommand into the container (workerctl
	// exec), where the API key is in the environment.
	ExecuteCommand bool `yaml:"execute_command" jsonschema:"default=false"`

	// ConcurrencyLimit is the number of flow runs one worker task takes at a time. In a
	// process pool each run needs memory of this task.
	ConcurrencyLimit int `yaml:"concurrency_limit" jsonschema:"minimum=0,maximum=1000" jsonschema_extras:"x-default=1 for a process pool and no limit for an ecs pool,x-unit=flow runs"`

	// ExtraPipPackages are installed each time the container starts, through the image's
	// EXTRA_PIP_PACKAGES. For an ecs pool the program adds the release of prefect-aws that
	// fits the image.
	ExtraPipPackages []string `yaml:"extra_pip_packages" jsonschema:"format=pip-requirement"`

	// Environment are further environment variables of the container and so of the flow runs of a
	// process pool, in plaintext. Flow tasks of an ecs pool get those that are settings of Prefect
	// (PREFECT_...), and work_pool.job.environment.
	Environment map[string]string `yaml:"environment" jsonschema_extras:"x-names=variable-name"`

	// Secrets are environment variables whose values come from Secrets Manager or from the
	// Parameter Store: the variable's name and the ARN, that of a secret with a JSON key and
	// a version if wanted, as in ARN:key:: . Flow tasks of an ecs pool get work_pool.job.secrets.
	Secrets map[string]string `yaml:"secrets" jsonschema_extras:"x-names=variable-name,x-values=secret-reference"`

	// RegistryCredentials is the ARN of the secret with user and password ({"username": ...,
	// "password": ...}) of a private registry other than ECR, from which the image, and by
	// default that of flow tasks, comes.
	RegistryCredentials string `yaml:"registry_credentials" jsonschema:"format=secret-arn" jsonschema_extras:"x-source=https://docs.aws.amazon.com/AmazonECS/latest/developerguide/private-auth.html"`

	// KMSKeyARNs are the customer keys that encrypt what worker.secrets, work_pool.job.secrets and
	// registry_credentials name.
	KMSKeyARNs []string `yaml:"kms_key_arns" jsonschema:"uniqueItems=true,maxItems=20,format=kms-key-arn"`

	// StopTimeoutSeconds is how long a task may finish its runs after SIGTERM before it is
	// killed.
	StopTimeoutSeconds int `yaml:"stop_timeout" jsonschema:"default=120,minimum=2,maximum=120" jsonschema_extras:"x-unit=seconds,x-source=https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html"`

	// Scaling lets the number of worker tasks follow the flow runs of a process pool.
	Scaling Scaling `yaml:"scaling"`
}

// Scaling is the range of the number of worker tasks. One that has no flow runs is stopped after ten
// minutes in which fewer were needed.
type Scaling struct {
	// Min is the number of tasks without flow runs; 0 is scale to zero.
	Min int `yaml:"min" jsonschema:"default=0,minimum=0,maximum=100" jsonschema_extras:"x-unit=tasks"`

	// Max is the greatest number of tasks. 0 turns scaling off: worker.desired_count is their number.
	Max int `yaml:"max" jsonschema:"default=0,minimum=0,maximum=100" jsonschema_extras:"x-unit=tasks"`
}

// Architecture is the processor that a Fargate task runs on.
type Architecture string

// The processors that Fargate has. ARM64 is about 20 % cheaper.
const (
	X8664 Architecture = "x86_64"
	ARM64 Architecture = "arm64"
)

// WorkPool is the Prefect work pool that the worker serves.
type WorkPool struct {
	// Name is the name of the pool.
	Name string `yaml:"name" jsonschema:"default=ecs-work-pool,format=pool-name"`

	// Type is the pool's type in Prefect: flow runs are processes inside the worker's task
	// (process) or ECS tasks of their own (ecs).
	Type PoolType `yaml:"type" jsonschema:"default=process,enum=process,enum=ecs"`

	// Queues are the work queues to serve.
	Queues []string `yaml:"queues" jsonschema:"uniqueItems=true,format=pool-name" jsonschema_extras:"x-default=all of the pool"`

	// Job is what the flow tasks of an ecs pool are started with, unless their deployment says
	// otherwise: workerctl pool apply writes it into the pool's template.
	Job Job `yaml:"job"`
}

// Job is what the flow tasks of an ecs pool are started with.
type Job struct {
	// Image is the container image of flow tasks. prefect deploy names another one for a flow
	// that has an image of its own.
	Image string `yaml:"image" jsonschema:"format=image" jsonschema_extras:"x-default=the image of the worker"`

	// CPU is a flow task's share of processors; 1024 is one vCPU.
	CPU int `yaml:"cpu" jsonschema:"default=512,enum=256,enum=512,enum=1024,enum=2048,enum=4096,enum=8192,enum=16384" jsonschema_extras:"x-unit=1/1024 vCPU,x-source=https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"`

	// MemoryMiB is a flow task's memory. Which values Fargate takes depends on cpu.
	MemoryMiB int `yaml:"memory" jsonschema:"default=1024,minimum=512,maximum=122880" jsonschema_extras:"x-unit=MiB,x-source=https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"`

	// EphemeralStorageGiB is the size of a flow task's disk.
	EphemeralStorageGiB int `yaml:"ephemeral_storage" jsonschema:"minimum=21,maximum=200" jsonschema_extras:"x-default=Fargate's own 20 GiB,x-unit=GiB,x-source=https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-storage.html"`

	// Spot runs flow tasks on Fargate Spot: about 70 % cheaper, and stopped by AWS with two
	// minutes' notice when capacity is short. The flow run then crashes.
	Spot bool `yaml:"spot" jsonschema:"default=false"`

	// Deregister removes the task definition of each flow run after it, and lets the worker do
	// so. AWS cannot limit that right to the definitions of flows.
	Deregister bool `yaml:"deregister" jsonschema:"default=false"`

	// Environment are environment variables of flow tasks, in plaintext. A deployment can add others in its
	// job variable env.
	Environment map[string]string `yaml:"environment" jsonschema_extras:"x-names=variable-name"`

	// Secrets are environment variables of flow tasks whose values come from Secrets Manager or from
	// the Parameter Store, as worker.secrets. An image that brings prefect-aws for Prefect 3 needs 0.7.11 or later.
	Secrets map[string]string `yaml:"secrets" jsonschema_extras:"x-names=variable-name,x-values=secret-reference"`

	// Variables are further variables of the template of prefect-aws and their defaults, as JSON or
	// as text.
	Variables map[string]string `yaml:"variables" jsonschema_extras:"x-names=variable-name"`
}

// PoolType is the type of a Prefect work pool.
type PoolType string

// The types of pool that a worker on Fargate can serve.
const (
	// PoolProcess runs each flow run as a process inside the worker's task.
	PoolProcess PoolType = "process"
	// PoolECS runs each flow run as an ECS task of its own.
	PoolECS PoolType = "ecs"
)

// Prefect says which Prefect API the worker talks to. All three are defaults of
// Terraform variables, which may override them at deployment.
type Prefect struct {
	// APIURL is the default of the Terraform variable prefect_api_url. Its port is opened.
	APIURL string `yaml:"api_url" jsonschema:"format=api-url" jsonschema_extras:"x-default=derived from account_id and workspace_id,x-variable=prefect_api_url"`

	// AccountID is the default of the Terraform variable prefect_account_id: the first UUID
	// in the address of the workspace in Prefect Cloud.
	AccountID string `yaml:"account_id" jsonschema:"format=uuid" jsonschema_extras:"x-variable=prefect_account_id"`

	// WorkspaceID is the default of the Terraform variable prefect_workspace_id: the second
	// UUID in the address of the workspace in Prefect Cloud.
	WorkspaceID string `yaml:"workspace_id" jsonschema:"format=uuid" jsonschema_extras:"x-variable=prefect_workspace_id"`

	// Authentication is how the worker proves to the API who it is: with an API key (api_key),
	// with user and password (basic), or not at all (none). Prefect Cloud takes only keys.
	Authentication Authentication `yaml:"authentication" jsonschema:"default=api_key,enum=api_key,enum=basic,enum=none"`
}

// Authentication is how a worker proves to the Prefect API who it is.
type Authentication string

// The ways of authentication that Prefect's client has.
const (
	// AuthAPIKey sends an API key (PREFECT_API_KEY) as bearer token: Prefect Cloud, or a
	// proxy before a server of one's own.
	AuthAPIKey Authentication = "api_key"
	// AuthBasic sends user and password (PREFECT_API_AUTH_STRING, "user:password"): a
	// server of one's own, Prefect 3, with PREFECT_SERVER_API_AUTH_STRING set.
	AuthBasic Authentication = "basic"
	// AuthNone sends nothing: a server of one's own without authentication. There is then
	// no secret, and nothing but the network guards the API.
	AuthNone Authentication = "none"
)

// Server is a Prefect server of one's own in the same stack, for accounts without a plan of
// Prefect Cloud that allows hybrid pools. Its image is the worker's.
type Server struct {
	// Enabled adds the server and its database. The worker then talks to it, and to no other
	// API: prefect.api_url and prefect.authentication follow. With Prefect 3 user and password
	// guard it; Prefect 2 has no such thing, and nothing but the security group does.
	Enabled bool `yaml:"enabled" jsonschema:"default=false"`

	// Name is the name of the server's ECS service, task definition and database, and begins
	// the names of its roles and of the secret with the database's password.
	Name string `yaml:"name" jsonschema:"default=prefect-server{name_suffix},format=server-name"`

	// CPU is the server's share of processors; 1024 is one vCPU.
	CPU int `yaml:"cpu" jsonschema:"default=512,enum=256,enum=512,enum=1024,enum=2048,enum=4096" jsonschema_extras:"x-unit=1/1024 vCPU,x-source=https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"`

	// MemoryMiB is the server's memory. Which values Fargate takes depends on cpu; an idle
	// server takes 200 MiB (Prefect 3) or 360 (Prefect 2).
	MemoryMiB int `yaml:"memory" jsonschema:"default=1024,minimum=1024,maximum=30720" jsonschema_extras:"x-unit=MiB,x-source=https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"`

	Database Database `yaml:"database"`
}

// Database is where the server keeps its data: RDS for PostgreSQL in the private subnets,
// encrypted and reached over TLS only, or one that exists.
type Database struct {
	// InstanceClass is the size of the database.
	InstanceClass string `yaml:"instance_class" jsonschema:"default=db.t4g.micro,format=instance-class"`

	// EngineVersion is the major version of PostgreSQL. RDS installs minor ones by itself.
	EngineVersion string `yaml:"engine_version" jsonschema:"default=17,enum=15,enum=16,enum=17" jsonschema_extras:"x-source=https://docs.aws.amazon.com/AmazonRDS/latest/PostgreSQLReleaseNotes/postgresql-release-calendar.html"`

	// StorageGiB is the size of its disk (gp3) at first; RDS lets it grow to five times that.
	StorageGiB int `yaml:"storage" jsonschema:"default=20,minimum=20,maximum=10000" jsonschema_extras:"x-unit=GiB,x-source=https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Storage.html"`

	// MultiAZ keeps a second copy in another zone that takes over when the first fails, at
	// twice the price.
	MultiAZ bool `yaml:"multi_az" jsonschema:"default=false"`

	// BackupDays is how long daily backups are kept, from which any second can be restored; 0
	// makes none.
	BackupDays int `yaml:"backup_days" jsonschema:"default=7,minimum=0,maximum=35" jsonschema_extras:"x-unit=days,x-source=https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.html"`

	// DeletionProtection makes AWS refuse to delete the database: before destroy it must be
	// set to false and deployed.
	DeletionProtection bool `yaml:"deletion_protection" jsonschema:"default=true"`

	// FinalSnapshot keeps a last copy when the database is deleted, under a name that no other
	// deployment has.
	FinalSnapshot bool `yaml:"final_snapshot" jsonschema:"default=true"`

	// PasswordVersion is raised by one to give the database a new password. It also restarts the
	// server, with an existing database too.
	PasswordVersion int `yaml:"password_version" jsonschema:"default=1,minimum=1,maximum=1000000"`

	// User is the user that the server connects as.
	User string `yaml:"user" jsonschema:"default=prefect,format=database-name"`

	// Name is the name of the database on its server.
	Name string `yaml:"name" jsonschema:"default=prefect,format=database-name"`

	// ExistingHost is the address of a PostgreSQL (14.9 or later) that exists. With it the
	// program makes no database.
	ExistingHost string `yaml:"existing_host" jsonschema:"format=dns-name"`

	// ExistingSecret is the ARN of the secret with the password of an existing database, with
	// a JSON key if there is one, as in ARN:password:: .
	ExistingSecret string `yaml:"existing_secret" jsonschema:"format=secret-reference"`

	// Port is the TCP port of the database.
	Port int `yaml:"port" jsonschema:"default=5432,minimum=1150,maximum=65535"`
}

// Secret is where the Prefect API key is kept.
type Secret struct {
	// Name is the name of the secret in Secrets Manager.
	Name string `yaml:"name" jsonschema:"default=prefect-api-key-new-2{name_suffix},format=secret-name"`

	// ExistingARN is a secret that exists already. With it the program creates none and the
	// variable prefect_api_key is not declared.
	ExistingARN string `yaml:"existing_arn" jsonschema:"format=secret-arn"`

	// JSONKey is the key to take when the existing secret holds a JSON object.
	JSONKey string `yaml:"json_key" jsonschema:"format=json-key" jsonschema_extras:"x-default=the whole value"`

	// Version is raised by one when the key is rotated: it makes Terraform write the
	// variable's new value and rolls the service.
	Version int `yaml:"version" jsonschema:"default=1,minimum=1,maximum=1000000"`

	// RecoveryWindowDays is how long AWS keeps a deleted secret, during which its name cannot
	// be used again: 7 to 30, or 0 to delete it at once.
	RecoveryWindowDays int `yaml:"recovery_window_days" jsonschema:"default=0,enum=0,enum=7,enum=8,enum=9,enum=10,enum=11,enum=12,enum=13,enum=14,enum=15,enum=16,enum=17,enum=18,enum=19,enum=20,enum=21,enum=22,enum=23,enum=24,enum=25,enum=26,enum=27,enum=28,enum=29,enum=30" jsonschema_extras:"x-unit=days,x-source=https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html"`

	// KMSKeyARN is the customer key that encrypts the secret.
	KMSKeyARN string `yaml:"kms_key_arn" jsonschema:"format=kms-key-arn" jsonschema_extras:"x-default=the key that AWS manages"`
}

// Logs is where the worker's output goes.
type Logs struct {
	// Group is the name of the CloudWatch log group.
	Group string `yaml:"group" jsonschema:"default=/ecs/prefect-worker{name_suffix},format=log-group"`

	// Existing says that a log group of that name exists, of which nothing is changed.
	Existing bool `yaml:"existing" jsonschema:"default=false"`

	// RetentionDays is how long logs are kept; 0 keeps them indefinitely.
	RetentionDays int `yaml:"retention_days" jsonschema:"default=30,enum=0,enum=1,enum=3,enum=5,enum=7,enum=14,enum=30,enum=60,enum=90,enum=120,enum=150,enum=180,enum=365,enum=400,enum=545,enum=731,enum=1096,enum=1827,enum=2192,enum=2557,enum=2922,enum=3288,enum=3653" jsonschema_extras:"x-unit=days,x-source=https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html"`

	// KMSKeyARN is the customer key that encrypts the log groups. Its policy must allow
	// CloudWatch Logs to use it.
	KMSKeyARN string `yaml:"kms_key_arn" jsonschema:"format=kms-key-arn" jsonschema_extras:"x-default=CloudWatch's own encryption"`
}

// IAM is the identity of the worker.
type IAM struct {
	// ExecutionRoleName is the role with which ECS starts the task: it reads the secret and
	// writes the logs.
	ExecutionRoleName string `yaml:"execution_role_name" jsonschema:"default=prefect-task-execution-role{name_suffix},format=role-name"`

	// ExecutionPolicyARNs are managed policies for the execution role beside the one that it needs. A
	// role has at most 10 unless the account's quota is raised.
	ExecutionPolicyARNs []string `yaml:"execution_policy_arns" jsonschema:"uniqueItems=true,maxItems=19,format=policy-arn" jsonschema_extras:"x-source=https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"`

	// TaskRoleName is the role of the code inside the container.
	TaskRoleName string `yaml:"task_role_name" jsonschema:"default=prefect-task-role{name_suffix},format=role-name"`

	// Path is the path of all roles, by which policies can name them together.
	Path string `yaml:"path" jsonschema:"format=role-path" jsonschema_extras:"x-default=/"`

	// PermissionsBoundaryARN is put on every role.
	PermissionsBoundaryARN string `yaml:"permissions_boundary_arn" jsonschema:"format=policy-arn"`

	// TaskPolicyARNs are managed policies for the task role, for what the flows of a process
	// pool need. A role has at most 10 unless the account's quota is raised.
	TaskPolicyARNs []string `yaml:"task_policy_arns" jsonschema:"uniqueItems=true,maxItems=20,format=policy-arn" jsonschema_extras:"x-source=https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"`

	// TaskStatements are what the flows of a process pool may do beside: an inline policy of the
	// task role.
	TaskStatements []Statement `yaml:"task_statements" jsonschema:"maxItems=50"`

	// FlowExecutionRoleName is the role with which ECS starts the flow tasks of an ecs pool: it
	// pulls their image, writes their log and reads the credential of the Prefect API, and nothing
	// else.
	FlowExecutionRoleName string `yaml:"flow_execution_role_name" jsonschema:"default=prefect-flow-execution-role{name_suffix},format=role-name"`

	// FlowRoleARNs are further roles, beside the program's own, that the worker of an ecs pool
	// may hand to flow runs.
	FlowRoleARNs []string `yaml:"flow_role_arns" jsonschema:"uniqueItems=true,format=role-arn"`

	// FlowTaskFamilies are the task-definition families, as prefixes, that the worker of an
	// ecs pool may register and run. The default are those that prefect-aws makes for the pool.
	FlowTaskFamilies []string `yaml:"flow_task_families" jsonschema:"minItems=1,uniqueItems=true,format=ecs-name" jsonschema_extras:"x-default=prefect_NAME_ where NAME is work_pool.name"`

	FlowTaskRole FlowTaskRole `yaml:"flow_task_role"`

	Existing ExistingRoles `yaml:"existing"`
}

// ExistingRoles are roles that exist and are taken as they are, instead of made. What each must
// be allowed, an output of the stack says.
type ExistingRoles struct {
	// ExecutionRole is the ARN of the role with which ECS starts the worker.
	ExecutionRole string `yaml:"execution_role" jsonschema:"format=role-arn"`

	// TaskRole is the ARN of the role of the code inside the worker's container.
	TaskRole string `yaml:"task_role" jsonschema:"format=role-arn"`

	// FlowExecutionRole is the ARN of the role with which ECS starts the flow tasks of an ecs
	// pool.
	FlowExecutionRole string `yaml:"flow_execution_role" jsonschema:"format=role-arn"`

	// FlowTaskRole is the ARN of the role of the code inside the flow tasks of an ecs pool.
	FlowTaskRole string `yaml:"flow_task_role" jsonschema:"format=role-arn"`
}

// Statement is something that a role may do. There are no statements that deny: a role may do
// nothing but what is allowed.
type Statement struct {
	// Actions are what it may call. A star may stand at the end of a name, and not for all
	// actions of a service.
	Actions []string `yaml:"actions" jsonschema:"required,minItems=1,uniqueItems=true,format=iam-action"`

	// Resources are the ARNs that it may call it on, with stars.
	Resources []string `yaml:"resources" jsonschema:"required,minItems=1,uniqueItems=true,format=iam-resource"`

	// AllResources says again that resources is "*", for actions without resource-level permissions.
	AllResources bool `yaml:"all_resources" jsonschema:"default=false"`

	// Conditions are conditions: operator, key and value, or values of which one is enough.
	Conditions map[string]map[string]Values `yaml:"conditions"`
}

// Values are the values of a condition key: in YAML a list, or one text.
type Values []string

// UnmarshalYAML reads either form.
func (v *Values) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*v = Values{node.Value}
		return nil
	}
	return node.Decode((*[]string)(v))
}

// JSONSchema returns the schema of either form.
func (Values) JSONSchema() *jsonschema.Schema {
	text := &jsonschema.Schema{Type: "string"}
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{text, {Type: "array", Items: text}}}
}

// FlowTaskRole is the role of the code inside the flow tasks of an ecs pool. It is made if it
// is given any rights; without it flows have none in AWS.
type FlowTaskRole struct {
	// Name is the role's name.
	Name string `yaml:"name" jsonschema:"default=prefect-flow-task-role{name_suffix},format=role-name"`

	// PolicyARNs are managed policies for the role, at most 10 unless the account's quota is raised.
	PolicyARNs []string `yaml:"policy_arns" jsonschema:"uniqueItems=true,maxItems=20,format=policy-arn" jsonschema_extras:"x-source=https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"`

	// Statements are what flows may do beside: an inline policy of the role.
	Statements []Statement `yaml:"statements" jsonschema:"maxItems=50"`
}

// Enabled reports whether the role is given permissions, and so made.
func (r FlowTaskRole) Enabled() bool { return len(r.PolicyARNs) > 0 || len(r.Statements) > 0 }

// Monitoring notifies people that the worker is silent or its flow runs are not taken:
// alarms, a dashboard, and a small Lambda function, the probe, that reads the Prefect API each
// minute what AWS cannot see.
type Monitoring struct {
	// Enabled adds the probe, the alarms and the dashboard, for about 6 USD a month.
	Enabled bool `yaml:"enabled" jsonschema:"default=false"`

	// Emails are the addresses that alarms are sent to. Each gets a message with a link that
	// must be clicked first.
	Emails []string `yaml:"emails" jsonschema:"uniqueItems=true,maxItems=20,format=e-mail"`

	// TopicARN is an SNS topic that exists and that alarms are sent to, for Slack, PagerDuty
	// and the like. Its policy must let cloudwatch.amazonaws.com and events.amazonaws.com
	// publish. With it the program makes no topic.
	TopicARN string `yaml:"topic_arn" jsonschema:"format=topic-arn"`

	// LateMinutes is how long a flow run may be late before the alarm.
	LateMinutes int `yaml:"late_minutes" jsonschema:"default=10,minimum=1,maximum=1440" jsonschema_extras:"x-unit=minutes"`

	// PendingMinutes is how long a flow run may be Pending, which is while its process or task
	// starts, before it counts as orphaned: Prefect never takes such a run back.
	PendingMinutes int `yaml:"pending_minutes" jsonschema:"default=10,minimum=2,maximum=1440" jsonschema_extras:"x-unit=minutes,x-source=https://github.com/PrefectHQ/prefect/issues/20485"`
}

// Backend is where Terraform keeps its state.
type Backend struct {
	// Type is where the state is: terraform.ENVIRONMENT.tfstate in the project's folder
	// (local), or an S3 bucket (s3).
	Type BackendType `yaml:"type" jsonschema:"default=local,enum=local,enum=s3"`

	// Bucket is the S3 bucket. Required for s3.
	Bucket string `yaml:"bucket" jsonschema:"format=bucket"`

	// Key is the object in the bucket.
	Key string `yaml:"key" jsonschema:"default=prefect-worker/{environment}.tfstate,format=object-key"`

	// Region is the region of the bucket.
	Region string `yaml:"region" jsonschema:"default={region},format=region"`

	// AssumeRoleARN is the role with which Terraform reads and writes the state, where the bucket
	// is in another account than that of the credentials.
	AssumeRoleARN string `yaml:"assume_role_arn" jsonschema:"format=role-arn"`

	// KMSKeyARN is the customer key that encrypts the state.
	KMSKeyARN string `yaml:"kms_key_arn" jsonschema:"format=kms-key-arn" jsonschema_extras:"x-default=the bucket's own encryption"`
}

// BackendType is the kind of place that holds the state.
type BackendType string

// The backends that can be configured.
const (
	BackendLocal BackendType = "local"
	// BackendS3 locks with an object beside the state (use_lockfile), without DynamoDB.
	BackendS3 BackendType = "s3"
)
