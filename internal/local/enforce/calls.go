package enforce

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// right is an action on a resource, with the condition keys of the call.
type right struct {
	action, resource string
	context          map[string][]string
}

// call is a request as the service understands it.
type call struct {
	guard           *Guard
	who             holder
	partition       string
	account, region string
	service, action string
	parameters      map[string]any
	understood      bool
}

func newCall(g *Guard, who holder, region, service string, r *http.Request, body []byte) *call {
	if service == "monitoring" {
		service = "cloudwatch" // which signs by its old name
	}
	part := strings.SplitN(who.arn, ":", 6)
	c := &call{guard: g, who: who, partition: part[1], account: part[4], region: region, service: service, parameters: map[string]any{}}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		c.action = service + ":" + target[strings.LastIndex(target, ".")+1:]
		c.understood = len(body) == 0 || json.Unmarshal(body, &c.parameters) == nil
		return c
	}
	form, err := url.ParseQuery(string(body))
	if err == nil && form.Get("Action") != "" {
		c.action, c.understood = service+":"+form.Get("Action"), true
		for name := range form {
			c.parameters[name] = form.Get(name)
		}
		return c
	}
	c.action = fmt.Sprintf("%s (%s %s)", service, r.Method, r.URL.Path)
	for pattern, action := range paths {
		if c.is(pattern, r.Method+" "+r.URL.Path) {
			c.action = action
			c.understood = len(body) == 0 || json.Unmarshal(body, &c.parameters) == nil
		}
	}
	return c
}

// paths are the calls whose action is in their address, with the parameters that are there.
var paths = map[string]string{
	"POST /2015-03-31/functions":                                   "lambda:CreateFunction",
	"DELETE /2015-03-31/functions/{FunctionName}":                  "lambda:DeleteFunction",
	"GET /2015-03-31/functions/{FunctionName}":                     "lambda:GetFunction",
	"GET /2015-03-31/functions/{FunctionName}/configuration":       "lambda:GetFunctionConfiguration",
	"GET /2015-03-31/functions/{FunctionName}/versions":            "lambda:ListVersionsByFunction",
	"PUT /2015-03-31/functions/{FunctionName}/configuration":       "lambda:UpdateFunctionConfiguration",
	"GET /2020-06-30/functions/{FunctionName}/code-signing-config": "lambda:GetFunctionCodeSigningConfig",
	"GET /2013-04-01/hostedzone/{Id}":                              "route53:GetHostedZone",
	"POST /schedules/{Name}":                                       "scheduler:CreateSchedule",
	"GET /schedules/{Name}":                                        "scheduler:GetSchedule",
	"DELETE /schedules/{Name}":                                     "scheduler:DeleteSchedule",
}

// is tells whether the request has the address of a pattern, and takes its parameters.
func (c *call) is(pattern, request string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(strings.TrimSuffix(request, "/"), "/")
	if len(want) != len(got) {
		return false
	}
	parameters := map[string]any{}
	for i, part := range want {
		if name, is := strings.CutPrefix(part, "{"); is {
			parameters[strings.TrimSuffix(name, "}")] = got[i]
		} else if part != got[i] {
			return false
		}
	}
	maps.Copy(c.parameters, parameters)
	return true
}

// text is a parameter of text, "" if there is none.
func (c *call) text(name string) string {
	text, _ := c.parameters[name].(string)
	return text
}

// at is a value inside the parameters.
func (c *call) at(path ...string) any {
	var value any = c.parameters
	for _, key := range path {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	return value
}

func (c *call) arn(service, rest string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", c.partition, service, c.region, c.account, rest)
}

// lastPart is the name or the id in an ARN or a URL.
func lastPart(s string) string { return s[strings.LastIndex(s, "/")+1:] }

func (c *call) cluster() string {
	name := lastPart(c.text("cluster"))
	if name == "" {
		name = "default"
	}
	return c.arn("ecs", "cluster/"+name)
}

// task is the ARN of a task; a star stands for the id of a new one.
func (c *call) task(id string) string {
	return c.arn("ecs", "task/"+lastPart(c.cluster())+"/"+lastPart(id))
}

// on is a right with what is known of every call, and more keys.
func (c *call) on(action, resource string, more map[string][]string) right {
	all := map[string][]string{
		"aws:securetransport": {"true"}, "aws:requestedregion": {c.region}, "aws:principalarn": {c.who.arn},
		"aws:principalaccount": {c.account}, "aws:principaltype": {"AssumedRole"}, "aws:viaawsservice": {"false"},
	}
	for key, values := range more {
		all[key] = values
	}
	return right{action, resource, all}
}

// rights are those that the call needs, by the Service Authorization Reference.
func (c *call) rights(ctx context.Context) ([]right, error) {
	of, known := needs[c.action]
	if resources, also := deployment[c.action]; also && !known && c.understood {
		return c.deploy(ctx, resources)
	}
	if !known || !c.understood {
		return nil, errNotJudged
	}
	return of(ctx, c)
}

// needs are the calls that can be judged.
var needs = map[string]func(context.Context, *call) ([]right, error){
	"ec2:DescribeSubnets":          everything,
	"ec2:DescribeVpcs":             everything,
	"ecs:DescribeTaskDefinition":   everything,
	"ecs:DeregisterTaskDefinition": everything,
	"ecs:ListTaskDefinitions":      everything,
	"ecr:GetAuthorizationToken":    everything,
	"ecs:RegisterTaskDefinition":   registerTaskDefinition,
	"ecs:RunTask":                  runTask,
	"ecs:DescribeTasks":            describeTasks,
	"ecs:StopTask":                 stopTask,
	"cloudwatch:PutMetricData": func(_ context.Context, c *call) ([]right, error) {
		return []right{c.on(c.action, "*", map[string][]string{"cloudwatch:namespace": {c.text("Namespace")}})}, nil
	},
	"logs:GetLogEvents":    logStream,
	"logs:CreateLogStream": logStream,
	"logs:PutLogEvents":    logStream,
	"secretsmanager:GetSecretValue": func(_ context.Context, c *call) ([]right, error) {
		return []right{c.on(c.action, c.text("SecretId"), map[string][]string{"secretsmanager:secretid": {c.text("SecretId")}})}, nil
	},
	"sqs:GetQueueUrl":             queue,
	"sqs:ReceiveMessage":          queue,
	"sqs:DeleteMessage":           queue,
	"sqs:ChangeMessageVisibility": queue,
	// Everybody may ask who he is.
	"sts:GetCallerIdentity": func(context.Context, *call) ([]right, error) { return nil, nil },
}

// everything is for calls that know no resource.
func everything(_ context.Context, c *call) ([]right, error) {
	return []right{c.on(c.action, "*", nil)}, nil
}

func queue(_ context.Context, c *call) ([]right, error) {
	name := c.text("QueueName")
	if name == "" {
		name = lastPart(c.text("QueueUrl"))
	}
	return []right{c.on(c.action, c.arn("sqs", name), nil)}, nil
}

func logStream(_ context.Context, c *call) ([]right, error) {
	return []right{c.on(c.action, c.arn("logs", "log-group:"+c.text("logGroupName")+":log-stream:"+c.text("logStreamName")), nil)}, nil
}

// pass are the rights to hand roles to tasks.
func (c *call) pass(roles ...string) []right {
	return c.passTo("ecs-tasks.amazonaws.com", roles...)
}

func (c *call) passTo(service string, roles ...string) []right {
	var all []right
	for _, role := range roles {
		if role != "" {
			all = append(all, c.on("iam:PassRole", role, map[string][]string{"iam:passedtoservice": {service}}))
		}
	}
	return all
}

func registerTaskDefinition(_ context.Context, c *call) ([]right, error) {
	resource := c.arn("ecs", "task-definition/"+c.text("family")+":*")
	privileged := "false"
	containers, _ := c.parameters["containerDefinitions"].([]any)
	for _, container := range containers {
		if fields, _ := container.(map[string]any); fields["privileged"] == true {
			privileged = "true"
		}
	}
	all := []right{c.on(c.action, resource, map[string][]string{"ecs:privileged": {privileged}})}
	if tags, _ := c.parameters["tags"].([]any); len(tags) > 0 {
		all = append(all, c.on("ecs:TagResource", resource, map[string][]string{"ecs:createaction": {"RegisterTaskDefinition"}}))
	}
	return append(all, c.pass(c.text("executionRoleArn"), c.text("taskRoleArn"))...), nil
}

func runTask(ctx context.Context, c *call) ([]right, error) {
	out, err := c.guard.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String(c.text("taskDefinition"))})
	if err != nil {
		return nil, fmt.Errorf("its task definition cannot be read: %w", err)
	}
	definition := out.TaskDefinition
	context := map[string][]string{"ecs:cluster": {c.cluster()}, "ecs:enable-execute-command": nil}
	if value, given := c.parameters["enableExecuteCommand"].(bool); given {
		context["ecs:enable-execute-command"] = []string{fmt.Sprint(value)}
	}
	all := []right{c.on(c.action, aws.ToString(definition.TaskDefinitionArn), context)}
	if tags, _ := c.parameters["tags"].([]any); len(tags) > 0 {
		all = append(all, c.on("ecs:TagResource", c.task("*"), map[string][]string{"ecs:createaction": {"RunTask"}, "ecs:cluster": {c.cluster()}}))
	}
	role := func(override string, own *string) string {
		if text, _ := c.at("overrides", override).(string); text != "" {
			return text
		}
		return aws.ToString(own)
	}
	return append(all, c.pass(role("executionRoleArn", definition.ExecutionRoleArn), role("taskRoleArn", definition.TaskRoleArn))...), nil
}

func describeTasks(_ context.Context, c *call) ([]right, error) {
	var all []right
	tasks, _ := c.parameters["tasks"].([]any)
	for _, task := range tasks {
		all = append(all, c.on(c.action, c.task(fmt.Sprint(task)), map[string][]string{"ecs:cluster": {c.cluster()}}))
	}
	return all, nil
}

func stopTask(ctx context.Context, c *call) ([]right, error) {
	context := map[string][]string{"ecs:cluster": {c.cluster()}, flowRunTag: nil}
	out, err := c.guard.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: aws.String(c.cluster()), Tasks: []string{c.text("task")}, Include: []types.TaskField{types.TaskFieldTags}})
	if err != nil {
		return nil, fmt.Errorf("its tags cannot be read: %w", err)
	}
	for _, task := range out.Tasks {
		for _, tag := range task.Tags {
			context["aws:resourcetag/"+strings.ToLower(aws.ToString(tag.Key))] = []string{aws.ToString(tag.Value)}
		}
	}
	return []right{c.on(c.action, c.task(c.text("task")), context)}, nil
}

// flowRunTag is on the tasks of flow runs, and known to be absent from others.
const flowRunTag = "aws:resourcetag/prefect.io/flow-run-id"
