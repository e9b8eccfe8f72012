// Package verify answers one question: is this worker running flows?
//
// It asks AWS and Prefect, the worker's log only for reasons: with Prefect 2 a worker
// logs that it has started before it has reached its API. What proves a worker is a
// heartbeat that is newer than the deployment.
//
// It works against AWS and against the emulator, reads all that it expects from the same
// configuration as the stack, and never shows the API key.
package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"prefect-worker-ecs/config"
)

// Status is the outcome of a check.
type Status string

// The outcomes.
const (
	OK     Status = "ok"
	Failed Status = "failed"
	// Skipped checks need one that failed.
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
	// Fix says what to do. Empty unless the check failed.
	Fix string `json:"fix,omitempty"`
}

// Report is the whole checklist.
type Report struct {
	// Environment is the name of the environment.
	Environment string `json:"environment"`
	// OK says that all is well: the worker runs flows.
	OK bool `json:"ok"`
	// Checks are in the order in which they were made.
	Checks []Check `json:"checks"`
	// Log holds the last lines of the worker's log, if no worker is online.
	Log []string `json:"log,omitempty"`
}

// FirstFailure is the first failed check, and whether there is one.
func (r Report) FirstFailure() (Check, bool) {
	for _, check := range r.Checks {
		if check.Status == Failed {
			return check, true
		}
	}
	return Check{}, false
}

// Options says what to verify.
type Options struct {
	// Environment is the configuration of the deployment.
	Environment *config.Environment
	// AWS is where it was deployed: credentials, region, endpoint.
	AWS aws.Config
}

// checklist collects the outcomes. Each method of it returns whether what depends on the
// check can be looked at.
type checklist struct {
	env    *config.Environment
	aws    clients
	report Report

	service serviceState
	api     apiState
}

// Run goes through the checklist once. It takes a few seconds at most for each service
// that does not answer.
func Run(ctx context.Context, opt Options) Report {
	c := &checklist{env: opt.Environment, aws: newClients(opt.AWS)}
	c.report.Environment = opt.Environment.Name
	c.run(ctx)
	_, failed := c.report.FirstFailure()
	c.report.OK = !failed
	return c.report
}

// Names of the checks.
const (
	checkAccount    = "AWS account"
	checkCluster    = "ECS cluster"
	checkService    = "ECS service"
	checkDefinition = "task definition"
	checkSecret     = "API key in Secrets Manager"
	checkPolicy     = "permission to read the key"
	checkAPI        = "Prefect API"
	checkPool       = "work pool"
	checkWorker     = "worker online"
	checkLog        = "log"
)

func (c *checklist) run(ctx context.Context) {
	if !c.account(ctx) {
		c.skip("AWS cannot be asked", checkCluster, checkService, checkDefinition, checkSecret, checkPolicy, checkAPI, checkPool, checkWorker, checkLog)
		return
	}
	if !c.cluster(ctx) || !c.serviceFound(ctx) {
		if len(c.report.Checks) < 3 {
			c.skip("there is no cluster", checkService)
		}
		c.skip("there is no service", checkDefinition, checkSecret, checkPolicy, checkAPI, checkPool, checkWorker, checkLog)
		return
	}
	if !c.definition(ctx) {
		c.skip("the task definition cannot be read", checkSecret, checkPolicy, checkAPI, checkPool, checkWorker, checkLog)
		return
	}
	key := c.secret(ctx)
	c.policy(ctx)
	online := false
	switch {
	case !c.apiAnswers(ctx, key):
		c.skip("the Prefect API cannot be asked", checkPool, checkWorker)
	case !c.pool(ctx):
		c.skip("there is no pool", checkWorker)
	default:
		online = c.worker(ctx)
	}
	c.log(ctx, online)
}

func (c *checklist) ok(name, format string, args ...any) bool {
	c.report.Checks = append(c.report.Checks, Check{Name: name, Status: OK, Detail: fmt.Sprintf(format, args...)})
	return true
}

func (c *checklist) fail(name, detail, fix string) bool {
	c.report.Checks = append(c.report.Checks, Check{Name: name, Status: Failed, Detail: detail, Fix: fix})
	return false
}

func (c *checklist) skip(why string, names ...string) {
	for _, name := range names {
		c.report.Checks = append(c.report.Checks, Check{Name: name, Status: Skipped, Detail: "not checked: " + why})
	}
}

// pause is the time between two rounds of Wait.
const pause = 3 * time.Second

// Wait repeats Run until all is well or limit is over, and returns the last report. seen,
// which may be nil, is called after each round.
func Wait(ctx context.Context, opt Options, limit time.Duration, seen func(Report)) Report {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		report := Run(ctx, opt)
		if seen != nil {
			seen(report)
		}
		if report.OK {
			return report
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
