package plan

import (
	"reflect"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Hidden and unknown values of a plan.
const (
	sensitive = "(sensitive)"
	changed   = "(sensitive, another value)"
	unknown   = "(known after apply)"
)

// Plan reads a plan of Terraform's, as `terraform show -json` gives it.
func Plan(environment string, plan *tfjson.Plan) Report {
	r := Report{Environment: environment}
	for _, c := range plan.ResourceChanges {
		if c.Mode == tfjson.DataResourceMode {
			continue
		}
		resource := Resource{Address: c.Address, Imported: c.Change.Importing != nil}
		switch actions := c.Change.Actions; {
		case actions.Replace():
			resource.Action = Replace
		case actions.Create():
			resource.Action = Create
		case actions.Delete():
			resource.Action = Destroy
		case actions.Update():
			resource.Action = Change
		case c.Change.Importing != nil:
			resource.Action = Import
		default:
			continue
		}
		if resource.Action == Change || resource.Action == Replace {
			resource.Attributes = planned(c.Change)
		}
		r.Changes = append(r.Changes, resource)
	}
	for name, c := range plan.OutputChanges {
		if c.Actions.NoOp() {
			continue
		}
		resource := Resource{Address: "output." + name, Action: Change}
		switch {
		case c.Actions.Create():
			resource.Action = Create
		case c.Actions.Delete():
			resource.Action = Destroy
		default:
			value := func(v any) any { return map[string]any{"value": v} }
			resource.Attributes = planned(&tfjson.Change{Before: value(c.Before), After: value(c.After), AfterUnknown: value(c.AfterUnknown),
				BeforeSensitive: value(c.BeforeSensitive), AfterSensitive: value(c.AfterSensitive)})
		}
		r.Others = append(r.Others, resource)
	}
	r.finish()
	return r
}

// planned returns the attributes of a change.
func planned(c *tfjson.Change) []Attribute {
	before := mask(c.Before, c.BeforeSensitive, sensitive)
	after := mask(mask(c.After, c.AfterUnknown, unknown), c.AfterSensitive, sensitive)
	// Of what is sensitive only that it changes is shown.
	if b, ok := before.(map[string]any); ok {
		raw, _ := c.Before.(map[string]any)
		now, _ := c.After.(map[string]any)
		for key, value := range b {
			if a, ok := after.(map[string]any); ok && value == sensitive && a[key] == sensitive && !reflect.DeepEqual(raw[key], now[key]) {
				a[key] = changed
			}
		}
	}
	for _, side := range []any{before, after} {
		if all, _ := side.(map[string]any); all["tags_all"] != nil {
			delete(all, "tags") // they are among those
		}
	}
	attributes := differ(before, after)
	for i, a := range attributes {
		attributes[i].ForcesReplacement = slices.ContainsFunc(c.ReplacePaths, func(path any) bool {
			steps, _ := path.([]any)
			if len(steps) == 0 {
				return false
			}
			first, _ := steps[0].(string)
			return a.of(first)
		})
	}
	// What forces a replacement comes before all that is only known after it.
	slices.SortStableFunc(attributes, func(a, b Attribute) int { return strings.Compare(forced(b), forced(a)) })
	return attributes
}

// mask puts a word in place of the values in v that are true in marks, which has v's shape.
func mask(v, marks any, word string) any {
	switch marks := marks.(type) {
	case bool:
		if marks {
			return word
		}
	case map[string]any:
		object, ok := v.(map[string]any)
		if !ok {
			if v != nil {
				return v
			}
			object = map[string]any{}
		}
		masked := map[string]any{}
		for key, item := range object {
			masked[key] = mask(item, marks[key], word)
		}
		for key, mark := range marks {
			if _, there := object[key]; !there {
				if item := mask(nil, mark, word); item != nil {
					masked[key] = item
				}
			}
		}
		return masked
	case []any:
		list, ok := v.([]any)
		if !ok {
			return v
		}
		masked := slices.Clone(list)
		for i := range masked {
			if i < len(marks) {
				masked[i] = mask(masked[i], marks[i], word)
			}
		}
		return masked
	}
	return v
}
