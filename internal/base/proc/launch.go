package proc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"prefect-worker-ecs/internal/base/poll"
)

// Server says how to start a program that serves until it is stopped.
type Server struct {
	// Name is what errors call it, such as "the AWS emulator".
	Name string
	// Cmd is the program, not started yet. Its output goes to Log.
	Cmd *exec.Cmd
	// Log is the path of the file for its output, which is emptied first.
	Log string
	// Started is called with the process as soon as there is one, so that it can be
	// stopped by a later command if this program is killed while it waits.
	// Nil: it is not called.
	Started func(Identity)
	// Ready reports whether it serves. It is polled.
	Ready func(context.Context) bool
	// Timeout is how long it may take until it is ready.
	Timeout time.Duration
}

// readyEvery is how often Launch checks whether the server is ready.
const readyEvery = 50 * time.Millisecond

// Launch starts the server and returns when it is ready. Otherwise nothing of
// it is left running, and the error holds the end of its log, or is that of ctx
// if ctx ended. The server runs on when this program and its terminal end.
func Launch(ctx context.Context, s Server) (Identity, error) {
	log, err := os.Create(s.Log)
	if err != nil {
		return Identity{}, fmt.Errorf("start %s: %w", s.Name, err)
	}
	defer log.Close() // The process has its own copy.
	s.Cmd.Stdout, s.Cmd.Stderr = log, log

	id, err := Start(s.Cmd, true)
	if err != nil {
		return Identity{}, fmt.Errorf("start %s: %w", s.Name, err)
	}
	if s.Started != nil {
		s.Started(id)
	}
	ended := make(chan struct{})
	go func() { _ = s.Cmd.Wait(); close(ended) }()

	err = s.await(ctx, ended)
	if err == nil {
		return id, nil
	}
	stopErr := id.Stop(context.WithoutCancel(ctx), syscall.SIGTERM, 3*time.Second)
	if ctx.Err() != nil {
		return Identity{}, errors.Join(ctx.Err(), stopErr)
	}
	return Identity{}, errors.Join(fmt.Errorf("start %s: %w; the end of %s:\n%s", s.Name, err, s.Log, Tail(s.Log, 20)), stopErr)
}

func (s Server) await(ctx context.Context, ended <-chan struct{}) error {
	limited, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	err := poll.Until(limited, readyEvery, func() (bool, error) {
		select {
		case <-ended:
			return false, errors.New("it ended by itself")
		default:
			return s.Ready(limited), nil
		}
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("it does not answer after %v", s.Timeout)
	}
	return err
}

// FreePort returns a port of this machine without a listener. It is below those that
// systems give to outgoing connections (from 32768 on Linux, from 49152 on macOS), of which one
// could take it in the minutes until a server is started on it.
func FreePort() (int, error) {
	var err error
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

// Tail returns the last lines of a text file, at most n and at most 8 KiB; or
// why it cannot be read.
func Tail(path string, n int) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const most = 8 << 10
	return LastLines(string(raw[max(0, len(raw)-most):]), n)
}

// LastLines returns the last n lines of a text.
func LastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Indent returns text with four spaces before each line, as output quoted in an error.
func Indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }
