package proc

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func start(t *testing.T, script string) (*exec.Cmd, Identity, <-chan error) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	id, err := Start(cmd, false)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return cmd, id, done
}

func TestIdentityTellsAProcessFromALaterOneWithTheSameID(t *testing.T) {
	// GIVEN a running process
	id, _ := Identify(os.Getpid())
	// THEN its identity is alive, and the same id with another start is not
	if !id.Alive() {
		t.Error("this process counts as dead")
	}
	id.Started += "0"
	if id.Alive() {
		t.Error("another start time counts as the same process")
	}
	if (Identity{PID: os.Getpid()}).Alive() || (Identity{}).Alive() {
		t.Error("an identity without a start time must never be alive")
	}
}

func TestStopEndsTheWholeGroup(t *testing.T) {
	// GIVEN a process with a child that ignores SIGTERM
	_, id, done := start(t, `(trap '' TERM; while :; do sleep 0.05; done) & wait`)

	// WHEN it is stopped with little patience
	if err := id.Stop(context.Background(), syscall.SIGTERM, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	<-done

	// THEN nothing of the group is left, and a second Stop is no error
	if GroupAlive(id.PID) {
		t.Error("a child survived")
	}
	if _, running := Identify(id.PID); running {
		t.Error("it counts as running after its end")
	}
	if err := id.Stop(context.Background(), syscall.SIGTERM, time.Second); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

func TestStopLeavesAStrangerAlone(t *testing.T) {
	// GIVEN a record whose process id now belongs to somebody else
	cmd, id, done := start(t, `sleep 60`)
	id.Started = "long ago"

	// WHEN the recorded process is stopped
	if err := id.Stop(context.Background(), syscall.SIGKILL, time.Second); err != nil {
		t.Fatal(err)
	}

	// THEN the stranger still runs
	select {
	case <-done:
		t.Fatal("the stranger was ended")
	default:
	}
	if cmd.Process.Signal(syscall.Signal(0)) != nil {
		t.Error("the stranger is gone")
	}
}

func TestStopEndsWhatAKilledLeaderLeftBehind(t *testing.T) {
	// GIVEN a server whose helper survives its kill -9
	ready := filepath.Join(t.TempDir(), "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, id, done := start(t, `sleep 60 & echo started > `+ready+`; wait`)
	if _, err := os.ReadFile(ready); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-done
	if id.Alive() || !id.GroupAlive() {
		t.Fatal("the helper should run, and only it")
	}

	// WHEN it is stopped
	if err := id.Stop(context.Background(), syscall.SIGTERM, time.Second); err != nil {
		t.Fatal(err)
	}

	// THEN the helper is gone too
	if id.GroupAlive() {
		t.Error("the helper survived")
	}
}

// TestAProcessThatLeftItsGroup is ended by a variable of its environment.
func TestAProcessThatLeftItsGroup(t *testing.T) {
	variable := "PROC_TEST=" + t.TempDir()
	cmd := exec.Command("sleep", "60")
	cmd.Env = append(os.Environ(), variable+"/tmp")
	id, err := Start(cmd, true)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// WHEN others are ended THEN it runs on
	KillWith(variable + "/other")
	if !id.Alive() {
		t.Fatal("a process with another variable is ended")
	}
	// AND WHEN it is meant THEN it ends
	KillWith(variable + "/")
	if err := <-ended; err == nil {
		t.Error("it ended by itself")
	}
}
