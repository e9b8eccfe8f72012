package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// WorkPool is a work pool as the API shows it.
type WorkPool struct {
	Name string `json:"name"`
	// Type is the pool's type in the API's spelling, such as "process", "ecs"
	// or "prefect:managed".
	Type string `json:"type"`
	// Paused pools hand out no work.
	Paused bool `json:"is_paused"`
	// Status is READY (a worker is online), NOT_READY or PAUSED.
	Status string `json:"status"`
	// ConcurrencyLimit is how many runs of the pool may be underway; nil is no limit.
	ConcurrencyLimit *int `json:"concurrency_limit"`
	// DefaultQueueID is the queue of runs that name none.
	DefaultQueueID string `json:"default_queue_id"`
	// BaseJobTemplate holds the variables of the pool's flow runs and the job that is made
	// of them. Empty until the first worker fills it in.
	BaseJobTemplate map[string]any `json:"base_job_template"`
	// Updated is when the pool was last changed.
	Updated time.Time `json:"updated"`
}

// SetTemplate replaces the base job template of a pool.
func (c *Client) SetTemplate(ctx context.Context, pool string, template map[string]any) error {
	return c.do(ctx, http.MethodPatch, []string{"work_pools", pool}, map[string]any{"base_job_template": template}, nil)
}

// DefaultTemplate returns the base job template that the API itself has in store for pools of a
// type, as its user interface does. It may be older than that of the worker.
func (c *Client) DefaultTemplate(ctx context.Context, poolType string) (map[string]any, error) {
	var collections map[string]map[string]struct {
		Template map[string]any `json:"default_base_job_configuration"`
	}
	if err := c.do(ctx, http.MethodGet, []string{"collections", "views", "aggregate-worker-metadata"}, nil, &collections); err != nil {
		return nil, err
	}
	for _, types := range collections {
		if t, ok := types[poolType]; ok && len(t.Template) > 0 {
			return t.Template, nil
		}
	}
	return nil, fmt.Errorf("%w: a template for pools of type %s", ErrNotFound, poolType)
}

// WorkQueue is a queue of a work pool as the API shows it.
type WorkQueue struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Paused queues hand out no work.
	Paused bool `json:"is_paused"`
	// ConcurrencyLimit is how many of its runs may be underway; nil is no limit.
	ConcurrencyLimit *int `json:"concurrency_limit"`
	// LastPolled is when a worker last polled it. Nil: never.
	LastPolled *time.Time `json:"last_polled"`
}

// WorkQueues returns the queues of a pool, at most 200.
func (c *Client) WorkQueues(ctx context.Context, pool string) ([]WorkQueue, error) {
	var queues []WorkQueue
	err := c.do(ctx, http.MethodPost, []string{"work_pools", pool, "queues", "filter"}, map[string]any{"limit": 200}, &queues)
	return queues, err
}

// CreateWorkQueue creates a queue in a pool. It is ErrConflict if there is one of that name.
func (c *Client) CreateWorkQueue(ctx context.Context, pool, name string) error {
	return c.do(ctx, http.MethodPost, []string{"work_pools", pool, "queues", ""}, map[string]any{"name": name}, nil)
}

// WorkPool returns the pool of that name.
func (c *Client) WorkPool(ctx context.Context, name string) (WorkPool, error) {
	var pool WorkPool
	err := c.do(ctx, http.MethodGet, []string{"work_pools", name}, nil, &pool)
	return pool, err
}

// WorkPools returns the pools of the workspace, at most 200.
func (c *Client) WorkPools(ctx context.Context) ([]WorkPool, error) {
	var pools []WorkPool
	err := c.do(ctx, http.MethodPost, []string{"work_pools", "filter"}, map[string]any{"limit": 200}, &pools)
	return pools, err
}

// CreateWorkPool creates a pool whose flow runs need no settings of their own:
// its base job template is filled in by the first worker. It is ErrConflict if
// there is one of that name.
func (c *Client) CreateWorkPool(ctx context.Context, name, poolType string) error {
	return c.do(ctx, http.MethodPost, []string{"work_pools", ""}, map[string]any{"name": name, "type": poolType}, nil)
}

// Worker is a worker of a pool as the API shows it. Two processes with one name
// are one worker.
type Worker struct {
	Name string `json:"name"`
	// Status is ONLINE or OFFLINE. A worker that has ended stays ONLINE for
	// three heartbeat intervals (90 s), so look at LastHeartbeat too.
	Status        string    `json:"status"`
	LastHeartbeat time.Time `json:"last_heartbeat_time"`
	// HeartbeatSeconds is the interval of its heartbeats as the worker states it. 0 if it
	// does not.
	HeartbeatSeconds int `json:"heartbeat_interval_seconds"`
}

// OnlineWorkers returns the workers of a pool that are ONLINE and gave a
// heartbeat after a point of time; the zero time is any. It reads at most 200,
// the most that the API gives at once.
func (c *Client) OnlineWorkers(ctx context.Context, pool string, after time.Time) ([]Worker, error) {
	return c.workers(ctx, pool, "ONLINE", after)
}

// OfflineWorkers returns the workers of a pool that were online after a point of time and are not any more, at most 200.
func (c *Client) OfflineWorkers(ctx context.Context, pool string, after time.Time) ([]Worker, error) {
	return c.workers(ctx, pool, "OFFLINE", after)
}

func (c *Client) workers(ctx context.Context, pool, status string, after time.Time) ([]Worker, error) {
	filter := map[string]any{"status": anyOf(status)}
	if !after.IsZero() {
		filter["last_heartbeat_time"] = map[string]any{"after_": after.UTC().Format(time.RFC3339Nano)}
	}
	var workers []Worker
	err := c.do(ctx, http.MethodPost, []string{"work_pools", pool, "workers", "filter"},
		map[string]any{"workers": filter, "limit": 200}, &workers)
	// Prefect 2 returns those of every status.
	return slices.DeleteFunc(workers, func(w Worker) bool { return w.Status != "" && w.Status != status }), err
}

// Freshness returns how old the heartbeat of a worker that lives may be. Prefect calls a worker
// online for three intervals, so for 90 s after its end; a worker that lives has sent one within
// two (its interval varies by 30 %).
func (w Worker) Freshness() time.Duration {
	interval := time.Duration(w.HeartbeatSeconds) * time.Second
	if interval == 0 {
		interval = 30 * time.Second // Prefect's default
	}
	return 2*interval + 5*time.Second
}
