// Package testtools says what a test needs of the machine.
package testtools

import (
	"context"
	"os"
	"testing"

	"prefect-worker-ecs/internal/pyenv"
	"prefect-worker-ecs/internal/toolchain"
)

// Need is a tool, or a set of tools, that a test cannot do without. It returns an error
// that says what is missing.
type Need func(context.Context) error

// Terraform and CDKTF are the tools of a deployment. Python is for the emulator and
// Prefect.
var (
	Terraform Need = tools("Terraform")
	CDKTF     Need = tools("Terraform", "Node.js", "npm")
	Python    Need = func(ctx context.Context) error {
		_, err := pyenv.FindPython(ctx, pyenv.Moto.MinPython, pyenv.Moto.MaxPython)
		return err
	}
)

func tools(names ...string) Need {
	return func(ctx context.Context) error {
		for _, tool := range toolchain.Tools {
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
func Require(t *testing.T, needs ...Need) {
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
