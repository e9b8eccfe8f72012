// Package stackrules judges a synthesized stack by lists of what is allowed in it: the
// resources and each of their attributes, the statements of every policy, the container's
// settings, outputs, variables, provider and backend, as they follow from the environment.
// What is not on the lists is a finding, wherever it was put, with the reason why it is
// dangerous.
//
// Golden files show a reviewer what changed; they do not judge it, and can be written
// anew. These lists can only be changed by a person who names the new thing.
package stackrules

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"prefect-worker-ecs/config"
)

// Finding is something in a stack that is not allowed there.
type Finding struct {
	// Address is where it is, such as aws_subnet.public_1.map_public_ip_on_launch.
	Address string
	// What is found there, and what is allowed.
	What string
	// Why says what could come of it.
	Why string
}

// String is the finding as a sentence.
func (f Finding) String() string { return f.Address + " " + f.What + ": " + f.Why }

// Check judges the Terraform JSON that was synthesized for an environment.
func Check(file []byte, env *config.Environment) ([]Finding, error) {
	var stack map[string]any
	if err := json.Unmarshal(file, &stack); err != nil {
		return nil, fmt.Errorf("the synthesized stack cannot be read: %w", err)
	}
	j := &judge{}
	r := rulesFor(env)
	object(fields{
		"//":         notes,
		"data":       elements("data.", r.data(), "reads something that the stack has no use for"),
		"ephemeral?": elements("ephemeral.", r.ephemeral(), "an ephemeral value of elsewhere is judged by no rule here"),
		"import?":    r.imports(),
		"locals":     r.locals(),
		"output":     r.outputs(),
		"provider":   r.provider(),
		"resource":   elements("", r.resources(), ""),
		"terraform":  r.terraform(),
		"variable":   r.variables(),
	})(j, "", "another kind of block can deploy anything", stack)
	return j.findings, nil
}

// notes are CDKTF's own, which Terraform ignores.
func notes(*judge, string, string, any) {}

// rule is what is allowed at one address.
type rule struct {
	// why says what could come of another attribute than those of the shape.
	why   string
	shape fields
	// guards, if set, says what could come of it if there is nothing at the address.
	guards string
}

// elements allows the elements of these addresses and no others.
func elements(prefix string, rules map[string]rule, unknown string) shape {
	return func(j *judge, at, _ string, value any) {
		types, ok := value.(map[string]any)
		if !ok {
			j.find(at, fmt.Sprintf("is %s; allowed are elements by type and name", show(value)), unknown)
			return
		}
		for _, kind := range slices.Sorted(maps.Keys(types)) {
			named, ok := types[kind].(map[string]any)
			if !ok {
				j.find(prefix+kind, fmt.Sprintf("is %s; allowed are elements by name", show(types[kind])), unknown)
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(named)) {
				address := kind + "." + name
				known, ok := rules[address]
				if !ok {
					j.find(prefix+address, notListed, resourceDanger(kind, unknown))
					continue
				}
				withNotes := fields{"//?": notes}
				maps.Copy(withNotes, known.shape)
				object(withNotes)(j, prefix+address, known.why, named[name])
			}
		}
		for _, address := range slices.Sorted(maps.Keys(rules)) {
			kind, name, _ := strings.Cut(address, ".")
			named, _ := types[kind].(map[string]any)
			if _, ok := named[name]; !ok && rules[address].guards != "" {
				j.find(prefix+address, "is missing", rules[address].guards)
			}
		}
	}
}
