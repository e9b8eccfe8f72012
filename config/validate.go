package config

import (
	"fmt"
	"strings"

	"prefect-worker-ecs/config/strict"
)

// Validate reports everything in the environment that could not work. None of it calls
// AWS or Prefect: it is what their documentation fixes, and what one part of the
// configuration demands of another.
//
// The rules are in the order in which a cause comes before its consequences: of each key
// only the first problem is reported.
func (e *Environment) Validate() Problems {
	v := &validator{env: e}
	v.poolType()
	v.variables()
	v.checkShape()
	v.checkPlaintext()

	v.name()
	v.regions()
	v.arns()
	v.tags()
	v.ownNames()
	v.existingNetwork()
	v.subnets()
	v.egress()
	v.namespace()
	v.existing()
	v.statements()
	v.fargate()
	v.scaling()
	v.taskSize()
	v.policySizes()
	v.image()
	v.packages()
	v.api()
	v.authentication()
	v.secret()
	v.server()
	v.monitoring()
	v.flows()
	v.jobs()
	v.closed()
	v.backend()
	return v.problems
}

type validator struct {
	env      *Environment
	problems Problems
}

// refuse records a problem with the value at key, unless it has one already. related are
// keys that the problem also depends on: when the value is a default, the line of the first
// of them that is in the file is shown, or that of the block that the key belongs to.
func (v *validator) reject(key string, value any, rule, fix string, related ...string) {
	source := v.env.source
	for _, k := range append(related, key) {
		for ; k != ""; k = parent(k) {
			if source.Unread[k] {
				return // the value here is not the user's, and the file's problem is reported already
			}
		}
	}
	for _, p := range v.problems {
		if p.Key == key {
			return
		}
	}
	text := fmt.Sprint(value)
	line, given := source.Lines[key]
	file, isVariable := source.variables[key]
	if isVariable {
		line = 0
	} else {
		file = source.File
	}
	if !given && !isVariable {
		if text += " (the default)"; text == " (the default)" {
			text = "(not given)"
		}
		for k := parent(key); k != ""; k = parent(k) {
			related = append(related, k)
		}
		for _, other := range related {
			if line = source.Lines[other]; line > 0 {
				break
			}
		}
	}
	if file == "" {
		file = v.env.Name
	}
	v.problems = append(v.problems, strict.NewProblem(file, line, key, text, rule, fix))
}

// parent returns the key of the list or block that a key belongs to: "" for the file.
func parent(key string) string {
	return key[:max(strings.LastIndexByte(key, '['), strings.LastIndexByte(key, '.'), 0)]
}

// given reports whether the file sets the key.
func (e *Environment) given(key string) bool {
	_, given := e.source.Lines[key]
	return given
}

// rejectIgnored rejects keys that the file sets and that nothing reads.
func (v *validator) rejectIgnored(rule, fix string, keys ...string) {
	for _, o := range options() {
		for _, key := range keys {
			if o.Key == key && v.env.given(key) {
				v.reject(key, o.Value(v.env), rule, fix)
			}
		}
	}
}
