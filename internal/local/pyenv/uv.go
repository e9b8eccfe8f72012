package pyenv

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/Masterminds/semver/v3"

	"prefect-worker-ecs/internal/base/atomicfile"
)

// uvRelease is the release of uv that is downloaded where none is installed, and oldestUV the
// oldest installed one with which the tests of this package were run.
const (
	uvRelease = "0.13.9"
	oldestUV  = "0.5.0"
)

// uvWheels are the wheels of uvRelease with their hashes on PyPI. Those of Linux are linked
// statically: they run on every distribution, with glibc or musl.
var uvWheels = map[string]struct{ tag, sha256 string }{
	"linux/amd64":  {"musllinux_1_1_x86_64", "2c45530751517d6c3bbc69a19473f6effe47cce047bede01ffd8af7ea7b36b25"},
	"linux/arm64":  {"manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64", "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe"},
	"darwin/amd64": {"macosx_10_12_x86_64", "c16ed11e013557536b3e60065f1b912f6407bd6518e041b961e23ef9e6b4fbf5"},
	"darwin/arm64": {"macosx_11_0_arm64", "66c512266d633bef48384a1f53003f41f2a8e7b36fe6e7fbfd3e0fd52d96fa63"},
}

// uv is a program uv and how it is run.
type uv struct {
	path string
	// environ says where packages come from.
	environ map[string]string
	// noIndex says that only UV_FIND_LINKS is used.
	noIndex bool
	log     io.Writer
}

// findUV returns the uv on PATH, or else that of opt.Root, which is downloaded first if it is not
// there.
func findUV(ctx context.Context, opt Options, log io.Writer) (uv, error) {
	u := uv{path: "uv", log: log}
	u.environ, u.noIndex = packageIndex(ctx)
	if version, err := u.version(ctx); err == nil && !version.LessThan(semver.MustParse(oldestUV)) {
		return u, nil
	}
	u.path = filepath.Join(opt.Root, "uv", uvRelease, "uv")
	unlock, err := Lock(ctx, u.path)
	if err != nil {
		return u, err
	}
	defer unlock()
	if _, err := u.version(ctx); err == nil {
		return u, nil
	}
	err = opt.step("downloading uv "+uvRelease, func() error {
		program, err := download(ctx, u.environ)
		if err != nil {
			return err
		}
		return atomicfile.Write(u.path, program, 0o755)
	})
	if err != nil {
		return u, fmt.Errorf("get uv %s, which installs Python packages: %s; connect to the network once, or install uv %s or newer (https://docs.astral.sh/uv)", uvRelease, scrub(err.Error()), oldestUV)
	}
	_, err = u.version(ctx)
	return u, err
}

// version starts uv to read its version.
func (u uv) version(ctx context.Context) (*semver.Version, error) {
	out, err := exec.CommandContext(ctx, u.path, "--version").Output()
	for errors.Is(err, syscall.ETXTBSY) { // The file is open in a process that another goroutine is starting.
		time.Sleep(10 * time.Millisecond)
		out, err = exec.CommandContext(ctx, u.path, "--version").Output()
	}
	if err != nil {
		return nil, err
	}
	_, after, _ := strings.Cut(string(out), " ") // uv 0.13.9 (x86_64-unknown-linux-musl)
	version, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	return semver.NewVersion(version)
}

// run runs one command of uv to its end. When ctx ends first, uv and all that it started are ended.
// The error is what uv reports.
func (u uv) run(ctx context.Context, input string, args ...string) error {
	if args[0] == "pip" && u.noIndex {
		args = append(args, "--no-index")
	}
	cmd := exec.CommandContext(ctx, u.path, append(args, "--quiet", "--no-progress")...)
	cmd.Env = Environ()
	for name, value := range u.environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	fmt.Fprintf(u.log, "$ uv %s\n%s\n", strings.Join(args, " "), scrub(out.String()))
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	reason := strings.Join(strings.Fields(scrub(out.String())), " ")
	return fmt.Errorf("uv %s: %w: %s", args[0], err, strings.NewReplacer("error: ", "", " cause: ", ": ").Replace(reason))
}

// scrub leaves out the addresses in a text: that of a package index often contains a user name and
// a password.
func scrub(text string) string { return address.ReplaceAllString(text, "<address>") }

var address = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'")` + "`" + `]+`)

// pipOptions are the variables of uv, their former names, the options of pip that mean the same, and
// what separates several values.
var pipOptions = []struct{ uv, former, pip, separator string }{
	{"UV_DEFAULT_INDEX", "UV_INDEX_URL", "index-url", " "},
	{"UV_INDEX", "UV_EXTRA_INDEX_URL", "extra-index-url", " "},
	{"UV_FIND_LINKS", "", "find-links", ","},
	{"UV_INSECURE_HOST", "", "trusted-host", " "},
	{"SSL_CERT_FILE", "", "cert", " "},
	{"SSL_CLIENT_CERT", "", "client-cert", " "},
}

// pipConfigured is a line of pip config list. What is in a variable comes from there.
var pipConfigured = regexp.MustCompile(`(?m)^(?:global|install)\.([a-z-]+)='(.*)'$`)

// packageIndex returns variables for uv that say where packages come from: as the user has set them,
// and else as pip is configured, of which uv by itself reads nothing. noIndex has no variable.
func packageIndex(ctx context.Context) (variables map[string]string, noIndex bool) {
	configured := map[string]string{}
	for _, pip := range []string{"pip3", "pip"} { // The first may be a shim that fails.
		out, err := exec.CommandContext(ctx, pip, "config", "list").Output()
		for _, line := range pipConfigured.FindAllStringSubmatch(string(out), -1) {
			configured[line[1]] = strings.ReplaceAll(line[2], `\n`, " ")
		}
		if err == nil {
			break
		}
	}
	pip := func(option, separator string) string {
		variable := "PIP_" + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
		return strings.Join(strings.Fields(cmp.Or(os.Getenv(variable), configured[option])), separator)
	}
	variables = map[string]string{}
	for _, o := range pipOptions {
		if value := cmp.Or(os.Getenv(o.uv), os.Getenv(o.former), pip(o.pip, o.separator)); value != "" {
			variables[o.uv] = value
		}
	}
	if pip("extra-index-url", " ") != "" { // pip takes the best match of all indexes.
		variables["UV_INDEX_STRATEGY"] = cmp.Or(os.Getenv("UV_INDEX_STRATEGY"), "unsafe-best-match")
	}
	return variables, slices.Contains([]string{"1", "true", "yes", "on"}, strings.ToLower(pip("no-index", "")))
}

// download returns the program uv of the pinned wheel, from the package index.
func download(ctx context.Context, variables map[string]string) ([]byte, error) {
	wheel, found := uvWheels[runtime.GOOS+"/"+runtime.GOARCH]
	if !found {
		return nil, fmt.Errorf("no wheel for %s/%s is pinned", runtime.GOOS, runtime.GOARCH)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	if file := variables["SSL_CERT_FILE"]; file != "" {
		certificates, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(certificates)
	}
	get := func(address string) ([]byte, *url.URL, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, nil, err
		}
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			return nil, nil, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil, nil, fmt.Errorf("%s answers %s", address, response.Status)
		}
		content, err := io.ReadAll(response.Body)
		return content, response.Request.URL, err
	}

	page, at, err := get(strings.TrimRight(cmp.Or(variables["UV_DEFAULT_INDEX"], "https://pypi.org/simple"), "/") + "/uv/")
	if err != nil {
		return nil, err
	}
	file := "uv-" + uvRelease + "-py3-none-" + wheel.tag + ".whl"
	link := regexp.MustCompile(`href="([^"]*` + regexp.QuoteMeta(file) + `[^"]*)"`).FindSubmatch(page)
	if link == nil {
		return nil, fmt.Errorf("the package index does not offer %s", file)
	}
	target, err := at.Parse(html.UnescapeString(string(link[1])))
	if err != nil {
		return nil, err
	}
	if target.User == nil && target.Host == at.Host {
		target.User = at.User
	}
	content, _, err := get(target.String())
	if err != nil {
		return nil, err
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(content)); sum != wheel.sha256 {
		return nil, fmt.Errorf("%s has the hash %s, not the pinned %s", file, sum, wheel.sha256)
	}
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, err
	}
	return fs.ReadFile(archive, "uv-"+uvRelease+".data/scripts/uv")
}
