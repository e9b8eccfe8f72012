package main

import (
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

	role := must(roles.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("prefect-task-execution-role"), MaxSessionDuration: aws.Int32(7200),
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
	must(cluster.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: aws.String("prefect-cluster"), Configuration: &ecstypes.ClusterConfiguration{ExecuteCommandConfiguration: &ecstypes.ExecuteCommandConfiguration{Logging: ecstypes.ExecuteCommandLoggingDefault}}}))
	must(cluster.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{Family: aws.String("dev-worker"), Cpu: aws.String("256"), Memory: aws.String("512"),
		NetworkMode: ecstypes.NetworkModeAwsvpc, RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate}, ExecutionRoleArn: role.Arn,
		ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("worker"), Image: aws.String("prefecthq/prefect:2-latest")}}}))
	service = *must(cluster.CreateService(ctx, &ecs.CreateServiceInput{Cluster: aws.String("prefect-cluster"), ServiceName: aws.String("dev-worker"), TaskDefinition: aws.String("dev-worker"),
		DesiredCount: aws.Int32(2), LaunchType: ecstypes.LaunchTypeFargate,
		NetworkConfiguration: &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{Subnets: subnets[3:], SecurityGroups: []string{*group}}}})).Service.ServiceArn
	return vpc, service
}
