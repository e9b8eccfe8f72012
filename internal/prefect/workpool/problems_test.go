package workpool

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/test/testtools"
)

// template is that of the ecs worker, with some of its variables.
const template = `{"variables": {"properties": {
	"command": {}, "env": {}, "aws_credentials": {}, "image": {}, "cpu": {}, "memory": {}, "cluster": {}, "family": {}, "launch_type": {"default": "FARGATE"},
	"capacity_provider_strategy": {}, "container_name": {}, "task_role_arn": {}, "execution_role_arn": {}, "vpc_id": {}, "task_definition_arn": {},
	"configure_cloudwatch_logs": {}, "cloudwatch_logs_options": {}, "cloudwatch_logs_prefix": {}, "network_configuration": {}, "auto_deregister_task_definition": {}}},
"job_configuration": {"command": "{{ command }}", "env": "{{ env }}", "aws_credentials": "{{ aws_credentials }}", "cluster": "{{ cluster }}", "vpc_id": "{{ vpc_id }}",
	"task_definition": {"containerDefinitions": [{"image": "{{ image }}", "name": "{{ container_name }}"}], "cpu": "{{ cpu }}", "family": "{{ family }}", "memory": "{{ memory }}", "executionRoleArn": "{{ execution_role_arn }}"},
	"task_run_request": {"launchType": "{{ launch_type }}", "cluster": "{{ cluster }}", "taskDefinition": "{{ task_definition_arn }}", "capacityProviderStrategy": "{{ capacity_provider_strategy }}",
		"overrides": {"containerOverrides": [{"name": "{{ container_name }}", "command": "{{ command }}", "environment": "{{ env }}"}], "cpu": "{{ cpu }}", "memory": "{{ memory }}", "taskRoleArn": "{{ task_role_arn }}"}},
	"configure_cloudwatch_logs": "{{ configure_cloudwatch_logs }}", "cloudwatch_logs_options": "{{ cloudwatch_logs_options }}", "cloudwatch_logs_prefix": "{{ cloudwatch_logs_prefix }}",
	"network_configuration": "{{ network_configuration }}", "container_name": "{{ container_name }}"}}`

const (
	ecsCluster = "arn:aws:ecs:us-east-1:123456789012:cluster/prefect-cluster"
	roleARN    = "arn:aws:iam::123456789012:role/"
	workerAPI  = "https://prefect.example.com/api"
)

func parse(t *testing.T, text string) (parsed Template) {
	t.Helper()
	testtools.NoError(t, json.Unmarshal([]byte(text), &parsed))
	return parsed
}

// ofECS is what the template of an ecs pool is to say.
func ofECS(t *testing.T) Wanted {
	t.Helper()
	env := config.Default("dev")
	env.WorkPool.Type, env.WorkPool.Name = config.PoolECS, "p"
	env.WorkPool.Job = config.Job{Image: "i:1", CPU: 512, MemoryMiB: 1024, Environment: map[string]string{"LEVEL": "debug"}}
	env.IAM.FlowTaskFamilies, env.IAM.FlowRoleARNs = []string{"prefect_p_"}, []string{roleARN + "allowed"}
	w := Configured(env)
	w.Defaults["cluster"], w.Defaults["vpc_id"] = ecsCluster, "vpc-1"
	w.Defaults["execution_role_arn"], w.Defaults["task_role_arn"] = roleARN+"execution", roleARN+"task"
	w.Defaults["network_configuration"] = map[string]any{"subnets": []string{"subnet-1", "subnet-2"}, "securityGroups": []string{"sg-1"}, "assignPublicIp": "DISABLED"}
	w.Defaults["configure_cloudwatch_logs"], w.Defaults["cloudwatch_logs_options"] = true, map[string]any{"awslogs-group": env.Logs.Group}
	return w
}

// TestProblemsOfATemplate changes one thing in a template that works, or gives a job variable.
func TestProblemsOfATemplate(t *testing.T) {
	type vars = map[string]any
	for name, test := range map[string]struct {
		from, to  string // in the template; "" changes nothing
		variables vars
		want      string // "" for none
	}{
		"all as it should be": {"", "", nil, ""},
		// What stands in the template
		"another cluster":                {`"cluster": "{{ cluster }}", "taskDefinition"`, `"cluster": "other", "taskDefinition"`, nil, "the cluster is other, and the worker may run tasks in " + ecsCluster},
		"the same cluster by its name":   {`"cluster": "{{ cluster }}", "taskDefinition"`, `"cluster": "prefect-cluster", "taskDefinition"`, nil, ""},
		"no cluster":                     {`"cluster": "{{ cluster }}"`, `"x": ""`, nil, "the request names no cluster"},
		"no network":                     {`"network_configuration": "{{ network_configuration }}",`, "", nil, "there is no network configuration"},
		"another subnet":                 {`"{{ network_configuration }}"`, `{"subnets": ["subnet-9"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}`, nil, "subnets has subnet-9, which is none of the worker's"},
		"one of the subnets":             {`"{{ network_configuration }}"`, `{"subnets": ["subnet-2"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}`, nil, ""},
		"a public address":               {`"{{ network_configuration }}"`, `{"subnets": ["subnet-2"], "securityGroups": ["sg-1"], "assignPublicIp": "ENABLED"}`, nil, "assignPublicIp is ENABLED, and the subnets of the worker need DISABLED"},
		"EC2":                            {`"{{ launch_type }}"`, `"EC2"`, nil, "the launch type is EC2"},
		"no launch type":                 {`"launchType": "{{ launch_type }}",`, "", nil, "the request has no launch type"},
		"a fixed image":                  {`"{{ image }}"`, `"other:1"`, nil, "image is other:1 whatever the variable says, which is i:1"},
		"a fixed image that is the same": {`"{{ image }}"`, `"i:1"`, nil, ""},
		"a fixed size":                   {`"cpu": "{{ cpu }}", "memory": "{{ memory }}", "taskRoleArn"`, `"cpu": "256", "memory": "512", "taskRoleArn"`, nil, "cpu is 256 whatever the variable says, which is 512"},
		"an entry point":                 {`"image": "{{ image }}"`, `"image": "{{ image }}", "entryPoint": ["sh", "-c"]`, nil, "entryPoint is sh -c"},
		"a fixed role":                   {`"{{ execution_role_arn }}"`, `"` + roleARN + `other"`, nil, "execution_role_arn is " + roleARN + "other, and the worker may pass only "},
		"no role":                        {`"executionRoleArn": "{{ execution_role_arn }}"`, `"x": ""`, nil, "execution_role_arn is not set"},
		"a fixed log group":              {`"{{ cloudwatch_logs_options }}"`, `{"awslogs-group": "/other"}`, nil, "the log group is /other, and the flow execution role may write to /ecs/prefect-worker only"},
		"a fixed command":                {`"command": "{{ command }}", "env"`, `"command": "python -c 'print(1)'", "env"`, nil, `command is "python -c 'print(1)'", which runs no flow`},
		"a fixed environment":            {`"env": "{{ env }}"`, `"env": {"A": "b"}`, nil, "the environment variable LEVEL does not reach flow tasks"},
		"one that adds to it":            {`"env": "{{ env }}"`, `"env": {"A": "b", "LEVEL": "debug"}`, nil, ""},
		"a privileged container":         {`"image": "{{ image }}"`, `"image": "{{ image }}", "privileged": true`, nil, "the container prefect is privileged"},
		"one that is not":                {`"image": "{{ image }}"`, `"image": "{{ image }}", "privileged": false, "essential": true, "memory": 1024`, nil, ""},
		"too much memory":                {`"image": "{{ image }}"`, `"image": "{{ image }}", "memory": 2048`, nil, "the container prefect has a memory of 2048, and its task 1024"},
		"links of a container":           {`"image": "{{ image }}"`, `"image": "{{ image }}", "links": ["x"]`, nil, "links of the container prefect is set, which Fargate does not take"},
		"a folder of the host":           {`"family": "{{ family }}"`, `"family": "{{ family }}", "volumes": [{"name": "v", "host": {"sourcePath": "/x"}}]`, nil, "sourcePath of the volume v is set"},
		"a volume":                       {`"family": "{{ family }}"`, `"family": "{{ family }}", "volumes": [{"name": "v", "host": {}}], "pidMode": "task", "requiresCompatibilities": ["EC2", "FARGATE"]`, nil, ""},
		"for EC2 only":                   {`"family": "{{ family }}"`, `"family": "{{ family }}", "requiresCompatibilities": ["EC2"]`, nil, "requiresCompatibilities is EC2"},
		"another execution role":         {`"overrides": {`, `"overrides": {"executionRoleArn": "` + roleARN + `other", `, nil, "execution_role_arn is " + roleARN + "other, and the worker may pass only "},
		"no essential container":         {`"image": "{{ image }}"`, `"image": "{{ image }}", "essential": false`, nil, "no container of the task definition is essential"},
		"ECS Exec":                       {`"launchType"`, `"enableExecuteCommand": true, "launchType"`, nil, "enableExecuteCommand is true"},
		"two tasks":                      {`"launchType"`, `"count": 2, "launchType"`, nil, "count is 2: each flow run would be started in so many tasks"},
		"one task":                       {`"launchType"`, `"count": 1, "enableExecuteCommand": false, "placementConstraints": [], "launchType"`, nil, ""},
		"a placement":                    {`"launchType"`, `"placementConstraints": [{"type": "distinctInstance"}], "launchType"`, nil, "placementConstraints is set, which Fargate does not take"},
		// What a deployment says
		"another image":                        {"", "", vars{"image": "mine:1"}, ""},
		"a size of Fargate":                    {"", "", vars{"cpu": 1024, "memory": 4096}, ""},
		"no size of Fargate":                   {"", "", vars{"cpu": 512, "memory": 512}, "cpu 512 with memory 512 in the request is no size of Fargate"},
		"a command":                            {"", "", vars{"command": "echo prefect"}, "which runs no flow"},
		"a command around that of Prefect":     {"", "", vars{"command": "opentelemetry-instrument prefect flow-run execute"}, ""},
		"another API":                          {"", "", vars{"env": vars{"PREFECT_API_URL": "https://other.example.com/api"}}, "PREFECT_API_URL is https://other.example.com/api, and the run was taken from " + workerAPI},
		"the same API":                         {"", "", vars{"env": vars{"PREFECT_API_URL": workerAPI, "A": "1"}}, ""},
		"a role that may be passed":            {"", "", vars{"task_role_arn": roleARN + "allowed"}, ""},
		"a role that may not":                  {"", "", vars{"task_role_arn": roleARN + "other"}, "task_role_arn is " + roleARN + "other, and the worker may pass only"},
		"credentials":                          {"", "", vars{"aws_credentials": vars{"region_name": "x"}}, "aws_credentials is set"},
		"Spot":                                 {"", "", vars{"launch_type": "FARGATE_SPOT"}, ""},
		"a capacity provider":                  {"", "", vars{"capacity_provider_strategy": []any{vars{"capacityProvider": "mine"}}}, "the capacity provider is mine"},
		"Spot as a capacity provider":          {"", "", vars{"capacity_provider_strategy": []any{vars{"capacityProvider": "FARGATE_SPOT"}}}, ""},
		"a task definition":                    {"", "", vars{"task_definition_arn": "arn:aws:ecs:us-east-1:123456789012:task-definition/other:1"}, "task_definition_arn is other, and the worker may only run families that begin with prefect_p_"},
		"a task definition of the family":      {"", "", vars{"task_definition_arn": "arn:aws:ecs:us-east-1:123456789012:task-definition/prefect_p_x:1"}, ""},
		"a task definition of another account": {"", "", vars{"task_definition_arn": "arn:aws:ecs:us-east-1:210987654321:task-definition/prefect_p_x:1"}, "is in the account 210987654321"},
		"another family":                       {"", "", vars{"family": "mine"}, "family is mine, and the worker may only run families that begin with prefect_p_"},
		"another log stream":                   {"", "", vars{"cloudwatch_logs_prefix": "mine"}, "cloudwatch_logs_prefix is mine"},
		"a log stream of the pool":             {"", "", vars{"cloudwatch_logs_prefix": "prefect-logs_p_mine"}, ""},
		"a password in what is wrong":          {"", "", vars{"env": vars{"PREFECT_API_URL": "https://user:hunter2@other.example.com/api"}}, "PREFECT_API_URL is "},
	} {
		t.Run(name, func(t *testing.T) {
			w := ofECS(t)
			edited := strings.ReplaceAll(template, test.from, test.to)
			if test.from == "" {
				edited = template
			} else if edited == template {
				t.Fatal("nothing was changed")
			}
			parsed := parse(t, edited)
			fitted, _, err := w.Fit(parsed)
			testtools.NoError(t, err)
			variables, _ := plain(test.variables).(map[string]any)
			job := fitted.Job("p", variables, 3)
			got := w.Problems(job, workerAPI)
			if test.variables == nil {
				got = append(got, w.Fixed(job)...)
			}
			if (len(got) == 0) != (test.want == "") || !strings.Contains(strings.Join(got, "\n"), test.want) || strings.Contains(strings.Join(got, ""), "hunter2") {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestATemplateOfPrefect3 has defaults of null, which a worker of Prefect 2 puts in: then the container has no name.
func TestATemplateOfPrefect3(t *testing.T) {
	w := ofECS(t)
	for major, want := range map[int]string{2: "a container of the task definition has no name: the template is not that of the worker's release of Prefect", 3: ""} {
		parsed := parse(t, strings.Replace(template, `"container_name": {}`, `"container_name": {"default": null}`, 1))
		fitted, _, err := w.Fit(parsed)
		testtools.NoError(t, err)
		if got := strings.Join(w.Problems(fitted.Job("p", nil, major), workerAPI), "\n"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("Prefect %d: %q, want %q", major, got, want)
		}
	}
}

func TestProblemsOfAProcess(t *testing.T) {
	env := config.Default("dev")
	for name, test := range map[string]struct {
		defaults string
		want     []string
	}{
		"none":        {`{"command": {}, "env": {}}`, nil},
		"a command":   {`{"command": {"default": "false"}, "env": {}}`, []string{`command is "false", which runs no flow: prefect flow-run execute does`}},
		"another API": {`{"command": {}, "env": {"default": {"PREFECT_API_URL": "http://other/api"}}}`, []string{"PREFECT_API_URL is http://other/api, and the run was taken from " + workerAPI}},
		"a variable":  {`{"command": {}, "env": {"default": {"A": "1"}}}`, nil},
	} {
		parsed := parse(t, `{"variables": {"properties": `+test.defaults+`}, "job_configuration": {"command": "{{ command }}", "env": "{{ env }}"}}`)
		if got := Configured(env).Problems(parsed.Job("p", nil, 3), workerAPI); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
