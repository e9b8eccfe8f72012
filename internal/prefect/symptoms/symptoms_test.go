package symptoms

import (
	"fmt"
	"strings"
	"testing"

	"prefect-worker-ecs/internal/test/golden"
)

func TestTheFilterPatternIsOneThatCloudWatchTakes(t *testing.T) {
	pattern := FilterPattern()
	// PutMetricFilter in the API reference of CloudWatch Logs.
	if len(pattern) > 1024 {
		t.Errorf("the pattern has %d characters, at most 1024 are allowed", len(pattern))
	}
	for _, s := range List {
		for _, text := range s.Lines {
			if strings.ContainsAny(text, `"\`) {
				t.Errorf("%q would end its phrase", text)
			}
			if strings.Contains(pattern, `?"`+text+`"`) != s.Alarm {
				t.Errorf("whether the pattern has %q is not as its symptom says", text)
			}
		}
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

// TestGeneratedSymptoms: the table of symptoms in the documentation is the list.
func TestGeneratedSymptoms(t *testing.T) {
	var table strings.Builder
	table.WriteString("| line | meaning | fix |\n|---|---|---|\n")
	for _, s := range List {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", strings.Join(s.Lines, "`, `"), s.Explanation, s.Fix)
	}
	golden.Section(t, "../../../docs/troubleshooting.md", "symptoms", strings.ReplaceAll(table.String(), "||", "\\|\\|"))
}
