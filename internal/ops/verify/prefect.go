package verify

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/flowruns"
)

// apiAnswers checks that the API is there, at the right address, and accepts the credential.
func (c *checklist) apiAnswers(ctx context.Context) finding {
	url := c.Variable("PREFECT_API_URL")
	if url == "" {
		return failed("the container has no PREFECT_API_URL: with Prefect 2 it would serve a database of its own and look healthy", c.deployFix()).prerequisite()
	}
	if c.env.Server.Enabled && c.opt.Reach != nil {
		there, close, err := c.opt.Reach(ctx)
		if err != nil {
			return unknown("only the VPC reaches "+url+", and there is no connection from here: "+err.Error(),
				"open one: workerctl open "+c.env.Name+", and then workerctl verify "+c.env.Name+" --api-url with the address that it prints").prerequisite()
		}
		c.closeAPI, url = close, there
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	connect := api.New
	if c.env.Prefect.Authentication == config.AuthBasic {
		connect = api.NewBasic
	}
	client, err := connect(url, c.credential)
	if err != nil {
		return failed(err.Error(), "correct prefect_api_url or the credential, and deploy").prerequisite()
	}
	c.API = client
	_, err = client.WorkPools(ctx)
	c.answered = !errors.Is(err, api.ErrUnreachable)
	status, isStatus := errors.AsType[*api.StatusError](err)
	switch {
	case isStatus && status.Foreign && errors.Is(err, api.ErrUnauthorized):
		return unknown(fmt.Sprintf("something before the API, such as a proxy or a firewall, rejects the request: %v", err), "let it pass the requests to "+url+"; whether it passes those of the worker is seen in the log below").prerequisite()
	case isStatus && status.Status == 401:
		return failed("the API rejects the "+c.env.Prefect.Authentication.Noun()+": "+err.Error(), c.credentialFix()).prerequisite()
	case errors.Is(err, api.ErrUnauthorized):
		return unknown("the credential may not list the work pools: "+err.Error(), "give it the role Worker in the workspace")
	case errors.Is(err, api.ErrNotFound):
		return failed(fmt.Sprintf("%s answers, but is not the API of a workspace (404)", url),
			"set prefect_account_id and prefect_workspace_id, or a prefect_api_url of the form "+config.CloudAPIURL+"<uuid>/workspaces/<uuid>; a self-hosted API ends in /api").prerequisite()
	case isStatus && status.Temporary():
		return unknown("the API is in trouble: "+err.Error(), "look at the server, or at https://prefect.status.io; then try again").prerequisite()
	case isStatus && status.Location != "":
		return failed(fmt.Sprintf("%s redirects to %s, where the worker does not follow with what it sends", url, redact.Text(status.Location)),
			"set prefect_api_url to the address behind it, which ends in /api, and deploy").prerequisite()
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return unknown(err.Error(), "put the CA's certificate into a file and its path into SSL_CERT_FILE; whether the worker trusts it is seen in the log below").prerequisite()
	case errors.Is(err, api.ErrUnreachable):
		return unknown(err.Error()+"\nwhether the worker reaches it is seen in its log",
			"is prefect_api_url right and the server up? If only the VPC reaches it, run verify from there").prerequisite()
	case err != nil:
		return failed(err.Error(), "is "+url+" a Prefect API?").prerequisite()
	}
	return ok("%s answers and accepts the worker", url)
}

func (c *checklist) credentialFix() string {
	if c.env.GeneratedCredential() {
		return c.generateFix()
	}
	if c.env.Prefect.Authentication != config.AuthAPIKey {
		return fmt.Sprintf("give those of the server (PREFECT_SERVER_API_AUTH_STRING) in TF_VAR_%s, with prefect.authentication: basic; raise secret.version in config/environments/%s.yaml and %s",
			config.AuthBasic.TerraformVariable(), c.env.Name, c.deploy())
	}
	return fmt.Sprintf("make a new API key in Prefect, with the role Worker in the workspace; give it in TF_VAR_prefect_api_key, raise secret.version in config/environments/%s.yaml and %s", c.env.Name, c.deploy())
}

// unreachable returns the finding for what the Prefect API did not return.
func unreachable(what string, err error) finding {
	fix := "try again"
	if errors.Is(err, api.ErrUnauthorized) {
		fix = "give the credential the role Worker in the workspace, or verify with one that may see more"
	}
	return unknown(what+" could not be read: "+err.Error(), fix)
}

// pool checks the work pool and the queues in it that the worker serves.
func (c *checklist) pool(ctx context.Context) finding {
	want := c.env.WorkPool
	pool, err := c.API.WorkPool(ctx, want.Name)
	if errors.Is(err, api.ErrNotFound) {
		var names []string
		if pools, err := c.API.WorkPools(ctx); err == nil {
			for _, p := range pools {
				names = append(names, p.Name)
			}
		}
		return failed(fmt.Sprintf("there is no work pool %s; there are: %s", want.Name, cmp.Or(strings.Join(names, ", "), "none")),
			fmt.Sprintf("create it: workerctl pool apply %s; or correct work_pool.name", c.env.Name)).prerequisite()
	}
	if err != nil {
		return unreachable("the work pool "+want.Name, err).prerequisite()
	}
	c.Pool = pool
	switch {
	case pool.Type != string(want.Type) && (strings.HasSuffix(pool.Type, ":managed") || strings.HasSuffix(pool.Type, ":push")):
		return failed(fmt.Sprintf("%s is of type %s: Prefect runs its flows itself, and a worker ends with status 1", pool.Name, pool.Type),
			fmt.Sprintf("create a pool that has workers: prefect work-pool create NAME --type %s, and set work_pool.name to it. On Prefect Cloud that needs a plan with hybrid pools (Starter or above); a self-hosted server always has them", want.Type))
	case pool.Type != string(want.Type):
		return failed(fmt.Sprintf("%s is of type %s, configured is %s", pool.Name, pool.Type, want.Type),
			"set work_pool.type to the pool's type, or work_pool.name to another pool, and deploy")
	case pool.Paused:
		return failed(pool.Name+" is paused: no flow run is handed out", fmt.Sprintf("resume it: prefect work-pool resume %q", pool.Name))
	case pool.ConcurrencyLimit != nil && *pool.ConcurrencyLimit == 0:
		return failed(pool.Name+" has a concurrency limit of 0: no flow run is handed out",
			fmt.Sprintf("prefect work-pool clear-concurrency-limit %q", pool.Name))
	}
	queues, err := c.API.WorkQueues(ctx, pool.Name)
	if err != nil {
		return unreachable("the queues of "+pool.Name, err)
	}
	if f := c.jobs(ctx); f.status != OK {
		return f
	}
	for _, q := range queues {
		if q.LastPolled != nil {
			c.API.Recorded(*q.LastPolled)
		}
	}
	return c.servedQueues(queues)
}

// servedQueues checks the queues that the worker serves: those of the configuration, or all.
func (c *checklist) servedQueues(queues []api.WorkQueue) finding {
	pool := c.Pool
	configured := c.env.WorkPool.Queues
	var f findings
	for _, name := range configured {
		if !slices.ContainsFunc(queues, func(q api.WorkQueue) bool { return q.Name == name }) {
			f.failed(fmt.Sprintf("%s has no queue %s", pool.Name, name),
				fmt.Sprintf("create it: workerctl pool apply %s; or correct work_pool.queues", c.env.Name))
		}
	}
	var closed []string
	c.Queues = nil
	for _, q := range queues {
		if len(configured) > 0 && !slices.Contains(configured, q.Name) {
			continue
		}
		c.Queues = append(c.Queues, q)
		reason := closedQueue(q)
		if reason == "" {
			continue
		}
		fix := fmt.Sprintf("prefect work-queue clear-concurrency-limit %q --pool %q", q.Name, pool.Name)
		if q.Paused {
			fix = fmt.Sprintf("resume it: prefect work-queue resume %q --pool %q", q.Name, pool.Name)
		}
		closed = append(closed, q.Name)
		// Somebody may have closed one of many on purpose. Not so one that the configuration
		// names, or the one in which every run without a queue lands.
		if len(configured) > 0 || q.ID == pool.DefaultQueueID {
			f.failed(fmt.Sprintf("the queue %s of %s %s: none of its flow runs is handed out", q.Name, pool.Name, reason), fix)
		}
	}
	if len(c.Queues) > 0 && len(closed) == len(c.Queues) && len(f) == 0 {
		f.failed(fmt.Sprintf("no queue of %s hands out flow runs: %s", pool.Name, strings.Join(closed, ", ")),
			fmt.Sprintf("resume one: prefect work-queue resume NAME --pool %q", pool.Name))
	}
	well := fmt.Sprintf("%s is of type %s and not paused", pool.Name, pool.Type)
	if len(closed) > 0 {
		well += ", but for its queues " + strings.Join(closed, ", ")
	}
	return f.finding(well)
}

// worker checks what counts: as many workers of this service are online as tasks should run.
func (c *checklist) worker(ctx context.Context) finding {
	if c.TasksErr != nil {
		return unreadable("the running tasks, by which their workers are distinguished from others,", c.TasksErr)
	}
	workers, err := c.API.OnlineWorkers(ctx, c.env.WorkPool.Name, time.Time{})
	if err != nil {
		return unreachable("the workers of "+c.env.WorkPool.Name, err)
	}
	now := c.API.Now()
	since := aws.ToTime(c.Deployment.CreatedAt)
	// Prefect calls a worker offline that has been silent for longer than three heartbeats.
	offline, err := c.API.OfflineWorkers(ctx, c.env.WorkPool.Name, since)
	if err != nil {
		return unreachable("the workers of "+c.env.WorkPool.Name, err)
	}
	for _, w := range offline {
		if c.IsCurrent(c.env, w.Name) {
			workers = append(workers, w)
		}
	}
	var online, others, old, silent []string
	frozen := "" // the task of one that is silent
	youngest := time.Duration(0)
	for _, w := range workers {
		age := now.Sub(w.LastHeartbeat)
		id, named := strings.CutPrefix(w.Name, c.env.Worker.ServiceName+"-")
		switch {
		case !named || !flowruns.IsTask(id):
			others = append(others, w.Name)
		case slices.Contains(c.Finishing, id):
			// Its flow runs go on; it takes no place of the current deployment's.
		case !slices.Contains(c.Tasks, id):
			old = append(old, w.Name)
		case w.LastHeartbeat.Before(since):
			old = append(old, w.Name)
		case age > w.Freshness():
			frozen, silent = id, append(silent, fmt.Sprintf("%s (%.0f s ago)", w.Name, age.Seconds()))
		default:
			if len(online) == 0 || age < youngest {
				youngest = age
			}
			online = append(online, w.Name)
		}
	}
	polled, stalled := c.stalled(now)
	tasks := c.wantedTasks()
	if tasks == 0 {
		return ok("none is needed: no flow run is due that could start")
	}
	if len(online) >= tasks && !stalled {
		c.online = true
		return ok("%s, last heartbeat %.0f s ago", strings.Join(online, ", "), max(0, youngest.Seconds()))
	}

	detail := "no worker of this service is online in " + c.env.WorkPool.Name
	fix := ", wait for it if the deployment is new (workerctl verify --wait 5m); otherwise the log below says why"
	if len(c.Tasks) > 0 && (len(online) >= tasks || len(silent) > 0) {
		fix = fmt.Sprintf(" and it stays so for two minutes, stop the task, which ends its flow runs, and ECS starts another: aws ecs stop-task --cluster %s --task %s",
			c.env.Cluster.Name, cmp.Or(frozen, c.Tasks[0]))
	}
	switch {
	case len(online) >= tasks:
		detail = fmt.Sprintf("%s is online by its heartbeat, but nobody has polled %s for flow runs for %.0f s: it is frozen or dead", strings.Join(online, ", "), c.env.WorkPool.Name, polled.Seconds())
	case len(online) > 0:
		detail = fmt.Sprintf("%d of %d workers of this service are online in %s: %s", len(online), tasks, c.env.WorkPool.Name, strings.Join(online, ", "))
	}
	for _, group := range []struct {
		words string
		names []string
	}{{"silent for too long", silent}, {"not of a running task of the current deployment", old}, {"other workers there", others}} {
		if len(group.names) > 0 {
			detail += "\n" + group.words + ": " + strings.Join(group.names, ", ")
		}
	}
	return failed(detail, "fix first what failed above; if nothing did"+fix)
}

// stalled returns how long ago anybody polled the served queues, and whether that is too long. A
// worker polls three times as often as it sends a heartbeat, so that this shows its end first.
// Releases that do not record it give no answer.
func (c *checklist) stalled(now time.Time) (time.Duration, bool) {
	var last time.Time
	for _, q := range c.Queues {
		if q.LastPolled != nil && q.LastPolled.After(last) {
			last = *q.LastPolled
		}
	}
	if last.IsZero() {
		return 0, false
	}
	age := now.Sub(last)
	return age, age > c.pollLimit()
}

// pollLimit returns how long a worker that lives may be silent: two polls, whose interval varies by 30 %, and
// the time of the server.
func (c *checklist) pollLimit() time.Duration {
	interval := 10.0 // Prefect's default for PREFECT_WORKER_QUERY_SECONDS
	if value, err := strconv.ParseFloat(c.Variable("PREFECT_WORKER_QUERY_SECONDS"), 64); err == nil && value > 0 {
		interval = value
	}
	return time.Duration(2*1.3*interval*float64(time.Second)) + 5*time.Second
}
