// Package strict reads YAML into Go types: all problems at once, each with its key, line, rule and fix. What cannot be
// decoded is left out, so that the rest can still be judged.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"go.yaml.in/yaml/v3"
)

// Source is where the values of a file stand.
type Source struct {
	// File is its name, as it is shown.
	File string
	// Lines are the lines of the keys that have a value.
	Lines map[string]int
	// Unread are the keys whose values could not be decoded, so that defaults
	// stand in their place.
	Unread map[string]bool
}

// Decode reads one document over the defaults in a struct. former returns the fix for a key of earlier releases, and
// nothing for any other unknown key.
//
// The YAML library alone reports types by their Go names and stops at some errors, so the tree is first
// compared with the Go types: that gives every problem, with its key, at once.
func Decode(file string, data []byte, into any, former func(key string) (fix string)) (Source, Problems) {
	c := checker{Source: Source{File: file, Lines: map[string]int{}, Unread: map[string]bool{}}, former: former}
	c.decode(data, into)
	return c.Source, c.problems
}

// decode reads the document, if it is one.
func (c *checker) decode(data []byte, into any) {
	if problem := checkBytes(c.File, data); problem != nil {
		c.problems = Problems{*problem}
		return
	}

	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return
	case err != nil:
		c.problems = Problems{syntaxProblem(c.File, data, err)}
		return
	}
	if err := decoder.Decode(&second); err == nil {
		c.problems = Problems{NewProblem(c.File, second.Line, "", "", "a file holds one YAML document, and a second one begins here",
			"remove the line --- and what follows it; each environment has a file of its own")}
		return
	} else if !errors.Is(err, io.EOF) {
		c.problems = Problems{syntaxProblem(c.File, data, err)}
		return
	}
	root := doc.Content[0]
	if isNull(root) || !c.check(root, reflect.TypeOf(into).Elem(), "") {
		return
	}
	if err := root.Decode(into); err != nil {
		c.problems = append(c.problems, syntaxProblem(c.File, data, err))
	}
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
		p := NewProblem(file, n+1, "", "", rule, fix)
		return &p
	}
	return nil
}

var (
	yamlErrorLine = regexp.MustCompile(`line (\d+)(: )?`)
	unknownAnchor = regexp.MustCompile(`unknown anchor '([^']+)' referenced`)
)

// syntaxProblem returns an error of the YAML library. Some of them name no line.
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
		return NewProblem(file, line, "", "", "the file nests blocks deeper than anything here needs", "remove the brackets that are too many")
	}
	fix := "fix the syntax there; two spaces indent a level, and no tabs"
	if strings.HasPrefix(text, "mapping values") {
		fix = "indent each level by two spaces, and put a value that ends in a colon or has one before a space in quotes: 'arn:...:token::'"
	}
	return NewProblem(file, line, "", "", "the file must be valid YAML, but "+text, fix)
}

// checker compares a YAML tree with Go types.
type checker struct {
	Source
	problems Problems
	former   func(key string) string
}

func (c *checker) add(node *yaml.Node, key, value, rule, fix string) {
	c.problems = append(c.problems, NewProblem(c.File, node.Line, key, value, rule, fix))
}

// check reports whether node can become a value of type t, and records the problems
// if not. It removes from the tree what cannot be decoded, and keys without a value,
// because "cpu:" means the default and not zero.
func (c *checker) check(node *yaml.Node, t reflect.Type, path string) bool {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if _, known := c.Lines[path]; !known {
		c.Lines[path] = node.Line
	}

	is := func(tag string) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == tag }
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		if node.Kind != yaml.MappingNode {
			return c.wrongType(node, path, "a block of keys", "write its keys indented below it")
		}
		c.checkMapping(node, t, path)
	case reflect.Slice:
		if node.Kind == yaml.ScalarNode && reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]()) { // which reads one as a list
			return c.check(node, t.Elem(), path)
		}
		if node.Kind != yaml.SequenceNode {
			return c.wrongType(node, path, "a list", fmt.Sprintf("write [%s]", text(node)))
		}
		valid := true
		for i, item := range node.Content {
			valid = c.check(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i)) && valid
		}
		c.Unread[path] = !valid
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
		panic(fmt.Sprintf("strict: no YAML rule for Go type %s at %s", t, path))
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
		full := Join(path, key.Value)
		if line, twice := seen[key.Value]; twice {
			c.add(key, full, text(value), fmt.Sprintf("a key stands once in a block, and this one is also on line %d", line), "remove one of the two")
			continue
		}
		seen[key.Value] = key.Line
		if !isNull(value) { // a key without a value gives none
			c.Lines[full] = key.Line
		}

		elem, known := fields[key.Value]
		if t.Kind() == reflect.Map {
			elem, known = t.Elem(), true
		}
		switch {
		case !known:
			c.add(key, full, text(value), "the key is not known; known here: "+strings.Join(slices.Sorted(maps.Keys(fields)), ", "), c.unknownFix(key.Value, fields))
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
	c.Unread[path] = true
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
func (c *checker) unknownFix(key string, fields map[string]reflect.Type) string {
	if fix := c.former(key); fix != "" {
		return fix
	}
	if hint := Nearest(strings.ReplaceAll(key, "-", "_"), slices.Sorted(maps.Keys(fields))); hint != "" {
		return hint + "remove the line"
	}
	return "remove the line or correct the key"
}

// Nearest returns the beginning of a fix that points to the known word which a mistyped one most
// likely meant, or nothing.
func Nearest(word string, known []string) string {
	for _, k := range known {
		if levenshtein.Distance(word, k, nil) <= 2 {
			return "did you mean " + k + "? If not, "
		}
	}
	return ""
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

// Join returns the path of a key in a block.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
