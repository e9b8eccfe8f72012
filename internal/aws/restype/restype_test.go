package restype

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
)

// incomplete returns what a type lacks.
func incomplete(t Type) []string {
	if strings.Contains(t.Name, ".") { // not created, imported or destroyed
		return nil
	}
	var lacks []string
	if (t.Find == nil) == (t.NotImported == "") {
		lacks = append(lacks, "either Find or NotImported")
	}
	if t.Loss == "" {
		lacks = append(lacks, "Loss, or Nothing")
	}
	if len(t.Grants) == 0 {
		lacks = append(lacks, "Grants")
	}
	return lacks
}

func TestEachTypeIsComplete(t *testing.T) {
	for name, kind := range all {
		if lacks := incomplete(kind); len(lacks) > 0 {
			t.Errorf("%s lacks %s", name, strings.Join(lacks, ", "))
		}
		for argument, option := range kind.Options {
			if !slices.ContainsFunc(config.Options(), func(o config.Option) bool { return o.Key == option }) {
				t.Errorf("%s.%s: there is no option %s", name, argument, option)
			}
			if kind.Find == nil {
				t.Errorf("%s.%s: it is never imported", name, argument)
			}
		}
	}
	// AND an incomplete one is found
	if got := incomplete(Type{Name: "aws_new", NotImported: "it is new"}); !slices.Equal(got, []string{"Loss, or Nothing", "Grants"}) {
		t.Errorf("lacks %q", got)
	}
}

// TestEachTypeOfAStackIsInTheTable fails with the name of a type that a golden stack has.
func TestEachTypeOfAStackIsInTheTable(t *testing.T) {
	files, err := filepath.Glob("../../../testdata/golden/*.tf.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d golden stacks, %v", len(files), err)
	}
	used := map[string]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var stack struct {
			Resource, Data, Ephemeral map[string]any
			Terraform                 struct{ Backend map[string]any }
		}
		if err := json.Unmarshal(content, &stack); err != nil {
			t.Fatal(err)
		}
		for prefix, types := range map[string]map[string]any{"": stack.Resource, "data.": stack.Data, "ephemeral.": stack.Ephemeral, "backend.": stack.Terraform.Backend} {
			for _, name := range slices.Sorted(maps.Keys(types)) {
				used[prefix+name] = true
				if _, ok := Of(prefix + name); !ok {
					t.Errorf("%s has %s%s, which is not in the table", filepath.Base(file), prefix, name)
				}
			}
		}
	}
	if len(used) < 30 {
		t.Errorf("only %d types were looked up", len(used))
	}
}

func TestARN(t *testing.T) {
	in := iam.Account{Partition: "aws", ID: "123456789012", Region: "us-east-1"}
	for pattern, want := range map[string]string{
		"ecs:cluster/a": "arn:aws:ecs:us-east-1:123456789012:cluster/a", "iam:role/a": "arn:aws:iam::123456789012:role/a",
		"s3:bucket/key": "arn:aws:s3:::bucket/key", "cloudwatch:dashboard/a": "arn:aws:cloudwatch::123456789012:dashboard/a", "cloudwatch:alarm:a": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a",
	} {
		if got := ARN(in, pattern); got != want {
			t.Errorf("%s: %s, want %s", pattern, got, want)
		}
	}
}

func TestSeveralAreNotGuessedAmong(t *testing.T) {
	r := Resource{address: "aws_vpc.main"}
	if _, err := r.one([]string{"vpc-1", "vpc-2"}); err == nil || err.Error() != "vpc-1 and vpc-2 can each be it; say which: --id aws_vpc.main=vpc-1" {
		t.Error(err)
	}
	if id, err := r.one([]string{"vpc-1"}); id != "vpc-1" || err != nil {
		t.Error(id, err)
	}
}
