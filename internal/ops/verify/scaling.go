package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/prefect/flowruns"
)

const (
	// startsWithin is how long a flow run may wait for the first task: the probe and the alarm take up to two
	// minutes, a task on Fargate one or two, and packages may have to be installed.
	startsWithin = 5 * time.Minute
	// protectedWithin is how long a flow run may go on before its task is protected.
	protectedWithin = 30 * time.Second
)

// scaling checks that the number of tasks can follow the flow runs, and says what is needed.
func (c *checklist) scaling(ctx context.Context) finding {
	var f findings
	if !c.env.Monitoring.Enabled { // otherwise the check of the alarms reads them
		c.probeMetrics(ctx, &f)
	} else {
		c.await(checkAlarms)
	}
	c.scalableTarget(ctx, &f)
	w := c.env.Worker.Scaling
	well := fmt.Sprintf("%d to %d tasks, %d wanted", w.Min, w.Max, c.Service.DesiredCount)
	if needed, known := c.metrics.Values["TasksNeeded"]; known {
		well += fmt.Sprintf(", %.0f needed %s", needed, Ago(c.metrics.At))
		if int(needed) > w.Max {
			well += ": more than worker.scaling.max"
		}
	}
	return f.finding(well)
}

// wantedTasks returns how many tasks the worker's service should run: as configured, one of a paused service, or
// what scaling has set.
func (c *checklist) wantedTasks() int {
	if c.env.Worker.Scales() {
		return int(c.Service.DesiredCount)
	}
	return max(1, c.env.Worker.DesiredCount)
}

// scalableTarget checks that Application Auto Scaling may change the number of tasks, which no plan shows: who
// suspends it does so beside Terraform.
func (c *checklist) scalableTarget(ctx context.Context, f *findings) {
	resource := "service/" + c.env.Cluster.Name + "/" + c.env.Worker.ServiceName
	out, err := c.aws.autoscaling.DescribeScalableTargets(ctx, &applicationautoscaling.DescribeScalableTargetsInput{
		ServiceNamespace: types.ServiceNamespaceEcs, ResourceIds: []string{resource}, ScalableDimension: types.ScalableDimensionECSServiceDesiredCount,
	})
	if err != nil {
		f.unreadable("the scalable target", err)
		return
	}
	if len(out.ScalableTargets) == 0 {
		f.failed("the service is no scalable target: its number of tasks stays as it is", c.deployFix())
		return
	}
	if state := out.ScalableTargets[0].SuspendedState; state != nil && (aws.ToBool(state.DynamicScalingOutSuspended) || aws.ToBool(state.DynamicScalingInSuspended)) {
		f.failed("scaling is suspended", "aws application-autoscaling register-scalable-target --service-namespace ecs --scalable-dimension ecs:service:DesiredCount --resource-id "+resource+
			" --suspended-state DynamicScalingOutSuspended=false,DynamicScalingInSuspended=false")
	}
}

// protection checks that the tasks of the service that have flow runs are protected from scale-in and deployments.
func (c *checklist) protection(ctx context.Context, running []flowruns.Run, now time.Time) finding {
	runs := map[string]flowruns.Run{}
	var tasks []string
	for _, run := range running {
		if run.Task != "" && now.Sub(run.Since) > protectedWithin && !slices.Contains(tasks, run.Task) {
			tasks, runs[run.Task] = append(tasks, run.Task), run
		}
	}
	var f findings
	for some := range slices.Chunk(tasks, 10) { // the most that ECS takes
		out, err := c.aws.ecs.GetTaskProtection(ctx, &ecs.GetTaskProtectionInput{Cluster: &c.env.Cluster.Name, Tasks: some})
		if err != nil {
			f.unreadable("which tasks are protected", err)
			break
		}
		for _, task := range out.ProtectedTasks {
			if id := iam.ResourceName(aws.ToString(task.TaskArn)); !task.ProtectionEnabled {
				f.failed(fmt.Sprintf("the flow run %s (%s) is in the task %s, which is not protected: a scale-in or a deployment stops it", runs[id].Name, runs[id].ID, id),
					"the log says why (workerctl logs "+c.env.Name+"): lines that begin with task protection")
			}
		}
	}
	return f.finding("")
}
