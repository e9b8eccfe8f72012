// Package faststart makes a CDKTF program start as fast as the same program in
// plain JavaScript, without touching the modules it is made of.
//
// A Go CDKTF program talks to cdktf through a Node.js child process, the jsii
// kernel. With stock modules every run writes the 34 MB provider package to a
// temporary file and hashes it, starts two Node processes, compiles 207 MB of
// JavaScript of which about 20 files are used, and parses a 120 MB description
// of 23,208 types of which a few dozen are used. That is 4 to 5 seconds and
// 1 GB before the first resource exists. [Enable] avoids it:
//
//   - In Go: it gives the kernel a preload script (NODE_OPTIONS --require), and
//     loads the three npm packages by name and checksum instead of by content,
//     when jsii's own package cache holds them already.
//   - In Node (preload.js, which says how): one process instead of two; provider
//     submodules and type descriptions are read on first use; compiled code is
//     kept in V8's code cache.
//
// Why this is safe:
//
//   - Nothing is generated, forked or patched on disk. Every type and every file
//     still comes from the package that the module embeds; only when it is read
//     changes. The output is byte for byte the same, and tests hold that.
//   - In Go only public functions of the modules and documented environment
//     variables are used, in Node the public functions of its own modules and
//     two functions of cdktf.
//   - Whatever was not foreseen leads back to the stock way: another version of
//     one of the modules or of Node, a cache folder that cannot be written or is
//     not the user's own, a damaged cache file, a type outside the index.
//   - The cache is one folder under [os.UserCacheDir], readable and writable by
//     the user only, named after everything its content depends on. Files
//     appear in it complete or not at all, so any number of processes may share
//     it. Deleting it is always allowed.
//
// Checked with the versions in packages and checkedJsii below, on Node 20, 22,
// 24 and 26. To upgrade a module, change its version there and run this package's
// tests; until then the program runs with the new version at stock speed.
//
// Environment: PREFECT_WORKER_FASTSTART=off switches it off.
// PREFECT_WORKER_FASTSTART_TRACE=file appends one line of JSON per process to
// file that says what was done, or why nothing was done.
package faststart

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"prefect-worker-ecs/internal/base/atomicfile"
	"prefect-worker-ecs/internal/base/poll"

	constructs "github.com/aws/constructs-go/constructs/v10/jsii"
	"github.com/aws/jsii-runtime-go"
	jsiiruntime "github.com/aws/jsii-runtime-go/runtime"
	aws "github.com/cdktf/cdktf-provider-aws-go/aws/v19/jsii"
	cdktf "github.com/hashicorp/terraform-cdk-go/cdktf/jsii"
)

const (
	switchVariable = "PREFECT_WORKER_FASTSTART"
	traceVariable  = "PREFECT_WORKER_FASTSTART_TRACE"
	// optionsVariable carries the options below to preload.js. Only the kernel
	// process ever sees it.
	optionsVariable = "PREFECT_WORKER_FASTSTART_OPTIONS"

	checkedJsii = "github.com/aws/jsii-runtime-go@v1.119.0/"
	// stockNodeOptions is what jsii sets where the user has set nothing.
	stockNodeOptions = "--max-old-space-size=4069"
	// markerPrefix starts the placeholder of a package that preload.js has by
	// this very prefix. It looks like a gzip file, so that a kernel without
	// preload.js refuses it instead of unpacking nothing.
	markerPrefix = "\x1f\x8bprefect-worker-ecs/faststart "
)

// packages are the npm packages inside the modules, in the order in which they
// depend on each other.
var packages = []struct {
	name, version string
	module        string
	initialize    func()
}{
	{"constructs", "10.4.2", "github.com/aws/constructs-go/constructs/v10@v10.4.2/", constructs.Initialize},
	{"cdktf", "0.21.0", "github.com/hashicorp/terraform-cdk-go/cdktf@v0.21.0/", cdktf.Initialize},
	{"@cdktf/provider-aws", "19.65.1", "github.com/cdktf/cdktf-provider-aws-go/aws/v19@v19.65.1/", aws.Initialize},
}

//go:embed preload.js
var preload []byte

// options is what preload.js needs to know.
type options struct {
	Dir          string `json:"dir"`
	MarkerPrefix []byte `json:"markerPrefix"`
	Trace        string `json:"trace"`
	// Restore holds variables as the kernel's own child processes must see
	// them; nil means not set.
	Restore map[string]*string `json:"restore"`
}

// Enable prepares the jsii kernel to start fast. Call it before anything else
// of cdktf or jsii: it replaces the jsii client, which so far has done nothing.
// Where the fast way is not available it does nothing, silently; a second call
// does nothing either.
var Enable = sync.OnceFunc(func() {
	if err := enable(); err != nil {
		trace(err)
	}
})

func enable() error {
	if os.Getenv(switchVariable) == "off" {
		return errors.New("switched off")
	}
	if err := checkSurroundings(); err != nil {
		return err
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	dir, err := cacheDir(base)
	if err != nil {
		return err
	}
	script := filepath.Join(dir, "preload.js")
	if err := atomicfile.Keep(script, preload, 0o600); err != nil {
		return err
	}
	root, err := packageCacheRoot()
	if err != nil {
		return err
	}
	if err := replaceClient(dir, script, root); err != nil {
		return err
	}
	return loadPackages(dir, root)
}

// Close ends the kernel as jsii.Close does, without a false alarm. jsii's Go
// runtime waits for its Node process in two places at once; where the one in
// Close comes first, the other finds no process and says on standard error that
// the process exited abnormally, in the middle of a good run. Everything else
// that is written while the kernel ends is passed on.
func Close() {
	stderr := os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		jsii.Close()
		return
	}
	passedOn := make(chan struct{})
	go func() {
		text, _ := io.ReadAll(r)
		stderr.Write(falseAlarm.ReplaceAll(text, nil))
		close(passedOn)
	}()
	os.Stderr = w // jsii writes to this variable
	jsii.Close()
	awaitWaiter()
	os.Stderr = stderr
	w.Close()
	<-passedOn
}

var falseAlarm = regexp.MustCompile(`Runtime process exited abnormally: wait\w*: no child processes`)

// awaitWaiter returns when the other of the two, which may be late, has had its
// say: it has nothing left to do but to write a line.
func awaitWaiter() {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_ = poll.Until(ctx, time.Millisecond, func() (bool, error) { return !waiterRuns(), nil })
}

// waiterRuns reports whether jsii's goroutine that waits for the Node process
// exists. Only the list of goroutines says so.
func waiterRuns() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Contains(stacks, []byte("jsii-runtime-go/internal/kernel/process.(*Process).ensureStarted.func"))
}

// checkSurroundings refuses everything that this package was not checked with.
func checkSurroundings() error {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		return errors.New("operating system not checked: " + runtime.GOOS)
	}
	if file := sourceFile(jsii.Close); !strings.Contains(file, checkedJsii) {
		return errors.New("jsii version not checked: " + file)
	}
	for _, p := range packages {
		if file := sourceFile(p.initialize); !strings.Contains(file, p.module) {
			return errors.New("version not checked: " + file)
		}
	}
	for _, name := range []string{"JSII_RUNTIME", "JSII_VALIDATE_ASSEMBLIES"} {
		if os.Getenv(name) != "" {
			return errors.New(name + " is set")
		}
	}
	if v, set := os.LookupEnv("JSII_RUNTIME_PACKAGE_CACHE"); set && !strings.EqualFold(v, "enabled") {
		return errors.New("JSII_RUNTIME_PACKAGE_CACHE is off")
	}
	return nil
}

// sourceFile returns the file that defines function f. Its path holds the
// module and version, with -trimpath too. (Build information would be the
// usual source, but test binaries carry none.)
func sourceFile(f func()) string {
	pc := reflect.ValueOf(f).Pointer()
	file, _ := runtime.FuncForPC(pc).FileLine(pc)
	return filepath.ToSlash(file)
}

// cacheDir returns the folder for everything that is kept between runs, under
// base. Its content is code that will be executed, so it must be the user's
// alone.
func cacheDir(base string) (string, error) {
	h := sha256.New()
	h.Write(preload)
	fmt.Fprint(h, checkedJsii, markerPrefix)
	for _, p := range packages {
		fmt.Fprint(h, p.module)
	}
	dir := filepath.Join(base, "prefect-worker-ecs", "faststart-"+hex.EncodeToString(h.Sum(nil))[:16])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Getuid() || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s is not a folder of this user alone", dir)
	}
	return dir, nil
}

// packageCacheRoot returns jsii's own package cache: the same as jsii would
// choose (default-cache-root in its sources).
func packageCacheRoot() (string, error) {
	if root, set := os.LookupEnv("JSII_RUNTIME_PACKAGE_CACHE_ROOT"); set {
		return root, nil
	}
	home := os.Getenv("HOME")
	if home == "" {
		return "", errors.New("HOME is not set")
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Caches", "com.amazonaws.jsii", "package-cache"), nil
	}
	return filepath.Join(home, ".cache", "aws", "jsii", "package-cache"), nil
}

// replaceClient drops the jsii client that the modules created while they were
// initialized, before main could set any environment, and creates one whose
// Node process will run preload.js. No process is started here.
func replaceClient(dir, script, root string) error {
	nodeOptions, set := os.LookupEnv("NODE_OPTIONS")
	if !set {
		nodeOptions = stockNodeOptions
	}
	env := map[string]string{
		// The package is resolved through a symbolic link, as in stock jsii.
		"NODE_OPTIONS": nodeOptions + " --preserve-symlinks --require " + quote(script),
		// Both sides must mean the same place.
		"JSII_RUNTIME_PACKAGE_CACHE_ROOT": root,
		// Node reads extra certificates at every start, which can take longer
		// than all the rest of its start. The kernel opens no connection.
		"NODE_EXTRA_CA_CERTS": "",
	}
	previous := environment(env)
	forKernel := maps.Clone(previous)
	forKernel["NODE_OPTIONS"] = &nodeOptions
	text, err := json.Marshal(options{
		Dir:          dir,
		MarkerPrefix: []byte(markerPrefix),
		Trace:        os.Getenv(traceVariable),
		Restore:      forKernel,
	})
	if err != nil {
		return err
	}

	for name, value := range env {
		os.Setenv(name, value)
	}
	os.Setenv(optionsVariable, string(text))
	jsii.Close()
	// Any call of the runtime creates the client; this one does nothing else.
	// The client copies the environment now, so it can be restored at once.
	jsiiruntime.IsAnonymousProxy(nil)
	os.Unsetenv(optionsVariable)
	for name, value := range previous {
		if value == nil {
			os.Unsetenv(name)
		} else {
			os.Setenv(name, *value)
		}
	}
	return nil
}

// environment returns the present values of the variables that are keys of env,
// nil for one that is not set.
func environment(env map[string]string) map[string]*string {
	values := map[string]*string{}
	for name := range env {
		values[name] = nil
		if v, set := os.LookupEnv(name); set {
			values[name] = &v
		}
	}
	return values
}

// quote makes one word of s for NODE_OPTIONS.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// loadPackages loads the packages by their checksum, which an earlier run has
// left in the cache. The modules would load them by content; jsii takes the
// first answer for both. Without the checksum or the unpacked package they do.
func loadPackages(dir, root string) (err error) {
	text, err := os.ReadFile(filepath.Join(dir, "packages.json"))
	if err != nil {
		return nil // The first run.
	}
	var checksums map[string]string
	if json.Unmarshal(text, &checksums) != nil {
		return errors.New("packages.json is damaged")
	}
	for _, p := range packages {
		sum := checksums[p.name]
		if !regexp.MustCompile("^[0-9a-f]{64}$").MatchString(sum) {
			return errors.New("packages.json has no checksum of " + p.name)
		}
		// jsii writes this file when the package is complete.
		if _, err := os.Stat(filepath.Join(root, p.name, p.version, sum, ".jsii-runtime-package-cache")); err != nil {
			return err
		}
	}
	defer func() {
		// A kernel that failed here has built nothing yet: start over, stock.
		if r := recover(); r != nil {
			Close()
			err = fmt.Errorf("kernel failed: %v", r)
		}
	}()
	for _, p := range packages {
		jsiiruntime.Load(p.name, p.version, []byte(markerPrefix+checksums[p.name]))
	}
	return nil
}

// trace writes why the fast way, or a part of it, is not taken.
func trace(reason error) {
	file := os.Getenv(traceVariable)
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	line, _ := json.Marshal(map[string]string{"notice": reason.Error()})
	f.Write(append(line, '\n'))
}
