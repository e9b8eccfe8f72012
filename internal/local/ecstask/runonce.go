package ecstask

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// RunOnce runs one task to its end, as RunTask does: the definition with the overrides. When
// ctx ends the task is stopped. What happens is told to Options.Notify; it returns the last
// event, which is Stopped or Failed.
func RunOnce(ctx context.Context, opt Options, id string, overrides *types.TaskOverride) Event {
	notify := func(e Event) Event {
		e.Time, e.TaskID = time.Now(), id
		opt.Notify(e)
		return e
	}
	failed := func(err error) Event { return notify(Event{Kind: Failed, Reason: err.Error()}) }
	c, err := container(opt.Definition)
	if err != nil {
		return failed(err)
	}
	if opt.Dir, err = filepath.Abs(opt.Dir); err != nil {
		return failed(fmt.Errorf("folder of the task: %w", err))
	}
	if err := os.MkdirAll(opt.Dir, 0o755); err != nil {
		return failed(fmt.Errorf("folder of the task: %w", err))
	}
	t, err := startTask(ctx, opt, overridden(c, overrides), id)
	if err != nil {
		return failed(err)
	}
	defer t.cleanUp()
	notify(Event{Kind: Started, Process: t.process})
	select {
	case <-t.ended:
	case <-ctx.Done():
		t.stop()
	}
	t.finish()
	return notify(Event{Kind: Stopped, Reason: "Essential container in task exited", ExitCode: t.exitCode()})
}

// overridden is the container with what a call of RunTask says of it.
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
