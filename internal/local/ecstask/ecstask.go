// Package ecstask runs a task definition on this machine as ECS would run it on
// Fargate, with the container as a local process: so that the definition that
// is deployed is also the one that was tried.
//
// What is as on Fargate: entry point and command, the environment (the
// definition's and the image's, nothing of the caller's), secrets fetched by
// ARN, the task metadata address, the container health check on its interval,
// replacement of a task that ends or is unhealthy with a growing delay, the stop
// signal and the stop timeout, the output in the log group.
//
// What is not: there is no container, so that the files are this machine's and
// CPU and memory are not limited; Prefect comes from a virtual environment; and
// the health port, which a task on Fargate has for itself, is a free port of
// this machine, in PREFECT_WORKER_WEBSERVER_PORT and in the health check. Those
// two places, and the variables of Options.Local, are the only ones in which the
// process differs from the definition.
package ecstask

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/pyenv"
)

// Options says which task to run and how.
type Options struct {
	// Definition is the task definition as DescribeTaskDefinition gives it, with
	// one container. Required.
	Definition types.TaskDefinition
	// Cluster and Service are the names of the cluster and the service that the
	// task belongs to. They stand in its metadata.
	Cluster, Service string
	// AWS is the configuration of the clients for Secrets Manager and CloudWatch
	// Logs. Required.
	AWS aws.Config
	// Image returns the environment that stands for the container's image, with
	// extra packages installed over it (none: nil). Required.
	Image func(ctx context.Context, extra []string) (pyenv.Env, error)
	// TaskRole is the configuration of the client with which the agent protects the task when its
	// container requests it.
	TaskRole aws.Config
	// Platform are further variables that Fargate would give the container. The
	// credentials of the task role are such; here they point to the emulator.
	Platform []string
	// Local are variables that must differ on this machine from the definition, such as the
	// address to listen on.
	Local []string
	// PortVariable is the variable with the port that the container serves its health on, and
	// Port the one of this machine. Default: that of Prefect's worker, and a free port.
	PortVariable string
	Port         int
	// Dir is the folder for the container's files and logs. Required.
	Dir string
	// Notify is called with each event, by several goroutines. Required.
	Notify func(Event)
	// FirstDelay is the wait before the first replacement of a task, doubled
	// with each further one. Default 1 s, as in ECS.
	FirstDelay time.Duration
}

// Kind says what an Event is about.
type Kind string

// The kinds of event.
const (
	// Started: the container's process runs. Process is set.
	Started Kind = "started"
	// HealthChanged: the health check changed the status. Health is set.
	HealthChanged Kind = "health"
	// Stopped: the process ended or was stopped. Reason and ExitCode are set.
	Stopped Kind = "stopped"
	// Failed: the task could not be started. Reason is set.
	Failed Kind = "failed"
)

// Event is something that happened to a task.
type Event struct {
	Time   time.Time `json:"time"`
	Kind   Kind      `json:"kind"`
	TaskID string    `json:"task_id"`
	// Definition is the ARN of the task's definition.
	Definition string        `json:"definition"`
	Process    proc.Identity `json:"process,omitzero"`
	Health     Health        `json:"health,omitempty"`
	Reason     string        `json:"reason,omitempty"`
	ExitCode   int           `json:"exit_code"`
}

// StoppedByService is the reason of a task that its service stopped: none is wanted, or one of another definition.
const StoppedByService = "Scaling activity initiated by the service"

// LogFile is the file in Options.Dir with the output of all tasks.
const LogFile = "container.log"

// defaultStopTimeout is that of Fargate.
const defaultStopTimeout = 30 * time.Second

// TaskARN returns the ARN of a task of the definition.
func (o Options) TaskARN(taskID string) string {
	// arn:aws:ecs:<region>:<account>:task-definition/<family>:<revision>
	account, _, _ := strings.Cut(aws.ToString(o.Definition.TaskDefinitionArn), ":task-definition/")
	return account + ":task/" + o.Cluster + "/" + taskID
}

// newTaskID returns 32 hexadecimal digits, as ECS does.
func newTaskID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // Never fails.
	return hex.EncodeToString(id[:])
}
