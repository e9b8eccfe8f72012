package supervise

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/local/ecstask"
)

// agent is the part of ECS that runs the tasks of RunTask: it finds those in the state
// PROVISIONING, runs them, reports their states, and stops those with a desired status of STOPPED.
type agent struct {
	*supervisor
	events *journal
}

// agentInterval is how often the agent lists tasks.
const agentInterval = time.Second

// watch runs tasks until ctx ends, and then stops those that run.
func (a *agent) watch(ctx context.Context) {
	stop := map[string]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		running, err := a.list(ctx)
		if err == nil {
			for fresh := range slices.Chunk(slices.DeleteFunc(slices.Clone(running), func(arn string) bool { return stop[arn] != nil }), 100) { // as many as a call may name
				tasks, err := a.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &a.Cluster, Tasks: fresh})
				for i := 0; err == nil && i < len(tasks.Tasks); i++ {
					task := tasks.Tasks[i]
					taskCtx, cancel := context.WithCancel(ctx)
					stop[*task.TaskArn] = cancel
					if aws.ToString(task.LastStatus) == "PROVISIONING" { // the others are the service's
						all.Go(func() { a.task(taskCtx, task) })
					}
				}
			}
			for arn, cancel := range stop {
				if !slices.Contains(running, arn) {
					cancel()
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(agentInterval):
		}
	}
}

// list returns the tasks of the cluster that are to run.
func (a *agent) list(ctx context.Context) (arns []string, err error) {
	pages := ecs.NewListTasksPaginator(a.ecs, &ecs.ListTasksInput{Cluster: &a.Cluster, DesiredStatus: types.DesiredStatusRunning})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		arns = append(arns, page.TaskArns...)
	}
	return arns, nil
}

// task runs one task to its end.
func (a *agent) task(ctx context.Context, task types.Task) {
	id := iam.ResourceName(*task.TaskArn)
	report := func(status, reason string, changes ...types.ContainerStateChange) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, err := a.ecs.SubmitTaskStateChange(ctx, &ecs.SubmitTaskStateChangeInput{
			Cluster: &a.Cluster, Task: task.TaskArn, Status: &status, Reason: &reason, Containers: changes,
		})
		fmt.Fprintf(a.Log, "%s flow task %s %s %s\n", time.Now().Format("15:04:05"), id, status, reason)
		if err != nil {
			fmt.Fprintf(a.Log, "report the task %s to ECS: %v\n", id, err)
		}
	}
	definition, err := ecstask.Definition(ctx, a.ecs, task.TaskDefinitionArn)
	if err != nil {
		report("STOPPED", err.Error())
		return
	}
	execution, role := aws.ToString(definition.ExecutionRoleArn), aws.ToString(definition.TaskRoleArn)
	if o := task.Overrides; o != nil {
		if text := aws.ToString(o.ExecutionRoleArn); text != "" {
			execution = text
		}
		if text := aws.ToString(o.TaskRoleArn); text != "" {
			role = text
		}
	}
	report("PENDING", "")
	opt := a.supervisor.task(definition, a.FlowTasks, id, execution, role)
	opt.Notify = func(e ecstask.Event) {
		a.write(a.events, e)
		if e.Kind == ecstask.Started {
			report("RUNNING", "")
		}
	}
	switch end := ecstask.RunOnce(ctx, opt, id, task.Overrides); end.Kind {
	case ecstask.Failed:
		report("STOPPED", end.Reason)
	default:
		report("STOPPED", end.Reason, types.ContainerStateChange{ContainerName: definition.ContainerDefinitions[0].Name, ExitCode: aws.Int32(int32(end.ExitCode)), Status: aws.String("STOPPED")})
	}
}
