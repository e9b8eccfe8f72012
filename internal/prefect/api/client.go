// Package api is a small client of Prefect's REST API, of Prefect Cloud
// and of a self-hosted server, version 2 or 3: what is needed to prove that a
// worker works, and no more.
package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"prefect-worker-ecs/internal/base/redact"
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
		c.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(credential))
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
			return nil, errors.New("the Prefect API key holds a character that cannot be sent (a line break, most often at its end); store it again without")
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
	return &Client{base: base, secrets: []string{credential}, http: &http.Client{Timeout: requestTimeout, Transport: transport, CheckRedirect: here}}, nil
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
	status, ok := errors.AsType[*StatusError](err)
	return ok && (status.Status == http.StatusTooManyRequests || status.Status == http.StatusBadGateway || status.Status == http.StatusServiceUnavailable)
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
		// Its text holds the whole URL; its cause does not.
		if inner, ok := errors.AsType[*url.Error](err); ok {
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
	var answer struct{ Detail any }
	text := ""
	if json.Unmarshal(raw, &answer) == nil && answer.Detail != nil {
		if s, ok := answer.Detail.(string); ok {
			text = s
		} else if again, err := json.Marshal(answer.Detail); err == nil {
			text = string(again)
		}
	}
	text = redact.Known(text, c.secrets...)
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return text
}
