package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// bases are the environments whose golden file is the difference to the stack of another one.
var bases = map[string]string{"closed": "server", "own": "ecs", "serverdb": "server", "shared": "existing"}

// Base returns the environment to whose stack the golden file of another one is a difference, ""
// for one that is kept as a whole: those differ in kind.
func Base(name string) string { return bases[name] }

// Stacks returns the golden stacks by environment. Those that are kept as differences have no
// metadata of CDKTF.
func Stacks(t *testing.T) map[string][]byte {
	t.Helper()
	dir := "testdata/golden"
	for range 6 {
		if _, err := os.Stat(filepath.Join(dir, "dev.tf.json")); err == nil {
			break
		}
		dir = filepath.Join("..", dir)
	}
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	all := map[string][]byte{}
	for _, name := range []string{"dev", "ecs", "existing", "full", "server"} {
		all[name] = read(name + ".tf.json")
	}
	for name, base := range bases {
		all[name] = apply(t, all[base], string(read(name+".diff")))
	}
	return all
}

// Difference returns how a JSON document differs from a base, a line for each value: "path: old ->
// new", "+ path: value" for what is added and "- path" for what is removed. In a path [x] is the
// element of a list with the Sid, name or first action x, or the index, and json() is the document in a text.
// Comments of CDKTF ("//") are left out.
func Difference(t *testing.T, base, document string) string {
	t.Helper()
	var a, b any
	if err := errors.Join(json.Unmarshal([]byte(base), &a), json.Unmarshal([]byte(document), &b)); err != nil {
		t.Fatal(err)
	}
	var lines []string
	compare("", expand(a), expand(b), &lines)
	return strings.Join(append(lines, ""), "\n")
}

// apply returns the document that differs so from a base.
func apply(t *testing.T, base []byte, difference string) []byte {
	t.Helper()
	var document any
	if err := json.Unmarshal(base, &document); err != nil {
		t.Fatal(err)
	}
	expanded := expand(document)
	for line := range strings.Lines(difference) {
		path, values, hasValue := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		var value any
		if hasValue {
			d := json.NewDecoder(strings.NewReader(values))
			err := d.Decode(&value)
			if after, changed := strings.CutPrefix(values[d.InputOffset():], " -> "); err == nil && changed {
				err = json.Unmarshal([]byte(after), &value)
			}
			if err != nil {
				t.Fatalf("%s%v", line, err)
			}
		}
		set(expanded, strings.TrimLeft(path, "+- "), value)
	}
	file, err := json.MarshalIndent(collapse(expanded), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func compare(path string, a, b any, lines *[]string) {
	ma, aIsMap := a.(map[string]any)
	mb, bIsMap := b.(map[string]any)
	la, aIsList := a.([]any)
	lb, bIsList := b.([]any)
	switch {
	case reflect.DeepEqual(a, b):
	case bIsMap && (aIsMap || a == nil):
		both := map[string]any{}
		maps.Copy(both, ma)
		maps.Copy(both, mb)
		for _, key := range slices.Sorted(maps.Keys(both)) {
			at := strings.TrimPrefix(path+"."+strings.ReplaceAll(key, ".", `\.`), ".")
			if _, there := mb[key]; !there {
				*lines = append(*lines, "- "+at)
			} else {
				compare(at, ma[key], mb[key], lines)
			}
		}
	case a == nil:
		*lines = append(*lines, "+ "+path+": "+text(b))
	case aIsList && bIsList:
		from, tail := 0, 0
		for from < min(len(la), len(lb)) && la[from] == lb[from] {
			from++
		}
		for tail < min(len(la), len(lb))-from && la[len(la)-1-tail] == lb[len(lb)-1-tail] {
			tail++
		}
		*lines = append(*lines, fmt.Sprintf("%s[%d:%d]: %s -> %s", path, from, len(la)-tail, text(la[from:len(la)-tail]), text(lb[from:len(lb)-tail])))
	default:
		*lines = append(*lines, fmt.Sprintf("%s: %s -> %s", path, text(a), text(b)))
	}
}

func text(value any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // of JSON it was read from
	return strings.TrimSpace(b.String())
}

var (
	separator = regexp.MustCompile(`(?:[^.\\]|\\.)+`)
	hunk      = regexp.MustCompile(`^(.*)\[(\d+):(\d+)\]$`)
)

// set puts a value at a path of an expanded document; nil removes what is there.
func set(document any, path string, value any) {
	keys := separator.FindAllString(path, -1)
	at := document.(map[string]any)
	for i, key := range keys {
		key = strings.ReplaceAll(key, `\.`, ".")
		if i < len(keys)-1 {
			if _, isMap := at[key].(map[string]any); !isMap {
				at[key] = map[string]any{}
			}
			at = at[key].(map[string]any)
			continue
		}
		if m := hunk.FindStringSubmatch(key); m != nil {
			if old, ok := at[m[1]].([]any); ok {
				from, _ := strconv.Atoi(m[2])
				to, _ := strconv.Atoi(m[3])
				at[m[1]] = slices.Concat(old[:from], value.([]any), old[to:])
				continue
			}
		}
		if at[key] = value; value == nil {
			delete(at, key)
		}
	}
}

// expand returns a document with objects instead of lists of objects, and of text that is JSON.
func expand(value any) any {
	switch value := value.(type) {
	case map[string]any:
		all := map[string]any{}
		for key, v := range value {
			if key != "//" {
				all[key] = expand(v)
			}
		}
		return all
	case []any:
		all := map[string]any{}
		for i, v := range value {
			object, ok := v.(map[string]any)
			if !ok {
				return value
			}
			key := elementName(object, i)
			for n := 2; all["["+key+"]"] != nil; n++ {
				key = fmt.Sprintf("%s %d", elementName(object, i), n)
			}
			all["["+key+"]"] = expand(v)
		}
		if len(all) > 0 {
			return all
		}
	case string:
		var content any
		if strings.HasPrefix(value, "{") || strings.HasPrefix(value, "[") {
			if json.Unmarshal([]byte(value), &content) == nil {
				return map[string]any{"json()": expand(content)}
			}
		}
	}
	return value
}

// elementName returns what tells an element of a list from the others.
func elementName(element map[string]any, i int) string {
	for _, field := range []string{"Sid", "name"} {
		if name, ok := element[field].(string); ok {
			return name
		}
	}
	if actions, ok := element["Action"].([]any); ok && len(actions) > 0 {
		return fmt.Sprint(actions[0])
	}
	return strconv.Itoa(i)
}

// collapse returns the reverse of expand.
func collapse(value any) any {
	object, ok := value.(map[string]any)
	if !ok {
		return value
	}
	if content, ok := object["json()"]; ok {
		return text(collapse(content))
	}
	var elements []any
	for _, key := range slices.Sorted(maps.Keys(object)) {
		object[key] = collapse(object[key])
		if strings.HasPrefix(key, "[") {
			elements = append(elements, object[key])
		}
	}
	if elements != nil {
		return elements
	}
	return object
}
