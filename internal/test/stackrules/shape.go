package stackrules

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"prefect-worker-ecs/internal/aws/iam"
)

// shape is what is allowed at one place of a stack. It reports what else the value is: at
// says where, why what could come of it.
type shape func(j *judge, at, why string, value any)

// judge collects findings.
type judge struct{ findings []Finding }

func (j *judge) find(at, what, why string) {
	j.findings = append(j.findings, Finding{Address: at, What: what, Why: why})
}

// fields are the attributes of an object. One whose name ends in a question mark may be
// absent.
type fields map[string]shape

// object allows an object with these attributes and no others.
func object(allowed fields) shape {
	return func(j *judge, at, why string, value any) {
		given, ok := value.(map[string]any)
		if !ok {
			j.find(at, fmt.Sprintf("is %s; allowed is an object", show(value)), why)
			return
		}
		for _, name := range slices.Sorted(maps.Keys(given)) {
			s := allowed[name]
			if s == nil {
				s = allowed[name+"?"]
			}
			if s == nil {
				j.find(join(at, name), notListed, danger(name, why))
				continue
			}
			s(j, join(at, name), why, given[name])
		}
		for _, name := range slices.Sorted(maps.Keys(allowed)) {
			if _, ok := given[name]; !ok && !strings.HasSuffix(name, "?") {
				// The shape knows why the attribute matters; it is asked with nothing.
				missing := &judge{}
				allowed[name](missing, join(at, name), why, nil)
				for _, f := range missing.findings[:min(1, len(missing.findings))] {
					j.find(join(at, name), "is missing", f.Why)
				}
			}
		}
	}
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

const notListed = "is not on the list of what is allowed"

// is allows these values.
func is(allowed ...any) shape {
	return func(j *judge, at, why string, value any) {
		var all []string
		for _, a := range allowed {
			if encode(a) == encode(value) {
				return
			}
			all = append(all, encode(a))
		}
		j.find(at, fmt.Sprintf("is %s; allowed is %s", show(value), strings.Join(all, " or ")), why)
	}
}

// like allows text that the pattern matches as a whole.
func like(pattern, words string) shape {
	whole := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return func(j *judge, at, why string, value any) {
		if s, ok := value.(string); !ok || !whole.MatchString(s) {
			j.find(at, fmt.Sprintf("is %s; allowed is %s", show(value), words), why)
		}
	}
}

// Text for people, and numbers that are nobody's danger.
var (
	text   = like(`(?s).*`, "text")
	number = func(j *judge, at, why string, value any) {
		if _, ok := value.(float64); !ok {
			j.find(at, fmt.Sprintf("is %s; allowed is a number", show(value)), why)
		}
	}
)

// each allows a list of such elements.
func each(element shape) shape {
	return func(j *judge, at, why string, value any) {
		list, ok := value.([]any)
		if !ok {
			j.find(at, fmt.Sprintf("is %s; allowed is a list", show(value)), why)
			return
		}
		for i, v := range list {
			element(j, fmt.Sprintf("%s[%d]", at, i), why, v)
		}
	}
}

// list allows a list of just these elements.
func list(elements ...shape) shape {
	return func(j *judge, at, why string, value any) {
		given, ok := value.([]any)
		switch {
		case !ok:
			j.find(at, fmt.Sprintf("is %s; allowed is a list", show(value)), why)
			return
		case len(given) != len(elements):
			j.find(at, fmt.Sprintf("has a length of %d; allowed is %d", len(given), len(elements)), why)
			return
		}
		for i, element := range elements {
			element(j, fmt.Sprintf("%s[%d]", at, i), why, given[i])
		}
	}
}

// any text as value of any name: tags.
func tags(j *judge, at, why string, value any) {
	given, ok := value.(map[string]any)
	if !ok {
		j.find(at, fmt.Sprintf("is %s; allowed are names with text", show(value)), why)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		text(j, join(at, name), why, given[name])
	}
}

// because says why another value is dangerous.
func because(why string, s shape) shape {
	return func(j *judge, at, _ string, value any) { s(j, at, why, value) }
}

// document allows text that is JSON of a shape.
func document(s shape) shape {
	return func(j *judge, at, why string, value any) {
		given, ok := value.(string)
		var content any
		if !ok || json.Unmarshal([]byte(given), &content) != nil {
			j.find(at, fmt.Sprintf("is %s; allowed is JSON", show(value)), why)
			return
		}
		s(j, at, why, content)
	}
}

// grants allows a policy document that has no other statement than these. Each is judged by
// itself: one that is right does not excuse the one beside it.
func grants(why string, allowed ...iam.Statement) shape {
	known := make([]any, len(allowed))
	for i, statement := range allowed {
		known[i] = statement
	}
	statement := func(j *judge, at, _ string, value any) {
		if !slices.ContainsFunc(known, func(s any) bool { return encode(s) == encode(value) }) {
			j.find(at, "is "+encode(value)+", "+notOnIt, statementDanger(value)+why)
		}
	}
	return because(why, document(object(fields{"Version": is("2012-10-17"), "Statement": each(statement)})))
}

const notOnIt = "which is not on the list of allowed statements"

// encode is the JSON of a value, the same for equal values.
func encode(value any) string {
	raw, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	var plain any
	if err := json.Unmarshal(raw, &plain); err != nil {
		return err.Error()
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(plain); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// show is encode for a message: shortened.
func show(value any) string {
	s := encode(value)
	if len(s) > 160 {
		s = s[:160] + "…"
	}
	return s
}
