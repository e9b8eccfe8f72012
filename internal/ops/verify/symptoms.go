package verify

import (
	"regexp"
	"slices"
	"strings"

	"prefect-worker-ecs/internal/prefect/symptoms"
)

// started is the line after which a worker runs, or seems to.
var started = regexp.MustCompile(`Worker '.*' started!`)

// lastSymptom finds why the worker does not work: the most telling line after the last
// start of one. What an earlier task logged before it was replaced by one that works
// is history. It prefers the cause to what follows from it, in the order of symptoms.List.
func lastSymptom(lines []string) (symptoms.Symptom, string, bool) {
	for _, s := range symptoms.List {
		for i := len(lines) - 1; i >= 0; i-- {
			if s.In(lines[i]) {
				if recovered(lines[i+1:]) {
					break
				}
				return s, strings.TrimSpace(lines[i]), true
			}
		}
	}
	return symptoms.Symptom{}, "", false
}

// recovered tells whether a worker started in lines and did not fail after that.
func recovered(lines []string) bool {
	start := -1
	for i, line := range lines {
		if started.MatchString(line) {
			start = i
		}
	}
	if start < 0 {
		return false
	}
	return !slices.ContainsFunc(lines[start+1:], isSymptom)
}

// isSymptom says that a line shows a known failure.
func isSymptom(line string) bool {
	return slices.ContainsFunc(symptoms.List, func(s symptoms.Symptom) bool { return s.In(line) })
}

// Parts of a Python stack trace: the bar before the lines of a group of exceptions, and
// lines that say where an error passed and not what it was.
var (
	groupBar  = regexp.MustCompile(`^\s*\| `)
	traceOnly = regexp.MustCompile(`^ |^\s*\+-|Traceback \(most recent call last\)`)
)

// withoutFrames leaves the lines that a person wants to see.
func withoutFrames(lines []string) []string {
	var kept []string
	for _, line := range lines {
		line = groupBar.ReplaceAllString(line, "")
		if line != "" && !traceOnly.MatchString(line) {
			kept = append(kept, line)
		}
	}
	return kept
}
