package adopt

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

func stack(t *testing.T, file string) *stackjson.Stack {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := stackjson.Parse(content, stackjson.Place{Partition: "aws", Region: "us-east-1", Account: "123456789012"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEachTypeIsLookedForOrNot fails for a type that a stack has and nobody has decided about.
func TestEachTypeIsLookedForOrNot(t *testing.T) {
	files, err := filepath.Glob("../../../testdata/golden/*.tf.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d golden stacks, %v", len(files), err)
	}
	for _, file := range files {
		for _, kind := range stack(t, file).Kinds() {
			if strings.Contains(kind, ".") {
				continue
			}
			if found, left := kinds[kind] != nil, made[kind] != ""; found == left {
				t.Errorf("%s: looked for: %t, made whatever there is: %t", kind, found, left)
			}
		}
	}
}

func TestWhatIsGivenIsChecked(t *testing.T) {
	dev := stack(t, "../../../testdata/golden/dev.tf.json")
	for given, want := range map[string]string{
		"aws_vpc.other":                  "the stack has no aws_vpc.other; make synth writes what it has",
		"aws_vpc.main":                   "aws_vpc.main is in the state already, as vpc-1",
		"aws_ecs_task_definition.worker": "aws_ecs_task_definition.worker is not imported: it is a new revision, and those that are there stay",
	} {
		_, err := Find(t.Context(), aws.Config{}, dev, map[string]string{"aws_vpc.main": "vpc-1"}, map[string]string{given: "x"})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestSeveralAreNotGuessedAmong(t *testing.T) {
	r := resource{address: "aws_vpc.main"}
	if _, err := r.one([]string{"vpc-1", "vpc-2"}); err == nil || err.Error() != "vpc-1 and vpc-2 can each be it; say which: --id aws_vpc.main=vpc-1" {
		t.Error(err)
	}
	if id, err := r.one([]string{"vpc-1"}); id != "vpc-1" || err != nil {
		t.Error(id, err)
	}
}

func TestOptionsExist(t *testing.T) {
	for attribute, option := range options {
		if !slices.ContainsFunc(config.Options(), func(o config.Option) bool { return o.Key == option }) {
			t.Errorf("%s: there is no option %s", attribute, option)
		}
		if kind, _, _ := strings.Cut(attribute, "."); kinds[kind] == nil {
			t.Errorf("%s is never imported", kind)
		}
	}
	if got := Option("aws_cloudwatch_log_group.worker", "retention_in_days"); got != "logs.retention_days" {
		t.Error(got)
	}
	if got := Option("aws_vpc.main", "cidr_block"); got != "" {
		t.Error(got)
	}
}
