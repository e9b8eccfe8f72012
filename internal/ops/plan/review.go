// Package plan shows what a change does to the infrastructure, for the person who has to
// approve it: from a plan of Terraform's, or from two syntheses of a stack, for which no
// AWS account is needed. Policies, container definitions and other JSON inside an argument
// are compared by their content. No credential is shown.
package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"prefect-worker-ecs/internal/aws/restype"
	"prefect-worker-ecs/internal/base/redact"
)

// Action is what happens to a resource.
type Action string

// The actions, in the order in which they are shown.
const (
	Create  Action = "create"
	Import  Action = "import"
	Change  Action = "change"
	Replace Action = "replace"
	Destroy Action = "destroy"
)

// Attribute is a value that differs.
type Attribute struct {
	// Path is where it is, such as container_definitions[prefect-worker].image.
	Path string `json:"path"`
	// Before and After are the values for a person. Empty: there is none.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// ForcesReplacement says that it is why the resource is replaced.
	ForcesReplacement bool `json:"forces_replacement,omitempty"`
}

// of reports whether the value is an argument or part of one.
func (a Attribute) of(argument string) bool {
	return a.Path == argument || strings.HasPrefix(a.Path, argument+".") || strings.HasPrefix(a.Path, argument+"[")
}

// Resource is a resource that changes, or another part of the stack.
type Resource struct {
	// Address is its address in Terraform.
	Address string `json:"address"`
	// Action is what happens to it.
	Action Action `json:"action"`
	// Imported says that it exists in AWS and is imported, whatever else happens to it.
	Imported bool `json:"imported,omitempty"`
	// Attributes are what differs, if it is there before and after.
	Attributes []Attribute `json:"attributes,omitempty"`
}

// Report is all that changes in an environment.
type Report struct {
	// Environment is its name.
	Environment string `json:"environment"`
	// Changes are the resources that change, in the order of their addresses. None: nothing changes.
	Changes []Resource `json:"changes"`
	// Others are other parts of the stack that change: outputs, variables, settings of Terraform.
	Others []Resource `json:"others,omitempty"`
	// Warnings say what is lost or cut off, the worst first.
	Warnings []string `json:"warnings,omitempty"`
}

// Empty reports whether nothing changes.
func (r Report) Empty() bool { return len(r.Changes) == 0 && len(r.Others) == 0 }

// StopsWorker returns what happens to the worker's service, if that stops tasks of it: Change, Replace or Destroy.
// Empty: it does not.
func (r Report) StopsWorker() Action {
	for _, c := range r.Changes {
		if c.Address == "aws_ecs_service.worker" && (c.Action == Replace || c.Action == Destroy || c.Action == Change && slices.ContainsFunc(c.Attributes, Attribute.stopsTasks)) {
			return c.Action
		}
	}
	return ""
}

// stopsTasks reports whether another value of an attribute of a service stops tasks of it.
func (a Attribute) stopsTasks() bool {
	if before, err := strconv.Atoi(a.Before); err == nil && a.Path == "desired_count" {
		after, err := strconv.Atoi(a.After)
		return err == nil && after < before
	}
	return slices.ContainsFunc([]string{"task_definition", "network_configuration", "capacity_provider_strategy", "launch_type"}, a.of)
}

// finish sorts the changes and adds the warnings.
func (r *Report) finish() {
	for _, changes := range []*[]Resource{&r.Changes, &r.Others} {
		slices.SortFunc(*changes, func(a, b Resource) int { return strings.Compare(a.Address, b.Address) })
	}
	if r.Changes == nil {
		r.Changes = []Resource{} // never null in JSON
	}
	scales := slices.ContainsFunc(r.Changes, func(c Resource) bool {
		return strings.HasPrefix(c.Address, "aws_appautoscaling_target.") && c.Action != Destroy
	})
	var destroyed, replaced, further []string
	for _, c := range r.Changes {
		kind, _, _ := strings.Cut(c.Address, ".")
		t, known := restype.Of(kind)
		switch {
		case c.Action == Destroy && known && t.Loss != restype.Nothing:
			destroyed = append(destroyed, fmt.Sprintf("%s is destroyed: %s", c.Address, t.Loss))
		case c.Action == Replace && known && t.Loss != restype.Nothing:
			replaced = append(replaced, fmt.Sprintf("%s is destroyed and created again: %s", c.Address, t.Loss))
		case c.Action == Create && kind == "aws_appautoscaling_target":
			further = append(further, c.Address+" sets the number of worker tasks from now on: no plan shows a change of it")
		case c.Action == Change && scales && c.Address == "aws_ecs_service.worker":
			// Its desired_count is that of its creation: it follows the flow runs.
		case c.Action == Change:
			further = append(further, risks(c)...)
		}
	}
	r.Warnings = slices.Concat(r.Warnings, destroyed, replaced, further)
}

// risks returns changes that destroy nothing and hurt all the same.
func risks(c Resource) []string {
	var all []string
	for _, a := range c.Attributes {
		switch strings.TrimSuffix(c.Address[:strings.Index(c.Address, ".")]+"."+a.Path, "[0]") {
		case "aws_ecs_service.desired_count":
			if a.After == "0" {
				all = append(all, c.Address+" runs no task any more: desired_count is 0")
			}
		case "aws_db_instance.deletion_protection":
			if a.After != "true" {
				all = append(all, c.Address+" can be destroyed from now on: deletion_protection is off")
			}
		case "aws_db_instance.skip_final_snapshot":
			if a.After == "true" {
				all = append(all, c.Address+" leaves no snapshot behind when it is destroyed: skip_final_snapshot is on")
			}
		case "aws_db_instance.backup_retention_period":
			if a.After == "" || a.After == "0" {
				all = append(all, c.Address+" has no backups any more, and those that exist are deleted: backup_retention_period is 0")
			}
		case "aws_db_instance.engine_version":
			before, errBefore := strconv.ParseFloat(a.Before, 64)
			after, errAfter := strconv.ParseFloat(a.After, 64)
			if errBefore == nil && errAfter == nil && after < before {
				all = append(all, fmt.Sprintf("%s goes back from engine_version %s to %s: RDS rejects that", c.Address, a.Before, a.After))
			}
		}
	}
	return all
}

// differ lists where two values differ.
func differ(before, after any) []Attribute {
	b, a := map[string]string{}, map[string]string{}
	flatten("", before, b)
	flatten("", after, a)
	all := maps.Clone(b)
	maps.Copy(all, a)
	var attributes []Attribute
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if b[path] != a[path] {
			attributes = append(attributes, elements(Attribute{Path: path, Before: b[path], After: a[path]}))
		}
	}
	return attributes
}

// elements returns a change of a list of plain values as the removed and the added ones, unless all do or only their
// order changes.
func elements(a Attribute) Attribute {
	var before, after []any
	if json.Unmarshal([]byte(a.Before), &before) != nil || json.Unmarshal([]byte(a.After), &after) != nil {
		return a
	}
	without := func(some, others []any) []any {
		return slices.DeleteFunc(slices.Clone(some), func(one any) bool {
			return slices.ContainsFunc(others, func(other any) bool { return encode(one) == encode(other) })
		})
	}
	gone, come := without(before, after), without(after, before)
	if len(gone)+len(come) == 0 || len(gone) == len(before) {
		return a
	}
	a.Path, a.Before, a.After = a.Path+"[]", "", ""
	if len(gone) > 0 {
		a.Before = encode(gone)
	}
	if len(come) > 0 {
		a.After = encode(come)
	}
	return a
}

// flatten writes the values in v by their paths, as they may be shown. JSON in a text is
// taken apart as well; a list of plain values, such as a command, is one value, see elements.
func flatten(path string, v any, into map[string]string) {
	switch v := v.(type) {
	case nil:
	case map[string]any:
		_, statement := v["Effect"]
		for key, item := range v {
			if one, text := item.(string); text && statement && (key == "Action" || key == "Resource") {
				item = []any{one} // IAM takes either form
			}
			flatten(strings.TrimPrefix(path+"."+key, "."), item, into)
		}
	case []any:
		if len(v) == 0 {
			return // Terraform has null and an empty list for nothing
		}
		names := names(v)
		if names == nil {
			into[path] = show(path, encode(v))
			return
		}
		for i, item := range v {
			flatten(fmt.Sprintf("%s[%s]", path, names[i]), item, into)
		}
	case string:
		var inner any
		if strings.HasPrefix(v, "{") || strings.HasPrefix(v, "[") {
			if json.Unmarshal([]byte(v), &inner) == nil {
				flatten(path, inner, into)
				return
			}
		}
		if v != "" {
			into[path] = show(path, v)
		}
	case bool:
		into[path] = strconv.FormatBool(v) // no credential, whatever its name
	default:
		into[path] = show(path, encode(v))
	}
}

// names returns names for the elements of a list of objects: their own names if each
// has another one, or else their numbers. Nil: the elements are no objects.
func names(list []any) []string {
	var numbers, own []string
	for i, item := range list {
		object, ok := item.(map[string]any)
		if !ok {
			return nil
		}
		numbers = append(numbers, fmt.Sprint(i))
		keys := []any{object["name"], object["Name"], object["Sid"], object["sid"], object["id"]}
		if action := first(object["Action"]); action != "" { // of a statement without a name
			keys = append(keys, action, action+" on "+first(object["Resource"]))
		}
		for _, key := range keys {
			if name, ok := key.(string); ok && name != "" && !slices.Contains(own, name) {
				own = append(own, name)
				break
			}
		}
	}
	if len(own) == len(list) {
		return own
	}
	return numbers
}

// first returns a text, or the first one of a list.
func first(v any) string {
	if list, _ := v.([]any); len(list) > 0 {
		v = list[0]
	}
	text, _ := v.(string)
	return text
}

// show returns a value as it may be shown: the last part of the path says what it is. The value of
// a variable of a container goes by the variable's name.
func show(path, value string) string {
	path = strings.TrimSuffix(path, ".value")
	name := path[strings.LastIndexAny(strings.TrimSuffix(path, "]"), ".[")+1:]
	name = strings.TrimSuffix(name, "]")
	if strings.HasPrefix(value, "arn:") || strings.HasPrefix(value, "${") {
		return redact.Text(value) // a reference is no credential, whatever it names
	}
	return redact.Value(name, value)
}

func encode(v any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
