package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"prefect-worker-ecs/config/strict"
	"prefect-worker-ecs/internal/base/redact"
)

// WorkerStream is how the log streams of the worker's tasks begin.
const WorkerStream = "prefect-worker"

// Family returns the family of the worker's task definition.
func (w Worker) Family() string { return cmp.Or(w.TaskFamily, w.ServiceName) }

// fargateSizes are the memory sizes in MiB that Fargate takes for each CPU size: from,
// to and step. Source: "Task CPU and memory" in the Amazon ECS Developer Guide.
var fargateSizes = map[int]struct{ from, to, step int }{
	256:   {512, 2048, 0},
	512:   {1024, 4096, 1024},
	1024:  {2048, 8192, 1024},
	2048:  {4096, 16384, 1024},
	4096:  {8192, 30720, 1024},
	8192:  {16384, 61440, 4096},
	16384: {32768, 122880, 8192},
}

// FargateMemory returns the memory sizes in MiB that Fargate takes with a CPU size, none if it lacks that size.
func FargateMemory(cpu int) []int {
	size, ok := fargateSizes[cpu]
	switch {
	case !ok:
		return nil
	case size.step == 0:
		return []int{512, 1024, 2048}
	}
	var sizes []int
	for m := size.from; m <= size.to; m += size.step {
		sizes = append(sizes, m)
	}
	return sizes
}

func memorySizes(cpu int) string {
	sizes := FargateMemory(cpu)
	if len(sizes) > 4 {
		return fmt.Sprintf("%d to %d in steps of %d", sizes[0], sizes[len(sizes)-1], sizes[1]-sizes[0])
	}
	var texts []string
	for _, size := range sizes {
		texts = append(texts, strconv.Itoa(size))
	}
	return strings.Join(texts, ", ")
}

// Memory that a worker needs, in MiB, measured with Prefect 2.20.25 and rounded up: the
// idle worker, each flow run of a process pool before any code of the user's, and the guard of
// worker.protect_runs.
const (
	workerMiB  = 171
	flowRunMiB = 136
	guardMiB   = 24
)

// fargate refuses sizes that Fargate lacks, and more flow runs than there is memory for.
func (v *validator) fargate() {
	w, job := v.env.Worker, v.env.WorkPool.Job
	v.taskSizes("worker", w.CPU, w.MemoryMiB)
	if v.env.WorkPool.FlowsAreTasks() {
		v.taskSizes("work_pool.job", job.CPU, job.MemoryMiB)
	}
	if !w.Spot {
		v.rejectIgnored("all tasks run on demand", "set worker.spot to true, or remove it", "worker.on_demand_base", "worker.on_demand_weight")
	}
	if w.ConcurrencyLimit == 0 && v.env.WorkPool.FlowsInWorker() {
		v.reject("worker.concurrency_limit", w.ConcurrencyLimit, "0 is no limit, and the runs of a process pool share the task's memory", "set it to a number from 1, or remove it for 1")
	}
	idle, what := workerMiB, "the worker takes"
	if w.ProtectRuns {
		idle, what = workerMiB+guardMiB, "the worker and its guard take"
	}
	if need := idle + w.ConcurrencyLimit*flowRunMiB; v.env.WorkPool.FlowsInWorker() && need > w.MemoryMiB {
		fix := "give the task more memory (worker.memory)"
		if fits := (w.MemoryMiB - idle) / flowRunMiB; fits > 0 {
			fix = fmt.Sprintf("set it to %d or give the task more memory", fits)
		}
		v.reject("worker.concurrency_limit", w.ConcurrencyLimit,
			fmt.Sprintf("%s %d MiB and each flow run of a process pool %d MiB before its own data, here %d of %d MiB", what, idle, flowRunMiB, need, w.MemoryMiB),
			fix, "worker.memory")
	}
}

func (v *validator) taskSizes(block string, cpu, memory int) {
	if sizes := FargateMemory(cpu); sizes != nil && !slices.Contains(sizes, memory) {
		v.reject(block+".memory", memory, fmt.Sprintf("with cpu %d Fargate takes a memory of %s MiB", cpu, memorySizes(cpu)),
			fmt.Sprintf("set %[1]s.memory to one of them, or another %[1]s.cpu", block), block+".cpu")
	}
}

// APIKeyVariable is the environment variable in which a worker finds its API key.
const APIKeyVariable = "PREFECT_API_KEY"

// reservedVariables are set by the program; a second value would break what they do.
var reservedVariables = map[string]string{
	"PREFECT_API_URL":                                      "set prefect.api_url, or the Terraform variable prefect_api_url",
	APIKeyVariable:                                         "give the key in the Terraform variable prefect_api_key; it must not stand in a file",
	"PREFECT_API_AUTH_STRING":                              "set prefect.authentication to basic: user and password then come from the secret; they must not stand in a file",
	"PREFECT_WORK_POOL_NAME":                               "set work_pool.name",
	"PREFECT_WORKER_WEBSERVER_HOST":                        "remove it: the health check requests 127.0.0.1",
	"PREFECT_WORKER_WEBSERVER_PORT":                        "remove it: the health check requests port 8080",
	"EXTRA_PIP_PACKAGES":                                   "set worker.extra_pip_packages",
	"ECS_AGENT_URI":                                        "remove it: ECS sets it",
	"ECS_CONTAINER_METADATA_URI_V4":                        "remove it: ECS sets it",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI":                   "remove it: ECS sets AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI":               "remove it: ECS sets it",
	"PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME": "remove it: the program makes the queue and names it",
}

// variables refuses environment variables that the program sets, that are in two places, or
// that hold a credential.
func (v *validator) variables() {
	for _, of := range v.env.taskVariables() {
		for _, name := range slices.Sorted(maps.Keys(of.environment)) {
			key, value := of.block+".environment."+name, of.environment[name]
			v.reserved(of.block, key, name, value)
			if secretVariable(name, value) {
				v.reject(key, value, fmt.Sprintf("the variable holds a credential by its name or value, and %s.environment stands in plaintext in Git, in the state and in the task definition", of.block),
					fmt.Sprintf("put it in Secrets Manager or the Parameter Store and its ARN in %s.secrets.%s", of.block, name))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(of.secrets)) {
			key, value := of.block+".secrets."+name, of.secrets[name]
			v.reserved(of.block, key, name, value)
			if _, twice := of.environment[name]; twice {
				v.reject(key, value, fmt.Sprintf("a variable is in %[1]s.environment or in %[1]s.secrets, not in both", of.block), "remove one of them")
			}
			if !strings.HasPrefix(value, "arn:") {
				value = redact.Hidden // whatever it is, somebody calls it a secret
			}
			if f := formats["secret-reference"]; !f.accepts(of.secrets[name]) {
				v.reject(key, value, f.rule, f.fix)
			}
		}
	}
}

// reserved refuses a variable that the program sets. The entrypoint of Prefect's images installs EXTRA_PIP_PACKAGES
// for a flow task as well. Prefect reads its settings in any case.
func (v *validator) reserved(block, key, name, value string) {
	if upper := strings.ToUpper(name); strings.HasPrefix(upper, "PREFECT_") {
		name = upper
	}
	if fix, set := reservedVariables[name]; set && (block == "worker" || name != "EXTRA_PIP_PACKAGES") {
		v.reject(key, value, "the program sets this variable itself", fix)
	}
}

// taskVariables are the environment variables and secrets of the tasks of a block: those of the worker, and of
// flow tasks.
type taskVariables struct {
	block                string
	environment, secrets map[string]string
}

func (e *Environment) taskVariables() []taskVariables {
	return []taskVariables{{"worker", e.Worker.Environment, e.Worker.Secrets}, {"work_pool.job", e.WorkPool.Job.Environment, e.WorkPool.Job.Secrets}}
}

// secretVariable reports whether a variable holds a credential. A name alone proves nothing where
// the value is a switch, or the path of a file that holds the credentials.
func secretVariable(name, value string) bool {
	if redact.Credential(value) {
		return true
	}
	_, err := strconv.ParseBool(value)
	isSwitch := err == nil || slices.Contains([]string{"yes", "no", "on", "off"}, strings.ToLower(value))
	path := strings.HasPrefix(value, "/") && strings.HasSuffix(strings.ToUpper(name), "CREDENTIALS")
	return redact.Named(name) && value != "" && !isSwitch && !path
}

// taskSize refuses what makes the task definition larger than ECS takes ("Amazon ECS service
// quotas": 64 KiB). The rest of it is well under 8 KiB.
func (v *validator) taskSize() {
	const most = 56 << 10
	w := v.env.Worker
	text, err := json.Marshal([]any{w.Environment, w.Secrets, w.ExtraPipPackages, v.env.WorkPool})
	if err != nil {
		panic(fmt.Sprintf("config: measure the task definition: %v", err)) // maps and lists of text
	}
	if size := len(text) + (len(w.Environment)+len(w.Secrets))*len(`{"name":,"value":}`); size > most {
		v.reject("worker.environment", fmt.Sprintf("%d variables", len(w.Environment)), fmt.Sprintf("a task definition has at most 64 KiB, 8 of them for the rest, and variables, secrets, packages and queues make %d KiB here", size>>10),
			"move large values to S3 or the Parameter Store and let the flow read them", "worker.secrets", "worker.extra_pip_packages", "work_pool")
	}
}

// policySizes refuses lists that make a role's inline policies larger than IAM takes ("IAM and AWS STS quotas").
// What the program itself needs is below 3000 characters. An ARN of ECS that it makes of a family has some 160
// beside the family's name.
func (v *validator) policySizes() {
	const most, own, made = 10240, 4000, 160
	reject := func(key string, count int, noun, what, fix string, related ...string) {
		v.reject(key, fmt.Sprintf("%d %s", count, noun), fmt.Sprintf("the inline policies of a role have at most %d characters, and %s longer", most, what), fix, related...)
	}
	i := v.env.IAM
	for _, of := range v.env.taskVariables() {
		size := own
		for _, from := range of.secrets {
			size += len(SecretARN(from)) + len(`"",`)
		}
		if size > most {
			reject(of.block+".secrets", len(of.secrets), "secrets", "the ARNs of so many secrets are", "put several values into one secret and take them by JSON key")
		}
	}
	if size := statementsSize(i.FlowTaskRole.Statements); size > most {
		reject("iam.flow_task_role.statements", len(i.FlowTaskRole.Statements), "statements", "these are", "put them into a managed policy (iam.flow_task_role.policy_arns)")
	}
	statements, size := statementsSize(i.TaskStatements), own
	for _, role := range i.FlowRoleARNs {
		size += len(role) + len(`"",`)
	}
	for _, family := range i.FlowTaskFamilies {
		size += 2 * (len(family) + made) // to register and to run
	}
	if size += statements; size > most && statements > size/2 {
		reject("iam.task_statements", len(i.TaskStatements), "statements", "these with the program's own are", "put them into a managed policy (iam.task_policy_arns)")
	} else if size > most {
		reject("iam.flow_task_families", len(i.FlowTaskFamilies), "families", "the ARNs of so many families and roles are", "give the families a common prefix", "iam.flow_role_arns")
	}
}

// statementsSize returns how many characters statements have in a policy.
func statementsSize(statements []Statement) int {
	text, err := json.Marshal(statements)
	if err != nil {
		panic(fmt.Sprintf("config: measure the statements: %v", err)) // lists and maps of text
	}
	return len(text)
}

// poolType refuses types of pool that exist in Prefect and that this worker cannot serve.
func (v *validator) poolType() {
	p := v.env.WorkPool
	switch kind := strings.ToLower(string(p.Type)); {
	case kind == "prefect:managed" || strings.HasSuffix(kind, ":push"):
		v.reject("work_pool.type", p.Type, "Prefect runs the flows of a managed or push pool itself; a worker that is pointed at one exits with status 1",
			"use a process or ecs pool: on Prefect Cloud with a plan that allows hybrid pools (Starter or above), on a self-hosted Prefect server through prefect.api_url, or on one in this stack with server.enabled")
	case kind == "docker" || kind == "kubernetes":
		v.reject("work_pool.type", p.Type, "a Fargate task has no Docker engine and no Kubernetes to start flow runs with", "use process or ecs")
	}
	if strings.HasPrefix(strings.ToLower(p.Name), "prefect") {
		v.reject("work_pool.name", p.Name, "Prefect keeps names that begin with prefect for itself", "choose another name")
	}
}

// flows refuses what only an ecs pool reads.
func (v *validator) flows() {
	if v.env.WorkPool.FlowsInWorker() {
		v.rejectIgnored("only the worker of an ecs pool starts tasks for flow runs", "remove it; flows of a process pool run in the worker's task, with iam.task_policy_arns and iam.task_statements",
			"iam.flow_role_arns", "iam.flow_task_families", "worker.prefect_aws_included", "iam.flow_execution_role_name",
			"iam.flow_task_role.name", "iam.flow_task_role.policy_arns", "iam.flow_task_role.statements", "iam.existing.flow_execution_role", "iam.existing.flow_task_role")
		v.rejectIgnored("only the worker of an ecs pool starts tasks for flow runs", "remove it; flows of a process pool run in the worker's task, with its image, CPU and memory",
			sectionKeys("work_pool.job.")...)
		return
	}
	// Nothing in prefect-aws makes a valid family of another name.
	const longest = 255 - len("prefect__") - 36 // and the id of a deployment
	if name := v.env.WorkPool.Name; !formats["ecs-name"].accepts(name) || len(name) > longest {
		v.reject("work_pool.name", name, fmt.Sprintf("the worker of an ecs pool makes task definitions of the family prefect_NAME_ID, and ECS takes letters, digits, hyphens and underscores in it, here at most %d", longest),
			"choose another name for the pool", "work_pool.type")
	}
	own := []struct{ key, family string }{{"worker.task_family", v.env.Worker.Family()}}
	if v.env.Server.Enabled {
		own = append(own, struct{ key, family string }{"server.name", v.env.Server.Name})
	}
	for i, prefix := range v.env.IAM.FlowTaskFamilies {
		for _, o := range own {
			if strings.HasPrefix(o.family, prefix) {
				v.reject(fmt.Sprintf("iam.flow_task_families[%d]", i), prefix, "the prefix is also that of a task definition of the program's own, "+o.family+", and whoever starts a flow could then start it with a command of his own",
					"write a longer prefix, or set "+o.key, o.key, "worker.service_name", "work_pool.name")
			}
		}
	}
	if role := v.env.IAM.FlowTaskRole; !role.Enabled() && v.env.IAM.Existing.FlowTaskRole == "" {
		v.rejectIgnored("the role is made if it is given permissions", "set iam.flow_task_role.policy_arns or iam.flow_task_role.statements, or remove it", "iam.flow_task_role.name")
	}
}

// jobVariables are variables of the pool's template that the program sets, and where.
var jobVariables = map[string]string{
	"image": "work_pool.job.image", "cpu": "work_pool.job.cpu", "memory": "work_pool.job.memory",
	"launch_type": "work_pool.job.spot", "capacity_provider_strategy": "work_pool.job.spot", "auto_deregister_task_definition": "work_pool.job.deregister",
	"cluster": "cluster.name", "vpc_id": "network", "network_configuration": "network",
	"execution_role_arn": "iam.flow_execution_role_name or iam.existing.flow_execution_role", "task_role_arn": "iam.flow_task_role",
	"configure_cloudwatch_logs": "logs.group", "cloudwatch_logs_options": "logs.group", "cloudwatch_logs_prefix": "work_pool.name",
	"prefect_api_key_secret_arn": "secret", "prefect_api_auth_string_secret_arn": "secret", "family": "iam.flow_task_families",
	"env": "work_pool.job.environment", "aws_credentials": "iam.task_statements: the worker calls AWS with its task role",
}

// Variables of the template that a person may set, and the kind of each: those of all releases of prefect-aws, and those
// of the ones before 0.6.0 (read in the releases of prefectAWSPins).
var (
	furtherJobVariables = map[string]string{"command": isText, "container_name": isText, "labels": isObject,
		"match_latest_revision_in_family": isSwitch, "name": isText, "task_definition_arn": isText}
	olderJobVariables = map[string]string{"stream_output": isSwitch, "task_start_timeout_seconds": isNumber, "task_watch_poll_interval": isNumber}
)

// taskDefinitionKey is the template variable with the task definition that flows run with.
const taskDefinitionKey = "work_pool.job.variables.task_definition_arn"

// The kinds of values of template variables.
const (
	isText   = "text"
	isSwitch = "true or false"
	isNumber = "a number"
	isObject = `an object, such as {"team": "data"}`
)

// jobVariable returns the kind of a value of a template variable, which is JSON or else text.
func jobVariable(text string) string {
	var value any
	if json.Unmarshal([]byte(text), &value) != nil {
		return isText
	}
	switch value.(type) {
	case string:
		return isText
	case bool:
		return isSwitch
	case float64:
		return isNumber
	case map[string]any:
		return isObject
	}
	return "" // null, or a list
}

// jobs refuses what flow tasks cannot be started with.
func (v *validator) jobs() {
	job := v.env.WorkPool.Job
	runtime, err := v.env.Worker.Runtime()
	const region = "AWS_DEFAULT_REGION"
	if other, given := v.env.Worker.Environment[region]; given && other != v.env.Region {
		v.reject("worker.environment."+region, other, "the worker starts flow tasks in this region, and the cluster is in "+v.env.Region, "remove it; flow tasks get theirs in work_pool.job.environment", "region")
	}
	kinds := maps.Clone(furtherJobVariables)
	if err != nil || !secretOfFlows.Check(runtime.Prefect) {
		maps.Copy(kinds, olderJobVariables)
	}
	known := slices.Sorted(maps.Keys(kinds))
	for _, name := range slices.Sorted(maps.Keys(job.Variables)) {
		key, value := "work_pool.job.variables."+name, job.Variables[name]
		if option, own := jobVariables[name]; own {
			v.reject(key, value, "the program sets this variable itself", "set "+option)
		}
		if !slices.Contains(known, name) {
			v.reject(key, value, "the template of the prefect-aws for this Prefect has no such variable", strict.Nearest(name, known)+"it has "+strings.Join(known, ", ")+", and those of other options", "worker.image")
		}
		if kind := kinds[name]; jobVariable(value) != kind {
			v.reject(key, value, "the variable is "+kind, "correct the value")
		}
		if name == "container_name" && !formats["ecs-name"].accepts(value) {
			v.reject(key, value, formats["ecs-name"].rule, formats["ecs-name"].fix)
		}
		if secretVariable(name, value) {
			v.reject(key, value, "the variable holds a credential by its name or value, and the pool's template is in plaintext", "let the flow read it from Secrets Manager, with iam.flow_task_role")
		}
	}
	if text, given := job.Variables["task_definition_arn"]; given {
		const key = taskDefinitionKey
		family := text[strings.LastIndexByte(text, '/')+1:]
		if !slices.ContainsFunc(v.env.IAM.FlowTaskFamilies, func(allowed string) bool { return strings.HasPrefix(family, allowed) }) {
			v.reject(key, text, "the worker may only run families that begin with "+strings.Join(v.env.IAM.FlowTaskFamilies, " or "), "add the family to iam.flow_task_families", "iam.flow_task_families")
		}
		if len(job.Secrets) > 0 {
			v.reject("work_pool.job.secrets", fmt.Sprintf("%d secrets", len(job.Secrets)), "the secrets of a task definition that exists are its own", "put them there, or remove "+key, key)
		}
	}
	v.jobSecrets()
}

// mergesSecrets is the first release of prefect-aws that keeps the secrets of the template when it adds the
// credential of the Prefect API.
const mergesSecrets = "0.7.11"

// jobSecrets refuses secrets of flow tasks that the worker would drop.
func (v *validator) jobSecrets() {
	if len(v.env.WorkPool.Job.Secrets) == 0 || !v.env.FlowsReadCredential() {
		return
	}
	for _, requirement := range v.env.PipPackages() {
		_, release, exact := strings.Cut(requirement, "==")
		if name, _ := packageName(requirement); name != "prefect-aws" || !exact {
			continue
		}
		if parsed := parseVersion(release); parsed != nil && parsed.LessThan(parseVersion(mergesSecrets)) {
			v.reject("work_pool.job.secrets", fmt.Sprintf("%d secrets", len(v.env.WorkPool.Job.Secrets)), requirement+" drops them when it adds the credential of the Prefect API; "+mergesSecrets+" is the first that keeps both",
				"use Prefect 3.7 or later (worker.image), which goes with it", "worker.extra_pip_packages", "worker.image")
		}
	}
}

// SecretReference returns the ARN and the JSON key in the value of a secret in a container definition (valueFrom) that is in
// Secrets Manager. Without a key the container gets the whole text.
//
//	arn:<partition>:secretsmanager:<region>:<account>:secret:<name>[:<JSON key>:<stage>:<version>]
//
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
//
// Of anything else, such as a parameter of the Parameter Store, the whole reference is the ARN.
func SecretReference(reference string) (arn, jsonKey string) {
	part := strings.Split(reference, ":")
	if len(part) != 10 || part[2] != "secretsmanager" {
		return reference, ""
	}
	return strings.Join(part[:7], ":"), part[7]
}

// SecretARN returns the ARN that the execution role must be allowed to read for a value of worker.secrets: without the
// JSON key and version that may follow that of a secret.
func SecretARN(reference string) string {
	arn, _ := SecretReference(reference)
	return arn
}

// IsParameter reports whether a value of worker.secrets is a parameter of the Parameter Store and
// not a secret of Secrets Manager.
func IsParameter(reference string) bool {
	parsed, err := arn.Parse(reference)
	return err == nil && parsed.Service == "ssm"
}
