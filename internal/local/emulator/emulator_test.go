package emulator

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

func TestTwoEmulatorsRunSideBySideAndStop(t *testing.T) {
	t.Setenv("AWS_PROFILE", "of-the-user") // it must not reach moto
	env := testtools.Environment(t, pyenv.Moto)
	// GIVEN two at once
	a, err := Start(t.Context(), Options{Python: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	b, err := Start(t.Context(), Options{Python: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.Background())
	if a.Endpoint == b.Endpoint {
		t.Fatalf("both are at %s", a.Endpoint)
	}

	// THEN each answers for itself
	t.Run("as AWS where moto does not", func(t *testing.T) { answersAsAWS(t, a) })
	t.Run("malformed calls are refused", func(t *testing.T) { refusesMalformedCalls(t, a) })
	t.Run("tasks are protected", func(t *testing.T) { protectsTasks(t, a) })
	t.Run("services are scaled", func(t *testing.T) { scalesServices(t, a) })
	t.Run("what is in use is not deleted", func(t *testing.T) { keepsWhatIsInUse(t, b) })
	t.Run("tasks wait for their agent", func(t *testing.T) { tasksWaitForTheirAgent(t, b) })

	// WHEN one stops
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	// THEN it is gone and the other is not
	if a.Process.Alive() || a.Ready(t.Context()) {
		t.Error("the stopped one still runs")
	}
	if !b.Process.Alive() || !b.Ready(t.Context()) {
		t.Error("the other one does not run")
	}
}

// answersAsAWS does where moto does not.
func answersAsAWS(t *testing.T, e *Emulator) {
	for _, variable := range e.Env(Region) {
		if strings.HasSuffix(variable, "=") {
			t.Errorf("%s: boto3 takes an empty AWS_PROFILE for a name", variable)
		}
	}
	client := ecs.NewFromConfig(testtools.AWS(t, e.Env(Region)))

	// GIVEN a service with the settings that moto drops
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("c"), CapacityProviders: []string{"FARGATE_SPOT"}}))
	for _, memory := range []string{"512", "1024"} {
		must(client.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: aws.String("f"), Cpu: aws.String("256"), Memory: aws.String(memory),
			ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("worker"), Image: aws.String("i")}},
		}))
	}
	must(client.CreateService(t.Context(), &ecs.CreateServiceInput{
		Cluster: aws.String("c"), ServiceName: aws.String("s"), TaskDefinition: aws.String("f:1"), DesiredCount: aws.Int32(2),
		EnableExecuteCommand: true, EnableECSManagedTags: true,
		DeploymentConfiguration: &types.DeploymentConfiguration{
			DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: true},
		},
	}))
	// WHEN it moves to the second task definition and is read back
	must(client.UpdateService(t.Context(), &ecs.UpdateServiceInput{
		Cluster: aws.String("c"), Service: aws.String("s"), TaskDefinition: aws.String("f:2"),
	}))
	got, err := client.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: aws.String("c"), Services: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}

	// THEN all is as it would be on AWS
	s := got.Services[0]
	if s.RunningCount != 2 || !s.EnableExecuteCommand || !s.EnableECSManagedTags || s.AvailabilityZoneRebalancing != types.AvailabilityZoneRebalancingDisabled {
		t.Errorf("running %d, exec %v, managed tags %v, rebalancing %q; want 2, true, true, DISABLED",
			s.RunningCount, s.EnableExecuteCommand, s.EnableECSManagedTags, s.AvailabilityZoneRebalancing)
	}
	if s.DeploymentConfiguration == nil || s.DeploymentConfiguration.DeploymentCircuitBreaker == nil || !s.DeploymentConfiguration.DeploymentCircuitBreaker.Rollback {
		t.Error("the circuit breaker was dropped")
	}
	if td := aws.ToString(s.Deployments[0].TaskDefinition); !strings.HasSuffix(td, "f:2") {
		t.Errorf("the deployment names %s, want f:2", td)
	}

	// WHEN an answer is lost, and the client asks again THEN nothing is made twice
	cfg := testtools.AWS(t, e.Env(Region))
	cfg.HTTPClient = &losesOne{}
	network := ec2.NewFromConfig(cfg)
	must(network.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{}))
	if got, err := network.DescribeAddresses(t.Context(), &ec2.DescribeAddressesInput{}); err != nil || len(got.Addresses) != 1 {
		t.Errorf("%d addresses, %v; want 1", len(got.Addresses), err)
	}
}

// refusesMalformedCalls by the models of the services, with the errors of AWS.
func refusesMalformedCalls(t *testing.T, e *Emulator) {
	cfg := testtools.AWS(t, e.Env(Region))
	tasks, secrets, roles, groups := ecs.NewFromConfig(cfg), secretsmanager.NewFromConfig(cfg), iam.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg)
	tests := map[string]struct {
		call func() error
		want string
	}{
		"a value that is not in an enumeration": {func() error {
			_, err := tasks.CreateService(t.Context(), &ecs.CreateServiceInput{ServiceName: aws.String("x"), LaunchType: "MOON"})
			return err
		}, "ValidationException: 1 validation error detected: Value 'MOON' at 'launchType' failed to satisfy constraint: Member must satisfy enum value set: ['EC2', 'FARGATE', 'EXTERNAL'"},
		"a value that is too short": {func() error {
			_, err := secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("")})
			return err
		}, "Value '' at 'SecretId' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		"a value that does not match a pattern, in a query": {func() error {
			_, err := roles.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("a role"), AssumeRolePolicyDocument: aws.String("{}")})
			return err
		}, "ValidationError: 1 validation error detected: Value 'a role' at 'RoleName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+"},
		"a number that is too large": {func() error {
			_, err := roles.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String("{}"), MaxSessionDuration: aws.Int32(50000)})
			return err
		}, "Value 50000 at 'MaxSessionDuration' failed to satisfy constraint: Member must have value less than or equal to 43200"},
		"a name of a log group": {func() error {
			_, err := groups.DescribeLogStreams(t.Context(), &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("g:h")})
			return err
		}, "at 'logGroupName' failed to satisfy constraint"},
		"a secret, which is in no error": {func() error {
			_, err := secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String(strings.Repeat("x", 65537))})
			return err
		}, "1 validation error detected: Value at 'SecretString' failed to satisfy constraint: Member must have length less than or equal to 65536"},
		"a capacity provider that the cluster lacks": {func() error {
			if _, err := tasks.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("on-demand"), CapacityProviders: []string{"FARGATE"}}); err != nil {
				return err
			}
			_, err := tasks.RunTask(t.Context(), &ecs.RunTaskInput{Cluster: aws.String("on-demand"), TaskDefinition: aws.String("f"),
				CapacityProviderStrategy: []types.CapacityProviderStrategyItem{{CapacityProvider: aws.String("FARGATE_SPOT")}}})
			return err
		}, "InvalidParameterException: The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster"},
		"a size that Fargate does not have": {func() error {
			_, err := tasks.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{Family: aws.String("f"), Cpu: aws.String("256"), Memory: aws.String("8192"),
				RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("worker"), Image: aws.String("i")}}})
			return err
		}, "ClientException: No Fargate configuration exists for given values: 256 CPU, 8192 memory"},
	}
	for name, test := range tests {
		if err := test.call(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// keepsWhatIsInUse: a VPC with a security group or a subnet, a cluster or namespace with a service, and a service with
// an instance are deleted after them only.
func keepsWhatIsInUse(t *testing.T, e *Emulator) {
	cfg := testtools.AWS(t, e.Env(Region))
	network, names := ec2.NewFromConfig(cfg), servicediscovery.NewFromConfig(cfg)
	// GIVEN VPCs with a security group and a subnet, a cluster with a service, and a namespace with one that has an instance
	cluster, name := ecs.NewFromConfig(cfg), aws.String("kept")
	_, err := cluster.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: name})
	_, definitionErr := cluster.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{Family: name, ContainerDefinitions: []types.ContainerDefinition{{Name: name, Image: name, Memory: aws.Int32(512)}}})
	_, serviceErr := cluster.CreateService(t.Context(), &ecs.CreateServiceInput{Cluster: name, ServiceName: name, TaskDefinition: name, DesiredCount: aws.Int32(0)})
	other, vpcErr := network.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.1.0.0/16")})
	if err := errors.Join(err, definitionErr, serviceErr, vpcErr); err != nil {
		t.Fatal(err)
	}
	subnet, err := network.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{VpcId: other.Vpc.VpcId, CidrBlock: aws.String("10.1.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	vpc, err := network.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	group, err := network.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("theirs"), Description: aws.String("d"), VpcId: vpc.Vpc.VpcId})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := names.CreateHttpNamespace(t.Context(), &servicediscovery.CreateHttpNamespaceInput{Name: aws.String("n")}); err != nil {
		t.Fatal(err)
	}
	all, err := names.ListNamespaces(t.Context(), &servicediscovery.ListNamespacesInput{})
	if err != nil || len(all.Namespaces) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	namespace := all.Namespaces[0].Id
	service, err := names.CreateService(t.Context(), &servicediscovery.CreateServiceInput{Name: aws.String("s"), NamespaceId: namespace})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := names.RegisterInstance(t.Context(), &servicediscovery.RegisterInstanceInput{ServiceId: service.Service.Id, InstanceId: aws.String("i"), Attributes: map[string]string{"AWS_INSTANCE_IPV4": "10.0.0.4"}}); err != nil {
		t.Fatal(err)
	}
	deleteVPC := func(id *string) func() error {
		return func() error {
			_, err := network.DeleteVpc(t.Context(), &ec2.DeleteVpcInput{VpcId: id})
			return err
		}
	}
	deleteCluster := func() error {
		_, err := cluster.DeleteCluster(t.Context(), &ecs.DeleteClusterInput{Cluster: name})
		return err
	}
	deleteNamespace := func() error {
		_, err := names.DeleteNamespace(t.Context(), &servicediscovery.DeleteNamespaceInput{Id: namespace})
		return err
	}
	deleteService := func() error {
		_, err := names.DeleteService(t.Context(), &servicediscovery.DeleteServiceInput{Id: service.Service.Id})
		return err
	}
	// THEN none of them is deleted
	for code, call := range map[string]func() error{*vpc.Vpc.VpcId + "' has dependencies": deleteVPC(vpc.Vpc.VpcId), *other.Vpc.VpcId + "' has dependencies": deleteVPC(other.Vpc.VpcId),
		"ClusterContainsServicesException": deleteCluster, "ResourceInUse: The specified namespace": deleteNamespace, "ResourceInUse: The specified service": deleteService} {
		if err := call(); err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("%v, want %s", err, code)
		}
	}
	// WHEN what they hold goes THEN they go
	_, err = network.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: group.GroupId})
	_, instanceErr := names.DeregisterInstance(t.Context(), &servicediscovery.DeregisterInstanceInput{ServiceId: service.Service.Id, InstanceId: aws.String("i")})
	_, subnetErr := network.DeleteSubnet(t.Context(), &ec2.DeleteSubnetInput{SubnetId: subnet.Subnet.SubnetId})
	_, serviceErr = cluster.DeleteService(t.Context(), &ecs.DeleteServiceInput{Cluster: name, Service: name})
	if err := errors.Join(err, instanceErr, subnetErr, serviceErr, deleteVPC(vpc.Vpc.VpcId)(), deleteVPC(other.Vpc.VpcId)(), deleteCluster(), deleteService(), deleteNamespace()); err != nil {
		t.Error(err)
	}
}

// losesOne is a client that loses the first answer.
type losesOne struct{ lost bool }

func (c *losesOne) Do(request *http.Request) (*http.Response, error) {
	answer, err := http.DefaultClient.Do(request)
	if err == nil && !c.lost {
		c.lost = true
		answer.Body.Close()
		return nil, &net.OpError{Op: "read", Err: net.ErrClosed}
	}
	return answer, err
}

// tasksWaitForTheirAgent: RunTask's tasks are as on Fargate, and their changes are events.
func tasksWaitForTheirAgent(t *testing.T, e *Emulator) {
	cfg := testtools.AWS(t, e.Env(Region))
	client, queues, network := ecs.NewFromConfig(cfg), sqs.NewFromConfig(cfg), ec2.NewFromConfig(cfg)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// GIVEN a rule that sends the events of a cluster's tasks to a queue
	must(client.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("c"), CapacityProviders: []string{"FARGATE_SPOT"}}))
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	must(queue, err)
	rules := func(operation, body string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.Endpoint, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Amz-Target", "AWSEvents."+operation)
		request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/events/aws4_request, SignedHeaders=host, Signature=0")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", operation, response.Status)
		}
	}
	rules("PutRule", `{"Name":"r","EventPattern":"{\"source\":[\"aws.ecs\"],\"detail-type\":[\"ECS Task State Change\"],\"detail\":{\"clusterArn\":[\"arn:aws:ecs:us-east-1:123456789012:cluster/c\"]}}"}`)
	rules("PutTargets", `{"Rule":"r","Targets":[{"Id":"1","Arn":"arn:aws:sqs:us-east-1:123456789012:q"}]}`)
	subnets, err := network.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
	must(subnets, err)
	groups, err := network.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{})
	must(groups, err)
	must(client.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("f"), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: types.NetworkModeAwsvpc,
		ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("prefect"), Image: aws.String("i")}},
	}))
	// WHEN tasks are run on Fargate Spot, and one of them is looked at again and again
	out, err := client.RunTask(t.Context(), &ecs.RunTaskInput{Cluster: aws.String("c"), TaskDefinition: aws.String("f"), Count: aws.Int32(2),
		CapacityProviderStrategy: []types.CapacityProviderStrategyItem{{CapacityProvider: aws.String("FARGATE_SPOT"), Weight: 1}},
		NetworkConfiguration:     &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{*subnets.Subnets[0].SubnetId}, SecurityGroups: []string{*groups.SecurityGroups[0].GroupId}}},
	})
	must(out, err)
	if len(out.Tasks) != 2 {
		t.Fatalf("%d tasks", len(out.Tasks))
	}
	see := func(i int) types.Task {
		t.Helper()
		got, err := client.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("c"), Tasks: []string{*out.Tasks[i].TaskArn}})
		if err != nil || len(got.Tasks) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		return got.Tasks[0]
	}
	// THEN it waits for its agent
	for range 3 {
		if task := see(0); *task.LastStatus != "PROVISIONING" || task.Containers[0].ExitCode != nil {
			t.Errorf("it is %s, exit code %v", *task.LastStatus, task.Containers[0].ExitCode)
		}
	}
	// WHEN the agent reports
	report := func(i int, status, reason string, changes ...types.ContainerStateChange) {
		t.Helper()
		must(client.SubmitTaskStateChange(t.Context(), &ecs.SubmitTaskStateChangeInput{Cluster: aws.String("c"), Task: out.Tasks[i].TaskArn, Status: &status, Reason: &reason, Containers: changes}))
	}
	report(0, "RUNNING", "")
	report(0, "STOPPED", "Essential container in task exited", types.ContainerStateChange{ExitCode: aws.Int32(137)})
	// THEN it is so
	if task := see(0); *task.LastStatus != "STOPPED" || task.DesiredStatus == nil || *task.DesiredStatus != "STOPPED" || aws.ToInt32(task.Containers[0].ExitCode) != 137 || task.StopCode != types.TaskStopCodeEssentialContainerExited {
		t.Errorf("stopped: %s, %d, %s", *task.LastStatus, aws.ToInt32(task.Containers[0].ExitCode), task.StopCode)
	}
	// WHEN somebody stops the other one THEN it is stopped when the agent says so
	must(client.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("c"), Task: out.Tasks[1].TaskArn, Reason: aws.String("enough")}))
	if task := see(1); *task.LastStatus != "PROVISIONING" || *task.DesiredStatus != "STOPPED" {
		t.Errorf("after StopTask: %s, desired %s", *task.LastStatus, *task.DesiredStatus)
	}
	report(1, "STOPPED", "another reason")
	if task := see(1); aws.ToString(task.StoppedReason) != "enough" || task.StopCode != types.TaskStopCodeUserInitiated {
		t.Errorf("stopped: %s, %s", aws.ToString(task.StoppedReason), task.StopCode)
	}
	// AND each change was an event
	var events []string
	for len(events) < 6 {
		got, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10})
		if err != nil || len(got.Messages) == 0 {
			t.Fatalf("after %d events: %v", len(events), err)
		}
		for _, m := range got.Messages {
			events = append(events, *m.Body)
		}
	}
	if all := strings.Join(events, "\n"); len(events) != 6 || !strings.Contains(all, `"exitCode": 137`) || !strings.Contains(all, `"stoppedReason": "enough"`) {
		t.Errorf("%d events:\n%s", len(events), all)
	}
	// AND a task that is not there cannot be stopped
	if _, err := client.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("c"), Task: aws.String("x")}); err == nil || !strings.Contains(err.Error(), "was not found") {
		t.Errorf("an unknown task: %v", err)
	}
}

func TestAFailedStartSaysWhyAndLeavesNothing(t *testing.T) {
	// GIVEN an environment whose Python ends at once with a reason
	env := pyenv.Env{Dir: t.TempDir()}
	if err := os.Mkdir(env.Bin(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(env.Python(), []byte("#!/bin/sh\necho no module named moto\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	// THEN the error names it
	_, err := Start(t.Context(), Options{Python: env, Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "no module named moto") {
		t.Errorf("error %v, want the reason from the log", err)
	}

	// GIVEN one that never answers, and a caller that gives up
	if err := os.WriteFile(env.Python(), []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// THEN the error is the caller's
	if e, err := Start(ctx, Options{Python: env, Dir: t.TempDir()}); !errors.Is(err, context.Canceled) || e != nil {
		t.Errorf("%v, %v; want context.Canceled", e, err)
	}
}
