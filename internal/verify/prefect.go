package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/prefectapi"
)

// apiState is what the Prefect API says.
type apiState struct {
	url    string
	client *prefectapi.Client
	pools  []prefectapi.WorkPool
}

// apiAnswers checks that the API is there, at the right address, and accepts the key.
func (c *checklist) apiAnswers(ctx context.Context, key string) bool {
	url := variable(c.service.container, "PREFECT_API_URL")
	c.api.url = url
	if url == "" {
		return c.fail(checkAPI, "the container has no PREFECT_API_URL: with Prefect 2 it would serve a database of its own and look healthy", c.deployFix())
	}
	client, err := prefectapi.New(url, key)
	if err != nil {
		return c.fail(checkAPI, err.Error(), "correct prefect_api_url or the key, and deploy")
	}
	c.api.client = client
	pools, err := client.WorkPools(ctx)
	switch {
	case errors.Is(err, prefectapi.ErrUnauthorized):
		return c.fail(checkAPI, "the API refuses the key: "+err.Error(),
			fmt.Sprintf("make a new API key in Prefect, with the role Worker in the workspace; give it in TF_VAR_prefect_api_key, raise secret.version in config/environments/%s.yaml and make deploy ENV=%s", c.env.Name, c.env.Name))
	case errors.Is(err, prefectapi.ErrNotFound):
		return c.fail(checkAPI, fmt.Sprintf("%s answers, but is not the API of a workspace (404)", url),
			"set prefect_account_id and prefect_workspace_id, or a prefect_api_url of the form "+config.CloudAPIURL+"<uuid>/workspaces/<uuid>; a self-hosted API ends in /api")
	case errors.Is(err, prefectapi.ErrUnreachable):
		return c.fail(checkAPI, err.Error(), "is prefect_api_url right and the server up? The worker needs a route to it as well: network.nat and the egress rule")
	case err != nil:
		return c.fail(checkAPI, err.Error(), "is "+url+" a Prefect API?")
	}
	c.api.pools = pools
	return c.ok(checkAPI, "%s answers and accepts the key", url)
}

// pool checks the work pool. It returns whether there is one.
func (c *checklist) pool(ctx context.Context) bool {
	want := c.env.WorkPool
	pool, err := c.api.client.WorkPool(ctx, want.Name)
	if errors.Is(err, prefectapi.ErrNotFound) {
		var names []string
		for _, p := range c.api.pools {
			names = append(names, p.Name)
		}
		return c.fail(checkPool, fmt.Sprintf("there is no work pool %s; there are: %s", want.Name, orNone(strings.Join(names, ", "))),
			fmt.Sprintf("create it: prefect work-pool create %q --type %s; or correct work_pool.name", want.Name, want.Type))
	}
	if err != nil {
		return c.fail(checkPool, err.Error(), "ask the API again")
	}
	switch {
	case pool.Type != string(want.Type) && (strings.HasSuffix(pool.Type, ":managed") || strings.HasSuffix(pool.Type, ":push")):
		c.fail(checkPool, fmt.Sprintf("%s is of type %s: Prefect runs its flows itself, and a worker ends with status 1", pool.Name, pool.Type),
			fmt.Sprintf("create a pool that has workers: prefect work-pool create NAME --type %s, and set work_pool.name to it. On Prefect Cloud that needs a plan with hybrid pools (Starter or above); a self-hosted server always has them", want.Type))
	case pool.Type != string(want.Type):
		c.fail(checkPool, fmt.Sprintf("%s is of type %s, configured is %s", pool.Name, pool.Type, want.Type),
			"set work_pool.type to the pool's type, or work_pool.name to another pool, and deploy")
	case pool.Paused:
		c.fail(checkPool, pool.Name+" is paused: no flow run is handed out", fmt.Sprintf("resume it: prefect work-pool resume %q", pool.Name))
	default:
		c.ok(checkPool, "%s is of type %s and not paused", pool.Name, pool.Type)
	}
	return true
}

// worker checks what counts: a worker of this service is online.
func (c *checklist) worker(ctx context.Context) bool {
	since := aws.ToTime(c.service.deployment.CreatedAt)
	workers, err := c.api.client.OnlineWorkers(ctx, c.env.WorkPool.Name, time.Time{})
	if err != nil {
		return c.fail(checkWorker, err.Error(), "ask the API again")
	}
	now := time.Now()
	var others, old, silent []string
	for _, w := range workers {
		age := now.Sub(w.LastHeartbeat)
		switch {
		case !c.ours(w.Name):
			others = append(others, w.Name)
		case w.LastHeartbeat.Before(since):
			old = append(old, w.Name)
		case age > freshness(w):
			silent = append(silent, fmt.Sprintf("%s (%.0f s ago)", w.Name, age.Seconds()))
		default:
			return c.ok(checkWorker, "%s, last heartbeat %.0f s ago", w.Name, max(0, age.Seconds()))
		}
	}
	detail := "no worker of this service is online in " + c.env.WorkPool.Name
	switch {
	case len(silent) > 0:
		detail += "; silent for too long: " + strings.Join(silent, ", ")
	case len(old) > 0:
		detail += "; from before the deployment: " + strings.Join(old, ", ")
	case len(others) > 0:
		detail += "; other workers there: " + strings.Join(others, ", ")
	}
	fix := "wait for it if the deployment is new (workerctl verify --wait 5m); otherwise the log below says why"
	if cause, failed := c.report.FirstFailure(); failed {
		fix = "mend first what failed above: " + cause.Name
	}
	return c.fail(checkWorker, detail, fix)
}

// ours tells whether a worker is a task of this service: of the current deployment, if ECS
// names its tasks.
func (c *checklist) ours(name string) bool {
	id, ok := strings.CutPrefix(name, c.env.Worker.ServiceName+"-")
	return ok && (len(c.service.tasks) == 0 || slices.Contains(c.service.tasks, id))
}

// freshness is how old a heartbeat may be. Prefect calls a worker online for three
// intervals, so for 90 s after its end; a worker that lives has beaten within two (its
// interval varies by 30 %).
func freshness(w prefectapi.Worker) time.Duration {
	interval := time.Duration(w.HeartbeatSeconds) * time.Second
	if interval == 0 {
		interval = 30 * time.Second // Prefect's default
	}
	return 2*interval + 5*time.Second
}
