package plan

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"prefect-worker-ecs/internal/test/golden"
	"prefect-worker-ecs/internal/test/testtools"
)

func stack(t *testing.T, name string, edit func(string) string) []byte {
	t.Helper()
	file := golden.Stacks(t)[name]
	if edit == nil {
		return file
	}
	edited := edit(string(file))
	if edited == string(file) {
		t.Fatal("nothing was edited")
	}
	return []byte(edited)
}

func rendered(r Report) string {
	var b bytes.Buffer
	r.Text(&b)
	b.WriteString("\n---\n\n")
	r.Markdown(&b)
	return b.String()
}

func TestAChangeOfTheStack(t *testing.T) {
	// GIVEN the default stack, and one with another image, a variable, a right more, no flow
	// log and another name of the log group
	before := stack(t, "dev", nil)
	after := stack(t, "dev", func(s string) string {
		return strings.NewReplacer(
			"prefecthq/prefect:2-latest", "prefecthq/prefect:3-latest",
			`{\"name\":\"DO_NOT_TRACK\",\"value\":\"1\"},`, `{\"name\":\"DO_NOT_TRACK\",\"value\":\"1\"},{\"name\":\"DB_PASSWORD\",\"value\":\"hunter2\"},`,
			`[\"secretsmanager:GetSecretValue\"]`, `[\"secretsmanager:GetSecretValue\",\"secretsmanager:DescribeSecret\"]`,
			`"aws_flow_log"`, `"aws_flow_log_gone"`,
			`"/ecs/prefect-worker"`, `"/ecs/other"`,
		).Replace(s)
	})
	// WHEN they are compared
	r, err := Stacks("dev", before, after)
	testtools.NoError(t, err)
	// THEN a person sees what changes inside of policies and container definitions
	golden.Equal(t, "testdata/stacks.golden", rendered(r))
	if strings.Contains(rendered(r), "hunter2") {
		t.Error("a credential is shown")
	}
}

// TestWhatIsReplaced: a review without AWS shows what a plan would replace.
func TestWhatIsReplaced(t *testing.T) {
	// GIVEN another range of the VPC THEN all that is in it is replaced too
	r, err := Stacks("dev", stack(t, "dev", nil), stack(t, "dev", func(s string) string {
		return strings.Replace(s, `"cidr_block": "10.0.0.0/16"`, `"cidr_block": "10.1.0.0/16"`, 1)
	}))
	if err != nil || r.Lost() < 20 || r.Changes[len(r.Changes)-1].Action != Replace {
		t.Errorf("%s, %v", r.Summary(), err)
	}
	for name, test := range map[string]struct {
		file    string
		changes []string // before and after, by turns, each once
		want    []string // how the warnings begin
	}{
		"the service's name": {"dev", []string{`"name": "dev-worker"`, `"name": "other"`}, []string{"aws_ecs_service.worker is destroyed and created again: its tasks stop"}},
		"the region":         {"dev", []string{`"default": "us-east-1"`, `"default": "eu-west-1"`}, []string{"the region changes from us-east-1 to eu-west-1: "}},
		"no task":            {"full", []string{`"desired_count": `, `"desired_count": 0, "was": `}, []string{"aws_ecs_service.worker runs no task any more: desired_count is 0"}},
		// The number of the service's creation is then no risk.
		"a number of tasks that is scaled": {"full", []string{"\"aws_appautoscaling_target\": {\n      \"worker\"", "\"aws_appautoscaling_target\": {\n      \"scaled\"", `"desired_count": `, `"desired_count": 0, "was": `}, []string{
			"aws_appautoscaling_target.worker is destroyed: the number of worker tasks stays as it is",
			"aws_appautoscaling_target.scaled sets the number of worker tasks from now on: no plan shows a change of it"}},
		"a longer retention": {"full", []string{`"retention_in_days": `, `"retention_in_days": 1`}, nil},
	} {
		r, err := Stacks("dev", stack(t, test.file, nil), stack(t, test.file, func(s string) string {
			for pair := range slices.Chunk(test.changes, 2) {
				s = strings.Replace(s, pair[0], pair[1], 1)
			}
			return s
		}))
		if err != nil || !slices.EqualFunc(r.Warnings, test.want, strings.HasPrefix) {
			t.Errorf("%s: %q, %v", name, r.Warnings, err)
		}
	}
}

func TestNoChange(t *testing.T) {
	r, err := Stacks("dev", stack(t, "dev", nil), stack(t, "dev", func(s string) string {
		// CDKTF's own notes are no change.
		return strings.ReplaceAll(s, `"path": "dev/network/vpc"`, `"path": "dev/elsewhere/vpc"`)
	}))
	if err != nil || len(r.Changes) != 0 || r.Summary() != "no changes" {
		t.Errorf("%+v, %v", r, err)
	}
	asJSON, err := json.Marshal(r)
	if err != nil || string(asJSON) != `{"environment":"dev","changes":[]}` {
		t.Errorf("%s, %v", asJSON, err)
	}
}

func TestAnEnvironmentThatComesOrGoes(t *testing.T) {
	for _, test := range []struct {
		before, after []byte
		action        Action
		warnings      bool
	}{{nil, stack(t, "dev", nil), Create, false}, {stack(t, "dev", nil), nil, Destroy, true}} {
		r, err := Stacks("dev", test.before, test.after)
		if err != nil || slices.ContainsFunc(r.Changes, func(c Resource) bool { return c.Action != test.action }) || len(r.Changes) < 39 || (len(r.Warnings) > 0) != test.warnings {
			t.Errorf("%s: %s, %v", test.action, r.Summary(), err)
		}
	}
	if _, err := Stacks("dev", []byte("["), nil); err == nil {
		t.Error("no JSON is taken for a stack")
	}
}

func TestAPlan(t *testing.T) {
	// GIVEN a plan with everything that can happen to a resource
	change := func(actions string, before, after, unknown, sensitive any, replace ...any) *tfjson.Change {
		var a tfjson.Actions
		for _, action := range strings.Fields(actions) {
			a = append(a, tfjson.Action(action))
		}
		return &tfjson.Change{Actions: a, Before: before, After: after, AfterUnknown: unknown, BeforeSensitive: sensitive, AfterSensitive: sensitive, ReplacePaths: replace}
	}
	definition := func(image string) map[string]any {
		return map[string]any{"container_definitions": `[{"name":"w","image":"` + image + `","command":["a","b"]}]`, "arn": "arn:1"}
	}
	importing := change("no-op", nil, nil, nil, nil)
	importing.Importing = &tfjson.Importing{ID: "x"}
	plan := &tfjson.Plan{
		ResourceChanges: []*tfjson.ResourceChange{
			{Address: "aws_ecs_task_definition.worker", Change: change("delete create", definition("x:1"), definition("x:2"), map[string]any{"arn": true}, nil, []any{"container_definitions"})},
			{Address: "aws_iam_role_policy.task", Change: change("update",
				map[string]any{"policy": `{"Statement":[{"Sid":"Run","Action":["ecs:RunTask"],"Resource":["*"]}]}`},
				map[string]any{"policy": `{"Statement":[{"Sid":"Run","Action":["ecs:RunTask","ecs:StopTask"],"Resource":["*"]}]}`}, nil, nil)},
			{Address: "aws_secretsmanager_secret_version.key", Change: change("update", map[string]any{"secret_string": "hunter2", "v": 1.0}, map[string]any{"secret_string": "hunter3", "v": 2.0}, nil, map[string]any{"secret_string": true})},
			{Address: "aws_cloudwatch_log_group.worker", Change: change("delete create", map[string]any{"name": "a"}, map[string]any{"name": "b"}, nil, nil, []any{"name"})},
			{Address: "aws_iam_role.imported", Change: change("update",
				map[string]any{"assume_role_policy": `{"Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"a"},{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"r","Principal":"b"}]}`,
					"tags": map[string]any{"Team": "x"}, "tags_all": map[string]any{"Team": "x"}, "force_secret": nil, "inline_policy": []any{}},
				map[string]any{"assume_role_policy": `{"Statement":[{"Effect":"Allow","Action":["sts:AssumeRole"],"Principal":"a"},{"Effect":"Allow","Action":["sts:AssumeRole"],"Resource":["r"],"Principal":"c"}]}`,
					"tags": nil, "tags_all": map[string]any{"Environment": "prod"}, "force_secret": false, "inline_policy": nil}, nil, nil)},
			{Address: "aws_nat_gateway.nat_1", Change: change("delete", map[string]any{}, nil, nil, nil)},
			{Address: "aws_vpc.main", Change: change("create", nil, map[string]any{"cidr_block": "10.0.0.0/16"}, nil, nil)},
			{Address: "aws_iam_role.task", Change: importing},
			{Address: "aws_subnet.a", Change: change("no-op", nil, nil, nil, nil)},
			{Address: "data.aws_partition.current", Mode: tfjson.DataResourceMode, Change: change("read", nil, nil, nil, nil)},
		},
		OutputChanges: map[string]*tfjson.Change{"url": change("update", "a", "b", nil, nil), "same": change("no-op", "a", "a", nil, nil)},
	}
	// WHEN it is read
	r := Plan("prod", plan)
	// THEN all of it is shown, and nothing that is sensitive
	golden.Equal(t, "testdata/plan.golden", rendered(r))
	if strings.Contains(rendered(r), "hunter") {
		t.Error("a credential is shown")
	}
}

func TestWhatStopsTheWorker(t *testing.T) {
	const service = "aws_ecs_service.worker"
	change := func(path, before, after string) Resource {
		return Resource{Address: service, Action: Change, Attributes: []Attribute{{Path: path, Before: before, After: after}}}
	}
	for _, test := range []struct {
		change Resource
		want   bool
	}{
		{change("task_definition", "w:1", unknown), true},
		{change("network_configuration[0].subnets", `["a"]`, `["b"]`), true},
		{change("desired_count", "2", "1"), true},
		{change("desired_count", "1", "2"), false},
		{change("tags.a", "1", "2"), false},
		{Resource{Address: service, Action: Replace}, true},
		{Resource{Address: service, Action: Destroy}, true},
		{Resource{Address: service, Action: Create}, false},
		{Resource{Address: "aws_ecs_service.server", Action: Destroy}, false},
	} {
		if got := (Report{Changes: []Resource{test.change}}).StopsWorker(); (got == test.change.Action) != test.want || (got == "") == test.want {
			t.Errorf("%+v: %q", test.change, got)
		}
	}
}

func TestAFenceInAValue(t *testing.T) {
	var b bytes.Buffer
	Report{Environment: "dev", Changes: []Resource{{Address: "a.b", Action: Change, Attributes: []Attribute{{Path: "p", Before: "```x", After: "y\nz"}}}}}.Markdown(&b)
	if !strings.Contains(b.String(), "\n````diff\n@@ p @@\n- ```x\n+ y\\nz\n````\n") {
		t.Errorf("%s", b.String())
	}
}
