package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// serviceState is what ECS says of the service.
type serviceState struct {
	service    types.Service
	deployment types.Deployment // the current one
	definition types.TaskDefinition
	container  types.ContainerDefinition // the worker's
	// tasks are the ids of the running tasks of the current deployment, and tasksErr why
	// they are not known.
	tasks    []string
	tasksErr error
}

// cluster checks that the cluster is there, as configured.
func (c *checklist) cluster(ctx context.Context) finding {
	name := c.env.Cluster.Name
	out, err := c.aws.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{name}, Include: []types.ClusterField{types.ClusterFieldSettings}})
	switch {
	case err != nil:
		return unread("the cluster "+name, err).block()
	case len(out.Clusters) == 0 || aws.ToString(out.Clusters[0].Status) == "INACTIVE":
		return failed("there is no cluster "+name, c.deployFix()).block()
	case aws.ToString(out.Clusters[0].Status) != "ACTIVE":
		return failed(fmt.Sprintf("cluster %s is %s", name, aws.ToString(out.Clusters[0].Status)), c.deployFix()).block()
	}
	differences, err := c.clusterDifferences(out.Clusters[0])
	if err != nil {
		return unknown(err.Error(), "update workerctl")
	}
	if len(differences) > 0 {
		return failed("it is not that of the configuration: "+strings.Join(differences, "; "), c.deploy())
	}
	return ok("%s is active", name)
}

// ecsService checks that the service is stable and as configured.
func (c *checklist) ecsService(ctx context.Context) finding {
	name := c.env.Worker.ServiceName
	out, err := c.aws.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &c.env.Cluster.Name, Services: []string{name}})
	if err != nil {
		return unread("the service "+name, err).block()
	}
	if len(out.Services) == 0 || aws.ToString(out.Services[0].Status) == "INACTIVE" {
		return failed("there is no service "+name+" in the cluster", c.deployFix()).block()
	}
	s := out.Services[0]
	c.service.service = s
	for _, d := range s.Deployments {
		if aws.ToString(d.Status) == "PRIMARY" {
			c.service.deployment = d
		}
	}
	d := c.service.deployment
	c.service.tasks, c.service.tasksErr = c.runningTasks(ctx, aws.ToString(d.Id))

	differences, err := c.serviceDifferences("worker", s)
	counts := fmt.Sprintf("%d of %d tasks running", s.RunningCount, s.DesiredCount)
	switch {
	case err != nil:
		return unknown(err.Error(), "update workerctl")
	case aws.ToString(s.Status) != "ACTIVE":
		return failed(fmt.Sprintf("service %s is %s", name, aws.ToString(s.Status)), c.deployFix())
	case s.DesiredCount == 0 && c.env.Worker.DesiredCount == 0:
		return failed("the service is paused: its desired count is 0", "set worker.desired_count to 1 and deploy")
	case len(differences) > 0:
		return failed("it is not that of the configuration: "+strings.Join(differences, "; "), c.deploy())
	case d.RolloutState == types.DeploymentRolloutStateFailed:
		return failed("the last deployment failed"+c.history(ctx), "look at the reasons above and at the log below")
	case c.rolledBack():
		return failed("the last deployment was rolled back"+c.history(ctx), "look at the reasons above and at the log below, mend the cause and deploy again")
	case s.RunningCount != s.DesiredCount || s.PendingCount > 0:
		return failed(fmt.Sprintf("%s, %d pending%s", counts, s.PendingCount, c.history(ctx)), "wait for the deployment to end (workerctl verify --wait 5m); if tasks stop again and again, look at the reasons above and at the log below")
	case d.RolloutState == types.DeploymentRolloutStateInProgress:
		return failed(counts+", but the deployment is still in progress", "wait for it to end: workerctl verify --wait 5m")
	}
	return ok("%s, deployment completed", counts)
}

// rolledBack tells whether the circuit breaker went back to an older deployment. That one is
// then the current one, and completed; only its reason and the events tell.
func (c *checklist) rolledBack() bool {
	d := c.service.deployment
	if strings.Contains(aws.ToString(d.RolloutStateReason), "rolling back") {
		return true
	}
	// The event stands just before the deployment that it brings back.
	since := aws.ToTime(d.CreatedAt).Add(-time.Minute)
	return slices.ContainsFunc(c.service.service.Events, func(e types.ServiceEvent) bool {
		return aws.ToTime(e.CreatedAt).After(since) && strings.Contains(aws.ToString(e.Message), "rolling back to")
	})
}

func (c *checklist) runningTasks(ctx context.Context, deployment string) ([]string, error) {
	var ids []string
	pages := ecs.NewListTasksPaginator(c.aws.ecs, &ecs.ListTasksInput{Cluster: &c.env.Cluster.Name, StartedBy: &deployment, DesiredStatus: types.DesiredStatusRunning})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, arn := range page.TaskArns {
			ids = append(ids, lastPart(arn))
		}
	}
	return ids, nil
}

// lastPart is the name in an ARN, after the last slash.
func lastPart(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

// history is why tasks stopped and what the service itself says, a line each.
func (c *checklist) history(ctx context.Context) string {
	lines := c.stoppedTasks(ctx)
	for _, e := range c.service.service.Events[:min(3, len(c.service.service.Events))] {
		lines = append(lines, "event: "+aws.ToString(e.Message))
	}
	if len(lines) == 0 {
		return ""
	}
	return "\n" + strings.Join(lines, "\n")
}

// stoppedTasks are the last tasks that stopped, with their reasons. ECS keeps them for an
// hour.
func (c *checklist) stoppedTasks(ctx context.Context) []string {
	stopped, err := c.aws.ecs.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &c.env.Cluster.Name, ServiceName: &c.env.Worker.ServiceName, DesiredStatus: types.DesiredStatusStopped})
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

// definition checks that the service runs what the program would generate.
func (c *checklist) definition(ctx context.Context) finding {
	out, err := c.aws.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: c.service.service.TaskDefinition})
	if err != nil {
		return unread("the task definition of the service", err).block()
	}
	d := *out.TaskDefinition
	c.service.definition = d
	want, err := c.wantedDefinition("worker")
	if err != nil {
		return unknown(err.Error(), "update workerctl").block()
	}
	// By its name: a sidecar may stand before it.
	name := aws.ToString(want.ContainerDefinitions[0].Name)
	i := slices.IndexFunc(d.ContainerDefinitions, func(c types.ContainerDefinition) bool { return aws.ToString(c.Name) == name })
	if i < 0 {
		return failed(fmt.Sprintf("%s:%d has no container %s", aws.ToString(d.Family), d.Revision, name), c.deploy()).block()
	}
	c.service.container = d.ContainerDefinitions[i]
	differences := definitionDifferences(want, d)
	if len(differences) > 0 {
		return failed("the deployed one is not that of the configuration: "+strings.Join(differences, "; "), c.deploy())
	}
	return ok("%s:%d is that of the configuration", aws.ToString(d.Family), d.Revision)
}

func variable(container types.ContainerDefinition, name string) string {
	for _, v := range container.Environment {
		if aws.ToString(v.Name) == name {
			return aws.ToString(v.Value)
		}
	}
	return ""
}
