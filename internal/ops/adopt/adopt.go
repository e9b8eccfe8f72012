// Package adopt finds in AWS what a stack describes and Terraform's state does not hold: built by
// hand, by another program, or by a deployment that was cut off. What it finds is imported instead
// of made a second time.
package adopt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

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
// more than one thing in AWS can be a resource, and where AWS does not answer.
func Find(ctx context.Context, cfg aws.Config, stack *stackjson.Stack, state, given map[string]string) ([]Resource, error) {
	f := &finder{ctx: ctx, aws: newClients(cfg), stack: stack, ids: map[string]string{}, taken: map[string]bool{}}
	for address, id := range state {
		f.keep(address, id)
	}
	for address, id := range given {
		kind, name, _ := strings.Cut(address, ".")
		_, held := state[address]
		switch {
		case stack.Resource(kind, name) == nil:
			return nil, fmt.Errorf("the stack has no %s; make synth writes what it has", address)
		case held:
			return nil, fmt.Errorf("%s is in the state already, as %s", address, state[address])
		case kinds[kind] == nil:
			return nil, fmt.Errorf("%s is not imported: %s", address, made[kind])
		}
		f.keep(address, id)
	}
	var all []Resource
	for _, kind := range stack.Kinds() {
		if strings.Contains(kind, ".") { // a data source, an ephemeral one or the backend
			continue
		}
		for _, name := range stack.Names(kind) {
			r := Resource{Address: kind + "." + name}
			if _, held := state[r.Address]; held {
				continue
			}
			if kinds[kind] == nil {
				if r.Note = made[kind]; r.Note == "" {
					return nil, fmt.Errorf("how %s is found is not known", kind)
				}
			}
			var err error
			if r.ID, err = f.find(r.Address); err != nil {
				return nil, err
			}
			all = append(all, r)
		}
	}
	return all, nil
}

// errNone says that there is no such thing in AWS.
var errNone = errors.New("it is not there")

// finder looks for each resource once, and for what it refers to before that.
type finder struct {
	ctx   context.Context
	aws   clients
	stack *stackjson.Stack
	// ids are what was found, by address. Empty: it is not there.
	ids map[string]string
	// taken are the types and ids in ids: Terraform imports nothing to two addresses.
	taken map[string]bool
}

func (f *finder) keep(address, id string) {
	f.ids[address] = id
	kind, _, _ := strings.Cut(address, ".")
	f.taken[kind+" "+id] = true
}

// find is the id of the resource at an address, empty if there is none.
func (f *finder) find(address string) (string, error) {
	if id, done := f.ids[address]; done {
		return id, nil
	}
	kind, name, _ := strings.Cut(address, ".")
	look, arguments := kinds[kind], f.stack.Resource(kind, name)
	if look == nil || arguments == nil {
		return "", nil
	}
	id, err := look(f, resource{address, arguments})
	switch {
	case errors.Is(err, errNone) || missing(err):
		id = ""
	case err != nil:
		return "", fmt.Errorf("look for %s in AWS: %w", address, err)
	}
	if f.taken[kind+" "+id] {
		id = ""
	}
	f.keep(address, id)
	return id, nil
}

// id is what an argument refers to: an id, or another resource of the stack.
func (f *finder) id(value any) (string, error) {
	text, _ := value.(string)
	if address, ok := stackjson.Address(value); ok {
		var err error
		if text, err = f.find(address); err != nil {
			return "", err
		}
	}
	if text == "" {
		return "", errNone
	}
	return text, nil
}

// one is the only one of some ids.
func (r resource) one(ids []string) (string, error) {
	switch len(ids) {
	case 0:
		return "", errNone
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%s can each be it; say which: --id %s=%s", strings.Join(ids, " and "), r.address, ids[0])
}

// resource is what is looked for.
type resource struct {
	address   string
	arguments map[string]any
}

// text is an argument, empty if it is not set.
func (r resource) text(argument string) string {
	text, _ := r.arguments[argument].(string)
	return text
}

// number is an argument, -1 if it is not set, as AWS has it for ports.
func (r resource) number(argument string) int32 {
	if number, ok := r.arguments[argument].(float64); ok {
		return int32(number)
	}
	return -1
}

// missing tells whether AWS says that there is no such thing: the codes of the services' errors
// for it ("Errors" of each call in their API references).
func missing(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains([]string{
		"ClusterNotFoundException", "DashboardNotFoundError", "DBInstanceNotFound", "DBInstanceNotFoundFault", "DBParameterGroupNotFound",
		"DBParameterGroupNotFoundFault", "DBSubnetGroupNotFoundFault", "NoSuchEntity", "NotFound", "NotFoundException",
		"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ResourceNotFound", "ResourceNotFoundException",
	}, api.ErrorCode())
}
