package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// SynthError says that the program ran and wrote no stacks. Its text is the program's own.
type SynthError struct{ Output string }

func (e *SynthError) Error() string { return e.Output }

// SynthInto runs the built program, without the CDKTF CLI: it reads config/environments below
// dir and writes the stacks of all environments into the folder out. The error is a
// *SynthError if the program said why it cannot.
func (p Project) SynthInto(ctx context.Context, env []string, app, dir, out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, app)
	cmd.Dir = dir
	cmd.Env = append(slices.Clone(env), "CDKTF_OUTDIR="+out, endOfLifeWarning)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		switch text := strings.TrimRight(output.String(), "\n"); {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &exit) && text != "":
			return &SynthError{text}
		}
		return fmt.Errorf("synthesize: %w", err)
	}
	return nil
}

// SynthWith is SynthInto a folder of its own. It returns the Terraform JSON of an environment.
func (p Project) SynthWith(ctx context.Context, app, dir, environment string) ([]byte, error) {
	out, err := os.MkdirTemp("", "prefect-worker-synth-")
	if err != nil {
		return nil, fmt.Errorf("synthesize: %w", err)
	}
	defer os.RemoveAll(out)
	if err := p.SynthInto(ctx, os.Environ(), app, dir, out); err != nil {
		return nil, err
	}
	file, err := os.ReadFile(StackFile(out, environment))
	if err != nil {
		return nil, fmt.Errorf("synthesize: %w", err)
	}
	return file, nil
}

// StackFile is the path of an environment's Terraform JSON in a folder of output.
func StackFile(out, environment string) string {
	return filepath.Join(out, "stacks", environment, "cdk.tf.json")
}

// Synth is SynthWith a program that is built first.
func (p Project) Synth(ctx context.Context, dir, environment string) ([]byte, error) {
	app, err := p.Build(ctx)
	if err != nil {
		return nil, err
	}
	return p.SynthWith(ctx, app, dir, environment)
}
