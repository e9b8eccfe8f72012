package lifecycle

import (
	"maps"
	"slices"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/terraform/stackjson"
	"prefect-worker-ecs/internal/test/deployment"
	"prefect-worker-ecs/internal/test/testtools"
)

// may gives the tools the policy of the environment only, without some actions.
func (d *life) may(purpose deployer.Purpose, but ...string) {
	d.t.Helper()
	d.deployer = d.proxy.As("arn:aws:iam::123456789012:user/deployer", d.policy(purpose, but...))
}

func (d *life) policy(purpose deployer.Purpose, but ...string) iam.Document {
	d.t.Helper()
	stack, err := stackjson.Parse(d.synthesized(), iam.Account{Partition: "aws", Region: "us-east-1", ID: "123456789012"}, nil)
	testtools.NoError(d.t, err)
	document, err := deployer.Policy(stack, purpose)
	testtools.NoError(d.t, err)
	return without(document, but...)
}

// eachActionIsNeeded judges the calls of a life cycle again, without one action after the
// other: one that no call needs is too much.
func (d *life) eachActionIsNeeded() {
	d.t.Helper()
	whole := d.policy(deployer.Deploy)
	d.journal.mu.Lock()
	defer d.journal.mu.Unlock()
	calls := map[string]enforce.Call{}
	for _, call := range d.journal.calls {
		if call.Allowed {
			calls[call.Action] = call
		}
	}
	actions := map[string]bool{}
	for _, s := range whole.Statement {
		for _, action := range s.Action {
			actions[action] = true
		}
	}
	for _, action := range slices.Sorted(maps.Keys(actions)) {
		call, called := calls[action]
		if !called && deployment.NotCalled[action] == "" {
			d.t.Errorf("no call needs %s", action)
		}
		if called && enforce.Decide(call, []iam.Document{without(whole, action)}, nil, nil).Allowed {
			d.t.Errorf("%s is allowed without the action", action)
		}
	}
}

// without is a policy but for some actions.
func without(policy iam.Document, actions ...string) iam.Document {
	policy.Statement = slices.Clone(policy.Statement)
	for i, s := range policy.Statement {
		policy.Statement[i].Action = slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return slices.Contains(actions, a) })
	}
	return policy
}
