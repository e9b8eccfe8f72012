package ecstask

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/base/proc"
)

// task is one container.
type task struct {
	// metadata is the address of the metadata that only processes of the task have.
	metadata    string
	cmd         *exec.Cmd
	process     proc.Identity
	env         []string
	work        string
	check       *healthCheck
	signalGroup bool
	stopTimeout time.Duration
	ended       chan struct{} // closed when the main process has ended
	copied      chan struct{} // closed when all output was sent on
	undo        []func()      // what cleanUp does, the last first
}

// startTask does what ECS does before a container's process runs, and starts that.
func startTask(ctx context.Context, opt Options, c types.ContainerDefinition, id string) (_ *task, err error) {
	l := newLaunch(c)
	t := &task{
		check:       newHealthCheck(c.HealthCheck),
		signalGroup: l.signalGroup,
		stopTimeout: defaultStopTimeout,
		ended:       make(chan struct{}), copied: make(chan struct{}),
	}
	if c.StopTimeout != nil {
		t.stopTimeout = time.Duration(*c.StopTimeout) * time.Second
	}
	defer func() {
		if err != nil {
			t.cleanUp()
		}
	}()

	secrets, err := resolveSecrets(ctx, opt.AWS, c.Secrets)
	if err != nil {
		return nil, err
	}
	log, err := t.openLog(ctx, opt, c, id)
	if err != nil {
		return nil, err
	}
	meta, err := serveMetadata(opt, c, id, time.Now())
	if err != nil {
		return nil, err
	}
	t.undo, t.metadata = append(t.undo, meta.close), meta.uri
	platform := append([]string{
		"AWS_EXECUTION_ENV=AWS_ECS_FARGATE", "ECS_CONTAINER_METADATA_URI_V4=" + meta.uri, "ECS_AGENT_URI=" + meta.agent,
	}, opt.Platform...)
	files, err := t.makeFiles(filepath.Join(opt.Dir, "task-"+id))
	if err != nil {
		return nil, err
	}
	declared := environ(nil, opt.Platform, c, secrets, nil)
	image, err := opt.Image(ctx, l.packages(declared))
	if err != nil {
		return nil, fmt.Errorf("container image: %w", err)
	}
	variable := cmp.Or(opt.PortVariable, healthPortVariable)
	port, err := t.moveHealthPort(declared, variable, opt.Port)
	if err != nil {
		return nil, err
	}
	t.env = environ(append(files, "PATH="+image.Bin()+":"+systemPath, "LANG=C.UTF-8", "LC_ALL=C.UTF-8"),
		platform, c, secrets, append([]string{variable + "=" + port}, opt.Local...))
	if err := t.run(l.args, log); err != nil {
		return nil, err
	}
	return t, nil
}

// openLog opens the task's log: its stream in the log group, and the file of all tasks.
func (t *task) openLog(ctx context.Context, opt Options, c types.ContainerDefinition, id string) (*logSink, error) {
	file, err := os.OpenFile(filepath.Join(opt.Dir, LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	t.undo = append(t.undo, func() { file.Close() })
	return newLogSink(ctx, cloudwatchlogs.NewFromConfig(opt.AWS), c, id, file)
}

// makeFiles makes the container's folders, which go with the container, and returns the
// variables that name them.
func (t *task) makeFiles(root string) ([]string, error) {
	t.undo = append(t.undo, func() { os.RemoveAll(root) })
	t.work = filepath.Join(root, "work")
	home, tmp := filepath.Join(root, "root"), filepath.Join(root, "tmp")
	for _, dir := range []string{home, t.work, tmp} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	return []string{"HOME=" + home, "TMPDIR=" + tmp}, nil
}

// moveHealthPort gives the health server a port of this machine, a free one if port is 0, in
// place of that of the declared variables, and checks the health there.
func (t *task) moveHealthPort(declared []string, variable string, number int) (string, error) {
	if number == 0 {
		free, err := proc.FreePort()
		if err != nil {
			return "", fmt.Errorf("the container's health: %w", err)
		}
		number = free
	}
	port := strconv.Itoa(number)
	if t.check != nil {
		t.check.command = movePort(t.check.command, cmp.Or(lookup(declared, variable), healthPort), port)
	}
	return port, nil
}

// run starts the container's process.
func (t *task) run(args []string, log *logSink) error {
	// One pipe for both, so that lines keep their order. Flow runs inherit it.
	output, input, err := os.Pipe()
	if err != nil {
		return err
	}
	t.cmd = &exec.Cmd{
		Path: lookPath(args[0], t.env), Args: args, Env: t.env, Dir: t.work,
		Stdout: input, Stderr: input,
	}
	t.process, err = proc.Start(t.cmd, false)
	input.Close()
	if err != nil {
		output.Close()
		return fmt.Errorf("CannotStartContainerError: %w", err)
	}
	go func() {
		defer close(t.copied)
		log.copy(output)
		output.Close()
	}()
	go func() {
		_ = t.cmd.Wait()
		close(t.ended)
	}()
	return nil
}

// watch returns when the container has ended or was stopped, and says why it was, in ECS's
// words. It runs the health check on its interval and calls changed with each new status.
func (t *task) watch(ctx context.Context, changed func(Health)) string {
	started := time.Now()
	state := healthState{status: HealthUnknown}
	for {
		var due <-chan time.Time
		if t.check != nil {
			due = time.After(t.check.interval) // from the end of one to the start of the next, as Docker does
		}
		select {
		case <-t.ended:
			return "Essential container in task exited"
		case <-ctx.Done():
			t.stop()
			return StoppedByService
		case <-due:
		}
		ok := t.check.run(ctx, t.env, t.work)
		if ctx.Err() != nil {
			continue
		}
		before := state.status
		state.add(t.check, ok, time.Since(started))
		if state.status != before {
			changed(state.status)
		}
		if state.status == Unhealthy {
			t.stop()
			return "Task failed container health checks"
		}
	}
}

// stop sends the stop signal and, when the stop timeout is over, kills.
func (t *task) stop() {
	target := t.cmd.Process.Pid
	if t.signalGroup {
		target = -target
	}
	_ = syscall.Kill(target, syscall.SIGTERM)
	select {
	case <-t.ended:
	case <-time.After(t.stopTimeout):
	}
}

// finish ends all that is left: a container ends with its first process. Prefect 3.9 runs flows in sessions of their
// own.
func (t *task) finish() {
	_ = syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL)
	proc.KillWith("ECS_CONTAINER_METADATA_URI_V4=" + t.metadata) // which names the task
	<-t.ended
	<-t.copied
}

// exitCode returns the exit code as a shell, Docker and ECS have it: 128 + the signal for a
// process that a signal ended.
func (t *task) exitCode() int {
	if status, ok := t.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return t.cmd.ProcessState.ExitCode()
}

// cleanUp removes what was made for the container.
func (t *task) cleanUp() {
	for _, undo := range slices.Backward(t.undo) {
		undo()
	}
}
