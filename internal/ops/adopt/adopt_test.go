package adopt

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/ops/plan"
	"prefect-worker-ecs/internal/terraform/stackjson"
	"prefect-worker-ecs/internal/test/golden"
	"prefect-worker-ecs/internal/test/testtools"
)

func stack(t *testing.T, environment string) *stackjson.Stack {
	t.Helper()
	s, err := stackjson.Parse(golden.Stacks(t)[environment], iam.Account{Partition: "aws", Region: "us-east-1", ID: "123456789012"}, nil)
	testtools.NoError(t, err)
	return s
}

func TestWhatIsGivenIsChecked(t *testing.T) {
	dev := stack(t, "dev")
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

func TestAdoptWarnsOfAReplacement(t *testing.T) {
	attribute := plan.Attribute{Path: "availability_zone", Before: "us-east-1b", After: "us-east-1a", ForcesReplacement: true}
	for action, warned := range map[plan.Action]bool{plan.Change: false, plan.Replace: true} {
		// GIVEN a plan for what was found WHEN it is shown
		var out strings.Builder
		PrintDifferences(&out, plan.Report{Environment: "dev", Changes: []plan.Resource{{Address: "aws_subnet.private_1", Action: action, Attributes: []plan.Attribute{attribute}}}})
		// THEN a replacement is warned of before all, and the option that avoids it is named
		if got := strings.HasPrefix(out.String(), "\nwarning: deploy would destroy or replace 1 of what exists."); got != warned {
			t.Errorf("%s: %s", action, out.String())
		}
		if !strings.Contains(out.String(), "\n  network.availability_zones: aws_subnet.private_1 availability_zone\n") {
			t.Errorf("%s: %s", action, out.String())
		}
	}
}
