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
		if s.NoAlarm {
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

func TestALineShowsAFailure(t *testing.T) {
	for line, want := range map[string]string{
		"Client error '401 Unauthorized' for url":                                    "rejects the key",
		"Client error '404 Not Found' for url 'http://x/api/work_pools/p'":           "does not know the address",
		"Client error '404 Not Found' for url 'http://x/api/flow_runs/c9/set_state'": "",
		"Work pool 'etl' not found!":                                                 "does not exist",
		"Failed the last 3 attempts. ":                                               "lost the Prefect API",
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
