package toolchain

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Synth runs the program by itself, without the CDKTF CLI, and returns the Terraform JSON
// of an environment. dir is the folder with config/environments in it, usually the
// project's; nothing is written there.
func (p Project) Synth(ctx context.Context, dir, environment string) ([]byte, error) {
	app, err := p.Build(ctx)
	if err != nil {
		return nil, err
	}
	return p.SynthWith(ctx, app, dir, environment)
}

// SynthWith is Synth with a program that Build has made.
func (p Project) SynthWith(ctx context.Context, app, dir, environment string) ([]byte, error) {
	out, err := os.MkdirTemp("", "prefect-worker-synth-")
	if err != nil {
		return nil, fmt.Errorf("synthesize: %w", err)
	}
	defer os.RemoveAll(out)
	env, err := p.Environ(os.Environ())
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, app)
	cmd.Dir, cmd.Env = dir, append(env, "CDKTF_OUTDIR="+out)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("synthesize: %w\n%s", err, indent(lastLines(output.String(), 20)))
	}
	file, err := os.ReadFile(filepath.Join(out, "stacks", environment, "cdk.tf.json"))
	if err != nil {
		return nil, fmt.Errorf("synthesize: %w", err)
	}
	return file, nil
}
