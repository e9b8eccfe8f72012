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
		"nothing":                           {nil, ""},
		"a worker that works":               {[]string{"Discovered type 'process' for work pool 'p'.", ok}, ""},
		"it says started and then fails":    {[]string{ok, "prefect.exceptions.PrefectHTTPStatusError: Client error '404 Not Found' for url", "An exception occurred."}, "does not know the address"},
		"the cause comes before its result": {[]string{"Client error '401 Unauthorized' for url", "An exception occurred."}, "refuses the key"},
		"a failure of an earlier task":      {[]string{"Client error '401 Unauthorized'", "An exception occurred.", ok}, ""},
		"it fails again and again":          {[]string{"Client error '401 Unauthorized'", "An exception occurred.", ok, "Client error '401 Unauthorized'", "An exception occurred."}, "refuses the key"},
		"an unknown exception":              {[]string{"Traceback", "An exception occurred."}, "ended with an exception"},
	} {
		s, _, found := Last(test.lines)
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
