package symptoms

import (
	"regexp"
	"slices"
	"strings"
)

// Started matches the line after which a worker runs, or seems to.
var Started = regexp.MustCompile(`Worker '.*' started!`)

// submitted is what a worker logs of a flow run that it has started.
const submitted = "Completed submission of flow run"

// Last returns why a worker, or one of its flow runs, does not work: the most telling line after the last
// start of a worker, and of flow runs after the last that was started. What an earlier task logged before it was
// replaced by one that works is history. It prefers the cause to what follows from it, in the order of List. ecs says
// that the pool is an ecs pool.
func Last(lines []string, ecs bool) (symptom Symptom, line string, found bool) {
	for _, s := range List {
		if s.OfTasks && !ecs {
			continue
		}
		for i := len(lines) - 1; i >= 0; i-- {
			if s.In(lines[i]) {
				if recovered(lines[i+1:]) || s.OfRun && Submitted(lines[i+1:]) {
					break
				}
				return s, strings.TrimSpace(lines[i]), true
			}
		}
	}
	return Symptom{}, "", false
}

// Submitted reports whether a worker has started a flow run in lines.
func Submitted(lines []string) bool {
	return slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, submitted) })
}

// Lines of a worker's log: those of a logger begin with a time, those of a flow or task run name it, or the engine
// that ran it in its process. The loggers of Prefect 2 and 3 write them alike.
var (
	logged = regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3} \| [A-Z]+ +\| `)
	ofRun  = regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3} \| [A-Z]+ +\| ((Flow|Task) run '|prefect\.((flow|task)_)?engine )`)
)

// OfWorker returns the lines without those of flow and task runs, whose failures are no failures of the
// worker: their lines and what follows them, such as the trace of an exception, up to the worker's next.
func OfWorker(lines []string) []string {
	var kept []string
	run := false
	for _, line := range lines {
		switch {
		case ofRun.MatchString(line):
			run = true
		case logged.MatchString(line), Started.MatchString(line), strings.Contains(line, "An exception occurred."):
			run = false
		}
		if !run {
			kept = append(kept, line)
		}
	}
	return kept
}

// recovered reports whether a worker started in lines and did not fail after that.
func recovered(lines []string) bool {
	for _, line := range slices.Backward(lines) {
		if Started.MatchString(line) {
			return true
		}
		if _, known := Of(line); known {
			return false
		}
	}
	return false
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
