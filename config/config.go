// Package config is everything a user can set for a deployment: the types, the
// defaults, the strict reading of config/environments/*.yaml, and the rules that
// refuse a deployment which could not work.
//
// It is plain Go and knows nothing of Terraform or CDKTF, so that every rule is
// checked before a single construct exists.
package config

// Environment is one deployment: one YAML file, one stack, one set of AWS
// resources. An empty file is the deployment of the original design.
type Environment struct {
	// Name is the file's name without ".yaml". It is the name of the stack, of its
	// state file and of the Environment tag.
	Name string `yaml:"-"`

	// Region is the AWS region, the default of the Terraform variable aws_region.
	// Default us-east-1.
	Region string `yaml:"region"`

	// AccountID is the only AWS account, 12 digits, that may be deployed to.
	// Default empty: the account of the credentials, whichever that is.
	AccountID string `yaml:"account_id"`

	// NameSuffix is appended to each default name that must be unique in an account
	// (cluster, roles, secret, log groups), so that a second environment needs
	// one line and not six. Default empty. Example "-prod".
	NameSuffix string `yaml:"name_suffix"`

	// Tags are put on every resource, over the defaults Project=prefect-worker,
	// Environment=<name> and ManagedBy=cdktf.
	Tags map[string]string `yaml:"tags"`

	// LocalRun marks an environment that `workerctl local` deploys to the emulator
	// on this machine. Only there may the Prefect API be on the loopback interface,
	// which a task on Fargate could never reach. Default false.
	LocalRun bool `yaml:"local_run"`

	Network  Network  `yaml:"network"`
	Cluster  Cluster  `yaml:"cluster"`
	Worker   Worker   `yaml:"worker"`
	WorkPool WorkPool `yaml:"work_pool"`
	Prefect  Prefect  `yaml:"prefect"`
	Secret   Secret   `yaml:"secret"`
	Logs     Logs     `yaml:"logs"`
	IAM      IAM      `yaml:"iam"`

	// Adopt lists resources that exist already, left by an earlier attempt under
	// the configured names, and are taken over by Terraform import instead of being
	// created. Default none.
	Adopt []Adoptable `yaml:"adopt"`

	Backend Backend `yaml:"backend"`

	source source
}

// Network is the VPC that the worker lives in.
type Network struct {
	// Name is the Name tag of the VPC, its subnets and its gateways.
	// Default prefect-ecs plus the name suffix.
	Name string `yaml:"name"`

	// VPCCIDR is the address range of the VPC, from /16 to /28. Default 10.0.0.0/16.
	VPCCIDR string `yaml:"vpc_cidr"`

	// PublicSubnetCIDRs are the ranges of the public subnets, each in another
	// availability zone. Default: the second to fourth /24 of the VPC, so 10.0.1.0/24,
	// 10.0.2.0/24 and 10.0.3.0/24.
	PublicSubnetCIDRs []string `yaml:"public_subnet_cidrs"`

	// PrivateSubnetCIDRs are the ranges of the private subnets, as many as there
	// are public ones. Default: the fifth to seventh /24 of the VPC, so 10.0.4.0/24,
	// 10.0.5.0/24 and 10.0.6.0/24.
	PrivateSubnetCIDRs []string `yaml:"private_subnet_cidrs"`

	// AvailabilityZones are the zones of the subnets, in their order.
	// Default empty: the first zones of the region that are available.
	AvailabilityZones []string `yaml:"availability_zones"`

	// NAT is how the private subnets reach the internet. Default single.
	NAT NATMode `yaml:"nat"`

	// FlowLogs says which traffic is recorded in the log group
	// /vpc/<network name>. Default all.
	FlowLogs FlowLogs `yaml:"flow_logs"`

	// S3Endpoint adds the gateway endpoint of S3 to the private route tables: free,
	// and it keeps the layers of images in ECR off the NAT gateway. Default true.
	S3Endpoint bool `yaml:"s3_endpoint"`
}

// NATMode is how the private subnets reach the internet.
type NATMode string

// The modes of NAT. A NAT gateway costs about 32 USD a month before traffic.
const (
	// NATSingle is one NAT gateway in the first public subnet.
	NATSingle NATMode = "single"
	// NATPerAZ is one NAT gateway in each public subnet, so that the loss of one
	// availability zone does not cut off the others.
	NATPerAZ NATMode = "per_az"
	// NATNone is no NAT gateway. The worker then needs another way out.
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
	// Name of the cluster. Default prefect-cluster plus the name suffix.
	Name string `yaml:"name"`

	// Namespace is the Cloud Map private DNS namespace in the VPC.
	// Default default.prefect.local.
	Namespace string `yaml:"namespace"`

	// ContainerInsights collects CPU and memory of tasks in CloudWatch, at the
	// price of custom metrics. Default true.
	ContainerInsights bool `yaml:"container_insights"`
}

// Worker is the ECS service and the container that it runs.
type Worker struct {
	// ServiceName is the name of the ECS service and the first part of the worker's
	// name in Prefect. Default <environment>-worker, so dev-worker for dev.yaml.
	ServiceName string `yaml:"service_name"`

	// Image is the container image. Default prefecthq/prefect:2-latest.
	Image string `yaml:"image"`

	// PrefectVersion is the version of Prefect inside the image, such as "2" or
	// "3.8.3". Default: read from the image's tag. Needed for an image whose tag
	// does not say it.
	PrefectVersion string `yaml:"prefect_version"`

	// PrefectAWSIncluded says that the image contains prefect-aws, so that an ecs
	// pool needs no installation at start. Default: true for prefecthq/prefect-aws.
	PrefectAWSIncluded bool `yaml:"prefect_aws_included"`

	// CPU is the task's CPU in units of 1/1024 vCPU. Default 256. Fargate takes
	// 256, 512, 1024, 2048, 4096, 8192 and 16384.
	CPU int `yaml:"cpu"`

	// MemoryMiB is the task's memory in MiB. Default 512. Which values Fargate
	// takes depends on CPU.
	MemoryMiB int `yaml:"memory"`

	// Architecture is the processor that the task runs on. Default x86_64.
	Architecture Architecture `yaml:"architecture"`

	// DesiredCount is the number of worker tasks, 0 to 100. Default 1. 0 pauses the worker.
	DesiredCount int `yaml:"desired_count"`

	// Spot runs the worker on Fargate Spot: about 70 % cheaper, and stopped by AWS
	// with two minutes' notice when capacity is short. Default false.
	Spot bool `yaml:"spot"`

	// PublicIP runs the tasks in the public subnets with a public address, which
	// saves the NAT gateway. Nothing can connect to them all the same.
	// Default false.
	PublicIP bool `yaml:"public_ip"`

	// ConcurrencyLimit is the number of flow runs one worker task takes at a time.
	// Default 1 for a process pool, where each run needs memory of this task, and
	// no limit for an ecs pool.
	ConcurrencyLimit int `yaml:"concurrency_limit"`

	// ExtraPipPackages are installed each time the container starts, through the
	// image's EXTRA_PIP_PACKAGES. Default none; for an ecs pool the program adds
	// the release of prefect-aws that fits the image.
	ExtraPipPackages []string `yaml:"extra_pip_packages"`

	// Environment are further environment variables of the container and so of its
	// flow runs, in clear text. Default none.
	Environment map[string]string `yaml:"environment"`

	// Secrets are environment variables whose values come from Secrets Manager:
	// the variable's name and the secret's ARN. Default none.
	Secrets map[string]string `yaml:"secrets"`

	// StopTimeoutSeconds is how long a task may finish its runs after SIGTERM
	// before it is killed, 2 to 120 (Fargate's maximum). Default 120.
	StopTimeoutSeconds int `yaml:"stop_timeout"`
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
	// Name of the pool. Default ecs-work-pool.
	Name string `yaml:"name"`

	// Type of the pool. Default process: flow runs are processes inside the
	// worker's task. The pool in Prefect must have this type.
	Type PoolType `yaml:"type"`

	// Queues are the work queues to serve. Default: all of the pool.
	Queues []string `yaml:"queues"`
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
	// APIURL is the default of the variable prefect_api_url. Default empty: derived
	// from AccountID and WorkspaceID. Examples
	// https://api.prefect.cloud/api/accounts/<uuid>/workspaces/<uuid> and
	// https://prefect.example.com:4200/api.
	APIURL string `yaml:"api_url"`

	// AccountID is the default of the variable prefect_account_id, a UUID.
	AccountID string `yaml:"account_id"`

	// WorkspaceID is the default of the variable prefect_workspace_id, a UUID.
	WorkspaceID string `yaml:"workspace_id"`

	// Authentication is how the worker proves to the API who it is. Default api_key.
	// Prefect Cloud takes nothing else.
	Authentication Authentication `yaml:"authentication"`
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

// Secret is where the Prefect API key is kept.
type Secret struct {
	// Name of the secret in Secrets Manager.
	// Default prefect-api-key-new-2 plus the name suffix.
	Name string `yaml:"name"`

	// ExistingARN is a secret that exists already. With it the program creates none
	// and the variable prefect_api_key is not declared. Default empty.
	ExistingARN string `yaml:"existing_arn"`

	// JSONKey is the key to take when the existing secret holds a JSON object.
	// Default empty: the whole value.
	JSONKey string `yaml:"json_key"`

	// Version is raised by one when the key is rotated: it makes Terraform write
	// the variable's new value and rolls the service. Default 1.
	Version int `yaml:"version"`

	// RecoveryWindowDays is how long AWS keeps a deleted secret, 0 or 7 to 30.
	// While it is kept its name cannot be used again. Default 0: deleted at once.
	RecoveryWindowDays int `yaml:"recovery_window_days"`

	// KMSKeyARN is the customer key that encrypts the secret.
	// Default empty: the AWS-managed key.
	KMSKeyARN string `yaml:"kms_key_arn"`
}

// Logs is where the worker's output goes.
type Logs struct {
	// Group is the name of the CloudWatch log group.
	// Default /ecs/prefect-worker plus the name suffix.
	Group string `yaml:"group"`

	// RetentionDays is how long logs are kept. Default 30. CloudWatch takes only
	// certain values; 0 is for ever.
	RetentionDays int `yaml:"retention_days"`

	// KMSKeyARN is the customer key that encrypts the log groups. Its policy must
	// allow CloudWatch Logs to use it. Default empty: CloudWatch's own encryption.
	KMSKeyARN string `yaml:"kms_key_arn"`
}

// IAM is the identity of the worker.
type IAM struct {
	// ExecutionRoleName is the role with which ECS starts the task: it reads the
	// secret and writes the logs. Default prefect-task-execution-role plus the suffix.
	ExecutionRoleName string `yaml:"execution_role_name"`

	// TaskRoleName is the role of the code inside the container.
	// Default prefect-task-role plus the name suffix.
	TaskRoleName string `yaml:"task_role_name"`

	// PermissionsBoundaryARN is put on every role. Default none.
	PermissionsBoundaryARN string `yaml:"permissions_boundary_arn"`

	// TaskPolicyARNs are managed policies for the task role, for what the flows of a
	// process pool need. Default none.
	TaskPolicyARNs []string `yaml:"task_policy_arns"`

	// FlowRoleARNs are further roles that the worker of an ecs pool may hand to flow
	// runs. Default none: only the execution role of the worker.
	FlowRoleARNs []string `yaml:"flow_role_arns"`

	// FlowTaskFamilies are the task-definition families, as prefixes, that the worker
	// of an ecs pool may register and run. Default prefect, Prefect's own default.
	FlowTaskFamilies []string `yaml:"flow_task_families"`
}

// Adoptable is a resource that can be taken over when it exists already.
type Adoptable string

// The resources that survive a half-finished attempt under a fixed name, and that
// Terraform can import by that name.
const (
	AdoptExecutionRole Adoptable = "execution_role"
	AdoptTaskRole      Adoptable = "task_role"
	AdoptLogGroup      Adoptable = "log_group"
)

// Backend is where Terraform keeps its state.
type Backend struct {
	// Type is local or s3. Default local: terraform.<environment>.tfstate in the
	// project's folder.
	Type BackendType `yaml:"type"`

	// Bucket is the S3 bucket. Required for s3.
	Bucket string `yaml:"bucket"`

	// Key is the object in the bucket. Default prefect-worker/<environment>.tfstate.
	Key string `yaml:"key"`

	// Region is the region of the bucket. Default: the environment's region.
	Region string `yaml:"region"`

	// KMSKeyARN is the customer key that encrypts the state. Default empty: the
	// bucket's own encryption.
	KMSKeyARN string `yaml:"kms_key_arn"`
}

// BackendType is the kind of place that holds the state.
type BackendType string

// The backends that can be configured.
const (
	BackendLocal BackendType = "local"
	// BackendS3 locks with an object beside the state (use_lockfile), without DynamoDB.
	BackendS3 BackendType = "s3"
)
