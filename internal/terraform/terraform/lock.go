package terraform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"prefect-worker-ecs/internal/base/atomicfile"
	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/terraform/project"
)

// platforms are the systems whose checksums a provider lock holds. A lock without one of
// them would shut out the people who work on it.
var platforms = []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64"}

// Lock fetches the checksums of the providers of an environment on all platforms from the registry
// and writes them to the project's lock file, whose path below the project it returns. The
// environment must have been synthesized. Nothing is written if the registry cannot be reached: a
// mirror on this machine has this machine's platform only.
func Lock(ctx context.Context, p project.Project, environment string, progress io.Writer) (path string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the provider lock of %s: %w", environment, err)
		}
	}()
	stack, err := os.ReadFile(project.StackFile(p.Out(), environment))
	if errors.Is(err, os.ErrNotExist) {
		return "", errors.New("cdktf.out holds no stack of that name; run make synth first")
	}
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "provider-lock-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "cdk.tf.json"), stack, 0o600); err != nil {
		return "", err
	}
	args := []string{"providers", "lock", "-no-color"}
	for _, platform := range platforms {
		args = append(args, "-platform="+platform)
	}
	var stderr bytes.Buffer
	// Without the project's own environment, which may have a mirror.
	registry := Stack{Dir: dir, Environ: append(os.Environ(), "CHECKPOINT_DISABLE=1")}
	if err := registry.Run(ctx, progress, &stderr, args...); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("the registry did not return the checksums for %v, so nothing was written. Run it where the registry can be reached. The end of %s's output:\n%s",
			platforms, project.TerraformTool().Name, proc.Indent(proc.LastLines(stderr.String(), 15)))
	}
	content, err := os.ReadFile(filepath.Join(dir, ".terraform.lock.hcl"))
	if err != nil {
		return "", err
	}
	file := p.LockFile(environment)
	if err := atomicfile.Write(file, content, 0o644); err != nil {
		return "", err
	}
	return filepath.Rel(p.Root, file)
}
