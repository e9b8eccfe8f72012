// Package pyenv makes the Python virtual environments of the local run with uv: the AWS emulator
// and Prefect itself, each with every package pinned and hashed.
//
// An environment is a folder <root>/venv/<name>-<hash>. The hash covers all that decides its
// content, so an environment is never changed: other requirements are another folder, and one in
// use is not touched. Packages come as hard links from uv's cache, which all checkouts share.
package pyenv

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// The oldest and newest Python with which the requirements were installed and imported when they
// were pinned. uv takes one that is installed, or downloads one.
const (
	oldestPython = "3.11"
	newestPython = "3.13"
)

// pythonVariable names the environment variable that chooses the Python by hand: a version, a
// program name or a path.
const pythonVariable = "WORKERCTL_PYTHON"

func python() string {
	return cmp.Or(os.Getenv(pythonVariable), ">="+oldestPython+",<="+newestPython+".99")
}

// Env is a virtual environment that is complete.
type Env struct {
	// Dir is its absolute path.
	Dir string
}

// Bin returns the folder of its programs, to be put first on a PATH.
func (e Env) Bin() string { return filepath.Join(e.Dir, "bin") }

// Python returns its interpreter.
func (e Env) Python() string { return filepath.Join(e.Bin(), "python") }

// Options says where environments live and how progress is shown.
type Options struct {
	// Root holds the environments, their logs and uv. Required; it is made if missing. The project's
	// own is <project>/.local.
	Root string
	// Step runs a step that takes long, such as a download, and shows what it is. Nil: it is only
	// run.
	Step func(what string, do func() error) error
}

func (o Options) step(what string, do func() error) error {
	if o.Step == nil {
		return do()
	}
	return o.Step(what, do)
}

// gcThreshold is in each environment: the programs start much, import for seconds and make little
// garbage, for which Python by default looks after every 700 objects. Prefect starts in 9 % less
// processor time with it (measured alternately, 2 and 3, server and worker).
const gcThreshold = "import gc; gc.set_threshold(50_000)\n"

// started fails in a Python that does not load gc_threshold.pth, and so not the packages either.
const started = "import gc; raise SystemExit(gc.get_threshold()[0] != 50_000)"

// doneFile is written last into an environment: without it, the environment was interrupted while
// being made.
const doneFile = ".complete"

// Ensure returns the environment that spec describes, and makes it first if there is none. That
// takes a second from uv's cache, with no network, and else some more for the download. It is safe
// to call from several programs at once: one makes it, the others wait.
//
// Errors hold no address of a package index, which may contain credentials.
func Ensure(ctx context.Context, spec Spec, opt Options) (Env, error) {
	env, err := ensure(ctx, spec, opt)
	if err != nil {
		return Env{}, fmt.Errorf("Python environment %s: %w", spec.Name, err)
	}
	return env, nil
}

func ensure(ctx context.Context, spec Spec, opt Options) (Env, error) {
	root, err := filepath.Abs(opt.Root)
	if err != nil {
		return Env{}, err
	}
	opt.Root = root
	env := Env{Dir: filepath.Join(root, "venv", spec.Name+"-"+contentHash(spec))}
	if complete, err := env.complete(ctx); complete || err != nil {
		return env, err
	}
	unlock, err := Lock(ctx, env.Dir)
	if err != nil {
		return Env{}, err
	}
	defer unlock()
	if complete, err := env.complete(ctx); complete || err != nil {
		return env, err // Made by the other program.
	}
	return env, env.create(ctx, spec, opt)
}

// Lock waits for other programs that make the same file or folder.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	l := flock.New(path + ".lock")
	if _, err := l.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return nil, fmt.Errorf("wait for another program that makes %s: %w", path, err)
	}
	return l.Unlock, nil
}

func contentHash(spec Spec) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%q", python(), spec.Requirements, gcThreshold, spec.Extra)
	return hex.EncodeToString(h.Sum(nil))[:10]
}

// complete also starts the Python once: an update of the system may have removed or replaced the
// interpreter that the environment links to. What is not complete is removed, and may be in use: so
// it is an error if Python was killed, as where memory runs out, or ctx ended.
func (e Env) complete(ctx context.Context) (bool, error) {
	if _, err := os.Stat(filepath.Join(e.Dir, doneFile)); err != nil {
		return false, nil
	}
	cmd := exec.CommandContext(ctx, e.Python(), "-I", "-c", started)
	cmd.Env = Environ()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.As(err, &exit) && exit.Exited(), errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("%s does not start: %w; try again, or remove %s while nothing of the project runs", e.Python(), err, e.Dir)
}

// create makes the environment. What is there was interrupted or is broken.
func (e Env) create(ctx context.Context, spec Spec, opt Options) error {
	if err := os.RemoveAll(e.Dir); err != nil {
		return err
	}
	log, err := os.Create(e.Dir + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	uv, err := findUV(ctx, opt, log)
	if err != nil {
		return err
	}
	if err := uv.run(ctx, "", "venv", "--no-project", "--python", python(), e.Dir); err != nil {
		return fmt.Errorf("%w\nNeeded: Python %s to %s, which uv downloads where it can. Install one (Debian, Ubuntu: apt-get install python3; Fedora: dnf install python3; macOS: brew install python@%s), or name it in %s",
			err, oldestPython, newestPython, newestPython, pythonVariable)
	}
	pip := func(command string, args ...string) []string {
		return append([]string{"pip", command, "--python", e.Python()}, args...)
	}
	// What is pinned is the same from the cache, for which no network is needed.
	sync := pip("sync", "--require-hashes", "-")
	if uv.run(ctx, spec.Requirements, append(sync, "--offline")...) != nil {
		if err := opt.step("downloading the Python packages of "+spec.Name, func() error { return uv.run(ctx, spec.Requirements, sync...) }); err != nil {
			return err
		}
	}
	if len(spec.Extra) > 0 {
		// With dependencies: uv leaves alone what is pinned and will do.
		install := pip("install", spec.Extra...)
		if err := opt.step("installing "+strings.Join(spec.Extra, " "), func() error { return uv.run(ctx, "", install...) }); err != nil {
			if uv.run(ctx, "", append(install, "--offline")...) != nil {
				return err
			}
		}
	}
	packages, err := filepath.Glob(filepath.Join(e.Dir, "lib", "python*", "site-packages"))
	if err != nil || len(packages) != 1 {
		return fmt.Errorf("%s has no folder of packages: %w", e.Dir, err)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(packages[0], "gc_threshold.pth"), []byte(gcThreshold), 0o644),
		os.WriteFile(filepath.Join(e.Dir, doneFile), nil, 0o644),
	)
}

// Environ returns the caller's environment for a program of an Env: without what would lead Python,
// pip or uv out of the virtual environment, and without PYTHONDONTWRITEBYTECODE, with which each start
// would compile all that it imports (Prefect: 10 s instead of 5 s). The index, proxy and
// certificates that pip is configured for stay.
func Environ() []string {
	var env []string
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONDONTWRITEBYTECODE", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV",
			"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON", "PIP_REQUIRE_HASHES",
			"UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_REQUIRE_HASHES", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_VENV_SEED":
		default:
			env = append(env, kv)
		}
	}
	// Logs are read while the program runs.
	return append(env, "PIP_USER=0", "PYTHONUNBUFFERED=1")
}
