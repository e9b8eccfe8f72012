package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/aws/iam"
)

// cluster checks that the cluster is there, with the capacity that tasks need.
func (c *checklist) cluster(ctx context.Context) finding {
	name := c.env.Cluster.Name
	out, err := c.aws.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{name}})
	switch {
	case err != nil:
		return unreadable("the cluster "+name, err).prerequisite()
	case len(out.Clusters)+len(out.Failures) == 0:
		return unreadable("the cluster "+name, errEmpty).prerequisite()
	case len(out.Clusters) == 0 || aws.ToString(out.Clusters[0].Status) == "INACTIVE":
		return failed("there is no cluster "+name, c.deployFix()).prerequisite()
	case aws.ToString(out.Clusters[0].Status) != "ACTIVE":
		return failed(fmt.Sprintf("cluster %s is %s", name, aws.ToString(out.Clusters[0].Status)), c.deployFix()).prerequisite()
	case c.env.Cluster.Existing && c.lacksSpot(out.Clusters[0]):
		return failed(fmt.Sprintf("the cluster %s has no capacity provider FARGATE_SPOT, and tasks are to run on it", name), "aws ecs put-cluster-capacity-providers")
	}
	return ok("%s is active", name)
}

// lacksSpot reports whether tasks are to run on Fargate Spot and the cluster has none.
func (c *checklist) lacksSpot(cluster types.Cluster) bool {
	return (c.env.Worker.Spot || c.env.WorkPool.Job.Spot) && !slices.Contains(cluster.CapacityProviders, "FARGATE_SPOT")
}

// describeService reads a service of the cluster. The finding is a prerequisite that failed if there
// is none.
func (c *checklist) describeService(ctx context.Context, name string) (types.Service, finding) {
	out, err := c.aws.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &c.env.Cluster.Name, Services: []string{name}})
	if err == nil && len(out.Services)+len(out.Failures) == 0 {
		err = errEmpty
	}
	if err != nil {
		return types.Service{}, unreadable("the service "+name, err).prerequisite()
	}
	if len(out.Services) == 0 || aws.ToString(out.Services[0].Status) == "INACTIVE" {
		return types.Service{}, failed("there is no service "+name+" in the cluster", c.deployFix()).prerequisite()
	}
	return out.Services[0], finding{}
}

// workerService checks that the worker's service is stable.
func (c *checklist) workerService(ctx context.Context) finding {
	s, missing := c.describeService(ctx, c.env.Worker.ServiceName)
	if missing.prerequisiteFailed {
		return missing
	}
	c.Service, c.Deployment = s, primary(s)
	c.Tasks, c.TasksErr = c.runningTasks(ctx, ecs.ListTasksInput{StartedBy: c.Deployment.Id})
	if c.env.Worker.ProtectRuns && c.TasksErr == nil {
		var all []string
		all, c.TasksErr = c.runningTasks(ctx, ecs.ListTasksInput{ServiceName: s.ServiceName})
		c.Finishing = slices.DeleteFunc(all, func(id string) bool { return slices.Contains(c.Tasks, id) })
	}
	if s.DesiredCount == 0 && c.env.Worker.Scales() && aws.ToString(s.Status) == "ACTIVE" {
		return ok("no task is needed: %d running%s", s.RunningCount, c.finishing())
	}
	if s.DesiredCount == 0 {
		fix := c.deploy()
		if c.env.Worker.DesiredCount == 0 {
			fix = "set worker.desired_count to 1 and deploy"
		}
		return failed("the service is paused: its desired count is 0", fix)
	}
	stable := c.stable(ctx, s, "the log below")
	stable.detail += c.finishing()
	return stable
}

// finishing returns which tasks of earlier deployments are still there. Empty: none.
func (c *checklist) finishing() string {
	if len(c.Finishing) == 0 {
		return ""
	}
	return fmt.Sprintf("; of the deployment before, until their flow runs have ended: %s", strings.Join(c.Finishing, ", "))
}

// primary returns the current deployment of a service.
func primary(s types.Service) types.Deployment {
	for _, d := range s.Deployments {
		if aws.ToString(d.Status) == "PRIMARY" {
			return d
		}
	}
	return types.Deployment{}
}

// stable checks that a service runs the tasks that it should, and that its deployment has ended well.
// log says where its log is.
func (c *checklist) stable(ctx context.Context, s types.Service, log string) finding {
	const wait = "wait for the deployment to end (workerctl verify --wait 5m)"
	reasons := "look at the reasons above and at " + log
	d := primary(s)
	running, pending := s.RunningCount, s.PendingCount
	if len(s.Deployments) > 1 && len(c.Finishing) > 0 {
		running, pending = d.RunningCount, d.PendingCount
	}
	counts := fmt.Sprintf("%d of %d tasks running", running, s.DesiredCount)
	switch {
	case aws.ToString(s.Status) != "ACTIVE":
		return failed(fmt.Sprintf("service %s is %s", aws.ToString(s.ServiceName), aws.ToString(s.Status)), c.deployFix())
	case d.RolloutState == types.DeploymentRolloutStateFailed:
		return failed("the last deployment failed"+c.history(ctx, s), reasons)
	case rolledBack(s):
		return failed("the last deployment was rolled back"+c.history(ctx, s), reasons+", fix the cause and deploy again")
	case running != s.DesiredCount || pending > 0:
		return failed(fmt.Sprintf("%s, %d pending%s", counts, pending, c.history(ctx, s)), wait+"; if tasks stop again and again, "+reasons)
	case d.RolloutState == types.DeploymentRolloutStateInProgress && len(c.Finishing) == 0:
		return failed(counts+", but the deployment is still in progress", wait)
	}
	return ok("%s, deployment %s", counts, strings.ToLower(strings.ReplaceAll(string(d.RolloutState), "_", " ")))
}

// rolledBack reports whether the circuit breaker went back to an older deployment. That one is
// then the current one, and completed; only its reason and the events show it.
func rolledBack(s types.Service) bool {
	d := primary(s)
	if strings.Contains(aws.ToString(d.RolloutStateReason), "rolling back") {
		return true
	}
	// The event stands just before the deployment that it brings back.
	since := aws.ToTime(d.CreatedAt).Add(-time.Minute)
	return slices.ContainsFunc(s.Events, func(e types.ServiceEvent) bool {
		return aws.ToTime(e.CreatedAt).After(since) && strings.Contains(aws.ToString(e.Message), "rolling back to")
	})
}

// runningTasks returns the ids of the tasks that run, of those that which selects.
func (c *checklist) runningTasks(ctx context.Context, which ecs.ListTasksInput) ([]string, error) {
	var ids []string
	which.Cluster, which.DesiredStatus = &c.env.Cluster.Name, types.DesiredStatusRunning
	pages := ecs.NewListTasksPaginator(c.aws.ecs, &which)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, arn := range page.TaskArns {
			ids = append(ids, iam.ResourceName(arn))
		}
	}
	return ids, nil
}

// history returns why tasks of a service stopped and its last events, a line each.
func (c *checklist) history(ctx context.Context, s types.Service) string {
	lines := c.stoppedTasks(ctx, s)
	for _, e := range s.Events[:min(3, len(s.Events))] {
		lines = append(lines, "event: "+aws.ToString(e.Message))
	}
	if len(lines) == 0 {
		return ""
	}
	return "\n" + strings.Join(lines, "\n")
}

// stoppedTasks returns the last tasks that stopped, with their reasons. ECS keeps them for an
// hour.
func (c *checklist) stoppedTasks(ctx context.Context, s types.Service) []string {
	stopped, err := c.aws.ecs.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &c.env.Cluster.Name, ServiceName: s.ServiceName, DesiredStatus: types.DesiredStatusStopped})
	if err != nil || len(stopped.TaskArns) == 0 {
		return nil
	}
	tasks, err := c.aws.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &c.env.Cluster.Name, Tasks: stopped.TaskArns[:min(3, len(stopped.TaskArns))]})
	if err != nil {
		return nil
	}
	var lines []string
	for _, t := range tasks.Tasks {
		line := "stopped task: " + aws.ToString(t.StoppedReason)
		for _, container := range t.Containers {
			if container.ExitCode != nil {
				line += fmt.Sprintf(" (exit code %d)", *container.ExitCode)
			}
			if reason := aws.ToString(container.Reason); reason != "" {
				line += " (" + reason + ")"
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// taskDefinition reads the task definition of a service.
func (c *checklist) taskDefinition(ctx context.Context, s types.Service) (types.TaskDefinition, error) {
	out, err := c.aws.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: s.TaskDefinition})
	if err != nil {
		return types.TaskDefinition{}, err
	}
	if out.TaskDefinition == nil {
		return types.TaskDefinition{}, errEmpty
	}
	return *out.TaskDefinition, nil
}

// definition checks that the service runs the worker's container.
func (c *checklist) definition(ctx context.Context) finding {
	d, err := c.taskDefinition(ctx, c.Service)
	if err != nil {
		return unreadable("the task definition of the service", err).prerequisite()
	}
	c.Definition = d
	// By its name: a sidecar may stand before it.
	name := c.containerName()
	i := slices.IndexFunc(d.ContainerDefinitions, func(c types.ContainerDefinition) bool { return aws.ToString(c.Name) == name })
	if i < 0 {
		return failed(fmt.Sprintf("%s:%d has no container %s", aws.ToString(d.Family), d.Revision, name), c.deploy()).prerequisite()
	}
	c.Container = d.ContainerDefinitions[i]
	return ok("%s:%d", aws.ToString(d.Family), d.Revision)
}

// containerName returns the name of the worker's container in the stack.
func (c *checklist) containerName() string {
	text, _ := c.stack.Resource("aws_ecs_task_definition", "worker")["container_definitions"].(string)
	var containers []struct{ Name string }
	if json.Unmarshal([]byte(text), &containers) != nil || len(containers) == 0 {
		return ""
	}
	return containers[0].Name
}
