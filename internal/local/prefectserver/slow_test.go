package prefectserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

// lines is a flow with many lines in its log.
const (
	count = 600
	lines = `import time
from prefect import flow

@flow(log_prints=True)
def lines():
    for n in range(600):
        print(f"line {n}.")
        time.sleep(0.1)

if __name__ == "__main__":
    lines()
`
)

// TestASlowServer: a flow whose server is away and then slow completes, and each line of its log is there once.
func TestASlowServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for minutes")
	}
	settings := containerSettings(t)
	for name, spec := range map[string]pyenv.Spec{"Prefect 2": pyenv.Prefect2, "Prefect 3": pyenv.Prefect3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := testtools.Environment(t, spec)
			server, err := Start(t.Context(), Options{Env: env, Dir: t.TempDir()})
			testtools.NoError(t, err)
			t.Cleanup(func() {
				if err := server.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			})
			for outage, frozen := range map[string]bool{"without its database": false, "frozen": true} {
				t.Run(outage, func(t *testing.T) {
					t.Parallel()
					// GIVEN a server that is away for 90 s after the first lines, and slow with all others
					f := newFront(t, server.URL(), frozen)
					// WHEN a flow runs with the settings of the worker's container
					file := filepath.Join(t.TempDir(), "lines.py")
					testtools.NoError(t, os.WriteFile(file, []byte(lines), 0o644))
					cmd := exec.CommandContext(t.Context(), env.Python(), file)
					cmd.Env = append(append(Environ(t.TempDir()), settings...), "PREFECT_API_URL="+f.url+"/api")
					// THEN it completes
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%v\n%.4000s", err, out)
					}
					// AND the server has taken each line once
					f.once(t)
				})
			}
		})
	}
}

// containerSettings are Prefect's settings of the worker's container that its flow runs get.
func containerSettings(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testtools.Project(t).Root, "testdata", "golden", "dev.tf.json"))
	testtools.NoError(t, err)
	var stack struct {
		Resource struct {
			Definitions map[string]struct {
				Containers string `json:"container_definitions"`
			} `json:"aws_ecs_task_definition"`
		}
	}
	var containers []struct {
		Environment []struct{ Name, Value string }
	}
	testtools.NoError(t, json.Unmarshal(text, &stack))
	testtools.NoError(t, json.Unmarshal([]byte(stack.Resource.Definitions["worker"].Containers), &containers))
	var settings []string
	for _, v := range containers[0].Environment {
		if v.Name != "PREFECT_API_URL" {
			settings = append(settings, v.Name+"="+v.Value)
		}
	}
	return settings
}

// front is a proxy before a server: after the first lines of a log it is away for a while, and then it takes
// longer to answer to each further batch than a client should wait.
type front struct {
	url    string
	frozen bool
	proxy  *httputil.ReverseProxy

	mu    sync.Mutex
	back  time.Time      // when the outage is over
	lines map[string]int // how often the server has taken each
	slow  int            // how many batches have waited
}

const (
	outage = 90 * time.Second
	delay  = 15 * time.Second
)

func newFront(t *testing.T, server string, frozen bool) *front {
	t.Helper()
	target, err := url.Parse(server)
	testtools.NoError(t, err)
	f := &front{frozen: frozen, proxy: httputil.NewSingleHostReverseProxy(target), lines: map[string]int{}}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		f.proxy.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	away := time.Until(f.back)
	f.mu.Unlock()
	switch {
	case away > 0 && !f.frozen:
		http.Error(w, `{"exception_message": "Internal Server Error"}`, http.StatusInternalServerError)
		return
	case away > 0:
		time.Sleep(away)
	}
	// A server goes on with a request that its client has given up.
	r = r.Clone(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	f.proxy.ServeHTTP(answer, r)
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/logs/") && answer.Code < 300 {
		time.Sleep(f.taken(body))
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // the client may be gone
}

// taken counts the lines of a batch, and returns how long the answer takes.
func (f *front) taken(batch []byte) time.Duration {
	var logs []struct{ Message string }
	_ = json.Unmarshal(batch, &logs) // the server has read it
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range logs {
		f.lines[line.Message]++
	}
	if f.back.IsZero() {
		f.back = time.Now().Add(outage)
		return 0
	}
	f.slow++
	return delay
}

func (f *front) once(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	lost, repeated := 0, 0
	for n := range count {
		switch times := f.lines[fmt.Sprintf("line %d.", n)]; {
		case times == 0:
			lost++
		case times > 1:
			repeated++
		}
	}
	if lost+repeated > 0 || f.slow == 0 {
		t.Errorf("%d of %d lines are lost, %d are there more than once; %d batches were slow", lost, count, repeated, f.slow)
	}
}
