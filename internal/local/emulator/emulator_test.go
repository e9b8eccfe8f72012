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

// do returns a call that is made later.
func do[In, Out, Options any](t *testing.T, f func(context.Context, *In, ...func(*Options)) (*Out, error), in *In) func() error {
	return func() error {
		_, err := f(t.Context(), in)
		return err
	}
}

// registerDefinition registers a task definition.
func registerDefinition(t *testing.T, client *ecs.Client, family, memory string) {
	t.Helper()
	testtools.Call(t, client.RegisterTaskDefinition, &ecs.RegisterTaskDefinitionInput{
		Family: &family, Cpu: aws.String("256"), Memory: &memory, NetworkMode: types.NetworkModeAwsvpc,
		ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("worker"), Image: aws.String("i")}},
	})
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
	testtools.Call(t, client.CreateCluster, &ecs.CreateClusterInput{ClusterName: aws.String("c"), CapacityProviders: []string{"FARGATE_SPOT"}})
	registerDefinition(t, client, "f", "512")
	registerDefinition(t, client, "f", "1024")
	testtools.Call(t, client.CreateService, &ecs.CreateServiceInput{
		Cluster: aws.String("c"), ServiceName: aws.String("s"), TaskDefinition: aws.String("f:1"), DesiredCount: aws.Int32(2),
		EnableExecuteCommand: true, EnableECSManagedTags: true,
		DeploymentConfiguration: &types.DeploymentConfiguration{
			DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: true},
		},
	})
	// WHEN it moves to the second task definition and is read back
	testtools.Call(t, client.UpdateService, &ecs.UpdateServiceInput{
		Cluster: aws.String("c"), Service: aws.String("s"), TaskDefinition: aws.String("f:2"),
	})
	s := testtools.Call(t, client.DescribeServices, &ecs.DescribeServicesInput{Cluster: aws.String("c"), Services: []string{"s"}}).Services[0]

	// THEN all is as it would be on AWS
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
	testtools.Call(t, network.AllocateAddress, &ec2.AllocateAddressInput{})
	if got := testtools.Call(t, network.DescribeAddresses, &ec2.DescribeAddressesInput{}); len(got.Addresses) != 1 {
		t.Errorf("%d addresses, want 1", len(got.Addresses))
	}
}

// refusesMalformedCalls by the models of the services, with the errors of AWS.
func refusesMalformedCalls(t *testing.T, e *Emulator) {
	cfg := testtools.AWS(t, e.Env(Region))
	tasks, secrets, roles, groups := ecs.NewFromConfig(cfg), secretsmanager.NewFromConfig(cfg), iam.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg)
	testtools.Call(t, tasks.CreateCluster, &ecs.CreateClusterInput{ClusterName: aws.String("on-demand"), CapacityProviders: []string{"FARGATE"}})
	tests := map[string]struct {
		call func() error
		want string
	}{
		"a value that is not in an enumeration": {do(t, tasks.CreateService, &ecs.CreateServiceInput{ServiceName: aws.String("x"), LaunchType: "MOON"}),
			"ValidationException: 1 validation error detected: Value 'MOON' at 'launchType' failed to satisfy constraint: Member must satisfy enum value set: ['EC2', 'FARGATE', 'EXTERNAL'"},
		"a value that is too short": {do(t, secrets.DescribeSecret, &secretsmanager.DescribeSecretInput{SecretId: aws.String("")}),
			"Value '' at 'SecretId' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		"a value that does not match a pattern, in a query": {do(t, roles.CreateRole, &iam.CreateRoleInput{RoleName: aws.String("a role"), AssumeRolePolicyDocument: aws.String("{}")}),
			"ValidationError: 1 validation error detected: Value 'a role' at 'RoleName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+"},
		"a number that is too large": {do(t, roles.CreateRole, &iam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String("{}"), MaxSessionDuration: aws.Int32(50000)}),
			"Value 50000 at 'MaxSessionDuration' failed to satisfy constraint: Member must have value less than or equal to 43200"},
		"a name of a log group": {do(t, groups.DescribeLogStreams, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("g:h")}),
			"at 'logGroupName' failed to satisfy constraint"},
		"a secret, which is in no error": {do(t, secrets.CreateSecret, &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String(strings.Repeat("x", 65537))}),
			"1 validation error detected: Value at 'SecretString' failed to satisfy constraint: Member must have length less than or equal to 65536"},
		"a capacity provider that the cluster lacks": {do(t, tasks.RunTask, &ecs.RunTaskInput{Cluster: aws.String("on-demand"), TaskDefinition: aws.String("f"),
			CapacityProviderStrategy: []types.CapacityProviderStrategyItem{{CapacityProvider: aws.String("FARGATE_SPOT")}}}),
			"InvalidParameterException: The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster"},
		"a size that Fargate does not have": {do(t, tasks.RegisterTaskDefinition, &ecs.RegisterTaskDefinitionInput{Family: aws.String("f"), Cpu: aws.String("256"), Memory: aws.String("8192"),
			RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("worker"), Image: aws.String("i")}}}),
			"ClientException: No Fargate configuration exists for given values: 256 CPU, 8192 memory"},
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
	network, discovery, cluster, name := ec2.NewFromConfig(cfg), servicediscovery.NewFromConfig(cfg), ecs.NewFromConfig(cfg), aws.String("kept")
	// GIVEN a VPC with a subnet and a security group, a cluster with a service, and a namespace with one that has an instance
	vpc := testtools.Call(t, network.CreateVpc, &ec2.CreateVpcInput{CidrBlock: aws.String("10.1.0.0/16")}).Vpc.VpcId
	subnet := testtools.Call(t, network.CreateSubnet, &ec2.CreateSubnetInput{VpcId: vpc, CidrBlock: aws.String("10.1.0.0/24")}).Subnet.SubnetId
	group := testtools.Call(t, network.CreateSecurityGroup, &ec2.CreateSecurityGroupInput{GroupName: name, Description: name, VpcId: vpc}).GroupId
	testtools.Call(t, cluster.CreateCluster, &ecs.CreateClusterInput{ClusterName: name})
	registerDefinition(t, cluster, *name, "512")
	testtools.Call(t, cluster.CreateService, &ecs.CreateServiceInput{Cluster: name, ServiceName: name, TaskDefinition: name, DesiredCount: aws.Int32(0)})
	testtools.Call(t, discovery.CreateHttpNamespace, &servicediscovery.CreateHttpNamespaceInput{Name: name})
	namespace := testtools.Call(t, discovery.ListNamespaces, &servicediscovery.ListNamespacesInput{}).Namespaces[0].Id
	service := testtools.Call(t, discovery.CreateService, &servicediscovery.CreateServiceInput{Name: name, NamespaceId: namespace}).Service.Id
	testtools.Call(t, discovery.RegisterInstance, &servicediscovery.RegisterInstanceInput{ServiceId: service, InstanceId: name, Attributes: map[string]string{"AWS_INSTANCE_IPV4": "10.0.0.4"}})

	deleteVPC := do(t, network.DeleteVpc, &ec2.DeleteVpcInput{VpcId: vpc})
	deleteCluster := do(t, cluster.DeleteCluster, &ecs.DeleteClusterInput{Cluster: name})
	deleteService := do(t, discovery.DeleteService, &servicediscovery.DeleteServiceInput{Id: service})
	deleteNamespace := do(t, discovery.DeleteNamespace, &servicediscovery.DeleteNamespaceInput{Id: namespace})
	for _, test := range []struct {
		remove func() error
		want   string
		first  func() error // what has to go before
	}{
		{deleteVPC, *vpc + "' has dependencies", do(t, network.DeleteSubnet, &ec2.DeleteSubnetInput{SubnetId: subnet})},
		{deleteVPC, *vpc + "' has dependencies", do(t, network.DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: group})},
		{deleteCluster, "ClusterContainsServicesException", do(t, cluster.DeleteService, &ecs.DeleteServiceInput{Cluster: name, Service: name})},
		{deleteService, "ResourceInUse: The specified service", do(t, discovery.DeregisterInstance, &servicediscovery.DeregisterInstanceInput{ServiceId: service, InstanceId: name})},
		{deleteNamespace, "ResourceInUse: The specified namespace", deleteService},
	} {
		// THEN none of them is deleted
		if err := test.remove(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
		if err := test.first(); err != nil {
			t.Error(err)
		}
	}
	// WHEN what they hold is gone THEN they go
	if err := errors.Join(deleteVPC(), deleteCluster(), deleteNamespace()); err != nil {
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
	// GIVEN a rule that sends the events of a cluster's tasks to a queue
	testtools.Call(t, client.CreateCluster, &ecs.CreateClusterInput{ClusterName: aws.String("c"), CapacityProviders: []string{"FARGATE_SPOT"}})
	queue := testtools.Call(t, queues.CreateQueue, &sqs.CreateQueueInput{QueueName: aws.String("q")})
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
	subnets := testtools.Call(t, network.DescribeSubnets, &ec2.DescribeSubnetsInput{})
	groups := testtools.Call(t, network.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{})
	registerDefinition(t, client, "f", "512")
	// WHEN tasks are run on Fargate Spot, and one of them is looked at again and again
	out := testtools.Call(t, client.RunTask, &ecs.RunTaskInput{Cluster: aws.String("c"), TaskDefinition: aws.String("f"), Count: aws.Int32(2),
		CapacityProviderStrategy: []types.CapacityProviderStrategyItem{{CapacityProvider: aws.String("FARGATE_SPOT"), Weight: 1}},
		NetworkConfiguration:     &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{*subnets.Subnets[0].SubnetId}, SecurityGroups: []string{*groups.SecurityGroups[0].GroupId}}},
	})
	if len(out.Tasks) != 2 {
		t.Fatalf("%d tasks", len(out.Tasks))
	}
	see := func(i int) types.Task {
		t.Helper()
		return testtools.Call(t, client.DescribeTasks, &ecs.DescribeTasksInput{Cluster: aws.String("c"), Tasks: []string{*out.Tasks[i].TaskArn}}).Tasks[0]
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
		testtools.Call(t, client.SubmitTaskStateChange, &ecs.SubmitTaskStateChangeInput{Cluster: aws.String("c"), Task: out.Tasks[i].TaskArn, Status: &status, Reason: &reason, Containers: changes})
	}
	report(0, "RUNNING", "")
	report(0, "STOPPED", "Essential container in task exited", types.ContainerStateChange{ExitCode: aws.Int32(137)})
	// THEN it is so
	if task := see(0); *task.LastStatus != "STOPPED" || task.DesiredStatus == nil || *task.DesiredStatus != "STOPPED" || aws.ToInt32(task.Containers[0].ExitCode) != 137 || task.StopCode != types.TaskStopCodeEssentialContainerExited {
		t.Errorf("stopped: %s, %d, %s", *task.LastStatus, aws.ToInt32(task.Containers[0].ExitCode), task.StopCode)
	}
	// WHEN somebody stops the other one THEN it is stopped when the agent says so
	testtools.Call(t, client.StopTask, &ecs.StopTaskInput{Cluster: aws.String("c"), Task: out.Tasks[1].TaskArn, Reason: aws.String("enough")})
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
		got := testtools.Call(t, queues.ReceiveMessage, &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10})
		if len(got.Messages) == 0 {
			t.Fatalf("only %d events", len(events))
		}
		for _, m := range got.Messages {
			events = append(events, *m.Body)
		}
	}
	if all := strings.Join(events, "\n"); len(events) != 6 || !strings.Contains(all, `"exitCode": 137`) || !strings.Contains(all, `"stoppedReason": "enough"`) {
		t.Errorf("%d events:\n%s", len(events), all)
	}
	// AND a task that is not there cannot be stopped
	if err := do(t, client.StopTask, &ecs.StopTaskInput{Cluster: aws.String("c"), Task: aws.String("x")})(); err == nil || !strings.Contains(err.Error(), "was not found") {
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
