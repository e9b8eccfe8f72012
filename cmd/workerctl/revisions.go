package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"prefect-worker-ecs/internal/review"
	"prefect-worker-ecs/internal/toolchain"
)

// compareRevisions synthesizes the checkout and a git revision of it, each with its own
// program, and returns what differs: a report for each environment that changes.
func compareRevisions(ctx context.Context, project toolchain.Project, base string) ([]review.Report, error) {
	dir, err := os.MkdirTemp("", "workerctl-review-")
	if err != nil {
		return nil, fmt.Errorf("review: %w", err)
	}
	defer os.RemoveAll(dir)
	revision := filepath.Join(dir, "revision")
	if err := git(ctx, project.Root, "worktree", "add", "--quiet", "--detach", revision, base); err != nil {
		return nil, fmt.Errorf("review: the git revision %s cannot be checked out: %w", base, err)
	}
	defer func() {
		// Also after Ctrl-C: git remembers each worktree.
		_ = git(context.WithoutCancel(ctx), project.Root, "worktree", "remove", "--force", revision)
	}()

	before, err := stacksOf(ctx, toolchain.Project{Root: revision}, filepath.Join(dir, "before"))
	if err != nil {
		return nil, fmt.Errorf("review: the revision %s cannot be synthesized: %w", base, err)
	}
	after, err := stacksOf(ctx, project, filepath.Join(dir, "after"))
	if err != nil {
		return nil, err
	}
	names := maps.Clone(before)
	maps.Copy(names, after)
	reports := []review.Report{} // never null in JSON
	for _, name := range slices.Sorted(maps.Keys(names)) {
		report, err := review.Stacks(name, before[name], after[name])
		if err != nil {
			return nil, fmt.Errorf("review: %w", err)
		}
		if len(report.Changes) > 0 {
			reports = append(reports, report)
		}
	}
	return reports, nil
}

// stacksOf builds a checkout, synthesizes it and returns its stacks by environment.
func stacksOf(ctx context.Context, project toolchain.Project, out string) (map[string][]byte, error) {
	app, err := project.Build(ctx)
	if err != nil {
		return nil, err
	}
	if err := project.SynthInto(ctx, os.Environ(), app, project.Root, out); err != nil {
		return nil, err
	}
	stacks := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Join(out, "stacks"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		file, err := os.ReadFile(toolchain.StackFile(out, entry.Name()))
		if err != nil {
			return nil, err
		}
		stacks[entry.Name()] = file
	}
	return stacks, nil
}

func git(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.New(strings.TrimSpace(output.String()))
	}
	return nil
}
