package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"prefect-worker-ecs/internal/emulator"
	"prefect-worker-ecs/internal/pyenv"
	"prefect-worker-ecs/internal/review"
	"prefect-worker-ecs/internal/testtools"
	"prefect-worker-ecs/internal/toolchain"
)

// checkout copies the project, as committed and changed, into a git repository of its own.
func checkout(t *testing.T) string {
	t.Helper()
	project, err := toolchain.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shell(t, `git -C "$0" ls-files -z --cached --others --exclude-standard | (cd "$0" && tar --null --files-from=- --ignore-failed-read -cf - 2>/dev/null) | tar -xf - -C "$1" && git -C "$1" init -q`, project.Root, dir)
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

// deployable is a checkout with values of variables, and an emulator to deploy it to.
func deployable(t *testing.T) (toolchain.Project, aws.Config) {
	t.Helper()
	testtools.Require(t, testtools.Node, testtools.Terraform)
	moto := testtools.Environment(t, pyenv.Moto)
	dir := checkout(t)
	t.Chdir(dir)
	emu, err := emulator.Start(t.Context(), emulator.Options{Python: moto, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = emu.Stop(context.Background()) })
	if err := os.WriteFile(filepath.Join(dir, "terraform.tfvars"), []byte("prefect_api_key = \"pnu_marker\"\nprefect_api_url = \"https://prefect.example.com/api\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return toolchain.Project{Root: dir}, testtools.AWS(t, emu.Env())
}

// terraform runs Terraform in the stack of dev, as workerctl synth wrote it.
func terraform(t *testing.T, project toolchain.Project, args ...string) {
	t.Helper()
	if _, err := project.Terraform(t.Context(), "dev", append(args, "-auto-approve", "-input=false", "-no-color")...); err != nil {
		t.Fatal(err)
	}
}

func TestReviewOfARevision(t *testing.T) {
	testtools.Require(t, testtools.Node)
	dir := checkout(t)
	t.Chdir(dir)

	// GIVEN a checkout without changes THEN the infrastructure is not touched
	out, _, err := run(t, "review")
	if want := "No environment changes against HEAD: the change touches no infrastructure.\n"; err != nil || out != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
	if out, _, err = run(t, "review", "--json"); err != nil || strings.TrimSpace(out) != "[]" {
		t.Errorf("%q, %v", out, err)
	}

	// WHEN an option changes and an environment comes
	for name, yaml := range map[string]string{"dev": "worker: {memory: 1024}\n", "prod": "name_suffix: -prod\nnetwork: {vpc_cidr: 10.9.0.0/16}\n"} {
		if err := os.WriteFile(filepath.Join(dir, "config", "environments", name+".yaml"), []byte(yaml), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// THEN both are shown, by address and value
	if out, _, err = run(t, "review", "--base", "HEAD", "--json"); err != nil {
		t.Fatal(err)
	}
	var reports []review.Report
	if err := json.Unmarshal([]byte(out), &reports); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(reports) != 2 || reports[1].Environment != "prod" || reports[1].Count(review.Create) < 39 {
		t.Fatalf("%s", out)
	}
	want := review.Resource{Address: "aws_ecs_task_definition.worker", Action: review.Change, Attributes: []review.Attribute{{Path: "memory", Before: "512", After: "1024"}}}
	if got, _ := json.Marshal(reports[0].Changes); string(got) != string(must(json.Marshal([]review.Resource{want}))) {
		t.Errorf("%s", got)
	}
	if out, _, err = run(t, "review", "--markdown"); err != nil || !strings.Contains(out, "### `dev`: 1 to change\n") || !strings.Contains(out, "- 512\n+ 1024\n") {
		t.Errorf("%s, %v", out, err)
	}
	// AND git keeps no worktree of it
	if list, err := exec.CommandContext(t.Context(), "git", "-C", dir, "worktree", "list").Output(); err != nil || strings.Count(string(list), "\n") != 1 {
		t.Errorf("%s, %v", list, err)
	}
	// WHEN the program of a revision is another one, which fails THEN it is the revision's that is run
	broken := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(broken, []byte("package main\n\nfunc init() { panic(\"of the revision\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	commit(t, dir)
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	if _, _, err = run(t, "review"); err == nil || !strings.Contains(err.Error(), "review: the revision HEAD cannot be synthesized: ") || !strings.Contains(err.Error(), "of the revision") {
		t.Errorf("got %v", err)
	}
	if _, _, err = run(t, "review", "--base", "nowhere"); err == nil || !strings.Contains(err.Error(), "the git revision nowhere cannot be checked out: ") {
		t.Errorf("got %v", err)
	}
}

// TestPlanAndPlainTerraform deploys with Terraform alone what `workerctl synth` wrote, and plans
// with workerctl: nobody needs the CDKTF CLI for that. Nor Terraform, where OpenTofu is installed,
// which CI does without.
func TestPlanAndPlainTerraform(t *testing.T) {
	// GIVEN values in a file, and a bucket for the state
	project, cfg := deployable(t)
	bucket := must(http.NewRequestWithContext(t.Context(), http.MethodPut, *cfg.BaseEndpoint+"/example-states", nil))
	_ = must(http.DefaultClient.Do(bucket)).Body.Close()
	for _, binary := range []string{"terraform", "tofu"} {
		t.Run(binary, func(t *testing.T) {
			if _, err := exec.LookPath(binary); err != nil {
				t.Skip("OpenTofu is not installed")
			}
			t.Setenv("TERRAFORM_BINARY_NAME", binary)
			testtools.Require(t, testtools.Terraform)
			planAndDeploy(t, project, cloudwatchlogs.NewFromConfig(cfg))
		})
	}
}

func planAndDeploy(t *testing.T, project toolchain.Project, logs *cloudwatchlogs.Client) {
	environment := func(yaml string) {
		t.Helper()
		yaml += "backend: {type: s3, bucket: example-states, assume_role_arn: 'arn:aws:iam::123456789012:role/states'}\n"
		if err := os.WriteFile(filepath.Join("config", "environments", "dev.yaml"), []byte(yaml), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	environment("")
	plan := func(args ...string) (review.Report, int) {
		t.Helper()
		out, _, err := run(t, append([]string{"plan", "--json"}, args...)...)
		var status reported
		if err != nil && !errors.As(err, &status) {
			t.Fatal(err)
		}
		if strings.Contains(out, "pnu_marker") {
			t.Error("the key is in the plan")
		}
		var r review.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		return r, int(status)
	}

	notDeployed := func() {
		t.Helper()
		out, _, err := run(t, "output")
		if want := "nothing is deployed: the state of dev has no outputs; deploy with make deploy ENV=dev"; err == nil || err.Error() != want {
			t.Errorf("%q, %v, want %s", out, err, want)
		}
	}

	// WHEN nothing is deployed THEN everything is to be created, with exit status 2
	r, status := plan()
	notDeployed()
	if status != 2 || r.Count(review.Create) < 39 || r.Count(review.Create) != len(r.Changes) {
		t.Errorf("status %d: %s", status, r.Summary())
	}
	// WHEN a lock of the environment is there, as make lock writes it, and nothing but a synth has run
	lock := filepath.Join(filepath.Dir(toolchain.StackFile(project.Out(), "dev")), ".terraform.lock.hcl")
	if err := errors.Join(os.Rename(lock, project.LockFile("dev")), os.RemoveAll(project.Out())); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t, "synth"); err != nil {
		t.Fatal(err)
	}
	// THEN Terraform alone finds the lock and the values, applies it all, and nothing is left to do
	must(project.Terraform(t.Context(), "dev", "init", "-lockfile=readonly", "-input=false", "-no-color"))
	terraform(t, project, "apply")
	if r, status = plan("dev"); status != 0 || len(r.Changes) != 0 {
		t.Errorf("status %d: %+v", status, r)
	}
	// AND its outputs and its log can be looked at
	for args, want := range map[string]string{"output": "ecs_service_name     dev-worker\n", "output dev --json": `"ecs_service_name": "dev-worker",` + "\n"} {
		if out, _, err := run(t, strings.Fields(args)...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	group := aws.String("/ecs/prefect-worker")
	for _, task := range []string{"0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"} {
		stream := aws.String("prefect-worker/prefect-worker/" + task)
		if _, err := logs.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}); err != nil {
			t.Fatal(err)
		}
		if _, err := logs.PutLogEvents(t.Context(), &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: []types.InputLogEvent{
			{Timestamp: aws.Int64(time.Now().UnixMilli()), Message: aws.String("line of " + task[:4] + "\n")}}}); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string][2]string{"logs": {" 01234567 line of 0123\n", " fedcba98 line of fedc\n"}, "logs dev --since 5m --task fed": {" fedcba98 line of fedc\n", ""}} {
		out, _, err := run(t, strings.Fields(args)...)
		if err != nil || !strings.Contains(out, want[0]) || !strings.Contains(out, want[1]) || strings.Count(out, "\n") != len(want)-strings.Count(args, "--task") {
			t.Errorf("%s: %q, %v", args, out, err)
		}
	}
	// WHEN the log group gets another name THEN a warning says what is lost
	environment("logs: {group: /ecs/other}\n")
	if r, status = plan(); status != 2 || len(r.Warnings) != 1 || r.Warnings[0] != "aws_cloudwatch_log_group.worker is destroyed and created again: its log lines go with it" {
		t.Errorf("status %d: %+v", status, r)
	}
	terraform(t, project, "destroy")
	notDeployed()
	state := string(must(project.Terraform(t.Context(), "dev", "state", "pull")))
	if strings.Contains(state, "pnu_marker") || !strings.Contains(state, `"resources": []`) {
		t.Errorf("the state: %s", state)
	}
	if local, _ := filepath.Glob("*.tfstate"); len(local) != 0 {
		t.Errorf("there is a state on this machine: %v", local)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
