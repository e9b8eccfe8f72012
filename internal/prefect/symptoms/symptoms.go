// Package symptoms lists the lines in a worker's log that say why it does not work, for the alarm on the
// log, workerctl verify and workerctl status.
package symptoms

import (
	"fmt"
	"slices"
	"strings"
)

// Symptom is a known failure.
type Symptom struct {
	// Lines are texts of which a line has one. They are those of Prefect 2.20.25 and 3.9.1,
	// and plain text, because a filter of CloudWatch Logs has no groups and few expressions.
	Lines []string
	// Explanation says what a line means, and Fix what to do.
	Explanation, Fix string
	// Except is a text with which a line is none: verify and status pass over it.
	Except string
	// OfRun says that it is the submission of a flow run that fails, and that the worker goes on.
	OfRun bool
	// OfTasks says that only the worker of an ecs pool has it: flows in the process of a worker write such lines too,
	// and without the name of the flow run if they print them.
	OfTasks bool
	// Alarm says that the alarm on the log looks for the lines: no flow writes them. What a flow may write too, such
	// as a vendor's 401, is left out: a filter of CloudWatch Logs takes each line for itself, and cannot leave out
	// the trace of a flow's exception. A worker that ends for such a reason writes "An exception occurred." as well.
	Alarm bool
}

// List holds the known failures, each before those that follow from it.
var List = []Symptom{
	{Lines: []string{"Workers are not required for"}, Alarm: true,
		Explanation: "the work pool is a managed or push pool: Prefect runs its flows itself, and a worker ends with status 1",
		Fix:         "use a process or ecs pool: on Prefect Cloud with a plan that allows hybrid pools, or on a self-hosted server"},
	{Lines: []string{"Unable to start worker. Please ensure you have the necessary dependencies"}, Alarm: true,
		Explanation: "the image lacks the package for this type of pool; for an ecs pool that is prefect-aws",
		Fix:         "let the program install it (remove worker.prefect_aws_included), or use an image that contains it"},
	{Lines: []string{"CERTIFICATE_VERIFY_FAILED"},
		Explanation: "the worker does not trust the certificate of the Prefect API",
		Fix:         "put the CA's certificate into an image of your own (worker.image), and its path into PREFECT_API_SSL_CERT_FILE and SSL_CERT_FILE of worker.environment"},
	{Lines: []string{"is not authorized to perform: "}, OfRun: true, OfTasks: true,
		Explanation: "AWS denies a call to the worker's task role, or to the role of flow tasks",
		Fix:         "look at the check of the roles above; deploy again, or remove what denies the call"},
	{Lines: []string{"Illegal header value"},
		Explanation: "the API key has a line break or a space in it",
		Fix:         "store it again without: raise secret.version and deploy"},
	{Lines: []string{"401 Unauthorized"},
		Explanation: "the Prefect API rejects the key",
		Fix:         "make a new API key in Prefect, give it in TF_VAR_prefect_api_key, raise secret.version and deploy"},
	{Lines: []string{"403 Forbidden"},
		Explanation: "the key may not do this: it lacks the role Worker in the workspace, or the plan does not allow this pool",
		Fix:         "give the key's account the role Worker, and create the pool by hand; Prefect Cloud's free plan allows managed pools only"},
	{Lines: []string{"405 Method Not Allowed"},
		Explanation: "the Prefect API does not take a request of the worker: its URL redirects, as http to https, or the server is older than the worker",
		Fix:         "correct prefect_api_url, or bring the server to the worker's release"},
	{Lines: []string{"404 Not Found"}, Except: "/flow_runs/", // a flow run that was deleted
		Explanation: "the Prefect API has no such address: the URL lacks account and workspace, or they are not these",
		Fix:         "correct prefect_account_id and prefect_workspace_id, or prefect_api_url"},
	{Lines: []string{"Worker type mismatch"}, Alarm: true,
		Explanation: "the work pool has another type than the worker",
		Fix:         "set work_pool.type to the pool's type, or work_pool.name to another pool"},
	{Lines: []string{"is currently paused"},
		Explanation: "the work pool is paused",
		Fix:         "resume it: prefect work-pool resume NAME"},
	{Lines: []string{"' not found!"}, // Work pool 'NAME' not found!
		Explanation: "the work pool does not exist",
		Fix:         "create it: prefect work-pool create NAME --type TYPE"},
	{Lines: []string{"ConnectTimeout", "ConnectError", "All connection attempts failed", "Name or service not known"},
		Explanation: "the worker cannot reach the Prefect API: no route, a closed port, or a wrong host",
		Fix:         "check network.nat, the egress rule of the security group and prefect_api_url"},
	{Lines: []string{"Service exceeded error threshold", "Failed the last ", "Unable to reach the Prefect API"}, Alarm: true,
		Explanation: "the worker does not reach the Prefect API, or no longer",
		Fix:         "check that the API is up and that the route to it still exists"},
	{Lines: []string{"`PREFECT_API_URL` must be set"}, Alarm: true,
		Explanation: "the container has no PREFECT_API_URL",
		Fix:         "deploy again; the program sets it"},
	{Lines: []string{"SIGKILL signal. Typically"}, Alarm: true,
		Explanation: "a flow run was ended by SIGKILL: the task ran out of memory, or it was cancelled, or its own code did it",
		Fix:         "if the memory of the task was near its limit: raise worker.memory, or lower worker.concurrency_limit"},
	{Lines: []string{"No matching distribution found", "Could not find a version that satisfies"},
		Explanation: "a package of worker.extra_pip_packages cannot be installed",
		Fix:         "correct its name and version"},
	{Lines: []string{"task protection: "}, Alarm: true,
		Explanation: "the worker's task cannot be protected, so that a scale-in or a deployment may stop its flow runs",
		Fix:         "look at the reason in the line; the task role needs ecs:UpdateTaskProtection, and ECS protects no more tasks than are wanted"},
	{Lines: []string{"Failed to submit flow run"}, OfRun: true,
		Explanation: "a flow run could not be started: the work pool's template or the deployment's job variables do not work, or AWS refused",
		Fix:         "workerctl pool apply; look at the lines after it in the log (workerctl logs)"},
	{Lines: []string{"An exception occurred."}, Alarm: true,
		Explanation: "the worker ended with an exception",
		Fix:         "look at the lines before it in the log"},
}

// Of returns the known failure that a line shows, if any.
func Of(line string) (Symptom, bool) {
	i := slices.IndexFunc(List, func(s Symptom) bool { return s.In(line) })
	if i < 0 {
		return Symptom{}, false
	}
	return List[i], true
}

// In reports whether a line of the log shows the failure.
func (s Symptom) In(line string) bool {
	return (s.Except == "" || !strings.Contains(line, s.Except)) && slices.ContainsFunc(s.Lines, func(text string) bool { return strings.Contains(line, text) })
}

// FilterPattern returns what selects in CloudWatch Logs the lines for the alarm ("Filter pattern syntax": a
// question mark before each phrase means any of them, and a phrase to leave out makes it ignore those).
func FilterPattern() string {
	var phrases []string
	for _, s := range List {
		if !s.Alarm {
			continue
		}
		for _, text := range s.Lines {
			phrases = append(phrases, fmt.Sprintf(`?"%s"`, text))
		}
	}
	return strings.Join(phrases, " ")
}
