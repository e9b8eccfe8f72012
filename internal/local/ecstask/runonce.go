package ecstask

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// RunOnce runs one task to its end, as RunTask does: the definition with the overrides. When
// ctx ends the task is stopped. It returns the last event, which is Stopped or Failed.
func RunOnce(ctx context.Context, opt Options, id string, overrides *types.TaskOverride) Event {
	if err := opt.complete(); err != nil {
		return Event{Kind: Failed, TaskID: id, Reason: err.Error()}
	}
	return runTask(ctx, opt, id, overrides)
}

// overridden returns the container with the overrides of a call of RunTask.
func overridden(c types.ContainerDefinition, overrides *types.TaskOverride) types.ContainerDefinition {
	if overrides == nil {
		return c
	}
	for _, o := range overrides.ContainerOverrides {
		if aws.ToString(o.Name) != aws.ToString(c.Name) {
			continue
		}
		if len(o.Command) > 0 {
			c.Command = o.Command
		}
		c.Environment = append(append([]types.KeyValuePair{}, c.Environment...), o.Environment...)
	}
	return c
}
