package ecstask

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

func TestEntryPointAndCommand(t *testing.T) {
	worker := []string{"prefect", "worker", "start"}
	tests := []struct {
		name  string
		entry []string
		want  launch
	}{
		{"the image's own", nil, launch{args: worker, signalGroup: true, script: true}},
		{"tini without -g", []string{"/usr/bin/tini", "--", "/opt/prefect/entrypoint.sh"}, launch{args: worker, script: true}},
		{"tini with other options", []string{"/usr/bin/tini", "-v", "-g", "--", "/opt/prefect/entrypoint.sh"}, launch{args: worker, signalGroup: true, script: true}},
		{"no script", []string{"/usr/bin/tini", "--"}, launch{args: worker}},
		{"a program of its own", []string{"/bin/env", "-g"}, launch{args: append([]string{"/bin/env", "-g"}, worker...)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := newLaunch(types.ContainerDefinition{EntryPoint: test.entry, Command: worker})
			if !slices.Equal(got.args, test.want.args) || got.signalGroup != test.want.signalGroup || got.script != test.want.script {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func TestMovePortChangesOnlyTheHealthPort(t *testing.T) {
	got := movePort([]string{"CMD", "curl http://127.0.0.1:8080/health http://localhost:8080 http://localhost:80801 8080 x:8080"}, "8080", "5")
	want := "curl http://127.0.0.1:5/health http://localhost:5 http://localhost:80801 8080 x:8080"
	if got[1] != want {
		t.Errorf("%q, want %q", got[1], want)
	}
}

func TestEnvironmentIsTheDefinitionsAndNotTheCallers(t *testing.T) {
	// GIVEN a caller with settings of its own
	t.Setenv("PREFECT_API_KEY", "of the caller")
	c := types.ContainerDefinition{Environment: []types.KeyValuePair{
		{Name: aws.String("A"), Value: aws.String("${x} = 1")},
		{Name: aws.String("PATH"), Value: aws.String("/only")},
	}}
	// WHEN the environment is put together
	env := environ([]string{"PATH=/image", "I=image"}, []string{"P=platform"}, c, map[string]string{"S": "secret"}, []string{"L=local"})
	// THEN it holds what each part says, as written, and the definition beats the image
	for name, want := range map[string]string{
		"A": "${x} = 1", "PATH": "/only", "I": "image", "P": "platform", "S": "secret", "L": "local", "PREFECT_API_KEY": "",
	} {
		if got := lookup(env, name); got != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
}

func TestHealthCheckCountsAsECSDoes(t *testing.T) {
	c := newHealthCheck(&types.HealthCheck{
		Command: []string{"CMD-SHELL", "exit 1"}, Retries: aws.Int32(2), StartPeriod: aws.Int32(60),
	})
	if c.interval != 30*time.Second || c.timeout != 5*time.Second || !slices.Equal(c.command, []string{"/bin/sh", "-c", "exit 1"}) {
		t.Errorf("defaults: %+v", c)
	}
	if newHealthCheck(nil) != nil || newHealthCheck(&types.HealthCheck{Command: []string{"NONE"}}) != nil {
		t.Error("a container without a check has one")
	}
	type result struct {
		ok    bool
		after time.Duration
		want  Health
	}
	tests := map[string][]result{
		"failures in the start period do not count":          {{false, 1, HealthUnknown}, {false, 59, HealthUnknown}, {false, 61, HealthUnknown}, {false, 62, Unhealthy}},
		"a success ends the start period":                    {{true, 1, Healthy}, {false, 2, Healthy}, {false, 3, Unhealthy}},
		"only failures in a row count":                       {{true, 61, Healthy}, {false, 62, Healthy}, {true, 63, Healthy}, {false, 64, Healthy}},
		"without a success it takes the retries after start": {{false, 70, HealthUnknown}, {false, 71, Unhealthy}},
	}
	for name, results := range tests {
		t.Run(name, func(t *testing.T) {
			state := healthState{status: HealthUnknown}
			for i, r := range results {
				state.add(c, r.ok, r.after*time.Second)
				if state.status != r.want {
					t.Fatalf("after result %d: %s, want %s", i+1, state.status, r.want)
				}
			}
		})
	}
}
