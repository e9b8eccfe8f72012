package supervise

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/local/ecstask"
)

// agentInterval is how often runTasks lists tasks.
const agentInterval = time.Second

// runTasks is the part of ECS that runs the tasks of RunTask: it finds those in the state PROVISIONING, runs them,
// reports their states, and stops those with a desired status of STOPPED. It returns when ctx has ended and with it all
// that run.
func (s *supervisor) runTasks(ctx context.Context) {
	stop := map[string]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	_ = poll.Until(ctx, agentInterval, func() (bool, error) {
		running, err := s.ecs.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &s.Cluster, DesiredStatus: types.DesiredStatusRunning})
		if err != nil {
			return false, nil
		}
		for _, arn := range running.TaskArns {
			if stop[arn] != nil {
				continue
			}
			found, err := s.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &s.Cluster, Tasks: []string{arn}})
			if err != nil || len(found.Tasks) == 0 {
				continue
			}
			taskCtx, cancel := context.WithCancel(ctx)
			stop[arn] = cancel
			if task := found.Tasks[0]; aws.ToString(task.LastStatus) == "PROVISIONING" { // the others are the service's
				all.Go(func() { s.runTask(taskCtx, task) })
			}
		}
		for arn, cancel := range stop {
			if !slices.Contains(running.TaskArns, arn) {
				cancel()
			}
		}
		return false, nil
	})
}

// runTask runs one task to its end.
func (s *supervisor) runTask(ctx context.Context, task types.Task) {
	arn := *task.TaskArn
	report := func(status, reason string) {
		if err := ecstask.ReportStatus(ctx, s.ecs, s.Cluster, arn, status, reason); err != nil {
			fmt.Fprintln(s.Log, err)
		}
	}
	definition, err := ecstask.Definition(ctx, s.ecs, task.TaskDefinitionArn)
	if err != nil {
		report("STOPPED", err.Error())
		return
	}
	execution, role := aws.ToString(definition.ExecutionRoleArn), aws.ToString(definition.TaskRoleArn)
	if o := task.Overrides; o != nil {
		execution = cmp.Or(aws.ToString(o.ExecutionRoleArn), execution)
		role = cmp.Or(aws.ToString(o.TaskRoleArn), role)
	}
	report("PENDING", "")
	id := iam.ResourceName(arn)
	opt := s.task(definition, s.FlowTasks, id, execution, role)
	opt.Notify = func(e ecstask.Event) { s.notify(ctx, s.FlowTasks, arn, "", e) }
	if end := ecstask.RunOnce(ctx, opt, id, task.Overrides); end.Kind == ecstask.Failed {
		report("STOPPED", end.Reason)
	}
}
