package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"prefect-worker-ecs/internal/ops/plan"
	"prefect-worker-ecs/internal/test/testtools"
)

// checkout copies the project, as committed and changed, into a git repository of its own.
func checkout(t *testing.T) string {
	t.Helper()
	dir := testtools.Clone(t, t.TempDir()).Root
	shell(t, `git -C "$0" init -q`, dir)
	commit(t, dir)
	return dir
}

func commit(t *testing.T, dir string) {
	t.Helper()
	shell(t, `cd "$0" && git add -A && git -c user.name=t -c user.email=t@example.com -c commit.gpgsign=false commit -q -m c`, dir)
}

func shell(t *testing.T, command string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sh", append([]string{"-c", command}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestReviewOfARevision(t *testing.T) {
	testtools.Require(t, testtools.Node)
	dir := checkout(t)
	t.Chdir(dir)

	// GIVEN a checkout without changes THEN the infrastructure is not touched
	out, _, err := workerctl(t, "review")
	if want := "No environment changes against HEAD: the change touches no infrastructure.\n"; err != nil || out != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
	if out, _, err = workerctl(t, "review", "--json"); err != nil || strings.TrimSpace(out) != "[]" {
		t.Errorf("%q, %v", out, err)
	}

	// WHEN an option changes and an environment comes
	for name, yaml := range map[string]string{"dev": "worker: {memory: 1024}\n", "prod": "name_suffix: -prod\nnetwork: {vpc_cidr: 10.9.0.0/16}\n"} {
		testtools.NoError(t, os.WriteFile(filepath.Join(dir, "config", "environments", name+".yaml"), []byte(yaml), 0o644))
	}
	// THEN both are shown, by address and value
	if out, _, err = workerctl(t, "review", "--base", "HEAD", "--json"); err != nil {
		t.Fatal(err)
	}
	var reports []plan.Report
	if err := json.Unmarshal([]byte(out), &reports); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(reports) != 2 || reports[1].Environment != "prod" || len(reports[1].Changes) < 39 {
		t.Fatalf("%s", out)
	}
	want := plan.Resource{Address: "aws_ecs_task_definition.worker", Action: plan.Replace, Attributes: []plan.Attribute{{Path: "memory", Before: "512", After: "1024", ForcesReplacement: true}}}
	if got, _ := json.Marshal(reports[0].Changes); string(got) != string(must(json.Marshal([]plan.Resource{want}))) {
		t.Errorf("%s", got)
	}
	if out, _, err = workerctl(t, "review", "--markdown"); err != nil || !strings.Contains(out, "### `dev`: 1 to add, 1 to destroy\n") || !strings.Contains(out, "- 512\n+ 1024\n") {
		t.Errorf("%s, %v", out, err)
	}
	// AND git keeps no worktree of it
	if list, err := exec.CommandContext(t.Context(), "git", "-C", dir, "worktree", "list").Output(); err != nil || strings.Count(string(list), "\n") != 1 {
		t.Errorf("%s, %v", list, err)
	}
	// WHEN the program of a revision is another one, which fails THEN it is the revision's that is run
	broken := filepath.Join(dir, "broken.go")
	testtools.NoError(t, os.WriteFile(broken, []byte("package main\n\nfunc init() { panic(\"of the revision\") }\n"), 0o644))
	commit(t, dir)
	testtools.NoError(t, os.Remove(broken))
	if _, _, err = workerctl(t, "review"); err == nil || !strings.Contains(err.Error(), "review: the revision HEAD cannot be synthesized: ") || !strings.Contains(err.Error(), "of the revision") {
		t.Errorf("got %v", err)
	}
	if _, _, err = workerctl(t, "review", "--base", "nowhere"); err == nil || !strings.Contains(err.Error(), "the git revision nowhere cannot be checked out: ") {
		t.Errorf("got %v", err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
