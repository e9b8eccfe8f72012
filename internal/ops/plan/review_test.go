package plan

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"prefect-worker-ecs/internal/test/golden"
)

func stack(t *testing.T, name string, edit func(string) string) []byte {
	t.Helper()
	file, err := os.ReadFile("../../../testdata/golden/" + name + ".tf.json")
	if err != nil {
		t.Fatal(err)
	}
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
	if err != nil {
		t.Fatal(err)
	}
	// THEN a person sees what changes inside of policies and container definitions
	golden.Equal(t, "testdata/stacks.golden", rendered(r))
	if strings.Contains(rendered(r), "hunter2") {
		t.Error("a credential is shown")
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
		if err != nil || r.Count(test.action) != len(r.Changes) || len(r.Changes) < 39 || (len(r.Warnings) > 0) != test.warnings {
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

func TestAFenceInAValue(t *testing.T) {
	var b bytes.Buffer
	Report{Environment: "dev", Changes: []Resource{{Address: "a.b", Action: Change, Attributes: []Attribute{{Path: "p", Before: "```x", After: "y\nz"}}}}}.Markdown(&b)
	if !strings.Contains(b.String(), "\n````diff\n@@ p @@\n- ```x\n+ y\\nz\n````\n") {
		t.Errorf("%s", b.String())
	}
}
