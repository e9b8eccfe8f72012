// Package pyenv makes the Python virtual environments of the local run: the
// AWS emulator and Prefect itself, each with every package pinned.
//
// An environment is a folder <root>/venv/<name>-<hash>. The hash covers all
// that decides its content, so an environment is never changed: other
// requirements are another folder, and one in use is not touched. The packages
// are kept in <root>/wheels, from which an environment is made again without a
// network. (pip's own cache cannot do that: it still asks the index which
// versions there are.)
package pyenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// Env is a virtual environment that is complete.
type Env struct {
	// Dir is its absolute path.
	Dir string
}

// Bin is the folder of its programs, to be put first on a PATH.
func (e Env) Bin() string { return filepath.Join(e.Dir, "bin") }

// Python is its interpreter.
func (e Env) Python() string { return filepath.Join(e.Bin(), "python") }

// Options says where environments live and who is told about progress.
type Options struct {
	// Root holds the environments, the packages and the logs. Required; it is
	// made if missing. The project's own is <project>/.local.
	Root string
	// Progress is called with one line of text before each step that takes
	// long, such as a download. Nil: nobody is told.
	Progress func(string)
}

// lessGarbage is in each environment: the programs start much, import for seconds and make
// little garbage, for which Python by default looks after every 700 objects. Prefect starts in
// 9 % less processor time with it (measured alternately, 2 and 3, server and worker).
const lessGarbage = "import gc; gc.set_threshold(50_000)\n"

// doneFile is written last into an environment: without it, the environment
// was interrupted while being made.
const doneFile = ".complete"

// Ensure returns the environment that spec describes, and makes it first if
// there is none (30 s to 90 s, mostly download and unpacking). It is safe
// to call from several programs at once: one makes it, the others wait.
//
// Errors name what is missing on this machine: a suitable Python, or the
// packages that the package index did not deliver. They hold no address of a
// package index, which may contain credentials.
func Ensure(ctx context.Context, spec Spec, opt Options) (Env, error) {
	root, err := filepath.Abs(opt.Root)
	if err != nil {
		return Env{}, fmt.Errorf("folder for Python environments: %w", err)
	}
	python, err := FindPython(ctx, spec.MinPython, spec.MaxPython)
	if err != nil {
		return Env{}, fmt.Errorf("Python environment %s: %w", spec.Name, err)
	}
	withExtra := spec.Name + "-" + contentHash(spec, python)
	pinnedOnly := spec
	pinnedOnly.Extra = nil
	m := maker{
		spec:     spec,
		root:     root,
		python:   python,
		env:      Env{Dir: filepath.Join(root, "venv", withExtra)},
		pinned:   filepath.Join(root, "wheels", spec.Name+"-"+contentHash(pinnedOnly, python)),
		extra:    filepath.Join(root, "wheels", withExtra),
		progress: opt.Progress,
	}
	if m.progress == nil {
		m.progress = func(string) {}
	}
	if complete, err := m.complete(ctx); complete || err != nil {
		return m.env, err
	}
	if err := os.MkdirAll(filepath.Dir(m.env.Dir), 0o755); err != nil {
		return Env{}, fmt.Errorf("Python environment %s: %w", spec.Name, err)
	}

	lock := flock.New(m.env.Dir + ".lock")
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return Env{}, fmt.Errorf("Python environment %s: wait for another program that makes it: %w", spec.Name, err)
	}
	defer lock.Unlock()
	if complete, err := m.complete(ctx); complete || err != nil {
		return m.env, err // Made by the other program.
	}
	if err := m.make(ctx); err != nil {
		return Env{}, fmt.Errorf("Python environment %s: %w", spec.Name, err)
	}
	return m.env, nil
}

func contentHash(spec Spec, python Python) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s", python.Path, python.Version, spec.Requirements, lessGarbage)
	for _, extra := range spec.Extra {
		fmt.Fprintf(h, "extra %s\n", extra)
	}
	return hex.EncodeToString(h.Sum(nil))[:10]
}

type maker struct {
	spec     Spec
	root     string
	python   Python
	env      Env
	pinned   string // folder with the packages of spec.Requirements
	extra    string // and with those of spec.Extra; the same without any
	progress func(string)
}

// complete also starts the Python once: an update of the system may have
// removed the interpreter that the environment points to. What is not complete
// is removed, and may be in use: so if that cannot be told, because there is no
// memory for a process or ctx ended, it is an error.
func (m maker) complete(ctx context.Context) (bool, error) {
	if _, err := os.Stat(filepath.Join(m.env.Dir, doneFile)); err != nil {
		return false, nil
	}
	cmd := exec.CommandContext(ctx, m.env.Python(), "-I", "-c", "")
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
	return false, fmt.Errorf("Python environment %s: %s does not start: %w; try again, or remove %s while nothing of the project runs", m.spec.Name, m.env.Python(), err, m.env.Dir)
}

func (m maker) make(ctx context.Context) error {
	// What is there was interrupted or is broken.
	if err := os.RemoveAll(m.env.Dir); err != nil {
		return err
	}
	log, err := os.Create(m.env.Dir + ".log")
	if err != nil {
		return err
	}
	defer log.Close()

	if err := m.bare(ctx, log); err != nil {
		return err
	}
	if m.spec.Requirements == "" {
		return os.WriteFile(filepath.Join(m.env.Dir, doneFile), nil, 0o644)
	}
	requirements := filepath.Join(m.env.Dir, "requirements.txt")
	if err := os.WriteFile(requirements, []byte(m.spec.Requirements), 0o644); err != nil {
		return err
	}
	wheel := []string{"wheel", "--find-links", m.pinned, "--wheel-dir"}
	if err := m.fetch(ctx, log, m.spec.Name, m.pinned, append(wheel, m.pinned, "--no-deps", "--require-hashes", "-r", requirements)); err != nil {
		return err
	}
	if len(m.spec.Extra) > 0 {
		// With dependencies: pip leaves alone what is pinned and will do.
		what := strings.Join(m.spec.Extra, " ")
		if err := m.fetch(ctx, log, what, m.extra, append(append(wheel, m.extra), m.spec.Extra...)); err != nil {
			return err
		}
	}
	m.progress(fmt.Sprintf("unpacking the packages of %s", m.spec.Name))
	// Byte code is made on first use: compiling everything here would double
	// the time, and most of it is never imported.
	install := []string{"install", "--no-index", "--no-compile", "--find-links", m.pinned, "--find-links", m.extra}
	// What is there has passed its hash, or was built here from what has: a package that
	// its authors publish without a wheel for this Python.
	unhashed := filepath.Join(m.env.Dir, "installed.txt")
	if err := os.WriteFile(unhashed, []byte(hashes.ReplaceAllString(m.spec.Requirements, "")), 0o644); err != nil {
		return err
	}
	if err := m.pip(ctx, log, append(install, "--no-deps", "-r", unhashed)...); err != nil {
		return err
	}
	if len(m.spec.Extra) > 0 {
		if err := m.pip(ctx, log, append(install, m.spec.Extra...)...); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(m.packages(m.env), "less_garbage.pth"), []byte(lessGarbage), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.env.Dir, doneFile), nil, 0o644)
}

// pipScript is a program pip of an environment.
const pipScript = "#!/bin/sh\nexec \"$(dirname \"$0\")/python\" -m pip \"$@\"\n"

// bare makes the environment with pip alone. Python unpacks and compiles its pip for 4 s, so all
// environments of a root get a copy of one that has no requirements, made once.
func (m maker) bare(ctx context.Context, log io.Writer) error {
	var pip Env
	venv := []string{"-m", "venv", m.env.Dir}
	if m.spec.Requirements != "" {
		var err error
		if pip, err = Ensure(ctx, Spec{Name: "pip", MinPython: m.spec.MinPython, MaxPython: m.spec.MaxPython}, Options{Root: m.root}); err != nil {
			return err
		}
		venv = append(venv, "--without-pip")
	}
	if err := m.run(ctx, log, m.python.Path, venv...); err != nil {
		return fmt.Errorf("make it with %s: %w (log: %s.log)", m.python.Path, err, m.env.Dir)
	}
	if m.spec.Requirements == "" {
		return nil
	}
	// With its times: Python compiles again what is newer than its byte code.
	if err := m.run(ctx, log, "cp", "-Rp", m.packages(pip)+"/.", m.packages(m.env)); err != nil {
		return err
	}
	for _, name := range []string{"pip", "pip3", "pip" + m.python.Version.String()} {
		if err := os.WriteFile(filepath.Join(m.env.Bin(), name), []byte(pipScript), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (m maker) packages(env Env) string {
	return filepath.Join(env.Dir, "lib", "python"+m.python.Version.String(), "site-packages")
}

// hashes are the continuation lines of a requirement with its hashes.
var hashes = regexp.MustCompile(`(?m) \\\n(?: +--hash=\S+(?: \\\n)?)+`)

// fetch fills a folder with packages. A marker says that it is full, so that
// the next time no network is needed.
func (m maker) fetch(ctx context.Context, log io.Writer, what, dir string, pip []string) error {
	marker := filepath.Join(dir, doneFile)
	if _, err := os.Stat(marker); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	m.progress(fmt.Sprintf("downloading the packages of %s (only the first time)", what))
	if err := m.pip(ctx, log, pip...); err != nil {
		return err
	}
	return os.WriteFile(marker, nil, 0o644)
}

func (m maker) pip(ctx context.Context, log io.Writer, args ...string) error {
	var out strings.Builder
	args = append([]string{"-m", "pip", "--disable-pip-version-check", "--no-input"}, args...)
	err := m.run(ctx, io.MultiWriter(log, &out), m.env.Python(), args...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%s (log: %s.log)", explainPip(out.String()), m.env.Dir)
}

// run runs one program to its end. When ctx ends first, the program and all
// that it started are ended.
func (m maker) run(ctx context.Context, out io.Writer, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = Environ()
	clean := &scrubber{to: out}
	cmd.Stdout, cmd.Stderr = clean, clean
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if flushErr := clean.Flush(); err == nil {
		err = flushErr
	}
	return err
}

// Environ is the caller's environment for a program of an Env: without what
// would lead Python or pip out of the virtual environment, and without
// PYTHONDONTWRITEBYTECODE, with which each start would compile all that it
// imports (Prefect: 10 s instead of 5 s). The index, proxy and certificates
// that pip is configured for stay.
func Environ() []string {
	var env []string
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONDONTWRITEBYTECODE", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV",
			"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON", "PIP_REQUIRE_HASHES":
		default:
			env = append(env, kv)
		}
	}
	// Logs are read while the program runs.
	return append(env, "PIP_USER=0", "PYTHONUNBUFFERED=1")
}

var (
	unresolved = regexp.MustCompile(`(?m)^ERROR: (?:No matching distribution found for|Could not find a version that satisfies the requirement) (\S+)`)
	lastError  = regexp.MustCompile(`(?m)^ERROR: (.+)$`)
)

// explainPip turns the output of a failed pip into one sentence.
func explainPip(out string) string {
	if found := unresolved.FindStringSubmatch(out); found != nil {
		// pip says the same for an index that it cannot reach and for one that
		// does not know the package.
		return fmt.Sprintf("the package %s is not on this machine, and the package index that pip is configured for cannot be reached or does not offer it for this Python; connect to the network once and try again", found[1])
	}
	if found := lastError.FindAllStringSubmatch(out, -1); found != nil {
		return "pip failed: " + found[len(found)-1][1]
	}
	return "pip failed"
}

// scrubber passes text on line by line and leaves out addresses: that of a
// package index often contains a user name and a password.
type scrubber struct {
	to  io.Writer
	buf []byte
}

var address = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'")]+|(host=)?'[^' ]+\.[^' ]+', port=\d+`)

func (s *scrubber) Write(p []byte) (int, error) {
	s.buf = append(s.buf, p...)
	for {
		i := strings.IndexByte(string(s.buf), '\n')
		if i < 0 {
			return len(p), nil
		}
		line := s.buf[:i+1]
		if _, err := s.to.Write(address.ReplaceAll(line, []byte("<address>"))); err != nil {
			return 0, err
		}
		s.buf = s.buf[i+1:]
	}
}

// Flush passes on an unfinished last line.
func (s *scrubber) Flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.to.Write(address.ReplaceAll(s.buf, []byte("<address>")))
	s.buf = nil
	return err
}
