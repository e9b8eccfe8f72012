// Command bench measures what faststart is for: it builds the program of this
// repository and runs a synth with and without faststart, alternately, for 1,
// 10 and 50 environments, with warm and with cold caches. It prints a table of
// medians and does not judge them.
//
// Run it at the root of the repository: go run ./internal/faststart/bench
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	runs := flag.Int("runs", 5, "pairs of runs with warm caches")
	cold := flag.Int("cold", 1, "pairs of runs with cold caches, about 20 s each")
	flag.Parse()
	if err := bench(*runs, *cold); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func bench(runs, cold int) error {
	tmp, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	b := &bencher{binary: filepath.Join(tmp, "program"), tmp: tmp}
	build := exec.Command("go", "build", "-o", b.binary, ".")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}

	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Printf("%s/%s, %d CPUs; medians; memory is the peak of the whole process tree (sum of RSS)\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	fmt.Fprintln(out, "environments\tcaches\truns\toff s\ton s\tfaster\toff MB\ton MB\tsmaller\t")
	row := func(environments int, caches string, pairs []pair) {
		off, on := median(pairs, func(p pair) sample { return p.off }), median(pairs, func(p pair) sample { return p.on })
		fmt.Fprintf(out, "%d\t%s\t%d\t%.2f\t%.2f\t%.1f x\t%.0f\t%.0f\t%.1f x\t\n", environments, caches, len(pairs),
			off.seconds, on.seconds, off.seconds/on.seconds, off.megabytes, on.megabytes, off.megabytes/on.megabytes)
	}

	var one []pair
	onSeconds := map[int]float64{}
	for _, environments := range []int{1, 10, 50} {
		workspace, err := b.workspace(environments)
		if err != nil {
			return err
		}
		if _, err := b.run(workspace, true, nil); err != nil { // warms the caches
			return err
		}
		pairs, err := b.pairs(workspace, runs, func() []string { return nil })
		if err != nil {
			return err
		}
		row(environments, "warm", pairs)
		onSeconds[environments] = median(pairs, func(p pair) sample { return p.on }).seconds
		if environments == 1 {
			one = pairs
		}
	}
	if cold > 0 {
		workspace, err := b.workspace(1)
		if err != nil {
			return err
		}
		pairs, err := b.pairs(workspace, cold, b.coldCaches)
		if err != nil {
			return err
		}
		row(1, "cold", pairs)
	}
	if err := out.Flush(); err != nil {
		return err
	}

	fmt.Printf("\n50 environments take %.2f s more than one\n", onSeconds[50]-onSeconds[1])

	fmt.Print("\nWhere the time goes, 1 environment, warm caches\n\n")
	for i, name := range one[0].on.names {
		on := median(one, func(p pair) sample { return sample{seconds: p.on.phases[i], megabytes: p.on.seconds} })
		fmt.Fprintf(out, "on\t%s\t%.0f ms\t%.0f %%\t\n", name, on.seconds*1000, 100*on.seconds/on.megabytes)
	}
	if err := b.stockPhases(out); err != nil {
		return err
	}
	return out.Flush()
}

type bencher struct{ binary, tmp string }

// workspace makes a folder with that many environments.
func (b *bencher) workspace(environments int) (string, error) {
	dir, err := os.MkdirTemp(b.tmp, "workspace-*")
	if err != nil {
		return "", err
	}
	config := filepath.Join(dir, "config", "environments")
	err = os.MkdirAll(config, 0o700)
	for i := range environments {
		text := fmt.Sprintf("name_suffix: -e%02d\n", i)
		err = errors.Join(err, os.WriteFile(filepath.Join(config, fmt.Sprintf("e%02d.yaml", i)), []byte(text), 0o600))
	}
	return dir, err
}

// coldCaches returns an environment where nothing is cached, not even by jsii.
func (b *bencher) coldCaches() []string {
	home, err := os.MkdirTemp(b.tmp, "home-*")
	if err != nil {
		return nil
	}
	return []string{
		"HOME=" + home,
		"XDG_CACHE_HOME=" + filepath.Join(home, ".cache"),
		"JSII_RUNTIME_PACKAGE_CACHE_ROOT=" + filepath.Join(home, "jsii"),
	}
}

type sample struct {
	seconds, megabytes float64
	names              []string  // of the phases, with faststart only
	phases             []float64 // in seconds
}

type pair struct{ off, on sample }

// pairs runs the program without and with faststart, n times alternately.
func (b *bencher) pairs(workspace string, n int, env func() []string) ([]pair, error) {
	var pairs []pair
	for range n {
		off, err := b.run(workspace, false, env())
		if err != nil {
			return nil, err
		}
		on, err := b.run(workspace, true, env())
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{off, on})
	}
	return pairs, nil
}

func (b *bencher) run(workspace string, on bool, env []string) (sample, error) {
	traceFile := filepath.Join(b.tmp, "trace")
	os.Remove(traceFile)
	cmd := exec.Command(b.binary)
	cmd.Dir = workspace
	cmd.Env = append(os.Environ(), "PREFECT_WORKER_FASTSTART=off")
	if on {
		cmd.Env = append(os.Environ(), "PREFECT_WORKER_FASTSTART=", "PREFECT_WORKER_FASTSTART_TRACE="+traceFile)
	}
	cmd.Env = append(cmd.Env, env...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output

	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var s sample
	for ticker := time.NewTicker(5 * time.Millisecond); ; {
		select {
		case err := <-done:
			ticker.Stop()
			s.seconds = time.Since(begin).Seconds()
			if err != nil {
				return s, fmt.Errorf("%w\n%s", err, &output)
			}
			if on {
				s.names, s.phases, err = readPhases(traceFile, begin, begin.Add(time.Duration(s.seconds*float64(time.Second))))
			}
			return s, err
		case <-ticker.C:
			s.megabytes = max(s.megabytes, float64(treeKilobytes(cmd.Process.Pid))/1000)
		}
	}
}

// readPhases cuts a run at the times that the kernel has noted.
func readPhases(file string, begin, end time.Time) (names []string, seconds []float64, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var entry struct{ Times [][2]any }
	for line := range bytes.Lines(text) {
		if err := json.Unmarshal(line, &entry); err != nil {
			return nil, nil, err
		}
	}
	at := map[string]float64{}
	for _, t := range entry.Times {
		name, _ := t[0].(string)
		at[name], _ = t[1].(float64)
	}
	cuts := []struct{ phase, until string }{
		{"Go starts, reads the configuration", "node"},
		{"Node starts", "preload"},
		{"jsii starts", "constructs"},
		{"constructs and cdktf load", "@cdktf/provider-aws"},
		{"the stack is built and written", "exit"},
	}
	previous := float64(begin.UnixMicro()) / 1000
	for _, cut := range cuts {
		t, found := at[cut.until]
		if !found {
			return nil, nil, fmt.Errorf("faststart is not active: %s", text)
		}
		names = append(names, cut.phase)
		seconds = append(seconds, (t-previous)/1000)
		previous = t
	}
	names = append(names, "both processes end")
	return names, append(seconds, (float64(end.UnixMicro())/1000-previous)/1000), nil
}

// stockPhases prints what jsii itself measures, without faststart.
func (b *bencher) stockPhases(out *tabwriter.Writer) error {
	workspace, err := b.workspace(1)
	if err != nil {
		return err
	}
	cmd := exec.Command(b.binary)
	cmd.Dir = workspace
	cmd.Env = append(os.Environ(), "PREFECT_WORKER_FASTSTART=off", "JSII_DEBUG_TIMING=1")
	begin := time.Now()
	text, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	rest := time.Since(begin)
	line := regexp.MustCompile(`timing\] (tar\.extract|loadAssemblyFromPath|require)\(.*: ([\d.]+m?s)\n`)
	sum := map[string]time.Duration{}
	for _, match := range line.FindAllStringSubmatch(string(text), -1) {
		d, err := time.ParseDuration(match[2])
		if err != nil {
			return err
		}
		sum[match[1]] += d
		rest -= d
	}
	total := rest
	for _, d := range sum {
		total += d
	}
	for _, phase := range []struct {
		name string
		d    time.Duration
	}{
		{"packages are hashed and unpacked", sum["tar.extract"]},
		{"type descriptions are parsed", sum["loadAssemblyFromPath"]},
		{"JavaScript is loaded", sum["require"]},
		{"all the rest", rest},
	} {
		fmt.Fprintf(out, "off\t%s\t%d ms\t%.0f %%\t\n", phase.name, phase.d.Milliseconds(), 100*phase.d.Seconds()/total.Seconds())
	}
	return nil
}

func median(pairs []pair, of func(pair) sample) sample {
	var seconds, megabytes []float64
	for _, p := range pairs {
		seconds = append(seconds, of(p).seconds)
		megabytes = append(megabytes, of(p).megabytes)
	}
	slices.Sort(seconds)
	slices.Sort(megabytes)
	return sample{seconds: seconds[len(seconds)/2], megabytes: megabytes[len(megabytes)/2]}
}

// treeKilobytes returns the resident memory of a process and all its children.
func treeKilobytes(root int) int {
	if runtime.GOOS == "linux" {
		return linuxTree(root)
	}
	list, _ := exec.Command("ps", "-axo", "pid=,ppid=,rss=").Output()
	parent, resident := map[int]int{}, map[int]int{}
	for line := range strings.Lines(string(list)) {
		var pid, ppid, rss int
		if n, _ := fmt.Sscan(line, &pid, &ppid, &rss); n == 3 {
			parent[pid], resident[pid] = ppid, rss
		}
	}
	sum := 0
	for pid, rss := range resident {
		for p := pid; p > 1; p = parent[p] {
			if p == root {
				sum += rss
				break
			}
		}
	}
	return sum
}

// linuxTree reads /proc, which disturbs the measured processes less than ps.
func linuxTree(pid int) int {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	sum := 0
	status, _ := os.ReadFile(filepath.Join(dir, "status"))
	if _, after, found := strings.Cut(string(status), "VmRSS:"); found {
		fmt.Sscan(after, &sum)
	}
	threads, _ := filepath.Glob(filepath.Join(dir, "task", "*", "children"))
	for _, file := range threads {
		children, _ := os.ReadFile(file)
		for _, child := range strings.Fields(string(children)) {
			if pid, err := strconv.Atoi(child); err == nil {
				sum += linuxTree(pid)
			}
		}
	}
	return sum
}
