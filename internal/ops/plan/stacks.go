package plan

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Stacks compares two syntheses of an environment. Either may be empty: the environment is
// new, or gone. Whether Terraform changes a resource or replaces it is for a plan to say.
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
	for address, value := range now {
		was, known := old[address]
		if !known {
			r.Changes = append(r.Changes, Resource{Address: address, Action: Create})
		} else if attributes := differ(was, value); len(attributes) > 0 {
			r.Changes = append(r.Changes, Resource{Address: address, Action: Change, Attributes: attributes})
		}
	}
	for address := range old {
		if _, known := now[address]; !known {
			r.Changes = append(r.Changes, Resource{Address: address, Action: Destroy})
		}
	}
	r.finish()
	return r, nil
}

// parts are the parts of a stack by their addresses: resources, data sources, variables,
// outputs, locals, and what Terraform is told of providers and the backend.
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

// withoutMetadata leaves out CDKTF's own notes, and an order that means nothing.
func withoutMetadata(resource any) any {
	fields, ok := resource.(map[string]any)
	if !ok {
		return resource
	}
	delete(fields, "//")
	if dependencies, ok := fields["depends_on"].([]any); ok {
		slices.SortFunc(dependencies, func(a, b any) int {
			x, y := fmt.Sprint(a), fmt.Sprint(b)
			return slices.Compare([]byte(x), []byte(y))
		})
	}
	return fields
}
