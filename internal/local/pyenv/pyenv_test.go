package pyenv

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// root is that of all tests: they share its pip, which takes 4 s to make.
var root string

func TestMain(m *testing.M) {
	var err error
	if root, err = os.MkdirTemp("", "pyenv"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(root)
	os.Exit(code)
}

// writeWheel makes a package that pip can install without a network.
func writeWheel(t *testing.T, dir, name, version string) {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, name+"-"+version+"-py3-none-any.whl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := zip.NewWriter(file)
	info := name + "-" + version + ".dist-info/"
	// In this order, so that the file has one hash.
	for _, file := range []struct{ path, content string }{
		{name + ".py", "version = '" + version + "'\n"},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", ""},
	} {
		part, err := w.Create(file.path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(file.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// localPackages sets pip up to know only one package, tiny 1.0.
func localPackages(t *testing.T) {
	t.Helper()
	if _, err := FindPython(t.Context(), Version{3, 10}, Version{3, 13}); errors.Is(err, ErrNoPython) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	dir := t.TempDir()
	writeWheel(t, dir, "tiny", "1.0")
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", dir)
}

// tinyRequirement pins tiny 1.0 with the hash of its wheel, as the real requirements have it.
func tinyRequirement(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeWheel(t, dir, "tiny", "1.0")
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		t.Fatal(wheels, err)
	}
	wheel, err := os.ReadFile(wheels[0])
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("tiny==1.0 \\\n    --hash=sha256:%x\n", sha256.Sum256(wheel))
}

func tinySpec(requirements string) Spec {
	return Spec{Name: "tiny", Requirements: requirements, MinPython: Version{3, 10}, MaxPython: Version{3, 13}}
}

func versionOfTiny(t *testing.T, env Env) string {
	t.Helper()
	out, err := exec.Command(env.Python(), "-c", "import gc, tiny; assert gc.get_threshold()[0] == 50_000; print(tiny.version)").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestAnotherWheelThanThePinnedOneIsRefused(t *testing.T) {
	localPackages(t)
	spec := tinySpec(tinyRequirement(t))
	spec.Requirements = strings.Replace(spec.Requirements, "sha256:", "sha256:0000", 1)[:len(spec.Requirements)]
	_, err := Ensure(t.Context(), spec, Options{Root: root})
	if err == nil || !strings.Contains(err.Error(), "DO NOT MATCH THE HASHES") {
		t.Errorf("got %v", err)
	}
}

func TestEnsureMakesOnceAndRepairsWithoutANetwork(t *testing.T) {
	localPackages(t)
	opt := Options{Root: root}

	// GIVEN two programs that want the same environment at once
	var wait sync.WaitGroup
	var envs [2]Env
	var errs [2]error
	for i := range envs {
		wait.Go(func() { envs[i], errs[i] = Ensure(context.Background(), tinySpec(tinyRequirement(t)), opt) })
	}
	wait.Wait()
	// THEN both get the same, complete one
	if errs[0] != nil || errs[1] != nil || envs[0] != envs[1] {
		t.Fatalf("two at once: %v %v, errors %v", envs[0], envs[1], errs)
	}
	if got := versionOfTiny(t, envs[0]); got != "1.0" {
		t.Errorf("the environment holds tiny %s, want 1.0", got)
	}
	// AND its pip is its own, for a flow that installs something
	if out, err := exec.Command(filepath.Join(envs[0].Bin(), "pip"), "--version").CombinedOutput(); err != nil || !strings.Contains(string(out), envs[0].Dir) {
		t.Errorf("%v, %s", err, out)
	}

	// WHEN it was interrupted half-way, and the package index is gone
	if err := os.Remove(filepath.Join(envs[0].Dir, doneFile)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PIP_FIND_LINKS", "")
	again, err := Ensure(context.Background(), tinySpec(tinyRequirement(t)), opt)
	// THEN it is made again from the packages that were kept
	if err != nil {
		t.Fatal(err)
	}
	if again != envs[0] || versionOfTiny(t, again) != "1.0" {
		t.Errorf("%v is not the environment as before", again)
	}

	// WHEN nothing changed
	var told []string
	opt.Progress = func(s string) { told = append(told, s) }
	if _, err := Ensure(context.Background(), tinySpec(tinyRequirement(t)), opt); err != nil {
		t.Fatal(err)
	}
	// THEN nothing is done
	if len(told) > 0 {
		t.Errorf("a complete environment was made again: %q", told)
	}

	// WHEN its Python is killed, as where memory runs out, or the caller gives up
	if err := os.Remove(envs[0].Python()); err != nil {
		t.Fatal(err)
	}
	fakePython(t, envs[0].Bin(), "python", "kill -9 $$")
	_, killed := Ensure(context.Background(), tinySpec(tinyRequirement(t)), opt)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, givenUp := (maker{env: envs[0]}).complete(ctx)
	// THEN it is not removed to be made again: it may be in use
	want := "Python environment tiny: " + envs[0].Python() + " does not start: signal: killed; try again, or remove " + envs[0].Dir + " while nothing of the project runs"
	if killed == nil || killed.Error() != want || !errors.Is(givenUp, context.Canceled) {
		t.Errorf("got  %v and %v\nwant %s", killed, givenUp, want)
	}
	if _, err := os.Stat(filepath.Join(envs[0].Dir, doneFile)); err != nil || len(told) > 0 {
		t.Errorf("%v, %q", err, told)
	}

	// WHEN an update of the system has taken its Python away THEN it is broken
	if err := os.Remove(envs[0].Python()); err != nil {
		t.Fatal(err)
	}
	if complete, err := (maker{env: envs[0]}).complete(context.Background()); complete || err != nil {
		t.Errorf("complete %t, %v", complete, err)
	}
}

func TestEnsureInstallsExtrasOverThePins(t *testing.T) {
	localPackages(t)
	// GIVEN an environment whose extra replaces a pinned package
	writeWheel(t, os.Getenv("PIP_FIND_LINKS"), "tiny", "2.0")
	spec := tinySpec(tinyRequirement(t))
	spec.Extra = []string{"tiny==2.0"}

	// WHEN it is made
	env, err := Ensure(t.Context(), spec, Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}

	// THEN the extra wins, and it is not the folder of the one without it
	if got := versionOfTiny(t, env); got != "2.0" {
		t.Errorf("the environment holds tiny %s, want 2.0", got)
	}
	python, err := FindPython(t.Context(), spec.MinPython, spec.MaxPython)
	if err != nil {
		t.Fatal(err)
	}
	if contentHash(spec, python) == contentHash(tinySpec(tinyRequirement(t)), python) {
		t.Error("with and without the extra share a folder")
	}
}

func TestEnsureNamesTheMissingPackageAndNotTheIndex(t *testing.T) {
	localPackages(t)
	// GIVEN an index that cannot be reached, whose address holds a password
	t.Setenv("PIP_NO_INDEX", "0")
	t.Setenv("PIP_INDEX_URL", "http://user:hunter2@127.0.0.1:1/simple")
	t.Setenv("PIP_RETRIES", "0")
	t.Setenv("PIP_CONFIG_FILE", os.DevNull)

	// WHEN a package is wanted that is not on this machine
	spec := tinySpec("absent==3.1 --hash=sha256:" + strings.Repeat("0", 64) + "\n")
	spec.Name = "absent"
	_, err := Ensure(t.Context(), spec, Options{Root: root})

	// THEN the error says which, and neither it nor the log says where
	if err == nil || !strings.Contains(err.Error(), "absent==3.1") || !strings.Contains(err.Error(), "cannot be reached") {
		t.Fatalf("error %v, want one that names absent==3.1 and says that the index cannot be reached", err)
	}
	logs, _ := filepath.Glob(filepath.Join(root, "venv", "absent-*.log"))
	if len(logs) != 1 {
		t.Fatalf("logs: %v, want one", logs)
	}
	log, _ := os.ReadFile(logs[0])
	for what, text := range map[string]string{"error": err.Error(), "log": string(log)} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "127.0.0.1") {
			t.Errorf("the %s names the index:\n%s", what, text)
		}
	}
}

func TestEnsureStopsWhenItIsToldTo(t *testing.T) {
	localPackages(t)
	ctx, cancel := context.WithCancel(t.Context())
	// GIVEN a caller that gives up as soon as the work begins
	opt := Options{Root: root, Progress: func(string) { cancel() }}
	spec := tinySpec(tinyRequirement(t))
	spec.Name = "stopped"
	// THEN the call ends with that reason
	if _, err := Ensure(ctx, spec, opt); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
}

func fakePython(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestFindPythonPassesOverWhatDoesNotWork(t *testing.T) {
	answers := func(version, missing string) string {
		return `echo '{"path": "/real/python", "version": [` + version + `], "missing": [` + missing + `]}'`
	}
	tests := []struct {
		name    string
		scripts map[string]string // program name -> what it does; "b/" is later on PATH
		want    Version
		err     string
	}{
		{"the first that is in range", map[string]string{"python3": answers("3, 11", "")}, Version{3, 11}, ""},
		{"a shim that fails", map[string]string{
			"python3": "echo 'pyenv: python3: command not found' >&2; exit 127", "python3.12": answers("3, 12", ""),
		}, Version{3, 12}, ""},
		{"a shim that hides a good one", map[string]string{"python3": "exit 127", "b/python3": answers("3, 10", "")}, Version{3, 10}, ""},
		{"one that is too old", map[string]string{"python3": answers("3, 9", ""), "python3.13": answers("3, 13", "")}, Version{3, 13}, ""},
		{"one that is too new", map[string]string{"python3": answers("3, 14", "")}, Version{}, "is Python 3.14"},
		{"one without the venv module", map[string]string{"python3": answers("3, 11", `"ensurepip"`)}, Version{}, "python3-venv"},
		{"Python 2", map[string]string{"python": "echo nothing"}, Version{}, "is not a Python 3"},
		{"none", nil, Version{}, "is on PATH"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// GIVEN a machine with these programs
			a, b := t.TempDir(), t.TempDir()
			for name, script := range test.scripts {
				if rest, ok := strings.CutPrefix(name, "b/"); ok {
					fakePython(t, b, rest, script)
				} else {
					fakePython(t, a, name, script)
				}
			}
			t.Setenv("PATH", a+string(filepath.ListSeparator)+b)
			t.Setenv(PythonVariable, "")

			// WHEN one is looked for
			got, err := FindPython(t.Context(), Version{3, 10}, Version{3, 13})

			// THEN it is the right one, or the error says what is wrong
			if test.err != "" {
				if !errors.Is(err, ErrNoPython) || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil || got.Version != test.want {
				t.Fatalf("%v, %v; want Python %v", got, err, test.want)
			}
		})
	}
}

func TestEveryPackageIsPinned(t *testing.T) {
	for _, spec := range []Spec{Moto, Prefect2, Prefect3} {
		// A requirement goes on where a line ends in a backslash.
		for line := range strings.Lines(strings.ReplaceAll(spec.Requirements, "\\\n", "")) {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "#") && !(strings.Contains(line, "==") && strings.Contains(line, "--hash=sha256:")) {
				t.Errorf("%s: %.80q is not pinned with == and a hash", spec.Name, line)
			}
		}
	}
	if got := Prefect2.Pin("prefect"); got != "2.20.25" {
		t.Errorf("Prefect 2 is pinned to %q, want 2.20.25", got)
	}
	if got := Prefect3.Pin("prefect"); got != "3.8.3" {
		t.Errorf("Prefect 3 is pinned to %q, want 3.8.3", got)
	}
}
