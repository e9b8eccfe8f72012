package symptoms

import (
	"strings"
	"testing"
)

func TestTheFilterPatternIsOneThatCloudWatchTakes(t *testing.T) {
	pattern := FilterPattern()
	// PutMetricFilter in the API reference of CloudWatch Logs.
	if len(pattern) > 1024 {
		t.Errorf("the pattern has %d characters, at most 1024 are allowed", len(pattern))
	}
	phrases := strings.Split(strings.TrimSuffix(strings.TrimPrefix(pattern, `?"`), `"`), `" ?"`)
	n := 0
	for _, s := range List {
		if !s.Alarm {
			continue
		}
		for _, text := range s.Lines {
			if strings.ContainsAny(text, `"\`) {
				t.Errorf("%q would end its phrase", text)
			}
			if n >= len(phrases) || phrases[n] != text {
				t.Errorf("the pattern lacks %q", text)
			}
			n++
		}
	}
	if n != len(phrases) {
		t.Errorf("the pattern has %d phrases, the list %d", len(phrases), n)
	}
}

// TestALineOfAFlowRaisesNoAlarm: of a worker that ends, the alarm's pattern selects a line, whatever the reason; of a
// flow whose vendor refuses it, none.
func TestALineOfAFlowRaisesNoAlarm(t *testing.T) {
	phrases := strings.Split(strings.TrimSuffix(strings.TrimPrefix(FilterPattern(), `?"`), `"`), `" ?"`)
	selected := func(lines string) string {
		for line := range strings.Lines(lines) {
			for _, phrase := range phrases {
				if strings.Contains(line, phrase) {
					return line
				}
			}
		}
		return ""
	}
	const trace = "Traceback (most recent call last):\n  File \"x.py\", line 3, in get\nhttpx.HTTPStatusError: Client error '401 Unauthorized' for url 'https://vendor.example'\n"
	for lines, want := range map[string]bool{
		"Worker 'dev-worker-1' started!\n" + trace + "An exception occurred.\n":                                                                         true,
		"14:07:31.123 | ERROR   | prefect.worker.process.w - Unable to reach the Prefect API while starting up\n":                                       true,
		"Failed the last 3 attempts. Please check your environment and configuration.\n":                                                                true,
		"14:07:32.000 | INFO    | Flow run 'loose-lemur' - Client error '403 Forbidden' for url 'https://vendor.example'\n":                             false,
		"14:07:32.100 | ERROR   | Task run 'load-0' - Task run encountered an exception httpx.ConnectError: All connection attempts failed\n":           false,
		"14:07:32.200 | ERROR   | Flow run 'loose-lemur' - Encountered an exception during execution:\n" + trace:                                        false,
		"ERROR: No matching distribution found for nothing\nWork pool 'etl' is currently paused.\nthe file 'a' not found!\nName or service not known\n": false,
	} {
		if got := selected(lines); (got != "") != want {
			t.Errorf("%q: selected is %q", lines, got)
		}
	}
}

func TestALineShowsAFailure(t *testing.T) {
	for line, want := range map[string]string{
		"Client error '401 Unauthorized' for url":                                    "rejects the key",
		"Client error '404 Not Found' for url 'http://x/api/work_pools/p'":           "has no such address",
		"Client error '404 Not Found' for url 'http://x/api/flow_runs/c9/set_state'": "",
		"Work pool 'etl' not found!":                                                 "does not exist",
		"Failed the last 3 attempts. ":                                               "does not reach the Prefect API",
		"Worker 'w-1' started!":                                                      "",
		"Unable to kill process: not found.":                                         "",
	} {
		got := ""
		for _, s := range List {
			if s.In(line) {
				got = s.Explanation
				break
			}
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
