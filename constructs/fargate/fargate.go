// Package fargate builds what the services of the stack share: a task definition of one
// container, and a service on Fargate that keeps its task running.
package fargate

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecsservice"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecstaskdefinition"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/tf"
)

// Container is a container definition of ECS: the fields of ContainerDefinition in its API
// reference that the containers here need. (The type of that name in the AWS SDK does not marshal to
// the JSON of ECS.)
type Container struct {
	Name                  string                 `json:"name"`
	Image                 string                 `json:"image"`
	RepositoryCredentials *RepositoryCredentials `json:"repositoryCredentials,omitempty"`
	Essential             bool                   `json:"essential"`
	EntryPoint            []string               `json:"entryPoint,omitempty"`
	Command               []string               `json:"command"`
	Environment           []Variable             `json:"environment"`
	Secrets               []Secret               `json:"secrets,omitempty"`
	HealthCheck           HealthCheck            `json:"healthCheck"`
	StopTimeout           int                    `json:"stopTimeout"`
	LogConfiguration      LogConfiguration       `json:"logConfiguration"`
	DockerLabels          map[string]string      `json:"dockerLabels,omitempty"`
}

// RepositoryCredentials says where ECS finds the credentials of a private registry.
type RepositoryCredentials struct {
	CredentialsParameter string `json:"credentialsParameter"`
}

// FromSecret returns the registry credentials in a secret, nil without one.
func FromSecret(secretARN string) *RepositoryCredentials {
	if secretARN == "" {
		return nil
	}
	return &RepositoryCredentials{secretARN}
}

// Variable is an environment variable in plaintext.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Secret is an environment variable whose value ECS reads from Secrets Manager.
type Secret struct {
	Name      string `json:"name"`
	ValueFrom string `json:"valueFrom"`
}

// HealthCheck has its times in seconds.
type HealthCheck struct {
	Command     []string `json:"command"`
	Interval    int      `json:"interval"`
	Timeout     int      `json:"timeout"`
	Retries     int      `json:"retries"`
	StartPeriod int      `json:"startPeriod"`
}

// LogConfiguration says where the output goes.
type LogConfiguration struct {
	LogDriver string            `json:"logDriver"`
	Options   map[string]string `json:"options"`
}

// HTTPHealthCheck returns a health check that requests a URL inside the container. Python, because the image
// has no curl; a list and no shell, so that no quotes nest.
func HTTPHealthCheck(url string, startPeriodSeconds int) HealthCheck {
	return HealthCheck{
		Command:  []string{"CMD", "python", "-c", "import urllib.request as u; u.urlopen('" + url + "', timeout=8)"},
		Interval: 30, Timeout: 10, Retries: 3, StartPeriod: startPeriodSeconds,
	}
}

// AWSLogs sends the output of a container to a log group.
func AWSLogs(group, region, container string) LogConfiguration {
	return LogConfiguration{
		LogDriver: "awslogs",
		Options: map[string]string{
			"awslogs-group":         group,
			"awslogs-region":        region,
			"awslogs-stream-prefix": container,
			// A slow CloudWatch must not stop the container.
			"mode":            "non-blocking",
			"max-buffer-size": "4m",
		},
	}
}

// Environment returns variables sorted by name: a map's own order would change from run to run.
func Environment(values map[string]string) []Variable {
	variables := make([]Variable, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		variables = append(variables, Variable{name, values[name]})
	}
	return variables
}

// Task says which task definition NewTaskDefinition builds.
type Task struct {
	// Address is the address of the definition and the service: worker, server.
	Address string
	// Family is the name of the definition.
	Family         string
	CPU, MemoryMiB int
	// EphemeralStorageGiB is the task's disk; 0 leaves it to Fargate.
	EphemeralStorageGiB           int
	Architecture                  config.Architecture
	ExecutionRoleARN, TaskRoleARN string
	Container                     Container
	// Requirements are conditions, checked by Terraform.
	Requirements *cdktf.TerraformResourceLifecycle
}

// NewTaskDefinition builds a task definition.
func NewTaskDefinition(scope constructs.Construct, t Task) tf.Addressed[ecstaskdefinition.EcsTaskDefinition] {
	var storage *ecstaskdefinition.EcsTaskDefinitionEphemeralStorage
	if t.EphemeralStorageGiB > 0 {
		storage = &ecstaskdefinition.EcsTaskDefinitionEphemeralStorage{SizeInGib: jsii.Number(t.EphemeralStorageGiB)}
	}
	return tf.WithAddress(ecstaskdefinition.NewEcsTaskDefinition(scope, jsii.String("task-definition"), &ecstaskdefinition.EcsTaskDefinitionConfig{
		Family:                  &t.Family,
		RequiresCompatibilities: jsii.Strings("FARGATE"),
		NetworkMode:             jsii.String("awsvpc"),
		Cpu:                     jsii.String(strconv.Itoa(t.CPU)),
		Memory:                  jsii.String(strconv.Itoa(t.MemoryMiB)),
		RuntimePlatform: &ecstaskdefinition.EcsTaskDefinitionRuntimePlatform{
			CpuArchitecture:       jsii.String(strings.ToUpper(string(t.Architecture))),
			OperatingSystemFamily: jsii.String("LINUX"),
		},
		ExecutionRoleArn:     &t.ExecutionRoleARN,
		TaskRoleArn:          &t.TaskRoleARN,
		EphemeralStorage:     storage,
		ContainerDefinitions: tf.JSON([]Container{t.Container}),
		Lifecycle:            t.Requirements,
	}), "aws_ecs_task_definition."+t.Address)
}

// Placement is where tasks run.
type Placement struct {
	SubnetIDs []string
	// SecurityGroupIDs are the groups of the tasks.
	SecurityGroupIDs []*string
	// PublicIP gives them public addresses, which they need in public subnets.
	PublicIP bool
}

// DeploymentPercent are the limits of a rolling deployment, in percent of the desired count: the
// tasks that must stay healthy, and the tasks that may run.
type DeploymentPercent struct{ MinHealthy, Max int }

// NewService returns the configuration of a service, which the caller completes.
func NewService(name string, cluster, definition *string, count int, at Placement, limits DeploymentPercent) *ecsservice.EcsServiceConfig {
	return &ecsservice.EcsServiceConfig{
		Name:            &name,
		Cluster:         cluster,
		TaskDefinition:  definition,
		DesiredCount:    jsii.Number(count),
		PlatformVersion: jsii.String("LATEST"),
		LaunchType:      jsii.String("FARGATE"),
		NetworkConfiguration: &ecsservice.EcsServiceNetworkConfiguration{
			Subnets:        jsii.Strings(at.SubnetIDs...),
			SecurityGroups: &at.SecurityGroupIDs,
			AssignPublicIp: jsii.Bool(at.PublicIP),
		},
		DeploymentMinimumHealthyPercent: jsii.Number(limits.MinHealthy),
		DeploymentMaximumPercent:        jsii.Number(limits.Max),
		// A task definition whose tasks do not become healthy is rolled back instead of
		// retried indefinitely.
		DeploymentCircuitBreaker: &ecsservice.EcsServiceDeploymentCircuitBreaker{
			Enable:   jsii.Bool(true),
			Rollback: jsii.Bool(true),
		},
		WaitForSteadyState: jsii.Bool(true),
		// The breaker gives up after three tasks; each may take the start period, three
		// failed health checks and the pull of the image.
		Timeouts: &ecsservice.EcsServiceTimeouts{
			Create: jsii.String("30m"),
			Update: jsii.String("30m"),
			Delete: jsii.String("20m"),
		},
		EnableEcsManagedTags: jsii.Bool(true),
		PropagateTags:        jsii.String("SERVICE"),
	}
}
