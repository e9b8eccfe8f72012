package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"prefect-worker-ecs/internal/base/redact"
)

// Problem is one thing in the configuration that cannot work: where it is, what was
// given, the rule that it breaks and how to fix it.
type Problem struct {
	// File is the path of the YAML file.
	File string
	// Line is the line in File, from 1. 0 if the value is not in the file but a default.
	Line int
	// Key is the path of the value, such as network.vpc_cidr. Empty if the problem
	// is with the file as a whole.
	Key string
	// Value is what was given, or redact.Hidden in place of a credential.
	Value string
	// Rule says what is allowed, as a sentence without a capital and a full stop.
	Rule string
	// Fix says what to do.
	Fix string
}

// longestShown is how much of a value a message shows, in characters.
const longestShown = 200

// NewProblem makes a problem that holds no credential, whatever the user wrote: it must not
// get from the file into a log as well.
func NewProblem(file string, line int, key, value, rule, fix string) Problem {
	shown := redact.Value(key, value)
	if shown == value && strings.ContainsFunc(value, unicode.IsControl) {
		shown = strconv.Quote(value) // a terminal would obey what is in it
	}
	if runes := []rune(shown); len(runes) > longestShown {
		shown = fmt.Sprintf("%s... (%d characters)", string(runes[:longestShown]), len(runes))
	}
	if shown == redact.Hidden {
		// Rules and fixes may quote the value.
		rule, fix = strings.ReplaceAll(rule, value, redact.Hidden), strings.ReplaceAll(fix, value, redact.Hidden)
	}
	return Problem{File: file, Line: line, Key: redact.Text(key), Value: shown, Rule: redact.Text(rule), Fix: redact.Text(fix)}
}

// String renders the problem as a block of lines for a person.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Key != "" {
		fmt.Fprintf(&b, ": %s = %s", p.Key, p.Value)
	}
	fmt.Fprintf(&b, "\n    rule: %s\n    fix:  %s", p.Rule, p.Fix)
	return b.String()
}

// Problems are all that is wrong with a configuration. It is an error, so that a
// caller prints everything at once.
type Problems []Problem

// Error lists the problems in the order of files and lines.
func (ps Problems) Error() string {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	var b strings.Builder
	noun := "problems"
	if len(ps) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(&b, "%d %s in the configuration, nothing was written", len(ps), noun)
	for _, p := range ps {
		b.WriteString("\n\n")
		b.WriteString(p.String())
	}
	return b.String()
}
