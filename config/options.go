package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/invopop/jsonschema"

	"prefect-worker-ecs/internal/redact"
)

// Option is one setting of the YAML files: a leaf of Environment with all that stands
// beside its field.
type Option struct {
	// Key is its path in the file, such as network.vpc_cidr.
	Key string
	// Schema holds its type, default, allowed values, range and format, as the jsonschema
	// tag says. In Extras are x-unit, x-source, x-default (in words, where it is
	// calculated), the formats x-names and x-values of a map, and x-variable.
	Schema *jsonschema.Schema

	field []int
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
		if t.Kind() != reflect.Struct {
			all = append(all, Option{Key: path, Schema: schema, field: field})
			return
		}
		for f := range t.Fields() {
			if key := f.Tag.Get("yaml"); key != "" && key != "-" {
				property, _ := schema.Properties.Get(key)
				walk(f.Type, property, join(path, key), append(slices.Clone(field), f.Index...))
			}
		}
	}
	walk(reflect.TypeFor[Environment](), newReflector().Reflect(&Environment{}), "", nil)
	return all
})

// Options are all options, in the order of their declaration.
func Options() []Option { return slices.Clone(options()) }

// Value is the option's value in an environment.
func (o Option) Value(e *Environment) any { return o.in(e).Interface() }

// Origin is the file and the line that set the option in an environment. The line is 0 if
// none did, and the value is the default.
func (o Option) Origin(e *Environment) (file string, line int) {
	return e.source.file, e.source.lines[o.Key]
}

// Variable is the Terraform variable that may override the option when it is deployed, or
// nothing.
func (o Option) Variable() string { return o.extra("x-variable") }

// Default is the default in words: the value, what it is calculated from, or nothing.
func (o Option) Default() string {
	switch def := o.Schema.Default.(type) {
	case nil:
		return o.extra("x-default")
	case []any:
		return fmt.Sprint(def...)
	default:
		return fmt.Sprint(def)
	}
}

// in is the option's field in an environment.
func (o Option) in(e *Environment) reflect.Value {
	return reflect.ValueOf(e).Elem().FieldByIndex(o.field)
}

func (o Option) extra(name string) string {
	text, _ := o.Schema.Extras[name].(string)
	return text
}

// derived says that the default is made of other values, named in braces.
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
	case []any:
		for _, item := range def {
			field.Set(reflect.Append(field, reflect.ValueOf(item).Convert(field.Type().Elem())))
		}
	}
}

// checkClearText refuses what must not stand in the clear text of any option.
func (v *validator) checkClearText() {
	for _, o := range options() {
		switch value := o.in(v.env); value.Kind() {
		case reflect.String:
			v.clearText(o.Key, value.String())
		case reflect.Slice:
			for i := range value.Len() {
				v.clearText(fmt.Sprintf("%s[%d]", o.Key, i), value.Index(i).String())
			}
		case reflect.Map:
			for name, text := range value.Interface().(map[string]string) {
				v.clearText(join(o.Key, name), text)
			}
		}
	}
}

func (v *validator) clearText(key, value string) {
	if redact.Credential(value) {
		v.refuse(key, value, "the value looks like a credential, and all options stand in clear text in the file and in Terraform's",
			"remove it, and replace the credential if others may have seen it; the worker gets secrets from Secrets Manager, see worker.secrets")
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
		v.refuse(key, value, "the value has no control characters: neither AWS nor Terraform takes them", "remove them")
	}
}

// checkShape refuses each value that breaks what stands beside its field.
func (v *validator) checkShape() {
	for _, o := range options() {
		value := o.in(v.env)
		switch value.Kind() {
		case reflect.Int:
			v.checkNumber(o, int(value.Int()))
		case reflect.String:
			// Empty is "not given" for what has no default, or one that is not always made.
			if value.String() != "" || o.Schema.Default != nil && !o.derived() {
				v.checkText(o.Key, value.String(), o.Schema.Enum, o.Schema.Format)
			}
		case reflect.Slice:
			v.checkList(o, value)
		case reflect.Map:
			for _, name := range sortedKeys(value.Interface().(map[string]string)) {
				v.checkText(join(o.Key, name), name, nil, o.extra("x-names"))
				v.checkText(join(o.Key, name), value.MapIndex(reflect.ValueOf(name)).String(), nil, o.extra("x-values"))
			}
		}
	}
}

func (v *validator) checkNumber(o Option, value int) {
	if len(o.Schema.Enum) > 0 {
		v.checkText(o.Key, strconv.Itoa(value), o.Schema.Enum, "")
		return
	}
	lowest, highest := o.limits()
	if value < lowest || value > highest {
		unit := o.extra("x-unit")
		v.refuse(o.Key, value, strings.TrimSpace(fmt.Sprintf("the value is from %d to %d %s", lowest, highest, unit)),
			fmt.Sprintf("set %s to a number from %d to %d", o.Key, lowest, highest))
	}
}

// limits are the lowest and highest value of a number.
func (o Option) limits() (lowest, highest int) {
	low, _ := o.Schema.Minimum.Int64()
	high, _ := o.Schema.Maximum.Int64()
	return int(low), int(high)
}

func (v *validator) checkText(key, value string, allowed []any, formatName string) {
	if len(allowed) > 0 {
		texts := make([]string, len(allowed))
		for i, a := range allowed {
			texts[i] = fmt.Sprint(a)
		}
		if !slices.Contains(texts, value) {
			v.refuse(key, value, "the value is one of "+strings.Join(texts, ", "), "write one of them")
		}
	}
	if f := formats[formatName]; formatName != "" && !f.pattern.MatchString(value) {
		v.refuse(key, value, f.rule, f.fix)
	}
}

func (v *validator) checkList(o Option, list reflect.Value) {
	count := uint64(list.Len())
	if least := o.Schema.MinItems; least != nil && count < *least {
		v.refuse(o.Key, "[]", fmt.Sprintf("the list has at least %d entry", *least), "remove the key for the default, or write an entry")
	}
	if most := o.Schema.MaxItems; most != nil && count > *most {
		v.refuse(o.Key, fmt.Sprintf("%d entries", count), fmt.Sprintf("the list has at most %d entries", *most), fmt.Sprintf("leave at most %d", *most))
	}
	seen := map[string]bool{}
	for i := range list.Len() {
		key, item := fmt.Sprintf("%s[%d]", o.Key, i), list.Index(i).String()
		v.checkText(key, item, o.Schema.Items.Enum, o.Schema.Items.Format)
		if o.Schema.UniqueItems && seen[item] {
			v.refuse(key, item, "the list names each thing once", "remove the second one")
		}
		seen[item] = true
	}
}
