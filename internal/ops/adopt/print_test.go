package adopt

import (
	"strings"
	"testing"

	"prefect-worker-ecs/internal/ops/plan"
)

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
