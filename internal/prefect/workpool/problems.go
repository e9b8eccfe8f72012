package workpool

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/redact"
)

// Problems returns why flow runs cannot work that are started with the job: in the eyes of the worker, of the
// roles' policies and of Fargate. What differs from the configuration and works is none, such as another image in
// a deployment. apiURL is that of the worker.
func (w Wanted) Problems(job Job, apiURL string) []string {
	p := problems{}
	if w.env.WorkPool.FlowsInWorker() {
		p.process(job.Configuration, apiURL)
		return p
	}
	if credentials := job.Configuration["aws_credentials"]; credentials != nil {
		p.add("aws_credentials is set: the worker calls AWS with those and not with its task role")
	}
	if definition := text(job.Request["taskDefinition"]); definition != "" {
		p.family("task_definition_arn", definition[strings.LastIndex(definition, "/")+1:], w.env)
		cluster, _ := arn.Parse(text(w.Defaults["cluster"]))
		if of, err := arn.Parse(definition); err == nil && of.AccountID != cluster.AccountID {
			p.add("task_definition_arn %s is in the account %s, and the worker in %s", definition, of.AccountID, cluster.AccountID)
		}
	} else {
		p.family("family", text(job.Definition["family"]), w.env)
		p.definition(w, job)
	}
	p.request(w, job)
	p.command(job, apiURL)
	return p
}

// problems collects what does not work.
type problems []string

func (p *problems) add(format string, args ...any) {
	*p = append(*p, redact.Text(fmt.Sprintf(format, args...)))
}

// family checks that the worker may register and run task definitions of a family.
func (p *problems) family(variable, family string, env *config.Environment) {
	family, _, _ = strings.Cut(family, ":")
	if !slices.ContainsFunc(env.IAM.FlowTaskFamilies, func(allowed string) bool { return strings.HasPrefix(family, allowed) }) {
		p.add("%s is %s, and the worker may only run families that begin with %s (iam.flow_task_families)", variable, family, strings.Join(env.IAM.FlowTaskFamilies, " or "))
	}
}

// definition checks the task definition.
func (p *problems) definition(w Wanted, job Job) {
	essential := false
	task, _ := strconv.Atoi(text(job.Definition["memory"]))
	for _, container := range objects(job.Definition["containerDefinitions"]) {
		name := text(container["name"])
		if name == "" {
			p.add("a container of the task definition has no name: the template is not that of the worker's release of Prefect")
		}
		if container["privileged"] == true {
			p.add("the container %s is privileged, which neither the worker's task role nor Fargate allows", name)
		}
		for _, field := range []string{"disableNetworking", "dnsSearchDomains", "dnsServers", "dockerSecurityOptions", "extraHosts", "links", "resourceRequirements"} {
			p.notOnFargate(field+" of the container "+name, container[field])
		}
		if memory, _ := strconv.Atoi(text(container["memory"])); memory > task && task > 0 {
			p.add("the container %s has a memory of %d, and its task %d", name, memory, task)
		}
		essential = essential || container["essential"] != false
	}
	if !essential {
		p.add("no container of the task definition is essential, and ECS requires one")
	}
	for _, field := range []string{"inferenceAccelerators", "ipcMode", "placementConstraints"} {
		p.notOnFargate(field+" of the task definition", job.Definition[field])
	}
	for _, volume := range objects(job.Definition["volumes"]) {
		host, _ := volume["host"].(map[string]any)
		p.notOnFargate("sourcePath of the volume "+text(volume["name"]), host["sourcePath"])
		p.notOnFargate("dockerVolumeConfiguration of the volume "+text(volume["name"]), volume["dockerVolumeConfiguration"])
	}
	if text(job.Definition["pidMode"]) == "host" {
		p.notOnFargate("pidMode host of the task definition", true)
	}
	if kinds := list(job.Definition["requiresCompatibilities"]); len(kinds) > 0 && !slices.Contains(kinds, "FARGATE") {
		p.add("requiresCompatibilities is %s, and flow tasks are for FARGATE", strings.Join(kinds, ", "))
	}
	if mode := text(job.Definition["networkMode"]); mode != "" && mode != "awsvpc" {
		p.add("the network mode is %s, and Fargate takes awsvpc only", mode)
	}
	p.size("the task definition", job.Definition)
	p.role(w, "execution_role_arn", cmp.Or(text(job.Overrides["executionRoleArn"]), text(job.Definition["executionRoleArn"])), true)
	logs, _ := job.Container["logConfiguration"].(map[string]any)
	options, _ := logs["options"].(map[string]any)
	switch group, prefix := text(options["awslogs-group"]), text(options["awslogs-stream-prefix"]); {
	case logs == nil:
	case text(logs["logDriver"]) != "awslogs":
		p.add("the log driver is %s, and the flow execution role may write to CloudWatch only", text(logs["logDriver"]))
	case group != w.env.Logs.Group:
		p.add("the log group is %s, and the flow execution role may write to %s only", group, w.env.Logs.Group)
	case !strings.HasPrefix(prefix, w.env.FlowStream()):
		p.add("cloudwatch_logs_prefix is %s, and the flow execution role may only write to streams that begin with %s", prefix, w.env.FlowStream())
	}
}

// request checks the request of RunTask.
func (p *problems) request(w Wanted, job Job) {
	cluster, wanted := text(job.Request["cluster"]), text(w.Defaults["cluster"])
	switch {
	case cluster == "":
		p.add("the request names no cluster: the task would run in the account's default cluster, which the worker may not use")
	case cluster != wanted && cluster != wanted[strings.LastIndex(wanted, "/")+1:]:
		p.add("the cluster is %s, and the worker may run tasks in %s only", cluster, wanted)
	}
	strategy := objects(job.Request["capacityProviderStrategy"])
	for _, item := range strategy {
		if provider := text(item["capacityProvider"]); provider != "FARGATE" && provider != "FARGATE_SPOT" {
			p.add("the capacity provider is %s, and flow tasks are for FARGATE and FARGATE_SPOT", provider)
		}
	}
	switch launch := text(job.Request["launchType"]); {
	case len(strategy) > 0 || launch == "FARGATE":
	case launch == "":
		p.add("the request has no launch type and no capacity provider: ECS looks for EC2 instances")
	default:
		p.add("the launch type is %s, and flow tasks are for FARGATE", launch)
	}
	network, _ := job.Request["networkConfiguration"].(map[string]any)
	got, _ := network["awsvpcConfiguration"].(map[string]any)
	place, _ := plain(w.Defaults["network_configuration"]).(map[string]any)
	switch {
	case len(got) == 0:
		p.add("there is no network configuration: the task would get all subnets of the VPC, a public address and no security group of the stack")
	case place == nil: // it is not known
	default:
		for _, field := range []string{"subnets", "securityGroups"} {
			allowed, _ := place[field].([]any)
			for _, id := range list(got[field]) {
				if !slices.Contains(allowed, any(id)) {
					p.add("%s has %s, which is none of the worker's", field, id)
				}
			}
			if len(list(got[field])) == 0 {
				p.add("the network configuration has no %s", field)
			}
		}
		if given, want := text(got["assignPublicIp"]), text(place["assignPublicIp"]); given != want && (given == "ENABLED" || want == "ENABLED") {
			p.add("assignPublicIp is %s, and the subnets of the worker need %s", given, want)
		}
	}
	if vpc, want := text(job.Configuration["vpc_id"]), text(w.Defaults["vpc_id"]); len(got) > 0 && want != "" && vpc != want {
		p.add("vpc_id is %q, and the subnets are in %s", vpc, want)
	}
	for _, field := range []string{"placementConstraints", "placementStrategy"} {
		p.notOnFargate(field, job.Request[field])
	}
	if job.Request["enableExecuteCommand"] == true {
		p.add("enableExecuteCommand is true, and the worker may start no task with ECS Exec")
	}
	if count := text(job.Request["count"]); count != "" && count != "1" {
		p.add("count is %s: each flow run would be started in so many tasks", count)
	}
	p.size("the request", merged(job.Definition, job.Overrides))
	p.role(w, "task_role_arn", cmp.Or(text(job.Overrides["taskRoleArn"]), text(job.Definition["taskRoleArn"])), false)
	for _, container := range objects(job.Overrides["containerOverrides"]) {
		name := container["name"]
		if text(job.Request["taskDefinition"]) == "" && !slices.ContainsFunc(objects(job.Definition["containerDefinitions"]), func(c map[string]any) bool { return c["name"] == name }) {
			p.add("the request changes the container %s, which the task definition has not", text(name))
		}
	}
}

// command checks what the container runs.
func (p *problems) command(job Job, apiURL string) {
	p.runsFlow("command", job.Override["command"])
	if entry := text(job.Container["entryPoint"]); entry != "" && !strings.Contains(entry, "prefect") {
		p.add("entryPoint is %s, in the place of that of the image", entry)
	}
	env, _ := job.Configuration["env"].(map[string]any)
	p.api(env, apiURL)
	for _, variable := range append(objects(job.Container["environment"]), objects(job.Override["environment"])...) {
		p.api(map[string]any{text(variable["name"]): variable["value"]}, apiURL)
	}
}

// process checks the configuration of a process.
func (p *problems) process(configuration map[string]any, apiURL string) {
	p.runsFlow("command", configuration["command"])
	env, variables := configuration["env"].(map[string]any)
	if configuration["env"] != nil && !variables {
		p.add("env is %s, and not variables by their names", text(configuration["env"]))
	}
	p.api(env, apiURL)
}

// notOnFargate checks that something which Fargate does not take ("Amazon ECS task definition differences for Fargate" in
// the developer guide) is not set.
func (p *problems) notOnFargate(what string, value any) {
	if value := text(value); value != "" && value != "false" {
		p.add("%s is set, which Fargate does not take", what)
	}
}

// flowCommand matches what runs the flow of a run, with Prefect 2 and 3.
var flowCommand = regexp.MustCompile(`\bprefect(\.(flow_)?engine|\s+flow-run\s+execute)\b`)

// runsFlow checks that a command is one that runs the flow.
func (p *problems) runsFlow(what string, command any) {
	if command := text(command); command != "" && !flowCommand.MatchString(command) {
		p.add("%s is %q, which runs no flow: prefect flow-run execute does", what, command)
	}
}

func (p *problems) api(env map[string]any, apiURL string) {
	if url := text(env["PREFECT_API_URL"]); url != "" && apiURL != "" && url != apiURL {
		p.add("PREFECT_API_URL is %s, and the run was taken from %s", url, apiURL)
	}
}

// Unproven returns settings of which only a completed flow run shows that they work, such as a folder that the image may
// not have.
func (j Job) Unproven() []string {
	var settings []string
	if dir := text(j.Configuration["working_dir"]); dir != "" {
		settings = append(settings, "working_dir "+dir)
	}
	env, _ := j.Configuration["env"].(map[string]any)
	for _, variable := range []string{"PATH", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"} {
		if _, set := env[variable]; set {
			settings = append(settings, "another "+variable)
		}
	}
	return settings
}

// role checks that the worker may pass a role.
func (p *problems) role(w Wanted, variable, arn string, needed bool) {
	allowed := slices.Clone(w.env.IAM.FlowRoleARNs)
	for _, own := range []string{"execution_role_arn", "task_role_arn"} {
		if role := text(w.Defaults[own]); role != "" {
			allowed = append(allowed, role)
		}
	}
	switch {
	case arn == "" && needed:
		p.add("%s is not set: ECS can neither read the credential nor write the log", variable)
	case arn != "" && !slices.Contains(allowed, arn):
		p.add("%s is %s, and the worker may pass only %s (iam.flow_role_arns)", variable, arn, strings.Join(allowed, ", "))
	}
}

// size checks CPU and memory.
func (p *problems) size(what string, of map[string]any) {
	cpu, memory := text(of["cpu"]), text(of["memory"])
	if cpu == "" && memory == "" {
		return
	}
	c, errC := strconv.Atoi(cpu)
	m, errM := strconv.Atoi(memory)
	if errC != nil || errM != nil {
		return // ECS takes other forms too, such as "1 vCPU"
	}
	if sizes := config.FargateMemory(c); !slices.Contains(sizes, m) {
		p.add("cpu %d with memory %d in %s is no size of Fargate; with that cpu it has %v", c, m, what, sizes)
	}
}

func list(v any) []string {
	var all []string
	items, _ := plain(v).([]any)
	for _, item := range items {
		all = append(all, text(item))
	}
	return all
}

// Image returns the image of the container that runs the flow. Empty: that of a task definition which exists.
func (j Job) Image() string {
	if text(j.Request["taskDefinition"]) != "" {
		return ""
	}
	return text(j.Container["image"])
}

// Secrets returns the secrets and parameters that the containers of the job read.
func (j Job) Secrets() []string {
	var all []string
	for _, variable := range []config.Authentication{config.AuthAPIKey, config.AuthBasic} {
		if arn := text(j.Configuration[credential(variable)]); arn != "" {
			all = append(all, arn)
		}
	}
	for _, container := range objects(j.Definition["containerDefinitions"]) {
		for _, secret := range objects(container["secrets"]) {
			all = append(all, text(secret["valueFrom"]))
		}
	}
	return all
}

// Fixed returns the variables that pool apply sets and that do not reach the job, because the template has
// something else in their place. What is there is no matter if it is the same.
func (w Wanted) Fixed(job Job) []string {
	options, _ := job.Container["logConfiguration"].(map[string]any)
	log, _ := options["options"].(map[string]any)
	wantedLog, _ := w.Defaults["cloudwatch_logs_options"].(map[string]any)
	run := merged(job.Definition, job.Overrides)
	launch := job.Request["launchType"]
	if strategy := objects(job.Request["capacityProviderStrategy"]); len(strategy) == 1 && launch == nil {
		launch = strategy[0]["capacityProvider"]
	}
	var all []string
	env, _ := job.Configuration["env"].(map[string]any)
	wantedEnv, _ := w.Defaults["env"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(wantedEnv)) {
		if text(env[name]) != text(wantedEnv[name]) {
			all = append(all, fmt.Sprintf("the environment variable %s does not reach flow tasks whatever the variable env says", name))
		}
	}
	for _, field := range []struct {
		name      string
		got, want any
	}{
		{"image", job.Container["image"], w.Defaults["image"]},
		{"cpu", run["cpu"], w.Defaults["cpu"]},
		{"memory", run["memory"], w.Defaults["memory"]},
		{"launch_type", launch, w.Defaults["launch_type"]},
		{"task_role_arn", run["taskRoleArn"], w.Defaults["task_role_arn"]},
		{"the log group", log["awslogs-group"], wantedLog["awslogs-group"]},
	} {
		if want := text(field.want); want != "" && text(field.got) != want {
			all = append(all, redact.Text(fmt.Sprintf("%s is %s whatever the variable says, which is %s", field.name, cmp.Or(text(field.got), "none"), want)))
		}
	}
	return all
}
