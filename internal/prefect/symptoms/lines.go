package symptoms

import (
	"regexp"
	"slices"
	"strings"
)

// Started matches the line after which a worker runs, or seems to.
var Started = regexp.MustCompile(`Worker '.*' started!`)

// Last returns why a worker does not work: the most telling line after the last start of one. What an
// earlier task logged before it was replaced by one that works is history. It prefers the cause to
// what follows from it, in the order of List.
func Last(lines []string) (symptom Symptom, line string, found bool) {
	for _, s := range List {
		for i := len(lines) - 1; i >= 0; i-- {
			if s.In(lines[i]) {
				if recovered(lines[i+1:]) {
					break
				}
				return s, strings.TrimSpace(lines[i]), true
			}
		}
	}
	return Symptom{}, "", false
}

// recovered reports whether a worker started in lines and did not fail after that.
func recovered(lines []string) bool {
	start := -1
	for i, line := range lines {
		if Started.MatchString(line) {
			start = i
		}
	}
	if start < 0 {
		return false
	}
	return !slices.ContainsFunc(lines[start+1:], Known)
}

// Known reports whether a line shows a known failure.
func Known(line string) bool {
	return slices.ContainsFunc(List, func(s Symptom) bool { return s.In(line) })
}

// Parts of a Python stack trace: the bar before the lines of a group of exceptions, and
// lines that say where an error passed and not what it was.
var (
	groupBar  = regexp.MustCompile(`^\s*\| `)
	traceOnly = regexp.MustCompile(`^ |^\s*\+-|Traceback \(most recent call last\)`)
)

// WithoutFrames returns the lines that a person wants to see.
func WithoutFrames(lines []string) []string {
	var kept []string
	for _, line := range lines {
		line = groupBar.ReplaceAllString(line, "")
		if line != "" && !traceOnly.MatchString(line) {
			kept = append(kept, line)
		}
	}
	return kept
}
