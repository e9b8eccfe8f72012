// Package proc starts, recognises and stops processes that may outlive the
// program that started them.
//
// A process id alone does not name a process: the system hands it out again
// once its owner has ended. An Identity is the id together with the start time,
// so that a record of yesterday never ends a stranger's process of today.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"prefect-worker-ecs/internal/base/poll"
)

// Identity names one process for as long as the machine runs, and after.
// The zero value names no process and is never alive.
type Identity struct {
	// PID is the process id, which is also the id of the process group if the
	// process was started by Start.
	PID int `json:"pid"`
	// Started distinguishes this process from a later one with the same id. It is
	// opaque: compare it, do not parse it.
	Started string `json:"started"`
}

// Identify returns the identity of the process pid, and whether it runs. A
// process that has ended but was not yet reaped by its parent (a zombie) does
// not.
func Identify(pid int) (id Identity, running bool) {
	started := startTime(pid)
	return Identity{PID: pid, Started: started}, started != ""
}

// Alive reports whether exactly this process still runs.
func (id Identity) Alive() bool {
	if id.PID <= 0 || id.Started == "" {
		return false
	}
	now, _ := Identify(id.PID)
	return now == id
}

// Start starts cmd as the leader of a process group of its own, so that the
// whole group can be stopped by Stop, and a Ctrl-C in the terminal, which goes
// to the foreground group, does not reach it. With detached, it gets a session
// of its own too and so survives the end of the terminal.
//
// The caller must Wait for cmd, or end: a child that is not waited for stays as
// a zombie until then.
func Start(cmd *exec.Cmd, detached bool) (Identity, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// setsid makes a new group as well; asking for both fails with EPERM.
	cmd.SysProcAttr.Setsid = detached
	cmd.SysProcAttr.Setpgid = !detached
	if err := cmd.Start(); err != nil {
		return Identity{}, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	id, _ := Identify(cmd.Process.Pid) // if it ended at once, the caller sees why from Wait
	return id, nil
}

// goneEvery is how often Stop looks whether the group is gone. There is no
// portable way to wait for a process that is not a child.
const goneEvery = 20 * time.Millisecond

// GroupAlive reports whether the process still runs, or has left others of its
// group behind, as a server that was killed leaves its helpers.
func (id Identity) GroupAlive() bool {
	if id.PID <= 0 || id.Started == "" {
		return false
	}
	if id.Alive() {
		return true
	}
	// A process id is not handed out again while a group of that id has
	// members. So with no process of that id, the group is the one it led.
	_, running := Identify(id.PID)
	return !running && id.sameBoot() && GroupAlive(id.PID)
}

// Stop ends the process and its whole group: sig first, SIGKILL when some of
// it still runs after grace or when ctx ends. If the process itself is gone,
// it ends what is left of its group. It does nothing to a process that is not
// the recorded one. It returns an error only if something survives SIGKILL or
// may not be signalled.
func (id Identity) Stop(ctx context.Context, sig syscall.Signal, grace time.Duration) error {
	if !id.GroupAlive() {
		return nil
	}
	if err := signalGroup(id.PID, sig); err != nil {
		return err
	}
	if waitGone(ctx, id.PID, grace) {
		return nil
	}
	if err := signalGroup(id.PID, syscall.SIGKILL); err != nil {
		return err
	}
	// SIGKILL is not up to the process; only the kernel needs a moment.
	if waitGone(context.WithoutCancel(ctx), id.PID, 5*time.Second) {
		return nil
	}
	return fmt.Errorf("process group %d still runs 5 s after SIGKILL", id.PID)
}

func signalGroup(pgid int, sig syscall.Signal) error {
	err := syscall.Kill(-pgid, sig)
	// ESRCH: gone already. EPERM: macOS says so for a group of zombies only.
	if err == nil || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EPERM) && !GroupAlive(pgid) {
		return nil
	}
	return fmt.Errorf("send %v to process group %d: %w", sig, pgid, err)
}

func waitGone(ctx context.Context, pgid int, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return poll.Until(ctx, goneEvery, func() (bool, error) { return !GroupAlive(pgid), nil }) == nil
}

// KillWith ends each process whose environment has a variable that begins with text, such as TMPDIR=/x/: also
// those that have left the group and the session in which they were started.
func KillWith(text string) {
	for _, pid := range withVariable(text) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func withVariable(text string) []int {
	var pids []int
	if haveProcStat() {
		files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is valid
		for _, file := range files {
			environ, _ := os.ReadFile(file) // of a process of this user
			if bytes.Contains(append([]byte{0}, environ...), append([]byte{0}, text...)) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
				pids = append(pids, pid)
			}
		}
		return pids
	}
	for line := range strings.Lines(ps("-A", "-E", "-ww", "-o", "pid=,command=")) {
		if pid, err := strconv.Atoi(strings.Fields(line)[0]); err == nil && strings.Contains(line, " "+text) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// GroupAlive reports whether any process of the group pgid runs (zombies do
// not count).
func GroupAlive(pgid int) bool {
	if syscall.Kill(-pgid, 0) != nil {
		return false
	}
	if haveProcStat() {
		entries, _ := os.ReadDir("/proc")
		return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			group, _, running := readProcStat(e.Name())
			return running && group == strconv.Itoa(pgid)
		})
	}
	for line := range strings.Lines(ps("-A", "-o", "pgid=,stat=")) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == strconv.Itoa(pgid) && !strings.HasPrefix(f[1], "Z") {
			return true
		}
	}
	return false
}

// startTime returns the start time of a running process, or "". It is read from
// /proc where there is one: that is exact, and small container images have no
// ps. Elsewhere (macOS) ps says it to the second.
func startTime(pid int) string {
	if haveProcStat() {
		_, started, running := readProcStat(strconv.Itoa(pid))
		if !running {
			return ""
		}
		// The start is counted from the machine's start, so name that too.
		return bootID() + "/" + started
	}
	state, started, _ := strings.Cut(strings.TrimSpace(ps("-o", "stat=,lstart=", "-p", strconv.Itoa(pid))), " ")
	if strings.HasPrefix(state, "Z") {
		return ""
	}
	return strings.Join(strings.Fields(started), " ")
}

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// sameBoot reports whether the machine has not been restarted since. On macOS,
// where the start time is a date, it always does.
func (id Identity) sameBoot() bool {
	boot, _, ok := strings.Cut(id.Started, "/")
	return !ok || boot == bootID()
}

// ps returns what ps prints, which is nothing if there is no such process.
func ps(args ...string) string {
	cmd := exec.Command("ps", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	out, _ := cmd.Output()
	return string(out)
}

func haveProcStat() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// readProcStat reads the process group and the start time of a running process
// from /proc/<pid>/stat, see proc_pid_stat(5). The second field is the program's
// name in parentheses and may hold anything, so count from the last ")".
func readProcStat(pid string) (group, started string, running bool) {
	raw, _ := os.ReadFile("/proc/" + pid + "/stat")
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return "", "", false
	}
	return f[2], f[19], true
}
