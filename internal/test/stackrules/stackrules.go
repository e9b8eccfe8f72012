// Package stackrules judges a synthesized stack by named rules: what holds in every stack,
// whichever options are combined, each with its reason. Golden files show a reviewer what a
// stack contains; these rules say what it must never contain.
package stackrules

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
)

// Finding is a place in a stack that breaks a rule: the rule's name, the address of the place,
// what is wrong there, and what the rule protects.
type Finding struct{ Rule, Address, What, Reason string }

// String returns the finding as a sentence.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s %s; %s", f.Rule, f.Address, f.What, f.Reason)
}

// rule holds in every stack.
type rule struct {
	name, reason string
	check        func(s *stack)
}

var rules = slices.Concat(typeRules, networkRules, iamRules, taskRules, storageRules, monitoringRules, terraformRules, wiringRules)

// Check judges the Terraform JSON that was synthesized for an environment.
func Check(file []byte, env *config.Environment) ([]Finding, error) {
	s := &stack{env: env}
	if err := json.Unmarshal(file, &s.root); err != nil {
		return nil, fmt.Errorf("read the synthesized stack: %w", err)
	}
	s.load()
	for _, s.rule = range rules {
		s.rule.check(s)
	}
	return s.findings, nil
}

// stack is a synthesized stack under a rule.
type stack struct {
	env      *config.Environment
	root     map[string]any
	elements []element
	rule     rule
	findings []Finding
}

// element is a resource, a data source (of the kind "data.aws_vpc"), an ephemeral resource, an
// output, a variable, or the container of a task definition. JSON that is text in one of its
// arguments is decoded.
type element struct {
	kind, name string
	arguments  map[string]any
}

func (e element) address() string { return e.kind + "." + e.name }

// load finds the elements of the stack.
func (s *stack) load() {
	for _, section := range []string{"resource", "data", "ephemeral"} {
		for kind, named := range asObject(s.root[section]) {
			s.add(strings.TrimPrefix(section+"."+kind, "resource."), named)
		}
	}
	s.add("output", s.root["output"])
	s.add("variable", s.root["variable"])
	slices.SortStableFunc(s.elements, func(a, b element) int { return strings.Compare(a.address(), b.address()) })
}

// add adds the elements of a kind.
func (s *stack) add(kind string, named any) {
	for name, arguments := range asObject(named) {
		e := element{kind, name, map[string]any{}}
		for argument, value := range asObject(arguments) {
			e.arguments[argument] = decoded(value)
		}
		s.elements = append(s.elements, e)
		for _, container := range e.list("container_definitions") {
			s.elements = append(s.elements, element{"container", name, asObject(container)})
		}
	}
}

func asObject(value any) map[string]any {
	o, _ := value.(map[string]any)
	return o
}

// decoded returns the content of text that is a JSON object or list.
func decoded(value any) any {
	var content any
	if text, ok := value.(string); ok && strings.ContainsAny(text[:min(1, len(text))], "{[") && json.Unmarshal([]byte(text), &content) == nil {
		return content
	}
	return value
}

// each calls f for the elements of a kind, or for the one with an address.
func (s *stack) each(kind string, f func(e element)) {
	for _, e := range s.elements {
		if e.kind == kind || e.address() == kind {
			f(e)
		}
	}
}

// report records that the stack breaks the rule.
func (s *stack) report(at, format string, args ...any) {
	s.findings = append(s.findings, Finding{s.rule.name, at, fmt.Sprintf(format, args...), s.rule.reason})
}

// want reports an argument with another value than the options imply; nil is an absent one.
func (s *stack) want(e element, path string, want any) {
	if got := e.get(path); encode(got) != encode(want) {
		s.report(e.address()+"."+path, "is %s, want %s", show(got), show(want))
	}
}

// all wants a value of each element of a kind, or of the one with an address.
func (s *stack) all(kind, path string, want any) {
	s.each(kind, func(e element) { s.want(e, path, want) })
}

// within reports a number outside of its bounds.
func (s *stack) within(e element, path string, least, most float64) {
	if n, ok := e.get(path).(float64); !ok || n < least || n > most {
		s.report(e.address()+"."+path, "is %s, want %v to %v", show(e.get(path)), least, most)
	}
}

// only reports names in an object that are not among the allowed ones.
func (s *stack) only(at string, names any, allowed string) {
	for name := range asObject(names) {
		if !slices.Contains(strings.Fields(allowed), name) {
			s.report(at+"."+name, "is set; allowed are %s", allowed)
		}
	}
}

func (e element) get(path string) any { return Get(e.arguments, path) }

// Get returns the value at a path in JSON such as network_configuration.subnets.0, nil if there is none.
func Get(at any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch node := at.(type) {
		case map[string]any:
			at = node[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(node) {
				return nil
			}
			at = node[i]
		default:
			return nil
		}
	}
	return at
}

func (e element) text(path string) string {
	s, _ := e.get(path).(string)
	return s
}

func (e element) list(path string) []any {
	l, _ := e.get(path).([]any)
	return l
}

// optional returns the value of an argument that is left out where it is empty.
func optional(value string) any {
	if value == "" {
		return nil
	}
	return value
}

// account is where the stack is deployed, in Terraform's terms.
var account = iam.Account{
	Partition: "${data.aws_partition.current.partition}",
	ID:        "${data.aws_caller_identity.current.account_id}",
	Region:    "${var.aws_region}",
}

// ref returns a reference to an attribute.
func ref(attribute string) string { return "${" + attribute + "}" }

// literal returns text in which Terraform evaluates nothing.
func literal(s string) string { return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(s) }

func literals(texts []string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, literal(text))
	}
	return all
}

// encode returns the JSON of a value, the same for equal values.
func encode(value any) string {
	var plain any
	if raw, err := json.Marshal(value); err != nil || json.Unmarshal(raw, &plain) != nil {
		return fmt.Sprintf("%#v", value)
	}
	raw, _ := json.Marshal(plain) // with sorted keys
	return string(raw)
}

// show returns the JSON of a value, shortened for a message.
func show(value any) string {
	s := encode(value)
	if len(s) > 160 {
		s = s[:160] + "…"
	}
	return s
}
