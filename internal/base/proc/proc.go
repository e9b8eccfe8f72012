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

// ErrNotRunning says that no process has the wanted id.
var ErrNotRunning = errors.New("no such process")

// Identify returns the identity of the running process pid, or ErrNotRunning.
// A process that has ended but was not yet reaped by its parent (a zombie)
// counts as not running.
func Identify(pid int) (Identity, error) {
	started, err := startTime(pid)
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, Started: started}, nil
}

// Alive reports whether exactly this process still runs.
func (id Identity) Alive() bool {
	if id.PID <= 0 || id.Started == "" {
		return false
	}
	now, err := Identify(id.PID)
	return err == nil && now == id
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
	id, err := Identify(cmd.Process.Pid)
	if errors.Is(err, ErrNotRunning) {
		// It ended at once. The caller sees why from Wait.
		return Identity{PID: cmd.Process.Pid}, nil
	}
	if err != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		return Identity{}, err
	}
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
	_, err := Identify(id.PID)
	return errors.Is(err, ErrNotRunning) && id.sameBoot() && GroupAlive(id.PID)
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
	out, _ := ps("-A", "-E", "-ww", "-o", "pid=,command=")
	for line := range strings.Lines(out) {
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
	members, err := groupMembers(pgid)
	if err != nil {
		return true // The system says the group exists; believe it.
	}
	return len(members) > 0
}

// groupMembers lists the running processes of a group.
func groupMembers(pgid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err == nil && len(entries) > 0 && haveProcStat() {
		var members []int
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil {
				continue
			}
			st, err := readProcStat(pid)
			if err == nil && st.group == pgid && !st.dead() {
				members = append(members, pid)
			}
		}
		return members, nil
	}
	out, err := ps("-A", "-o", "pid=,pgid=,stat=")
	if err != nil {
		return nil, err
	}
	var members []int
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 3 && f[1] == strconv.Itoa(pgid) && !strings.HasPrefix(f[2], "Z") {
			if pid, err := strconv.Atoi(f[0]); err == nil {
				members = append(members, pid)
			}
		}
	}
	return members, nil
}

// startTime reads the start time from /proc where there is one: it is exact,
// and small container images have no ps. Elsewhere (macOS) ps says it to the
// second.
func startTime(pid int) (string, error) {
	if haveProcStat() {
		st, err := readProcStat(pid)
		if err != nil || st.dead() {
			return "", ErrNotRunning
		}
		// The start is counted from the machine's start, so name that too.
		return bootID() + "/" + st.started, nil
	}
	out, err := ps("-o", "stat=,lstart=", "-p", strconv.Itoa(pid))
	if err != nil {
		return "", err
	}
	state, started, _ := strings.Cut(strings.TrimSpace(out), " ")
	if state == "" || strings.HasPrefix(state, "Z") {
		return "", ErrNotRunning
	}
	return strings.Join(strings.Fields(started), " "), nil
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

func ps(args ...string) (string, error) {
	cmd := exec.Command("ps", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", nil // No such process: ps prints nothing and exits 1.
	}
	if err != nil {
		return "", fmt.Errorf("list processes: %w", err)
	}
	return string(out), nil
}

func haveProcStat() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

type procStat struct {
	state   string
	group   int
	started string
}

func (s procStat) dead() bool { return s.state == "Z" || s.state == "X" }

// readProcStat reads /proc/<pid>/stat, see proc_pid_stat(5). The second field
// is the program's name in parentheses and may hold anything, so count from
// the last ")".
func readProcStat(pid int) (procStat, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	_, rest, ok := cutLast(string(raw), ")")
	f := strings.Fields(rest)
	if !ok || len(f) < 20 {
		return procStat{}, fmt.Errorf("/proc/%d/stat has an unknown form", pid)
	}
	group, err := strconv.Atoi(f[2])
	if err != nil {
		return procStat{}, fmt.Errorf("/proc/%d/stat: process group: %w", pid, err)
	}
	return procStat{state: f[0], group: group, started: f[19]}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
