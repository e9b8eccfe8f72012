// Package api is a small client of Prefect's REST API, of Prefect Cloud
// and of a self-hosted server, version 2 or 3: what is needed to prove that a
// worker works, and no more.
package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"prefect-worker-ecs/internal/base/poll"
)

// Errors that a caller can distinguish with errors.Is. What they wrap names the
// request and the answer, never the key.
var (
	// ErrUnauthorized: the credential is not accepted (401), or may not do this (403).
	ErrUnauthorized = errors.New("the Prefect API refuses the credential")
	// ErrNotFound: the API has no such object (404). It also answers so to
	// everything if the URL lacks account and workspace.
	ErrNotFound = errors.New("not found in the Prefect API")
	// ErrConflict: an object of that name exists (409).
	ErrConflict = errors.New("exists already in the Prefect API")
	// ErrUnreachable: there was no answer at all.
	ErrUnreachable = errors.New("the Prefect API cannot be reached")
	// ErrBadKey: the key cannot be sent as a header. Usually a line break was
	// stored with it.
	ErrBadKey = errors.New("the Prefect API key holds a character that cannot be sent")
)

// StatusError is an answer other than success.
type StatusError struct {
	// Status is the HTTP status code.
	Status int
	// Request is the method and the path, without host.
	Request string
	// Detail is what the API says about it; it may be empty.
	Detail string
	// Location is the address that a redirect leads to.
	Location string
	// Foreign says that the answer is not JSON, as those of Prefect are: a proxy or firewall gives it.
	Foreign bool
}

// Temporary reports whether the server is in trouble, or has too many requests, which says nothing about the
// request.
func (e *StatusError) Temporary() bool {
	return e.Status >= http.StatusInternalServerError || e.Status == http.StatusTooManyRequests
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s: %d %s", e.Request, e.Status, http.StatusText(e.Status))
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Is makes errors.Is work with the errors above.
func (e *StatusError) Is(target error) bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == ErrUnauthorized
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusConflict:
		return target == ErrConflict
	}
	return false
}

// requestTimeout is how long one request may take. Prefect itself waits 60 s,
// which is long for somebody who looks at a terminal.
const requestTimeout = 10 * time.Second

// idleTimeout is how long a connection is kept for the next request. A Prefect server closes it
// after 5 s (uvicorn's --timeout-keep-alive), and what is sent at that moment is lost.
const idleTimeout = 3 * time.Second

// Client calls one API, for one or more goroutines. The zero value cannot be used; New returns a client.
type Client struct {
	base *url.URL
	// authorization is the header's value, and secrets what may never be shown.
	authorization string
	secrets       []string
	http          *http.Client
	// skew is how far the server's clock is ahead of this machine's, a time.Duration. ignoreDate says that
	// the answers' dates do not show it.
	skew       atomic.Int64
	ignoreDate atomic.Bool
}

// New returns a client for the API at apiURL, the value of PREFECT_API_URL:
// https://api.prefect.cloud/api/accounts/<id>/workspaces/<id>, or
// http(s)://<host>:<port>/api of a self-hosted server. The key may be empty for
// a server that requires none.
func New(apiURL, key string) (*Client, error) {
	c, err := newClient(apiURL, key)
	if err == nil && key != "" {
		c.authorization = "Bearer " + key
	}
	return c, err
}

// NewBasic returns a client for a server with basic authentication. The credential is
// user:password, as in PREFECT_API_AUTH_STRING.
func NewBasic(apiURL, credential string) (*Client, error) {
	c, err := newClient(apiURL, credential)
	if err == nil {
		encoded := base64.StdEncoding.EncodeToString([]byte(credential))
		c.authorization = "Basic " + encoded
		c.secrets = append(c.secrets, encoded)
		if _, password, found := strings.Cut(credential, ":"); found {
			c.secrets = append(c.secrets, password)
		}
	}
	return c, err
}

func newClient(apiURL, credential string) (*Client, error) {
	base, err := url.Parse(apiURL)
	if err != nil {
		// The text of the parser's error repeats the URL, which may hold a
		// password.
		return nil, errors.New("the Prefect API URL is not a URL")
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("the Prefect API URL %q must start with http:// or https:// and name a host", base.Redacted())
	}
	for _, c := range []byte(credential) {
		if c < ' ' || c == 0x7f {
			return nil, fmt.Errorf("%w (a line break, most often at its end); store it again without", ErrBadKey)
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // which uses no proxy for this machine itself
	transport.IdleConnTimeout = idleTimeout
	// A redirect to another server would take the credential there, and may turn a POST into a GET.
	here := func(request *http.Request, _ []*http.Request) error {
		if request.URL.Scheme != base.Scheme || request.URL.Host != base.Host {
			return http.ErrUseLastResponse
		}
		return nil
	}
	c := &Client{base: base, http: &http.Client{Timeout: requestTimeout, Transport: transport, CheckRedirect: here}}
	if credential != "" {
		c.secrets = append(c.secrets, credential)
	}
	return c, nil
}

// The API says "try again" with these: when there were too many requests, and
// a server with SQLite also when two requests write at the same time, which is
// usual in its first seconds. It has then done nothing. Prefect's own client
// tries again after the same answers.
const (
	attempts   = 7
	firstPause = 100 * time.Millisecond // doubled each time: 6 s in all
)

func tryAgain(err error) bool {
	var status *StatusError
	if !errors.As(err, &status) {
		return false
	}
	return status.Status == http.StatusTooManyRequests || status.Status == http.StatusBadGateway || status.Status == http.StatusServiceUnavailable
}

// do sends body as JSON and reads the answer into answer, if it is not nil.
func (c *Client) do(ctx context.Context, method string, path []string, body, answer any) error {
	for attempt, pause := 1, firstPause; ; attempt, pause = attempt+1, 2*pause {
		err := c.once(ctx, method, path, body, answer)
		if attempt == attempts || !tryAgain(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err // the answer of the API is of more use than that the time is over
		case <-time.After(pause):
		}
	}
}

func (c *Client) once(ctx context.Context, method string, path []string, body, answer any) error {
	escaped := make([]string, len(path))
	for i, p := range path {
		escaped[i] = url.PathEscape(p)
	}
	target := c.base.JoinPath(escaped...)
	request := method + " " + target.Path

	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s: %w", request, err)
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), payload)
	if err != nil {
		return fmt.Errorf("%s: the request cannot be made", request)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.authorization != "" {
		req.Header.Set("Authorization", c.authorization)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		var inner *url.Error // Its text holds the whole URL; its cause does not.
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return fmt.Errorf("%w: %s at %s: %w", ErrUnreachable, request, target.Host, err)
	}
	defer resp.Body.Close()
	c.keepTime(resp.Header.Get("Date"))
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return fmt.Errorf("%w: %s at %s: %w", ErrUnreachable, request, target.Host, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return &StatusError{Status: resp.StatusCode, Request: request, Detail: c.detail(raw), Location: resp.Header.Get("Location"), Foreign: !json.Valid(raw)}
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("%s: the answer is not what a Prefect API gives: %w", request, err)
	}
	return nil
}

// keepTime remembers by how much the server's clock differs. The header has whole seconds,
// and the answer took a moment, so that less than two seconds are no difference.
func (c *Client) keepTime(date string) {
	at, err := http.ParseTime(date)
	if err != nil || c.ignoreDate.Load() {
		return
	}
	skew := time.Until(at)
	if skew.Abs() < 2*time.Second {
		skew = 0
	}
	c.skew.Store(int64(skew))
}

// Now returns the time on the server's clock, by which its heartbeats and runs are dated.
func (c *Client) Now() time.Time { return time.Now().Add(time.Duration(c.skew.Load())) }

// Recorded compares the clocks with a time that the server has just recorded. A proxy may date the answers
// wrongly: if the time fits this machine's clock and not their dates, those are ignored from now on.
func (c *Client) Recorded(at time.Time) {
	const close = 2 * time.Minute
	if c.Now().Sub(at).Abs() > close && time.Since(at).Abs() <= close {
		c.ignoreDate.Store(true)
		c.skew.Store(0)
	}
}

// detail returns the short text of an error answer, without the credential in case the
// other side repeats it.
func (c *Client) detail(raw []byte) string {
	var answer struct {
		Detail any `json:"detail"`
	}
	text := ""
	if json.Unmarshal(raw, &answer) == nil && answer.Detail != nil {
		if s, ok := answer.Detail.(string); ok {
			text = s
		} else if again, err := json.Marshal(answer.Detail); err == nil {
			text = string(again)
		}
	}
	for _, secret := range c.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return text
}

// Health reports whether the API answers: nil, or why not.
func (c *Client) Health(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, []string{"health"}, nil, nil)
}

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

// Deployment is a deployment of a flow as the API shows it.
type Deployment struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	FlowID string `json:"flow_id"`
	// Variables are its job variables, which Prefect 2 calls Overrides.
	Variables map[string]any `json:"job_variables"`
	Overrides map[string]any `json:"infra_overrides"`
}

// Deployments returns the deployments of a pool that have job variables, of the first 200.
func (c *Client) Deployments(ctx context.Context, pool string) ([]Deployment, error) {
	filter := inPool(pool, nil)
	filter["limit"] = 200
	var all []Deployment
	err := c.do(ctx, http.MethodPost, []string{"deployments", "filter"}, filter, &all)
	for i, d := range all {
		if len(d.Variables) == 0 {
			all[i].Variables = d.Overrides
		}
	}
	return slices.DeleteFunc(all, func(d Deployment) bool { return len(d.Variables) == 0 }), err
}

// Completed reports whether a run of a pool that started after a point of time has completed, of one of its
// deployments if that is not empty.
func (c *Client) Completed(ctx context.Context, pool, deployment string, after time.Time) (bool, error) {
	filter := inPool(pool, nil)
	if deployment != "" {
		filter["deployments"] = map[string]any{"id": map[string]any{"any_": []string{deployment}}}
	}
	filter["flow_runs"] = map[string]any{
		"state":      map[string]any{"type": map[string]any{"any_": []string{"COMPLETED"}}},
		"start_time": map[string]any{"after_": after.UTC().Format(time.RFC3339Nano)},
	}
	var count int
	err := c.do(ctx, http.MethodPost, []string{"flow_runs", "count"}, filter, &count)
	return count > 0, err
}

// FlowName returns the name of a flow.
func (c *Client) FlowName(ctx context.Context, id string) (string, error) {
	var flow struct {
		Name string `json:"name"`
	}
	err := c.do(ctx, http.MethodGet, []string{"flows", id}, nil, &flow)
	return flow.Name, err
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
	filter := map[string]any{"status": map[string]any{"any_": []string{status}}}
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

// LocalFlow is a flow in a file on the machine of the worker.
type LocalFlow struct {
	// Name is the flow's name, and that of its deployment.
	Name string
	// Pool is the work pool that its runs are given to, and Queue the queue in it. Default
	// queue: the pool's own.
	Pool, Queue string
	// Dir is the folder that a run copies to its own before it starts. Empty: PullSteps
	// bring the file.
	Dir string
	// PullSteps are what a run does in its own, empty folder to get the file, as Prefect's
	// deployment steps have it.
	PullSteps []map[string]any
	// Entrypoint is <file>:<function> within that folder, such as "hello.py:hello".
	Entrypoint string
}

// Deploy creates the flow and its deployment, or brings existing ones up to date, and
// returns the deployment's id.
func (c *Client) Deploy(ctx context.Context, flow LocalFlow) (string, error) {
	var created struct {
		ID string `json:"id"`
	}
	if err := c.do(ctx, http.MethodPost, []string{"flows", ""}, map[string]any{"name": flow.Name}, &created); err != nil {
		return "", err
	}
	deployment := map[string]any{
		"name": flow.Name, "flow_id": created.ID, "work_pool_name": flow.Pool,
		"entrypoint":               flow.Entrypoint,
		"enforce_parameter_schema": false,
	}
	if flow.Dir != "" {
		deployment["path"] = flow.Dir
	}
	if len(flow.PullSteps) > 0 {
		deployment["pull_steps"] = flow.PullSteps
	}
	if flow.Queue != "" {
		deployment["work_queue_name"] = flow.Queue
	}
	err := c.do(ctx, http.MethodPost, []string{"deployments", ""}, deployment, &created)
	return created.ID, err
}

// DeleteFlow deletes a flow with its deployments and runs. It is ErrNotFound if there is
// none of that name.
func (c *Client) DeleteFlow(ctx context.Context, name string) error {
	var flow struct {
		ID string `json:"id"`
	}
	if err := c.do(ctx, http.MethodGet, []string{"flows", "name", name}, nil, &flow); err != nil {
		return err
	}
	// The API deletes a flow's deployments and runs with it only in the database of some
	// releases, so each is deleted by itself first.
	of := map[string]any{"flows": map[string]any{"id": map[string]any{"any_": []string{flow.ID}}}, "limit": 200}
	for _, kind := range []string{"flow_runs", "deployments"} {
		var found []struct {
			ID string `json:"id"`
		}
		if err := c.do(ctx, http.MethodPost, []string{kind, "filter"}, of, &found); err != nil {
			return err
		}
		for _, object := range found {
			if err := c.do(ctx, http.MethodDelete, []string{kind, object.ID}, nil, nil); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
	}
	return c.do(ctx, http.MethodDelete, []string{"flows", flow.ID}, nil, nil)
}

// Cancel ends a run that has not ended: one that no worker took at once, another as soon as
// its worker sees it.
func (c *Client) Cancel(ctx context.Context, run string) error {
	return c.do(ctx, http.MethodPost, []string{"flow_runs", run, "set_state"},
		map[string]any{"state": map[string]any{"type": "CANCELLING", "name": "Cancelling"}}, nil)
}

// Reschedule puts a run back that a worker has taken, to start as soon as another takes it.
// Nothing in Prefect sees whether the first attempt still runs.
func (c *Client) Reschedule(ctx context.Context, run string) error {
	state := map[string]any{"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": map[string]any{"scheduled_time": c.Now().UTC().Format(time.RFC3339Nano)}}
	return c.setState(ctx, run, state, false)
}

// End ends a run that a worker has taken, as crashed, with a message. Nothing in Prefect sees whether it
// still runs.
func (c *Client) End(ctx context.Context, run, message string) error {
	state := map[string]any{"type": "CRASHED", "name": "Crashed", "message": message}
	return c.setState(ctx, run, state, true)
}

// setState sets the state of a run. forced states are accepted by the API from any other.
func (c *Client) setState(ctx context.Context, run string, state map[string]any, force bool) error {
	var answer struct {
		Status  string `json:"status"`
		Details struct {
			Reason string `json:"reason"`
		} `json:"details"`
	}
	if err := c.do(ctx, http.MethodPost, []string{"flow_runs", run, "set_state"}, map[string]any{"state": state, "force": force}, &answer); err != nil {
		return err
	}
	if answer.Status != "ACCEPT" {
		return fmt.Errorf("the Prefect server does not set the flow run to %s: %s %s", state["name"], answer.Status, answer.Details.Reason)
	}
	return nil
}

// Overdue returns runs of a pool that should have started before a point of time and that no worker has
// taken, the oldest first, at most 200; retries too. Runs that wait for a slot of their deployment are
// not among them. Empty queues are all queues.
func (c *Client) Overdue(ctx context.Context, pool string, queues []string, before time.Time) ([]FlowRun, error) {
	filter := inPool(pool, queues)
	filter["flow_runs"] = map[string]any{
		"state":                     map[string]any{"type": map[string]any{"any_": []string{"SCHEDULED"}}},
		"next_scheduled_start_time": map[string]any{"before_": before.UTC().Format(time.RFC3339Nano)},
	}
	filter["sort"], filter["limit"] = "NEXT_SCHEDULED_START_TIME_ASC", 200
	var runs []FlowRun
	err := c.do(ctx, http.MethodPost, []string{"flow_runs", "filter"}, filter, &runs)
	return slices.DeleteFunc(runs, func(r FlowRun) bool { return r.StateDetail.Name == "AwaitingConcurrencySlot" }), err
}

// Underway returns the runs of a pool that a worker has taken and that have not ended. Empty queues are
// all queues.
func (c *Client) Underway(ctx context.Context, pool string, queues []string) ([]FlowRun, error) {
	const page = 200 // the most that the API gives at once
	filter := inPool(pool, queues)
	filter["flow_runs"] = map[string]any{"state": map[string]any{"type": map[string]any{"any_": []string{"PENDING", "RUNNING", "CANCELLING"}}}}
	filter["sort"], filter["limit"] = "ID_DESC", page
	var all []FlowRun
	for {
		filter["offset"] = len(all)
		var runs []FlowRun
		if err := c.do(ctx, http.MethodPost, []string{"flow_runs", "filter"}, filter, &runs); err != nil {
			return nil, err
		}
		if all = append(all, runs...); len(runs) < page {
			return all, nil
		}
	}
}

// LastStartAndEnd returns when a run of a pool last started, and when one that had started last ended.
// Zero: none has. Empty queues are all queues.
func (c *Client) LastStartAndEnd(ctx context.Context, pool string, queues []string) (start, end time.Time, err error) {
	started := map[string]any{"start_time": map[string]any{"is_null_": false}}
	ended := map[string]any{"start_time": started["start_time"], "state": map[string]any{"type": map[string]any{"any_": []string{"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}}}}
	newest := func(runs map[string]any, sort string) (FlowRun, error) {
		filter := inPool(pool, queues)
		filter["flow_runs"], filter["sort"], filter["limit"] = runs, sort, 1
		var found []FlowRun
		err := c.do(ctx, http.MethodPost, []string{"flow_runs", "filter"}, filter, &found)
		return append(found, FlowRun{})[0], err
	}
	last, err := newest(started, "START_TIME_DESC")
	if err == nil {
		start = last.Started
		last, err = newest(ended, "END_TIME_DESC")
		end = last.EndedAt
	}
	return start, end, err
}

// submitting is the line with which a worker takes a run.
var submitting = regexp.MustCompile(`^Worker '(.+)' submitting flow run '`)

// WorkerOf returns the name of the worker that took a run: a label with Prefect 3, with 2 a line in
// the run's log. Empty: it is not known.
func (c *Client) WorkerOf(ctx context.Context, run FlowRun) (string, error) {
	if name, ok := run.Labels["prefect.worker.name"].(string); ok {
		return name, nil
	}
	var lines []struct {
		Message string `json:"message"`
	}
	// The last one before the state: a rescheduled run has one for each worker.
	err := c.do(ctx, http.MethodPost, []string{"logs", "filter"}, map[string]any{
		"logs": map[string]any{
			"flow_run_id": map[string]any{"any_": []string{run.ID}},
			"timestamp":   map[string]any{"before_": run.StateDetail.Timestamp.UTC().Format(time.RFC3339Nano)},
		},
		"sort": "TIMESTAMP_DESC", "limit": 200,
	}, &lines)
	for _, line := range lines {
		if match := submitting.FindStringSubmatch(line.Message); match != nil {
			return match[1], err
		}
	}
	return "", err
}

func inPool(pool string, queues []string) map[string]any {
	filter := map[string]any{"work_pools": map[string]any{"name": map[string]any{"any_": []string{pool}}}}
	if len(queues) > 0 {
		filter["work_pool_queues"] = map[string]any{"name": map[string]any{"any_": queues}}
	}
	return filter
}

// FlowRun is one run of a flow as the API shows it.
type FlowRun struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// State is what Prefect calls the state's type: SCHEDULED, PENDING,
	// RUNNING, COMPLETED, FAILED, CANCELLED, CANCELLING, CRASHED or PAUSED.
	State string `json:"state_type"`
	// Due is when the run should start. Nil once a worker has taken it.
	Due *time.Time `json:"next_scheduled_start_time"`
	// StateDetail says more about the state.
	StateDetail struct {
		Name      string    `json:"name"`
		Message   string    `json:"message"`
		Timestamp time.Time `json:"timestamp"`
	} `json:"state"`
	// Pool is the name of its work pool, and Queue that of its queue. Empty: it has none.
	Pool  string `json:"work_pool_name"`
	Queue string `json:"work_queue_name"`
	// Started is when it started, and EndedAt when it ended. Zero: it has not.
	Started time.Time `json:"start_time"`
	EndedAt time.Time `json:"end_time"`
	// Labels are what a worker of Prefect 3 writes on it.
	Labels map[string]any `json:"labels"`
	// InfrastructureID is what its process or task is called by the worker.
	InfrastructureID string `json:"infrastructure_pid"`
}

// Ended reports whether the run is over, well or not.
func (r FlowRun) Ended() bool {
	switch r.State {
	case "COMPLETED", "FAILED", "CANCELLED", "CRASHED":
		return true
	}
	return false
}

// Run submits a run of a deployment, to start as soon as a worker takes it. A server that gives no
// answer, such as one with SQLite whose disk is busy, gets the request twice more: Prefect makes one run of
// requests with the same key.
func (c *Client) Run(ctx context.Context, deployment string, parameters map[string]any) (FlowRun, error) {
	if parameters == nil {
		parameters = map[string]any{}
	}
	var run FlowRun
	path := []string{"deployments", deployment, "create_flow_run"}
	request := map[string]any{"state": map[string]any{"type": "SCHEDULED"}, "parameters": parameters, "idempotency_key": rand.Text()}
	err := c.do(ctx, http.MethodPost, path, request, &run)
	for again := 0; again < 2 && errors.Is(err, ErrUnreachable); again++ {
		err = c.do(ctx, http.MethodPost, path, request, &run)
	}
	return run, err
}

// FlowRun returns a run by its id.
func (c *Client) FlowRun(ctx context.Context, id string) (FlowRun, error) {
	var run FlowRun
	err := c.do(ctx, http.MethodGet, []string{"flow_runs", id}, nil, &run)
	return run, err
}

// AwaitEnd waits until a run is over, and returns it as it then is. seen, if
// not nil, is called with each new state. An API that cannot be reached for a
// moment is polled again; every other error ends the wait, as does ctx.
func (c *Client) AwaitEnd(ctx context.Context, id string, seen func(FlowRun)) (FlowRun, error) {
	var run FlowRun
	last := ""
	err := poll.Until(ctx, 500*time.Millisecond, func() (_ bool, err error) {
		run, err = c.FlowRun(ctx, id)
		if errors.Is(err, ErrUnreachable) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if run.State != last && seen != nil {
			seen(run)
		}
		last = run.State
		return run.Ended(), nil
	})
	if ctx.Err() != nil && !run.Ended() {
		return FlowRun{}, fmt.Errorf("flow run %s is still %s: %w", id, last, ctx.Err())
	}
	if err != nil {
		return FlowRun{}, err
	}
	return run, nil
}
