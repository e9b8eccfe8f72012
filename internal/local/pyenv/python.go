package pyenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// PythonVariable names the environment variable that chooses the Python by
// hand: a program name or a path. Unset, the first suitable one on PATH is used.
const PythonVariable = "WORKERCTL_PYTHON"

// Python is an interpreter that can make virtual environments.
type Python struct {
	// Path is the real interpreter: not a link to it and not a shim, which
	// could mean another Python tomorrow.
	Path string
	// Version is its version without the patch level.
	Version Version
}

// probe prints what FindPython must know. sys._base_executable sees through
// shims and through a virtual environment that happens to be active.
// Debian ships venv and ensurepip in a package of their own (python3-venv).
const probe = `
import importlib.util, json, sys
print(json.dumps({
    "path": getattr(sys, "_base_executable", None) or sys.executable,
    "version": list(sys.version_info[:2]),
    "missing": [m for m in ("venv", "ensurepip") if importlib.util.find_spec(m) is None],
}))
`

// probeTimeout is far more than a Python needs to start (0.02 s), and ends a
// shim that hangs.
const probeTimeout = 20 * time.Second

// ErrNoPython says that this machine has no Python that would do.
var ErrNoPython = errors.New("no suitable Python")

// FindPython returns the first Python on PATH that is between min and max
// (inclusive) and can make virtual environments. A program that exists but
// fails, such as a pyenv shim for a version that is not selected, is passed
// over. The error is ErrNoPython and lists what was tried and what was wrong with each.
func FindPython(ctx context.Context, min, max Version) (Python, error) {
	candidates := []string{"python3"}
	for v := max; !v.less(min); v.Minor-- {
		candidates = append(candidates, "python"+v.String())
	}
	candidates = append(candidates, "python")
	if chosen := os.Getenv(PythonVariable); chosen != "" {
		candidates = []string{chosen}
	}

	var tried []string
	for _, name := range candidates {
		for _, path := range onPath(name) {
			py, err := probePython(ctx, path)
			if ctx.Err() != nil {
				return Python{}, ctx.Err()
			}
			switch {
			case err != nil:
				tried = append(tried, fmt.Sprintf("%s: %v", path, err))
			case py.Version.less(min) || max.less(py.Version):
				tried = append(tried, fmt.Sprintf("%s: is Python %s", path, py.Version))
			default:
				return py, nil
			}
		}
	}
	if len(tried) == 0 {
		tried = []string{"none of " + strings.Join(candidates, ", ") + " is on PATH"}
	}
	return Python{}, fmt.Errorf("%w: one from %s to %s with its venv module is needed. Tried:\n  %s\nInstall one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@%s), or name it in %s",
		ErrNoPython, min, max, strings.Join(tried, "\n  "), max, PythonVariable)
}

// onPath returns every program of that name on PATH, each once. exec.LookPath
// knows only the first, which may be a shim that hides a good one behind it.
func onPath(name string) []string {
	if strings.ContainsRune(name, filepath.Separator) {
		return []string{name}
	}
	var found []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() && info.Mode()&0o111 != 0 && !slices.Contains(found, path) {
			found = append(found, path)
		}
	}
	return found
}

func probePython(ctx context.Context, path string) (Python, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-I", "-c", probe)
	cmd.Env = Environ()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n"); first != "" {
			return Python{}, errors.New("fails: " + first)
		}
		return Python{}, fmt.Errorf("fails: %w", err)
	}
	var answer struct {
		Path    string
		Version [2]int
		Missing []string
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return Python{}, errors.New("is not a Python 3")
	}
	if len(answer.Missing) > 0 {
		return Python{}, fmt.Errorf("has no module %s (Debian, Ubuntu: apt-get install python3-venv)", strings.Join(answer.Missing, ", "))
	}
	return Python{Path: answer.Path, Version: Version{answer.Version[0], answer.Version[1]}}, nil
}
