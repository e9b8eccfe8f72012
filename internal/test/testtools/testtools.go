// Package testtools gives a test what it needs of the machine, or skips it.
package testtools

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/terraform/toolchain"
)

// Need is a tool, or a set of tools, that a test cannot do without. It returns an error
// that says what is missing.
type Need func(context.Context) error

// Node is for CDKTF constructs. Terraform, or OpenTofu in its place, and CDKTF are the tools of a
// deployment. Python is for the emulator and Prefect.
var (
	Node      Need = tools("Node.js")
	Terraform Need = func(ctx context.Context) error {
		_, err := toolchain.TerraformTool().Check(ctx)
		return err
	}
	CDKTF Need = func(ctx context.Context) error {
		return errors.Join(Terraform(ctx), tools("Node.js", "npm")(ctx))
	}
	Python Need = func(ctx context.Context) error {
		_, err := pyenv.FindPython(ctx, pyenv.Moto.MinPython, pyenv.Moto.MaxPython)
		return err
	}
)

func tools(names ...string) Need {
	return func(ctx context.Context) error {
		for _, tool := range toolchain.Tools() {
			for _, name := range names {
				if tool.Name != name {
					continue
				}
				if _, err := tool.Check(ctx); err != nil {
					return err
				}
			}
		}
		return nil
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
	Require(t, Python)
	env, err := pyenv.Ensure(t.Context(), spec, pyenv.Options{
		Root:     project(t).Local(),
		Progress: func(line string) { t.Log(line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// Project returns this project with the CDKTF CLI installed.
func Project(t *testing.T) toolchain.Project {
	t.Helper()
	Require(t, CDKTF)
	p := project(t)
	if err := p.EnsureCLI(t.Context(), func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	return p
}

func project(t testing.TB) toolchain.Project {
	t.Helper()
	p, err := toolchain.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// AWS returns the configuration of clients under the given variables, those of an emulator,
// which replace all that are about AWS for the rest of the test.
func AWS(t *testing.T, variables []string) aws.Config {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // so that it comes back
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	// One client for all: each of the SDK would keep connections of its own. And many attempts: under
	// load an answer is aborted now and then ("use of closed network connection").
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithHTTPClient(http.DefaultClient), config.WithRetryMaxAttempts(6))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
