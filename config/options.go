package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/invopop/jsonschema"

	"prefect-worker-ecs/config/strict"
)

// Option is one setting of the YAML files: a leaf of Environment with all that stands
// beside its field.
type Option struct {
	// Key is its path in the file, such as network.vpc_cidr.
	Key string
	// Schema holds its type, default, allowed values, range and format, as the jsonschema
	// tag says. In Extras are x-unit, x-source, x-default (in words, where it is
	// calculated), the formats x-names and x-values of a map, x-one-of (the keys of which an entry of
	// a list has just one), and x-variable.
	Schema *jsonschema.Schema

	field    []int
	declared reflect.StructField
	required bool
}

// newReflector reads Environment as YAML does: by the yaml tag, and nothing is required.
func newReflector() *jsonschema.Reflector {
	return &jsonschema.Reflector{
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
		DoNotReference:             true,
		Anonymous:                  true,
	}
}

var options = sync.OnceValue(func() []Option {
	var all []Option
	var walk func(t reflect.Type, schema *jsonschema.Schema, path string, field []int)
	walk = func(t reflect.Type, schema *jsonschema.Schema, path string, field []int) {
		for f := range t.Fields() {
			key := f.Tag.Get("yaml")
			if key == "" || key == "-" {
				continue
			}
			property, _ := schema.Properties.Get(key)
			path, field := strict.Join(path, key), append(slices.Clone(field), f.Index...)
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, property, path, field)
			} else {
				all = append(all, Option{Key: path, Schema: property, field: field, declared: f})
			}
		}
	}
	walk(reflect.TypeFor[Environment](), newReflector().Reflect(&Environment{}), "", nil)
	return all
})

// Options returns all options, in the order of their declaration.
func Options() []Option { return slices.Clone(options()) }

// Fields returns the keys of each entry of an option that is a list of blocks, such as
// network.egress, with "[]" for the entry's place. None for other options.
func (o Option) Fields() []Option {
	list := o.declared.Type
	if list.Kind() != reflect.Slice || list.Elem().Kind() != reflect.Struct {
		return nil
	}
	var all []Option
	for f := range list.Elem().Fields() {
		key := f.Tag.Get("yaml")
		schema, _ := o.Schema.Items.Properties.Get(key)
		all = append(all, Option{o.Key + "[]." + key, schema, f.Index, f, slices.Contains(o.Schema.Items.Required, key)})
	}
	return all
}

// Value returns the option's value in an environment.
func (o Option) Value(e *Environment) any { return o.in(e).Interface() }

// Origin returns what set the option in an environment: the file with the line, or a Terraform
// variable (WithVariables), whose line is 0. It is empty where the value is the default.
func (o Option) Origin(e *Environment) (file string, line int) {
	if variable, isVariable := e.source.variables[o.Key]; isVariable {
		return variable, 0
	}
	if line, given := e.source.Lines[o.Key]; given {
		return e.source.File, line
	}
	return "", 0
}

// Variable returns the Terraform variable that may override the option when it is deployed, or
// nothing.
func (o Option) Variable() string { return o.extra("x-variable") }

// Default returns the default in words: the value, what it is calculated from, or nothing.
func (o Option) Default() string {
	if o.Schema.Default == nil {
		return o.extra("x-default")
	}
	return fmt.Sprint(o.Schema.Default)
}

// in returns the option's field in an environment.
func (o Option) in(e *Environment) reflect.Value {
	return reflect.ValueOf(e).Elem().FieldByIndex(o.field)
}

func (o Option) extra(name string) string {
	text, _ := o.Schema.Extras[name].(string)
	return text
}

// format returns the form of the option's texts: of the value, the entries of a list, or the values of a map. It is
// empty where the option has none.
func (o Option) format() format {
	name := cmp.Or(o.Schema.Format, o.extra("x-values"))
	if o.Schema.Items != nil {
		name = o.Schema.Items.Format
	}
	return formats[name]
}

// derived reports whether the default is made of other values, named in braces.
func (o Option) derived() bool {
	text, isText := o.Schema.Default.(string)
	return isText && strings.Contains(text, "{")
}

// setDefault gives the field its default, if it is one that depends on nothing else.
func (o Option) setDefault(e *Environment) {
	field := o.in(e)
	switch def := o.Schema.Default.(type) {
	case string:
		if !o.derived() {
			field.SetString(def)
		}
	case json.Number:
		n, err := def.Int64()
		if err != nil {
			panic(fmt.Sprintf("config: the default of %s is no whole number: %v", o.Key, err))
		}
		field.SetInt(n)
	case bool:
		field.SetBool(def)
	}
}

// limits returns the lowest and highest value of a number.
func (o Option) limits() (lowest, highest int) {
	low, _ := o.Schema.Minimum.Int64()
	high, _ := o.Schema.Maximum.Int64()
	return int(low), int(high)
}
