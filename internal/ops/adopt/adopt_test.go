package adopt

import (
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

func stack(t *testing.T, file string) *stackjson.Stack {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := stackjson.Parse(content, iam.Account{Partition: "aws", Region: "us-east-1", ID: "123456789012"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsGivenIsChecked(t *testing.T) {
	dev := stack(t, "../../../testdata/golden/dev.tf.json")
	for given, want := range map[string]string{
		"aws_vpc.other":                  "the stack has no aws_vpc.other; make synth writes what it has",
		"aws_vpc.main":                   "aws_vpc.main is in the state already, as vpc-1",
		"aws_ecs_task_definition.worker": "aws_ecs_task_definition.worker is not imported: it is a new revision, and those that are there stay",
	} {
		_, _, err := Find(t.Context(), aws.Config{}, dev, map[string]string{"aws_vpc.main": "vpc-1"}, map[string]string{given: "x"})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestOption(t *testing.T) {
	for attribute, want := range map[string]string{"aws_cloudwatch_log_group.worker retention_in_days": "logs.retention_days", "aws_ecs_cluster.main setting[0].value": "cluster.container_insights", "aws_vpc.main cidr_block": ""} {
		address, path, _ := strings.Cut(attribute, " ")
		if got := Option(address, path); got != want {
			t.Errorf("%s: %q, want %q", attribute, got, want)
		}
	}
}
