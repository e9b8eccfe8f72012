package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"prefect-worker-ecs/internal/base/redact"
)

// source remembers where the values of an environment stand in its file.
type source struct {
	file  string
	lines map[string]int
	// unread are the keys whose values could not be decoded, so that defaults
	// stand in their place.
	unread map[string]bool
	// variables are the keys whose values come from a Terraform variable, and where it is set.
	variables map[string]string
}

// decodeYAML reads one document over the defaults in env. The YAML library alone
// reports types by their Go names and stops at some errors, so the tree is first
// compared with the Go types: that gives every problem, with its key, at once. What
// cannot be decoded is left out of env, so that the rest can still be validated.
func decodeYAML(file string, data []byte, env *Environment) Problems {
	env.source = source{file: file, lines: map[string]int{}, unread: map[string]bool{}}
	c := checker{source: env.source}
	if problem := checkBytes(file, data); problem != nil {
		return Problems{*problem}
	}

	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return Problems{syntaxProblem(file, data, err)}
	}
	if err := decoder.Decode(&second); err == nil {
		return Problems{newProblem(file, second.Line, "", "", "a file holds one YAML document, and a second one begins here",
			"remove the line --- and what follows it; each environment has a file of its own")}
	} else if !errors.Is(err, io.EOF) {
		return Problems{syntaxProblem(file, data, err)}
	}

	root := doc.Content[0]
	if isNull(root) {
		return nil
	}
	if !c.check(root, reflect.TypeFor[Environment](), "") {
		return c.problems
	}
	if err := root.Decode(env); err != nil {
		return append(c.problems, syntaxProblem(file, data, err))
	}
	return c.problems
}

// checkBytes refuses what is no text, which the YAML library reports without a line.
func checkBytes(file string, data []byte) *Problem {
	for n, line := range bytes.Split(data, []byte("\n")) {
		rule, fix := "", ""
		switch {
		case bytes.IndexByte(line, 0) >= 0:
			rule, fix = "the file is text, and here is a NUL byte", "save it as UTF-8; UTF-16 has such bytes too"
		case !utf8.Valid(line):
			rule, fix = "the file is text in UTF-8, and here are bytes that are none", "save it as UTF-8"
		default:
			continue
		}
		p := newProblem(file, n+1, "", "", rule, fix)
		return &p
	}
	return nil
}

var (
	yamlErrorLine = regexp.MustCompile(`line (\d+)(: )?`)
	unknownAnchor = regexp.MustCompile(`unknown anchor '([^']+)' referenced`)
)

// syntaxProblem is an error of the YAML library. Some of them name no line.
func syntaxProblem(file string, data []byte, err error) Problem {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  ")
	line := 1 // which the library does not name
	if m := yamlErrorLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = strings.Replace(text, m[0], "", 1)
		if strings.HasPrefix(text, "did not find expected") { // errors of the library's parser count from 0
			line++
		}
	} else if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		if before, _, found := bytes.Cut(data, []byte("*"+m[1])); found {
			line = 1 + bytes.Count(before, []byte("\n"))
		}
	} else if strings.Contains(text, "exceeded max depth") {
		return newProblem(file, line, "", "", "the file nests blocks deeper than anything here needs", "remove the brackets that are too many")
	}
	fix := "fix the syntax there; two spaces indent a level, and no tabs"
	if strings.HasPrefix(text, "mapping values") {
		fix = "indent each level by two spaces, and put a value that ends in a colon or has one before a space in quotes: 'arn:...:token::'"
	}
	return newProblem(file, line, "", "", "the file must be valid YAML, but "+text, fix)
}

// checker compares a YAML tree with Go types.
type checker struct {
	source
	problems Problems
}

func (c *checker) add(node *yaml.Node, key, value, rule, fix string) {
	c.problems = append(c.problems, newProblem(c.file, node.Line, key, value, rule, fix))
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
		if t == reflect.TypeFor[Values]() && node.Kind == yaml.ScalarNode {
			return c.check(node, t.Elem(), path)
		}
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
		if node.Kind != yaml.ScalarNode {
			return c.wrongType(node, path, "text", "write one value, without brackets and without keys below it")
		}
		if !is("!!str") {
			return c.wrongType(node, path, "text", fmt.Sprintf("put it in quotes: %q", text(node)))
		}
	case reflect.Int:
		return c.checkInt(node, path)
	case reflect.Bool:
		if !is("!!bool") {
			return c.wrongType(node, path, "true or false", "write true or false, without quotes; yes and on are text in YAML")
		}
	default:
		panic(fmt.Sprintf("config: no YAML rule for Go type %s at %s", t, path))
	}
	return true
}

var decimal = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)

// checkInt accepts a number as people write it. YAML has others: 0512 is octal.
func (c *checker) checkInt(node *yaml.Node, path string) bool {
	_, err := strconv.Atoi(node.Value)
	switch {
	case node.Kind != yaml.ScalarNode || node.ShortTag() != "!!int" && !decimal.MatchString(node.Value) || node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		return c.wrongType(node, path, "a whole number", "write digits without quotes")
	case !decimal.MatchString(node.Value):
		var read int
		_ = node.Decode(&read) // 0 if it is too large
		meant := strings.TrimLeft(node.Value, "0")
		if !decimal.MatchString(meant) {
			meant = strconv.Itoa(read)
		}
		return c.wrongType(node, path, fmt.Sprintf("a whole number in decimal digits, and YAML reads this as %d", read), "write "+meant)
	case err != nil:
		return c.wrongType(node, path, "a whole number, and this one is too large for any option", "write fewer digits")
	}
	return true
}

func (c *checker) checkMapping(node *yaml.Node, t reflect.Type, path string) {
	fields := yamlFields(t)
	seen := map[string]int{}
	kept := node.Content[:0:0]
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.ShortTag() == "!!merge" { // the keys of a block that stands elsewhere in the file
			if c.check(value, t, path) {
				kept = append(kept, key, value)
			}
			continue
		}
		full := join(path, key.Value)
		if line, twice := seen[key.Value]; twice {
			c.add(key, full, text(value), fmt.Sprintf("a key stands once in a block, and this one is also on line %d", line), "remove one of the two")
			continue
		}
		seen[key.Value] = key.Line
		if !isNull(value) { // a key without a value gives none
			c.lines[full] = key.Line
		}

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

// removedKeys are keys of earlier releases, and what to do instead.
var removedKeys = map[string]string{
	"adopt":     "remove the line, and call workerctl adopt: it finds what exists, and writes what is to be imported into a file of its own",
	"policy":    "write it as iam.flow_task_role.statements: {actions: [...], resources: [...]}, or as a managed policy in policy_arns",
	"public_ip": "remove the line: with network.nat: none the worker runs in the public subnets, with a public address",
}

// unknownFix points to the known key that a mistyped one most likely meant.
func unknownFix(key string, fields map[string]reflect.Type) string {
	if redact.Named(key) {
		return "remove the line, and replace the credential if others may have seen it; the API key is given in the Terraform variable prefect_api_key (export TF_VAR_prefect_api_key=...)"
	}
	if fix, former := removedKeys[key]; former {
		return fix
	}
	if hint := nearest(strings.ReplaceAll(key, "-", "_"), sortedKeys(fields)); hint != "" {
		return hint + "remove the line"
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
