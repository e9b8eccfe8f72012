package faststart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"prefect-worker-ecs/internal/test/testtools"
)

// BenchmarkSynth runs the program of this repository without and with the fast start, alternately,
// for several environments, with warm and with cold caches. It reports medians, their ratios, and
// where the time goes. The memory is the peak of the largest process.
func BenchmarkSynth(b *testing.B) {
	program := filepath.Join(b.TempDir(), "program")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", program, "../..").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, environments := range []int{1, 10, 50} {
		b.Run(fmt.Sprintf("environments=%d/caches=warm", environments), func(b *testing.B) {
			dir := benchWorkspace(b, environments)
			benchSynth(b, program, dir, true) // warms the caches
			pairs(b, program, dir, func() []string { return nil })
		})
	}
	b.Run("environments=1/caches=cold", func(b *testing.B) {
		pairs(b, program, benchWorkspace(b, 1), func() []string {
			home := b.TempDir()
			return []string{"HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, ".cache"), "JSII_RUNTIME_PACKAGE_CACHE_ROOT=" + filepath.Join(home, "jsii")}
		})
	})
}

// benchWorkspace returns a folder with some environments.
func benchWorkspace(b *testing.B, environments int) string {
	dir := b.TempDir()
	config := filepath.Join(dir, "config", "environments")
	testtools.NoError(b, os.MkdirAll(config, 0o700))
	for i := range environments {
		testtools.NoError(b, os.WriteFile(filepath.Join(config, fmt.Sprintf("e%02d.yaml", i)), fmt.Appendf(nil, "name_suffix: -e%02d\n", i), 0o600))
	}
	return dir
}

// pairs measures a run without and one with the fast start in each iteration.
func pairs(b *testing.B, program, dir string, env func() []string) {
	values := map[string][]float64{}
	for b.Loop() {
		for prefix, on := range map[string]bool{"off-": false, "on-": true} {
			for name, value := range benchSynth(b, program, dir, on, env()...) {
				values[prefix+name] = append(values[prefix+name], value)
			}
		}
	}
	median := map[string]float64{}
	for name, all := range values {
		slices.Sort(all)
		median[name] = all[len(all)/2]
		b.ReportMetric(median[name], name)
	}
	b.ReportMetric(median["off-s"]/median["on-s"], "x-faster")
	b.ReportMetric(median["off-MB"]/median["on-MB"], "x-smaller")
	b.ReportMetric(0, "ns/op") // of a pair, which says nothing
}

// benchSynth runs the program once and returns its time and memory, and the times of its phases.
func benchSynth(b *testing.B, program, dir string, on bool, env ...string) map[string]float64 {
	trace := filepath.Join(b.TempDir(), "trace")
	cmd := exec.CommandContext(b.Context(), program)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PREFECT_WORKER_FASTSTART=off")
	if on {
		cmd.Env = append(os.Environ(), "PREFECT_WORKER_FASTSTART=", traceVariable+"="+trace)
	}
	cmd.Env = append(cmd.Env, env...)
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	end := time.Now()
	peak := float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1e3 // kilobytes
	if runtime.GOOS == "darwin" {
		peak /= 1e3 // bytes
	}
	values := map[string]float64{"s": end.Sub(begin).Seconds(), "MB": peak}
	if on {
		phases(b, trace, begin, end, values)
	}
	return values
}

// phases adds the times, in milliseconds, at which the trace of a run cuts it.
func phases(b *testing.B, trace string, begin, end time.Time, values map[string]float64) {
	text, err := os.ReadFile(trace)
	testtools.NoError(b, err)
	var entry struct{ Times [][2]any }
	for line := range bytes.Lines(text) {
		testtools.NoError(b, json.Unmarshal(line, &entry))
	}
	at := map[string]float64{"end": float64(end.UnixMicro()) / 1000}
	for _, t := range entry.Times {
		at[t[0].(string)], _ = t[1].(float64)
	}
	previous := float64(begin.UnixMicro()) / 1000
	for _, phase := range []struct{ name, until string }{
		{"go-ms", "node"}, {"node-ms", "preload"}, {"jsii-ms", "constructs"}, {"cdktf-ms", "@cdktf/provider-aws"}, {"stack-ms", "exit"}, {"exit-ms", "end"},
	} {
		values[phase.name] = at[phase.until] - previous
		previous = at[phase.until]
	}
}
