package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"prefect-worker-ecs/internal/aws/restype"
)

// Stacks compares two syntheses of an environment. Either may be empty: the environment is new, or
// gone. Which changes replace a resource is from the table of resource types.
func Stacks(environment string, before, after []byte) (Report, error) {
	old, err := parts(before)
	if err != nil {
		return Report{}, fmt.Errorf("the stack of %s before: %w", environment, err)
	}
	now, err := parts(after)
	if err != nil {
		return Report{}, fmt.Errorf("the stack of %s after: %w", environment, err)
	}
	r := Report{Environment: environment}
	if len(after) == 0 {
		r.Warnings = append(r.Warnings, "the environment's file is gone: that alone destroys nothing in AWS, and nothing can plan it any more. Destroy it first: make destroy ENV="+environment)
	}
	if was, is := region(old), region(now); was != "" && is != "" && was != is {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the region changes from %s to %s: what is deployed stays behind in %[1]s, at full cost, and out of Terraform's sight. Destroy it first: make destroy ENV=%[3]s", was, is, environment))
	}
	changes := map[string]Resource{}
	for address, value := range now {
		was, known := old[address]
		if !known {
			changes[address] = Resource{Address: address, Action: Create}
		} else if attributes := differ(was, value); len(attributes) > 0 {
			changes[address] = Resource{Address: address, Action: Change, Attributes: attributes}
		}
	}
	for address := range old {
		if _, known := now[address]; !known {
			changes[address] = Resource{Address: address, Action: Destroy}
		}
	}
	replace(changes, old, now)
	for address, c := range changes {
		if kind, _, _ := strings.Cut(address, "."); strings.HasPrefix(kind, "aws_") {
			r.Changes = append(r.Changes, c)
		} else {
			r.Others = append(r.Others, c)
		}
	}
	r.finish()
	return r, nil
}

// replace finds the changes that replace their resource, and the resources that are replaced because
// they refer to one.
func replace(changes map[string]Resource, old, now map[string]any) {
	for again := true; again; {
		again = false
		for address, value := range now {
			c, changed := changes[address]
			if _, existed := old[address]; !existed || c.Action == Replace {
				continue
			}
			kind, _, _ := strings.Cut(address, ".")
			t, _ := restype.Of(kind)
			arguments, _ := value.(map[string]any)
			c.Address = address
			for _, argument := range t.Replaces {
				if i := slices.IndexFunc(c.Attributes, func(a Attribute) bool { return a.of(argument) }); changed && i >= 0 {
					c.Action, c.Attributes[i].ForcesReplacement, again = Replace, true, true
				} else if of := reference(arguments[argument]); of != "" && changes[of].Action == Replace {
					c.Action, again = Replace, true
					c.Attributes = append(c.Attributes, Attribute{Path: argument, Before: "of " + of, After: "of its replacement", ForcesReplacement: true})
				}
			}
			if c.Action == Replace {
				changes[address] = c
			}
		}
	}
}

// reference returns the address of the resource that an argument refers to. Empty: it refers to none.
func reference(argument any) string {
	text, _ := argument.(string)
	inner, ok := strings.CutPrefix(text, "${aws_")
	parts := strings.SplitN(inner, ".", 3)
	if !ok || len(parts) < 3 {
		return ""
	}
	return "aws_" + parts[0] + "." + parts[1]
}

// region returns the default of the variable for the region.
func region(parts map[string]any) string {
	variable, _ := parts["variable.aws_region"].(map[string]any)
	text, _ := variable["default"].(string)
	return text
}

// parts returns the parts of a stack by their addresses: resources, data sources, variables,
// outputs, locals, and settings of providers and the backend.
func parts(file []byte) (map[string]any, error) {
	all := map[string]any{}
	if len(file) == 0 {
		return all, nil
	}
	var stack map[string]any
	if err := json.Unmarshal(file, &stack); err != nil {
		return nil, err
	}
	for section, content := range stack {
		switch section {
		case "//":
		case "resource", "data":
			kinds, _ := content.(map[string]any)
			for kind, named := range kinds {
				resources, _ := named.(map[string]any)
				for name, resource := range resources {
					address := kind + "." + name
					if section == "data" {
						address = "data." + address
					}
					all[address] = withoutMetadata(resource)
				}
			}
		case "variable", "output":
			named, _ := content.(map[string]any)
			for name, value := range named {
				all[section+"."+name] = value
			}
		default: // terraform, provider, locals, import
			all[section] = content
		}
	}
	return all, nil
}

// withoutMetadata leaves out what is not in AWS: CDKTF's own notes, and an order.
func withoutMetadata(resource any) any {
	fields, ok := resource.(map[string]any)
	if !ok {
		return resource
	}
	delete(fields, "//")
	delete(fields, "depends_on")
	return fields
}
