package verify

import (
	"regexp"
	"strings"
)

// symptom is a line in a worker's log that says why it does not work. The messages are
// those of Prefect 2.20.25 and 3.8.3.
type symptom struct {
	pattern     *regexp.Regexp
	explanation string
	fix         string
}

var symptoms = []symptom{
	{regexp.MustCompile(`Workers are not required for (push|managed)`),
		"the work pool is a managed or push pool: Prefect runs its flows itself, and a worker ends with status 1",
		"use a process or ecs pool: on Prefect Cloud with a plan that allows hybrid pools, or on a self-hosted server"},
	{regexp.MustCompile(`Unable to start worker\. Please ensure you have the necessary dependencies`),
		"the image lacks the package for this type of pool; for an ecs pool that is prefect-aws",
		"let the program install it (remove worker.prefect_aws_included), or use an image that contains it"},
	{regexp.MustCompile(`Illegal header value`),
		"the API key has a line break or a blank in it",
		"store it again without: raise secret.version and deploy"},
	{regexp.MustCompile(`401 Unauthorized`),
		"the Prefect API refuses the key",
		"make a new API key in Prefect, give it in TF_VAR_prefect_api_key, raise secret.version and deploy"},
	{regexp.MustCompile(`403 Forbidden`),
		"the key may not do this: it lacks the role Worker in the workspace, or the plan does not allow this pool",
		"give the key's account the role Worker, and create the pool by hand; Prefect Cloud's free plan allows managed pools only"},
	{regexp.MustCompile(`404 Not Found`),
		"the Prefect API does not know the address: the URL lacks account and workspace, or they are not these",
		"correct prefect_account_id and prefect_workspace_id, or prefect_api_url"},
	{regexp.MustCompile(`Worker type mismatch`),
		"the work pool has another type than the worker",
		"set work_pool.type to the pool's type, or work_pool.name to another pool"},
	{regexp.MustCompile(`is currently paused`),
		"the work pool is paused",
		"resume it: prefect work-pool resume NAME"},
	{regexp.MustCompile(`Work pool .* not found`),
		"the work pool does not exist",
		"create it: prefect work-pool create NAME --type TYPE"},
	{regexp.MustCompile(`ConnectTimeout|ConnectError|All connection attempts failed|Name or service not known|Unable to reach the Prefect API`),
		"the worker cannot reach the Prefect API: no route, a closed port, or a wrong host",
		"check network.nat, the egress rule of the security group and prefect_api_url"},
	{regexp.MustCompile(`Service exceeded error threshold|Failed the last \d+ attempts`),
		"the worker lost the Prefect API",
		"check that the API is up and that the route to it still exists"},
	{regexp.MustCompile("`PREFECT_API_URL` must be set"),
		"the container has no PREFECT_API_URL",
		"deploy again; the program sets it"},
	{regexp.MustCompile(`SIGKILL signal\. Typically`),
		"a flow run was killed, most likely because the task ran out of memory",
		"raise worker.memory, or lower worker.concurrency_limit"},
	{regexp.MustCompile(`No matching distribution found|Could not find a version that satisfies`),
		"a package of worker.extra_pip_packages cannot be installed",
		"correct its name and version"},
	{regexp.MustCompile(`An exception occurred\.`),
		"the worker ended with an exception",
		"look at the lines before it in the log"},
}

// started is the line after which a worker runs, or seems to.
var started = regexp.MustCompile(`Worker '.*' started!`)

// lastSymptom finds why the worker does not work: the most telling line after the last
// start of one. What an earlier task logged before it was replaced by one that works
// is history. It prefers the cause to what follows from it, in the order of symptoms.
func lastSymptom(lines []string) (symptom, string, bool) {
	for _, s := range symptoms {
		for i := len(lines) - 1; i >= 0; i-- {
			if s.pattern.MatchString(lines[i]) {
				if recovered(lines[i+1:]) {
					break
				}
				return s, strings.TrimSpace(lines[i]), true
			}
		}
	}
	return symptom{}, "", false
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
	for _, line := range lines[start+1:] {
		for _, s := range symptoms {
			if s.pattern.MatchString(line) {
				return false
			}
		}
	}
	return true
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
