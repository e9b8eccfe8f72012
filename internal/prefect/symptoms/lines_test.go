package symptoms

import (
	"bytes"
	"slices"
	"testing"
)

func TestTheCauseInTheLog(t *testing.T) {
	const ok = "Worker 'dev-worker-1' started!"
	for name, test := range map[string]struct {
		lines []string
		want  string // words of the explanation; "" for none
	}{
		"nothing":                              {nil, ""},
		"a worker that works":                  {[]string{"Discovered type 'process' for work pool 'p'.", ok}, ""},
		"it says started and then fails":       {[]string{ok, "prefect.exceptions.PrefectHTTPStatusError: Client error '404 Not Found' for url", "An exception occurred."}, "has no such address"},
		"the cause comes before its result":    {[]string{"Client error '401 Unauthorized' for url", "An exception occurred."}, "rejects the key"},
		"a failure of an earlier task":         {[]string{"Client error '401 Unauthorized'", "An exception occurred.", ok}, ""},
		"it fails again and again":             {[]string{"Client error '401 Unauthorized'", "An exception occurred.", ok, "Client error '401 Unauthorized'", "An exception occurred."}, "rejects the key"},
		"an unknown exception":                 {[]string{"Traceback", "An exception occurred."}, "ended with an exception"},
		"a flow run that AWS denied":           {[]string{ok, "14:07:31.123 | ERROR   | prefect.flow_runs.worker - Failed to submit flow run 'x'", "An error occurred (AccessDeniedException): User: x is not authorized to perform: ecs:RunTask on resource: y"}, "AWS denies a call"},
		"a flow run after one that AWS denied": {[]string{ok, "x is not authorized to perform: ecs:RunTask on resource: y", "14:07:31.123 | INFO    | prefect.flow_runs.worker - Completed submission of flow run 'x'"}, ""},
		"a flow run that was deleted":          {[]string{"Client error '404 Not Found' for url 'http://x/api/flow_runs/c9/set_state'"}, ""},
		"a pool that does not exist":           {[]string{"Work pool 'etl' not found!"}, "does not exist"},
		"a process that does not exist":        {[]string{"Unable to kill process: not found."}, ""},
		"an API that does not answer":          {[]string{"Failed the last 3 attempts. "}, "does not reach the Prefect API"},
		"a certificate, and what follows":      {[]string{"httpx.ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED]", "An exception occurred."}, "does not trust the certificate"},
	} {
		s, _, found := Last(test.lines, true)
		if found != (test.want != "") || !bytes.Contains([]byte(s.Explanation), []byte(test.want)) {
			t.Errorf("%s: found %t, %q; want %q", name, found, s.Explanation, test.want)
		}
	}
}

func TestTracesAreShortened(t *testing.T) {
	got := WithoutFrames([]string{
		"Worker 'dev-worker-1' started!",
		"Traceback (most recent call last):",
		`  File "/usr/lib/x.py", line 3, in post`,
		"    return await self.request(",
		"           ^^^^^^^^^^^^^^^^^^^",
		"  + Exception Group Traceback (most recent call last):",
		"  +-+---------------- 1 ----------------",
		`    |   File "/usr/lib/x.py", line 3, in post`,
		"      | prefect.exceptions.PrefectHTTPStatusError: Client error '403 Forbidden'",
		"      | Response: {'detail': 'Forbidden'}",
		"      +------------------------------------",
		"",
		"An exception occurred.",
	})
	want := []string{
		"Worker 'dev-worker-1' started!",
		"prefect.exceptions.PrefectHTTPStatusError: Client error '403 Forbidden'",
		"Response: {'detail': 'Forbidden'}",
		"An exception occurred.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestALineOfAFlowIsNoSymptom: what a vendor's API answers to a flow says nothing about the worker.
func TestALineOfAFlowIsNoSymptom(t *testing.T) {
	worker := []string{
		"Worker 'dev-worker-1' started!",
		"14:07:31.100 | INFO    | prefect.flow_runs.worker - Worker 'dev-worker-1' submitting flow run 'x'",
		"14:07:33.100 | ERROR   | prefect.flow_runs.worker - Failed to submit flow run 'y'",
		"httpx.ConnectError: All connection attempts failed",
		"An exception occurred.",
	}
	flow := []string{
		"14:07:32.000 | INFO    | Flow run 'loose-lemur' - Client error '401 Unauthorized' for url 'https://vendor.example'",
		"14:07:32.100 | ERROR   | Task run 'load-0' - Task run encountered an exception httpx.ConnectError",
		"Traceback (most recent call last):",
		"httpx.HTTPStatusError: Client error '403 Forbidden'",
		"14:07:32.200 | ERROR   | prefect.engine - Execution of flow run '7a0c567a' exited with unexpected exception",
		"Traceback (most recent call last):",
		"httpx.HTTPStatusError: Client error '403 Forbidden'",
	}
	lines := slices.Concat(worker[:2], flow, worker[2:])
	if got := OfWorker(lines); !slices.Equal(got, worker) {
		t.Errorf("got  %q\nwant %q", got, worker)
	}
	if s, line, found := Last(OfWorker(slices.Concat(worker[:2], flow)), false); found {
		t.Errorf("a line of a flow is taken for %q: %s", s.Explanation, line)
	}
	// AND neither is what one prints that AWS denies something, in the process of the worker
	for ecs, want := range map[bool]bool{false: false, true: true} {
		if _, _, found := Last([]string{"An error occurred (AccessDenied): User: x is not authorized to perform: s3:GetObject on resource: y"}, ecs); found != want {
			t.Errorf("ecs pool %t: found %t", ecs, found)
		}
	}
	// Without the name of the run it would be one.
	if _, _, found := Last(slices.Concat(worker[:2], flow), false); !found {
		t.Error("the lines show nothing")
	}
}
