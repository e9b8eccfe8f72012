package workpool

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

// TestAJobIsWhatTheWorkerMakes: templates and job variables are rendered as the code of the worker does.
func TestAJobIsWhatTheWorkerMakes(t *testing.T) {
	type change = []any
	path := func(keys ...any) []any { return keys }
	network := map[string]any{"subnets": []any{"subnet-1"}, "securityGroups": []any{"sg-1"}}
	all := map[string]any{"image": "i:1", "cluster": "c", "vpc_id": "vpc-1", "network_configuration": network, "execution_role_arn": "x", "task_role_arn": "y",
		"configure_cloudwatch_logs": true, "cloudwatch_logs_options": map[string]any{"awslogs-group": "g", "awslogs-region": "us-east-1"}, "cpu": 512, "memory": 1024}
	type testCase struct {
		Change    change         `json:"change"`
		Variables map[string]any `json:"variables"`
	}
	cases := map[string]testCase{
		"all variables":         {nil, all},
		"none":                  {nil, map[string]any{}},
		"spot":                  {nil, merged(all, map[string]any{"launch_type": "FARGATE_SPOT"})},
		"a strategy":            {nil, merged(all, map[string]any{"capacity_provider_strategy": []any{map[string]any{"capacityProvider": "X", "weight": 1}}})},
		"a command":             {nil, merged(all, map[string]any{"command": "python -c 'print(1)'"})},
		"an environment":        {nil, merged(all, map[string]any{"env": map[string]any{"A": "1"}})},
		"a prefix of the log":   {nil, merged(all, map[string]any{"cloudwatch_logs_prefix": "mine"})},
		"a name of a container": {nil, merged(all, map[string]any{"container_name": "flow"})},
		"secrets, and the API key": {change{path("job_configuration", "task_definition", "containerDefinitions", 0, "secrets"), []any{map[string]any{"name": "DB", "valueFrom": "arn"}}},
			merged(all, map[string]any{"prefect_api_key_secret_arn": "arn:key"})},
		"a fixed image":          {change{path("job_configuration", "task_definition", "containerDefinitions", 0, "image"), "fixed:1"}, all},
		"a text with a variable": {change{path("job_configuration", "task_definition", "containerDefinitions", 0, "image"), "registry/{{ image }}-x"}, all},
		"a fixed cluster":        {change{path("job_configuration", "task_run_request", "cluster"), "fixed"}, all},
		"no cluster":             {change{path("job_configuration", "task_run_request", "cluster"), nil}, all},
		"no launch type":         {change{path("job_configuration", "task_run_request", "launchType"), nil}, all},
		"no network":             {change{path("job_configuration", "network_configuration"), nil}, all},
		"an entry point":         {change{path("job_configuration", "task_definition", "containerDefinitions", 0, "entryPoint"), []any{"sh"}}, all},
		"a sidecar": {change{path("job_configuration", "task_definition", "containerDefinitions"), []any{
			map[string]any{"name": "side", "image": "s"}, map[string]any{"name": "prefect", "image": "{{ image }}"}}}, all},
		"a default of null": {change{path("variables", "properties", "container_name"), map[string]any{"default": nil}}, all},
		"a default":         {change{path("variables", "properties", "image", "default"), "default:1"}, map[string]any{"cluster": "c"}},
	}
	input, err := json.Marshal(cases)
	testtools.NoError(t, err)
	for major, spec := range map[int]pyenv.Spec{2: pyenv.Prefect2, 3: pyenv.Prefect3} {
		env := config.Default("dev")
		env.WorkPool.Type, env.Worker.Image = config.PoolECS, map[int]string{2: "prefecthq/prefect:2-latest", 3: "prefecthq/prefect:3-latest"}[major]
		spec.Extra = env.PipPackages()
		cmd := exec.CommandContext(t.Context(), testtools.Environment(t, spec).Python(), "testdata/render.py")
		var out, failed bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &failed
		cmd.Env = append(os.Environ(), "PREFECT_HOME="+t.TempDir(), "DO_NOT_TRACK=1")
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s", err, failed.String())
		}
		var jobs map[string]struct {
			Template            Template
			Definition, Request map[string]any
			Error               string
		}
		testtools.NoError(t, json.Unmarshal(out.Bytes(), &jobs))
		for name, c := range cases {
			want := jobs[name]
			if want.Error != "" {
				t.Errorf("Prefect %d, %s: the worker says %s", major, name, want.Error)
				continue
			}
			// WHEN it is rendered here
			got := want.Template.Job("p", plain(c.Variables).(map[string]any), major)
			// THEN it says the same as the worker's, apart from what that fills in
			for _, place := range []struct {
				what      string
				got, want any
			}{
				{"family", got.Definition["family"], strings.TrimSuffix(text(want.Definition["family"]), "d")},
				{"roles", []any{got.Definition["executionRoleArn"], got.Definition["taskRoleArn"]}, []any{want.Definition["executionRoleArn"], want.Definition["taskRoleArn"]}},
				{"network mode", got.Definition["networkMode"], want.Definition["networkMode"]},
				{"containers", essential(got.Definition["containerDefinitions"]), essential(want.Definition["containerDefinitions"])},
				{"cluster", got.Request["cluster"], want.Request["cluster"]},
				{"strategy", got.Request["capacityProviderStrategy"], want.Request["capacityProviderStrategy"]},
				{"network", got.Request["networkConfiguration"], want.Request["networkConfiguration"]},
				{"command", command(got.Request), command(want.Request)},
			} {
				if !reflect.DeepEqual(plain(place.got), plain(place.want)) {
					t.Errorf("Prefect %d, %s, %s:\ngot  %v\nwant %v", major, name, place.what, plain(place.got), plain(place.want))
				}
			}
		}
	}
}

// essential are the containers without what the worker fills in for each flow run or release.
func essential(v any) any {
	containers, _ := plain(v).([]any)
	for _, c := range containers {
		container := c.(map[string]any)
		delete(container, "environment")
		secrets, _ := container["secrets"].([]any)
		secrets = slices.DeleteFunc(secrets, func(s any) bool { return strings.HasPrefix(text(s.(map[string]any)["name"]), "PREFECT_") })
		if container["secrets"] = secrets; len(secrets) == 0 {
			delete(container, "secrets")
		}
		if image, _ := container["image"].(string); strings.HasPrefix(image, "prefecthq/") {
			delete(container, "image")
		}
		if logs, ok := container["logConfiguration"].(map[string]any); ok {
			options := logs["options"].(map[string]any)
			delete(options, "awslogs-region")
			options["awslogs-stream-prefix"] = strings.TrimSuffix(text(options["awslogs-stream-prefix"]), "_d")
			options["awslogs-stream-prefix"] = strings.TrimSuffix(text(options["awslogs-stream-prefix"]), "_")
		}
	}
	return containers
}

func command(request map[string]any) any {
	overrides, _ := request["overrides"].(map[string]any)
	var all []string
	for _, c := range objects(plain(overrides["containerOverrides"])) {
		all = append(all, text(c["name"])+": "+strings.ReplaceAll(text(c["command"]), "'", ""))
	}
	return all
}
