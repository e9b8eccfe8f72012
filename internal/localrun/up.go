// Package localrun runs the whole system on one machine, without AWS and
// without Prefect Cloud: the real CLI, the real Terraform and the real AWS
// provider deploy the stack to an AWS emulator; the service's task definition,
// as read back from there, runs as a local process against a Prefect server;
// and a flow run proves that the worker works.
//
// A run is a folder, <project>/.local/run/<environment>, with all its files. Its
// processes run on in the background when Up has ended; state.json says which
// they are.
package localrun

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/fatih/color"
	"golang.org/x/sync/errgroup"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/ecstask"
	"prefect-worker-ecs/internal/emulator"
	"prefect-worker-ecs/internal/poll"
	"prefect-worker-ecs/internal/prefectapi"
	"prefect-worker-ecs/internal/prefectserver"
	"prefect-worker-ecs/internal/proc"
	"prefect-worker-ecs/internal/pyenv"
	"prefect-worker-ecs/internal/toolchain"
	"prefect-worker-ecs/internal/verify"
)

//go:embed hello.py
var helloFlow []byte

// Options says which run is meant.
type Options struct {
	// Project is the checkout. Required.
	Project toolchain.Project
	// Environment is the name of a file in config/environments. Required.
	Environment string
	// Dir is the run's folder. Default <project>/.local/run/<environment>.
	Dir string
	// Config is the folder with the environments. Default
	// <project>/config/environments.
	Config string
	// Out is where progress and the summary go. Required.
	Out io.Writer
	// Program is workerctl: Up starts it with local supervise FOLDER ENVIRONMENT, which
	// calls Supervise, and messages name it. Required.
	Program string
}

func (o Options) config() string {
	if o.Config != "" {
		return o.Config
	}
	return filepath.Join(o.Project.Root, filepath.FromSlash(config.Dir))
}

// command is what a person types for a subcommand on this run.
func (o Options) command(verb string) string {
	words := []string{o.program(), "local", verb}
	if o.Dir != "" {
		words = append(words, "--dir", o.Dir)
	}
	if o.Config != "" {
		words = append(words, "--config", o.Config)
	}
	return shell(append(words, o.Environment)...)
}

// program is how a person calls workerctl from where they are.
func (o Options) program() string {
	if here, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(here, o.Program); err == nil && filepath.IsLocal(short) {
			return short
		}
	}
	return o.Program
}

// shell is a command line for the words, with those quoted that a shell would read otherwise.
func shell(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if strings.ContainsFunc(word, func(c rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@", c)
		}) {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func (o Options) run() (*run, error) {
	dir := o.Dir
	if dir == "" {
		dir = filepath.Join(o.Project.Local(), "run", o.Environment)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &run{dir: dir}, nil
}

const (
	// onlineTimeout is how long a worker may take to be online: Prefect alone
	// takes 10 s to start, and packages may have to be installed first.
	onlineTimeout = 5 * time.Minute
	// flowTimeout is how long the flow run may take. A worker asks for work each
	// 10 s, and the run starts a Python of its own.
	flowTimeout = 3 * time.Minute
)

// Up brings the local run up, from whatever state an earlier one left behind,
// and shows that its worker works. What runs already and still fits is used
// again. If it fails, or ctx ends, nothing is left running; the logs stay in
// the run's folder.
func Up(ctx context.Context, opt Options) (err error) {
	env, err := config.LoadOne(opt.config(), opt.Environment)
	if err != nil {
		return err
	}
	runtime, err := env.Worker.Runtime()
	if err != nil {
		return err
	}
	r, err := opt.run()
	if err != nil {
		return err
	}
	release, err := r.claim(env.Name)
	if err != nil {
		return err
	}
	defer release()

	p := newProgress(opt.Out)
	p.line("%s", color.New(color.Bold).Sprintf("Local run of %s: Prefect %d, work pool %s (%s)", env.Name, runtime.Major(), env.WorkPool.Name, env.WorkPool.Type))
	u := &up{run: r, opt: opt, env: env, major: runtime.Major(), p: p}
	resumed, err := u.resume(ctx)
	if err != nil {
		return err
	}
	defer func() {
		switch {
		case err == nil:
		case resumed && ctx.Err() == nil:
			p.line("  %s", color.HiBlackString("what ran before was left running; %s shows it, %s stops it", opt.command("status"), opt.command("down")))
		default:
			p.line("  %s", color.HiBlackString("stopping what was started; the logs stay in %s until %s", r.dir, opt.command("down")))
			stopErr := r.stopAll(context.WithoutCancel(ctx))
			if stopErr == nil {
				stopErr = r.ended()
			}
			err = errors.Join(err, stopErr)
		}
	}()
	return u.all(ctx)
}

// ended records that nothing of the run runs any more. Its files stay, and are known as its.
func (r *run) ended() error {
	return r.update(func(s *State) { *s = State{Environment: s.Environment, MadeFolder: s.MadeFolder} })
}

// up is one call of Up.
type up struct {
	*run
	opt   Options
	env   *config.Environment
	major int
	p     *progress

	moto, prefect pyenv.Env
	workspace     toolchain.Workspace
	api           *prefectapi.Client
}

// resume looks at what an earlier run left behind. If both servers still run
// they are kept, and with them all that was deployed; otherwise the rest is
// stopped and forgotten, because the emulator keeps all in memory. It returns
// which of the two it was.
func (u *up) resume(ctx context.Context) (kept bool, err error) {
	s := &u.state
	usable := s.Emulator != nil && s.Prefect != nil && s.PrefectMajor == u.major && s.Region == u.env.Region &&
		s.Emulator.Process.Alive() && s.Emulator.Ready(ctx) && s.Prefect.Process.Alive() && s.Prefect.Ready(ctx)
	if usable {
		u.p.note("using the emulator and the Prefect server that run already")
		for _, id := range s.Starting {
			if err := id.Stop(ctx, syscall.SIGINT, 10*time.Second); err != nil {
				return true, err
			}
		}
		return true, u.update(func(s *State) { s.Starting = nil })
	}
	if !s.idle() {
		u.p.note("clearing away what an earlier run left behind")
		if err := u.stopAll(ctx); err != nil {
			return false, err
		}
	}
	left, err := u.clear()
	if err != nil {
		return false, err
	}
	for _, name := range left {
		if name = filepath.Join(u.dir, name); slices.Contains([]string{u.emulatorDir(), u.prefectDir(), u.taskDir(), u.flowDir(), u.workspaceDir()}, name) {
			return false, fmt.Errorf("%s is not a folder that a local run made, and one of its own has that name: move it away", name)
		}
	}
	if err := u.ended(); err != nil {
		return false, err
	}
	return false, u.update(func(s *State) { s.PrefectMajor, s.Region = u.major, u.env.Region })
}

func (u *up) all(ctx context.Context) error {
	if err := u.setUp(ctx); err != nil {
		return err
	}
	leftOut, err := u.deploy(ctx)
	if err != nil {
		return err
	}
	if err := u.startWorker(ctx); err != nil {
		return err
	}
	if err := u.verify(ctx); err != nil {
		return err
	}
	if queue := u.env.EventQueue(); queue != "" {
		if err := u.observe(ctx, queue); err != nil {
			return err
		}
	}
	if u.env.WorkPool.Type == config.PoolProcess {
		if err := u.runFlow(ctx); err != nil {
			return err
		}
	}
	u.summary(leftOut)
	return nil
}

// setUp makes what must be there: quick when it is, dominated by downloads
// when it is not.
func (u *up) setUp(ctx context.Context) error {
	return u.p.step("setting up", func() (string, error) {
		for _, tool := range toolchain.Tools {
			if _, err := tool.Check(ctx); err != nil {
				return "", err
			}
		}
		prefect, err := pyenv.Prefect(u.major)
		if err != nil {
			return "", err
		}
		note := func(s string) { u.p.note("%s", s) }
		pyOptions := pyenv.Options{Root: u.opt.Project.Local(), Progress: note}
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() (err error) { u.moto, err = pyenv.Ensure(ctx, pyenv.Moto, pyOptions); return err })
		g.Go(func() (err error) { u.prefect, err = pyenv.Ensure(ctx, prefect, pyOptions); return err })
		g.Go(func() error { return u.opt.Project.EnsureCLI(ctx, note) })
		g.Go(func() (err error) { u.workspace, err = u.opt.Project.NewWorkspace(ctx, u.workspaceDir()); return err })
		if err := g.Wait(); err != nil {
			return "", err
		}
		return fmt.Sprintf("set up: CDKTF CLI, moto %s, Prefect %s", pyenv.Moto.Pin("moto"), prefect.Pin("prefect")), nil
	})
}

// deploy brings both servers up and deploys the stack, at the same time as far
// as one does not need the other: the stack needs only the address of the
// Prefect server.
func (u *up) deploy(ctx context.Context) (leftOut []string, err error) {
	port := 0
	if u.state.Prefect != nil {
		port = u.state.Prefect.Port
	} else if port, err = proc.FreePort(); err != nil {
		return nil, err
	}
	url := func(port int) string { return fmt.Sprintf("http://127.0.0.1:%d/api", port) }

	if u.state.Prefect != nil {
		// What is wrong with its pool is said before anything changes.
		if err := u.connect(ctx); err != nil {
			return nil, err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return u.startPrefect(gctx, port) })
	g.Go(func() error {
		if err := u.startEmulator(gctx); err != nil {
			return err
		}
		var err error
		leftOut, err = u.deployStack(gctx, url(port))
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if u.state.Prefect.Port != port {
		// Somebody took the port in between. The stack follows the server.
		if _, err := u.deployStack(ctx, url(u.state.Prefect.Port)); err != nil {
			return nil, err
		}
	}
	return leftOut, nil
}

func (u *up) startEmulator(ctx context.Context) error {
	if u.state.Emulator != nil {
		return nil
	}
	return u.p.step("starting the AWS emulator", func() (string, error) {
		e, err := emulator.Start(ctx, emulator.Options{
			Python: u.moto, Dir: u.emulatorDir(), Detached: true, Started: u.starting,
		})
		if err != nil {
			return "", err
		}
		return "AWS emulator: " + e.Endpoint, u.update(func(s *State) { s.Emulator = e; s.started(e.Process) })
	})
}

func (u *up) startPrefect(ctx context.Context, port int) error {
	if u.state.Prefect != nil {
		return nil
	}
	err := u.p.step("starting the Prefect server", func() (string, error) {
		s, err := prefectserver.Start(ctx, prefectserver.Options{
			Env: u.prefect, Dir: u.prefectDir(), Port: port, Detached: true, Started: u.starting,
		})
		if err != nil {
			return "", err
		}
		return "Prefect server: " + s.URL, u.update(func(st *State) { st.Prefect = s; st.started(s.Process) })
	})
	if err != nil {
		return err
	}
	return u.connect(ctx)
}

// connect makes the client for the Prefect server, and the work pool.
func (u *up) connect(ctx context.Context) (err error) {
	if u.api, err = prefectapi.New(u.state.Prefect.APIURL(), ""); err != nil {
		return err
	}
	return u.makePool(ctx)
}

// makePool creates the work pool and its queues, unless they are there, and refuses those
// that hand out nothing: the worker would be online and no flow run would start.
func (u *up) makePool(ctx context.Context) error {
	want := u.env.WorkPool
	pool, err := u.api.WorkPool(ctx, want.Name)
	switch {
	case errors.Is(err, prefectapi.ErrNotFound):
		err := u.p.step("creating the work pool", func() (string, error) {
			return fmt.Sprintf("work pool %s of type %s", want.Name, want.Type), u.api.CreateWorkPool(ctx, want.Name, string(want.Type))
		})
		if err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("look for the work pool: %w", err)
	case pool.Type != string(want.Type):
		return fmt.Errorf("the Prefect server of the local run has a work pool %s of type %s from before; run %s first", pool.Name, pool.Type, u.opt.command("down"))
	case pool.Paused:
		return fmt.Errorf("the work pool %s of the local run is paused, and a paused pool hands out no flow run; resume it at %s/work-pools", pool.Name, u.state.Prefect.URL)
	case noneAtATime(pool.ConcurrencyLimit):
		return fmt.Errorf("the work pool %s of the local run has a concurrency limit of 0, with which no flow run starts; change it at %s/work-pools", pool.Name, u.state.Prefect.URL)
	}
	for _, name := range want.Queues {
		if err := u.api.CreateWorkQueue(ctx, want.Name, name); err != nil && !errors.Is(err, prefectapi.ErrConflict) {
			return fmt.Errorf("create the queue %s of the work pool: %w", name, err)
		}
	}
	queues, err := u.api.WorkQueues(ctx, want.Name)
	if err != nil {
		return fmt.Errorf("look for the queues of the work pool: %w", err)
	}
	for _, queue := range queues {
		// Without a choice the worker serves all, and the flow run goes to the default one.
		served := slices.Contains(want.Queues, queue.Name) || len(want.Queues) == 0 && queue.Name == "default"
		switch {
		case served && queue.Paused:
			return fmt.Errorf("the queue %s of the work pool %s of the local run is paused, and a paused queue hands out no flow run; resume it at %s/work-pools", queue.Name, want.Name, u.state.Prefect.URL)
		case served && noneAtATime(queue.ConcurrencyLimit):
			return fmt.Errorf("the queue %s of the work pool %s of the local run has a concurrency limit of 0, with which no flow run starts; change it at %s/work-pools", queue.Name, want.Name, u.state.Prefect.URL)
		}
	}
	return nil
}

func noneAtATime(limit *int) bool { return limit != nil && *limit == 0 }

func (u *up) deployStack(ctx context.Context, apiURL string) (leftOut []string, err error) {
	user, err := readEnvironment(u.opt.config(), u.env.Name)
	if err != nil {
		return nil, err
	}
	local, leftOut, err := localSettings(user, apiURL)
	if err != nil {
		return nil, err
	}
	if err := u.workspace.WriteEnvironment(u.env.Name, local); err != nil {
		return nil, fmt.Errorf("write the environment of the local run: %w", err)
	}
	err = u.p.step("deploying the stack with cdktf", func() (string, error) {
		if err := u.cdktf(ctx, u.opt.Project, apiURL, "deploy", u.env.Name, "--auto-approve"); err != nil {
			return "", err
		}
		return fmt.Sprintf("cdktf deploy %s: %s", u.env.Name, applied(u.deployLog())), nil
	})
	return leftOut, err
}

// cdktf runs the CLI on the run's workspace, its output in the run's log.
func (r *run) cdktf(ctx context.Context, project toolchain.Project, apiURL string, args ...string) error {
	log, err := os.Create(r.deployLog())
	if err != nil {
		return err
	}
	defer log.Close()
	key := make([]byte, 16)
	_, _ = rand.Read(key) // Never fails.
	var cli proc.Identity
	err = project.CDKTF(ctx, toolchain.Run{
		Dir:  r.workspaceDir(),
		Args: args,
		Base: withoutUsers(os.Environ()),
		Env: append(awsEnv(r.state),
			// The Prefect server wants no credential. The worker sends one all the same, that
			// of the environment's authentication, and nobody but the emulator's Secrets
			// Manager keeps it.
			"TF_VAR_prefect_api_key=local_"+hex.EncodeToString(key),
			"TF_VAR_prefect_api_auth_string=local:"+hex.EncodeToString(key),
			"TF_VAR_prefect_api_url="+apiURL,
			"TF_VAR_aws_region="+r.state.Region,
		),
		Stdout: log, Stderr: log,
		Started: func(id proc.Identity) { cli = id; r.starting(id) },
	})
	if updateErr := r.update(func(s *State) { s.started(cli) }); err == nil {
		err = updateErr
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; the end of %s:\n%s", err, r.deployLog(), proc.Tail(r.deployLog(), 30))
	}
	return err
}

// withoutUsers is environ without what the user has set for deployments to AWS: an account,
// values, and arguments of Terraform, which can name another state.
func withoutUsers(environ []string) []string {
	return slices.DeleteFunc(environ, func(variable string) bool {
		return slices.ContainsFunc([]string{"AWS_", "TF_VAR_", "TF_CLI_ARGS", "TF_WORKSPACE=", "TF_DATA_DIR="}, func(prefix string) bool {
			return strings.HasPrefix(variable, prefix)
		})
	})
}

// applied finds Terraform's own summary in the CLI's output.
func applied(log string) string {
	raw, _ := os.ReadFile(log)
	found := "done"
	for line := range strings.Lines(string(raw)) {
		if _, after, ok := strings.Cut(line, "Apply complete! Resources: "); ok {
			found = strings.TrimRight(strings.TrimSpace(after), ".")
		}
	}
	return found
}

// startWorker runs the service's task, unless that very revision runs already,
// and waits until Prefect's API says that the worker is online.
func (u *up) startWorker(ctx context.Context) error {
	definition, err := readService(ctx, awsConfig(u.state), u.env.Cluster.Name, u.env.Worker.ServiceName)
	if err != nil {
		return err
	}
	arn := *definition.TaskDefinitionArn
	if !u.state.Supervisor.Alive() || u.state.TaskDefinition != arn {
		if err := u.stopWorker(ctx, drain); err != nil {
			return err
		}
		// What the worker before this one said must not be taken for this one's words.
		for _, old := range []string{u.eventPath(), u.containerLog()} {
			if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		if err := u.update(func(s *State) {
			s.Cluster, s.Service, s.TaskDefinition = u.env.Cluster.Name, u.env.Worker.ServiceName, arn
			s.WorkerStarted = time.Now()
		}); err != nil {
			return err
		}
		// The supervisor would do this as well, but nobody would see it.
		if extra := ecstask.ExtraPackages(definition); len(extra) > 0 {
			if err := u.installExtra(ctx, extra); err != nil {
				return err
			}
		}
		if err := u.startSupervisor(); err != nil {
			return err
		}
	}
	before := fmt.Sprintf("running the task definition %s as ECS would, until its worker is online", short(arn))
	return u.p.step(before, func() (string, error) {
		name, err := u.awaitOnline(ctx)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("worker %s is ONLINE, from task definition %s", name, short(arn)), nil
	})
}

func (u *up) installExtra(ctx context.Context, extra []string) error {
	return u.p.step("installing what the image's entry point would: "+strings.Join(extra, " "), func() (string, error) {
		spec, err := pyenv.Prefect(u.major)
		if err != nil {
			return "", err
		}
		spec.Extra = extra
		_, err = pyenv.Ensure(ctx, spec, pyenv.Options{Root: u.opt.Project.Local(), Progress: func(s string) { u.p.note("%s", s) }})
		return "installed " + strings.Join(extra, " "), err
	})
}

func short(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

func (u *up) startSupervisor() error {
	log, err := os.Create(u.supervisorLog())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(u.opt.Program, "local", "supervise", u.dir, u.env.Name)
	cmd.Dir = u.opt.Project.Root
	cmd.Stdout, cmd.Stderr = log, log
	id, err := proc.Start(cmd, true)
	if err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return u.update(func(s *State) { s.Supervisor = id })
}

// awaitOnline waits for a worker of the pool with a heartbeat newer than its
// start, and gives up when its task ends.
func (u *up) awaitOnline(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, onlineTimeout)
	defer cancel()
	var name string
	var apiErr error
	err := poll.Until(ctx, 500*time.Millisecond, func() (bool, error) {
		var workers []prefectapi.Worker
		workers, apiErr = u.api.OnlineWorkers(ctx, u.env.WorkPool.Name, u.state.WorkerStarted)
		if apiErr == nil && len(workers) > 0 {
			name = workers[0].Name
			return true, nil
		}
		return false, u.workerEnded()
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("no worker of the pool is online after %v (last answer of the API: %v); the end of its output:\n%s", onlineTimeout, apiErr, proc.Tail(u.containerLog(), 30))
	}
	return name, err
}

// workerEnded says why no worker will come.
func (u *up) workerEnded() error {
	for _, e := range u.events() {
		switch e.Kind {
		case ecstask.Failed:
			return fmt.Errorf("the task does not start: %s", e.Reason)
		case ecstask.Stopped:
			return fmt.Errorf("the task ended with exit code %d (%s); the end of its output:\n%s", e.ExitCode, e.Reason, proc.Tail(u.containerLog(), 30))
		}
	}
	if !u.state.Supervisor.Alive() {
		return fmt.Errorf("the task's supervisor ended; the end of %s:\n%s", u.supervisorLog(), proc.Tail(u.supervisorLog(), 10))
	}
	return nil
}

// verifyTimeout is how long the checklist may take to become green once the
// worker is online: the first lines of its log are sent after a second.
const verifyTimeout = 30 * time.Second

// Checklist is what verify is to look at: the configuration that the run was deployed from,
// which is not quite the user's, and the emulator.
func (o Options) Checklist() (verify.Options, error) {
	r, err := o.run()
	if err != nil {
		return verify.Options{}, err
	}
	if err := r.load(o.Environment); err != nil && !errors.Is(err, errNoRun) {
		return verify.Options{}, err
	}
	if r.state.Emulator == nil {
		return verify.Options{}, fmt.Errorf("nothing of the local run of %s runs; %s starts it", o.Environment, o.command("up"))
	}
	return r.checklist()
}

func (r *run) checklist() (verify.Options, error) {
	workspace := toolchain.Workspace{Dir: r.workspaceDir()}
	stack, err := os.ReadFile(filepath.Join(workspace.Stack(r.state.Environment), "cdk.tf.json"))
	if err != nil {
		return verify.Options{}, fmt.Errorf("read the deployed stack: %w", err)
	}
	envs, err := config.LoadLocal(r.environments())
	if err != nil {
		return verify.Options{}, err
	}
	for _, env := range envs {
		if env.Name == r.state.Environment {
			return verify.Options{Environment: env, Stack: stack, AWS: awsConfig(r.state)}, nil
		}
	}
	return verify.Options{}, fmt.Errorf("%s holds no %s.yaml", r.environments(), r.state.Environment)
}

// verify goes through the very checklist that workerctl verify has for AWS.
func (u *up) verify(ctx context.Context) error {
	checklist, err := u.checklist()
	if err != nil {
		return err
	}
	var report verify.Report
	err = u.p.step("verifying as workerctl verify does", func() (string, error) {
		report = verify.Wait(ctx, checklist, verifyTimeout, nil)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if !report.OK {
			return "", errors.New("the checklist of workerctl verify is not green; see above")
		}
		return fmt.Sprintf("verified: all %d checks of workerctl verify are green", len(report.Checks)), nil
	})
	if err != nil && ctx.Err() == nil {
		report.Print(u.opt.Out)
	}
	return err
}

// runFlow submits a flow run to the pool and waits until it is COMPLETED.
func (u *up) runFlow(ctx context.Context) error {
	return u.p.step("submitting a flow run to the work pool", func() (string, error) {
		dir := u.flowDir()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, "hello.py"), helloFlow, 0o644); err != nil {
			return "", err
		}
		ctx, cancel := context.WithTimeout(ctx, flowTimeout)
		defer cancel()
		flow := prefectapi.LocalFlow{Name: "hello", Pool: u.env.WorkPool.Name, Dir: dir, Entrypoint: "hello.py:hello"}
		if len(u.env.WorkPool.Queues) > 0 {
			flow.Queue = u.env.WorkPool.Queues[0]
		}
		deployment, err := u.api.Deploy(ctx, flow)
		if err != nil {
			return "", fmt.Errorf("create the deployment of the flow: %w", err)
		}
		run, err := u.api.Run(ctx, deployment, nil)
		if err != nil {
			return "", fmt.Errorf("submit the flow run: %w", err)
		}
		run, err = u.api.AwaitEnd(ctx, run.ID, func(r prefectapi.FlowRun) { u.p.note("flow run %s: %s", r.Name, r.State) })
		if err != nil {
			return "", fmt.Errorf("%w; the end of the worker's output:\n%s", err, proc.Tail(u.containerLog(), 30))
		}
		if run.State != "COMPLETED" {
			return "", fmt.Errorf("flow run %s is %s: %s; the end of the worker's output:\n%s", run.Name, run.State, run.StateDetail.Message, proc.Tail(u.containerLog(), 30))
		}
		return fmt.Sprintf("flow run %s is COMPLETED", run.Name), nil
	})
}

// observerTimeout is how long the worker may take to read a message from its queue. It
// starts to read when it is online, and waits for messages without a pause.
const observerTimeout = time.Minute

// observe shows that the worker reads the queue with the events of its tasks. That part of
// it, the observer, can end while the worker stays online: then a flow run whose task
// crashed would be "running" for ever.
func (u *up) observe(ctx context.Context, queue string) error {
	return u.p.step("sending an event to the worker's queue", func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, observerTimeout)
		defer cancel()
		client := sqs.NewFromConfig(awsConfig(u.state))
		found, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &queue})
		if err != nil {
			return "", fmt.Errorf("find the queue %s: %w", queue, err)
		}
		// An event that is nobody's: the observer takes it off the queue and does nothing.
		event := `{"detail-type": "Local run", "detail": {}}`
		if _, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: found.QueueUrl, MessageBody: &event}); err != nil {
			return "", fmt.Errorf("send an event to the queue %s: %w", queue, err)
		}
		var queueErr error
		err = poll.Until(ctx, 200*time.Millisecond, func() (bool, error) {
			var got *sqs.GetQueueAttributesOutput
			got, queueErr = client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: found.QueueUrl, AttributeNames: []types.QueueAttributeName{"All"}})
			return queueErr == nil && got.Attributes["ApproximateNumberOfMessages"] == "0" && got.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0", nil
		})
		if errors.Is(err, context.DeadlineExceeded) {
			return "", fmt.Errorf("the worker does not read the events of its tasks from the queue %s within %v, so that a flow run whose task crashes would stay running (last answer of the queue: %v); the end of its output:\n%s",
				queue, observerTimeout, queueErr, proc.Tail(u.containerLog(), 30))
		}
		return "the worker reads the events of its tasks from the queue " + queue, err
	})
}

func (u *up) summary(leftOut []string) {
	bold := color.New(color.Bold).Sprint
	s := u.state
	p := u.p
	p.line("\n%s", color.GreenString("The worker works. It took %.0f s; all of it runs on in the background.", time.Since(p.start).Seconds()))
	if u.env.WorkPool.Type == config.PoolECS {
		p.line("No flow run was submitted: those of an ecs pool are ECS tasks of their own, which nothing here can run.")
	}
	if len(leftOut) > 0 {
		p.line("\n%s", bold("Left out of your configuration, here only"))
		for _, l := range leftOut {
			p.line("  %s", l)
		}
	}
	p.line("\n%s\n  user interface  %s\n  API             %s", bold("Prefect"), s.Prefect.URL, s.Prefect.APIURL())
	p.line("\n%s", bold("AWS"))
	p.line("  export AWS_ENDPOINT_URL=%s AWS_DEFAULT_REGION=%s AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test", s.Emulator.Endpoint, s.Region)
	p.line("  aws ecs describe-services --cluster %s --services %s", s.Cluster, s.Service)
	p.line("  aws ecs describe-task-definition --task-definition %s", short(s.TaskDefinition))
	p.line("  aws logs filter-log-events --log-group-name %s --query 'events[].message'", u.env.Logs.Group)
	p.line("\n%s\n  %s", bold("Verify again"), u.opt.command("verify"))
	p.line("\n%s\n  %s", bold("Files"), u.dir)
	p.line("\n%s\n  %s", bold("Take it down"), u.opt.command("down"))
}
