package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
)

// ownServer checks the service of the stack's own Prefect server, what it runs and who may
// connect to it.
func (c *checklist) ownServer(ctx context.Context) finding {
	name := c.env.Server.Name
	out, err := c.aws.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &c.env.Cluster.Name, Services: []string{name}})
	if err != nil {
		return unread("the service "+name, err)
	}
	if len(out.Services) == 0 || aws.ToString(out.Services[0].Status) != "ACTIVE" {
		return failed("there is no service "+name+" in the cluster", c.deployFix())
	}
	service := out.Services[0]
	differences, err := c.serviceDifferences("server", service)
	if err != nil {
		return unknown(err.Error(), "update workerctl")
	}
	var s several
	if len(differences) > 0 {
		s.failed("the service is not that of the configuration: "+strings.Join(differences, "; "), c.deploy())
	}
	if service.RunningCount != service.DesiredCount || service.PendingCount > 0 {
		s.failed(fmt.Sprintf("%d of %d tasks running, %d pending", service.RunningCount, service.DesiredCount, service.PendingCount),
			"wait for the deployment to end (workerctl verify --wait 5m); if tasks stop again and again, its log says why: the streams prefect-server/ in "+c.env.Logs.Group)
	}
	c.serverDefinition(ctx, &s, service)
	want, _ := c.stack.Resource("aws_ecs_service", "server")["network_configuration"].(map[string]any)
	if n := service.NetworkConfiguration; n == nil || n.AwsvpcConfiguration == nil {
		s.failed("the service has no network configuration", c.deploy())
	} else {
		c.securityGroups(ctx, &s, want["security_groups"], n.AwsvpcConfiguration.SecurityGroups)
	}
	return s.finding(fmt.Sprintf("%d of %d tasks running, as configured", service.RunningCount, service.DesiredCount))
}

// serverDefinition compares what the server runs, and keeps it for the checks of the database and
// of the roles.
func (c *checklist) serverDefinition(ctx context.Context, s *several, service types.Service) {
	out, err := c.aws.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: service.TaskDefinition})
	if err != nil {
		s.unread("the task definition of the Prefect server", err)
		return
	}
	want, err := c.wantedDefinition("server")
	if err != nil {
		s.unknown(err.Error(), "update workerctl")
		return
	}
	if differences := definitionDifferences(want, *out.TaskDefinition); len(differences) > 0 {
		s.failed("its task definition is not that of the configuration: "+strings.Join(differences, "; "), c.deploy())
	}
	c.server = *out.TaskDefinition
	if !strings.HasSuffix(c.databaseURL(), "?ssl=require") {
		s.failed("the server does not insist on TLS to its database", c.deploy())
	}
}

// databaseURL is where the server looks for its database. Empty: it is not known.
func (c *checklist) databaseURL() string {
	if len(c.server.ContainerDefinitions) == 0 {
		return ""
	}
	return variable(c.server.ContainerDefinitions[0], "PREFECT_API_DATABASE_CONNECTION_URL")
}

// states of a database in which it answers ("Viewing Amazon RDS DB instance status").
var answering = []string{"available", "backing-up", "configuring-enhanced-monitoring", "configuring-iam-database-auth", "configuring-log-exports", "storage-config-upgrade", "storage-optimization", "modifying"}

// database checks the server's database: its status, its address, and that it takes
// connections over TLS only.
func (c *checklist) database(ctx context.Context) finding {
	server := c.env.Server
	if !server.OwnDatabase() {
		return ok("%s is not this stack's; whether it answers is seen by the API", server.Database.ExistingHost)
	}
	out, err := c.aws.rds.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &server.Name})
	if is(err, "DBInstanceNotFound", "DBInstanceNotFoundFault") || err == nil && len(out.DBInstances) == 0 {
		return failed("there is no database "+server.Name, c.deployFix())
	}
	if err != nil {
		return unread("the database "+server.Name, err)
	}
	d := out.DBInstances[0]
	var s several
	if status := aws.ToString(d.DBInstanceStatus); !slices.Contains(answering, status) {
		s.failed("the database is "+status, "look at its events: aws rds describe-events --source-type db-instance --source-identifier "+server.Name)
	}
	c.compareDatabase(&s, d)
	endpoint := ""
	if d.Endpoint != nil {
		endpoint = fmt.Sprintf("%s:%d", aws.ToString(d.Endpoint.Address), aws.ToInt32(d.Endpoint.Port))
	}
	if url := c.databaseURL(); endpoint == "" || url != "" && !strings.Contains(url, "@"+endpoint+"/") {
		s.failed(fmt.Sprintf("the database is at %s, and the server is told of another", orNone(endpoint)), c.deploy())
	}
	c.forcedTLS(ctx, &s, d)
	return s.finding(fmt.Sprintf("%s is %s at %s, TLS only", server.Name, aws.ToString(d.DBInstanceStatus), endpoint))
}

// compareDatabase compares the database with the synthesized one.
func (c *checklist) compareDatabase(s *several, d rdstypes.DBInstance) {
	want := c.stack.Resource("aws_db_instance", "server")
	got := map[string]any{
		"instance_class": aws.ToString(d.DBInstanceClass), "multi_az": aws.ToBool(d.MultiAZ), "backup_retention_period": aws.ToInt32(d.BackupRetentionPeriod),
		"deletion_protection": aws.ToBool(d.DeletionProtection), "storage_encrypted": aws.ToBool(d.StorageEncrypted),
		"publicly_accessible": aws.ToBool(d.PubliclyAccessible), "username": aws.ToString(d.MasterUsername), "db_name": aws.ToString(d.DBName),
		"engine": aws.ToString(d.Engine),
	}
	for _, argument := range []string{"engine", "instance_class", "multi_az", "backup_retention_period", "deletion_protection", "storage_encrypted", "publicly_accessible", "username", "db_name"} {
		if w, g := fmt.Sprint(want[argument]), fmt.Sprint(got[argument]); w != g {
			s.failed(fmt.Sprintf("%s of the database is %s, configured is %s", argument, g, w), c.deploy())
		}
	}
	version, _ := want["engine_version"].(string)
	if got := aws.ToString(d.EngineVersion); got != version && !strings.HasPrefix(got, version+".") {
		s.failed(fmt.Sprintf("the database is PostgreSQL %s, configured is %s", got, version), c.deploy())
	}
}

// forcedTLS checks that the database refuses connections in clear text.
func (c *checklist) forcedTLS(ctx context.Context, s *several, d rdstypes.DBInstance) {
	if len(d.DBParameterGroups) == 0 {
		s.failed("the database has no parameter group", c.deploy())
		return
	}
	group := aws.ToString(d.DBParameterGroups[0].DBParameterGroupName)
	pages := rds.NewDescribeDBParametersPaginator(c.aws.rds, &rds.DescribeDBParametersInput{DBParameterGroupName: &group, Source: aws.String("user")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			s.unread("the parameters of the database", err)
			return
		}
		for _, p := range page.Parameters {
			if aws.ToString(p.ParameterName) == "rds.force_ssl" && aws.ToString(p.ParameterValue) == "1" {
				return
			}
		}
	}
	s.failed("the database takes connections in clear text: rds.force_ssl is not 1 in its parameter group "+group, c.deploy())
}
