package main

import (
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

	"prefect-worker-ecs/internal/ops/plan"
	"prefect-worker-ecs/internal/terraform/toolchain"
)

// compareRevisions synthesizes the checkout and a git revision of it, each with its own
// program (the same one where only environments or documents differ), and returns what
// differs: a report for each environment that changes.
func compareRevisions(ctx context.Context, project toolchain.Project, base string) ([]plan.Report, error) {
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

	app, err := project.Build(ctx)
	if err != nil {
		return nil, err
	}
	after, err := stacksOf(ctx, app, project, filepath.Join(dir, "after"))
	if err != nil {
		return nil, err
	}
	then := toolchain.Project{Root: revision}
	// Built in another folder it is linked anew, which takes most of the time.
	if !sameProgram(ctx, project.Root, base) {
		app, err = then.Build(ctx)
	}
	var before map[string][]byte
	if err == nil {
		before, err = stacksOf(ctx, app, then, filepath.Join(dir, "before"))
	}
	if err != nil {
		return nil, fmt.Errorf("review: the revision %s cannot be synthesized: %w", base, err)
	}
	names := maps.Clone(before)
	maps.Copy(names, after)
	reports := []plan.Report{} // never null in JSON
	for _, name := range slices.Sorted(maps.Keys(names)) {
		report, err := plan.Stacks(name, before[name], after[name])
		if err != nil {
			return nil, fmt.Errorf("review: %w", err)
		}
		if len(report.Changes) > 0 {
			reports = append(reports, report)
		}
	}
	return reports, nil
}

// stacksOf synthesizes a checkout with a program and returns its stacks by environment.
func stacksOf(ctx context.Context, app string, project toolchain.Project, out string) (map[string][]byte, error) {
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

// sameProgram says whether a checkout has the program of a revision: all that differs is data
// that it reads or text for people, and nothing is new that git does not know.
func sameProgram(ctx context.Context, dir, base string) bool {
	data := []string{"--", ":!config/environments", ":!*.md"}
	fresh, err := gitOutput(ctx, dir, append([]string{"ls-files", "--others", "--exclude-standard"}, data...)...)
	return err == nil && fresh == "" && git(ctx, dir, append([]string{"diff", "--quiet", base}, data...)...) == nil
}

func git(ctx context.Context, dir string, args ...string) error {
	_, err := gitOutput(ctx, dir, args...)
	return err
}

func gitOutput(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		return string(output), ctx.Err()
	}
	return "", errors.New(strings.TrimSpace(string(output)))
}
