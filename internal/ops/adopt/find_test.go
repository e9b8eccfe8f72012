package adopt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cloudwatchtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventstypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/terraform/stackjson"
	"prefect-worker-ecs/internal/test/deployment"
	"prefect-worker-ecs/internal/test/golden"
	"prefect-worker-ecs/internal/test/testtools"
)

// TestFind looks for all that the golden stacks have: in an empty account, where each service must
// be understood when it says that there is nothing, and for some that life cycles do not adopt.
func TestFind(t *testing.T) {
	emu, err := emulator.Start(t.Context(), emulator.Options{Python: testtools.Environment(t, pyenv.Moto), Dir: t.TempDir()})
	testtools.NoError(t, err)
	t.Cleanup(func() { _ = emu.Stop(context.Background()) })
	cfg := testtools.AWS(t, emu.Env(emulator.Region))
	// Each look is somebody's who has only the policy for it.
	proxy, err := enforce.Start(enforce.Options{AWS: cfg, Deployer: deployment.Permissions(cfg), Journal: func(call enforce.Call) {
		if !call.Allowed {
			t.Error(call)
		}
	}})
	testtools.NoError(t, err)
	t.Cleanup(proxy.Close)
	find := func(stack *stackjson.Stack) ([]Resource, []string, error) {
		document, err := deployer.Policy(stack, deployer.Adopt)
		if err != nil {
			return nil, nil, err
		}
		as := cfg.Copy()
		as.BaseEndpoint = aws.String(proxy.Endpoint())
		as.Credentials = credentials.NewStaticCredentialsProvider(proxy.As("arn:aws:iam::123456789012:user/adopter", document), "x", "")
		return Find(t.Context(), as, stack, nil, nil)
	}
	for environment := range golden.Stacks(t) {
		found, beside, err := find(stack(t, environment))
		if err != nil {
			t.Errorf("%s: %v", environment, err)
		}
		if len(beside) > 0 {
			t.Errorf("%s: %q", environment, beside)
		}
		for _, r := range found {
			if r.ID != "" {
				t.Errorf("%s: %s is found as %s", environment, r.Address, r.ID)
			}
		}
	}

	is := func(stack *stackjson.Stack, want map[string]string) {
		t.Helper()
		found, _, err := find(stack)
		testtools.NoError(t, err)
		for _, r := range found {
			if id, asked := want[r.Address]; asked && id != r.ID {
				t.Errorf("%s is %q, want %q", r.Address, r.ID, id)
			}
		}
	}
	// GIVEN NAT gateways in the second public subnet of two stacks
	cloud, dev, full := ec2.NewFromConfig(cfg), stack(t, "dev"), stack(t, "full")
	nat, address := natByHand(t, cloud, dev)
	second, _ := natByHand(t, cloud, full)
	// THEN the one that has its only one in the first takes it, the one with one in each does not
	is(dev, map[string]string{"aws_nat_gateway.nat_1": nat, "aws_eip.nat_1": address})
	is(full, map[string]string{"aws_nat_gateway.nat_1": "", "aws_nat_gateway.nat_2": second, "aws_eip.nat_1": ""})
	// WHEN it is gone, and addresses of its name are left, one of them in use
	testtools.Call(t, cloud.DeleteNatGateway, &ec2.DeleteNatGatewayInput{NatGatewayId: &nat})
	named := []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeElasticIp, Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String("prefect-ecs")}}}}
	var left []string
	for range 2 {
		left = append(left, *testtools.Call(t, cloud.AllocateAddress, &ec2.AllocateAddressInput{Domain: ec2types.DomainTypeVpc, TagSpecifications: named}).AllocationId)
	}
	subnet := testtools.Call(t, cloud.DescribeSubnets, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{{Name: aws.String("cidr-block"), Values: []string{"10.0.1.0/24"}}}}).Subnets[0].SubnetId
	use := testtools.Call(t, cloud.CreateNetworkInterface, &ec2.CreateNetworkInterfaceInput{SubnetId: subnet}).NetworkInterface.NetworkInterfaceId
	testtools.Call(t, cloud.AssociateAddress, &ec2.AssociateAddressInput{AllocationId: &left[0], NetworkInterfaceId: use})
	// THEN the other one is taken
	is(dev, map[string]string{"aws_nat_gateway.nat_1": "", "aws_eip.nat_1": left[1]})

	// GIVEN what others have put into the VPC, the namespace and the role, and two flow logs
	vpc := testtools.Call(t, cloud.DescribeSubnets, &ec2.DescribeSubnetsInput{SubnetIds: []string{*subnet}}).Subnets[0].VpcId
	group := testtools.Call(t, cloud.CreateSecurityGroup, &ec2.CreateSecurityGroupInput{VpcId: vpc, GroupName: aws.String("theirs"), Description: aws.String("d")}).GroupId
	testtools.Call(t, cloud.CreateSecurityGroup, &ec2.CreateSecurityGroupInput{VpcId: vpc, GroupName: aws.String("prefect_worker_sg"), Description: aws.String("d")})
	var logs []string
	for _, destination := range []string{"/vpc/prefect-ecs", "theirs"} {
		testtools.Call(t, cloudwatchlogs.NewFromConfig(cfg).CreateLogGroup, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &destination})
		logs = append(logs, testtools.Call(t, cloud.CreateFlowLogs, &ec2.CreateFlowLogsInput{ResourceType: ec2types.FlowLogsResourceTypeVpc, ResourceIds: []string{*vpc}, TrafficType: ec2types.TrafficTypeAll,
			LogDestination: aws.String("arn:aws:logs:us-east-1:123456789012:log-group:" + destination), DeliverLogsPermissionArn: aws.String("arn:aws:iam::123456789012:role/r")}).FlowLogIds...)
	}
	names, roles := servicediscovery.NewFromConfig(cfg), iam.NewFromConfig(cfg)
	testtools.Call(t, names.CreatePrivateDnsNamespace, &servicediscovery.CreatePrivateDnsNamespaceInput{Name: aws.String("default.prefect.local"), Vpc: vpc})
	namespace := testtools.Call(t, names.ListNamespaces, &servicediscovery.ListNamespacesInput{}).Namespaces[0].Id
	service := testtools.Call(t, names.CreateService, &servicediscovery.CreateServiceInput{Name: aws.String("theirs"), NamespaceId: namespace}).Service.Id
	role, readOnly := aws.String("prefect-task-execution-role"), aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")
	testtools.Call(t, roles.CreateRole, &iam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
	for _, policy := range []string{"read-prefect-api-key", "pass-all"} {
		testtools.Call(t, roles.PutRolePolicy, &iam.PutRolePolicyInput{RoleName: role, PolicyName: &policy, PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:PassRole","Resource":"*"}]}`)})
	}
	testtools.Call(t, roles.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: readOnly})
	endpoint := testtools.Call(t, cloud.CreateVpcEndpoint, &ec2.CreateVpcEndpointInput{VpcId: vpc, ServiceName: aws.String("com.amazonaws.us-east-1.dynamodb")}).VpcEndpoint.VpcEndpointId
	table := testtools.Call(t, cloud.CreateRouteTable, &ec2.CreateRouteTableInput{VpcId: vpc}).RouteTable.RouteTableId
	theirs := testtools.Call(t, cloud.CreateSubnet, &ec2.CreateSubnetInput{VpcId: vpc, CidrBlock: aws.String("10.0.99.0/24")}).Subnet.SubnetId
	tasks, name := awsecs.NewFromConfig(cfg), aws.String("theirs")
	testtools.Call(t, tasks.CreateCluster, &awsecs.CreateClusterInput{ClusterName: aws.String("prefect-cluster")})
	testtools.Call(t, tasks.RegisterTaskDefinition, &awsecs.RegisterTaskDefinitionInput{Family: name, Cpu: aws.String("256"), Memory: aws.String("512"), ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: name, Image: name}}})
	testtools.Call(t, tasks.CreateService, &awsecs.CreateServiceInput{Cluster: aws.String("prefect-cluster"), ServiceName: name, TaskDefinition: name, DesiredCount: aws.Int32(0)})
	// WHEN the stack is looked for
	_, beside, err := find(dev)
	testtools.NoError(t, err)
	// THEN theirs are said, and the program's own are not
	want := []string{"the security group " + *group + " (theirs)", "the endpoint " + *endpoint + " (com.amazonaws.us-east-1.dynamodb)", "the subnet " + *theirs + " (10.0.99.0/24)", "the route table " + *table, "the flow log " + logs[1],
		"the rule sgr-", "the service theirs of the cluster prefect-cluster", "the Cloud Map service " + *service + " (theirs)",
		"the policy pass-all of the role " + *role, "the policy " + *readOnly + " of the role " + *role}
	if !slices.EqualFunc(beside, want, strings.HasPrefix) {
		t.Errorf("beside are %q, want %q", beside, want)
	}
	is(dev, map[string]string{"aws_flow_log.main": logs[0]})

	// GIVEN queues, a rule with its target, and an alarm
	queues, events := sqs.NewFromConfig(cfg), eventbridge.NewFromConfig(cfg)
	queue := testtools.Call(t, queues.CreateQueue, &sqs.CreateQueueInput{QueueName: aws.String("ecs-worker-task-events")})
	ecs := stack(t, "ecs")
	rule := ecs.Resource("aws_cloudwatch_event_rule", "task_events")["name"].(string)
	testtools.Call(t, events.PutRule, &eventbridge.PutRuleInput{Name: &rule, EventPattern: aws.String(`{"source":["aws.ecs"]}`)})
	testtools.Call(t, events.PutTargets, &eventbridge.PutTargetsInput{Rule: &rule, Targets: []eventstypes.Target{
		{Id: aws.String("mine"), Arn: aws.String("arn:aws:sqs:us-east-1:123456789012:ecs-worker-task-events")}}})
	testtools.Call(t, cloudwatch.NewFromConfig(cfg).PutMetricAlarm, &cloudwatch.PutMetricAlarmInput{AlarmName: aws.String("ecs-worker-memory"), MetricName: aws.String("MemoryUtilization"), Namespace: aws.String("AWS/ECS"),
		Statistic: cloudwatchtypes.StatisticAverage, Period: aws.Int32(60), EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(1), ComparisonOperator: cloudwatchtypes.ComparisonOperatorGreaterThanThreshold})
	// WHEN they are looked for THEN they are found, and nothing else
	found, _, err := find(ecs)
	testtools.NoError(t, err)
	ids := map[string]string{"aws_sqs_queue.task_events": strings.Replace(*queue.QueueUrl, emu.Endpoint, proxy.Endpoint(), 1), "aws_cloudwatch_event_rule.task_events": rule,
		"aws_cloudwatch_event_target.task_events": rule + "/mine", "aws_cloudwatch_metric_alarm.memory": "ecs-worker-memory"}
	for _, r := range found {
		if r.ID != ids[r.Address] {
			t.Errorf("%s is %q, want %q", r.Address, r.ID, ids[r.Address])
		}
	}

	// GIVEN a service that is scaled
	scaler := applicationautoscaling.NewFromConfig(cfg)
	cluster, worker := "prefect-cluster-full", "flow-worker"
	testtools.Call(t, tasks.CreateCluster, &awsecs.CreateClusterInput{ClusterName: &cluster})
	testtools.Call(t, tasks.RegisterTaskDefinition, &awsecs.RegisterTaskDefinitionInput{Family: &worker, Cpu: aws.String("256"), Memory: aws.String("512"), ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: &worker, Image: &worker}}})
	testtools.Call(t, tasks.CreateService, &awsecs.CreateServiceInput{Cluster: &cluster, ServiceName: &worker, TaskDefinition: &worker, DesiredCount: aws.Int32(0)})
	resource, dimension := "service/"+cluster+"/"+worker, scalingtypes.ScalableDimensionECSServiceDesiredCount
	testtools.Call(t, scaler.RegisterScalableTarget, &applicationautoscaling.RegisterScalableTargetInput{ServiceNamespace: "ecs", ResourceId: &resource, ScalableDimension: dimension, MinCapacity: aws.Int32(0), MaxCapacity: aws.Int32(9)})
	testtools.Call(t, scaler.PutScalingPolicy, &applicationautoscaling.PutScalingPolicyInput{ServiceNamespace: "ecs", ResourceId: &resource, ScalableDimension: dimension, PolicyName: aws.String("flow-worker-scale-out"),
		PolicyType: scalingtypes.PolicyTypeStepScaling, StepScalingPolicyConfiguration: &scalingtypes.StepScalingPolicyConfiguration{AdjustmentType: scalingtypes.AdjustmentTypeChangeInCapacity}})
	// THEN the target and the one policy of the name are found
	is(full, map[string]string{"aws_appautoscaling_target.worker": "ecs/" + resource + "/ecs:service:DesiredCount",
		"aws_appautoscaling_policy.scale_out": "ecs/" + resource + "/ecs:service:DesiredCount/flow-worker-scale-out", "aws_appautoscaling_policy.scale_in": ""})
}

// natByHand makes a stack's VPC and first two public subnets, and a NAT gateway in the second one.
func natByHand(t *testing.T, cloud *ec2.Client, stack *stackjson.Stack) (gateway, address string) {
	t.Helper()
	vpc := stack.Resource("aws_vpc", "main")
	name := fmt.Sprint(vpc["tags"].(map[string]any)["Name"])
	id := testtools.Call(t, cloud.CreateVpc, &ec2.CreateVpcInput{CidrBlock: aws.String(fmt.Sprint(vpc["cidr_block"])), TagSpecifications: []ec2types.TagSpecification{
		{ResourceType: ec2types.ResourceTypeVpc, Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: &name}}}}}).Vpc.VpcId
	var subnet *string
	for _, public := range []string{"public_1", "public_2"} {
		subnet = testtools.Call(t, cloud.CreateSubnet, &ec2.CreateSubnetInput{VpcId: id, CidrBlock: aws.String(fmt.Sprint(stack.Resource("aws_subnet", public)["cidr_block"]))}).Subnet.SubnetId
	}
	address = *testtools.Call(t, cloud.AllocateAddress, &ec2.AllocateAddressInput{Domain: ec2types.DomainTypeVpc}).AllocationId
	return *testtools.Call(t, cloud.CreateNatGateway, &ec2.CreateNatGatewayInput{SubnetId: subnet, AllocationId: &address}).NatGateway.NatGatewayId, address
}
