package enforce

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/aws/iam"
)

// Permission is an action on a resource, with the condition keys of the call.
type Permission struct {
	Action, Resource string
	Context          map[string][]string
}

// APICall is a request as the service reads it.
type APICall struct {
	// Action is the service's prefix and the operation; of a REST request it is the service, method
	// and path.
	Action string
	// Service is the prefix of the action.
	Service string
	// Partition, Account and Region are those of the caller.
	Partition, Account, Region string
	// Parameters are the parameters by name, as in JSON or in a query.
	Parameters map[string]any
	// Request is the method and path of a REST request, Body its body.
	Request string
	Body    []byte
	// Understood reports whether the parameters could be read.
	Understood bool

	proxy *Proxy
	who   principal
}

func newCall(g *Proxy, who principal, region, service string, r *http.Request, body []byte) *APICall {
	if service == "monitoring" {
		service = "cloudwatch" // which signs by its old name
	}
	owner, _ := arn.Parse(who.arn)
	c := &APICall{proxy: g, who: who, Partition: owner.Partition, Account: owner.AccountID, Region: region, Service: service, Parameters: map[string]any{}, Body: body}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		c.Action = service + ":" + target[strings.LastIndex(target, ".")+1:]
		c.Understood = len(body) == 0 || json.Unmarshal(body, &c.Parameters) == nil
		return c
	}
	form, err := url.ParseQuery(string(body))
	if err == nil && form.Get("Action") != "" {
		c.Action, c.Understood = service+":"+form.Get("Action"), true
		for name := range form {
			c.Parameters[name] = form.Get(name)
		}
		return c
	}
	c.Request = r.Method + " " + r.URL.Path
	c.Action = fmt.Sprintf("%s (%s)", service, c.Request)
	return c
}

// Text returns a parameter of text, "" if there is none.
func (c *APICall) Text(name string) string {
	text, _ := c.Parameters[name].(string)
	return text
}

// At returns a value inside the parameters.
func (c *APICall) At(path ...string) any {
	var value any = c.Parameters
	for _, key := range path {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	return value
}

// ARN returns the ARN of a resource of the caller's account and region.
func (c *APICall) ARN(service, rest string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", c.Partition, service, c.Region, c.Account, rest)
}

// Cluster returns the ARN of the ECS cluster that the call is about.
func (c *APICall) Cluster() string {
	return c.ARN("ecs", "cluster/"+cmp.Or(iam.ResourceName(c.Text("cluster")), "default"))
}

// task returns the ARN of a task; a star stands for the id of a new one.
func (c *APICall) task(id string) string {
	return c.ARN("ecs", "task/"+iam.ResourceName(c.Cluster())+"/"+iam.ResourceName(id))
}

// On returns a permission with the condition keys of every call, and more keys.
func (c *APICall) On(action, resource string, more map[string][]string) Permission {
	all := map[string][]string{
		"aws:securetransport": {"true"}, "aws:requestedregion": {c.Region}, "aws:principalarn": {c.who.arn},
		"aws:principalaccount": {c.Account}, "aws:principaltype": {"AssumedRole"}, "aws:viaawsservice": {"false"},
	}
	maps.Copy(all, more)
	return Permission{action, resource, all}
}

// permissions returns the permissions that the call needs, by the Service Authorization Reference.
func (c *APICall) permissions(ctx context.Context) ([]Permission, error) {
	of, known := needs[c.Action]
	if !known && c.who.kind == Deployer && c.proxy.opt.Deployer != nil {
		return c.proxy.opt.Deployer(ctx, c)
	}
	if !known || !c.Understood {
		return nil, ErrNotJudged
	}
	return of(ctx, c)
}

// needs are the calls that can be judged.
var needs = map[string]func(context.Context, *APICall) ([]Permission, error){
	"ec2:DescribeSubnets":          everything,
	"ec2:DescribeVpcs":             everything,
	"ecs:DescribeTaskDefinition":   everything,
	"ecs:DeregisterTaskDefinition": everything,
	"ecs:ListTaskDefinitions":      everything,
	"ecr:GetAuthorizationToken":    everything,
	"ecs:RegisterTaskDefinition":   registerTaskDefinition,
	"ecs:RunTask":                  runTask,
	"ecs:DescribeServices":         describeServices,
	"ecs:DescribeTasks":            describeTasks,
	"ecs:GetTaskProtection":        describeTasks,
	"ecs:UpdateTaskProtection":     describeTasks,
	"ecs:StopTask":                 stopTask,
	"cloudwatch:PutMetricData": func(_ context.Context, c *APICall) ([]Permission, error) {
		return []Permission{c.On(c.Action, "*", map[string][]string{"cloudwatch:namespace": {c.Text("Namespace")}})}, nil
	},
	"logs:GetLogEvents":    logStream,
	"logs:CreateLogStream": logStream,
	"logs:PutLogEvents":    logStream,
	"secretsmanager:GetSecretValue": func(_ context.Context, c *APICall) ([]Permission, error) {
		return []Permission{c.On(c.Action, c.Text("SecretId"), map[string][]string{"secretsmanager:secretid": {c.Text("SecretId")}})}, nil
	},
	"sqs:GetQueueUrl":             queue,
	"sqs:ReceiveMessage":          queue,
	"sqs:DeleteMessage":           queue,
	"sqs:ChangeMessageVisibility": queue,
	// GetCallerIdentity needs no permission.
	"sts:GetCallerIdentity": func(context.Context, *APICall) ([]Permission, error) { return nil, nil },
}

// everything returns the permission for a call without resource-level permissions.
func everything(_ context.Context, c *APICall) ([]Permission, error) {
	return []Permission{c.On(c.Action, "*", nil)}, nil
}

func queue(_ context.Context, c *APICall) ([]Permission, error) {
	name := cmp.Or(c.Text("QueueName"), iam.ResourceName(c.Text("QueueUrl")))
	return []Permission{c.On(c.Action, c.ARN("sqs", name), nil)}, nil
}

func logStream(_ context.Context, c *APICall) ([]Permission, error) {
	return []Permission{c.On(c.Action, c.ARN("logs", "log-group:"+c.Text("logGroupName")+":log-stream:"+c.Text("logStreamName")), nil)}, nil
}

// pass returns the permissions to pass roles to tasks.
func (c *APICall) pass(roles ...string) []Permission {
	return c.PassTo("ecs-tasks.amazonaws.com", roles...)
}

func (c *APICall) PassTo(service string, roles ...string) []Permission {
	var all []Permission
	for _, role := range roles {
		if role != "" {
			all = append(all, c.On("iam:PassRole", role, map[string][]string{"iam:passedtoservice": {service}}))
		}
	}
	return all
}

func registerTaskDefinition(_ context.Context, c *APICall) ([]Permission, error) {
	resource := c.ARN("ecs", "task-definition/"+c.Text("family")+":*")
	privileged := "false"
	containers, _ := c.Parameters["containerDefinitions"].([]any)
	for _, container := range containers {
		if fields, _ := container.(map[string]any); fields["privileged"] == true {
			privileged = "true"
		}
	}
	all := []Permission{c.On(c.Action, resource, map[string][]string{"ecs:privileged": {privileged}})}
	if tags, _ := c.Parameters["tags"].([]any); len(tags) > 0 {
		all = append(all, c.On("ecs:TagResource", resource, map[string][]string{"ecs:createaction": {"RegisterTaskDefinition"}}))
	}
	return append(all, c.pass(c.Text("executionRoleArn"), c.Text("taskRoleArn"))...), nil
}

func runTask(ctx context.Context, c *APICall) ([]Permission, error) {
	out, err := c.proxy.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String(c.Text("taskDefinition"))})
	if err != nil {
		return nil, fmt.Errorf("its task definition cannot be read: %w", err)
	}
	definition := out.TaskDefinition
	context := map[string][]string{"ecs:cluster": {c.Cluster()}, "ecs:enable-execute-command": nil}
	if value, given := c.Parameters["enableExecuteCommand"].(bool); given {
		context["ecs:enable-execute-command"] = []string{fmt.Sprint(value)}
	}
	all := []Permission{c.On(c.Action, aws.ToString(definition.TaskDefinitionArn), context)}
	if tags, _ := c.Parameters["tags"].([]any); len(tags) > 0 {
		all = append(all, c.On("ecs:TagResource", c.task("*"), map[string][]string{"ecs:createaction": {"RunTask"}, "ecs:cluster": {c.Cluster()}}))
	}
	role := func(override string, own *string) string {
		text, _ := c.At("overrides", override).(string)
		return cmp.Or(text, aws.ToString(own))
	}
	return append(all, c.pass(role("executionRoleArn", definition.ExecutionRoleArn), role("taskRoleArn", definition.TaskRoleArn))...), nil
}

func describeServices(_ context.Context, c *APICall) ([]Permission, error) {
	var all []Permission
	names, _ := c.Parameters["services"].([]any)
	for _, name := range names {
		service := c.ARN("ecs", "service/"+iam.ResourceName(c.Cluster())+"/"+iam.ResourceName(fmt.Sprint(name)))
		all = append(all, c.On(c.Action, service, map[string][]string{"ecs:cluster": {c.Cluster()}}))
	}
	return all, nil
}

func describeTasks(_ context.Context, c *APICall) ([]Permission, error) {
	var all []Permission
	tasks, _ := c.Parameters["tasks"].([]any)
	for _, task := range tasks {
		all = append(all, c.On(c.Action, c.task(fmt.Sprint(task)), map[string][]string{"ecs:cluster": {c.Cluster()}}))
	}
	return all, nil
}

func stopTask(ctx context.Context, c *APICall) ([]Permission, error) {
	context := map[string][]string{"ecs:cluster": {c.Cluster()}, flowRunTag: nil}
	out, err := c.proxy.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: aws.String(c.Cluster()), Tasks: []string{c.Text("task")}, Include: []types.TaskField{types.TaskFieldTags}})
	if err != nil {
		return nil, fmt.Errorf("its tags cannot be read: %w", err)
	}
	for _, task := range out.Tasks {
		for _, tag := range task.Tags {
			context["aws:resourcetag/"+strings.ToLower(aws.ToString(tag.Key))] = []string{aws.ToString(tag.Value)}
		}
	}
	return []Permission{c.On(c.Action, c.task(c.Text("task")), context)}, nil
}

// flowRunTag is on the tasks of flow runs, and known to be absent from others.
const flowRunTag = "aws:resourcetag/prefect.io/flow-run-id"
