package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"prefect-worker-ecs/internal/test/testtools"
)

const key = "pnu_0123456789"

// serve returns a client of a server.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	api, err := New(server.URL+"/api", key)
	testtools.NoError(t, err)
	return api
}

// health makes a call whose answer is not read.
func health(ctx context.Context, c *Client) error {
	return c.do(ctx, http.MethodGet, []string{"health"}, nil, nil)
}

func TestErrorsSayWhatIsWrongAndNeverTheKey(t *testing.T) {
	tests := []struct {
		status int
		body   string
		want   error
		text   string
	}{
		{401, `{"detail":"Invalid key ` + key + `"}`, ErrUnauthorized, "Invalid key (not shown)"},
		{403, `{"detail":"Forbidden"}`, ErrUnauthorized, "403"},
		{404, `{"detail":"Work pool \"p\" not found."}`, ErrNotFound, `Work pool "p" not found.`},
		{409, ``, ErrConflict, "GET /api/work_pools/p"},
		{422, `{"detail":[{"loc":["body"]}]}`, nil, `[{"loc":["body"]}]`},
		{200, `<html>`, nil, "not what a Prefect API gives"},
	}
	for _, test := range tests {
		t.Run(http.StatusText(test.status), func(t *testing.T) {
			// GIVEN an API that answers so
			api := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			// WHEN it is asked
			_, err := api.WorkPool(t.Context(), "p")
			// THEN the kind of error and its text are right
			if err == nil || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), key) {
				t.Errorf("error %v, want one with %q and without the key", err, test.text)
			}
			for _, kind := range []error{ErrUnauthorized, ErrNotFound, ErrConflict, ErrUnreachable} {
				if errors.Is(err, kind) != (kind == test.want) {
					t.Errorf("error %v is %q: %v", err, kind, !(kind == test.want))
				}
			}
		})
	}
}

func TestAnAPIThatIsNotThere(t *testing.T) {
	api, err := New("http://user:password@127.0.0.1:1/api", key)
	testtools.NoError(t, err)
	err = health(t.Context(), api)
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "password") {
		t.Errorf("error %v, want ErrUnreachable with the host and without the password", err)
	}
}

func TestWhatCannotBeAskedIsRefused(t *testing.T) {
	for _, bad := range []string{"", "api.prefect.cloud/api", "ftp://x/api", "http:///api", "http://[::1", "http://user:password@%zz"} {
		if _, err := New(bad, key); err == nil || strings.Contains(err.Error(), "password") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
	if _, err := New("http://x/api", key+"\n"); err == nil || strings.Contains(err.Error(), key) {
		t.Errorf("a key with a line break: %v, want an error without the key", err)
	}
}

// TestTheTimeIsThatOfTheServer: by the dates of its answers. A proxy may date them wrongly, and then a time that the
// server recorded shows it.
func TestTheTimeIsThatOfTheServer(t *testing.T) {
	for name, test := range map[string]struct{ ahead, recorded, want time.Duration }{
		"the proxy's clock is wrong":                  {time.Hour, -5 * time.Second, 0},
		"this machine's clock is an hour behind":      {time.Hour, time.Hour - 5*time.Second, time.Hour},
		"this machine's clock is two minutes ahead":   {-2 * time.Minute, -2*time.Minute - 5*time.Second, -2 * time.Minute},
		"a second, which is no difference":            {time.Second, -5 * time.Second, 0},
		"what was recorded is old, and shows nothing": {time.Hour, -3 * time.Hour, time.Hour},
		"all are right":                               {0, -5 * time.Second, 0},
	} {
		// GIVEN answers whose date differs
		api := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(test.ahead).UTC().Format(http.TimeFormat))
		})
		testtools.NoError(t, health(t.Context(), api))
		// WHEN the server has recorded something
		api.Recorded(time.Now().Add(test.recorded))
		testtools.NoError(t, health(t.Context(), api))
		// THEN that decides between the clocks
		if got := time.Until(api.Now()); (got - test.want).Abs() > 2*time.Second {
			t.Errorf("%s: %v ahead, want %v", name, got, test.want)
		}
	}
}

// TestARedirect: one to another server is an answer, and is not followed.
func TestARedirect(t *testing.T) {
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer other.Close()
	api := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/health": // to the same server, as FastAPI redirects to a path with a slash
			http.Redirect(w, r, "/api/health/", http.StatusTemporaryRedirect)
		case "/api/work_pools/filter":
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusMovedPermanently)
		}
	})
	if err := health(t.Context(), api); err != nil {
		t.Errorf("to the same server: %v", err)
	}
	_, err := api.WorkPools(t.Context())
	var status *StatusError
	if !errors.As(err, &status) || status.Location != other.URL+"/api/work_pools/filter" || status.Temporary() || asked {
		t.Errorf("to another server: %+v, which was asked: %t", err, asked)
	}
}

// TestAnAnswerThatDoesNotCome: the end of the caller's time is no answer, unlike Ctrl-C.
func TestAnAnswerThatDoesNotCome(t *testing.T) {
	over := make(chan struct{})
	api := serve(t, func(http.ResponseWriter, *http.Request) { <-over })
	defer close(over)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := health(ctx, api); !errors.Is(err, ErrUnreachable) {
		t.Errorf("after a while: %v, want ErrUnreachable", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := health(ctx, api); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("after Ctrl-C: %v, want context.Canceled", err)
	}
}

func TestUserAndPassword(t *testing.T) {
	// GIVEN a server that repeats what it was sent
	var header string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]string{"detail": "not " + header + " nor s3cret:x"})
	}))
	defer server.Close()
	api, err := NewBasic(server.URL+"/api", "admin:s3cret:x")
	testtools.NoError(t, err)
	// WHEN it is asked
	err = health(t.Context(), api)
	// THEN both were sent as HTTP has it, and neither is in the error
	if want := "Basic YWRtaW46czNjcmV0Ong="; header != want {
		t.Errorf("sent %q, want %q", header, want)
	}
	if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "YWRt") {
		t.Errorf("error %v", err)
	}
}

func TestOnlineWorkersAsksForFreshHeartbeats(t *testing.T) {
	// GIVEN an API with one worker
	var last *http.Request
	var sent []byte
	api := serve(t, func(w http.ResponseWriter, r *http.Request) {
		last = r
		sent, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, `[{"name":"w","status":"ONLINE","last_heartbeat_time":"2026-11-23T18:00:00.5Z"}]`)
	})
	after := time.Date(2026, 11, 23, 17, 59, 0, 0, time.FixedZone("", 3600))
	// WHEN the online ones of a pool with an odd name are asked for
	workers, err := api.OnlineWorkers(t.Context(), "my pool?", after)
	// THEN the request is the API's and the answer is read
	if err != nil || len(workers) != 1 || workers[0].LastHeartbeat.Minute() != 0 || workers[0].Name != "w" {
		t.Errorf("%+v, %v", workers, err)
	}
	if last.Method != "POST" || last.RequestURI != "/api/work_pools/my%20pool%3F/workers/filter" || last.Header.Get("Authorization") != "Bearer "+key {
		t.Errorf("%s %s", last.Method, last.RequestURI)
	}
	var body struct {
		Workers struct {
			Status            struct{ Any_ []string }
			LastHeartbeatTime struct{ After_ time.Time } `json:"last_heartbeat_time"`
		}
	}
	if err := json.Unmarshal(sent, &body); err != nil || !body.Workers.LastHeartbeatTime.After_.Equal(after) || body.Workers.Status.Any_[0] != "ONLINE" {
		t.Errorf("sent %s", sent)
	}
}

func TestABusyServerIsAskedAgain(t *testing.T) {
	// GIVEN a server that is busy for the first two requests
	asked := 0
	api := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked <= 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, `{"id":"1"}`)
	})
	// WHEN a run is submitted THEN it is, at the third attempt
	if run, err := api.Run(t.Context(), "d", nil); err != nil || run.ID != "1" || asked != 3 {
		t.Errorf("%+v, %v after %d requests", run, err, asked)
	}
}

// TestLostAnswersMakeOneRun: the same request is sent again, with the same key.
func TestLostAnswersMakeOneRun(t *testing.T) {
	var keys []string
	api := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Key string `json:"idempotency_key"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		if keys = append(keys, body.Key); len(keys) > 2 {
			_, _ = io.WriteString(w, `{"id": "run"}`)
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0) // closed so, it is reset
		_ = conn.Close()
	})
	run, err := api.Run(t.Context(), "deployment", nil)
	if err != nil || run.ID != "run" || len(keys) != 3 || keys[0] == "" || keys[0] != keys[1] || keys[0] != keys[2] {
		t.Errorf("%+v, %v, keys %q", run, err, keys)
	}
}
