package main

import (
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/access"
	"prefect-worker-ecs/internal/review"
	"prefect-worker-ecs/internal/rights"
)

// byHand is the original design, as somebody makes it without this program: other descriptions,
// no retention, no tag but Name.
func byHand(t *testing.T, cfg aws.Config) (vpc, service string) {
	t.Helper()
	ctx := t.Context()
	cloud, cluster, roles := ec2.NewFromConfig(cfg), ecs.NewFromConfig(cfg), iam.NewFromConfig(cfg)
	named := func(kind ec2types.ResourceType) []ec2types.TagSpecification {
		return []ec2types.TagSpecification{{ResourceType: kind, Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String("prefect-ecs")}}}}
	}
	vpc = *must(cloud.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: named(ec2types.ResourceTypeVpc)})).Vpc.VpcId
	must(cloud.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &vpc, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}}))
	gateway := must(cloud.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})).InternetGateway.InternetGatewayId
	must(cloud.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{VpcId: &vpc, InternetGatewayId: gateway}))
	subnets := []string{}
	for i := range 6 {
		subnets = append(subnets, *must(cloud.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("10.0." + string(rune('1'+i)) + ".0/24"),
			AvailabilityZone: aws.String("us-east-1" + string(rune('a'+i%3))), TagSpecifications: named(ec2types.ResourceTypeSubnet)})).Subnet.SubnetId)
	}
	address := must(cloud.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: ec2types.DomainTypeVpc})).AllocationId
	nat := must(cloud.CreateNatGateway(ctx, &ec2.CreateNatGatewayInput{SubnetId: &subnets[0], AllocationId: address, ConnectivityType: ec2types.ConnectivityTypePublic, TagSpecifications: named(ec2types.ResourceTypeNatgateway)})).NatGateway.NatGatewayId
	for i, route := range []ec2.CreateRouteInput{{GatewayId: gateway}, {NatGatewayId: nat}} {
		route.RouteTableId = must(cloud.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &vpc})).RouteTable.RouteTableId
		route.DestinationCidrBlock = aws.String("0.0.0.0/0")
		must(cloud.CreateRoute(ctx, &route))
		for _, subnet := range subnets[3*i : 3*i+3] {
			must(cloud.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: route.RouteTableId, SubnetId: &subnet}))
		}
	}
	group := must(cloud.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &vpc, GroupName: aws.String("prefect_worker_sg"), Description: aws.String("Managed by Terraform")})).GroupId
	must(cloud.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: group, IpPermissions: []ec2types.IpPermission{
		{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}}))

	role := must(roles.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("prefect-task-execution-role"),
		AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)})).Role
	must(roles.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: role.RoleName, PolicyArn: aws.String("arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")}))
	must(secretsmanager.NewFromConfig(cfg).CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("prefect-api-key-new-2"), SecretString: aws.String("pnu_of_before")}))
	must(cloudwatchlogs.NewFromConfig(cfg).CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/ecs/prefect-worker")}))
	discovery := servicediscovery.NewFromConfig(cfg)
	// A namespace of the same name in another VPC is somebody else's.
	other := *must(cloud.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})).Vpc.VpcId
	for _, in := range []*string{&other, &vpc} {
		must(discovery.CreatePrivateDnsNamespace(ctx, &servicediscovery.CreatePrivateDnsNamespaceInput{Name: aws.String("default.prefect.local"), Vpc: in}))
	}
	must(cluster.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: aws.String("prefect-cluster")}))
	must(cluster.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{Family: aws.String("dev-worker"), Cpu: aws.String("256"), Memory: aws.String("512"),
		NetworkMode: ecstypes.NetworkModeAwsvpc, RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate}, ExecutionRoleArn: role.Arn,
		ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("worker"), Image: aws.String("prefecthq/prefect:2-latest")}}}))
	service = *must(cluster.CreateService(ctx, &ecs.CreateServiceInput{Cluster: aws.String("prefect-cluster"), ServiceName: aws.String("dev-worker"), TaskDefinition: aws.String("dev-worker"),
		DesiredCount: aws.Int32(2), LaunchType: ecstypes.LaunchTypeFargate,
		NetworkConfiguration: &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{Subnets: subnets[3:], SecurityGroups: []string{*group}}}})).Service.ServiceArn
	return vpc, service
}

// TestAdopt takes over what was made by hand, deploys, and destroys it.
func TestAdopt(t *testing.T) {
	project, cfg := deployable(t)
	// Who adopts has no right but those that policy --adopt prints.
	guard, err := rights.Start(rights.Options{AWS: cfg, Journal: func(call rights.Call) {
		if !call.Allowed {
			t.Error(call)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(guard.Close)
	policy, _, err := run(t, "policy", "--adopt", "--account", "123456789012")
	if err != nil {
		t.Fatal(err)
	}
	adopter := guard.As("arn:aws:iam::123456789012:user/adopter", must(access.Parse(policy)))
	everything := os.Getenv("AWS_ACCESS_KEY_ID")
	adopt := func() string {
		t.Helper()
		t.Setenv("AWS_ENDPOINT_URL", guard.Endpoint())
		t.Setenv("AWS_ACCESS_KEY_ID", adopter)
		out, _, err := run(t, "adopt")
		t.Setenv("AWS_ENDPOINT_URL", *cfg.BaseEndpoint)
		t.Setenv("AWS_ACCESS_KEY_ID", everything)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return out
	}

	// GIVEN the original design WHEN it is adopted
	vpc, service := byHand(t, cfg)
	out := adopt()
	t.Log(out)
	// THEN all is found, nothing would be destroyed, and what differs is named with its option
	for _, want := range []string{
		"aws_vpc.main                                      " + vpc,
		"aws_ecs_service.worker                            prefect-cluster/dev-worker",
		"Not found, made by deploy:", "  aws_flow_log.main\n", "Made by deploy, whatever there is:",
		"\n  worker.desired_count: aws_ecs_service.worker desired_count\n",
		"\n  logs.retention_days: aws_cloudwatch_log_group.worker retention_in_days\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	for _, not := range []string{"warning:", " to replace", " to destroy", "pnu_"} {
		if strings.Contains(out, not) {
			t.Errorf("%q is in\n%s", not, out)
		}
	}
	env, err := config.LoadOne(config.Dir, "dev")
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]int{"aws_vpc": 1, "aws_subnet": 6, "aws_internet_gateway": 1, "aws_nat_gateway": 1, "aws_eip": 1, "aws_route_table": 2, "aws_route": 2,
		"aws_route_table_association": 6, "aws_security_group": 1, "aws_vpc_security_group_egress_rule": 1, "aws_service_discovery_private_dns_namespace": 1,
		"aws_ecs_cluster": 1, "aws_ecs_service": 1, "aws_iam_role": 1, "aws_iam_role_policy_attachment": 1, "aws_secretsmanager_secret": 1, "aws_cloudwatch_log_group": 1} {
		got := 0
		for address := range env.Imports {
			if strings.HasPrefix(address, kind+".") {
				got++
			}
		}
		if got != want {
			t.Errorf("%d of type %s are imported, want %d: %v", got, kind, want, env.Imports)
		}
	}

	// WHEN it is deployed THEN the same service runs in the same VPC, and nothing is left to do
	terraform(t, project, "apply")
	services := must(ecs.NewFromConfig(cfg).DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: aws.String("prefect-cluster"), Services: []string{"dev-worker"}})).Services
	if len(services) != 1 || *services[0].ServiceArn != service || *services[0].Status != "ACTIVE" || !strings.HasSuffix(*services[0].TaskDefinition, "dev-worker:2") {
		t.Errorf("the services are %+v", services)
	}
	state := must(project.State(t.Context(), "dev"))
	if state["aws_vpc.main"] != vpc {
		t.Errorf("the VPC in the state is %s, want %s", state["aws_vpc.main"], vpc)
	}
	if out, _, err := run(t, "plan"); err != nil {
		t.Errorf("a plan after it: %v\n%s", err, out)
	}
	// AND adopting again finds nothing new, and keeps what was written
	before := must(os.ReadFile(config.ImportsFile(config.Dir, "dev")))
	out = adopt()
	if after := must(os.ReadFile(config.ImportsFile(config.Dir, "dev"))); string(after) != string(before) || strings.Contains(out, "Found:") {
		t.Errorf("%s\n%s\n%s", out, before, after)
	}

	// WHEN it is destroyed THEN nothing is left of it, and adopt removes its file
	terraform(t, project, "destroy")
	if vpcs := must(ec2.NewFromConfig(cfg).DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})).Vpcs; len(vpcs) != 2 {
		t.Errorf("%d VPCs are left, want the default one and somebody else's", len(vpcs))
	}
	if left := must(project.State(t.Context(), "dev")); len(left) != 0 {
		t.Errorf("the state holds %v", left)
	}
	if out := adopt(); !strings.Contains(out, "Nothing is to be taken over.") {
		t.Error(out)
	}
	if _, err := os.Stat(config.ImportsFile(config.Dir, "dev")); !os.IsNotExist(err) {
		t.Errorf("the file of imports: %v", err)
	}
}

func TestAdoptWarnsOfAReplacement(t *testing.T) {
	attribute := review.Attribute{Path: "availability_zone", Before: "us-east-1b", After: "us-east-1a", ForcesReplacement: true}
	for action, warned := range map[review.Action]bool{review.Change: false, review.Replace: true} {
		// GIVEN a plan for what was found WHEN it is shown
		var out strings.Builder
		printDifferences(&out, review.Report{Environment: "dev", Changes: []review.Resource{{Address: "aws_subnet.private_1", Action: action, Attributes: []review.Attribute{attribute}}}})
		// THEN a replacement is warned of before all, and the option that avoids it is named
		if got := strings.HasPrefix(out.String(), "\nwarning: deploy would destroy or replace 1 of what exists."); got != warned {
			t.Errorf("%s: %s", action, out.String())
		}
		if !strings.Contains(out.String(), "\n  network.availability_zones: aws_subnet.private_1 availability_zone\n") {
			t.Errorf("%s: %s", action, out.String())
		}
	}
}
