package adopt

import (
	"context"
	"maps"

	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/terraform/terraform"
)

// Existing looks in AWS for the resources of a synthesized deployment that its state does not hold.
// given are ids that a person names, by address. imports are what was found, and what was imported
// before and is still in the state; beside is that of Find.
func Existing(ctx context.Context, d *deployment.Deployment, in terraform.Stack, given map[string]string) (found []Resource, beside []string, imports map[string]string, err error) {
	state, err := in.State(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	cfg, err := d.AWS(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	account, err := d.Account(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	stack, err := d.StackIn(ctx, account)
	if err != nil {
		return nil, nil, nil, err
	}
	if found, beside, err = Find(ctx, cfg, stack, state, given); err != nil {
		return nil, nil, nil, err
	}
	imports = map[string]string{}
	maps.Copy(imports, d.Environment.Imports)
	maps.DeleteFunc(imports, func(address, _ string) bool { return state[address] == "" })
	for _, r := range found {
		if r.ID != "" {
			imports[r.Address] = r.ID
		}
	}
	return found, beside, imports, nil
}
