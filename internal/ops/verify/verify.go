// Package verify answers one question: is this worker running flows, and will the next one?
//
// Whether what runs is as configured is Terraform's to say: one check is its plan. All others rest
// on evidence that no plan has: heartbeats, tasks, flow runs, the permissions that are in effect.
// With Prefect 2 a worker logs that it has started before it has reached its API, so that the log
// gives reasons and proves nothing.
//
// What could not be read is neither right nor wrong, and is reported as such. The worker's
// credential is never shown.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	tfjson "github.com/hashicorp/terraform-json"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/metrics"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

// Status is the outcome of a check, and of all of them.
type Status string

// The outcomes.
const (
	OK     Status = "ok"
	Failed Status = "failed"
	// Unknown: it could not be checked.
	Unknown Status = "unknown"
	// Skipped: a check that it needs failed.
	Skipped Status = "skipped"
)

// Check is one line of the checklist.
type Check struct {
	// Name says what is checked.
	Name string `json:"name"`
	// Status is the outcome.
	Status Status `json:"status"`
	// Detail is what was found.
	Detail string `json:"detail"`
	// Fix says what to do. Empty if nothing is.
	Fix string `json:"fix,omitempty"`
}

// Report is the whole checklist.
type Report struct {
	// Environment is the name of the environment.
	Environment string `json:"environment"`
	// Outcome is Failed if a check failed, otherwise Unknown if one could not be made,
	// otherwise OK: the worker runs flows, as configured.
	Outcome Status `json:"outcome"`
	// OK reports whether the outcome is OK.
	OK bool `json:"ok"`
	// Error says why nothing could be checked at all. Empty if something was.
	Error string `json:"error,omitempty"`
	// Checks are in the order in which a failure explains those after it.
	Checks []Check `json:"checks"`
	// Log holds the last lines of the worker's log, if no worker is online.
	Log []string `json:"log,omitempty"`
}

// NotChecked returns the report when nothing could be checked.
func NotChecked(environment string, err error) Report {
	return Report{Environment: environment, Outcome: Unknown, Error: redact.Text(err.Error()), Checks: []Check{}}
}

// First returns the check to fix first, the first that failed or else the first that could not
// be made, and whether there is one.
func (r Report) First() (Check, bool) {
	for _, status := range []Status{Failed, Unknown} {
		if i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Status == status }); i >= 0 {
			return r.Checks[i], true
		}
	}
	return Check{}, false
}

// Options says what to verify.
type Options struct {
	// Environment is the configuration of the deployment.
	Environment *config.Environment
	// Stack is the Terraform JSON that the program writes for the environment.
	Stack []byte
	// Variables are the values of Terraform variables that deploy was given, such as
	// prefect_account_id.
	Variables map[string]string
	// AWS is where it was deployed: credentials, region, endpoint.
	AWS aws.Config
	// Credential is used for the Prefect API where the secret may not be read. Empty: then
	// the API is not checked.
	Credential string
	// Reach opens a connection to the in-stack Prefect server, which only the VPC reaches, and
	// returns the address of its API and what closes the connection. Nil: it is reached directly.
	Reach func(context.Context) (apiURL string, close func(), err error)
	// Plan returns Terraform's plan over the state of the deployment. Nil: whether the deployment is
	// as configured is not checked.
	Plan func(context.Context) (*tfjson.Plan, error)
	// Flow says to run a small flow through the pool, as a smoke test.
	Flow bool

	// only are the checks to make. Nil: all.
	only []string
}

// Evidence is what the checks read of a deployment. What could not be read is empty.
type Evidence struct {
	// Service is the worker's service, and Deployment its current one.
	Service    types.Service
	Deployment types.Deployment
	// Tasks are the ids of the running tasks of the current deployment, and TasksErr says why they
	// could not be listed.
	Tasks    []string
	TasksErr error
	// Finishing are the ids of the running tasks of earlier deployments, whose flow runs are protected.
	Finishing []string
	// Definition is the task definition of the service, and Container the worker's in it.
	Definition types.TaskDefinition
	Container  types.ContainerDefinition
	// API is a client of the Prefect API with the URL and the credential of the worker.
	API *api.Client
	// Pool is the work pool, and Queues are those that the worker serves.
	Pool   api.WorkPool
	Queues []api.WorkQueue

	credential string // the worker's
}

// IsCurrent reports whether a worker runs in a task of the current deployment, of which it has the id in its name.
func (e *Evidence) IsCurrent(env *config.Environment, worker string) bool {
	task, own := strings.CutPrefix(worker, env.Worker.ServiceName+"-")
	return own && slices.Contains(e.Tasks, task)
}

// Variable returns the value of an environment variable of the worker's container, empty if it has none.
func (e *Evidence) Variable(name string) string {
	for _, v := range e.Container.Environment {
		if aws.ToString(v.Name) == name {
			return aws.ToString(v.Value)
		}
	}
	return ""
}

// checklist makes the checks. A check writes fields that only checks after it read.
type checklist struct {
	Evidence
	opt   Options
	env   *config.Environment
	aws   clients
	stack *stackjson.Stack

	answered bool   // the Prefect API is there, whatever it says
	closeAPI func() // closes the connection to it
	online   bool   // a worker of this service is
	log      []string
	// metrics are the last that the probe published. Without values: none, or none lately.
	metrics metrics.Last
	// server is what the in-stack Prefect server runs. Without a container: it is not known.
	server types.TaskDefinition

	// outcomes make each check once, and return its finding.
	outcomes map[string]func() finding
}

// finding is what a check found.
type finding struct {
	status      Status
	detail, fix string
	// prerequisiteFailed says that checks which need this one cannot be made. A service in trouble
	// still has a definition and a log.
	prerequisiteFailed bool
}

func ok(format string, args ...any) finding {
	return finding{status: OK, detail: fmt.Sprintf(format, args...)}
}

func failed(detail, fix string) finding { return finding{status: Failed, detail: detail, fix: fix} }

func unknown(detail, fix string) finding { return finding{status: Unknown, detail: detail, fix: fix} }

// prerequisite returns the finding as one without which dependent checks are skipped.
func (f finding) prerequisite() finding {
	f.prerequisiteFailed = true
	return f
}

// Names of the checks.
const (
	checkAccount    = "AWS account"
	checkCluster    = "ECS cluster"
	checkService    = "ECS service"
	checkDefinition = "task definition"
	checkNetwork    = "network"
	checkServer     = "Prefect server"
	checkDatabase   = "database"
	checkSecret     = "credential in Secrets Manager"
	checkRoles      = "roles of the next task"
	checkAlarms     = "alarms"
	checkScaling    = "scaling"
	checkAPI        = "Prefect API"
	checkPool       = "work pool"
	checkWorker     = "worker online"
	checkRuns       = "flow runs"
	checkLog        = "log"
	checkConfigured = "as configured"
	checkFlow       = "smoke test"
)

// Timeout is how long a check may take. The longest chain of checks that need each other and go
// on without an answer has two, so that a whole run ends within 15 s.
const Timeout = 7 * time.Second

// checks are all checks, in the order of the report: each after those whose findings it needs.
var checks = []struct {
	name  string
	needs []string
	run   func(*checklist, context.Context) finding
	// limit is how long it may take. 0: it limits itself.
	limit time.Duration
}{
	{checkAccount, nil, (*checklist).account, Timeout},
	{checkCluster, []string{checkAccount}, (*checklist).cluster, Timeout},
	{checkService, []string{checkCluster}, (*checklist).workerService, Timeout},
	{checkDefinition, []string{checkService}, (*checklist).definition, Timeout},
	{checkNetwork, []string{checkService}, (*checklist).network, Timeout},
	{checkServer, []string{checkCluster}, (*checklist).ownServer, Timeout},
	{checkDatabase, []string{checkAccount}, (*checklist).database, Timeout},
	{checkSecret, []string{checkDefinition}, (*checklist).secret, Timeout},
	{checkRoles, []string{checkDefinition}, (*checklist).roles, Timeout},
	{checkAlarms, []string{checkAccount}, (*checklist).alarms, Timeout},
	{checkScaling, []string{checkService}, (*checklist).scaling, Timeout},
	{checkAPI, []string{checkDefinition, checkSecret}, (*checklist).apiAnswers, 0},
	{checkPool, []string{checkAPI}, (*checklist).pool, Timeout},
	{checkWorker, []string{checkPool}, (*checklist).worker, Timeout},
	{checkRuns, []string{checkPool}, (*checklist).runs, Timeout},
	{checkLog, []string{checkDefinition}, (*checklist).readLog, Timeout},
	{checkConfigured, []string{checkAccount}, (*checklist).configured, 5 * time.Minute},
	{checkFlow, []string{checkPool}, (*checklist).flow, 0},
}

// Run makes all checks once, those side by side that do not need each other. It takes at most 15 s,
// and as long as Options.Plan and the flow of Options.Flow.
func Run(ctx context.Context, opt Options) Report {
	c := newChecklist(opt)
	defer func() { c.closeAPI() }()
	return c.run(ctx)
}

// Read makes only the checks that find the worker, its Prefect API and its work pool, and returns
// what they read. done closes the connection to the API.
func Read(ctx context.Context, opt Options) (evidence Evidence, report Report, done func()) {
	opt.only = []string{checkAccount, checkCluster, checkService, checkDefinition, checkSecret, checkAPI, checkPool}
	c := newChecklist(opt)
	report = c.run(ctx)
	return c.Evidence, report, c.closeAPI
}

// Connect returns a client of the Prefect API with the URL and the credential of the deployed
// worker. done closes the connection.
func Connect(ctx context.Context, opt Options) (client *api.Client, done func(), err error) {
	c, err := connect(ctx, opt)
	return c.API, c.closeAPI, err
}

// connect makes the checks that find the worker and its Prefect API.
func connect(ctx context.Context, opt Options) (*checklist, error) {
	opt.only = []string{checkAccount, checkCluster, checkService, checkDefinition, checkSecret, checkAPI}
	c := newChecklist(opt)
	for _, check := range c.run(ctx).Checks {
		if c.await(check.Name).prerequisiteFailed {
			c.closeAPI()
			return c, fmt.Errorf("%s: %s; %s", check.Name, check.Detail, check.Fix)
		}
	}
	return c, nil
}

func newChecklist(opt Options) *checklist {
	return &checklist{opt: opt, env: opt.Environment, aws: newClients(opt.AWS), closeAPI: func() {}, outcomes: map[string]func() finding{}}
}

// run makes the checks that there is something for.
func (c *checklist) run(ctx context.Context) Report {
	for i, check := range checks {
		if c.applies(check.name) {
			c.outcomes[check.name] = sync.OnceValue(func() finding { return c.check(ctx, i) })
		}
	}
	var running sync.WaitGroup
	for name := range c.outcomes {
		running.Go(func() { c.await(name) })
	}
	running.Wait()
	report := Report{Environment: c.env.Name, Outcome: OK, Checks: []Check{}}
	for _, check := range checks {
		if c.outcomes[check.name] == nil {
			continue
		}
		f := c.await(check.name)
		report.Checks = append(report.Checks, Check{Name: check.name, Status: f.status, Detail: c.Hide(f.detail), Fix: f.fix})
	}
	for _, line := range c.log {
		report.Log = append(report.Log, c.Hide(line))
	}
	if first, found := report.First(); found {
		report.Outcome = first.Status
	}
	report.OK = report.Outcome == OK
	return report
}

// Hide returns a text without what looks like a credential, and without the worker's, whatever it looks like: what
// AWS, Prefect, Terraform or a log line says may repeat it.
func (e *Evidence) Hide(text string) string {
	secrets := []string{e.credential}
	if _, password, basic := strings.Cut(e.credential, ":"); basic {
		secrets = append(secrets, password)
	}
	return redact.Text(redact.Known(text, secrets...))
}

// check makes one of the checks, after those that it needs.
func (c *checklist) check(ctx context.Context, i int) finding {
	check := checks[i]
	for _, need := range check.needs {
		if !c.await(need).prerequisiteFailed {
			continue
		}
		if found, known := c.byProbe(check.name); known {
			return found.prerequisite()
		}
		return finding{status: Skipped, detail: "not checked: it needs the " + need}.prerequisite()
	}
	if check.limit > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, check.limit)
		defer cancel()
	}
	return check.run(c, ctx)
}

// await returns the finding of a check, once it is made. That of a check that is not made is empty.
func (c *checklist) await(name string) finding {
	if made := c.outcomes[name]; made != nil {
		return made()
	}
	return finding{}
}

// applies reports whether there is something to check.
func (c *checklist) applies(check string) bool {
	if c.opt.only != nil && !slices.Contains(c.opt.only, check) {
		return false
	}
	switch check {
	case checkConfigured:
		return c.opt.Plan != nil
	case checkFlow:
		return c.opt.Flow
	case checkServer, checkDatabase:
		return c.env.Server.Enabled
	case checkAlarms:
		return c.env.Monitoring.Enabled
	case checkScaling:
		return c.env.Worker.Scales()
	}
	return true
}

func (c *checklist) deploy() string { return "make deploy ENV=" + c.env.Name }

// deployFix returns the fix for something that is not there.
func (c *checklist) deployFix() string {
	return fmt.Sprintf("deploy it: %s; if it is deployed, are region (%s) and account right?", c.deploy(), c.opt.AWS.Region)
}

// findings are the failures of the parts of a check, and what could not be read for it.
type findings []finding

func (f *findings) failed(detail, fix string) { f.add(failed(detail, fix)) }

func (f *findings) unknown(detail, fix string) { f.add(unknown(detail, fix)) }

// unreadable records what could not be read.
func (f *findings) unreadable(what string, err error) { f.add(unreadable(what, err)) }

// add records the finding of a part. One that is OK adds nothing, and neither does what could not be read
// for another part either.
func (f *findings) add(part finding) {
	if part.status == Failed || part.status == Unknown && !slices.Contains(*f, part) {
		*f = append(*f, part)
	}
}

// decided records a decision of policies that is not to allow: "whether <whether> could not be judged", or denied.
func (f *findings) decided(result iam.Result, whether, denied, fix string) {
	switch result.Decision {
	case iam.Allowed:
	case iam.Unknown:
		f.unknown(fmt.Sprintf("whether %s could not be judged: %s in the statement %s", whether, result.Reason, result.Statement), "look at that statement")
	case iam.ExplicitlyDenied:
		f.failed(fmt.Sprintf("%s (denied by the statement %s)", denied, result.Statement), "remove the Deny, or "+fix)
	default:
		f.failed(denied, fix)
	}
}

// policy parses a policy, of which noun says whose it is.
func (f *findings) policy(text, noun string) ([]iam.Document, bool) {
	document, err := iam.Parse(text)
	if err != nil {
		f.unknown(fmt.Sprintf("%s: %v", noun, err), "look at it in AWS")
		return nil, false
	}
	return []iam.Document{document}, true
}

// sideBySide records what functions that do not need each other find, in their order.
func (f *findings) sideBySide(parts ...func(*findings)) {
	found := make([]findings, len(parts))
	var running sync.WaitGroup
	for i, part := range parts {
		running.Go(func() { part(&found[i]) })
	}
	running.Wait()
	for _, part := range slices.Concat(found...) {
		f.add(part)
	}
}

// of returns the details and the fixes of the findings with a status, each fix once.
func (f findings) of(status Status) (details, fixes []string) {
	for _, part := range f {
		if part.status != status {
			continue
		}
		details = append(details, part.detail)
		if part.fix != "" && !slices.Contains(fixes, part.fix) {
			fixes = append(fixes, part.fix)
		}
	}
	return details, fixes
}

// finding returns what was found as one: a failure if there is one, or else what could not be read,
// or else that all is well.
func (f findings) finding(well string) finding {
	failures, failureFixes := f.of(Failed)
	unknowns, unknownFixes := f.of(Unknown)
	switch {
	case len(failures) > 0:
		return failed(strings.Join(append(failures, unknowns...), "\n"), strings.Join(failureFixes, "; "))
	case len(unknowns) > 0:
		return unknown(strings.Join(unknowns, "\n"), strings.Join(unknownFixes, "; "))
	}
	return finding{status: OK, detail: well}
}

// pause is the time between two rounds of Wait.
const pause = 3 * time.Second

// Wait repeats Run until all is well or limit is over, and returns the last report. seen, which may
// be nil, is called after each round. The plan of Options.Plan is made once, at the end, and the flow
// of Options.Flow is run once, when all else is well.
func Wait(ctx context.Context, opt Options, limit time.Duration, seen func(Report)) Report {
	if limit <= 0 {
		return Run(ctx, opt)
	}
	round := opt
	round.Plan, round.Flow = nil, false
	var report Report
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// Its error says that the time is over, which the report shows.
	_ = poll.Until(waiting, pause, func() (bool, error) {
		report = Run(ctx, round)
		if seen != nil {
			seen(report)
		}
		return report.OK, nil
	})
	opt.Flow = opt.Flow && report.OK
	if opt.Plan == nil && !opt.Flow || errors.Is(ctx.Err(), context.Canceled) {
		return report
	}
	return Run(ctx, opt)
}
