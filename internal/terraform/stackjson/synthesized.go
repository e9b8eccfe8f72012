// Package stackjson reads the Terraform JSON of a stack and returns what its arguments will
// be in AWS: it evaluates references to variables, locals and other resources as far as
// they can be known without Terraform's state.
//
// So what runs can be compared with all that the program would generate, and no option has
// to be listed a second time.
package stackjson

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/aws/restype"
)

// Stack is the Terraform JSON of one environment.
type Stack struct {
	account   iam.Account
	resources map[string]map[string]map[string]any
	tags      map[string]string
	outputs   map[string]any
	locals    map[string]string
	variables map[string]string
}

// Parse reads the JSON. variables are the values of Terraform variables that are not the
// defaults of the JSON.
func Parse(file []byte, account iam.Account, variables map[string]string) (*Stack, error) {
	var content struct {
		Resource, Data, Ephemeral map[string]map[string]map[string]any
		Output                    map[string]struct{ Value any }
		Locals                    map[string]string
		Variable                  map[string]struct{ Default string }
		Terraform                 struct{ Backend map[string]map[string]any }
		Provider                  struct {
			AWS []struct {
				DefaultTags []struct{ Tags map[string]string } `json:"default_tags"`
			}
		}
	}
	if err := json.Unmarshal(file, &content); err != nil {
		return nil, fmt.Errorf("the synthesized stack cannot be read: %w", err)
	}
	s := &Stack{account: account, resources: content.Resource, outputs: map[string]any{}, locals: content.Locals, tags: map[string]string{}, variables: map[string]string{}}
	if s.resources == nil {
		s.resources = map[string]map[string]map[string]any{}
	}
	for kind, named := range content.Data {
		s.resources["data."+kind] = named
	}
	for kind, named := range content.Ephemeral {
		s.resources["ephemeral."+kind] = named
	}
	for kind, arguments := range content.Terraform.Backend {
		s.resources["backend."+kind] = map[string]map[string]any{"state": arguments}
	}
	for _, provider := range content.Provider.AWS {
		for _, tags := range provider.DefaultTags {
			maps.Copy(s.tags, tags.Tags)
		}
	}
	for name, output := range content.Output {
		s.outputs[name] = output.Value
	}
	for name, variable := range content.Variable {
		s.variables[name] = strings.NewReplacer("$${", "${", "%%{", "%{").Replace(variable.Default)
	}
	maps.Copy(s.variables, variables)
	s.variables["aws_region"] = account.Region
	return s, nil
}

// Resource returns the evaluated arguments of a resource, nil if the stack has none of that
// address. The kind of a data source begins with "data.".
func (s *Stack) Resource(kind, name string) map[string]any {
	arguments := s.resources[kind][name]
	if arguments == nil {
		return nil
	}
	evaluated := map[string]any{}
	for argument, value := range arguments {
		if argument != "//" && argument != "lifecycle" {
			evaluated[argument] = s.evaluate(value)
		}
	}
	return evaluated
}

// Account returns where the stack is deployed.
func (s *Stack) Account() iam.Account { return s.account }

// DefaultTags returns the tags that the provider gives to all resources.
func (s *Stack) DefaultTags() map[string]string { return s.tags }

// Kinds returns the types of the resources, sorted; those of data sources, ephemeral resources and
// the backend begin with data., ephemeral. and backend.
func (s *Stack) Kinds() []string { return slices.Sorted(maps.Keys(s.resources)) }

// NameOf returns the name of what an evaluated argument names: as it is, as an ARN, or as a
// reference to a resource of the stack. It fails for what is known only after apply.
func (s *Stack) NameOf(value any) (string, error) {
	text, _ := value.(string)
	if address, ok := Address(value); ok {
		kind, name, _ := strings.Cut(address, ".")
		arguments := s.Resource(kind, name)
		for _, argument := range []string{"name", "family", "identifier"} {
			if text, _ := arguments[argument].(string); text != "" {
				return text, nil
			}
		}
	}
	if text == "" || strings.Contains(text, symbol) {
		return "", fmt.Errorf("its name is known only after apply: %q", Shown(text))
	}
	if part := strings.SplitN(text, ":", 6); len(part) == 6 && part[0] == "arn" {
		if _, name, found := strings.Cut(part[5], "/"); found {
			return name, nil
		}
		return part[5][strings.LastIndex(part[5], ":")+1:], nil
	}
	return text, nil
}

// Output returns the evaluated value of an output, nil if the stack has none of that name.
func (s *Stack) Output(name string) any { return s.evaluate(s.outputs[name]) }

// NeededPolicies returns the policies that roles which exist must have, by the ARNs of the roles, from the outputs for
// those who create such roles. What is known only after apply, such as the end of a secret's ARN, is question marks,
// which IAM takes for any character.
func (s *Stack) NeededPolicies() map[string]string {
	all := map[string]string{}
	for name := range s.outputs {
		if role, found := strings.CutSuffix(name, "_role_policy"); found {
			arn, _ := s.Output(role + "_role_arn").(string)
			policy, _ := s.Output(name).(string)
			all[arn] = Shown(policy)
		}
	}
	return all
}

// Names returns the names of the resources of a type, sorted.
func (s *Stack) Names(kind string) []string { return slices.Sorted(maps.Keys(s.resources[kind])) }

// The characters that stand for what is known only after apply are from Unicode's private use area,
// which no value of a user's holds.
const (
	// anyCharacter is one character, as of the six that AWS adds to a secret's ARN.
	anyCharacter = '\uE000'
	// symbol encloses the address of an attribute, such as the id of a subnet.
	symbol = "\uE001"
)

// Address returns the address that a value stands for which is known only after apply, such as
// aws_subnet.private_1 for its id, and whether it is one.
func Address(value any) (string, bool) {
	text, _ := value.(string)
	inner, ok := strings.CutPrefix(text, symbol)
	inner, closed := strings.CutSuffix(inner, symbol)
	if !ok || !closed {
		return "", false
	}
	return inner[:max(0, strings.LastIndex(inner, "."))], true
}

// Address calls the function Address.
func (s *Stack) Address(value any) (string, bool) { return Address(value) }

// Same compares an evaluated value with the one in AWS. What is known only after apply is equal to
// anything that can stand there.
func Same(want, got string) bool {
	if strings.Contains(want, symbol) {
		return got != ""
	}
	w, g := []rune(want), []rune(got)
	return slices.EqualFunc(w, g, func(a, b rune) bool { return a == b || a == anyCharacter })
}

// Shown returns an evaluated value for a person, with question marks for what is known only after apply.
func Shown(value string) string {
	return strings.NewReplacer(string(anyCharacter), "?", symbol, "").Replace(value)
}

// evaluate gives strings in v their values.
func (s *Stack) evaluate(v any) any {
	switch v := v.(type) {
	case string:
		return s.text(v)
	case []any:
		values := make([]any, len(v))
		for i, item := range v {
			values[i] = s.evaluate(item)
		}
		return values
	case map[string]any:
		values := map[string]any{}
		for key, item := range v {
			values[key] = s.evaluate(item)
		}
		return values
	default:
		return v
	}
}

// text evaluates a template of Terraform's. What cannot be evaluated here becomes a symbol.
func (s *Stack) text(template string) string {
	if !strings.Contains(template, "${") && !strings.Contains(template, "%{") {
		return template
	}
	unknown := symbol + template + symbol
	expression, diagnostics := hclsyntax.ParseTemplate([]byte(template), "", hcl.InitialPos)
	if diagnostics.HasErrors() {
		return unknown
	}
	scope := tree{}
	for _, traversal := range expression.Variables() {
		path := []string{traversal.RootName()}
		for _, step := range traversal[1:] {
			if attribute, ok := step.(hcl.TraverseAttr); ok {
				path = append(path, attribute.Name)
			}
		}
		scope.set(path, s.attribute(path))
	}
	value, diagnostics := expression.Value(&hcl.EvalContext{Variables: scope.objects(), Functions: functions})
	if diagnostics.HasErrors() || value.IsNull() || !value.Type().Equals(cty.String) {
		return unknown
	}
	return value.AsString()
}

// functions are those of Terraform's that the program's expressions call where a value can be
// known without the state. With another one the expression is unknown.
var functions = map[string]function.Function{
	"lookup":     stdlib.LookupFunc,
	"lower":      stdlib.LowerFunc,
	"trimsuffix": stdlib.TrimSuffixFunc,
}

// attribute returns the value of a reference such as var.aws_region or aws_iam_role.task.arn.
func (s *Stack) attribute(path []string) string {
	address := strings.Join(path, ".")
	if len(path) == 2 {
		switch path[0] {
		case "var":
			return s.variables[path[1]]
		case "local":
			if value := s.text(s.locals[path[1]]); !strings.Contains(value, symbol) {
				return value
			}
		}
	}
	switch address {
	case "data.aws_partition.current.partition":
		return s.account.Partition
	case "data.aws_caller_identity.current.account_id":
		return s.account.ID
	}
	if len(path) == 4 && path[0] == "data" {
		path = []string{"data." + path[1], path[2], path[3]}
	}
	if len(path) == 3 {
		if literal, ok := s.resources[path[0]][path[1]][path[2]].(string); ok {
			return s.text(literal)
		}
		name, named := s.resources[path[0]][path[1]]["name"].(string)
		if !named {
			name, _ = s.resources[path[0]][path[1]]["function_name"].(string)
		}
		if rolePath, ok := s.resources[path[0]][path[1]]["path"].(string); ok {
			name = strings.TrimPrefix(rolePath, "/") + name
		}
		if computed, ok := s.computed(path[0], s.text(name), path[2]); ok {
			return computed
		}
	}
	return symbol + address + symbol
}

// computed returns an attribute that AWS derives from the resource's name.
func (s *Stack) computed(kind, name, attribute string) (string, bool) {
	t, _ := restype.Of(kind)
	if t.ARN == "" || attribute != "arn" {
		return "", false
	}
	arn := restype.ARN(s.account, strings.Replace(t.ARN, "{name}", name, 1))
	return strings.ReplaceAll(arn, "?", string(anyCharacter)), true
}

// tree holds the values of a template's references by the parts of their names.
type tree map[string]any

func (t tree) set(path []string, value string) {
	for _, part := range path[:len(path)-1] {
		next, ok := t[part].(tree)
		if !ok {
			next = tree{}
			t[part] = next
		}
		t = next
	}
	t[path[len(path)-1]] = value
}

func (t tree) objects() map[string]cty.Value {
	values := map[string]cty.Value{}
	for name, item := range t {
		switch item := item.(type) {
		case tree:
			values[name] = cty.ObjectVal(item.objects())
		case string:
			values[name] = cty.StringVal(item)
		}
	}
	return values
}
