package plan

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

	"prefect-worker-ecs/internal/terraform/project"
)

// Revisions synthesizes the checkout and a git revision of it, each with its own program (the same
// one where only environments or documents differ), and returns a report for each environment that
// differs.
func Revisions(ctx context.Context, p project.Project, base string) ([]Report, error) {
	dir, err := os.MkdirTemp("", "workerctl-review-")
	if err != nil {
		return nil, fmt.Errorf("review: %w", err)
	}
	defer os.RemoveAll(dir)
	revision := filepath.Join(dir, "revision")
	if err := git(ctx, p.Root, "worktree", "add", "--quiet", "--detach", "--end-of-options", revision, base); err != nil {
		return nil, fmt.Errorf("review: the git revision %s cannot be checked out: %w", base, err)
	}
	defer func() {
		// Also after Ctrl-C: git remembers each worktree.
		_ = git(context.WithoutCancel(ctx), p.Root, "worktree", "remove", "--force", revision)
	}()

	app, err := p.Build(ctx)
	if err != nil {
		return nil, err
	}
	after, err := stacksOf(ctx, app, p.Root, filepath.Join(dir, "after"))
	if err != nil {
		return nil, err
	}
	then := project.Project{Root: revision}
	// Built in another folder it is relinked, which takes most of the time.
	if !sameProgram(ctx, p.Root, base) {
		app, err = then.Build(ctx)
	}
	var before map[string][]byte
	if err == nil {
		before, err = stacksOf(ctx, app, then.Root, filepath.Join(dir, "before"))
	}
	if err != nil {
		return nil, fmt.Errorf("review: the revision %s cannot be synthesized: %w", base, err)
	}
	names := maps.Clone(before)
	maps.Copy(names, after)
	reports := []Report{} // never null in JSON
	for _, name := range slices.Sorted(maps.Keys(names)) {
		report, err := Stacks(name, before[name], after[name])
		if err != nil {
			return nil, fmt.Errorf("review: %w", err)
		}
		if !report.Empty() {
			reports = append(reports, report)
		}
	}
	return reports, nil
}

// stacksOf synthesizes a checkout with a program and returns its stacks by environment.
func stacksOf(ctx context.Context, app, dir, out string) (map[string][]byte, error) {
	if err := project.Synth(ctx, os.Environ(), app, dir, out); err != nil {
		return nil, err
	}
	stacks := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Join(out, "stacks"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		file, err := os.ReadFile(project.StackFile(out, entry.Name()))
		if err != nil {
			return nil, err
		}
		stacks[entry.Name()] = file
	}
	return stacks, nil
}

// sameProgram reports whether a checkout has the program of a revision: all that differs is data
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
