package probe

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/golden"
	"prefect-worker-ecs/internal/test/testtools"
)

// python runs a program of Python in this folder, which leaves no byte code behind.
func python(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testtools.Environment(t, pyenv.Moto).Python(), append([]string{"-B"}, args...)...)
	cmd.Env = pyenv.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func TestTheProbe(t *testing.T) {
	if out := python(t, "-m", "unittest", "probe_test"); !strings.Contains(out, "\nOK") {
		t.Errorf("no tests ran:\n%s", out)
	}
}

func TestTheArchiveHoldsTheProbe(t *testing.T) {
	archive := Archive()
	if !bytes.Equal(archive, Archive()) {
		t.Error("two calls gave different bytes")
	}
	files, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	testtools.NoError(t, err)
	if len(files.File) != 1 || files.File[0].Name != "probe.py" || files.File[0].Mode().Perm() != 0o644 {
		t.Fatalf("the archive holds %v", files.File)
	}
	file, err := files.File[0].Open()
	testtools.NoError(t, err)
	if content, err := io.ReadAll(file); err != nil || !bytes.Equal(content, code) {
		t.Errorf("the archive does not hold the probe: %v", err)
	}
}

// TestTheFunctionIsWarm: what a function keeps between invocations it has as long as on Lambda.
func TestTheFunctionIsWarm(t *testing.T) {
	// GIVEN code that says which of its process's invocations it is
	f := Function{Python: testtools.Environment(t, pyenv.Moto).Python(), Archive: t.TempDir()}
	t.Cleanup(func() { _ = f.Close() })
	write := func(code string) {
		t.Helper()
		testtools.NoError(t, os.WriteFile(filepath.Join(f.Archive, "probe.py"), []byte(code), 0o644))
	}
	write(`
import os, time
number = 0
def handler(event, context):
    global number
    number += 1
    print(os.environ["NAME"], number)
    if number == 2:
        raise KeyError("two\nlines")
    if number == 4:
        os._exit(3)
    if os.environ["NAME"] == "hangs":
        open(os.environ["MARK"], "w").close()
        time.sleep(600)
`)
	invoke := func(ctx context.Context, want, fails string, variables ...string) {
		t.Helper()
		got, err := f.Run(ctx, variables)
		if got != want || fmt.Sprint(err) != fails {
			t.Errorf("got  %q, %v\nwant %q, %s", got, err, want, fails)
		}
	}
	// WHEN it is invoked again THEN it is warm, also after an error
	invoke(t.Context(), "a 1\n", "<nil>", "NAME=a")
	invoke(t.Context(), "a 2\n", `run the probe: KeyError: 'two\nlines'`, "NAME=a")
	invoke(t.Context(), "a 3\n", "<nil>", "NAME=a")
	// WHEN its process ends, or is to have other variables THEN there is another
	invoke(t.Context(), "", "run the probe: exit status 3: ", "NAME=a")
	invoke(t.Context(), "a 1\n", "<nil>", "NAME=a")
	invoke(t.Context(), "b 1\n", "<nil>", "NAME=b")
	// WHEN whoever asked gives up THEN it ends
	ctx, cancel := context.WithCancel(t.Context())
	mark := filepath.Join(t.TempDir(), "mark")
	go func() {
		defer cancel()
		_ = poll.Until(t.Context(), 10*time.Millisecond, func() (bool, error) {
			_, err := os.Stat(mark)
			return err == nil, nil
		})
	}()
	invoke(ctx, "", "run the probe: signal: killed: ", "NAME=hangs", "MARK="+mark)
	// WHEN its input ends, as that of a killed supervisor does THEN so does it
	invoke(t.Context(), "c 1\n", "<nil>", "NAME=c")
	process := f.cmd
	if err := f.Close(); err != nil || !process.ProcessState.Exited() {
		t.Errorf("%v, %v", process.ProcessState, err)
	}
	// WHEN the code cannot be imported THEN each invocation says so
	write("import nothing_of_the_kind")
	for range 2 {
		invoke(t.Context(), "", "run the probe: exit status 1: ModuleNotFoundError: No module named 'nothing_of_the_kind'", "NAME=a")
	}
}

// sent are the metrics that the probe publishes, as in CloudWatch.
func sent(t *testing.T) []string {
	t.Helper()
	out := python(t, "-c", `
import json, probe_test
test = probe_test.ProbeTest()
test.setUp()
test.measure(SCALING=probe_test.SCALING)
print(json.dumps([[d["MetricName"], *sorted(x["Name"] for x in d["Dimensions"])] for d in test.aws.data]))
test.tearDown()`)
	var data [][]string
	testtools.NoError(t, json.Unmarshal([]byte(out), &data))
	var names []string
	for _, d := range data {
		names = append(names, strings.Join(d, " "))
	}
	return names
}

// TestAlarmsLookAtWhatThereIs: an alarm on a metric without data never fires, and so does
// one that treats missing data as healthy.
func TestAlarmsLookAtWhatThereIs(t *testing.T) {
	published := sent(t)
	looked := 0
	for environment, content := range golden.Stacks(t) {
		var stack struct {
			Resource map[string]map[string]map[string]any
		}
		testtools.NoError(t, json.Unmarshal(content, &stack))
		transformation, _ := stack.Resource["aws_cloudwatch_log_metric_filter"]["known_failures"]["metric_transformation"].(map[string]any)
		ofLog, _ := transformation["name"].(string)
		for address, alarm := range stack.Resource["aws_cloudwatch_metric_alarm"] {
			metrics := []map[string]any{alarm}
			if queries, ok := alarm["metric_query"].([]any); ok {
				metrics = nil
				for _, q := range queries {
					if m, ok := q.(map[string]any)["metric"].(map[string]any); ok {
						metrics = append(metrics, m)
					}
				}
			}
			for _, m := range metrics {
				dimensions, _ := m["dimensions"].(map[string]any)
				name := strings.Join(append([]string{fmt.Sprint(m["metric_name"])}, slices.Sorted(maps.Keys(dimensions))...), " ")
				if why := unseen(m["namespace"].(string), name, published, ofLog); why != "" {
					t.Errorf("%s %s: %s", environment, address, why)
				}
				looked++
			}
			// CloudWatch keeps data of less than a minute only if it is sent as such, and looks back
			// one day at most (PutMetricAlarm in its API reference).
			period, _ := metrics[0]["period"].(float64)
			if within := alarm["evaluation_periods"].(float64); int(period)%60 != 0 || period < 60 || period*within > 86400 || alarm["datapoints_to_alarm"].(float64) > within {
				t.Errorf("%s %s: %v periods of %v s", environment, address, within, period)
			}
			if len(alarm["alarm_actions"].([]any)) == 0 || len(alarm["alarm_description"].(string)) > 1024 {
				t.Errorf("%s %s: nobody is told, or at too great length", environment, address)
			}
		}
	}
	if looked < 30 {
		t.Errorf("only %d metrics were looked at", looked)
	}
	// AND a wrong one is found
	for _, wrong := range [][2]string{{"PrefectWorker", "WorkersOnline"}, {"PrefectWorker", "WorkersOnline Service WorkPool"}, {"PrefectWorker", "Workers Service"}, {"Prefect", "WorkersOnline Service"}, {"AWS/ECS", "MemoryUtilization ServiceName"}} {
		if unseen(wrong[0], wrong[1], published, "") == "" {
			t.Errorf("%s %s passes", wrong[0], wrong[1])
		}
	}
}

// unseen says why a metric has no data, or nothing. Those of AWS are from the pages on metrics
// and dimensions of ECS, SQS and RDS.
func unseen(namespace, name string, published []string, ofLog string) string {
	known := map[string][]string{
		Namespace: append(slices.Clone(published), ofLog),
		"AWS/ECS": {"CPUUtilization ClusterName ServiceName", "MemoryUtilization ClusterName ServiceName"},
		"AWS/SQS": {"ApproximateNumberOfMessagesVisible QueueName"},
		"AWS/RDS": {"FreeStorageSpace DBInstanceIdentifier", "DatabaseConnections DBInstanceIdentifier"},
	}
	if !slices.Contains(known[namespace], name) {
		return "nobody sends " + namespace + " " + name
	}
	return ""
}
