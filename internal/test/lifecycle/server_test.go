package lifecycle

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/google/go-cmp/cmp"

	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/test/testtools"
)

// ownServer is an environment with a Prefect server of its own that can be destroyed, that is
// watched, and that reaches AWS through endpoints. Its pool of type ecs brings the queues, which
// the provider waits for as long.
const ownServer = "network: {endpoints: [ecr.api, ecr.dkr, logs, secretsmanager, ssmmessages]}\nworker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs}\nmonitoring: {enabled: true, emails: [a@example.com]}\nserver: {enabled: true, database: {deletion_protection: false}}\n"

// TestServerLifeCycle deploys a Prefect server of the stack's own, rotates both passwords and
// destroys all but a final snapshot, whose name holds the id of the database's security group,
// and so blocks no later deployment. It waits for RDS nearly all the time, so it runs beside the
// other life cycle.
func TestServerLifeCycle(t *testing.T) {
	t.Parallel()
	d := newLife(t)
	d.environment(ownServer)
	d.may(deployer.Deploy)
	aws := newReader(t, d.emulator)
	before := aws.inventory()

	t.Log("deploy, without any value: the passwords are made, and are in no file")
	d.apply("")
	first := []string{aws.secret("prefect-server-database"), aws.secret("prefect-api-key-new-2")}
	if user, password, _ := strings.Cut(first[1], ":"); user != "prefect" || len(password) != 40 || len(first[0]) != 40 {
		t.Errorf("the secrets hold %d characters and %q:…", len(first[0]), user)
	}

	t.Log("only what runs in the network is let into the endpoints")
	if endpoints := testtools.Call(t, aws.ec2.DescribeVpcEndpoints, &ec2.DescribeVpcEndpointsInput{}).VpcEndpoints; len(endpoints) != 6 {
		t.Errorf("%d endpoints, want five and that of S3", len(endpoints))
	}
	groupName := "group-name"
	groups := testtools.Call(t, aws.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: &groupName, Values: []string{"prefect_endpoints_sg"}}}}).SecurityGroups
	if len(groups) != 1 || len(groups[0].IpPermissions) != 1 || len(groups[0].IpPermissions[0].UserIdGroupPairs) != 2 || len(groups[0].IpPermissionsEgress) > 0 {
		t.Errorf("the endpoints' group is %+v", groups)
	}
	databases := rds.NewFromConfig(d.emulator.Config(emulator.Region))
	instances := testtools.Call(t, databases.DescribeDBInstances, &rds.DescribeDBInstancesInput{}).DBInstances
	snapshot := "prefect-server-final-" + strings.TrimPrefix(*instances[0].VpcSecurityGroups[0].VpcSecurityGroupId, "sg-")

	t.Log("the passwords rotate: both databases and services get the new ones; and the alarms get other thresholds and go to another address")
	d.environment(strings.NewReplacer("{deletion_", "{password_version: 2, deletion_", "emails: [a@", "late_minutes: 5, pending_minutes: 7, emails: [b@").Replace(ownServer) + "secret: {version: 2}\n")
	want := []string{
		"aws_cloudwatch_metric_alarm.late_runs update", "aws_cloudwatch_metric_alarm.orphaned_runs update",
		"aws_db_instance.server update",
		"aws_ecs_service.server update", "aws_ecs_service.worker update",
		"aws_ecs_task_definition.server replace", "aws_ecs_task_definition.worker replace",
		"aws_lambda_function.probe update",
		"aws_secretsmanager_secret_version.database replace", "aws_secretsmanager_secret_version.prefect_api_key replace",
		"aws_sns_topic_subscription.alarms_1 replace",
	}
	changes, plan := d.plan("")
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("plan (- want, + got)\n%s", diff)
	}
	d.apply("", plan)
	second := []string{aws.secret("prefect-server-database"), aws.secret("prefect-api-key-new-2")}
	if first[0] == second[0] || first[1] == second[1] {
		t.Error("a secret holds the old password")
	}
	d.noChanges("")

	t.Log("destroy: nothing is left but a snapshot, and no password is in anything that was written")
	d.destroy()
	if diff := cmp.Diff(before, aws.inventory()); diff != "" {
		t.Errorf("something is left (- before, + now)\n%s", diff)
	}
	snapshots := testtools.Call(t, databases.DescribeDBSnapshots, &rds.DescribeDBSnapshotsInput{}).DBSnapshots
	if !slices.ContainsFunc(snapshots, func(s types.DBSnapshot) bool { return *s.DBSnapshotIdentifier == snapshot }) {
		t.Errorf("no final snapshot is named %s: %+v", snapshot, snapshots)
	}
	d.secrets = slices.Concat(first, second)
	d.searchWorkspace()
	d.eachActionIsNeeded()
}

func (d *life) destroy() {
	d.t.Helper()
	if out, err := d.terraform("", "destroy", "-auto-approve", "-input=false", "-no-color"); err != nil {
		d.t.Fatalf("terraform destroy: %v\n%s", err, out)
	}
}
