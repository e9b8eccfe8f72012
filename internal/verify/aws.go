package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"prefect-worker-ecs/config"
)

type clients struct {
	ecs     *ecs.Client
	iam     *iam.Client
	logs    *cloudwatchlogs.Client
	secrets *secretsmanager.Client
	sts     *sts.Client
}

func newClients(cfg aws.Config) clients {
	return clients{ecs.NewFromConfig(cfg), iam.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg),
		secretsmanager.NewFromConfig(cfg), sts.NewFromConfig(cfg)}
}

// serviceState is what ECS says of the service.
type serviceState struct {
	service    types.Service
	deployment types.Deployment // the current one
	tasks      []string         // ids of the running tasks of the current deployment
	definition *types.TaskDefinition
	container  types.ContainerDefinition
}

// why makes one short line of an AWS error.
func why(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	// The SDK's own errors are chains; what went wrong is at their end.
	text := err.Error()
	if i := strings.LastIndex(text, ", "); i >= 0 && len(text) > 160 {
		text = text[i+2:]
	}
	return text
}

func is(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

const loginFix = "log in to AWS (aws sso login, or AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and ask for a role that may read ECS, IAM, Secrets Manager and CloudWatch Logs"

func (c *checklist) account(ctx context.Context) bool {
	identity, err := c.aws.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return c.fail(checkAccount, "AWS does not accept the credentials: "+why(err), loginFix)
	}
	if want := c.env.AccountID; want != "" && aws.ToString(identity.Account) != want {
		return c.fail(checkAccount, fmt.Sprintf("the credentials are for account %s, the environment is for %s", aws.ToString(identity.Account), want),
			"use credentials of the other account, or correct account_id")
	}
	return c.ok(checkAccount, "%s in %s", aws.ToString(identity.Account), c.env.Region)
}

func (c *checklist) deployFix() string {
	return fmt.Sprintf("deploy it: make deploy ENV=%s; if it is deployed, are region (%s) and account right?", c.env.Name, c.env.Region)
}

func (c *checklist) cluster(ctx context.Context) bool {
	name := c.env.Cluster.Name
	out, err := c.aws.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{name}})
	switch {
	case err != nil:
		return c.fail(checkCluster, why(err), loginFix)
	case len(out.Clusters) == 0:
		return c.fail(checkCluster, "there is no cluster "+name, c.deployFix())
	case aws.ToString(out.Clusters[0].Status) != "ACTIVE":
		return c.fail(checkCluster, fmt.Sprintf("cluster %s is %s", name, aws.ToString(out.Clusters[0].Status)), c.deployFix())
	}
	return c.ok(checkCluster, "%s is active", name)
}

// serviceFound checks that the service is stable. It returns whether there is a service
// at all: a service in trouble still has a definition, a log and a pool to look at.
func (c *checklist) serviceFound(ctx context.Context) bool {
	name := c.env.Worker.ServiceName
	out, err := c.aws.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &c.env.Cluster.Name, Services: []string{name}})
	if err != nil {
		return c.fail(checkService, why(err), loginFix)
	}
	if len(out.Services) == 0 || aws.ToString(out.Services[0].Status) == "INACTIVE" {
		return c.fail(checkService, "there is no service "+name+" in the cluster", c.deployFix())
	}
	s := out.Services[0]
	c.service.service = s
	for _, d := range s.Deployments {
		if aws.ToString(d.Status) == "PRIMARY" {
			c.service.deployment = d
		}
	}
	d := c.service.deployment
	c.service.tasks = c.runningTasks(ctx, aws.ToString(d.Id))

	counts := fmt.Sprintf("%d of %d tasks running", s.RunningCount, s.DesiredCount)
	switch {
	case aws.ToString(s.Status) != "ACTIVE":
		c.fail(checkService, fmt.Sprintf("service %s is %s", name, aws.ToString(s.Status)), c.deployFix())
	case s.DesiredCount == 0:
		c.fail(checkService, "the service is paused: its desired count is 0", "set worker.desired_count to 1 and deploy")
	case d.RolloutState == types.DeploymentRolloutStateFailed:
		c.fail(checkService, "the last deployment failed"+c.history(ctx), "look at the reasons above and at the log below")
	case c.rolledBack():
		c.fail(checkService, "the last deployment was rolled back"+c.history(ctx), "look at the reasons above and at the log below, mend the cause and deploy again")
	case s.RunningCount != s.DesiredCount || s.PendingCount > 0:
		c.fail(checkService, fmt.Sprintf("%s, %d pending%s", counts, s.PendingCount, c.history(ctx)), "wait for the deployment to end (workerctl verify --wait 5m); if tasks stop again and again, look at the reasons above and at the log below")
	case d.RolloutState == types.DeploymentRolloutStateInProgress:
		c.fail(checkService, counts+", but the deployment is still in progress", "wait for it to end: workerctl verify --wait 5m")
	default:
		c.ok(checkService, "%s, deployment completed", counts)
	}
	return true
}

// rolledBack tells whether the circuit breaker went back to an older deployment. That one is
// then the current one, and completed; only its reason and the events tell.
func (c *checklist) rolledBack() bool {
	d := c.service.deployment
	if strings.Contains(aws.ToString(d.RolloutStateReason), "rolling back") {
		return true
	}
	// The event stands just before the deployment that it brings back.
	since := aws.ToTime(d.CreatedAt).Add(-time.Minute)
	return slices.ContainsFunc(c.service.service.Events, func(e types.ServiceEvent) bool {
		return aws.ToTime(e.CreatedAt).After(since) && strings.Contains(aws.ToString(e.Message), "rolling back to")
	})
}

func (c *checklist) runningTasks(ctx context.Context, deployment string) []string {
	list, err := c.aws.ecs.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &c.env.Cluster.Name, StartedBy: &deployment})
	if err != nil {
		return nil
	}
	var ids []string
	for _, arn := range list.TaskArns {
		ids = append(ids, arn[strings.LastIndex(arn, "/")+1:])
	}
	return ids
}

// history is why tasks stopped and what the service itself says, a line each.
func (c *checklist) history(ctx context.Context) string {
	var lines []string
	stopped, err := c.aws.ecs.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &c.env.Cluster.Name, ServiceName: &c.env.Worker.ServiceName, DesiredStatus: types.DesiredStatusStopped})
	if err == nil && len(stopped.TaskArns) > 0 {
		tasks, err := c.aws.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &c.env.Cluster.Name, Tasks: stopped.TaskArns[:min(3, len(stopped.TaskArns))]})
		if err == nil {
			for _, t := range tasks.Tasks {
				line := "stopped task: " + aws.ToString(t.StoppedReason)
				for _, container := range t.Containers {
					if container.ExitCode != nil {
						line += fmt.Sprintf(" (exit code %d)", *container.ExitCode)
					}
					if reason := aws.ToString(container.Reason); reason != "" {
						line += " (" + reason + ")"
					}
				}
				lines = append(lines, line)
			}
		}
	}
	for _, e := range c.service.service.Events[:min(3, len(c.service.service.Events))] {
		lines = append(lines, "event: "+aws.ToString(e.Message))
	}
	if len(lines) == 0 {
		return ""
	}
	return "\n" + strings.Join(lines, "\n")
}

// definition checks that the service runs what the configuration says.
func (c *checklist) definition(ctx context.Context) bool {
	out, err := c.aws.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: c.service.service.TaskDefinition})
	if err != nil {
		return c.fail(checkDefinition, why(err), loginFix)
	}
	c.service.definition = out.TaskDefinition
	if len(out.TaskDefinition.ContainerDefinitions) == 0 {
		return c.fail(checkDefinition, "it has no container", c.deployFix())
	}
	c.service.container = out.TaskDefinition.ContainerDefinitions[0]
	if differences := differences(c.env, c.service.definition, c.service.container); len(differences) > 0 {
		c.fail(checkDefinition, "the deployed one is not that of the configuration: "+strings.Join(differences, "; "), "make deploy ENV="+c.env.Name)
		return true
	}
	return c.ok(checkDefinition, "%s:%d is that of the configuration", aws.ToString(out.TaskDefinition.Family), out.TaskDefinition.Revision)
}

// differences lists in which settings a deployed definition differs from the configuration.
func differences(env *config.Environment, definition *types.TaskDefinition, container types.ContainerDefinition) []string {
	var all []string
	compare := func(what, want, got string) {
		if want != got {
			all = append(all, fmt.Sprintf("%s is %s, configured is %s", what, orNone(got), orNone(want)))
		}
	}
	w := env.Worker
	compare("image", w.Image, aws.ToString(container.Image))
	compare("cpu", strconv.Itoa(w.CPU), aws.ToString(definition.Cpu))
	compare("memory", strconv.Itoa(w.MemoryMiB), aws.ToString(definition.Memory))
	if definition.RuntimePlatform != nil {
		compare("architecture", strings.ToUpper(string(w.Architecture)), string(definition.RuntimePlatform.CpuArchitecture))
	}
	compare("stop timeout", strconv.Itoa(w.StopTimeoutSeconds), strconv.Itoa(int(aws.ToInt32(container.StopTimeout))))
	compare("pool", env.WorkPool.Name, strings.Join(arguments(container.Command, "--pool"), " "))
	compare("pool type", string(env.WorkPool.Type), strings.Join(arguments(container.Command, "--type"), " "))
	compare("queues", strings.Join(env.WorkPool.Queues, ", "), strings.Join(arguments(container.Command, "--work-queue"), ", "))
	limit := ""
	if w.ConcurrencyLimit > 0 {
		limit = strconv.Itoa(w.ConcurrencyLimit)
	}
	compare("concurrency limit", limit, strings.Join(arguments(container.Command, "--limit"), " "))
	compare("packages", strings.Join(env.PipPackages(), " "), variable(container, "EXTRA_PIP_PACKAGES"))
	for name, value := range w.Environment {
		compare("variable "+name, value, variable(container, name))
	}
	if version, ok := container.DockerLabels["prefect-api-key-version"]; ok {
		compare("version of the API key", strconv.Itoa(env.Secret.Version), version)
	}
	if container.HealthCheck == nil {
		all = append(all, "it has no health check")
	}
	slices.Sort(all)
	return all
}

// arguments are the values of a flag in a command.
func arguments(command []string, flag string) []string {
	var values []string
	for i, arg := range command {
		if arg == flag && i+1 < len(command) {
			values = append(values, command[i+1])
		}
	}
	return values
}

func variable(container types.ContainerDefinition, name string) string {
	for _, v := range container.Environment {
		if aws.ToString(v.Name) == name {
			return aws.ToString(v.Value)
		}
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// keySource is where the container gets the API key: a secret's ARN, and the key inside a
// JSON value or "". The form is arn:aws:secretsmanager:region:account:secret:name, and
// optionally :json-key:stage:version.
func keySource(container types.ContainerDefinition) (arn, jsonKey string) {
	for _, s := range container.Secrets {
		if aws.ToString(s.Name) != config.APIKeyVariable {
			continue
		}
		parts := strings.Split(aws.ToString(s.ValueFrom), ":")
		if len(parts) > 7 {
			return strings.Join(parts[:7], ":"), parts[7]
		}
		return strings.Join(parts, ":"), ""
	}
	return "", ""
}

// secret checks the API key and returns it, or "".
func (c *checklist) secret(ctx context.Context) string {
	rotate := fmt.Sprintf("give the right key in TF_VAR_prefect_api_key, raise secret.version in config/environments/%s.yaml, and make deploy ENV=%s", c.env.Name, c.env.Name)
	if c.env.Secret.ExistingARN != "" {
		rotate = "store the right key in the secret, and make the service start new tasks: aws ecs update-service --force-new-deployment"
	}
	arn, jsonKey := keySource(c.service.container)
	if arn == "" {
		c.fail(checkSecret, "the container gets no "+config.APIKeyVariable, c.deployFix())
		return ""
	}
	name := arn[strings.LastIndex(arn, ":")+1:]
	out, err := c.aws.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &arn})
	switch {
	case is(err, "ResourceNotFoundException"):
		c.fail(checkSecret, "the secret "+name+" does not exist or has no value", c.deployFix())
		return ""
	case err != nil:
		c.fail(checkSecret, "the secret "+name+" cannot be read from here: "+why(err), loginFix)
		return ""
	}
	key := aws.ToString(out.SecretString)
	if jsonKey != "" {
		var fields map[string]any
		if json.Unmarshal([]byte(key), &fields) != nil {
			c.fail(checkSecret, "the secret "+name+" does not hold a JSON object, and the task definition asks for its key "+jsonKey, "remove secret.json_key, or "+rotate)
			return ""
		}
		value, ok := fields[jsonKey].(string)
		if !ok {
			c.fail(checkSecret, "the JSON object in the secret "+name+" has no text under "+jsonKey, "correct secret.json_key, or "+rotate)
			return ""
		}
		key = value
	}
	switch {
	case key == "":
		c.fail(checkSecret, "the secret "+name+" is empty", rotate)
		return ""
	case strings.TrimSpace(key) != key:
		c.fail(checkSecret, fmt.Sprintf("the secret %s has a line break or blanks around the key: Prefect fails with \"Illegal header value\"", name), rotate)
		// The key itself may be right: the checks of the API go on with it.
		return strings.TrimSpace(key)
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		c.fail(checkSecret, fmt.Sprintf("the secret %s holds characters that no API key has", name), rotate)
		return ""
	}
	c.ok(checkSecret, "%s holds a key of %d characters", name, len(key))
	return key
}

// policy checks that the execution role may read the secret, in its own policies.
func (c *checklist) policy(ctx context.Context) {
	arn, _ := keySource(c.service.container)
	roleARN := aws.ToString(c.service.definition.ExecutionRoleArn)
	role := roleARN[strings.LastIndex(roleARN, "/")+1:]
	documents, err := c.policies(ctx, role)
	if err != nil {
		c.fail(checkPolicy, fmt.Sprintf("the policies of the execution role %s cannot be read: %s", role, why(err)), c.deployFix())
		return
	}
	if !allows(documents, "secretsmanager:GetSecretValue", arn) {
		c.fail(checkPolicy, fmt.Sprintf("no policy of the execution role %s allows secretsmanager:GetSecretValue on the secret, so that no task can start (ResourceInitializationError)", role), "make deploy ENV="+c.env.Name)
		return
	}
	c.ok(checkPolicy, "the execution role %s may read the secret", role)
}

func (c *checklist) policies(ctx context.Context, role string) ([]string, error) {
	var documents []string
	inline, err := c.aws.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &role})
	if err != nil {
		return nil, err
	}
	for _, name := range inline.PolicyNames {
		p, err := c.aws.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &name})
		if err != nil {
			return nil, err
		}
		documents = append(documents, aws.ToString(p.PolicyDocument))
	}
	attached, err := c.aws.iam.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &role})
	if err != nil {
		return nil, err
	}
	for _, a := range attached.AttachedPolicies {
		p, err := c.aws.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: a.PolicyArn})
		if err != nil {
			return nil, err
		}
		v, err := c.aws.iam.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: a.PolicyArn, VersionId: p.Policy.DefaultVersionId})
		if err != nil {
			return nil, err
		}
		documents = append(documents, aws.ToString(v.PolicyVersion.Document))
	}
	return documents, nil
}

// allows evaluates policies for one action on one resource: a statement allows it and none
// denies it. Conditions count as met where they deny and as met where they allow; the
// program's own policies have none here.
func allows(documents []string, action, resource string) bool {
	allowed := false
	for _, document := range documents {
		if decoded, err := url.QueryUnescape(document); err == nil {
			document = decoded
		}
		var policy struct{ Statement list[statement] }
		if json.Unmarshal([]byte(document), &policy) != nil {
			continue
		}
		for _, s := range policy.Statement {
			if !s.Action.match(action, true) || !s.Resource.match(resource, false) {
				continue
			}
			if s.Effect == "Deny" {
				return false
			}
			allowed = true
		}
	}
	return allowed
}

type statement struct {
	Effect           string
	Action, Resource list[string]
}

// list is a JSON value that is one T or an array of them, as in IAM policies.
type list[T any] []T

func (l *list[T]) UnmarshalJSON(data []byte) error {
	var many []T
	if json.Unmarshal(data, &many) == nil {
		*l = many
		return nil
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*l = list[T]{one}
	return nil
}

func (l list[T]) match(value string, fold bool) bool {
	for _, item := range l {
		pattern, _ := any(item).(string)
		if fold {
			pattern, value = strings.ToLower(pattern), strings.ToLower(value)
		}
		if wildcard(pattern, value) {
			return true
		}
	}
	return false
}

// wildcard matches * and ? as IAM does: * also spans slashes and colons.
func wildcard(pattern, value string) bool {
	for i, r := range pattern {
		switch r {
		case '*':
			rest := pattern[i+1:]
			for j := range len(value) + 1 {
				if wildcard(rest, value[j:]) {
					return true
				}
			}
			return false
		case '?':
			if value == "" {
				return false
			}
			value = value[1:]
		default:
			if !strings.HasPrefix(value, string(r)) {
				return false
			}
			value = value[len(string(r)):]
		}
	}
	return value == ""
}

// logLines is how many of the last lines a report holds.
const logLines = 15

// log checks that the group exists, and looks in it for the reason of a failure. A worker
// that is online has overcome whatever it logged before.
func (c *checklist) log(ctx context.Context, online bool) {
	group := c.env.Logs.Group
	if configured := c.service.container.LogConfiguration; configured != nil {
		if name := configured.Options["awslogs-group"]; name != "" {
			group = name
		}
	}
	lines, err := c.logSince(ctx, group, aws.ToTime(c.service.deployment.CreatedAt))
	switch {
	case is(err, "ResourceNotFoundException"):
		c.fail(checkLog, "the log group "+group+" does not exist, so that no task can start", c.deployFix())
		return
	case err != nil:
		c.fail(checkLog, "the log group "+group+" cannot be read: "+why(err), loginFix)
		return
	}
	if !online {
		telling := withoutFrames(lines)
		c.report.Log = telling[max(0, len(telling)-logLines):]
	}
	s, line, found := lastSymptom(lines)
	switch {
	case found && online:
		c.ok(checkLog, "%d lines in %s since the deployment; overcome: %s", len(lines), group, s.explanation)
	case found:
		c.fail(checkLog, s.explanation+"\nline: "+line, s.fix)
	case !online && slices.ContainsFunc(lines, started.MatchString):
		c.ok(checkLog, "%d lines in %s since the deployment, none of them a known failure. That a worker \"started\" proves nothing", len(lines), group)
	default:
		c.ok(checkLog, "%d lines in %s since the deployment, none of them a known failure", len(lines), group)
	}
}

func (c *checklist) logSince(ctx context.Context, group string, since time.Time) ([]string, error) {
	in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group}
	if !since.IsZero() {
		in.StartTime = aws.Int64(since.UnixMilli())
	}
	var lines []string
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(c.aws.logs, in)
	// Ten pages are up to 100,000 lines; more would take minutes.
	for range 10 {
		if !pages.HasMorePages() {
			break
		}
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			lines = append(lines, strings.TrimRight(aws.ToString(e.Message), "\n"))
		}
	}
	return lines, nil
}
