package verify

import (
	"context"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"prefect-worker-ecs/internal/ops/plan"
)

// configured checks that Terraform would change nothing.
func (c *checklist) configured(ctx context.Context) finding {
	const leaveOut = "or leave this check out: --no-plan"
	planned, err := c.opt.Plan(ctx)
	if err != nil {
		return unknown("what Terraform would change could not be read: "+err.Error(), "see what it says above, "+leaveOut)
	}
	// Without a state everything is to be created, whatever runs.
	if withoutState(planned) && !c.await(checkService).prerequisiteFailed {
		return unknown("the service runs, and the Terraform state that this folder leads to holds nothing of it", "verify from where the state is, "+leaveOut)
	}
	report := plan.Plan(c.env.Name, planned)
	if report.Empty() {
		return ok("Terraform would change nothing")
	}
	var text strings.Builder
	report.Text(&text)
	return failed("it is not as configured: what Terraform would change of "+strings.TrimSpace(text.String()), c.deploy()+"; if the change is wanted, put it into the configuration first")
}

// withoutState reports whether a plan was made over a state without resources.
func withoutState(planned *tfjson.Plan) bool {
	state := planned.PriorState
	return state == nil || state.Values == nil || state.Values.RootModule == nil ||
		!slices.ContainsFunc(state.Values.RootModule.Resources, func(r *tfjson.StateResource) bool { return r.Mode == tfjson.ManagedResourceMode })
}
