package config

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// source remembers where the values of an environment stand in its file.
type source struct {
	file  string
	lines map[string]int
	// unread are the keys whose values could not be decoded, so that defaults
	// stand in their place.
	unread map[string]bool
}

// decodeYAML reads one document over the defaults in env. The YAML library alone
// reports types by their Go names and stops at some errors, so the tree is first
// compared with the Go types: that gives every problem, with its key, at once. What
// cannot be decoded is left out of env, so that the rest can still be validated.
func decodeYAML(file string, data io.Reader, env *Environment) Problems {
	env.source = source{file: file, lines: map[string]int{}, unread: map[string]bool{}}
	c := checker{source: env.source}

	decoder := yaml.NewDecoder(data)
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return Problems{syntaxProblem(file, err)}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Problems{{File: file,
			Rule: "a file holds one YAML document",
			Fix:  "remove the line --- and what follows it; each environment has a file of its own"}}
	}

	root := doc.Content[0]
	if isNull(root) {
		return nil
	}
	if !c.check(root, reflect.TypeFor[Environment](), "") {
		return c.problems
	}
	if err := root.Decode(env); err != nil {
		return append(c.problems, syntaxProblem(file, err))
	}
	return c.problems
}

var yamlErrorLine = regexp.MustCompile(`line (\d+)`)

func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file,
		Rule: "the file must be valid YAML, but " + strings.TrimPrefix(err.Error(), "yaml: "),
		Fix:  "mend the syntax there; two spaces indent a level, and no tabs"}
	if m := yamlErrorLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
	}
	return p
}

// checker compares a YAML tree with Go types.
type checker struct {
	source
	problems Problems
}

func (c *checker) add(node *yaml.Node, key, value, rule, fix string) {
	c.problems = append(c.problems, Problem{File: c.file, Line: node.Line, Key: key, Value: value, Rule: rule, Fix: fix})
}

// check reports whether node can become a value of type t, and records the problems
// if not. It removes from the tree what cannot be decoded, and keys without a value,
// because "cpu:" means the default and not zero.
func (c *checker) check(node *yaml.Node, t reflect.Type, path string) bool {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if _, known := c.lines[path]; !known {
		c.lines[path] = node.Line
	}

	is := func(tag string) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == tag }
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		if node.Kind != yaml.MappingNode {
			return c.wrongType(node, path, "a block of keys", "write its keys indented below it")
		}
		c.checkMapping(node, t, path)
	case reflect.Slice:
		if node.Kind != yaml.SequenceNode {
			return c.wrongType(node, path, "a list", fmt.Sprintf("write [%s]", text(node)))
		}
		valid := true
		for i, item := range node.Content {
			valid = c.check(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i)) && valid
		}
		c.unread[path] = !valid
		return valid
	case reflect.String:
		if !is("!!str") {
			return c.wrongType(node, path, "text", fmt.Sprintf("put it in quotes: %q", text(node)))
		}
	case reflect.Int:
		if !is("!!int") {
			return c.wrongType(node, path, "a whole number", "write digits without quotes")
		}
	case reflect.Bool:
		if !is("!!bool") {
			return c.wrongType(node, path, "true or false", "write true or false without quotes")
		}
	default:
		panic(fmt.Sprintf("config: no YAML rule for Go type %s at %s", t, path))
	}
	return true
}

func (c *checker) checkMapping(node *yaml.Node, t reflect.Type, path string) {
	fields := yamlFields(t)
	seen := map[string]int{}
	kept := node.Content[:0:0]
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		full := join(path, key.Value)
		if line, twice := seen[key.Value]; twice {
			c.add(key, full, text(value), fmt.Sprintf("a key stands once in a block, and this one is also on line %d", line), "remove one of the two")
			continue
		}
		seen[key.Value] = key.Line
		c.lines[full] = key.Line

		elem, known := fields[key.Value]
		if t.Kind() == reflect.Map {
			elem, known = t.Elem(), true
		}
		switch {
		case !known:
			c.add(key, full, text(value), "the key is not known; known here: "+strings.Join(sortedKeys(fields), ", "), unknownFix(key.Value, fields))
		case isNull(value):
			if t.Kind() == reflect.Map {
				c.wrongType(value, full, "text", "give it a value, or \"\" for an empty one")
			}
		case c.check(value, elem, full):
			kept = append(kept, key, value)
		}
	}
	node.Content = kept
}

func (c *checker) wrongType(node *yaml.Node, path, want, fix string) bool {
	c.add(node, path, text(node), "the value must be "+want, fix)
	c.unread[path] = true
	return false
}

// yamlFields gives the keys of a struct type and the types behind them.
func yamlFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	if t.Kind() != reflect.Struct {
		return fields
	}
	for field := range t.Fields() {
		if tag := field.Tag.Get("yaml"); tag != "" && tag != "-" {
			fields[tag] = field.Type
		}
	}
	return fields
}

// unknownFix points to the known key that a mistyped one most likely meant.
func unknownFix(key string, fields map[string]reflect.Type) string {
	if secretNamed.MatchString(key) {
		return "remove the line, and replace the credential if others may have seen it; the API key is given in the Terraform variable prefect_api_key (export TF_VAR_prefect_api_key=...)"
	}
	for _, known := range sortedKeys(fields) {
		if editDistance(strings.ReplaceAll(key, "-", "_"), known) <= 2 {
			return fmt.Sprintf("did you mean %s? If not, remove the line", known)
		}
	}
	return "remove the line or correct the key"
}

// editDistance is the number of letters to insert, remove or replace to get from a to b
// (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// text shows a node in a message: a scalar as written, anything else by its kind.
func text(node *yaml.Node) string {
	switch node.Kind {
	case yaml.ScalarNode:
		return node.Value
	case yaml.SequenceNode:
		return "(a list)"
	case yaml.AliasNode:
		return text(node.Alias)
	default:
		return "(a block of keys)"
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
