package toolchain

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"prefect-worker-ecs/internal/base/atomicfile"
)

//go:embed terraform.sh
var terraformScript []byte

// terraform is the Terraform that a call of the CLI starts: through a script, whose head
// says why. Its folder holds the errors of Terraform and the pipe that is open while it runs.
type terraform struct {
	script, dir string
	running     *os.File
}

func (p Project) watchTerraform() (*terraform, error) {
	t := &terraform{script: filepath.Join(p.Local(), "bin", "terraform-for-cdktf")}
	if err := atomicfile.Keep(t.script, terraformScript, 0o755); err != nil {
		return nil, err
	}
	var err error
	if t.dir, err = os.MkdirTemp("", "workerctl-terraform-"); err != nil {
		return nil, err
	}
	pipe := filepath.Join(t.dir, "running")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.close()
		return nil, fmt.Errorf("make a named pipe: %w", err)
	}
	// Opened now and so: the script could not open its end before there is a reader, and
	// reading is to wait for it, also on macOS, whose named pipes Go cannot poll.
	fd, err := syscall.Open(pipe, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err == nil {
		t.running = os.NewFile(uintptr(fd), pipe)
		err = syscall.SetNonblock(fd, false)
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("open a named pipe: %w", err)
	}
	return t, nil
}

// environ returns base with what makes the CLI run Terraform through the script.
func (t *terraform) environ(base []string) []string {
	env := append(base, "TERRAFORM_BINARY_NAME="+t.script, "WORKERCTL_TERRAFORM_DIR="+t.dir)
	if own := lookup(base, "TERRAFORM_BINARY_NAME"); own != "" && own != t.script {
		env = append(env, "WORKERCTL_TERRAFORM="+own)
	}
	return env
}

// patience is how long nothing is said while Terraform ends.
const patience = time.Second

// wait returns when no Terraform of the call runs any more, and writes the errors of all
// to out.
func (t *terraform) wait(out io.Writer) error {
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, t.running) // until the last script closes its end
		ended <- err
	}()
	var waitErr error
	select {
	case waitErr = <-ended:
	case <-time.After(patience):
		fmt.Fprintln(out, "Terraform is finishing what it has begun and saves the state; please wait")
		waitErr = <-ended
	}
	messages, err := os.ReadFile(filepath.Join(t.dir, "errors"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	_, err = out.Write(messages)
	return errors.Join(waitErr, err)
}

// rememberInits notes the stacks that were initialized in the call.
func (t *terraform) rememberInits() error {
	done, err := os.ReadFile(filepath.Join(t.dir, "done"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for dir := range strings.Lines(string(done)) {
		if err := rememberInit(strings.TrimSuffix(dir, "\n")); err != nil {
			return err
		}
	}
	return nil
}

func (t *terraform) close() {
	if t.running != nil {
		t.running.Close()
	}
	os.RemoveAll(t.dir)
}
