// Package testtools gives a test what it needs of the machine, or skips it.
package testtools

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/terraform/project"
)

// Need is something that a test cannot do without. It returns an error that says what is missing.
type Need func(context.Context) error

// Node is for CDKTF constructs, Terraform (or OpenTofu) for deployments.
var (
	Node      = installed(project.NodeTool)
	Terraform = installed(project.TerraformTool)
)

func installed(tool func() project.Tool) Need {
	return func(ctx context.Context) error {
		_, err := tool().Check(ctx)
		return err
	}
}

// Require skips the test where a tool is missing, and says which. In CI, where nobody
// reads the skips, it fails the test instead.
func Require(t testing.TB, needs ...Need) {
	t.Helper()
	for _, need := range needs {
		err := need(t.Context())
		switch {
		case err == nil:
		case os.Getenv("CI") == "true":
			t.Fatal(err)
		default:
			t.Skip(err)
		}
	}
}

// Environment returns one of the project's Python environments, and makes it first if there
// is none: that needs the package index once.
func Environment(t testing.TB, spec pyenv.Spec) pyenv.Env {
	t.Helper()
	env, err := pyenv.Ensure(t.Context(), spec, pyenv.Options{
		Root: checkout(t).Local(),
		Step: func(what string, do func() error) error { t.Log(what); return do() },
	})
	NoError(t, err)
	return env
}

// Project returns this project, whose stacks can be synthesized and deployed.
func Project(t testing.TB) project.Project {
	t.Helper()
	Require(t, Node, Terraform)
	return checkout(t)
}

func checkout(t testing.TB) project.Project {
	t.Helper()
	p, err := project.Find(".")
	NoError(t, err)
	return p
}

// Clone copies the files of this checkout that git has, or would have, to dir.
func Clone(t testing.TB, dir string) project.Project {
	t.Helper()
	NoError(t, os.MkdirAll(dir, 0o755))
	const copies = `git -C "$0" ls-files -z --cached --others --exclude-standard | (cd "$0" && tar --null --files-from=- --ignore-failed-read -cf - 2>/dev/null) | tar -xf - -C "$1"`
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", copies, checkout(t).Root, dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the checkout: %v\n%s", err, out)
	}
	return project.Project{Root: dir}
}

// cdktfRelease is the release of the CDKTF CLI that README names.
const cdktfRelease = "0.21.0"

// CDKTF returns the path of the stock CDKTF CLI, and installs it first if it is not there, which
// needs the npm registry once.
func CDKTF(t testing.TB) string {
	t.Helper()
	Require(t, Node)
	dir := filepath.Join(checkout(t).Local(), "test", "cdktf-cli-"+cdktfRelease)
	binary := filepath.Join(dir, "node_modules", ".bin", "cdktf")
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	// Installed beside and then renamed, so that an interrupted installation is not used.
	partial := dir + ".partial"
	NoError(t, os.RemoveAll(partial), os.MkdirAll(partial, 0o755))
	install := exec.CommandContext(t.Context(), "npm", "install", "--prefix", partial, "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", "cdktf-cli@"+cdktfRelease)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install cdktf-cli: %v\n%s", err, out)
	}
	NoError(t, os.Rename(partial, dir))
	return binary
}

// AWS returns the configuration of clients under the given variables, those of an emulator,
// which replace all that are about AWS for the rest of the test.
func AWS(t testing.TB, variables []string) aws.Config {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // so that it comes back
			NoError(t, os.Unsetenv(name))
		}
	}
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	// One client for all: each of the SDK would keep connections of its own. And many attempts: under
	// load an answer is aborted now and then ("use of closed network connection").
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithHTTPClient(http.DefaultClient), config.WithRetryMaxAttempts(6))
	NoError(t, err)
	return cfg
}
