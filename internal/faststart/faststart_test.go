package faststart

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefect-worker-ecs/internal/test/testtools"
)

// runVariable turns the test binary into one that runs programs.
const runVariable = "PREFECT_WORKER_FASTSTART_TEST_RUN"

func TestMain(m *testing.M) {
	if names := os.Getenv(runVariable); names != "" {
		runPrograms(strings.Split(names, ","))
		return
	}
	code := m.Run()
	Close() // what the modules unpacked, although no test here uses it
	os.Exit(code)
}

// home is a home directory for programs, with a cache of its own for this
// package. jsii's package cache is the user's: filling it takes ten seconds.
type home struct {
	dir string
	// prefix is a command that starts the programs. Empty: they are started directly.
	prefix []string
}

func newHome(t *testing.T) home {
	t.Helper()
	testtools.Require(t, testtools.Node)
	return home{dir: t.TempDir()}
}

func (h home) environment(t *testing.T) []string {
	root, err := packageCacheRoot()
	testtools.NoError(t, err)
	return append(os.Environ(),
		"HOME="+h.dir,
		"XDG_CACHE_HOME="+filepath.Join(h.dir, ".cache"),
		"JSII_RUNTIME_PACKAGE_CACHE_ROOT="+root,
		"TERRAFORM_BINARY_NAME=echo Terraform v1.99.0",
	)
}

// cache returns the folder that Enable keeps its files in.
func (h home) cache(t *testing.T) string {
	t.Helper()
	base := filepath.Join(h.dir, ".cache")
	if runtime.GOOS == "darwin" {
		base = filepath.Join(h.dir, "Library", "Caches")
	}
	dir, err := cacheDir(base)
	testtools.NoError(t, err)
	return dir
}

// result is what a run of programs leaves.
type result struct {
	report         report
	files          map[string]string
	counts         map[string]int // nil if the kernel was not prepared
	notice         string
	stdout, stderr string // without the report
}

// start starts the programs and returns a function that waits for their result.
func (h home) start(t *testing.T, names string, env ...string) func() result {
	t.Helper()
	dir, tmp := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"cdktf.json": "{}", "asset/a": "an asset"} {
		file := filepath.Join(dir, name)
		testtools.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600))
	}
	// As on macOS, the temporary folder is behind a symbolic link.
	link := filepath.Join(t.TempDir(), "link")
	testtools.NoError(t, os.Symlink(tmp, link))
	traceFile := filepath.Join(t.TempDir(), "trace")
	var stdout, stderr strings.Builder
	args := append(slices.Clone(h.prefix), os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(h.environment(t), runVariable+"="+names, traceVariable+"="+traceFile, "TMPDIR="+link)
	cmd.Env = append(cmd.Env, env...)
	testtools.NoError(t, cmd.Start())
	return func() result {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
		}
		var r result
		printed, last, _ := strings.Cut(stdout.String(), reportPrefix)
		if err := json.Unmarshal([]byte(last), &r.report); err != nil {
			t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
		}
		r.stdout, r.stderr = printed, stderr.String()
		if strings.Contains(r.stderr, "exited abnormally") {
			t.Errorf("stderr: %s", r.stderr)
		}
		if !r.report.WaiterBefore || r.report.WaiterAfter {
			t.Errorf("goroutine of jsii: before Close %v, after %v; want true, false", r.report.WaiterBefore, r.report.WaiterAfter)
		}
		r.files = readFiles(t, dir)
		for name, text := range r.files {
			r.files[name] = strings.ReplaceAll(text, dir, "WORK") // of the state file
		}
		if left := readFiles(t, tmp); len(left) > 0 {
			t.Errorf("left in TMPDIR: %v", left)
		}
		text, _ := os.ReadFile(traceFile)
		for line := range strings.Lines(string(text)) {
			var entry struct {
				Counts map[string]int
				Notice string
			}
			testtools.NoError(t, json.Unmarshal([]byte(line), &entry))
			if entry.Counts != nil {
				r.counts = entry.Counts
			}
			r.notice += entry.Notice
		}
		return r
	}
}

func (h home) run(t *testing.T, names string, env ...string) result {
	t.Helper()
	return h.start(t, names, env...)()
}

func readFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(text)
		if strings.HasSuffix(name, ".zip") {
			files[name] = "" // holds the time
		}
		return err
	})
	testtools.NoError(t, err)
	return files
}

var (
	stockOnce   sync.Once
	stockResult result
	// warmCache is what the first run of mini leaves in the cache.
	warmCache map[string]string
)

// warmHome returns a home in which mini has run.
func warmHome(t *testing.T) home {
	t.Helper()
	stock(t)
	h := newHome(t)
	for name, content := range warmCache {
		testtools.NoError(t, os.WriteFile(filepath.Join(h.cache(t), name), []byte(content), 0o600))
	}
	return h
}

// stock is what the programs give with the stock kernel. It does the work on a version of Node that
// is not known, beside a cache made by one that is.
func stock(t *testing.T) result {
	t.Helper()
	testtools.Require(t, testtools.Node)
	stockOnce.Do(func() {
		h := newHome(t)
		h.run(t, "mini")
		warmCache = readFiles(t, h.cache(t))
		script := filepath.Join(t.TempDir(), "other.js")
		testtools.NoError(t, os.WriteFile(script, []byte(`Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '21.0.0' } });`), 0o600))
		stockResult = h.run(t, "mini,unusual,broken", `NODE_OPTIONS=--require `+script)
	})
	if r := stockResult; r.counts != nil || !strings.Contains(r.notice, "kernel failed") || len(r.report.Errors) != 1 || r.report.Errors["broken"] == "" {
		t.Fatalf("not done by the stock kernel, or with other errors: %v %q %v", r.counts, r.notice, r.report.Errors)
	}
	return stockResult
}

// sameAsStock fails the test unless the program wrote what it writes stock.
func sameAsStock(t *testing.T, name string, got result) {
	t.Helper()
	want := map[string]string{}
	for file, text := range stock(t).files {
		if strings.HasPrefix(file, name+"/") {
			want[file] = text
		}
	}
	have := map[string]string{}
	for file, text := range got.files {
		if strings.HasPrefix(file, name+"/") {
			have[file] = text
		}
	}
	if len(want) < 2 {
		t.Fatalf("stock wrote only %d files of %s", len(want), name)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("%s differs from stock (-stock +fast):\n%s", name, diff)
	}
	if e := got.report.Errors[name]; e != "" {
		t.Errorf("%s: %s", name, e)
	}
}

// warm reports whether a run found all that it could have kept.
func (r result) warm() bool {
	return r.counts["checksums"] == len(packages) && r.counts["compiled"] == 0 && r.counts["compiledFromCache"] > 50 &&
		r.counts["indexesBuilt"] == 0 && r.counts["assembliesParsedWhole"] == 0 && r.notice == ""
}

func TestSameOutputFirstAndNextTime(t *testing.T) {
	t.Parallel()
	h := newHome(t)

	// WHEN there is no cache THEN the output is the same, and the cache is built
	first := h.run(t, "mini")
	sameAsStock(t, "mini", first)
	if first.counts["indexesBuilt"] != len(packages) || first.counts["checksums"] != 0 || first.counts["compiledFromCache"] != 0 {
		t.Errorf("first run: %v", first)
	}

	// WHEN there is THEN the output is the same, and nothing is read that is not needed
	second := h.run(t, "mini")
	sameAsStock(t, "mini", second)
	if !second.warm() || second.counts["submodules"] != 7 {
		t.Errorf("second run: %v %v", second.counts, second.notice)
	}
	// AND nothing is said, neither by jsii nor by Node
	if said := first.stdout + first.stderr + second.stdout + second.stderr; said != "" {
		t.Errorf("printed: %s", said)
	}

	// THEN nothing is written but the cache, which is the user's alone
	for file := range readFiles(t, h.dir) {
		path := filepath.Join(h.dir, file)
		info, err := os.Stat(path)
		testtools.NoError(t, err)
		if filepath.Dir(path) != h.cache(t) || info.Mode().Perm() != 0o600 {
			t.Errorf("wrote %s with mode %v", file, info.Mode())
		}
	}
}

func TestResourceThatNoOtherStackUses(t *testing.T) {
	t.Parallel()
	// GIVEN a cache made by another stack
	h := warmHome(t)

	// WHEN a stack needs what that one did not
	r := h.run(t, "unusual")

	// THEN that loads by itself, and is there the next time
	sameAsStock(t, "unusual", r)
	if r.counts["checksums"] != len(packages) || r.counts["compiled"] == 0 || r.counts["compiled"] > 60 {
		t.Errorf("first run: %v", r.counts)
	}
	again := h.run(t, "unusual")
	sameAsStock(t, "unusual", again)
	if !again.warm() {
		t.Errorf("second run: %v", again.counts)
	}
	// AND what the first stack needs is still there
	if mini := h.run(t, "mini"); !mini.warm() {
		t.Errorf("first stack again: %v", mini.counts)
	}
}

func TestErrorsReadTheSame(t *testing.T) {
	t.Parallel()
	// The folders of a run, and a name inside Node that V8 forgets early.
	random := regexp.MustCompile(`/[^ ]*/jsii-(kernel|runtime)[.-]\w+/|Immediate\.\S+`)

	want := random.ReplaceAllString(stock(t).report.Errors["broken"], "")
	got := random.ReplaceAllString(newHome(t).run(t, "broken").report.Errors["broken"], "")

	if !strings.Contains(want, "Object creation stack:") {
		t.Fatalf("stock error has no stack: %s", want)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-stock +fast):\n%s", diff)
	}
}

func TestDamagedCache(t *testing.T) {
	t.Parallel()
	h := warmHome(t)
	dir := h.cache(t)
	files := readFiles(t, dir)
	if len(files) != 6 { // the script, checksums, code, three indexes
		t.Fatalf("%d files in the cache", len(files))
	}

	for name, damage := range map[string]func(file, content string) string{
		"empty":     func(_, _ string) string { return "" },
		"truncated": func(_, s string) string { return s[:len(s)/2] },
		"changed":   func(_, s string) string { return s[:len(s)-100] + "\x00" + s[len(s)-99:] },
		// Valid by its checksum.
		"index that leads nowhere": func(file, s string) string {
			if !strings.HasPrefix(file, "assembly-") {
				return s
			}
			var index map[string]any
			_ = json.Unmarshal([]byte(s[64:]), &index) // which is JSON
			index["names"], index["positions"] = index["names"].([]any)[:1], index["positions"].([]any)[:2]
			content, _ := json.Marshal(index)
			return fmt.Sprintf("%x%s", sha256.Sum256(content), content)
		},
	} {
		t.Run(name, func(t *testing.T) {
			// GIVEN every file damaged in the same way
			for file, content := range files {
				testtools.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(damage(file, content)), 0o600))
			}
			// WHEN a program runs THEN its output is right
			r := h.run(t, "mini")
			sameAsStock(t, "mini", r)
			if r.warm() {
				t.Error("damaged files were used")
			}
			if name == "index that leads nowhere" {
				return // it stays, as valid, and types are read the stock way
			}
			// AND the cache is repaired
			if again := h.run(t, "mini"); !again.warm() {
				t.Errorf("not repaired: %v %s", again.counts, again.notice)
			}
		})
	}
	t.Run("code that others could have put there", func(t *testing.T) {
		for file, content := range files {
			testtools.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
			if strings.HasPrefix(file, "code-") {
				testtools.NoError(t, os.Chmod(filepath.Join(dir, file), 0o622))
			}
		}
		r := h.run(t, "mini")
		sameAsStock(t, "mini", r)
		if r.counts["compiledFromCache"] != 0 {
			t.Errorf("%v", r.counts)
		}
	})
}

func TestTwoFirstRunsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	one, other := h.start(t, "mini"), h.start(t, "mini")
	sameAsStock(t, "mini", one())
	sameAsStock(t, "mini", other())
	if r := h.run(t, "mini"); !r.warm() {
		t.Errorf("afterwards: %v %s", r.counts, r.notice)
	}
}

func TestInterruptedFirstRun(t *testing.T) {
	t.Parallel()
	// GIVEN a first run that is killed
	h := newHome(t)
	cmd := exec.Command(os.Args[0])
	cmd.Dir = t.TempDir()
	cmd.Env = append(h.environment(t), runVariable+"=mini", "TMPDIR="+t.TempDir())
	testtools.NoError(t, cmd.Start())
	time.Sleep(400 * time.Millisecond)
	testtools.NoError(t, cmd.Process.Kill())
	cmd.Wait()

	// WHEN a program runs THEN it is as if nothing had been
	sameAsStock(t, "mini", h.run(t, "mini"))
	if r := h.run(t, "mini"); !r.warm() {
		t.Errorf("afterwards: %v %s", r.counts, r.notice)
	}
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	t.Run("no folder", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		testtools.NoError(t, os.WriteFile(file, nil, 0o600))
		if dir, err := cacheDir(file); err == nil {
			t.Errorf("no error, but %s", dir)
		}
	})
	t.Run("folder that others can write", func(t *testing.T) {
		base := t.TempDir()
		dir, err := cacheDir(base)
		testtools.NoError(t, err)
		testtools.NoError(t, os.Chmod(dir, 0o770))
		if dir, err := cacheDir(base); err == nil {
			t.Errorf("no error, but %s", dir)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		// GIVEN a cache of another stack in a folder that cannot be written
		h := warmHome(t)
		if os.Getuid() == 0 {
			// Root writes everywhere, unless it lacks the capability to.
			testtools.Require(t, func(context.Context) error {
				_, err := exec.LookPath("setpriv")
				return err
			})
			h.prefix = []string{"setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override"}
		}
		dir := h.cache(t)
		before := readFiles(t, dir)
		testtools.NoError(t, os.Chmod(dir, 0o500))
		defer os.Chmod(dir, 0o700)

		// WHEN a stack needs more THEN it gets it, and nothing is written
		r := h.run(t, "unusual")
		sameAsStock(t, "unusual", r)
		if !strings.Contains(r.notice, "EACCES") {
			t.Errorf("the program did not find the folder read-only: %q", r.notice)
		}
		if diff := cmp.Diff(before, readFiles(t, dir)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNodeOptionsOfTheUser(t *testing.T) {
	t.Parallel()
	// GIVEN a user whose NODE_OPTIONS load a script from a folder with a space,
	// and a home directory with one
	h := newHome(t)
	h.dir = filepath.Join(h.dir, `a "home" of \ his own`)
	testtools.NoError(t, os.Mkdir(h.dir, 0o700))
	dir := filepath.Join(t.TempDir(), "a folder")
	testtools.NoError(t, os.Mkdir(dir, 0o700))
	seen := filepath.Join(dir, "seen")
	script := filepath.Join(dir, "probe.js")
	err := os.WriteFile(script, []byte(`
		process.on('exit', () => {
			console.log('printed by Node');
			console.error('error by Node');
			require('fs').appendFileSync(__dirname + '/seen', JSON.stringify({
				options: process.env.NODE_OPTIONS, certs: process.env.NODE_EXTRA_CA_CERTS, ours: process.env.PREFECT_WORKER_FASTSTART_OPTIONS,
			}) + '\n');
		});`), 0o600)
	testtools.NoError(t, err)
	options := `--max-old-space-size=3000 --require "` + script + `"`
	env := []string{"NODE_OPTIONS=" + options, "NODE_EXTRA_CA_CERTS=" + filepath.Join(dir, "none.pem")}

	// WHEN a program runs with a cache
	h.run(t, "mini", env...)
	testtools.NoError(t, os.Remove(seen))
	r := h.run(t, "unusual", env...)

	// THEN his script ran in the kernel and in the kernel's child, which makes
	// an archive, and both saw the environment as he had set it
	sameAsStock(t, "unusual", r)
	text, err := os.ReadFile(seen)
	testtools.NoError(t, err)
	want, _ := json.Marshal(map[string]string{"options": options, "certs": filepath.Join(dir, "none.pem")})
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 2 {
		t.Errorf("%d Node processes, want the kernel and its child", len(lines))
	}
	for _, line := range lines {
		var got, expected map[string]string
		json.Unmarshal([]byte(line), &got)
		json.Unmarshal(want, &expected)
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Error(diff)
		}
	}
	// AND what the kernel printed came out where it should
	if r.stdout != "printed by Node\n" || !strings.Contains(r.stderr, "error by Node\n") {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
	// AND the Go program, after Enable, sees it likewise
	if got, _ := r.report.lookup("NODE_OPTIONS"); got != options {
		t.Errorf("NODE_OPTIONS in Go: %s", got)
	}
	if got, set := r.report.lookup(optionsVariable); set {
		t.Errorf("left in Go: %s", got)
	}
	// AND the fast way was taken
	if r.counts["checksums"] != len(packages) {
		t.Errorf("%v", r.counts)
	}
}

func TestOtherModuleVersions(t *testing.T) {
	// GIVEN the versions in go.mod THEN they are those that were checked
	if err := checkSurroundings(); err != nil {
		t.Fatalf("%v\nAfter an upgrade change the version in faststart.go and run all tests.", err)
	}
	// WHEN one is another THEN it is refused
	for i := range packages {
		old := packages[i].module
		packages[i].module = strings.TrimSuffix(old, "/") + "1/"
		if err := checkSurroundings(); err == nil {
			t.Errorf("no error for %s", packages[i].module)
		}
		packages[i].module = old
	}
	// WHEN the user has another runtime, or jsii's cache is off THEN likewise
	for name, value := range map[string]string{"JSII_RUNTIME": "x", "JSII_VALIDATE_ASSEMBLIES": "1", "JSII_RUNTIME_PACKAGE_CACHE": "disabled"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if err := checkSurroundings(); err == nil {
				t.Error("no error")
			}
		})
	}
	t.Setenv("JSII_RUNTIME_PACKAGE_CACHE", "Enabled")
	if err := checkSurroundings(); err != nil {
		t.Error(err)
	}
}

func TestPackageGoneFromJsiiCache(t *testing.T) {
	t.Parallel()
	// GIVEN a cache, and a package cache of jsii from which a package was pruned
	h := warmHome(t)
	full, err := packageCacheRoot()
	testtools.NoError(t, err)
	pruned := t.TempDir()
	for _, name := range []string{"cdktf", "@cdktf"} {
		testtools.NoError(t, os.Symlink(filepath.Join(full, name), filepath.Join(pruned, name)))
	}

	// WHEN a program runs THEN the modules load their packages by content
	env := "JSII_RUNTIME_PACKAGE_CACHE_ROOT=" + pruned
	r := h.run(t, "mini", env)
	sameAsStock(t, "mini", r)
	if r.counts["checksums"] != 0 || r.counts["compiled"] != 0 {
		t.Errorf("%v", r.counts)
	}
	// AND the next time by checksum again
	if again := h.run(t, "mini", env); !again.warm() {
		t.Errorf("%v %s", again.counts, again.notice)
	}
}

// TestWholeProgram compares the program that this package is for.
func TestWholeProgram(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	binary := filepath.Join(t.TempDir(), "program")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	// GIVEN all environments of the repository: those shipped, and those of the
	// golden files
	workspace := t.TempDir()
	environments := filepath.Join(workspace, "config", "environments")
	for _, dir := range []string{"config/environments", "testdata/environments"} {
		testtools.NoError(t, os.CopyFS(environments, os.DirFS(filepath.Join(root, dir))))
	}
	h := newHome(t)
	synth := func(env ...string) (map[string]string, string) {
		out := filepath.Join(workspace, "cdktf.out")
		os.RemoveAll(out)
		traceFile := filepath.Join(t.TempDir(), "trace")
		cmd := exec.Command(binary)
		cmd.Dir = workspace
		cmd.Env = append(append(h.environment(t), traceVariable+"="+traceFile), env...)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		text, _ := os.ReadFile(traceFile)
		return readFiles(t, out), string(text)
	}

	// WHEN it runs with and without THEN the output is the same
	want, off := synth(switchVariable + "=off")
	if strings.TrimSpace(off) != `{"notice":"switched off"}` {
		t.Errorf("switched off: %s", off)
	}
	if len(want) < 4 { // the manifest and at least three stacks
		t.Fatalf("only %d files", len(want))
	}
	for _, which := range []string{"first", "second"} {
		got, trace := synth()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s run (-stock +fast):\n%s", which, diff)
		}
		if which == "second" && !strings.Contains(trace, `"checksums":3`) {
			t.Errorf("the fast way was not taken: %s", trace)
		}
	}
}
