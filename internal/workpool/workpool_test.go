package workpool

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/prefectapi"
	"prefect-worker-ecs/internal/prefectserver"
	"prefect-worker-ecs/internal/pyenv"
	"prefect-worker-ecs/internal/testtools"
)

const (
	disk       = "ephemeralStorage"
	apiKey     = "prefect_api_key_secret_arn"
	authString = "prefect_api_auth_string_secret_arn"
)

func wanted() Wanted {
	return Wanted{Task: map[string]any{disk: map[string]any{"sizeInGiB": 50}}, Defaults: map[string]any{
		"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/c", "cpu": 512, "configure_cloudwatch_logs": true,
		"network_configuration": map[string]any{"subnets": []string{"subnet-1", "subnet-2"}, "securityGroups": []string{"sg-1"}},
		apiKey:                  "arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf",
		authString:              "arn:aws:secretsmanager:us-east-1:123456789012:secret:both-AbCdEf",
	}}
}

func fields(changes []Change) []string {
	var names []string
	for _, c := range changes {
		names = append(names, c.Field)
	}
	return names
}

// TestAPoolOfARealServer goes through the life of an ecs pool, on servers of both major
// versions, before a worker has ever asked them.
func TestAPoolOfARealServer(t *testing.T) {
	for name, spec := range map[string]pyenv.Spec{"Prefect 2": pyenv.Prefect2, "Prefect 3": pyenv.Prefect3} {
		t.Run(name, func(t *testing.T) {
			server, err := prefectserver.Start(t.Context(), prefectserver.Options{Env: testtools.Environment(t, spec), Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = server.Stop(t.Context()) })
			api, err := prefectapi.New(server.APIURL(), "")
			if err != nil {
				t.Fatal(err)
			}
			prepare := func(pool config.WorkPool) Plan {
				t.Helper()
				plan, err := Prepare(t.Context(), api, pool, wanted())
				if err != nil {
					t.Fatal(err)
				}
				return plan
			}
			apply := func(plan Plan) {
				t.Helper()
				if err := plan.Apply(t.Context(), api); err != nil {
					t.Fatal(err)
				}
			}
			pool := config.WorkPool{Name: "tasks", Type: config.PoolECS, Queues: []string{"urgent"}}

			// WHEN there is no such pool
			plan := prepare(pool)
			if !plan.Create || !slices.Equal(plan.Queues, pool.Queues) || !strings.Contains(strings.Join(plan.Lines(), "\n"), "the work pool tasks of type ecs is created\nthe queue urgent is created\ncluster: none -> ") {
				t.Errorf("plan %+v", plan.Lines())
			}
			// THEN a look at it changes nothing, and it is made
			if again := prepare(pool); !again.Create {
				t.Error("it was made by looking at it")
			}
			apply(plan)
			if again := prepare(pool); !again.Empty() {
				t.Errorf("a second time: %v", again.Lines())
			}

			// WHEN a person changed a field that is ours, and one that is not
			found, err := api.WorkPool(t.Context(), pool.Name)
			if err != nil {
				t.Fatal(err)
			}
			variables := found.BaseJobTemplate["variables"].(map[string]any)["properties"].(map[string]any)
			variables["cpu"].(map[string]any)["default"] = 4096
			variables["stream_output"].(map[string]any)["default"] = true
			if err := api.SetTemplate(t.Context(), pool.Name, found.BaseJobTemplate); err != nil {
				t.Fatal(err)
			}
			// THEN ours is shown, and set; the other one stays
			plan = prepare(pool)
			if got := plan.Lines(); !slices.Equal(got, []string{"cpu: 4096 -> 512"}) {
				t.Errorf("plan %q", got)
			}
			apply(plan)
			if found, err = api.WorkPool(t.Context(), pool.Name); err != nil {
				t.Fatal(err)
			}
			variables = found.BaseJobTemplate["variables"].(map[string]any)["properties"].(map[string]any)
			if variables["stream_output"].(map[string]any)["default"] != true {
				t.Error("a field of others was changed")
			}
			// AND the secrets that the server's own template does not know reach the job
			job := found.BaseJobTemplate["job_configuration"].(map[string]any)
			if job[apiKey] != "{{ "+apiKey+" }}" || job[authString] != "{{ "+authString+" }}" || !reflect.DeepEqual(job["task_definition"].(map[string]any)[disk], map[string]any{"sizeInGiB": 50.0}) {
				t.Errorf("job %v", job)
			}

			// WHEN the pool is a process pool THEN it is made, with no template of ours
			process := config.WorkPool{Name: "processes", Type: config.PoolProcess}
			plan = prepare(process)
			if !slices.Equal(plan.Lines(), []string{"the work pool processes of type process is created"}) {
				t.Errorf("plan %q", plan.Lines())
			}
			apply(plan)
			if again := prepare(process); !again.Empty() {
				t.Errorf("a second time: %v", again.Lines())
			}
			// AND one of another type is refused
			process.Type = config.PoolECS
			if _, err := Prepare(t.Context(), api, process, wanted()); err == nil || !strings.HasPrefix(err.Error(), "the work pool is of another type: processes is of type process, configured is ecs") {
				t.Errorf("another type: %v", err)
			}
		})
	}
}

func TestFit(t *testing.T) {
	var template Template
	if err := json.Unmarshal([]byte(`{"variables":{"properties":{"cluster":{},"cpu":{"default":512},"configure_cloudwatch_logs":{"default":true},
		"network_configuration":{"default":{"subnets":["subnet-2","subnet-1"],"securityGroups":["sg-1"]}},"api_token":{"default":"of-a-person"}}},
		"job_configuration":{"task_definition":{"ephemeralStorage":{"sizeInGiB":21}}}}`), &template); err != nil {
		t.Fatal(err)
	}
	before, _ := copied(template)
	// WHEN some fit, in another order
	_, changes, err := wanted().Fit(template)
	// THEN the others are named, and the template is as it was
	if want := []string{"cluster", authString, apiKey, disk}; err != nil || !slices.Equal(fields(changes), want) {
		t.Errorf("%v, changes %v, want %v", err, fields(changes), want)
	}
	// AND an ARN is shown, which is no credential
	if got := changes[1].String(); got != authString+`: none -> "arn:aws:secretsmanager:us-east-1:123456789012:secret:both-AbCdEf"` {
		t.Error(got)
	}
	if !reflect.DeepEqual(before, template) {
		t.Error("the template was changed")
	}
	// WHEN no disk is wanted THEN the one that is there goes
	less := wanted()
	less.Task, less.Defaults = map[string]any{disk: nil}, map[string]any{"api_token": "new"}
	_, changes, err = less.Fit(template)
	if want := []string{"api_token", disk}; err != nil || !slices.Equal(fields(changes), want) || changes[1].String() != `ephemeralStorage: {"sizeInGiB":21} -> none` {
		t.Errorf("%v, changes %v, want %v", err, changes, want)
	}
	// AND no credential is shown
	if text := changes[0].String() + changes[0].Difference(); strings.Contains(text, "of-a-person") {
		t.Error(text)
	}
	// WHEN flow tasks are to go out through a proxy, run on another processor and come from a
	// private registry THEN that is put to what a person has said, and goes again
	if err := json.Unmarshal([]byte(`{"variables":{"properties":{"env":{"default":{"A":"b"}}}},"job_configuration":{"task_definition":{"containerDefinitions":[{"image":"{{ image }}"}]}}}`), &template); err != nil {
		t.Fatal(err)
	}
	with := Wanted{
		Proxy: map[string]string{"HTTPS_PROXY": "http://proxy.example.com:3128"}, Task: map[string]any{"runtimePlatform": map[string]any{"cpuArchitecture": "ARM64"}},
		Container: map[string]any{"repositoryCredentials": map[string]any{"credentialsParameter": "arn"}},
	}
	fitted, changes, err := with.Fit(template)
	if want := []string{"env", "runtimePlatform", "repositoryCredentials"}; err != nil || !slices.Equal(fields(changes), want) || changes[0].String() != `env: {"A":"b"} -> {"A":"b","HTTPS_PROXY":"http://proxy.example.com:3128"}` {
		t.Errorf("%v, changes %v, want %v", err, changes, want)
	}
	without := Wanted{Task: map[string]any{"runtimePlatform": nil}, Container: map[string]any{"repositoryCredentials": nil}}
	again, changes, err := without.Fit(fitted)
	if err != nil || len(changes) != 3 || !reflect.DeepEqual(again, template) {
		t.Errorf("%v, changes %v, template %v", err, changes, again)
	}
	// WHEN the template is another worker's THEN that is said
	if _, _, err := wanted().Fit(Template{}); err == nil || err.Error() != "the pool's template has no variables cluster, configure_cloudwatch_logs, cpu, network_configuration: it is not that of prefect-aws" {
		t.Errorf("an empty template: %v", err)
	}
}
