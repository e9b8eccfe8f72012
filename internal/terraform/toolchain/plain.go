package toolchain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"prefect-worker-ecs/internal/base/atomicfile"
)

// TerraformBinary is the Terraform, or OpenTofu, to run: the CDKTF CLI's own variable names
// another one.
func TerraformBinary() string {
	if own := os.Getenv("TERRAFORM_BINARY_NAME"); own != "" {
		return own
	}
	return "terraform"
}

// isOpenTofu tells whether the Terraform to run is OpenTofu, by its name, as in
// TERRAFORM_BINARY_NAME=tofu.
func isOpenTofu() bool { return strings.Contains(filepath.Base(TerraformBinary()), "tofu") }

// Terraform runs Terraform in the folder of an environment's synthesized stack, without the
// CDKTF CLI, and returns what it wrote to stdout. The error holds what it said.
func (p Project) Terraform(ctx context.Context, environment string, args ...string) ([]byte, error) {
	return p.TerraformIn(ctx, p.stackDir(environment), nil, args...)
}

// TerraformIn is Terraform in another folder, with further variables.
func (p Project) TerraformIn(ctx context.Context, dir string, further []string, args ...string) ([]byte, error) {
	env, err := p.Environ(append(os.Environ(), further...))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, TerraformBinary(), args...)
	cmd.Dir, cmd.Env = dir, append(env, "TF_IN_AUTOMATION=1")
	// Terraform then ends in order and gives up its lock.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return stdout.Bytes(), &TerraformError{Command: args[0], Output: lastLines(stdout.String()+stderr.String(), 40), cause: err}
	}
	return stdout.Bytes(), nil
}

// TerraformError says that Terraform ended with a status other than 0.
type TerraformError struct {
	// Command is the one that failed, such as plan.
	Command string
	// Output is the end of what Terraform said.
	Output string
	cause  error
}

func (e *TerraformError) Error() string {
	return fmt.Sprintf("%s %s: %v\n%s", filepath.Base(TerraformBinary()), e.Command, e.cause, indent(e.Output))
}

// Unwrap gives the error of the process.
func (e *TerraformError) Unwrap() error { return e.cause }

func (p Project) stackDir(environment string) string {
	return filepath.Join(p.Root, "cdktf.out", "stacks", environment)
}

// init does what Terraform needs in a stack's folder, if it has not been done.
func (p Project) init(ctx context.Context, environment string) error {
	if isInitialized(p.stackDir(environment)) {
		return nil
	}
	if _, err := p.Terraform(ctx, environment, "init", "-input=false", "-no-color"); err != nil {
		return err
	}
	return rememberInit(p.stackDir(environment))
}

// State are the ids of the resources that the state of an environment holds, by their addresses,
// wherever the state is kept. The stack was synthesized. Without a state there are none. The state
// is read as it is kept: `terraform show -json` would first load the provider.
func (p Project) State(ctx context.Context, environment string) (map[string]string, error) {
	if err := p.init(ctx, environment); err != nil {
		return nil, err
	}
	text, err := p.Terraform(ctx, environment, "state", "pull")
	ids := map[string]string{}
	if err != nil || len(text) == 0 {
		return ids, err
	}
	var state struct {
		Resources []struct {
			Mode, Type, Name string
			Instances        []struct {
				Deposed    string // it is to be destroyed, and none took its place
				Attributes struct{ ID string }
			}
		}
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	for _, r := range state.Resources {
		if r.Mode == "managed" && len(r.Instances) > 0 && r.Instances[0].Deposed == "" {
			ids[r.Type+"."+r.Name] = r.Instances[0].Attributes.ID
		}
	}
	return ids, nil
}

// Outputs are the outputs in the state of an environment, wherever that is kept, by name. The stack
// was synthesized. Without a deployment there are none.
func (p Project) Outputs(ctx context.Context, environment string) (map[string]any, error) {
	if err := p.init(ctx, environment); err != nil {
		return nil, err
	}
	text, err := p.Terraform(ctx, environment, "output", "-json", "-no-color")
	if err != nil {
		return nil, err
	}
	var outputs map[string]tfjson.StateOutput
	if err := json.Unmarshal(text, &outputs); err != nil {
		return nil, fmt.Errorf("read the outputs: %w", err)
	}
	values := map[string]any{}
	for name, output := range outputs {
		values[name] = output.Value
	}
	return values, nil
}

// Plan plans an environment whose stack was synthesized, with Terraform alone and further arguments.
func (p Project) Plan(ctx context.Context, environment string, args ...string) (*tfjson.Plan, error) {
	if err := p.init(ctx, environment); err != nil {
		return nil, err
	}
	// A plan holds values of the state: it is in nobody's way and does not stay.
	dir, err := os.MkdirTemp("", "workerctl-plan-")
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "plan")
	if _, err := p.Terraform(ctx, environment, append([]string{"plan", "-input=false", "-no-color", "-out=" + file}, args...)...); err != nil {
		return nil, err
	}
	text, err := p.Terraform(ctx, environment, "show", "-json", "-no-color", file)
	if err != nil {
		return nil, err
	}
	var plan tfjson.Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	return &plan, nil
}

// initMark is a file in a stack's .terraform that says for what its init was.
const initMark = "workerctl-init"

// isInitialized tells whether `terraform init` has nothing to do in a stack's folder: it has
// run for the providers, backend, lock and Terraform that are there now, and the providers
// are still in place.
func isInitialized(dir string) bool {
	if os.Getenv("TF_CLI_ARGS_init") != "" || os.Getenv("TF_DATA_DIR") != "" {
		return false // whoever sets these wants an init of their own
	}
	sum, err := initSum(dir)
	if err != nil {
		return false
	}
	if done, err := os.ReadFile(filepath.Join(dir, ".terraform", initMark)); err != nil || string(done) != sum {
		return false
	}
	// host/namespace/type/version/platform: a folder, or a link into a cache or a mirror.
	providers, err := filepath.Glob(filepath.Join(dir, ".terraform", "providers", "*", "*", "*", "*", "*"))
	if err != nil || len(providers) == 0 {
		return false
	}
	for _, provider := range providers {
		if content, err := os.ReadDir(provider); err != nil || len(content) == 0 {
			return false
		}
	}
	return true
}

// rememberInit notes that `terraform init` has run for the stack as it is.
func rememberInit(dir string) error {
	sum, err := initSum(dir)
	if err != nil {
		return err
	}
	return atomicfile.Keep(filepath.Join(dir, ".terraform", initMark), []byte(sum), 0o644)
}

// initSum is what an init depends on: Terraform, providers, backend, versions, and the lock.
func initSum(dir string) (string, error) {
	file, err := os.ReadFile(filepath.Join(dir, "cdk.tf.json"))
	if err != nil {
		return "", err
	}
	var stack struct{ Terraform json.RawMessage }
	if err := json.Unmarshal(file, &stack); err != nil {
		return "", err
	}
	lock, err := os.ReadFile(filepath.Join(dir, ".terraform.lock.hcl"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%s\n%s", TerraformBinary(), stack.Terraform, lock)
	return hex.EncodeToString(sum.Sum(nil)), nil
}
