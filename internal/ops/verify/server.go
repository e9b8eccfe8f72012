package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	discoverytypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"

	"prefect-worker-ecs/internal/aws/iam"
)

// ownServer checks that the service of the in-stack Prefect server is stable, and keeps what it
// runs for the check of the roles.
func (c *checklist) ownServer(ctx context.Context) finding {
	s, missing := c.describeService(ctx, c.env.Server.Name)
	if missing.prerequisiteFailed {
		missing.prerequisiteFailed = false // its database and its roles can be checked without
		return missing
	}
	var f findings
	var err error
	if c.server, err = c.taskDefinition(ctx, s); err != nil {
		f.unreadable("the task definition of the Prefect server", err)
	}
	stable := c.stable(ctx, s, "its log: the streams prefect-server/ in "+c.env.Logs.Group)
	f.add(stable)
	c.registered(ctx, &f, s)
	if s.DesiredCount != 1 {
		f.failed(fmt.Sprintf("its desired count is %d, and it is to have one task: two would start flow runs twice", s.DesiredCount), c.deploy())
	}
	return f.finding(stable.detail)
}

// registered checks that the running task of the Prefect server, and no other, is registered in Cloud Map, where the worker
// looks up its address.
func (c *checklist) registered(ctx context.Context, f *findings, s types.Service) {
	tasks, err := c.runningTasks(ctx, ecs.ListTasksInput{StartedBy: primary(s).Id})
	if err != nil {
		f.unreadable("the running tasks of the Prefect server", err)
	}
	for _, registry := range s.ServiceRegistries {
		id := iam.ResourceName(aws.ToString(registry.RegistryArn))
		out, err := c.aws.discovery.ListInstances(ctx, &servicediscovery.ListInstancesInput{ServiceId: &id})
		switch {
		case is(err, "ServiceNotFound"), err == nil && len(tasks) > 0 && !slices.ContainsFunc(out.Instances, func(i discoverytypes.InstanceSummary) bool { return slices.Contains(tasks, aws.ToString(i.Id)) }):
			f.failed("the running task of the Prefect server is not registered in Cloud Map, so that the worker cannot find it", "make the service start another one, which ECS registers: aws ecs update-service --force-new-deployment")
		case err != nil:
			f.unreadable("the registration of the Prefect server in Cloud Map", err)
		case len(tasks) > 0:
			for _, i := range out.Instances {
				if instance := aws.ToString(i.Id); !slices.Contains(tasks, instance) {
					f.failed(fmt.Sprintf("%s is registered in Cloud Map and no running task of the Prefect server, so that some connections lead nowhere", instance),
						fmt.Sprintf("aws servicediscovery deregister-instance --service-id %s --instance-id %s", id, instance))
				}
			}
		}
	}
}

// answering are the states of a database in which it answers ("Viewing Amazon RDS DB instance status").
var answering = []string{"available", "backing-up", "configuring-enhanced-monitoring", "configuring-iam-database-auth", "configuring-log-exports", "storage-config-upgrade", "storage-optimization", "modifying"}

// database checks that the database of the Prefect server is in a state in which it answers.
func (c *checklist) database(ctx context.Context) finding {
	server := c.env.Server
	if !server.OwnDatabase() {
		return ok("%s is not this stack's; whether it answers is seen by the API", server.Database.ExistingHost)
	}
	status, err := c.aws.InstanceStatus(ctx, server.Name)
	if is(err, "DBInstanceNotFound", "DBInstanceNotFoundFault") {
		return failed("there is no database "+server.Name, c.deployFix())
	}
	if err := orEmpty(err, status == ""); err != nil {
		return unreadable("the database "+server.Name, err)
	}
	if !slices.Contains(answering, status) {
		return failed("the database is "+status, fmt.Sprintf("look at its events: aws rds describe-events --source-type db-instance --source-identifier %s", server.Name))
	}
	return ok("%s is %s", server.Name, status)
}
