// Package adopt finds in AWS what a stack describes and Terraform's state does not hold: built by
// hand, by another program, or by a deployment that was interrupted. What it finds is imported instead
// of created a second time.
package adopt

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"prefect-worker-ecs/internal/aws/restype"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

// Resource is one of the stack's that the state does not hold.
type Resource struct {
	// Address is its address in Terraform.
	Address string
	// ID is what Terraform imports it by. Empty: it is made.
	ID string
	// Note says why it is made whatever there is in AWS. Empty: it was looked for.
	Note string
}

// Find looks for the resources of a stack. state are the ids of those that the state holds, by
// their addresses, and given those that a person names, which are not looked for. It fails where
// more than one thing in AWS can be a resource, and where AWS does not answer. beside are sentences about
// what is in or on those that exist, and not in the stack.
func Find(ctx context.Context, cfg aws.Config, stack *stackjson.Stack, state, given map[string]string) (all []Resource, beside []string, err error) {
	f := restype.NewSearch(ctx, cfg, stack.Account(), stack)
	for address, id := range state {
		f.Keep(address, id)
	}
	for address, id := range given {
		kind, name, _ := strings.Cut(address, ".")
		_, held := state[address]
		switch {
		case stack.Resource(kind, name) == nil:
			return nil, nil, fmt.Errorf("the stack has no %s; make synth writes what it has", address)
		case held:
			return nil, nil, fmt.Errorf("%s is in the state already, as %s", address, state[address])
		case typeOf(kind).Find == nil:
			return nil, nil, fmt.Errorf("%s is not imported: %s", address, typeOf(kind).NotImported)
		}
		f.Keep(address, id)
	}
	for _, kind := range stack.Kinds() {
		if strings.Contains(kind, ".") { // a data source, an ephemeral one or the backend
			continue
		}
		for _, name := range stack.Names(kind) {
			r := Resource{Address: kind + "." + name}
			if _, held := state[r.Address]; held {
				continue
			}
			if t, known := restype.Of(kind); !known {
				return nil, nil, fmt.Errorf("the table of resource types has no %s", kind)
			} else if t.Find == nil {
				r.Note = t.NotImported
			}
			if r.ID, err = f.Find(r.Address); err != nil {
				return nil, nil, err
			}
			all = append(all, r)
		}
	}
	beside, err = f.Beside()
	return all, beside, err
}

func typeOf(kind string) restype.Type {
	t, _ := restype.Of(kind)
	return t
}

// Option returns the option of the configuration that sets an attribute of a resource. Empty: there
// is none, or it makes no difference, as for a tag.
func Option(address, attribute string) string {
	kind, _, _ := strings.Cut(address, ".")
	if i := strings.IndexAny(attribute, ".["); i >= 0 {
		attribute = attribute[:i]
	}
	return typeOf(kind).Options[attribute]
}
