package workpool

import (
	"reflect"
	"slices"
	"strings"
	"testing"
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

func TestFit(t *testing.T) {
	template := parse(t, `{"variables":{"properties":{"cluster":{},"cpu":{"default":512},"configure_cloudwatch_logs":{"default":true},
		"network_configuration":{"default":{"subnets":["subnet-2","subnet-1"],"securityGroups":["sg-1"]}},"api_token":{"default":"of-a-person"}}},
		"job_configuration":{"task_definition":{"ephemeralStorage":{"sizeInGiB":21}}}}`)
	before := plain(template)
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
	if !reflect.DeepEqual(before, plain(template)) {
		t.Error("the template was changed")
	}
	// AND so are those of further secrets
	if got := (Change{"secrets", nil, []any{map[string]any{"name": "DB", "valueFrom": "arn:aws:ssm:us-east-1:123456789012:parameter/db"}}}).String(); got != `secrets: none -> [{"name":"DB","valueFrom":"arn:aws:ssm:us-east-1:123456789012:parameter/db"}]` {
		t.Error(got)
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
	template = parse(t, `{"variables":{"properties":{"env":{"default":{"A":"b"}}}},"job_configuration":{"task_definition":{"containerDefinitions":[{"image":"{{ image }}"}]}}}`)
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
	// WHEN variables are configured, and later no longer
	template = parse(t, `{"variables":{"properties":{"env":{"default":{"A":"b"}},"command":{},"launch_type":{"default":"FARGATE"},"image":{"default":"of-a-person"}}},
		"job_configuration":{"task_definition":{}}}`)
	some := Wanted{Defaults: map[string]any{"env": map[string]any{"LEVEL": "debug"}, "command": "x prefect", "launch_type": "FARGATE"}}
	fitted, changes, err = some.Fit(template)
	if want := []string{"command", "env"}; err != nil || !slices.Equal(fields(changes), want) {
		t.Errorf("%v, changes %v, want %v", err, changes, want)
	}
	some.Defaults["env"] = map[string]any{"LEVEL": "info"}
	if fitted, changes, err = some.Fit(fitted); err != nil || len(changes) != 1 {
		t.Errorf("%v, changes %v", err, changes)
	}
	again, changes, err = Wanted{Defaults: map[string]any{"launch_type": "FARGATE"}}.Fit(fitted)
	// THEN each gets back what the template had before
	if err != nil || !reflect.DeepEqual(again, template) || len(changes) != 2 || changes[0].String() != `command: "x prefect" -> none` || changes[1].String() != `env: {"LEVEL":"info"} -> {"A":"b"}` {
		t.Errorf("%v, changes %v, template %v", err, changes, again)
	}
	// WHEN the template is another worker's THEN that is said
	if _, _, err := wanted().Fit(Template{}); err == nil || err.Error() != "the pool's template has no variables cluster, configure_cloudwatch_logs, cpu, network_configuration: it is not that of prefect-aws" {
		t.Errorf("an empty template: %v", err)
	}
}
