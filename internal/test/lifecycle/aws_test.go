package lifecycle

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"

	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/test/testtools"
)

// reader reads back what is deployed, through the AWS API.
type reader struct {
	t       *testing.T
	ec2     *ec2.Client
	ecs     *ecs.Client
	iam     *iam.Client
	secrets *secretsmanager.Client
	logs    *cloudwatchlogs.Client
	cloud   *servicediscovery.Client

	cloudwatch *cloudwatch.Client
	lambda     *lambda.Client
	scheduler  *scheduler.Client
	scaling    *applicationautoscaling.Client
}

func newReader(t *testing.T, e *emulator.Emulator) *reader {
	t.Helper()
	cfg := e.Config(emulator.Region)
	return &reader{t, ec2.NewFromConfig(cfg), ecs.NewFromConfig(cfg), iam.NewFromConfig(cfg),
		secretsmanager.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg), servicediscovery.NewFromConfig(cfg),
		cloudwatch.NewFromConfig(cfg), lambda.NewFromConfig(cfg), scheduler.NewFromConfig(cfg), applicationautoscaling.NewFromConfig(cfg)}
}

// inventory lists all that exists, but for what a new account has (the default VPC).
func (r *reader) inventory() []string {
	var all []string
	add := func(kind string, ids ...*string) {
		for _, id := range ids {
			all = append(all, kind+" "+aws.ToString(id))
		}
	}
	defaultVPC := ""
	for _, v := range testtools.Call(r.t, r.ec2.DescribeVpcs, &ec2.DescribeVpcsInput{}).Vpcs {
		if aws.ToBool(v.IsDefault) {
			defaultVPC = aws.ToString(v.VpcId)
			continue
		}
		add("vpc", v.VpcId)
	}
	for _, s := range testtools.Call(r.t, r.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{}).Subnets {
		if aws.ToString(s.VpcId) != defaultVPC {
			add("subnet", s.SubnetId)
		}
	}
	for _, t := range testtools.Call(r.t, r.ec2.DescribeRouteTables, &ec2.DescribeRouteTablesInput{}).RouteTables {
		if aws.ToString(t.VpcId) != defaultVPC {
			add("route table", t.RouteTableId)
		}
	}
	for _, g := range testtools.Call(r.t, r.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{}).SecurityGroups {
		if aws.ToString(g.VpcId) != defaultVPC {
			add("security group", g.GroupId)
		}
	}
	for _, g := range testtools.Call(r.t, r.ec2.DescribeInternetGateways, &ec2.DescribeInternetGatewaysInput{}).InternetGateways {
		add("internet gateway", g.InternetGatewayId)
	}
	for _, g := range testtools.Call(r.t, r.ec2.DescribeNatGateways, &ec2.DescribeNatGatewaysInput{}).NatGateways {
		if g.State != ec2types.NatGatewayStateDeleted {
			add("NAT gateway", g.NatGatewayId)
		}
	}
	for _, a := range testtools.Call(r.t, r.ec2.DescribeAddresses, &ec2.DescribeAddressesInput{}).Addresses {
		add("address", a.AllocationId)
	}
	for _, i := range testtools.Call(r.t, r.ec2.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{}).NetworkInterfaces {
		add("network interface", i.NetworkInterfaceId)
	}
	for _, e := range testtools.Call(r.t, r.ec2.DescribeVpcEndpoints, &ec2.DescribeVpcEndpointsInput{}).VpcEndpoints {
		if !strings.EqualFold(string(e.State), "deleted") {
			add("VPC endpoint", e.VpcEndpointId)
		}
	}
	for _, f := range testtools.Call(r.t, r.ec2.DescribeFlowLogs, &ec2.DescribeFlowLogsInput{}).FlowLogs {
		add("flow log", f.FlowLogId)
	}
	for _, arn := range testtools.Call(r.t, r.ecs.ListClusters, &ecs.ListClustersInput{}).ClusterArns {
		for _, c := range testtools.Call(r.t, r.ecs.DescribeClusters, &ecs.DescribeClustersInput{Clusters: []string{arn}}).Clusters {
			if aws.ToString(c.Status) == "ACTIVE" {
				add("cluster", c.ClusterName)
			}
		}
	}
	for _, arn := range testtools.Call(r.t, r.ecs.ListTaskDefinitions, &ecs.ListTaskDefinitionsInput{Status: "ACTIVE"}).TaskDefinitionArns {
		add("task definition", &arn)
	}
	for _, role := range testtools.Call(r.t, r.iam.ListRoles, &iam.ListRolesInput{}).Roles {
		add("role", role.RoleName)
	}
	for _, s := range testtools.Call(r.t, r.secrets.ListSecrets, &secretsmanager.ListSecretsInput{IncludePlannedDeletion: aws.Bool(true)}).SecretList {
		add("secret", s.Name)
	}
	for _, g := range testtools.Call(r.t, r.logs.DescribeLogGroups, &cloudwatchlogs.DescribeLogGroupsInput{}).LogGroups {
		add("log group", g.LogGroupName)
	}
	for _, n := range testtools.Call(r.t, r.cloud.ListNamespaces, &servicediscovery.ListNamespacesInput{}).Namespaces {
		add("namespace", n.Name)
	}
	for _, a := range testtools.Call(r.t, r.cloudwatch.DescribeAlarms, &cloudwatch.DescribeAlarmsInput{}).MetricAlarms {
		add("alarm", a.AlarmName)
	}
	for _, d := range testtools.Call(r.t, r.cloudwatch.ListDashboards, &cloudwatch.ListDashboardsInput{}).DashboardEntries {
		add("dashboard", d.DashboardName)
	}
	for _, f := range testtools.Call(r.t, r.lambda.ListFunctions, &lambda.ListFunctionsInput{}).Functions {
		add("function", f.FunctionName)
	}
	for _, s := range testtools.Call(r.t, r.scheduler.ListSchedules, &scheduler.ListSchedulesInput{}).Schedules {
		add("schedule", s.Name)
	}
	for _, t := range testtools.Call(r.t, r.scaling.DescribeScalableTargets, &applicationautoscaling.DescribeScalableTargetsInput{ServiceNamespace: "ecs"}).ScalableTargets {
		add("scalable target", t.ResourceId)
	}
	for _, p := range testtools.Call(r.t, r.scaling.DescribeScalingPolicies, &applicationautoscaling.DescribeScalingPoliciesInput{ServiceNamespace: "ecs"}).ScalingPolicies {
		add("scaling policy", p.PolicyName)
	}
	slices.Sort(all)
	return all
}

// definition is the task definition of the service that is deployed.
func (r *reader) definition() *ecstypes.TaskDefinition {
	r.t.Helper()
	service := testtools.Call(r.t, r.ecs.DescribeServices, &ecs.DescribeServicesInput{Cluster: aws.String("prefect-cluster"), Services: []string{"dev-worker"}}).Services[0]
	return testtools.Call(r.t, r.ecs.DescribeTaskDefinition, &ecs.DescribeTaskDefinitionInput{TaskDefinition: service.TaskDefinition}).TaskDefinition
}

// secret is the value that a task would get.
func (r *reader) secret(name string) string {
	r.t.Helper()
	return aws.ToString(testtools.Call(r.t, r.secrets.GetSecretValue, &secretsmanager.GetSecretValueInput{SecretId: &name}).SecretString)
}
