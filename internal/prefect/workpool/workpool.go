// Package workpool makes a Prefect work pool fit the deployed stack: it creates the pool and
// its queues, and keeps what the template of an ecs pool says of the place where flow tasks
// run equal to that place. workerctl pool apply, workerctl verify and the local run use it.
//
// It owns the defaults of some variables of the template, and touches nothing else.
package workpool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/query"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/prefect/api"
)

// Template is a pool's base job template: the variables of a flow run, and the job that is
// made of them.
type Template map[string]any

// Wanted is what the template is to say.
type Wanted struct {
	// Defaults are those of variables.
	Defaults map[string]any
	// Task is what the job's task definition says beside, and Container what its container does:
	// no variable in any release of prefect-aws. Nil says nothing.
	Task, Container map[string]any
	// Proxy are the environment variables of a proxy, which are put to others of flow tasks, or
	// taken away where there is none.
	Proxy map[string]string

	// env is the configuration, and apiURL the API of the worker, by which Prepare judges what comes out.
	env    *config.Environment
	apiURL string
}

// Read reads from AWS where the worker's service runs: flow tasks run in the same place.
func Read(ctx context.Context, cfg aws.Config, env *config.Environment) (Wanted, error) {
	client := ecs.NewFromConfig(cfg)
	services, err := client.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &env.Cluster.Name, Services: []string{env.Worker.ServiceName}})
	if err != nil {
		return Wanted{}, fmt.Errorf("read the service %s: %w", env.Worker.ServiceName, err)
	}
	if len(services.Services) == 0 || services.Services[0].NetworkConfiguration == nil || services.Services[0].NetworkConfiguration.AwsvpcConfiguration == nil {
		return Wanted{}, fmt.Errorf("the cluster %s has no service %s; deploy it first: make deploy ENV=%s", env.Cluster.Name, env.Worker.ServiceName, env.Name)
	}
	service := services.Services[0]
	place := *service.NetworkConfiguration.AwsvpcConfiguration
	subnets, err := query.Subnets(ctx, query.New(cfg), query.Params{"SubnetId": place.Subnets})
	if err == nil && len(subnets) == 0 {
		err = errors.New("AWS has none of them")
	}
	if err != nil {
		return Wanted{}, fmt.Errorf("read the subnets of the service %s: %w", env.Worker.ServiceName, err)
	}
	definition, err := client.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: service.TaskDefinition})
	if err != nil {
		return Wanted{}, fmt.Errorf("read the task definition of the service %s: %w", env.Worker.ServiceName, err)
	}

	cluster, err := arn.Parse(aws.ToString(service.ClusterArn))
	if err != nil {
		return Wanted{}, fmt.Errorf("the cluster of the service %s: %w", env.Worker.ServiceName, err)
	}
	role := func(existing, name string) string {
		if existing != "" {
			return existing
		}
		return fmt.Sprintf("arn:%s:iam::%s:role%s%s", cluster.Partition, cluster.AccountID, cmp.Or(env.IAM.Path, "/"), name)
	}
	w := Configured(env)
	maps.Copy(w.Defaults, map[string]any{
		"cluster":            *service.ClusterArn,
		"vpc_id":             subnets[0].VPCID,
		"execution_role_arn": role(env.IAM.Existing.FlowExecutionRole, env.IAM.FlowExecutionRoleName),
		"network_configuration": map[string]any{
			"subnets": slices.Sorted(slices.Values(place.Subnets)), "securityGroups": place.SecurityGroups,
			"assignPublicIp": map[bool]string{true: "ENABLED", false: "DISABLED"}[env.Network.PublicIP()],
		},
		"configure_cloudwatch_logs": true,
		"cloudwatch_logs_options": map[string]any{
			"awslogs-group": env.Logs.Group, "awslogs-create-group": "false", "awslogs-region": cluster.Region,
		},
	})
	if env.HasFlowTaskRole() {
		w.Defaults["task_role_arn"] = role(env.IAM.Existing.FlowTaskRole, env.IAM.FlowTaskRole.Name)
	}
	for _, container := range definition.TaskDefinition.ContainerDefinitions {
		for _, v := range container.Environment {
			if aws.ToString(v.Name) == "PREFECT_API_URL" {
				w.apiURL = aws.ToString(v.Value)
			}
		}
		for _, secret := range container.Secrets {
			if env.FlowsReadCredential() && aws.ToString(secret.Name) == env.Prefect.Authentication.Variable() {
				w.Defaults[credential(env.Prefect.Authentication)] = aws.ToString(secret.ValueFrom)
			}
		}
	}
	return w, nil
}

// Configured returns what is wanted of flow tasks by the configuration alone.
func Configured(env *config.Environment) Wanted {
	job := env.WorkPool.Job
	task := map[string]any{"ephemeralStorage": nil, "runtimePlatform": nil}
	if job.EphemeralStorageGiB > 0 {
		task["ephemeralStorage"] = map[string]any{"sizeInGiB": job.EphemeralStorageGiB}
	}
	if env.Worker.Architecture == config.ARM64 { // the other is what ECS takes without a word
		task["runtimePlatform"] = map[string]any{"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}
	}
	container := map[string]any{"repositoryCredentials": nil, "secrets": nil}
	for _, name := range slices.Sorted(maps.Keys(job.Secrets)) {
		secrets, _ := container["secrets"].([]any)
		container["secrets"] = append(secrets, map[string]any{"name": name, "valueFrom": job.Secrets[name]})
	}
	if from := env.Worker.RegistryCredentials; from != "" {
		container["repositoryCredentials"] = map[string]any{"credentialsParameter": from}
	}
	w := Wanted{env: env, Task: task, Container: container, Proxy: env.ProxyVariables(env.Region), Defaults: map[string]any{
		"launch_type":                     map[bool]string{true: "FARGATE_SPOT", false: "FARGATE"}[job.Spot],
		"image":                           job.Image,
		"cpu":                             job.CPU,
		"memory":                          job.MemoryMiB,
		"auto_deregister_task_definition": job.Deregister,
	}}
	if len(job.Environment) > 0 {
		variables := map[string]any{}
		for name, value := range env.ProxyVariables(env.Region) {
			variables[name] = value
		}
		for name, value := range job.Environment {
			variables[name] = value
		}
		w.Defaults["env"] = variables
	}
	for name, text := range job.Variables {
		var value any
		if json.Unmarshal([]byte(text), &value) != nil {
			value = text
		}
		w.Defaults[name] = value
	}
	return w
}

// secretARN is how the variables end with the ARN of a credential's secret. The templates that a
// Prefect server has in store are older than them.
const secretARN = "_secret_arn"

// credential returns the variable with the ARN of the secret of the Prefect API's credential.
func credential(a config.Authentication) string { return a.TerraformVariable() + secretARN }

// originalDefault is the key of a variable under which the template keeps the default that pool apply has replaced.
const originalDefault = "x-original-default"

// Change is a field of the template that differs. Old is nil where there was none.
type Change struct {
	Field    string
	Old, New any
}

// String shows the change to a person.
func (c Change) String() string {
	return fmt.Sprintf("%s: %s -> %s", c.Field, show(c.Field, c.Old), show(c.Field, c.New))
}

// Difference returns what there is and what is configured, as verify says it.
func (c Change) Difference() string {
	return fmt.Sprintf("%s is %s, configured is %s", c.Field, show(c.Field, c.Old), show(c.Field, c.New))
}

func show(field string, value any) string {
	if value == nil {
		return "none"
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	if strings.HasSuffix(field, secretARN) || field == "secrets" {
		return redact.Text(string(text)) // an ARN is no credential
	}
	return redact.Value(field, redact.Text(string(text)))
}

// Fit returns the template with all that is wanted, and what of it differs. It is an error if
// the template lacks a variable.
func (w Wanted) Fit(template Template) (Template, []Change, error) {
	fitted, _ := plain(template).(map[string]any)
	if fitted == nil {
		fitted = Template{}
	}
	variables := object(object(fitted, "variables"), "properties")
	job := object(fitted, "job_configuration")
	var changes []Change
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(w.Defaults)) {
		want := plain(w.Defaults[name])
		variable, known := variables[name].(map[string]any)
		switch {
		case known:
		case strings.HasSuffix(name, secretARN):
			variable = map[string]any{"title": "Credential secret", "type": "string", "description": "ARN of the secret with the credential of flow runs."}
			variables[name], job[name] = variable, "{{ "+name+" }}"
		default:
			missing = append(missing, name)
			continue
		}
		if !same(variable["default"], want) {
			if _, ours := variable[originalDefault]; !ours {
				variable[originalDefault] = variable["default"]
			}
			changes = append(changes, Change{name, variable["default"], want})
			variable["default"] = want
		}
	}
	// What is no longer configured gets back what the template had.
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		variable, _ := variables[name].(map[string]any)
		before, ours := variable[originalDefault]
		if _, wanted := w.Defaults[name]; !ours || wanted {
			continue
		}
		changes = append(changes, Change{name, variable["default"], before})
		delete(variable, originalDefault)
		if variable["default"] = before; before == nil {
			delete(variable, "default")
		}
	}
	if env, known := variables["env"].(map[string]any); known && w.Defaults["env"] == nil {
		want := map[string]any{}
		if old, isObject := env["default"].(map[string]any); isObject {
			maps.Copy(want, old)
		}
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
			delete(want, name)
			if value, wanted := w.Proxy[name]; wanted {
				want[name] = value
			}
		}
		if old := env["default"]; !same(old, want) && !(old == nil && len(want) == 0) {
			changes = append(changes, Change{"env", old, want})
			env["default"] = want
		}
	}
	if len(missing) > 0 {
		return nil, nil, fmt.Errorf("the pool's template has no variables %s: it is not that of prefect-aws", strings.Join(missing, ", "))
	}
	definition := object(job, "task_definition")
	own := func(of, wanted map[string]any) {
		for _, field := range slices.Sorted(maps.Keys(wanted)) {
			want := plain(wanted[field])
			if same(of[field], want) {
				continue
			}
			changes = append(changes, Change{field, of[field], want})
			if want == nil {
				delete(of, field)
			} else {
				of[field] = want
			}
		}
	}
	own(definition, w.Task)
	if containers, _ := definition["containerDefinitions"].([]any); len(containers) > 0 {
		if container, ok := containers[0].(map[string]any); ok {
			own(container, w.Container)
		}
	}
	return fitted, changes, nil
}

// object returns the object at a key, which is made if there is none.
func object(of map[string]any, key string) map[string]any {
	inner, ok := of[key].(map[string]any)
	if !ok {
		inner = map[string]any{}
		of[key] = inner
	}
	return inner
}

// same compares values; the order of subnets and security groups means nothing.
func same(a, b any) bool { return reflect.DeepEqual(sorted(a), sorted(b)) }

func sorted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		all := map[string]any{}
		for key, item := range v {
			all[key] = sorted(item)
		}
		return all
	case []any:
		all := slices.Clone(v)
		slices.SortFunc(all, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		return all
	}
	return v
}

// plain returns a value as JSON has it.
func plain(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("workpool: encode %T: %v", v, err)) // text, numbers and lists of them
	}
	var decoded any
	if err := json.Unmarshal(text, &decoded); err != nil {
		panic(fmt.Sprintf("workpool: decode %T: %v", v, err))
	}
	return decoded
}

// Plan is what is to be done to a pool.
type Plan struct {
	pool config.WorkPool
	// Create says that there is no such pool, and Queues which queues it lacks.
	Create bool
	Queues []string
	// Changes are those of an ecs pool's template.
	Changes []Change

	template Template
}

// Empty reports whether there is nothing to do.
func (p Plan) Empty() bool { return !p.Create && len(p.Queues) == 0 && len(p.Changes) == 0 }

// Lines say, for a person, what is to be done.
func (p Plan) Lines() []string {
	var lines []string
	if p.Create {
		lines = append(lines, fmt.Sprintf("the work pool %s of type %s is created", p.pool.Name, p.pool.Type))
	}
	for _, queue := range p.Queues {
		lines = append(lines, "the queue "+queue+" is created")
	}
	for _, change := range p.Changes {
		lines = append(lines, change.String())
	}
	return lines
}

// Prepare finds out what is to be done, and changes nothing. wanted is that of an ecs pool.
func Prepare(ctx context.Context, client *api.Client, pool config.WorkPool, wanted Wanted) (Plan, error) {
	plan := Plan{pool: pool}
	found, err := client.WorkPool(ctx, pool.Name)
	switch {
	case errors.Is(err, api.ErrNotFound):
		plan.Create, plan.Queues = true, pool.Queues
	case err != nil:
		return plan, fmt.Errorf("look for the work pool: %w", err)
	case found.Type != string(pool.Type):
		return plan, fmt.Errorf("the work pool is of another type: %s is of type %s, configured is %s; set work_pool.type to it, or work_pool.name to another pool", pool.Name, found.Type, pool.Type)
	default:
		queues, err := client.WorkQueues(ctx, pool.Name)
		if err != nil {
			return plan, fmt.Errorf("look for the queues of the work pool: %w", err)
		}
		for _, name := range pool.Queues {
			if !slices.ContainsFunc(queues, func(q api.WorkQueue) bool { return q.Name == name }) {
				plan.Queues = append(plan.Queues, name)
			}
		}
	}
	if !pool.FlowsAreTasks() {
		return plan, nil
	}
	template := Template(found.BaseJobTemplate)
	if len(template) == 0 {
		// The first worker would fill it in; it may not have started yet.
		if template, err = client.DefaultTemplate(ctx, string(pool.Type)); err != nil {
			return plan, fmt.Errorf("read the template of %s pools: %w", pool.Type, err)
		}
	}
	if plan.template, plan.Changes, err = wanted.Fit(template); err != nil || wanted.env == nil {
		return plan, err
	}
	job := plan.template.Job(pool.Name, nil, wanted.env.PrefectMajor())
	if problems := append(wanted.Problems(job, wanted.apiURL), wanted.Fixed(job)...); len(problems) > 0 {
		return plan, fmt.Errorf("flow runs could not work with the template of the work pool %s:\n%s\n%s", pool.Name, strings.Join(problems, "\n"), ResetFix)
	}
	return plan, nil
}

// ResetFix says what to do with a template that pool apply does not make work.
const ResetFix = "correct work_pool.job.variables, or take back what was changed in the template: prefect work-pool get-default-base-job-template --type ecs --file template.json, prefect work-pool update NAME --base-job-template template.json, and workerctl pool apply"

// Apply does what was planned. What is there meanwhile is no error.
func (p Plan) Apply(ctx context.Context, client *api.Client) error {
	if p.Create {
		if err := client.CreateWorkPool(ctx, p.pool.Name, string(p.pool.Type)); err != nil && !errors.Is(err, api.ErrConflict) {
			return fmt.Errorf("create the work pool %s: %w", p.pool.Name, err)
		}
	}
	for _, name := range p.Queues {
		if err := client.CreateWorkQueue(ctx, p.pool.Name, name); err != nil && !errors.Is(err, api.ErrConflict) {
			return fmt.Errorf("create the queue %s of the work pool: %w", name, err)
		}
	}
	if len(p.Changes) > 0 {
		if err := client.SetTemplate(ctx, p.pool.Name, p.template); err != nil {
			return fmt.Errorf("set the template of the work pool %s: %w", p.pool.Name, err)
		}
	}
	return nil
}
