package run

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/test/testtools"
)

// workerctl is the real program with a run folder of its own.
type workerctl struct {
	t       *testing.T
	program string
	dir     string
	config  string
}

// build builds the program, once for all tests; where nothing has changed since the last time it
// is not relinked.
var build = sync.OnceValues(func() (program string, err error) {
	project, err := project.Find(".")
	if err != nil {
		return "", err
	}
	program = filepath.Join(project.Local(), "bin", "workerctl-of-tests")
	if out, err := exec.Command("go", "build", "-o", program, "prefect-worker-ecs/cmd/workerctl").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// newWorkerctl builds the program, and makes sure that what a first run would
// install is there: the tests measure and interrupt a run, not a download.
func newWorkerctl(t *testing.T) workerctl {
	t.Helper()
	testtools.Project(t)
	testtools.Environment(t, pyenv.Moto)
	testtools.Environment(t, pyenv.Prefect2)
	program, err := build()
	testtools.NoError(t, err)
	w := workerctl{t: t, program: program, dir: filepath.Join(t.TempDir(), "run"), config: t.TempDir()}
	// The account is not the emulator's, and the worker serves some queues only.
	write(t, w.config, map[string]string{"dev.yaml": "account_id: '210987654321'\nwork_pool: {queues: [urgent, all the rest]}\n"})
	t.Cleanup(func() {
		// Whatever went wrong, nothing may be left.
		for _, id := range w.processes() {
			if id.GroupAlive() {
				t.Errorf("process %d was left running", id.PID)
				_ = id.Stop(t.Context(), syscall.SIGKILL, time.Second)
			}
		}
	})
	return w
}

func (w workerctl) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.program, append([]string{"local", "--dir", w.dir, "--config", w.config}, args...)...)
	cmd.Env = userEnviron()
	return cmd
}

// userEnviron is an environment with the values of a real deployment, which must not reach the
// local run.
func userEnviron() []string {
	return append(os.Environ(), "TF_VAR_prefect_api_key=of-the-user", "TF_VAR_prefect_api_url=https://of.the.user/api",
		"TF_VAR_aws_region=eu-west-1", "TF_CLI_ARGS_apply=-state=/of/the/user", "AWS_PROFILE=of-the-user", "AWS_ENDPOINT_URL_ECS=http://of.the.user",
		"PREFECT_API_URL=https://of.the.user/api", "PREFECT_API_KEY=of-the-user")
}

// refused runs an up that must fail and returns what it says.
func (w workerctl) refused() string {
	w.t.Helper()
	out, err := w.command("up", "dev").CombinedOutput()
	if err == nil {
		w.t.Fatalf("up should fail:\n%s", out)
	}
	return string(out)
}

// must runs a command to its end and returns its output.
func (w workerctl) must(args ...string) string {
	w.t.Helper()
	began := time.Now()
	out, err := w.command(args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("workerctl local %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	w.t.Logf("workerctl local %s took %.0f s", strings.Join(args, " "), time.Since(began).Seconds())
	return string(out)
}

// stopTask stops the worker's task as ECS does, and waits for the end of the worker.
func (w workerctl) stopTask() {
	w.t.Helper()
	testtools.NoError(w.t, w.state().Supervisor.Stop(w.t.Context(), syscall.SIGTERM, 2*time.Minute))
	events := (&run{dir: w.dir}).tasks().Events()
	if last := events[len(events)-1]; last.Kind != ecstask.Stopped || last.ExitCode != 0 {
		w.t.Errorf("the worker ended so: %+v\n%s", last, proc.Tail(w.dir+"/task/container.log", 30))
	}
}

// state reads the run's state, or returns nil if there is none.
func (w workerctl) state() *State {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s State
	if err != nil || json.Unmarshal(raw, &s) != nil {
		w.t.Fatalf("state.json: %v\n%s", err, raw)
	}
	return &s
}

// processes are all that the run started, as far as it is recorded.
func (w workerctl) processes() []proc.Identity {
	var ids []proc.Identity
	if s := w.state(); s != nil {
		ids = append(ids, s.Starting...)
		if s.Emulator != nil {
			ids = append(ids, s.Emulator.Process)
		}
		if s.Prefect != nil {
			ids = append(ids, s.Prefect.Process)
		}
		ids = append(ids, s.Supervisor)
	}
	r := &run{dir: w.dir}
	for _, e := range append(r.tasks().Events(), r.flowTasks().Events()...) {
		if e.Kind == ecstask.Started {
			ids = append(ids, e.Process)
		}
	}
	return ids
}

// alive are those that run.
func (w workerctl) alive() []proc.Identity {
	return slices.DeleteFunc(w.processes(), func(id proc.Identity) bool { return !id.Alive() })
}

func (w workerctl) assertAllEnded(ids []proc.Identity) {
	w.t.Helper()
	for _, id := range ids {
		if id.GroupAlive() {
			w.t.Errorf("process %d still runs", id.PID)
		}
	}
}

func TestLocalRun(t *testing.T) {
	t.Parallel()
	w := newWorkerctl(t)
	// GIVEN a worker on Spot with a policy that AWS manages
	const environment = `account_id: '210987654321'
work_pool: {queues: [urgent, all the rest]}
worker: {spot: true}
iam: {task_policy_arns: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess']}
`
	write(t, w.config, map[string]string{"dev.yaml": environment})

	// WHEN the local run is brought up
	out := w.must("up", "dev")

	// THEN a flow run has completed, and everything runs in the background
	for _, want := range []string{"is ONLINE", "checks of workerctl verify are green", "is COMPLETED", "The worker works."} {
		if !strings.Contains(out, want) {
			t.Fatalf("the output lacks %q:\n%s", want, out)
		}
	}
	first := w.alive()
	if len(first) != 4 {
		t.Fatalf("%d processes run, want emulator, Prefect server, supervisor and worker: %+v", len(first), w.state())
	}
	if status := w.must("status", "dev"); strings.Contains(status, "not running") || strings.Count(status, "running") != 4 {
		t.Errorf("status:\n%s", status)
	}
	s := w.state()
	cfg := s.Emulator.Config(s.Region)

	// AND its pages are known
	if out := w.must("open", "dev"); out != "  Prefect         "+s.Prefect.URL()+"\n  AWS emulator    "+s.Emulator.Endpoint+"/moto-api/\n" {
		t.Errorf("open: %s", out)
	}

	// AND no flow run needs a person
	if out := w.must("runs", "dev"); out != "No flow run of ecs-work-pool is late, orphaned or lost.\n" {
		t.Errorf("runs: %s", out)
	}

	// AND all resources were created
	if !strings.Contains(out, "2 imported, ") {
		t.Errorf("the output lacks Terraform's summary:\n%s", out)
	}

	// AND the command that it prints works, whatever the user's own environment says
	printed := regexp.MustCompile(`(?m)^  /.* local verify .*$`).FindString(out)
	verify := exec.CommandContext(t.Context(), "sh", "-c", printed)
	verify.Env = userEnviron()
	if report, err := verify.CombinedOutput(); err != nil {
		t.Errorf("%s\n%v\n%s", printed, err, report)
	}

	// AND the flow run's output is in the worker's log group
	logs := cloudwatchlogs.NewFromConfig(cfg)
	// Soon, as on AWS: the run is COMPLETED in Prefect before its last lines are delivered.
	var text string
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(text, "Hello from a flow run"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log group holds:\n%s", text)
		}
		events := testtools.Call(t, logs.FilterLogEvents, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/ecs/prefect-worker")})
		text = ""
		for _, e := range events.Events {
			text += *e.Message + "\n"
		}
	}

	// AND the key is in the secret, is not the user's, and is in no file of the run
	secret := testtools.Call(t, secretsmanager.NewFromConfig(cfg).GetSecretValue, &secretsmanager.GetSecretValueInput{SecretId: aws.String("prefect-api-key-new-2")})
	if !strings.HasPrefix(*secret.SecretString, "local_") {
		t.Error("the secret does not hold the key of the local run")
	}
	assertNowhere(t, w.dir, *secret.SecretString, "of-the-user", "of.the.user")

	// WHEN Terraform fails THEN its error is shown, and all that ran runs
	write(t, w.config, map[string]string{"dev.yaml": strings.Replace(environment, "Access'", "Access', 'arn:aws:iam::aws:policy/NoSuchPolicy'", 1)})
	if out := w.refused(); !strings.Contains(out, "NoSuchEntity") {
		t.Errorf("a policy that does not exist:\n%s", out)
	}
	write(t, w.config, map[string]string{"dev.yaml": environment})
	if now := w.alive(); !slices.Equal(now, first) {
		t.Errorf("before %v, now %v", first, now)
	}

	// WHEN it is brought up again, after the supervisor was killed
	testtools.NoError(t, s.Supervisor.Stop(t.Context(), syscall.SIGKILL, time.Second))
	out = w.must("up", "dev")

	// THEN what still runs is used again, and the worker that was left alone is replaced
	if !strings.Contains(out, "that run already") || !strings.Contains(out, "0 added, 0 changed, 0 destroyed") || !strings.Contains(out, "is COMPLETED") {
		t.Errorf("second up:\n%s", out)
	}
	if again := w.state(); again.Emulator.Process != s.Emulator.Process || again.Prefect.Process != s.Prefect.Process || again.Supervisor == s.Supervisor {
		t.Errorf("before %+v\nafter %+v", s, again)
	}
	if worker := first[3]; worker.GroupAlive() {
		t.Error("the first worker still runs")
	}

	// WHEN a call was denied before THEN it does not count for the next up
	denied, err := json.Marshal(enforce.Call{Time: time.Now(), Kind: enforce.Task, Role: "r", Action: "s3:GetObject", Resource: "*", Problem: "nothing allows it"})
	testtools.NoError(t, err)
	write(t, w.dir, map[string]string{"task/calls.jsonl": string(denied)})
	if _, err := (&run{dir: w.dir}).allowed(); err == nil {
		t.Error("the denied call is allowed")
	}

	// WHEN its task is replaced while a flow of one's own runs on it, by a change of the configuration
	last := w.processes()
	own, running := filepath.Join(t.TempDir(), "own.py"), filepath.Join(t.TempDir(), "running")
	const flow = "import pathlib, time\nfrom prefect import flow\n\n@flow\ndef mine(days: int, name: str, to: str):\n    file = pathlib.Path(to)\n    file.write_text(f'{days + 1} {name}')\n" +
		"    for _ in range(900):\n        if file.exists():\n            time.sleep(0.1)\n"
	write(t, filepath.Dir(own), map[string]string{"own.py": flow})
	// (One beside the run's folder is refused: it would be copied into itself.)
	write(t, filepath.Dir(w.dir), map[string]string{"own.py": flow})
	if out, err := w.command("run", filepath.Join(filepath.Dir(w.dir), "own.py"), "dev").CombinedOutput(); err == nil || !strings.Contains(string(out), "move the flow into a folder of its own") {
		t.Errorf("a flow beside the run's folder: %v\n%s", err, out)
	}
	ended := make(chan string, 1)
	go func() {
		out, err := w.command("run", own, "dev", "--param", "days=7", "-p", "name=a b=c", "-p", "to="+running).CombinedOutput()
		ended <- fmt.Sprint(string(out), err)
	}()
	for _, err := os.Stat(running); err != nil; _, err = os.Stat(running) {
		select {
		case out := <-ended:
			t.Fatalf("the flow of one's own did not run: %s", out)
		case <-time.After(50 * time.Millisecond):
		}
	}
	write(t, w.config, map[string]string{"dev.yaml": "worker: {memory: 1024}\n"})
	up := w.command("up", "dev")
	lines, err := up.StdoutPipe()
	if err != nil || up.Start() != nil {
		t.Fatal(err)
	}
	warning := ""
	for scanner := bufio.NewScanner(lines); scanner.Scan(); {
		if _, text, found := strings.Cut(scanner.Text(), "warning: "); found {
			warning = text
			if got, err := os.ReadFile(running); err != nil || string(got) != "8 a b=c" || os.Remove(running) != nil {
				t.Errorf("the flow had %q, %v", got, err)
			}
		}
	}
	// THEN it says so first, and the worker waits for the flow: for that the stack sets an entry point of its
	// own for Prefect 2, and docs/operate.md says so
	if err := up.Wait(); err != nil || !strings.HasPrefix(warning, "the tasks of the worker are stopped, with flow runs underway in them (1): ") {
		t.Errorf("%v, %q", err, warning)
	}
	if out := <-ended; !strings.Contains(out, "is COMPLETED") {
		t.Errorf("the flow of one's own: %s", out)
	}
	last = append(last, w.processes()...)

	// WHEN the Prefect server is killed
	testtools.NoError(t, s.Prefect.Process.Stop(t.Context(), syscall.SIGKILL, time.Second))
	// THEN status says so
	if status := w.must("status", "dev"); !strings.Contains(status, "✗ Prefect server  not running") {
		t.Errorf("status:\n%s", status)
	}

	// WHEN it is taken down
	out = w.must("down", "dev")

	// THEN the stack was destroyed, nothing runs, and nothing is left
	if !strings.Contains(out, "terraform destroy dev") {
		t.Errorf("down:\n%s", out)
	}
	w.assertAllEnded(append(first, last...))
	if _, err := os.Stat(w.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the run's folder is still there: %v", err)
	}
	if out := w.must("down", "dev"); !strings.Contains(out, "no local run") {
		t.Errorf("second down:\n%s", out)
	}
}

func TestInterruptLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorkerctl(t)
	// GIVEN a local run in the middle of its deployment
	up := w.deploying()

	// WHEN it is interrupted
	testtools.NoError(t, up.cmd.Process.Signal(os.Interrupt))
	err := <-up.ended

	// THEN it says so and nothing runs; down removes the logs that stayed
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("ended with %v, want exit status 130:\n%s", err, proc.Tail(up.log, 100))
	}
	w.assertAllEnded(up.ids)
	if out := w.must("status", "dev"); !strings.Contains(out, "The last local run of dev has ended; its logs are in "+w.dir) {
		t.Errorf("status after the interrupt:\n%s", out)
	}
	if out := w.must("down", "dev"); out != "The last local run of dev has ended; its files are removed.\n" {
		t.Errorf("down after the interrupt:\n%s", out)
	}
	if _, err := os.Stat(w.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the run's folder is still there: %v", err)
	}

	// WHEN another one is killed there, and its CLI deploys on
	up = w.deploying()
	testtools.NoError(t, up.cmd.Process.Kill())
	<-up.ended

	// THEN down ends and removes all of it
	w.must("down", "dev")
	w.assertAllEnded(up.ids)
	if _, err := os.Stat(w.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the run's folder is still there: %v", err)
	}
}

// upInProgress is an up that deploys.
type upInProgress struct {
	cmd   *exec.Cmd
	log   string // path of its output
	ended chan error
	ids   []proc.Identity
}

// deploying starts an up and returns when it has begun to deploy.
func (w workerctl) deploying() upInProgress {
	w.t.Helper()
	up := upInProgress{cmd: w.command("up", "dev"), log: filepath.Join(w.t.TempDir(), "log"), ended: make(chan error, 1)}
	log, err := os.Create(up.log)
	testtools.NoError(w.t, err)
	defer log.Close()
	up.cmd.Stdout, up.cmd.Stderr = log, log
	testtools.NoError(w.t, up.cmd.Start())
	go func() { up.ended <- up.cmd.Wait() }()
	// Emulator, (unused) supervisor, Prefect server and Terraform, which starts last.
	for end := time.Now().Add(4 * time.Minute); len(up.ids) < 4 || !strings.Contains(proc.Tail(up.log, 100), "deploying the stack"); time.Sleep(20 * time.Millisecond) {
		if up.ids = w.processes(); time.Now().After(end) {
			_ = up.cmd.Process.Kill()
			w.t.Fatalf("the deployment does not begin: %+v\n%s", w.state(), proc.Tail(up.log, 100))
		}
	}
	return up
}

// patch changes something in the Prefect server.
func patch(t *testing.T, url, change string) {
	t.Helper()
	testtools.PostPrefect(t, http.MethodPatch, url, json.RawMessage(change), nil)
}

// assertNowhere fails if a file below dir holds one of the secrets.
func assertNowhere(t *testing.T, dir string, secrets ...string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // A file of a server that came and went.
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		// Prefect 3.9 writes the environment of a flow run for its process, and removes it afterwards.
		if info, err := d.Info(); err == nil && info.Mode().Perm() == 0o600 && strings.Contains(path, "/tmp/prefect-workspace-attempt-") {
			return nil
		}
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, s := range secrets {
			if bytes.Contains(raw, []byte(s)) {
				t.Errorf("%s holds %q", path, s[:5]+"…")
			}
		}
		return err
	})
	testtools.NoError(t, err)
}
