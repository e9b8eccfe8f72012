package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validator6 "github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"prefect-worker-ecs/config/strict"
	"prefect-worker-ecs/internal/test/golden"
)

// What is generated from the options: `make generate` runs these tests with -update, which
// writes the files, and without it they fail where a file is out of date.

// documented is the schema of Environment with the doc comments of the Go source.
func documented(t *testing.T) *jsonschema.Schema {
	t.Helper()
	reflector := newReflector()
	if err := reflector.AddGoComments("prefect-worker-ecs/config", ".", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	schema := reflector.Reflect(&Environment{})
	var blocks func(t reflect.Type, schema *jsonschema.Schema)
	blocks = func(t reflect.Type, schema *jsonschema.Schema) {
		for f := range t.Fields() {
			if f.Type.Kind() != reflect.Struct {
				continue
			}
			if block, isKey := schema.Properties.Get(f.Tag.Get("yaml")); isKey {
				block.Description = reflector.CommentMap[f.Type.PkgPath()+"."+f.Type.Name()]
				blocks(f.Type, block)
			}
		}
	}
	blocks(reflect.TypeFor[Environment](), schema)
	return schema
}

// properties calls visit for each key of a schema, blocks before what is in them.
func properties(schema *jsonschema.Schema, path string, visit func(path string, property *jsonschema.Schema)) {
	if schema.Properties == nil {
		return
	}
	for pair := schema.Properties.Oldest(); pair != nil; pair = pair.Next() {
		visit(strict.Join(path, pair.Key), pair.Value)
		properties(pair.Value, strict.Join(path, pair.Key), visit)
	}
}

// meaning is a doc comment as one line without the name that it begins with, beside which
// it will stand.
func meaning(comment string) string {
	_, rest, _ := strings.Cut(strings.Join(strings.Fields(comment), " "), " ")
	return strings.TrimPrefix(strings.TrimPrefix(rest, "is "), "are ")
}

func TestGeneratedSchema(t *testing.T) {
	golden.Equal(t, "environments.schema.json", string(editorSchema(t)))
}

// editorSchema is what editors and validators are given: patterns in place of the names of
// formats, all that is known in the description, and null for "not given".
func editorSchema(t *testing.T) []byte {
	t.Helper()
	schema := documented(t)
	all := map[string]Option{}
	for _, o := range Options() {
		all[o.Key] = o
	}
	// Without a title: editors would show it in place of each option's text.
	schema.Description = meaning(schema.Description)
	nullable(schema)
	properties(schema, "", func(path string, property *jsonschema.Schema) {
		o, leaf := all[path]
		if !leaf {
			property.Description = meaning(property.Description)
			nullable(property)
			return
		}
		spellOption(o, property)
	})
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// spellOption says in the editors' terms all that stands beside the option's field.
func spellOption(o Option, property *jsonschema.Schema) {
	property.Description, property.Extras = meaning(property.Description), nil
	if def := o.Default(); def != "" {
		property.Description += " Default: " + def + "."
	}
	for _, more := range []string{"Unit", "Source"} {
		if text := o.extra("x-" + strings.ToLower(more)); text != "" {
			property.Description += fmt.Sprintf(" %s: %s.", more, text)
		}
	}
	if o.derived() {
		property.Default = nil
	}
	if names, known := formats[o.extra("x-names")]; known {
		property.PropertyNames = &jsonschema.Schema{}
		spellOut(property.PropertyNames, names, false)
	}
	if values, known := formats[o.extra("x-values")]; known {
		spellOut(property.AdditionalProperties, values, false)
	}
	if property.Items != nil {
		spellOut(property.Items, formats[property.Items.Format], false)
		for _, field := range o.Fields() {
			inner, _ := property.Items.Properties.Get(lastKey(field.Key))
			spellOption(field, inner)
		}
		for name := range strings.FieldsSeq(o.extra("x-one-of")) {
			property.Items.OneOf = append(property.Items.OneOf, &jsonschema.Schema{Required: []string{name}})
		}
	}
	spellOut(property, formats[property.Format], (o.Schema.Default == nil || o.derived()) && !o.required)
	if !o.required {
		nullable(property)
	}
}

func lastKey(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// spellOut replaces the name of a format by what it stands for, if there is one.
func spellOut(schema *jsonschema.Schema, f format, mayBeEmpty bool) {
	if f.pattern == nil {
		return
	}
	// Python, in which validators of pipelines are written, has no classes of Unicode.
	pattern := strings.ReplaceAll(f.pattern.String(), `\p{L}\p{N}`, "A-Za-z0-9\u00aa-\ufffd")
	schema.Format, schema.Pattern, schema.Examples = "", pattern, []any{f.example}
	schema.Extras = map[string]any{"patternErrorMessage": f.rule}
	if mayBeEmpty {
		schema.Pattern = "^$|" + schema.Pattern
	}
	if f.longest > 0 {
		longest := uint64(f.longest)
		schema.MaxLength = &longest
	}
}

// nullable allows a key without a value, which means its default.
func nullable(schema *jsonschema.Schema) {
	if schema.Extras == nil {
		schema.Extras = map[string]any{}
	}
	schema.Extras["type"] = []string{schema.Type, "null"}
	schema.Type = ""
	if len(schema.Enum) > 0 {
		schema.Enum = append(slices.Clone(schema.Enum), nil)
	}
}

// TestTheSchemaIsTheProgram: the published schema, read by an independent validator, accepts
// and refuses just what the program does, as far as form goes; rules between options are the
// program's alone.
func TestTheSchemaIsTheProgram(t *testing.T) {
	if bytes.Contains(editorSchema(t), []byte(`\\p{`)) {
		t.Error("a pattern has a class of Unicode, which Python's re does not read")
	}
	document, err := validator6.UnmarshalJSON(bytes.NewReader(editorSchema(t)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := validator6.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	right, wrong := 0, 0
	check := func(name, text string) {
		if name == "two documents" || name == "hexadecimal number" {
			return // a schema sees the first document, and values but not their spelling
		}
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return // no schema can judge what is no YAML
		}
		asJSON, err := json.Marshal(value)
		if err != nil {
			return // keys that are no text
		}
		value, err = validator6.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatal(err)
		}
		env, problems := decode("dev.yaml", []byte(text))
		v := &validator{env: env}
		v.checkShape()
		problems = append(problems, v.problems...)
		valid := schema.Validate(value) == nil
		if valid {
			right++
		} else {
			wrong++
		}
		if valid != (len(problems) == 0) {
			t.Errorf("%s: the schema accepts it: %t, and the program says %v\n%s", name, valid, problems, text)
		}
	}
	for _, test := range accepted {
		check("accepted", test.yaml)
	}
	for _, text := range alsoAccepted {
		check("right", text)
	}
	var options map[string]struct{ Set yaml.Node }
	rows, err := os.ReadFile("../testdata/options.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(rows, &options); err != nil {
		t.Fatal(err)
	}
	for name, row := range options {
		set, err := yaml.Marshal(&row.Set)
		if err != nil {
			t.Fatal(err)
		}
		check(name, string(set))
	}
	for _, test := range rejected {
		check(test.name, test.yaml)
	}
	for _, file := range []string{"environments/dev.yaml", "../testdata/environments/ecs.yaml", "../testdata/environments/full.yaml", "../testdata/environments/own.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		check(file, string(text))
		if !strings.HasPrefix(string(text), "# yaml-language-server: $schema=") {
			t.Errorf("%s does not name the schema in its first line", file)
		}
	}
	if right < 100 || wrong < 60 {
		t.Errorf("only %d environments accepted and %d rejected", right, wrong)
	}
}

// TestOptionsAreDescribed: each option has a meaning, and what its tags name exists.
func TestOptionsAreDescribed(t *testing.T) {
	properties(documented(t), "", func(path string, property *jsonschema.Schema) {
		if property.Description == "" {
			t.Errorf("%s has no doc comment", path)
		}
	})
	var all []Option
	for _, o := range Options() {
		all = append(append(all, o), o.Fields()...)
	}
	for _, o := range all {
		named := []string{o.Schema.Format, o.extra("x-names"), o.extra("x-values")}
		if o.Schema.Items != nil {
			named = append(named, o.Schema.Items.Format)
		}
		for _, name := range named {
			if _, known := formats[name]; name != "" && !known {
				t.Errorf("%s: there is no format %q", o.Key, name)
			}
		}
		for name := range o.Schema.Extras {
			if !slices.Contains([]string{"x-default", "x-unit", "x-source", "x-names", "x-one-of", "x-values", "x-variable"}, name) {
				t.Errorf("%s: %s in jsonschema_extras is read by nothing", o.Key, name)
			}
		}
		// The library skips what it does not know without a word.
		for word := range strings.SplitSeq(o.declared.Tag.Get("jsonschema"), ",") {
			keyword, _, _ := strings.Cut(word, "=")
			if word != "" && !slices.Contains([]string{"default", "enum", "format", "minimum", "maximum", "minItems", "maxItems", "required", "uniqueItems"}, keyword) {
				t.Errorf("%s: %q in the jsonschema tag is read by nothing", o.Key, word)
			}
		}
	}
	for name, f := range formats {
		if !f.accepts(f.example) || f.rule == "" || f.fix == "" {
			t.Errorf("format %s lacks a rule or fix, or refuses its own example %s", name, f.example)
		}
	}
	if cpus := len(findOption(t, "worker.cpu").Schema.Enum); cpus != len(fargateSizes) {
		t.Errorf("worker.cpu allows %d values, and fargateSizes has %d", cpus, len(fargateSizes))
	}
}

func findOption(t *testing.T, key string) Option {
	t.Helper()
	i := slices.IndexFunc(Options(), func(o Option) bool { return o.Key == key })
	if i < 0 {
		t.Fatalf("there is no option %s", key)
	}
	return Options()[i]
}

func TestGeneratedPage(t *testing.T) {
	golden.Section(t, "../docs/configuration.md", "options", optionTables(t))
}

// optionTables are the options as Markdown, a table for each block of the file.
func optionTables(t *testing.T) string {
	t.Helper()
	all := map[string]Option{}
	for _, o := range Options() {
		all[o.Key] = o
	}
	var top, blocks strings.Builder
	header := "\n| key | default | allowed | |\n|---|---|---|---|\n"
	top.WriteString(header)
	properties(documented(t), "", func(path string, property *jsonschema.Schema) {
		o, leaf := all[path]
		if !leaf {
			fmt.Fprintf(&blocks, "\n### %s\n\n`%[1]s` is %s\n%s", path, escapeTable(meaning(property.Description)), header)
			return
		}
		to := &blocks
		if !strings.Contains(path, ".") {
			to = &top
		}
		row := func(o Option, property *jsonschema.Schema) {
			if property.Description == "" {
				t.Errorf("%s has no doc comment", o.Key)
			}
			def := o.Default()
			if def != "" && o.extra("x-default") == "" {
				def = "`" + def + "`"
			}
			fmt.Fprintf(to, "| `%s` | %s | %s | %s |\n", o.Key, def, allowed(o), escapeTable(meaning(property.Description)))
		}
		row(o, property)
		for _, field := range o.Fields() {
			inner, _ := property.Items.Properties.Get(lastKey(field.Key))
			row(field, inner)
		}
	})
	return top.String() + blocks.String() + "\n"
}

// allowed says in words which values an option takes, with the source.
func allowed(o Option) string {
	source := o.extra("x-source")
	var text string
	schema := o.Schema
	if schema.Items != nil {
		schema = schema.Items
	}
	f := o.format()
	switch {
	case len(schema.Enum) > 0:
		var values []string
		for _, value := range schema.Enum {
			values = append(values, fmt.Sprintf("`%v`", value))
		}
		text = strings.Join(values, ", ")
	case f.pattern != nil:
		text, source = f.rule+", such as `"+f.example+"`", f.source
	case schema.Type == "integer":
		lowest, highest := o.limits()
		text = fmt.Sprintf("%d to %d", lowest, highest)
	case schema.Type == "boolean":
		text = "`true`, `false`"
	}
	if unit := o.extra("x-unit"); unit != "" {
		text += " " + unit
	}
	text = escapeTable(text)
	switch {
	case strings.HasPrefix(source, "https://"):
		text += " ([source](" + source + "))"
	case source != "":
		text += " (source: " + source + ")"
	}
	return text
}

func escapeTable(text string) string {
	return strings.NewReplacer("|", `\|`, "<uuid>", "UUID").Replace(text)
}
