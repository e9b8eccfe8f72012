package project

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

	"prefect-worker-ecs/internal/base/atomicfile"
	"prefect-worker-ecs/internal/base/proc"
)

// Build compiles the CDKTF program into the project's .local folder, unless it is up to date, and returns its path.
// The Makefile has the flags.
func (p Project) Build(ctx context.Context) (string, error) {
	app := p.Program()
	target, err := filepath.Rel(p.Root, app)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "make", "-s", target)
	cmd.Dir = p.Root
	if output, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("build the program: %w\n%s", err, proc.Indent(proc.LastLines(string(output), 20)))
	}
	return app, nil
}

// SynthError says that the program ran and wrote no stacks. Its text is the program's own.
type SynthError struct{ Output string }

func (e *SynthError) Error() string { return e.Output }

// Synth runs the built program with the variables environ: it reads config/environments below dir and writes the stacks of all
// environments into the folder out. The error is a *SynthError if the program said why it cannot.
func Synth(ctx context.Context, environ []string, program, dir, out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Dir = dir
	cmd.Env = append(slices.Clone(environ), "CDKTF_OUTDIR="+out,
		"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION=18,20") // a screenful about releases that work
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		_, ended := errors.AsType[*exec.ExitError](err)
		switch text := strings.TrimRight(output.String(), "\n"); {
		case ctx.Err() != nil:
			return ctx.Err()
		case ended && text != "":
			return &SynthError{text}
		}
		return fmt.Errorf("synthesize: %w", err)
	}
	return nil
}

// SynthOne runs the built program for dir into a folder that does not stay, and returns the
// Terraform JSON of one environment. A deployment that runs at the same time is not disturbed.
func SynthOne(ctx context.Context, program, dir, environment string) ([]byte, error) {
	out, err := os.MkdirTemp("", "prefect-worker-synth-")
	if err != nil {
		return nil, fmt.Errorf("synthesize: %w", err)
	}
	defer os.RemoveAll(out)
	if err := Synth(ctx, os.Environ(), program, dir, out); err != nil {
		return nil, err
	}
	file, err := os.ReadFile(StackFile(out, environment))
	if err != nil {
		return nil, fmt.Errorf("synthesize: %w", err)
	}
	return file, nil
}

// SynthAll writes the stacks of all environments of the project to its folder cdktf.out with the
// built program, ready for Terraform: with the provider locks of the repository, and links to the
// files of values, so that a credential is in one file only.
func (p Project) SynthAll(ctx context.Context, program string) error {
	if err := Synth(ctx, os.Environ(), program, p.Root, p.Out()); err != nil {
		return err
	}
	const doing = "put Terraform's files in place: %w"
	stacks, err := filepath.Glob(StackFile(p.Out(), "*"))
	if err != nil {
		return err
	}
	for _, stack := range stacks {
		dir := filepath.Dir(stack)
		switch lock, err := os.ReadFile(p.LockFile(filepath.Base(dir))); {
		case err == nil:
			if err := atomicfile.Keep(filepath.Join(dir, ".terraform.lock.hcl"), lock, 0o644); err != nil {
				return fmt.Errorf(doing, err)
			}
		case !errors.Is(err, os.ErrNotExist):
			return fmt.Errorf(doing, err)
		}
		if err := linkValues(p.Root, dir); err != nil {
			return fmt.Errorf(doing, err)
		}
	}
	return nil
}

// linkValues makes the links in a stack's folder to the files of values in dir, and removes those
// whose file is gone.
func linkValues(dir, stack string) error {
	for _, pattern := range valueFiles {
		there, _ := filepath.Glob(filepath.Join(stack, pattern)) // the patterns are valid
		for _, file := range there {
			if target, err := os.Readlink(file); err == nil && strings.HasPrefix(target, "..") {
				if err := os.Remove(file); err != nil {
					return err
				}
			}
		}
		given, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, file := range given {
			target, err := filepath.Rel(stack, file)
			if err != nil {
				return err
			}
			if err := os.Symlink(target, filepath.Join(stack, filepath.Base(file))); err != nil {
				return err
			}
		}
	}
	return nil
}
