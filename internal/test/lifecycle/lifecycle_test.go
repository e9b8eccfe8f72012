// Package lifecycle tests a deployment from its first command to the last resource
// destroyed: the stock CDKTF CLI, Terraform and the AWS provider against the emulator.
package lifecycle

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/terraform/terraform"
	"prefect-worker-ecs/internal/test/deployment"
	"prefect-worker-ecs/internal/test/testtools"
)

const (
	// The keys are markers to search for: nothing that is written may hold one, nor this file in a clone.
	firstKey  = "pnu_" + "marker5d0c1f6e7a8b49c2"
	secondKey = "pnu_" + "marker93b7e2d4c6f015a8"

	accountID   = "11111111-1111-4111-8111-111111111111"
	workspaceID = "22222222-2222-4222-8222-222222222222"
)

// TestMain keeps the user's own AWS out.
func TestMain(m *testing.M) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

// life is a clone of this project, an emulator to deploy to, and all output of the tools.
type life struct {
	t        *testing.T
	clone    project.Project
	program  string
	emulator *emulator.Emulator
	// stack is the name of the environment.
	stack string
	// output collects all that the tools print.
	output *bytes.Buffer
	// proxy lets the tools call only what the deployer may.
	proxy *enforce.Proxy
	// deployer is the access key that the tools have.
	deployer string
	// secrets are what nothing that is written may hold.
	secrets []string

	journal *journal
}

// journal are the calls of the tools.
type journal struct {
	mu    sync.Mutex
	calls []enforce.Call
}

func newLife(t *testing.T) *life {
	t.Helper()
	aws, err := emulator.Start(t.Context(), emulator.Options{Python: testtools.Environment(t, pyenv.Moto), Dir: t.TempDir()})
	testtools.NoError(t, err)
	t.Cleanup(func() {
		if err := aws.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	// The path has a space and a quote, as a user's may.
	d := &life{t: t, stack: "dev", secrets: []string{firstKey, secondKey}, clone: testtools.Clone(t, filepath.Join(t.TempDir(), "work o'space")), emulator: aws, output: new(bytes.Buffer), journal: new(journal)}
	if d.program, err = testtools.Project(t).Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := aws.Config(emulator.Region)
	d.proxy, err = enforce.Start(enforce.Options{AWS: cfg, Deployer: deployment.Permissions(cfg), Journal: func(call enforce.Call) {
		d.journal.mu.Lock()
		defer d.journal.mu.Unlock()
		d.journal.calls = append(d.journal.calls, call)
	}})
	testtools.NoError(t, err)
	t.Cleanup(d.proxy.Close)
	return d
}

// environment sets the YAML of the environment and synthesizes.
func (d *life) environment(yaml string) {
	d.t.Helper()
	testtools.NoError(d.t, os.WriteFile(filepath.Join(d.clone.Root, "config", "environments", d.stack+".yaml"), []byte(yaml), 0o644))
	testtools.NoError(d.t, d.clone.SynthAll(d.t.Context(), d.program))
}

// synthesized is the stack of the environment.
func (d *life) synthesized() []byte {
	d.t.Helper()
	file, err := os.ReadFile(project.StackFile(d.clone.Out(), d.stack))
	testtools.NoError(d.t, err)
	return file
}

// env is the environment of a call. An empty key is not set at all.
func (d *life) env(key string) []string {
	env := append(d.emulator.Env(emulator.Region), "AWS_ENDPOINT_URL="+d.proxy.Endpoint(), "AWS_ACCESS_KEY_ID="+d.deployer,
		"TF_VAR_prefect_account_id="+accountID,
		"TF_VAR_prefect_workspace_id="+workspaceID)
	if key != "" {
		env = append(env, "TF_VAR_prefect_api_key="+key)
	}
	return env
}

// environ is the environment of a tool, with the provider of this machine.
func (d *life) environ(key string) []string {
	d.t.Helper()
	// Of the checkout that is tested, whose provider cache is used.
	environ, err := testtools.Project(d.t).Environ(append(os.Environ(), d.env(key)...))
	testtools.NoError(d.t, err)
	return environ
}

// cdktf runs the stock CDKTF CLI in the clone and returns its output. No call may take longer than
// five minutes: one that waits for an answer that nobody gives would never end.
func (d *life) cdktf(key string, args ...string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 5*time.Minute)
	defer cancel()
	// The lock would come from the registry, whatever the configuration of Terraform says.
	cmd := exec.CommandContext(ctx, testtools.CDKTF(d.t), append(args, "--skip-provider-lock", "--no-color")...)
	cmd.Dir, cmd.Env = d.clone.Root, append(d.environ(key), "CI=1")
	start := time.Now()
	out, err := cmd.CombinedOutput()
	d.t.Logf("cdktf %s: %.1fs", strings.Join(args, " "), time.Since(start).Seconds())
	d.output.Write(out)
	if err != nil {
		d.t.Fatalf("cdktf %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// terraform runs Terraform in the stack's folder, as workerctl does.
func (d *life) terraform(key string, args ...string) ([]byte, error) {
	d.t.Helper()
	return d.terraformWatched(d.t.Context(), io.Discard, key, args...)
}

// terraformWatched is terraform, interrupted as by Ctrl-C when ctx ends. watch sees the output while
// Terraform runs.
func (d *life) terraformWatched(ctx context.Context, watch io.Writer, key string, args ...string) ([]byte, error) {
	d.t.Helper()
	stack := terraform.Stack{Dir: d.clone.StackDir(d.stack), Environ: d.environ(key), TrustProvider: true}
	testtools.NoError(d.t, stack.Init(ctx))
	var out bytes.Buffer
	err := stack.Run(ctx, io.MultiWriter(&out, watch), &out, args...)
	d.output.Write(out.Bytes())
	return out.Bytes(), err
}

// without counts the resources of the stack that can be created before any of the given ones
// is there: that neither refer to one, nor to what does, and are none themselves.
func (d *life) without(addresses ...string) int {
	d.t.Helper()
	var stack struct {
		Resource map[string]map[string]json.RawMessage
	}
	testtools.NoError(d.t, json.Unmarshal(d.synthesized(), &stack))
	waits := map[string]bool{}
	for _, address := range addresses {
		waits[address] = true
	}
	all := 0
	for before := -1; before < len(waits); { // until nothing more is found to wait
		before, all = len(waits), 0
		for kind, named := range stack.Resource {
			for name, arguments := range named {
				all++
				for address := range waits {
					// A reference, or an item of depends_on.
					if bytes.Contains(arguments, []byte("${"+address+".")) || bytes.Contains(arguments, []byte(`"`+address+`"`)) {
						waits[kind+"."+name] = true
						break
					}
				}
			}
		}
	}
	return all - len(waits)
}

// apply deploys with Terraform alone, all or what was planned.
func (d *life) apply(key string, plan ...string) {
	d.t.Helper()
	if out, err := d.terraform(key, append([]string{"apply", "-auto-approve", "-input=false", "-no-color"}, plan...)...); err != nil {
		d.t.Fatalf("terraform apply: %v\n%s", err, out)
	}
}

// plan returns the changes that a deployment would make, as "address action", such as
// "aws_vpc.main update", and the file with which to make them.
func (d *life) plan(key string) (changes []string, file string) {
	d.t.Helper()
	file = filepath.Join(d.t.TempDir(), "plan.bin")
	out, err := d.terraform(key, "plan", "-json", "-out", file)
	if err != nil {
		d.t.Fatalf("terraform plan: %v\n%s", err, out)
	}
	d.searchArchive(file)
	for line := range bytes.Lines(out) {
		var event struct {
			Type   string
			Change struct {
				Action   string
				Resource struct{ Addr string }
			}
		}
		if err := json.Unmarshal(line, &event); err != nil {
			d.t.Fatalf("terraform plan: %v\n%s", err, line)
		}
		if event.Type == "planned_change" {
			changes = append(changes, event.Change.Resource.Addr+" "+event.Change.Action)
		}
	}
	slices.Sort(changes)
	return changes, file
}

// noChanges plans directly after a deployment, as somebody who may only read.
func (d *life) noChanges(key string) {
	d.t.Helper()
	d.may(deployer.Read)
	defer d.may(deployer.Deploy)
	if out, err := d.terraform(key, "plan", "-no-color", "-detailed-exitcode"); err != nil {
		d.t.Errorf("a plan directly after a deployment shows changes: %v\n%s", err, out)
	}
}

// interrupter reads the output of a deployment and interrupts it when it has created all
// that does not need the VPC or the cluster, for which Terraform then waits some seconds. At
// another time a request could be on its way: it is aborted, and what AWS has just
// created by it is not in the state.
type interrupter struct {
	interrupt func()
	// without is the number of resources that need neither.
	without int
	text    []byte
}

func (i *interrupter) Write(p []byte) (int, error) {
	i.text = append(i.text, p...)
	creating, created := bytes.Count(i.text, []byte(": Creating...")), bytes.Count(i.text, []byte(": Creation complete"))
	if created == i.without && creating == created+2 {
		i.interrupt()
	}
	return len(p), nil
}

// TestLifeCycle goes through the life of one deployment. Its steps build on each other.
func TestLifeCycle(t *testing.T) {
	t.Parallel()
	d := newLife(t)
	d.environment("")
	d.may(deployer.Deploy)
	aws := newReader(t, d.emulator)
	before := aws.inventory()

	t.Log("a deployment without the key stops, names the variable and creates nothing")
	out, err := d.terraform("", "apply", "-auto-approve", "-input=false", "-no-color")
	if err == nil || !strings.Contains(unwrapped(string(out)), "export TF_VAR_prefect_api_key=") {
		t.Fatalf("got %v\n%s", err, out)
	}
	if diff := cmp.Diff(before, aws.inventory()); diff != "" {
		t.Errorf("something was created (- before, + now)\n%s", diff)
	}

	t.Log("deploy, interrupted half-way, while Terraform waits for AWS")
	halfWay, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, err = d.terraformWatched(halfWay, &interrupter{interrupt: interrupt, without: d.without("aws_vpc.main", "aws_ecs_cluster.main")}, firstKey, "apply", "-auto-approve", "-input=false", "-no-color")
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the deployment should be interrupted: %v\n%s", err, out)
	}
	t.Log("... then refused half-way: one action is missing")
	d.may(deployer.Deploy, "ec2:CreateNatGateway")
	refused, err := d.terraform(firstKey, "apply", "-auto-approve", "-input=false", "-no-color")
	if err == nil || !strings.Contains(unwrapped(string(refused)), "ec2:CreateNatGateway") {
		t.Fatalf("the deployment should fail at ec2:CreateNatGateway: %v\n%s", err, refused)
	}
	t.Log("... and repeated with the CDKTF CLI, which continues from the same state")
	d.may(deployer.Deploy)
	d.cdktf(firstKey, "deploy", "dev", "--auto-approve", "--outputs-file", "outputs.json")
	if got := aws.secret("prefect-api-key-new-2"); got != firstKey {
		t.Error("the secret does not hold the key")
	}

	t.Log("cdktf diff, by somebody who may only read, shows no change: everything is in AWS as in the golden file, nothing is doubled or lost; also with a new key, which alone changes nothing")
	d.may(deployer.Read)
	if out := d.cdktf(secondKey, "diff", "dev"); !strings.Contains(out, "No changes.") {
		t.Errorf("cdktf diff:\n%s", out)
	}
	d.may(deployer.Deploy)

	t.Log("a second environment lives in the network and the cluster of the first, with its roles, which the outputs name, and goes without a trace")
	d.second(aws)

	t.Log("more memory, another image and a new version of the key: just the task definition, the service and the secret's value change")
	larger := "worker: {memory: 1024, image: 'prefecthq/prefect:2.20.25-python3.11'}\nsecret: {version: 2}\n"
	d.environment(larger)
	want := []string{"aws_ecs_service.worker update", "aws_ecs_task_definition.worker replace", "aws_secretsmanager_secret_version.prefect_api_key replace"}
	changes, plan := d.plan(secondKey)
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("plan (- want, + got)\n%s", diff)
	}
	t.Log("the key is written, and the service is rolled")
	d.apply(secondKey, plan)
	if now := aws.definition(); *now.Memory != "1024" || *now.ContainerDefinitions[0].Image != "prefecthq/prefect:2.20.25-python3.11" || now.Revision < 2 {
		t.Errorf("memory %s, image %s and revision %d are deployed", *now.Memory, *now.ContainerDefinitions[0].Image, now.Revision)
	}
	if got := aws.secret("prefect-api-key-new-2"); got != secondKey {
		t.Error("the secret does not hold the new key")
	}

	t.Log("what is protected is not destroyed")
	d.environment("protect: true\n" + larger)
	if out, err := d.terraform("", "plan", "-destroy", "-refresh=false", "-no-color"); err == nil || strings.Count(string(out), "Instance cannot be destroyed") < 3 {
		t.Errorf("a plan to destroy what is protected: %v\n%s", err, out)
	}
	d.environment("")

	t.Log("destroy, without the key: nothing is left")
	d.cdktf("", "destroy", "dev", "--auto-approve")
	if diff := cmp.Diff(before, aws.inventory()); diff != "" {
		t.Errorf("something is left (- before, + now)\n%s", diff)
	}

	t.Log("the key is in nothing that was written")
	d.searchWorkspace()
	d.eachActionIsNeeded()
}

// unwrapped undoes Terraform's line breaks and frames in messages.
func unwrapped(text string) string {
	text = strings.NewReplacer("│", " ", "\n", " ").Replace(text)
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), " dev ", " ")
}

// searchWorkspace looks for the secrets in every file of the workspace, in all that the tools
// printed and in the emulator's log. To show that it would find them, it also looks
// for a value that must be there.
func (d *life) searchWorkspace() {
	d.t.Helper()
	found := d.search("output of the tools", d.output.Bytes())
	for _, dir := range []string{d.clone.Root, filepath.Dir(d.emulator.Log)} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || entry.Type()&fs.ModeSymlink != 0 {
				return err
			}
			content, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			found = d.search(path, content) || found
			if filepath.Base(path) == "plan" {
				d.searchArchive(path)
			}
			return err
		})
		testtools.NoError(d.t, err)
	}
	if !found {
		d.t.Error("the search found nothing at all, not even the account id: it is broken")
	}
}

// search reports a secret in content, and returns whether content holds the account id.
func (d *life) search(name string, content []byte) bool {
	for _, secret := range d.secrets {
		if bytes.Contains(content, []byte(secret)) {
			d.t.Errorf("a key or a password is in %s", name)
		}
	}
	return bytes.Contains(content, []byte(accountID))
}

// searchArchive searches a plan file, which is a zip archive.
func (d *life) searchArchive(path string) {
	d.t.Helper()
	archive, err := zip.OpenReader(path)
	testtools.NoError(d.t, err)
	defer archive.Close()
	found := false
	for _, file := range archive.File {
		r, err := file.Open()
		testtools.NoError(d.t, err)
		content, err := io.ReadAll(r)
		testtools.NoError(d.t, err)
		found = d.search(path+"/"+file.Name, content) || found
	}
	if !found {
		d.t.Errorf("the search does not see into %s", path)
	}
}
