// Package symptoms lists the lines in a worker's log that say why it does not work. The alarm
// on the log and workerctl verify both look for these and for no others.
package symptoms

import (
	"fmt"
	"slices"
	"strings"
)

// Symptom is a known failure.
type Symptom struct {
	// Lines are texts of which a line has one. They are those of Prefect 2.20.25 and 3.8.3,
	// and plain text, because a filter of CloudWatch Logs has no groups and few expressions.
	Lines []string
	// Explanation says what a line means, and Fix what to do.
	Explanation, Fix string
}

// List holds the known failures, each before those that follow from it.
var List = []Symptom{
	{[]string{"Workers are not required for"},
		"the work pool is a managed or push pool: Prefect runs its flows itself, and a worker ends with status 1",
		"use a process or ecs pool: on Prefect Cloud with a plan that allows hybrid pools, or on a self-hosted server"},
	{[]string{"Unable to start worker. Please ensure you have the necessary dependencies"},
		"the image lacks the package for this type of pool; for an ecs pool that is prefect-aws",
		"let the program install it (remove worker.prefect_aws_included), or use an image that contains it"},
	{[]string{"Illegal header value"},
		"the API key has a line break or a blank in it",
		"store it again without: raise secret.version and deploy"},
	{[]string{"401 Unauthorized"},
		"the Prefect API refuses the key",
		"make a new API key in Prefect, give it in TF_VAR_prefect_api_key, raise secret.version and deploy"},
	{[]string{"403 Forbidden"},
		"the key may not do this: it lacks the role Worker in the workspace, or the plan does not allow this pool",
		"give the key's account the role Worker, and create the pool by hand; Prefect Cloud's free plan allows managed pools only"},
	{[]string{"404 Not Found"},
		"the Prefect API does not know the address: the URL lacks account and workspace, or they are not these",
		"correct prefect_account_id and prefect_workspace_id, or prefect_api_url"},
	{[]string{"Worker type mismatch"},
		"the work pool has another type than the worker",
		"set work_pool.type to the pool's type, or work_pool.name to another pool"},
	{[]string{"is currently paused"},
		"the work pool is paused",
		"resume it: prefect work-pool resume NAME"},
	{[]string{"' not found!"}, // Work pool 'NAME' not found!
		"the work pool does not exist",
		"create it: prefect work-pool create NAME --type TYPE"},
	{[]string{"ConnectTimeout", "ConnectError", "All connection attempts failed", "Name or service not known", "Unable to reach the Prefect API"},
		"the worker cannot reach the Prefect API: no route, a closed port, or a wrong host",
		"check network.nat, the egress rule of the security group and prefect_api_url"},
	{[]string{"Service exceeded error threshold", "Failed the last "},
		"the worker lost the Prefect API",
		"check that the API is up and that the route to it still exists"},
	{[]string{"`PREFECT_API_URL` must be set"},
		"the container has no PREFECT_API_URL",
		"deploy again; the program sets it"},
	{[]string{"SIGKILL signal. Typically"},
		"a flow run was killed, most likely because the task ran out of memory",
		"raise worker.memory, or lower worker.concurrency_limit"},
	{[]string{"No matching distribution found", "Could not find a version that satisfies"},
		"a package of worker.extra_pip_packages cannot be installed",
		"correct its name and version"},
	{[]string{"An exception occurred."},
		"the worker ended with an exception",
		"look at the lines before it in the log"},
}

// In says that a line of the log shows the failure.
func (s Symptom) In(line string) bool {
	return slices.ContainsFunc(s.Lines, func(text string) bool { return strings.Contains(line, text) })
}

// FilterPattern selects in CloudWatch Logs the lines that show a failure of List ("Filter
// pattern syntax": a question mark before each phrase means any of them).
func FilterPattern() string {
	var phrases []string
	for _, s := range List {
		for _, text := range s.Lines {
			phrases = append(phrases, fmt.Sprintf(`?"%s"`, text))
		}
	}
	return strings.Join(phrases, " ")
}
