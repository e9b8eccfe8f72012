// Package verify answers one question: is this worker running flows, and will the next one?
//
// It asks AWS and Prefect, the worker's log only for reasons: with Prefect 2 a worker
// logs that it has started before it has reached its API. What proves a worker is a
// heartbeat that is newer than the deployment.
//
// What runs is compared with the synthesized stack, whole, so that no option can be
// forgotten. What could not be looked at is neither right nor wrong, and is said as such.
// The worker's credential is never shown.
package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/prefect/api"
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
	// Skipped checks need one that has nothing to show.
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
	// OK says that the outcome is OK.
	OK bool `json:"ok"`
	// Error says why nothing could be checked at all. Empty if something was.
	Error string `json:"error,omitempty"`
	// Checks are in the order in which they were made.
	Checks []Check `json:"checks"`
	// Log holds the last lines of the worker's log, if no worker is online.
	Log []string `json:"log,omitempty"`
}

// NotChecked is the report when nothing could be checked.
func NotChecked(environment string, err error) Report {
	return Report{Environment: environment, Outcome: Unknown, Error: err.Error(), Checks: []Check{}}
}

// First is the first check that failed, or else the first that could not be made, and
// whether there is one: what to mend first.
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
	// the API is not asked.
	Credential string
	// Reach opens a way to the stack's own Prefect server, which only the VPC reaches, and
	// returns the address of its API and what closes the way. Nil: it is reached directly.
	Reach func(context.Context) (apiURL string, close func(), err error)
	// Flow says to run a small flow through the pool, for a proof.
	Flow bool
	// FlowTimeout is how long that flow may take. Default 5 minutes, enough for the start
	// of a task on Fargate.
	FlowTimeout time.Duration

	// only are the checks to make. Nil: all. For tests.
	only map[string]bool
}

// checklist collects the outcomes, and what one check finds for the next.
type checklist struct {
	opt    Options
	env    *config.Environment
	aws    clients
	report Report

	stack   *stackjson.Stack
	service serviceState
	client  apiState
	watch   monitoringState
	// server is what the stack's own Prefect server runs. Without a container: it is not known.
	server ecstypes.TaskDefinition
}

// finding is what a check found.
type finding struct {
	status      Status
	detail, fix string
	// blocks says that what needs this check cannot be looked at. A service in trouble does
	// not: it still has a definition and a log.
	blocks bool
}

func ok(format string, args ...any) finding {
	return finding{status: OK, detail: fmt.Sprintf(format, args...)}
}

func failed(detail, fix string) finding { return finding{status: Failed, detail: detail, fix: fix} }

func unknown(detail, fix string) finding { return finding{status: Unknown, detail: detail, fix: fix} }

func (f finding) block() finding {
	f.blocks = true
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
	checkEvents     = "events of ECS"
	checkMonitoring = "monitoring"
	checkAlarms     = "alarms"
	checkAPI        = "Prefect API"
	checkPool       = "work pool"
	checkWorker     = "worker online"
	checkRuns       = "flow runs"
	checkFlow       = "flow of the proof"
	checkLog        = "log"
)

// checks are all checks in their order, each with those whose findings it needs.
var checks = []struct {
	name  string
	needs []string
	run   func(*checklist, context.Context) finding
}{
	{checkAccount, nil, (*checklist).account},
	{checkCluster, []string{checkAccount}, (*checklist).cluster},
	{checkService, []string{checkCluster}, (*checklist).ecsService},
	{checkDefinition, []string{checkService}, (*checklist).definition},
	{checkNetwork, []string{checkService}, (*checklist).network},
	{checkServer, []string{checkCluster}, (*checklist).ownServer},
	{checkDatabase, []string{checkServer}, (*checklist).database},
	{checkSecret, []string{checkDefinition}, (*checklist).secret},
	{checkRoles, []string{checkDefinition}, (*checklist).roles},
	{checkEvents, []string{checkAccount}, (*checklist).events},
	{checkMonitoring, []string{checkAccount}, (*checklist).monitoring},
	{checkAlarms, []string{checkMonitoring}, (*checklist).alarms},
	{checkAPI, []string{checkDefinition, checkSecret}, (*checklist).apiAnswers},
	{checkPool, []string{checkAPI}, (*checklist).pool},
	{checkWorker, []string{checkPool}, (*checklist).worker},
	{checkRuns, []string{checkPool}, (*checklist).runs},
	{checkLog, []string{checkDefinition}, (*checklist).log},
	{checkFlow, []string{checkPool}, (*checklist).flow},
}

// Run goes through the checklist once. It takes a few seconds at most for each service
// that does not answer, and with Options.Flow as long as the flow.
func Run(ctx context.Context, opt Options) Report {
	c := &checklist{opt: opt, env: opt.Environment, aws: newClients(opt.AWS), client: apiState{close: func() {}}}
	c.report.Environment = opt.Environment.Name
	defer func() { c.client.close() }()
	blocked := map[string]bool{}
	for _, check := range checks {
		if !c.wanted(check.name) {
			continue
		}
		i := slices.IndexFunc(check.needs, func(need string) bool { return blocked[need] })
		if i >= 0 {
			blocked[check.name] = true
			if found, known := c.byProbe(check.name); known {
				c.add(check.name, found)
				continue
			}
			c.add(check.name, finding{status: Skipped, detail: "not checked: it needs the " + check.needs[i]})
			continue
		}
		found := check.run(c, ctx)
		blocked[check.name] = found.blocks
		c.add(check.name, found)
	}
	c.report.Outcome = OK
	if first, found := c.report.First(); found {
		c.report.Outcome = first.Status
	}
	c.report.OK = c.report.Outcome == OK
	return c.report
}

// wanted says that there is something to check.
func (c *checklist) wanted(check string) bool {
	if c.opt.only != nil && !c.opt.only[check] {
		return false
	}
	switch check {
	case checkFlow:
		return c.opt.Flow
	case checkServer, checkDatabase:
		return c.env.Server.Enabled
	case checkEvents:
		return c.env.Monitoring.Enabled || c.env.EventQueue() != ""
	case checkMonitoring, checkAlarms:
		return c.env.Monitoring.Enabled
	}
	return true
}

// Connect is a client of the Prefect API with the URL and the credential of the deployed
// worker, found as Run finds them. done ends the way to it.
func Connect(ctx context.Context, opt Options) (client *api.Client, done func(), err error) {
	c := &checklist{opt: opt, env: opt.Environment, aws: newClients(opt.AWS), client: apiState{close: func() {}}}
	for _, check := range checks {
		if !slices.Contains([]string{checkAccount, checkCluster, checkService, checkDefinition, checkSecret, checkAPI}, check.name) {
			continue
		}
		if found := check.run(c, ctx); found.blocks {
			c.client.close()
			return nil, nil, fmt.Errorf("%s: %s; %s", check.name, found.detail, found.fix)
		}
	}
	return c.client.client, c.client.close, nil
}

func (c *checklist) add(name string, f finding) {
	// What AWS, Prefect or a log line says may repeat a credential.
	c.report.Checks = append(c.report.Checks, Check{Name: name, Status: f.status, Detail: redact.Text(f.detail), Fix: f.fix})
}

// found is the outcome of a check that was made already.
func (c *checklist) found(name string) Status {
	for _, check := range c.report.Checks {
		if check.Name == name {
			return check.Status
		}
	}
	return Skipped
}

func (c *checklist) deploy() string { return "make deploy ENV=" + c.env.Name }

// deployFix is for something that is not there.
func (c *checklist) deployFix() string {
	return fmt.Sprintf("deploy it: %s; if it is deployed, are region (%s) and account right?", c.deploy(), c.opt.AWS.Region)
}

// several makes one finding of all that was found: problems are failures, and doubts what
// could not be looked at.
type several struct{ problems, doubts, problemFixes, doubtFixes []string }

func (s *several) failed(detail, fix string) {
	s.problems = append(s.problems, detail)
	if fix != "" && !slices.Contains(s.problemFixes, fix) {
		s.problemFixes = append(s.problemFixes, fix)
	}
}

func (s *several) unknown(detail, fix string) {
	if slices.Contains(s.doubts, detail) {
		return
	}
	s.doubts = append(s.doubts, detail)
	if fix != "" && !slices.Contains(s.doubtFixes, fix) {
		s.doubtFixes = append(s.doubtFixes, fix)
	}
}

// unread records what could not be read.
func (s *several) unread(what string, err error) {
	f := unread(what, err)
	s.unknown(f.detail, f.fix)
}

func (s *several) finding(well string) finding {
	switch {
	case len(s.problems) > 0:
		return failed(strings.Join(append(s.problems, s.doubts...), "\n"), strings.Join(s.problemFixes, "; "))
	case len(s.doubts) > 0:
		return unknown(strings.Join(s.doubts, "\n"), strings.Join(s.doubtFixes, "; "))
	}
	return finding{status: OK, detail: well}
}

// pause is the time between two rounds of Wait.
const pause = 3 * time.Second

// Wait repeats Run until all is well or limit is over, and returns the last report. seen,
// which may be nil, is called after each round. The flow of Options.Flow is run once, when
// all else is well.
func Wait(ctx context.Context, opt Options, limit time.Duration, seen func(Report)) Report {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	round := opt
	round.Flow = opt.Flow && limit == 0
	for {
		report := Run(ctx, round)
		if seen != nil {
			seen(report)
		}
		if report.OK && round.Flow == opt.Flow {
			return report
		}
		if report.OK {
			return Run(ctx, opt)
		}
		next := time.NewTimer(pause)
		select {
		case <-next.C:
		case <-deadline.C:
			next.Stop()
			return report
		case <-ctx.Done():
			next.Stop()
			return report
		}
	}
}
