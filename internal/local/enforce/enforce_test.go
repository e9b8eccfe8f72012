package enforce

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:SourceAccount":"123456789012"},"ArnLike":{"aws:SourceArn":"arn:aws:ecs:us-east-1:123456789012:*"}}}]}`

// worker is the policy of the worker of a pool p, as the stack has it, with more to be judged.
const worker = `{"Version":"2012-10-17","Statement":[
{"Sid":"Describe","Effect":"Allow","Action":["ec2:DescribeVpcs","ecs:DescribeTaskDefinition","sqs:ReceiveMessage"],"Resource":"*"},
{"Sid":"RegisterFlows","Effect":"Allow","Action":"ecs:RegisterTaskDefinition","Resource":"arn:aws:ecs:us-east-1:123456789012:task-definition/prefect_p_*:*","Condition":{"StringEqualsIfExists":{"ecs:privileged":"false"}}},
{"Sid":"RunFlows","Effect":"Allow","Action":"ecs:RunTask","Resource":"arn:aws:ecs:us-east-1:123456789012:task-definition/prefect_p_*:*","Condition":{"ArnEquals":{"ecs:cluster":"arn:aws:ecs:us-east-1:123456789012:cluster/c"},"StringEqualsIfExists":{"ecs:enable-execute-command":"false"}}},
{"Sid":"StopFlows","Effect":"Allow","Action":"ecs:StopTask","Resource":"arn:aws:ecs:us-east-1:123456789012:task/c/*","Condition":{"StringLike":{"aws:ResourceTag/prefect.io/flow-run-id":"*"}}},
{"Sid":"WatchFlows","Effect":"Allow","Action":"ecs:DescribeTasks","Resource":"arn:aws:ecs:us-east-1:123456789012:task/c/*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}},
{"Sid":"TagFlows","Effect":"Allow","Action":"ecs:TagResource","Resource":"arn:aws:ecs:us-east-1:123456789012:task/c/*","Condition":{"StringEquals":{"ecs:CreateAction":"RunTask"}}},
{"Sid":"PassRoles","Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::123456789012:role/flow","Condition":{"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}}},
{"Sid":"ReadFlowLogs","Effect":"Allow","Action":"logs:GetLogEvents","Resource":"arn:aws:logs:us-east-1:123456789012:log-group:g:log-stream:prefect-logs_p_*"},
{"Sid":"NoSecrets","Effect":"Deny","Action":"secretsmanager:*","Resource":"*"},
{"Sid":"Anything","Effect":"Allow","Action":"secretsmanager:*","Resource":"*"}]}`

func TestCallsOfARoleAreDecided(t *testing.T) {
	e, err := emulator.Start(t.Context(), emulator.Options{Python: testtools.Environment(t, pyenv.Moto), Dir: t.TempDir()})
	testtools.NoError(t, err)
	t.Cleanup(func() { _ = e.Stop(context.Background()) })
	all := testtools.AWS(t, e.Env(emulator.Region))
	all.BaseEndpoint = &e.Endpoint
	// GIVEN a role of a worker, one that is not ECS's, and what the worker works with
	roles := awsiam.NewFromConfig(all)
	testtools.Call(t, roles.CreateRole, &awsiam.CreateRoleInput{RoleName: aws.String("worker"), AssumeRolePolicyDocument: aws.String(trust)})
	testtools.Call(t, roles.PutRolePolicy, &awsiam.PutRolePolicyInput{RoleName: aws.String("worker"), PolicyName: aws.String("p"), PolicyDocument: aws.String(worker)})
	testtools.Call(t, roles.CreateRole, &awsiam.CreateRoleInput{RoleName: aws.String("other"), AssumeRolePolicyDocument: aws.String(strings.Replace(trust, "ecs-tasks", "ec2", 1))})
	testtools.Call(t, roles.CreateRole, &awsiam.CreateRoleInput{RoleName: aws.String("probe"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)})
	testtools.Call(t, roles.PutRolePolicy, &awsiam.PutRolePolicyInput{RoleName: aws.String("probe"), PolicyName: aws.String("p"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[
{"Sid":"PublishMetrics","Effect":"Allow","Action":"cloudwatch:PutMetricData","Resource":"*","Condition":{"StringEquals":{"cloudwatch:namespace":"N"}}},
{"Sid":"DescribeWorker","Effect":"Allow","Action":"ecs:DescribeServices","Resource":"arn:aws:ecs:us-east-1:123456789012:service/c/w"}]}`)})
	admin := ecs.NewFromConfig(all)
	testtools.Call(t, admin.CreateCluster, &ecs.CreateClusterInput{ClusterName: aws.String("c")})
	network := ec2.NewFromConfig(all)
	subnets := testtools.Call(t, network.DescribeSubnets, &ec2.DescribeSubnetsInput{})
	groups := testtools.Call(t, network.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{})
	define := func(family, execution string) *ecs.RegisterTaskDefinitionInput {
		return &ecs.RegisterTaskDefinitionInput{Family: &family, ExecutionRoleArn: aws.String("arn:aws:iam::123456789012:role/" + execution), Cpu: aws.String("256"), Memory: aws.String("512"),
			NetworkMode: types.NetworkModeAwsvpc, ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("prefect"), Image: aws.String("i")}}}
	}
	testtools.Call(t, admin.RegisterTaskDefinition, define("prefect_p_1", "flow"))
	testtools.Call(t, admin.RegisterTaskDefinition, define("prefect_p_2", "worker"))
	testtools.Call(t, admin.RegisterTaskDefinition, define("dev-worker", "flow"))
	task := func(family string, exec bool, tags ...types.Tag) *ecs.RunTaskInput {
		return &ecs.RunTaskInput{Cluster: aws.String("c"), TaskDefinition: &family, LaunchType: types.LaunchTypeFargate, Tags: tags, EnableExecuteCommand: exec,
			NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{*subnets.Subnets[0].SubnetId}, SecurityGroups: []string{*groups.SecurityGroups[0].GroupId}}}}
	}
	tag := types.Tag{Key: aws.String("prefect.io/flow-run-id"), Value: aws.String("1")}
	flow := testtools.Call(t, admin.RunTask, task("prefect_p_1", false, tag))
	own := testtools.Call(t, admin.RunTask, task("dev-worker", false))

	var mu sync.Mutex
	var calls []Call
	documents := []iam.Document{parse(t, worker), parse(t, `{"Statement":[{"Sid":"ReceiveTaskEvents","Effect":"Allow","Action":"sqs:GetQueueUrl","Resource":"arn:aws:sqs:us-east-1:123456789012:q"}]}`)}
	g, err := Start(Options{AWS: all, Stack: func(string) []iam.Document { return documents }, Journal: func(c Call) { mu.Lock(); defer mu.Unlock(); calls = append(calls, c) }})
	testtools.NoError(t, err)
	t.Cleanup(g.Close)

	// WHEN a container asks for its credentials, as the SDKs do
	answer := func(variables []string) (int, map[string]string) {
		resp, err := http.Get(strings.TrimPrefix(variables[0], "AWS_CONTAINER_CREDENTIALS_FULL_URI="))
		testtools.NoError(t, err)
		defer resp.Body.Close()
		keys := map[string]string{}
		_ = json.NewDecoder(resp.Body).Decode(&keys)
		return resp.StatusCode, keys
	}
	_, keys := answer(g.Platform("t1", "arn:aws:iam::123456789012:role/worker"))
	// THEN it gets those of its role, without a role none, and none of a role that ECS may not use
	if keys["RoleArn"] != "arn:aws:iam::123456789012:role/worker" || keys["AccessKeyId"] == "" || keys["Token"] == "" || keys["Expiration"] == "" {
		t.Fatalf("credentials %v", keys)
	}
	if got := g.Platform("t2", ""); got != nil {
		t.Errorf("without a role: %v", got)
	}
	if status, _ := answer(g.Platform("t3", "arn:aws:iam::123456789012:role/other")); status != http.StatusForbidden {
		t.Errorf("a role of others: %d", status)
	}
	if status, _ := answer([]string{g.Endpoint() + credentialsPath + "t4"}); status != http.StatusNotFound {
		t.Errorf("a task that is not known: %d", status)
	}

	cfg := all.Copy()
	cfg.BaseEndpoint, cfg.RetryMaxAttempts = aws.String(g.Endpoint()), 1
	cfg.Credentials = credentials.NewStaticCredentialsProvider(keys["AccessKeyId"], keys["SecretAccessKey"], keys["Token"])
	stranger := cfg.Copy()
	stranger.Credentials = credentials.NewStaticCredentialsProvider("test", "test", "")
	client, logs := ecs.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg)
	function := func(role string) aws.Config {
		c := g.Config(Function, "arn:aws:iam::123456789012:role/"+role, "f")
		c.RetryMaxAttempts = 1
		return c
	}
	metrics := func(namespace string) *cloudwatch.PutMetricDataInput {
		return &cloudwatch.PutMetricDataInput{Namespace: &namespace, MetricData: []cwtypes.MetricDatum{{MetricName: aws.String("m"), Value: aws.Float64(1)}}}
	}
	services := func(name string) *ecs.DescribeServicesInput {
		return &ecs.DescribeServicesInput{Cluster: aws.String("c"), Services: []string{name}}
	}
	privileged := define("prefect_p_3", "flow")
	privileged.ContainerDefinitions[0].Privileged = aws.Bool(true)
	tagged := define("prefect_p_3", "flow")
	tagged.Tags = []types.Tag{tag}
	ctx := t.Context()
	call := func(_ any, err error) error { return err }
	// WHEN calls are made THEN the policy decides them, and what is refused is named
	const nothing = "on arn:aws:ecs:us-east-1:123456789012:"
	for name, c := range map[string]struct {
		err  error
		want string // "" for a call that is let through
	}{
		"allowed":             {call(ec2.NewFromConfig(cfg).DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})), ""},
		"who am I":            {call(sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})), ""},
		"a form":              {call(ec2.NewFromConfig(cfg).DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})), "the task role worker may not call ec2:DescribeSubnets on *: nothing allows it; the nearest is the statement Describe, but for its actions"},
		"register":            {call(client.RegisterTaskDefinition(ctx, define("prefect_p_3", "flow"))), ""},
		"another family":      {call(client.RegisterTaskDefinition(ctx, define("dev-worker", "flow"))), nothing + "task-definition/dev-worker:*: nothing allows it; the nearest is the statement RegisterFlows, but for its resource"},
		"privileged":          {call(client.RegisterTaskDefinition(ctx, privileged)), "the nearest is the statement RegisterFlows, but for its condition ecs:privileged"},
		"a tagged definition": {call(client.RegisterTaskDefinition(ctx, tagged)), "may not call ecs:TagResource on arn:aws:ecs:us-east-1:123456789012:task-definition/prefect_p_3:*"},
		"another role":        {call(client.RegisterTaskDefinition(ctx, define("prefect_p_3", "worker"))), "may not call iam:PassRole on arn:aws:iam::123456789012:role/worker: nothing allows it; the nearest is the statement PassRoles, but for its resource"},
		"run":                 {call(client.RunTask(ctx, task("prefect_p_1", false, tag))), ""},
		"run with ECS Exec":   {call(client.RunTask(ctx, task("prefect_p_1", true))), "but for its condition ecs:enable-execute-command"},
		"run another family":  {call(client.RunTask(ctx, task("dev-worker", false))), nothing + "task-definition/dev-worker:1: nothing allows it; the nearest is the statement RunFlows, but for its resource"},
		"pass another role":   {call(client.RunTask(ctx, task("prefect_p_2", false))), "may not call iam:PassRole on arn:aws:iam::123456789012:role/worker"},
		"stop a flow":         {call(client.StopTask(ctx, &ecs.StopTaskInput{Cluster: aws.String("c"), Task: flow.Tasks[0].TaskArn})), ""},
		"stop the worker":     {call(client.StopTask(ctx, &ecs.StopTaskInput{Cluster: aws.String("c"), Task: own.Tasks[0].TaskArn})), "but for its condition aws:ResourceTag/prefect.io/flow-run-id"},
		"a log of flows":      {call(logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("prefect-worker/prefect-worker/1")})), "but for its resource arn:aws:logs"},
		"an unknown key":      {call(client.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: aws.String("c"), Tasks: []string{*own.Tasks[0].TaskArn}})), "it cannot be judged here: the condition key aws:SourceVpc in the statement WatchFlows"},
		"denied":              {call(secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbCdEf")})), "the statement NoSecrets denies it"},
		"a missing statement": {call(sqs.NewFromConfig(cfg).GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("q")})), "may not call sqs:GetQueueUrl on arn:aws:sqs:us-east-1:123456789012:q: nothing allows it; the nearest is the statement ReceiveTaskEvents of the stack, which the role does not have"},
		"not judged":          {call(client.ListServices(ctx, &ecs.ListServicesInput{})), "may not call ecs:ListServices on what it names: the emulator has no list of the permissions that the call needs, and refuses it"},
		"not read":            {call(awsiam.NewFromConfig(cfg).ListRoles(ctx, &awsiam.ListRolesInput{})), "may not call iam:ListRoles on what it names"},
		"metrics":             {call(cloudwatch.NewFromConfig(function("probe")).PutMetricData(ctx, metrics("N"))), ""},
		"metrics of others":   {call(cloudwatch.NewFromConfig(function("probe")).PutMetricData(ctx, metrics("AWS/ECS"))), "the role of the function probe may not call cloudwatch:PutMetricData on *: nothing allows it; the nearest is the statement PublishMetrics, but for its condition cloudwatch:namespace"},
		"the worker":          {call(ecs.NewFromConfig(function("probe")).DescribeServices(ctx, services("w"))), ""},
		"another service":     {call(ecs.NewFromConfig(function("probe")).DescribeServices(ctx, services("v"))), nothing + "service/c/v: nothing allows it; the nearest is the statement DescribeWorker, but for its resource"},
		"a task's role":       {call(ecs.NewFromConfig(function("worker")).DescribeServices(ctx, services("w"))), "Lambda was unable to assume the role arn:aws:iam::123456789012:role/worker"},
		"a stranger":          {call(ecs.NewFromConfig(stranger).ListServices(ctx, &ecs.ListServicesInput{})), "the credentials are not those of a task"},
	} {
		got := ""
		if c.err != nil {
			got = c.err.Error()
		}
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s:\n got  %s\n want %s", name, got, c.want)
		}
	}
	// AND all of it is in the journal, but for what was nobody's
	allowed := 0
	for _, c := range calls {
		if c.Allowed {
			allowed++
		}
	}
	if len(calls) < 25 || allowed == len(calls) {
		t.Errorf("%d calls, %d allowed", len(calls), allowed)
	}
}

func parse(t *testing.T, text string) iam.Document {
	t.Helper()
	document, err := iam.Parse(text)
	testtools.NoError(t, err)
	return document
}

func TestABoundaryIsNamed(t *testing.T) {
	call := Call{Request: iam.Request{Action: "logs:PutLogEvents", Resource: "r"}}
	allow := []iam.Document{parse(t, `{"Statement":[{"Sid":"Write","Effect":"Allow","Action":"logs:*","Resource":"*"}]}`)}
	boundary := []iam.Document{parse(t, `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)}
	if got := Decide(call, allow, nil, nil); !got.Allowed || got.Statement != "Write" {
		t.Errorf("without a boundary: %+v", got)
	}
	if got := Decide(call, allow, boundary, nil); got.Allowed || got.Problem != "nothing allows it; the statement Write would, and its permissions boundary does not" {
		t.Errorf("with one: %+v", got)
	}
}
