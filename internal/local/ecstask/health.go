package ecstask

import (
	"cmp"
	"context"
	"os/exec"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// healthCheck is a container health check with its defaults filled in.
type healthCheck struct {
	command     []string
	interval    time.Duration
	timeout     time.Duration
	retries     int
	startPeriod time.Duration
}

// newHealthCheck returns nil if the container has none. The defaults are those
// of HealthCheck in the ECS API reference.
func newHealthCheck(h *types.HealthCheck) *healthCheck {
	if h == nil || len(h.Command) == 0 || h.Command[0] == "NONE" {
		return nil
	}
	seconds := func(p *int32, unset int32) time.Duration {
		return time.Duration(cmp.Or(aws.ToInt32(p), unset)) * time.Second
	}
	c := &healthCheck{
		interval:    seconds(h.Interval, 30),
		timeout:     seconds(h.Timeout, 5),
		startPeriod: seconds(h.StartPeriod, 0),
		retries:     int(cmp.Or(aws.ToInt32(h.Retries), 3)),
	}
	switch h.Command[0] {
	case "CMD":
		c.command = h.Command[1:]
	case "CMD-SHELL":
		c.command = append([]string{"/bin/sh", "-c"}, h.Command[1:]...)
	default:
		c.command = h.Command
	}
	return c
}

// Health is what ECS calls a container's health status.
type Health string

// The states of a container's health.
const (
	HealthUnknown Health = "UNKNOWN"
	Healthy       Health = "HEALTHY"
	Unhealthy     Health = "UNHEALTHY"
)

// healthState counts results as Docker, and so ECS, does: failures in the start
// period do not count until a first success, then it takes so many in a row.
type healthState struct {
	status   Health
	failures int
}

// add counts one result that came so long after the start of the container.
func (s *healthState) add(c *healthCheck, ok bool, sinceStart time.Duration) {
	if ok {
		s.status, s.failures = Healthy, 0
		return
	}
	if s.status != Healthy && sinceStart < c.startPeriod {
		return
	}
	s.failures++
	if s.failures >= c.retries {
		s.status = Unhealthy
	}
}

// run reports whether the check succeeds now.
func (c *healthCheck) run(ctx context.Context, env []string, dir string) bool {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.command[0], c.command[1:]...)
	cmd.Path = lookPath(c.command[0], env)
	cmd.Err = nil // Of a search on the caller's PATH.
	cmd.Env, cmd.Dir = env, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd.Run() == nil
}
