package ecstask

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Report reports an event of a task to ECS: that it runs, or has stopped. ECS itself has the deployment of each task
// of a service; the emulator starts none, and gets the deployment here. A task of RunTask has none.
func Report(ctx context.Context, client *ecs.Client, cluster, arn, deployment string, e Event) error {
	switch e.Kind {
	case Started:
		return ReportStatus(ctx, client, cluster, arn, "RUNNING", deployment)
	case Stopped:
		return ReportStatus(ctx, client, cluster, arn, "STOPPED", e.Reason, types.ContainerStateChange{ExitCode: aws.Int32(int32(e.ExitCode))})
	}
	return nil
}

// ReportStatus reports the status of a task to ECS, as the agent on a container's host does. It also does after ctx
// has ended, because that is when the last task stops.
func ReportStatus(ctx context.Context, client *ecs.Client, cluster, arn, status, reason string, containers ...types.ContainerStateChange) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, err := client.SubmitTaskStateChange(ctx, &ecs.SubmitTaskStateChangeInput{
		Cluster: &cluster, Task: &arn, Status: &status, Reason: &reason, Containers: containers,
	}); err != nil {
		return fmt.Errorf("report the task %s to ECS: %w", arn, err)
	}
	return nil
}
