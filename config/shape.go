package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"prefect-worker-ecs/config/strict"
	"prefect-worker-ecs/internal/base/redact"
)

// checkShape refuses each value that breaks what stands beside its field.
func (v *validator) checkShape() {
	for _, o := range options() {
		v.checkValue(o, o.in(v.env))
	}
}

func (v *validator) checkValue(o Option, value reflect.Value) {
	switch value.Kind() {
	case reflect.Int:
		v.checkNumber(o, int(value.Int()))
	case reflect.String:
		// Empty is "not given" for what has no default, or one that is not always made.
		if value.String() != "" || o.required || o.Schema.Default != nil && !o.derived() {
			v.checkText(o.Key, value.String(), o.Schema.Enum, o.Schema.Format)
		}
	case reflect.Slice:
		v.checkList(o, value)
	case reflect.Map:
		texts, _ := value.Interface().(map[string]string) // conditions of a statement are looked at with it
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			v.checkText(strict.Join(o.Key, name), name, nil, o.extra("x-names"))
			v.checkText(strict.Join(o.Key, name), value.MapIndex(reflect.ValueOf(name)).String(), nil, o.extra("x-values"))
		}
	}
}

func (v *validator) checkNumber(o Option, value int) {
	if len(o.Schema.Enum) > 0 {
		v.checkText(o.Key, strconv.Itoa(value), o.Schema.Enum, "")
		return
	}
	if value == 0 && !v.env.given(o.Key) && o.Schema.Default == nil && !o.required {
		return // what it then is, AWS decides
	}
	lowest, highest := o.limits()
	if value < lowest || value > highest {
		unit := o.extra("x-unit")
		v.reject(o.Key, value, strings.TrimSpace(fmt.Sprintf("the value is from %d to %d %s", lowest, highest, unit)),
			fmt.Sprintf("set %s to a number from %d to %d", o.Key, lowest, highest))
	}
}

func (v *validator) checkText(key, value string, allowed []any, formatName string) {
	if len(allowed) > 0 {
		texts := make([]string, len(allowed))
		for i, a := range allowed {
			texts[i] = fmt.Sprint(a)
		}
		if !slices.Contains(texts, value) {
			v.reject(key, value, "the value is one of "+strings.Join(texts, ", "), "write one of them")
		}
	}
	if f := formats[formatName]; formatName != "" && !f.accepts(value) {
		v.reject(key, value, f.rule, f.fix)
	}
}

func (v *validator) checkList(o Option, list reflect.Value) {
	count := uint64(list.Len())
	if least := o.Schema.MinItems; least != nil && count < *least && (o.required || !list.IsNil()) {
		fix := "write an entry, or remove the key for the default"
		if o.required {
			fix = fmt.Sprintf("write for example [%q]", formats[o.Schema.Items.Format].example)
		}
		v.reject(o.Key, "[]", fmt.Sprintf("the list has at least %d entry", *least), fix)
	}
	if most := o.Schema.MaxItems; most != nil && count > *most {
		v.reject(o.Key, fmt.Sprintf("%d entries", count), fmt.Sprintf("the list has at most %d entries", *most), fmt.Sprintf("leave at most %d", *most))
	}
	if fields := o.Fields(); fields != nil {
		for i := range list.Len() {
			for _, field := range fields {
				field.Key = strings.Replace(field.Key, "[]", fmt.Sprintf("[%d]", i), 1)
				v.checkValue(field, list.Index(i).FieldByIndex(field.field))
			}
			v.checkOneOf(o, i, list.Index(i))
		}
		return
	}
	seen := map[string]bool{}
	for i := range list.Len() {
		key, item := fmt.Sprintf("%s[%d]", o.Key, i), list.Index(i).String()
		v.checkText(key, item, o.Schema.Items.Enum, o.Schema.Items.Format)
		if o.Schema.UniqueItems && seen[item] {
			v.reject(key, item, "the list names each thing once", "remove the second one")
		}
		seen[item] = true
	}
}

// checkOneOf rejects an entry of a list that has none or several of the keys of which it has just one.
func (v *validator) checkOneOf(o Option, i int, entry reflect.Value) {
	names, given := strings.Fields(o.extra("x-one-of")), 0
	for f, value := range entry.Fields() {
		if slices.Contains(names, f.Tag.Get("yaml")) && !value.IsZero() {
			given++
		}
	}
	if len(names) > 0 && given != 1 {
		v.reject(fmt.Sprintf("%s[%d]", o.Key, i), fmt.Sprintf("%d of %s", given, strings.Join(names, ", ")), "an entry has just one of them", "write one, and an entry of its own for each further one")
	}
}

// checkPlaintext refuses what must not be in plaintext in any option.
func (v *validator) checkPlaintext() {
	for _, o := range options() {
		eachText(o.Key, o.in(v.env), v.clearText)
	}
}

// eachText calls visit with each text in the value of an option, and its key.
func eachText(key string, value reflect.Value, visit func(key, text string)) {
	switch value.Kind() {
	case reflect.String:
		visit(key, value.String())
	case reflect.Slice:
		for i := range value.Len() {
			eachText(fmt.Sprintf("%s[%d]", key, i), value.Index(i), visit)
		}
	case reflect.Map:
		names := value.MapKeys()
		slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, name := range names {
			eachText(strict.Join(key, name.String()), value.MapIndex(name), visit)
		}
	case reflect.Struct:
		for f := range value.Type().Fields() {
			eachText(strict.Join(key, f.Tag.Get("yaml")), value.FieldByIndex(f.Index), visit)
		}
	}
}

func (v *validator) clearText(key, value string) {
	if redact.Credential(value) {
		v.reject(key, value, "the value looks like a credential, and all options stand in plaintext in the file and in Terraform's",
			"remove it, and replace the credential if others may have seen it; the worker gets secrets from Secrets Manager, see worker.secrets")
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
		v.reject(key, value, "the value has no control characters: neither AWS nor Terraform takes them", "remove them")
	}
}
