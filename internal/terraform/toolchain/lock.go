package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"prefect-worker-ecs/internal/base/atomicfile"
)

// Platforms are the systems whose checksums a provider lock holds. A lock without one of
// them would shut out the people who work on it.
var Platforms = []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64"}

// Lock asks the registry for the checksums of the providers of an environment on all
// Platforms and writes them to LockFile, whose path below the project it returns. The
// environment must have been synthesized. Nothing is written if the registry cannot be
// reached: a mirror on this machine knows only this machine's platform.
func (p Project) Lock(ctx context.Context, environment string, progress io.Writer) (string, error) {
	source := filepath.Join(p.Root, "cdktf.out", "stacks", environment, "cdk.tf.json")
	stack, err := os.ReadFile(source)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("write the provider lock of %s: cdktf.out holds no stack of that name; run make synth first", environment)
	}
	if err != nil {
		return "", fmt.Errorf("write the provider lock: %w", err)
	}
	dir, err := os.MkdirTemp("", "provider-lock-")
	if err != nil {
		return "", fmt.Errorf("write the provider lock: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "cdk.tf.json"), stack, 0o600); err != nil {
		return "", fmt.Errorf("write the provider lock: %w", err)
	}

	args := []string{"providers", "lock", "-no-color"}
	for _, platform := range Platforms {
		args = append(args, "-platform="+platform)
	}
	cmd := exec.CommandContext(ctx, TerraformBinary(), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_CLI_ARGS_providers_lock=")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = progress, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("write the provider lock of %s: the registry did not give the checksums for %v, so nothing was written. Run it where the registry can be reached. %s said:\n%s",
			environment, Platforms, TerraformTool().Name, indent(lastLines(stderr.String(), 15)))
	}
	content, err := os.ReadFile(filepath.Join(dir, ".terraform.lock.hcl"))
	if err != nil {
		return "", fmt.Errorf("write the provider lock: %w", err)
	}
	file := p.LockFile(environment)
	if err := atomicfile.Write(file, content, 0o644); err != nil {
		return "", fmt.Errorf("write the provider lock: %w", err)
	}
	return filepath.Rel(p.Root, file)
}
