package toolchain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// Workspace is a folder from which the program is deployed apart from the project's own
// files: with environments, values, state and output of its own. The local run and
// the tests use one, so that a user's terraform.tfvars and state are never touched.
type Workspace struct {
	// Dir is its absolute path.
	Dir string
}

// NewWorkspace builds the program and makes dir a folder to deploy it from.
func (p Project) NewWorkspace(ctx context.Context, dir string) (Workspace, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Workspace{}, err
	}
	app, err := p.Build(ctx)
	if err != nil {
		return Workspace{}, err
	}
	w := Workspace{Dir: dir}
	if err := os.MkdirAll(w.environments(), 0o755); err != nil {
		return Workspace{}, fmt.Errorf("make the workspace: %w", err)
	}
	config, err := json.MarshalIndent(map[string]string{"language": "go", "app": shellQuote(app)}, "", "  ")
	if err != nil {
		return Workspace{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "cdktf.json"), config, 0o644); err != nil {
		return Workspace{}, fmt.Errorf("make the workspace: %w", err)
	}
	return w, nil
}

func (w Workspace) environments() string { return filepath.Join(w.Dir, "config", "environments") }

// WriteEnvironment sets the YAML of an environment.
func (w Workspace) WriteEnvironment(name string, yaml []byte) error {
	return os.WriteFile(filepath.Join(w.environments(), name+".yaml"), yaml, 0o644)
}

// Stack is the folder in which the CLI runs Terraform for an environment.
func (w Workspace) Stack(environment string) string {
	return filepath.Join(w.Dir, "cdktf.out", "stacks", environment)
}

// TrustProvider takes the provider's checksums out of the lock in a folder where Terraform was just
// initialized, and remembers that it was. Init has compared them; each Terraform would do so again,
// which for the 700 MB of the AWS provider takes 0.6 s. For folders that last no longer than a run.
func TrustProvider(dir string) error {
	path := filepath.Join(dir, ".terraform.lock.hcl")
	lock, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("trust the provider: %w", err)
	}
	if err := os.WriteFile(path, hashes.ReplaceAll(lock, nil), 0o644); err != nil {
		return fmt.Errorf("trust the provider: %w", err)
	}
	return rememberInit(dir)
}

var hashes = regexp.MustCompile(`(?m)^ *hashes = \[[^\]]*\]\n`)

// Program is where Build puts the CDKTF app.
func (p Project) Program() string { return filepath.Join(p.Local(), "bin", "prefect-worker-ecs") }

// Out is the folder that the CDKTF CLI and the program write to.
func (p Project) Out() string { return filepath.Join(p.Root, "cdktf.out") }

// Build compiles the CDKTF app into the project's .local folder and returns its path. Without paths
// of this machine in it, what Go has compiled for one checkout serves the others.
func (p Project) Build(ctx context.Context) (string, error) {
	app := p.Program()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s", "-o", app, ".")
	cmd.Dir = p.Root
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("build the program: %w\n%s", err, indent(lastLines(output.String(), 20)))
	}
	return app, nil
}

// shellQuote makes s one word for the shell in which the CLI starts the app.
func shellQuote(s string) string {
	return "'" + string(bytes.ReplaceAll([]byte(s), []byte("'"), []byte(`'\''`))) + "'"
}
