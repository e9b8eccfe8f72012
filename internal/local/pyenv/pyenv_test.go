package pyenv

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"prefect-worker-ecs/internal/terraform/project"
)

// noError ends the test if there is an error. (testtools, which has it too, imports this package.)
func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writeWheel makes a wheel with these files and returns the pin of its package.
func writeWheel(t *testing.T, dir, file string, files ...[2]string) (hash string) {
	t.Helper()
	var content strings.Builder
	w := zip.NewWriter(&content)
	for _, f := range files { // in this order, so that the wheel has one hash
		part, err := w.Create(f[0])
		noError(t, err)
		_, _ = part.Write([]byte(f[1]))
	}
	noError(t, errors.Join(w.Close(), os.WriteFile(filepath.Join(dir, file), []byte(content.String()), 0o644)))
	return fmt.Sprintf("%x", sha256.Sum256([]byte(content.String())))
}

// tiny adds a release of the package tiny to a folder and returns its pin.
func tiny(t *testing.T, dir, version string) (requirement string) {
	t.Helper()
	info := "tiny-" + version + ".dist-info/"
	hash := writeWheel(t, dir, "tiny-"+version+"-py3-none-any.whl",
		[2]string{"tiny.py", "version = '" + version + "'\n"},
		[2]string{info + "METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: " + version + "\n"},
		[2]string{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		[2]string{info + "RECORD", ""})
	return "tiny==" + version + " --hash=sha256:" + hash + "\n"
}

// tinySpec is tiny 1.0, from an index that pip is configured for and that has the wheels in a folder,
// beside an empty cache.
func tinySpec(t *testing.T) (spec Spec, opt Options, packages string, index *httptest.Server) {
	t.Helper()
	p, err := project.Find(".")
	noError(t, err)
	u, err := findUV(t.Context(), Options{Root: p.Local()}, io.Discard)
	noError(t, err)
	if filepath.IsAbs(u.path) {
		t.Setenv("PATH", filepath.Dir(u.path)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	packages = t.TempDir()
	index = httptest.NewServer(http.StripPrefix("/simple/tiny", http.FileServer(http.Dir(packages)))) // lists its files as an index does
	t.Cleanup(index.Close)
	t.Setenv("UV_CACHE_DIR", t.TempDir())
	t.Setenv("PIP_INDEX_URL", index.URL+"/simple")
	t.Setenv("PIP_FIND_LINKS", "")
	return Spec{Name: "tiny", Requirements: tiny(t, packages, "1.0")}, Options{Root: t.TempDir()}, packages, index
}

func versionOfTiny(t *testing.T, env Env) string {
	t.Helper()
	out, err := exec.Command(env.Python(), "-c", "import gc, tiny; assert gc.get_threshold()[0] == 50_000; print(tiny.version)").Output()
	noError(t, err)
	return strings.TrimSpace(string(out))
}

// script writes a program.
func script(t *testing.T, dir, name, content string) {
	t.Helper()
	_ = os.Remove(filepath.Join(dir, name))
	noError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+content+"\n"), 0o755))
}

func TestEnsure(t *testing.T) {
	spec, opt, _, index := tinySpec(t)
	// GIVEN two programs that need one environment at once
	var envs [2]Env
	var errs [2]error
	var wg sync.WaitGroup
	for i := range envs {
		wg.Go(func() { envs[i], errs[i] = Ensure(t.Context(), spec, opt) })
	}
	// WHEN both have asked for it
	wg.Wait()
	// THEN they share one that holds what is pinned
	noError(t, errors.Join(errs[:]...))
	if envs[0] != envs[1] || versionOfTiny(t, envs[0]) != "1.0" {
		t.Errorf("environments %v and %v", envs[0], envs[1])
	}

	// WHEN it was interrupted, and the package index is gone
	var steps []string
	opt.Step = func(what string, do func() error) error { steps = append(steps, what); return do() }
	noError(t, os.Remove(filepath.Join(envs[0].Dir, doneFile)))
	index.Close()
	again, err := Ensure(t.Context(), spec, opt)
	// THEN it is made again from the cache
	if err != nil || again != envs[0] || versionOfTiny(t, again) != "1.0" || len(steps) > 0 {
		t.Errorf("%v, %v, steps %q", again, err, steps)
	}

	// WHEN a virtual environment happens to be active
	t.Setenv("PATH", again.Bin()+string(filepath.ListSeparator)+os.Getenv("PATH"))
	t.Setenv("VIRTUAL_ENV", again.Dir)
	home := func(e Env) string {
		cfg, _ := os.ReadFile(filepath.Join(e.Dir, "pyvenv.cfg"))
		line, _, _ := strings.Cut(string(cfg), "\n")
		return line
	}
	other, err := Ensure(t.Context(), Spec{Name: "other", Requirements: spec.Requirements}, opt)
	// THEN it makes no difference
	if err != nil || home(other) == "" || home(other) != home(again) {
		t.Errorf("%v, made from %s, want %s", err, home(other), home(again))
	}

	// WHEN its Python is killed, as where memory runs out, or the caller gives up
	script(t, again.Bin(), "python", "kill -9 $$")
	_, killed := Ensure(t.Context(), spec, opt)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, givenUp := again.complete(ctx)
	// THEN it is not removed to be made again: it may be in use
	want := "Python environment tiny: " + again.Python() + " does not start: signal: killed; try again, or remove " + again.Dir + " while nothing of the project runs"
	if killed == nil || killed.Error() != want || !errors.Is(givenUp, context.Canceled) {
		t.Errorf("got  %v and %v\nwant %s", killed, givenUp, want)
	}

	// WHEN an update of the system has replaced its Python by one that has other packages, or taken it
	// away THEN it is made again
	threshold, _ := filepath.Glob(filepath.Join(other.Dir, "lib", "python*", "site-packages", "gc_threshold.pth"))
	if len(threshold) != 1 {
		t.Fatalf("gc_threshold.pth: %q", threshold)
	}
	if complete, err := other.complete(t.Context()); !complete || err != nil {
		t.Errorf("complete %t, %v", complete, err)
	}
	for _, gone := range append(threshold, other.Python()) {
		noError(t, os.Remove(gone))
		if complete, err := other.complete(t.Context()); complete || err != nil {
			t.Errorf("without %s: complete %t, %v", gone, complete, err)
		}
	}
}

func TestEnsureInstallsExtrasOverThePins(t *testing.T) {
	spec, opt, packages, _ := tinySpec(t)
	// GIVEN an environment whose extra replaces a pinned package
	tiny(t, packages, "2.0")
	extra := spec
	extra.Extra = []string{"tiny==2.0"}
	// AND a user who has uv set up for something else
	t.Setenv("UV_REQUIRE_HASHES", "1")
	t.Setenv("UV_SYSTEM_PYTHON", "1")
	// WHEN both are made
	without, err := Ensure(t.Context(), spec, opt)
	with, errWith := Ensure(t.Context(), extra, opt)
	// THEN the extra wins, and only there
	noError(t, errors.Join(err, errWith))
	if versionOfTiny(t, without) != "1.0" || versionOfTiny(t, with) != "2.0" {
		t.Errorf("tiny %s without the extra, %s with it", versionOfTiny(t, without), versionOfTiny(t, with))
	}
}

// TestEnsureSaysWhatFailed, and neither its error nor the log says where an index is.
func TestEnsureSaysWhatFailed(t *testing.T) {
	spec, opt, _, _ := tinySpec(t)
	none := t.TempDir()
	for _, test := range []struct {
		name, requirements, want string
		variables                map[string]string
	}{
		{"another wheel than the pinned one", strings.Replace(spec.Requirements, "sha256:", "sha256:0000", 1)[:len(spec.Requirements)-1], "Hash mismatch for `tiny==1.0`", nil},
		{"a package that is not there", "absent==3.1 --hash=sha256:" + strings.Repeat("0", 64), "absent was not found", nil},
		{"an index that cannot be reached", spec.Requirements, "Connection refused", map[string]string{
			"PIP_INDEX_URL": "http://user:hunter2@127.0.0.1:1/simple", "UV_HTTP_RETRIES": "0", "UV_CACHE_DIR": t.TempDir(),
		}},
		{"no Python", spec.Requirements, "Needed: Python 3.11 to 3.13", map[string]string{
			"PATH": none, "UV_PYTHON_INSTALL_DIR": none, "UV_PYTHON_DOWNLOADS": "never", "UV_CACHE_DIR": t.TempDir(),
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.variables["PATH"] != "" {
				path, err := exec.LookPath("uv")
				noError(t, errors.Join(err, os.Symlink(path, filepath.Join(none, "uv"))))
			}
			for name, value := range test.variables {
				t.Setenv(name, value)
			}
			opt.Root = t.TempDir()
			_, err := Ensure(t.Context(), Spec{Name: "failing", Requirements: test.requirements}, opt)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			logs, _ := filepath.Glob(filepath.Join(opt.Root, "venv", "failing-*.log"))
			if len(logs) != 1 {
				t.Fatalf("logs: %v, want one", logs)
			}
			log, _ := os.ReadFile(logs[0])
			for what, text := range map[string]string{"error": err.Error(), "log": string(log)} {
				if strings.Contains(text, "hunter2") || strings.Contains(text, "127.0.0.1") {
					t.Errorf("the %s names the index:\n%s", what, text)
				}
			}
		})
	}

	// AND a caller that gives up gets its own reason
	t.Setenv("UV_CACHE_DIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	opt.Step = func(_ string, do func() error) error { cancel(); return do() }
	if _, err := Ensure(ctx, spec, opt); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestUVIsDownloadedWhereNoneIsRecentEnough(t *testing.T) {
	// GIVEN a machine with an old uv, and an index that needs a password
	bin, files := t.TempDir(), t.TempDir()
	script(t, bin, "uv", "echo uv 0.4.30")
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	system := runtime.GOOS + "/" + runtime.GOARCH
	wheel := uvWheels[system]
	file := "uv-" + uvRelease + "-py3-none-" + wheel.tag + ".whl"
	hash := writeWheel(t, files, file, [2]string{"uv-" + uvRelease + ".data/scripts/uv", "#!/bin/sh\necho uv " + uvRelease + "\n"})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch user, password, _ := r.BasicAuth(); {
		case user != "user" || password != "hunter2":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/simple/uv/":
			fmt.Fprintf(w, `<a href="../../files/%s#sha256=0">uv</a>`, file)
		default:
			http.ServeFile(w, r, filepath.Join(files, filepath.Base(r.URL.Path)))
		}
	}))
	defer server.Close()
	t.Setenv("UV_DEFAULT_INDEX", strings.Replace(server.URL, "//", "//user:hunter2@", 1)+"/simple")
	opt := Options{Root: t.TempDir()}

	// WHEN its wheel is not the pinned one THEN it is not used, and the error holds no address
	_, err := findUV(t.Context(), opt, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "has the hash "+hash) || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("error %v", err)
	}
	// WHEN it is THEN it is downloaded once
	defer maps.Copy(uvWheels, maps.Clone(uvWheels))
	wheel.sha256 = hash
	uvWheels[system] = wheel
	for range 2 {
		u, err := findUV(t.Context(), opt, io.Discard)
		if err != nil || u.path != filepath.Join(opt.Root, "uv", uvRelease, "uv") {
			t.Errorf("%s, %v", u.path, err)
		}
		server.Close()
	}
	// WHEN that on PATH is recent enough THEN it is used
	script(t, bin, "uv", "echo 'uv 1.0.0 (some-target)'")
	if u, err := findUV(t.Context(), opt, io.Discard); err != nil || u.path != "uv" {
		t.Errorf("%s, %v", u.path, err)
	}
}

func TestUVUsesTheIndexOfPip(t *testing.T) {
	const config = `printf '%s\n' "global.index-url='https://file.example/simple'" "global.find-links='\n/one\n/two'" ":env:.cert='/x'"`
	for _, test := range []struct {
		name      string
		variables map[string]string
		want      string
		noIndex   bool
	}{
		{"pip's files", nil, "UV_DEFAULT_INDEX=https://file.example/simple UV_FIND_LINKS=/one,/two", false},
		{"pip's variables before its files", map[string]string{"PIP_INDEX_URL": "https://variable.example", "PIP_CERT": "/ca.pem", "PIP_NO_INDEX": "true"},
			"SSL_CERT_FILE=/ca.pem UV_DEFAULT_INDEX=https://variable.example UV_FIND_LINKS=/one,/two", true},
		{"uv's variables before both", map[string]string{"PIP_FIND_LINKS": "/three", "UV_INDEX_URL": "https://uv.example", "UV_FIND_LINKS": "/four"},
			"UV_DEFAULT_INDEX=https://uv.example UV_FIND_LINKS=/four", false},
		{"several indexes", map[string]string{"PIP_EXTRA_INDEX_URL": "https://a.example https://b.example", "PIP_FIND_LINKS": "/a"},
			"UV_DEFAULT_INDEX=https://file.example/simple UV_FIND_LINKS=/a UV_INDEX=https://a.example https://b.example UV_INDEX_STRATEGY=unsafe-best-match", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, variable := range os.Environ() {
				if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "PIP_") || strings.HasPrefix(name, "UV_") || strings.HasPrefix(name, "SSL_") {
					t.Setenv(name, "")
				}
			}
			for name, value := range test.variables {
				t.Setenv(name, value)
			}
			bin := t.TempDir()
			script(t, bin, "pip3", "exit 127") // as a shim of pyenv
			script(t, bin, "pip", config)
			t.Setenv("PATH", bin)
			variables, noIndex := packageIndex(t.Context())
			var got []string
			for _, name := range slices.Sorted(maps.Keys(variables)) {
				got = append(got, name+"="+variables[name])
			}
			if strings.Join(got, " ") != test.want || noIndex != test.noIndex {
				t.Errorf("got  %s, %t\nwant %s, %t", strings.Join(got, " "), noIndex, test.want, test.noIndex)
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
	if got := Prefect3.Pin("prefect"); got != "3.9.1" {
		t.Errorf("Prefect 3 is pinned to %q, want 3.9.1", got)
	}
}
