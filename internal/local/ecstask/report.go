package ecstask

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Reporter reports the tasks of a service to ECS, as the agent on a container's host does: so
// that the API lists those that run, and those that stopped with their reasons. The emulator
// by itself has none.
type Reporter struct {
	client     *ecs.Client
	cluster    string
	deployment string
	prefix     string
}

// NewReporter returns a reporter on tasks of the current deployment of a service.
func NewReporter(client *ecs.Client, s types.Service) (*Reporter, error) {
	for _, d := range s.Deployments {
		if aws.ToString(d.Status) == "PRIMARY" {
			return &Reporter{client, aws.ToString(s.ClusterArn), aws.ToString(d.Id), strings.Replace(aws.ToString(s.ClusterArn), ":cluster/", ":task/", 1) + "/"}, nil
		}
	}
	return nil, errors.New("the service " + aws.ToString(s.ServiceName) + " has no deployment")
}

// Report reports an event to ECS. It also reports after ctx has ended, because that is when
// the last task stops.
func (r *Reporter) Report(ctx context.Context, e Event) error {
	change := &ecs.SubmitTaskStateChangeInput{Cluster: &r.cluster, Task: aws.String(r.prefix + e.TaskID)}
	switch e.Kind {
	case Started:
		// ECS itself has the deployment of each task that it starts. The emulator starts none
		// and gets it here.
		change.Status, change.Reason = aws.String("RUNNING"), &r.deployment
	case Stopped:
		change.Status, change.Reason = aws.String("STOPPED"), &e.Reason
		change.Containers = []types.ContainerStateChange{{ExitCode: aws.Int32(int32(e.ExitCode))}}
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, err := r.client.SubmitTaskStateChange(ctx, change); err != nil {
		return fmt.Errorf("report the task %s to ECS: %w", e.TaskID, err)
	}
	return nil
}
