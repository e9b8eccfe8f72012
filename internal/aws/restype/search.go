package restype

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/aws/query"
)

// errNone says that there is no such thing in AWS.
var errNone = errors.New("it is not there")

// Stack is the synthesized stack whose resources are looked for.
type Stack interface {
	// Names are the names of the resources of a type.
	Names(kind string) []string
	// Resource returns the evaluated arguments of a resource, nil if there is none.
	Resource(kind, name string) map[string]any
	// NameOf returns the name of the resource that an argument refers to.
	NameOf(value any) (string, error)
	// Address returns the address of the resource for which an argument is a placeholder.
	Address(value any) (string, bool)
}

// Search looks for each resource of a stack once, and for those that it refers to before that.
type Search struct {
	Context context.Context
	Stack   Stack
	Account iam.Account

	cfg   aws.Config
	aws   query.Client
	types map[string]Type
	// ids are what was found, by address. Empty: it is not there.
	ids map[string]string
	// taken are the types and ids in ids: Terraform imports nothing to two addresses.
	taken map[string]bool
}

// NewSearch returns a search in the account that cfg leads to.
func NewSearch(ctx context.Context, cfg aws.Config, account iam.Account, stack Stack) *Search {
	return &Search{Context: ctx, Stack: stack, Account: account, cfg: cfg, aws: query.New(cfg), types: all, ids: map[string]string{}, taken: map[string]bool{}}
}

// Keep records the id of a resource, which is then not looked for.
func (f *Search) Keep(address, id string) {
	f.ids[address] = id
	kind, _, _ := strings.Cut(address, ".")
	f.taken[kind+" "+id] = true
}

// Find returns the id of the resource at an address, empty if there is none.
func (f *Search) Find(address string) (string, error) {
	if id, done := f.ids[address]; done {
		return id, nil
	}
	kind, name, _ := strings.Cut(address, ".")
	look, arguments := f.types[kind].Find, f.Stack.Resource(kind, name)
	if look == nil || arguments == nil {
		return "", nil
	}
	id, err := look(f, Resource{address, arguments})
	switch {
	case errors.Is(err, errNone) || missing(err):
		id = ""
	case err != nil:
		return "", fmt.Errorf("look for %s in AWS: %w", address, err)
	}
	if f.taken[kind+" "+id] {
		id = ""
	}
	f.Keep(address, id)
	return id, nil
}

// inVPC returns a Find of a type whose resources belong to the VPC of an argument.
func inVPC(argument string, find func(f *Search, r Resource, vpc string) (string, error)) func(*Search, Resource) (string, error) {
	return func(f *Search, r Resource) (string, error) {
		vpc, err := f.id(r.arguments[argument])
		if err != nil {
			return "", err
		}
		return find(f, r, vpc)
	}
}

// id returns what an argument refers to: an id, or another resource of the stack.
func (f *Search) id(value any) (string, error) {
	text, _ := value.(string)
	if address, ok := f.Stack.Address(value); ok {
		var err error
		if text, err = f.Find(address); err != nil {
			return "", err
		}
	}
	if text == "" {
		return "", errNone
	}
	return text, nil
}

// one returns the only id, errNone without one, and an error that names all if there are several.
func (r Resource) one(ids []string) (string, error) {
	switch len(ids) {
	case 0:
		return "", errNone
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%s can each be it; say which: --id %s=%s", strings.Join(ids, " and "), r.address, ids[0])
}

// Resource is a resource of the stack that is looked for.
type Resource struct {
	address   string
	arguments map[string]any
}

// text returns a text argument, empty if it is not set.
func (r Resource) text(argument string) string {
	text, _ := r.arguments[argument].(string)
	return text
}

// number returns a number argument, -1 if it is not set, as AWS has it for ports.
func (r Resource) number(argument string) int {
	if number, ok := r.arguments[argument].(float64); ok {
		return int(number)
	}
	return -1
}

// missing reports whether an error of AWS means that there is no such resource: the codes of the services' errors
// for it ("Errors" of each call in their API references).
func missing(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains([]string{
		"ClusterNotFoundException", "DashboardNotFoundError", "ObjectNotFoundException", "DBInstanceNotFound", "DBInstanceNotFoundFault", "DBParameterGroupNotFound",
		"DBParameterGroupNotFoundFault", "DBSubnetGroupNotFoundFault", "NoSuchEntity", "NotFound", "NotFoundException",
		"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ResourceNotFound", "ResourceNotFoundException",
	}, api.ErrorCode())
}

// orNone returns err, and errNone without one: why a list is empty.
func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
