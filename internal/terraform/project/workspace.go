package project

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Workspace is a folder from which an environment is deployed apart from the project's own files:
// with configuration, values, state and output of its own. The local run and the tests use one, so
// that a user's terraform.tfvars and state are never touched.
type Workspace struct {
	// Dir is its absolute path.
	Dir string
	// Program is the built program.
	Program string
	// Environ are the variables with which it synthesizes. One that leads AWS's SDKs to this machine
	// allows what only a local run may have.
	Environ []string
}

// NewWorkspace builds the program and makes dir a workspace.
func (p Project) NewWorkspace(ctx context.Context, dir string) (Workspace, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Workspace{}, err
	}
	app, err := p.Build(ctx)
	if err != nil {
		return Workspace{}, err
	}
	w := Workspace{Dir: dir, Program: app, Environ: os.Environ()}
	if err := os.MkdirAll(filepath.Dir(w.file("")), 0o755); err != nil {
		return Workspace{}, fmt.Errorf("make the workspace: %w", err)
	}
	return w, nil
}

func (w Workspace) file(environment string) string {
	return filepath.Join(w.Dir, "config", "environments", environment+".yaml")
}

// Synth sets the YAML of an environment and synthesizes the stacks of the workspace.
func (w Workspace) Synth(ctx context.Context, environment string, yaml []byte) error {
	if err := os.WriteFile(w.file(environment), yaml, 0o644); err != nil {
		return fmt.Errorf("write the environment of the workspace: %w", err)
	}
	return Synth(ctx, w.Environ, w.Program, w.Dir, filepath.Join(w.Dir, "cdktf.out"))
}

// StackDir returns the folder in which Terraform runs for an environment.
func (w Workspace) StackDir(environment string) string {
	return filepath.Dir(StackFile(filepath.Join(w.Dir, "cdktf.out"), environment))
}
