package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
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
	cfg := emulated(e)
	return &reader{t, ec2.NewFromConfig(cfg), ecs.NewFromConfig(cfg), iam.NewFromConfig(cfg),
		secretsmanager.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg), servicediscovery.NewFromConfig(cfg),
		cloudwatch.NewFromConfig(cfg), lambda.NewFromConfig(cfg), scheduler.NewFromConfig(cfg), applicationautoscaling.NewFromConfig(cfg)}
}

// call makes a request that must succeed.
func call[In, Out, Options any](r *reader, f func(context.Context, *In, ...func(*Options)) (*Out, error), in *In) *Out {
	r.t.Helper()
	out, err := f(r.t.Context(), in)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
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
	for _, v := range call(r, r.ec2.DescribeVpcs, &ec2.DescribeVpcsInput{}).Vpcs {
		if aws.ToBool(v.IsDefault) {
			defaultVPC = aws.ToString(v.VpcId)
			continue
		}
		add("vpc", v.VpcId)
	}
	for _, s := range call(r, r.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{}).Subnets {
		if aws.ToString(s.VpcId) != defaultVPC {
			add("subnet", s.SubnetId)
		}
	}
	for _, t := range call(r, r.ec2.DescribeRouteTables, &ec2.DescribeRouteTablesInput{}).RouteTables {
		if aws.ToString(t.VpcId) != defaultVPC {
			add("route table", t.RouteTableId)
		}
	}
	for _, g := range call(r, r.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{}).SecurityGroups {
		if aws.ToString(g.VpcId) != defaultVPC {
			add("security group", g.GroupId)
		}
	}
	for _, g := range call(r, r.ec2.DescribeInternetGateways, &ec2.DescribeInternetGatewaysInput{}).InternetGateways {
		add("internet gateway", g.InternetGatewayId)
	}
	for _, g := range call(r, r.ec2.DescribeNatGateways, &ec2.DescribeNatGatewaysInput{}).NatGateways {
		if g.State != ec2types.NatGatewayStateDeleted {
			add("NAT gateway", g.NatGatewayId)
		}
	}
	for _, a := range call(r, r.ec2.DescribeAddresses, &ec2.DescribeAddressesInput{}).Addresses {
		add("address", a.AllocationId)
	}
	for _, i := range call(r, r.ec2.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{}).NetworkInterfaces {
		add("network interface", i.NetworkInterfaceId)
	}
	for _, e := range call(r, r.ec2.DescribeVpcEndpoints, &ec2.DescribeVpcEndpointsInput{}).VpcEndpoints {
		if !strings.EqualFold(string(e.State), "deleted") {
			add("VPC endpoint", e.VpcEndpointId)
		}
	}
	for _, f := range call(r, r.ec2.DescribeFlowLogs, &ec2.DescribeFlowLogsInput{}).FlowLogs {
		add("flow log", f.FlowLogId)
	}
	for _, arn := range call(r, r.ecs.ListClusters, &ecs.ListClustersInput{}).ClusterArns {
		for _, c := range call(r, r.ecs.DescribeClusters, &ecs.DescribeClustersInput{Clusters: []string{arn}}).Clusters {
			if aws.ToString(c.Status) == "ACTIVE" {
				add("cluster", c.ClusterName)
			}
		}
	}
	for _, arn := range call(r, r.ecs.ListTaskDefinitions, &ecs.ListTaskDefinitionsInput{Status: "ACTIVE"}).TaskDefinitionArns {
		add("task definition", &arn)
	}
	for _, role := range call(r, r.iam.ListRoles, &iam.ListRolesInput{}).Roles {
		add("role", role.RoleName)
	}
	for _, s := range call(r, r.secrets.ListSecrets, &secretsmanager.ListSecretsInput{IncludePlannedDeletion: aws.Bool(true)}).SecretList {
		add("secret", s.Name)
	}
	for _, g := range call(r, r.logs.DescribeLogGroups, &cloudwatchlogs.DescribeLogGroupsInput{}).LogGroups {
		add("log group", g.LogGroupName)
	}
	for _, n := range call(r, r.cloud.ListNamespaces, &servicediscovery.ListNamespacesInput{}).Namespaces {
		add("namespace", n.Name)
	}
	for _, a := range call(r, r.cloudwatch.DescribeAlarms, &cloudwatch.DescribeAlarmsInput{}).MetricAlarms {
		add("alarm", a.AlarmName)
	}
	for _, d := range call(r, r.cloudwatch.ListDashboards, &cloudwatch.ListDashboardsInput{}).DashboardEntries {
		add("dashboard", d.DashboardName)
	}
	for _, f := range call(r, r.lambda.ListFunctions, &lambda.ListFunctionsInput{}).Functions {
		add("function", f.FunctionName)
	}
	for _, s := range call(r, r.scheduler.ListSchedules, &scheduler.ListSchedulesInput{}).Schedules {
		add("schedule", s.Name)
	}
	for _, t := range call(r, r.scaling.DescribeScalableTargets, &applicationautoscaling.DescribeScalableTargetsInput{ServiceNamespace: "ecs"}).ScalableTargets {
		add("scalable target", t.ResourceId)
	}
	for _, p := range call(r, r.scaling.DescribeScalingPolicies, &applicationautoscaling.DescribeScalingPoliciesInput{ServiceNamespace: "ecs"}).ScalingPolicies {
		add("scaling policy", p.PolicyName)
	}
	slices.Sort(all)
	return all
}

// deployed is what is deployed, in the terms of the design's table. Lists are sorted, ids
// are replaced by what they stand for.
type deployed struct {
	VPC                  string
	DNS                  string
	Subnets              []string // range, route of 0.0.0.0/0, public address on launch, Name
	Zones                map[string]int
	NAT                  []string // subnet, addresses, Name
	SecurityGroup        []string
	DefaultSecurityGroup []string
	Cluster              string
	Namespace            string
	Service              []string
	CPU, Memory          string
	TaskFamily           string
	TaskRevision         int32
	Container            container
	Roles                []string
	SecretTags           map[string]string
	SecretReader         string
	LogGroup             string
}

type container struct {
	Image       string
	EntryPoint  []string
	Command     []string
	Environment []string
	Secrets     []string
	HealthCheck string
	StopTimeout int32
	Logs        string
}

// design is the table of the design: what an empty environment deploys.
var design = deployed{
	VPC: "10.0.0.0/16 prefect-ecs",
	DNS: "support true, hostnames true",
	Subnets: []string{
		"10.0.1.0/24 internet gateway false prefect-ecs",
		"10.0.2.0/24 internet gateway false prefect-ecs",
		"10.0.3.0/24 internet gateway false prefect-ecs",
		"10.0.4.0/24 NAT gateway false prefect-ecs",
		"10.0.5.0/24 NAT gateway false prefect-ecs",
		"10.0.6.0/24 NAT gateway false prefect-ecs",
	},
	Zones:                map[string]int{"us-east-1a": 2, "us-east-1b": 2, "us-east-1c": 2},
	NAT:                  []string{"10.0.1.0/24 1 prefect-ecs"},
	SecurityGroup:        []string{"egress tcp 443-443 0.0.0.0/0"},
	DefaultSecurityGroup: nil,
	Cluster:              "prefect-cluster containerInsights=enabled",
	Namespace:            "default.prefect.local DNS_PRIVATE",
	Service: []string{
		"name dev-worker", "launch type FARGATE", "desired 1", "public IP DISABLED", "group prefect_worker_sg",
		"subnets 10.0.4.0/24 10.0.5.0/24 10.0.6.0/24", "deployment 100-200 %, breaker true, rollback true",
		"tags SERVICE true",
	},
	CPU: "256", Memory: "512",
	TaskFamily: "dev-worker", TaskRevision: 1,
	Container: container{
		Image:      "prefecthq/prefect:2-latest",
		EntryPoint: []string{"/usr/bin/tini", "--", "/opt/prefect/entrypoint.sh"},
		Command: []string{"/bin/sh", "-c", `task=${ECS_CONTAINER_METADATA_URI_V4##*/}; exec "$@" --name "dev-worker-${task%%-*}"`, "worker",
			"prefect", "worker", "start", "--pool", "ecs-work-pool", "--type", "process", "--limit", "1", "--with-healthcheck"},
		Environment: []string{
			"DO_NOT_TRACK=1", "PREFECT_API_REQUEST_TIMEOUT=120",
			"PREFECT_API_URL=https://api.prefect.cloud/api/accounts/" + accountID + "/workspaces/" + workspaceID,
			"PREFECT_CLIENT_MAX_RETRIES=7", "PREFECT_CLIENT_RETRY_EXTRA_CODES=500,502,503,504",
			"PREFECT_CLI_WRAP_LINES=false", "PREFECT_LOGGING_COLORS=false", "PREFECT_LOGGING_TO_API_BATCH_SIZE=2000000", "PREFECT_WORK_POOL_NAME=ecs-work-pool",
		},
		Secrets:     []string{"PREFECT_API_KEY from prefect-api-key-new-2"},
		HealthCheck: "CMD python -c import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=8) every 30 s, 10 s, 3 times, after 120 s",
		StopTimeout: 120,
		Logs:        "awslogs /ecs/prefect-worker us-east-1 prefect-worker non-blocking",
	},
	Roles: []string{
		"prefect-ecs-flow-logs: vpc-flow-logs.amazonaws.com for 123456789012 arn:aws:ec2:us-east-1:123456789012:vpc-flow-log/*; inline write-flow-logs",
		"prefect-task-execution-role: ecs-tasks.amazonaws.com for 123456789012 arn:aws:ecs:us-east-1:123456789012:*; inline read-prefect-api-key; managed AmazonECSTaskExecutionRolePolicy",
		"prefect-task-role: ecs-tasks.amazonaws.com for 123456789012 arn:aws:ecs:us-east-1:123456789012:*",
	},
	SecretTags:   map[string]string{"Project": "prefect-worker", "Environment": "dev", "ManagedBy": "cdktf"},
	SecretReader: "secretsmanager:GetSecretValue on prefect-api-key-new-2",
	LogGroup:     "/ecs/prefect-worker 30 days",
}

func (r *reader) deployment() deployed {
	r.t.Helper()
	var d deployed
	r.network(&d)
	r.service(&d)
	r.roles(&d)

	secret := call(r, r.secrets.DescribeSecret, &secretsmanager.DescribeSecretInput{SecretId: aws.String("prefect-api-key-new-2")})
	d.SecretTags = map[string]string{}
	for _, tag := range secret.Tags {
		d.SecretTags[*tag.Key] = *tag.Value
	}
	var policy struct {
		Statement []struct{ Action, Resource []string }
	}
	r.unmarshal(aws.ToString(call(r, r.iam.GetRolePolicy, &iam.GetRolePolicyInput{RoleName: aws.String("prefect-task-execution-role"), PolicyName: aws.String("read-prefect-api-key")}).PolicyDocument), &policy)
	if len(policy.Statement) == 1 && slices.Equal(policy.Statement[0].Resource, []string{*secret.ARN}) {
		d.SecretReader = strings.Join(policy.Statement[0].Action, ",") + " on " + *secret.Name
	}

	groups := call(r, r.logs.DescribeLogGroups, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/ecs/")}).LogGroups
	for _, g := range groups {
		d.LogGroup += fmt.Sprintf("%s %d days", *g.LogGroupName, aws.ToInt32(g.RetentionInDays))
	}
	namespaces := call(r, r.cloud.ListNamespaces, &servicediscovery.ListNamespacesInput{}).Namespaces
	for _, n := range namespaces {
		d.Namespace += fmt.Sprintf("%s %s", *n.Name, n.Type)
	}
	return d
}

func (r *reader) network(d *deployed) {
	vpcs := call(r, r.ec2.DescribeVpcs, &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{{Name: aws.String("is-default"), Values: []string{"false"}}}}).Vpcs
	if len(vpcs) != 1 {
		r.t.Fatalf("%d VPCs, want 1", len(vpcs))
	}
	vpc := vpcs[0]
	d.VPC = *vpc.CidrBlock + " " + nameTag(vpc.Tags)
	attribute := func(name ec2types.VpcAttributeName) *ec2.DescribeVpcAttributeOutput {
		return call(r, r.ec2.DescribeVpcAttribute, &ec2.DescribeVpcAttributeInput{VpcId: vpc.VpcId, Attribute: name})
	}
	d.DNS = fmt.Sprintf("support %t, hostnames %t",
		*attribute(ec2types.VpcAttributeNameEnableDnsSupport).EnableDnsSupport.Value,
		*attribute(ec2types.VpcAttributeNameEnableDnsHostnames).EnableDnsHostnames.Value)

	inVPC := []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{*vpc.VpcId}}}
	defaultRoute := map[string]string{}
	for _, table := range call(r, r.ec2.DescribeRouteTables, &ec2.DescribeRouteTablesInput{Filters: inVPC}).RouteTables {
		to := "none"
		for _, route := range table.Routes {
			if aws.ToString(route.DestinationCidrBlock) == "0.0.0.0/0" && route.State == ec2types.RouteStateActive {
				switch {
				case route.NatGatewayId != nil:
					to = "NAT gateway"
				case route.GatewayId != nil:
					to = "internet gateway"
				}
			}
		}
		for _, association := range table.Associations {
			defaultRoute[aws.ToString(association.SubnetId)] = to
		}
	}
	ranges := r.subnetRanges()
	d.Zones = map[string]int{}
	for _, s := range call(r, r.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{Filters: inVPC}).Subnets {
		d.Subnets = append(d.Subnets, fmt.Sprintf("%s %s %t %s", *s.CidrBlock, defaultRoute[*s.SubnetId], aws.ToBool(s.MapPublicIpOnLaunch), nameTag(s.Tags)))
		d.Zones[*s.AvailabilityZone]++
	}
	slices.Sort(d.Subnets)
	for _, g := range call(r, r.ec2.DescribeNatGateways, &ec2.DescribeNatGatewaysInput{}).NatGateways {
		if g.State == ec2types.NatGatewayStateAvailable {
			d.NAT = append(d.NAT, fmt.Sprintf("%s %d %s", ranges[*g.SubnetId], len(g.NatGatewayAddresses), nameTag(g.Tags)))
		}
	}
	for _, g := range call(r, r.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{Filters: inVPC}).SecurityGroups {
		var rules []string
		for direction, permissions := range map[string][]ec2types.IpPermission{"ingress": g.IpPermissions, "egress": g.IpPermissionsEgress} {
			for _, p := range permissions {
				for _, to := range p.IpRanges {
					rules = append(rules, fmt.Sprintf("%s %s %d-%d %s", direction, *p.IpProtocol, aws.ToInt32(p.FromPort), aws.ToInt32(p.ToPort), *to.CidrIp))
				}
				if len(p.IpRanges) == 0 {
					rules = append(rules, direction+" to another group")
				}
			}
		}
		if *g.GroupName == "default" {
			d.DefaultSecurityGroup = rules
		} else {
			d.SecurityGroup = append(d.SecurityGroup, rules...)
		}
	}
}

func (r *reader) subnetRanges() map[string]string {
	ranges := map[string]string{}
	for _, s := range call(r, r.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{}).Subnets {
		ranges[*s.SubnetId] = *s.CidrBlock
	}
	return ranges
}

func (r *reader) service(d *deployed) {
	clusters := call(r, r.ecs.DescribeClusters, &ecs.DescribeClustersInput{Clusters: []string{"prefect-cluster"}, Include: []ecstypes.ClusterField{ecstypes.ClusterFieldSettings}}).Clusters
	for _, c := range clusters {
		d.Cluster += *c.ClusterName
		for _, s := range c.Settings {
			d.Cluster += fmt.Sprintf(" %s=%s", s.Name, *s.Value)
		}
	}
	services := call(r, r.ecs.DescribeServices, &ecs.DescribeServicesInput{Cluster: aws.String("prefect-cluster"), Services: []string{"dev-worker"}}).Services
	if len(services) != 1 {
		r.t.Fatalf("%d services, want 1", len(services))
	}
	s := services[0]
	network := s.NetworkConfiguration.AwsvpcConfiguration
	ranges := r.subnetRanges()
	var subnets []string
	for _, id := range network.Subnets {
		subnets = append(subnets, ranges[id])
	}
	slices.Sort(subnets)
	group := call(r, r.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{GroupIds: network.SecurityGroups}).SecurityGroups[0]
	rollout := s.DeploymentConfiguration
	d.Service = []string{
		"name " + *s.ServiceName,
		"launch type " + string(s.LaunchType),
		fmt.Sprintf("desired %d", s.DesiredCount),
		"public IP " + string(network.AssignPublicIp),
		"group " + *group.GroupName,
		"subnets " + strings.Join(subnets, " "),
		fmt.Sprintf("deployment %d-%d %%, breaker %t, rollback %t", *rollout.MinimumHealthyPercent, *rollout.MaximumPercent,
			rollout.DeploymentCircuitBreaker.Enable, rollout.DeploymentCircuitBreaker.Rollback),
		fmt.Sprintf("tags %s %t", s.PropagateTags, s.EnableECSManagedTags),
	}

	task := call(r, r.ecs.DescribeTaskDefinition, &ecs.DescribeTaskDefinitionInput{TaskDefinition: s.TaskDefinition}).TaskDefinition
	d.CPU, d.Memory = *task.Cpu, *task.Memory
	d.TaskFamily, d.TaskRevision = *task.Family, task.Revision
	if len(task.ContainerDefinitions) != 1 {
		r.t.Fatalf("%d containers, want 1", len(task.ContainerDefinitions))
	}
	c := task.ContainerDefinitions[0]
	d.Container = container{
		Image: *c.Image, EntryPoint: c.EntryPoint, Command: c.Command, StopTimeout: aws.ToInt32(c.StopTimeout),
		HealthCheck: fmt.Sprintf("%s every %d s, %d s, %d times, after %d s", strings.Join(c.HealthCheck.Command, " "),
			*c.HealthCheck.Interval, *c.HealthCheck.Timeout, *c.HealthCheck.Retries, *c.HealthCheck.StartPeriod),
		Logs: fmt.Sprintf("%s %s %s %s %s", c.LogConfiguration.LogDriver, c.LogConfiguration.Options["awslogs-group"],
			c.LogConfiguration.Options["awslogs-region"], c.LogConfiguration.Options["awslogs-stream-prefix"], c.LogConfiguration.Options["mode"]),
	}
	for _, v := range c.Environment {
		d.Container.Environment = append(d.Container.Environment, *v.Name+"="+*v.Value)
	}
	slices.Sort(d.Container.Environment)
	for _, s := range c.Secrets {
		secret := call(r, r.secrets.DescribeSecret, &secretsmanager.DescribeSecretInput{SecretId: s.ValueFrom})
		d.Container.Secrets = append(d.Container.Secrets, *s.Name+" from "+*secret.Name)
	}
}

func (r *reader) roles(d *deployed) {
	for _, role := range call(r, r.iam.ListRoles, &iam.ListRolesInput{}).Roles {
		document, err := url.QueryUnescape(*role.AssumeRolePolicyDocument)
		if err != nil {
			r.t.Fatal(err)
		}
		var trust struct {
			Statement []struct {
				Principal struct{ Service string }
				Condition struct{ StringEquals, ArnLike map[string]string }
			}
		}
		r.unmarshal(document, &trust)
		text := *role.RoleName + ":"
		for _, s := range trust.Statement {
			text += fmt.Sprintf(" %s for %s %s", s.Principal.Service, s.Condition.StringEquals["aws:SourceAccount"], s.Condition.ArnLike["aws:SourceArn"])
		}
		for _, name := range call(r, r.iam.ListRolePolicies, &iam.ListRolePoliciesInput{RoleName: role.RoleName}).PolicyNames {
			text += "; inline " + name
		}
		for _, p := range call(r, r.iam.ListAttachedRolePolicies, &iam.ListAttachedRolePoliciesInput{RoleName: role.RoleName}).AttachedPolicies {
			text += "; managed " + *p.PolicyName
		}
		d.Roles = append(d.Roles, text)
	}
	slices.Sort(d.Roles)
}

// secret is the value that a task would get.
func (r *reader) secret(name string) string {
	r.t.Helper()
	return aws.ToString(call(r, r.secrets.GetSecretValue, &secretsmanager.GetSecretValueInput{SecretId: &name}).SecretString)
}

func (r *reader) unmarshal(document string, v any) {
	r.t.Helper()
	if decoded, err := url.QueryUnescape(document); err == nil {
		document = decoded
	}
	if err := json.Unmarshal([]byte(document), v); err != nil {
		r.t.Fatalf("%s: %v", document, err)
	}
}

func nameTag(tags []ec2types.Tag) string {
	for _, tag := range tags {
		if *tag.Key == "Name" {
			return *tag.Value
		}
	}
	return ""
}
