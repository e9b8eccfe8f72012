// Package tunnel opens a way from this machine to a port of a task that nothing outside of
// the VPC reaches: a port-forwarding session of Systems Manager, through ECS Exec.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/poll"
	"prefect-worker-ecs/internal/proc"
)

// Options say where the way leads.
type Options struct {
	// AWS is where the task runs: credentials and region.
	AWS aws.Config
	// Cluster and Service are the names of the service whose task is reached.
	Cluster, Service string
	// RemotePort is the port of the task, LocalPort the one of this machine. Default of the
	// latter: a free one.
	RemotePort, LocalPort int
	// Path is asked until it answers, such as /api/health.
	Path string
	// Programs is a folder with the AWS CLI and its plugin. Default: they are on the PATH.
	Programs string
	// Timeout is how long that may take. Default 30 s.
	Timeout time.Duration
}

// Tunnel is an open way.
type Tunnel struct {
	// URL is this end of it, such as http://127.0.0.1:4200.
	URL     string
	process proc.Identity
	ended   chan struct{}
	dir     string
}

// Ended is closed when the session has ended.
func (t *Tunnel) Ended() <-chan struct{} { return t.ended }

// Open opens a way. It needs the AWS CLI and its Session Manager plugin.
func Open(ctx context.Context, opt Options) (_ *Tunnel, err error) {
	cli := "aws"
	for program, install := range map[string]string{
		"aws":                    "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
		"session-manager-plugin": "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html",
	} {
		if opt.Programs != "" {
			program = filepath.Join(opt.Programs, program)
			cli = filepath.Join(opt.Programs, "aws")
		}
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is not installed: %s", program, install)
		}
	}
	target, err := target(ctx, opt)
	if err != nil {
		return nil, err
	}
	if opt.LocalPort == 0 {
		if opt.LocalPort, err = proc.FreePort(); err != nil {
			return nil, err
		}
	} else if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(opt.LocalPort))); err != nil {
		return nil, fmt.Errorf("port %d of this machine is taken: name another one with --port", opt.LocalPort)
	} else {
		l.Close()
	}
	if opt.Timeout == 0 {
		opt.Timeout = 30 * time.Second
	}
	t := &Tunnel{URL: fmt.Sprintf("http://127.0.0.1:%d", opt.LocalPort), ended: make(chan struct{})}
	if t.dir, err = os.MkdirTemp("", "prefect-tunnel-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(t.dir)
		}
	}()
	cmd := exec.Command(cli, "ssm", "start-session", "--region", opt.AWS.Region, "--target", target,
		"--document-name", "AWS-StartPortForwardingSession",
		"--parameters", fmt.Sprintf(`{"portNumber":["%d"],"localPortNumber":["%d"]}`, opt.RemotePort, opt.LocalPort))
	t.process, err = proc.Launch(ctx, proc.Server{
		Name: "the session", Cmd: cmd, Log: filepath.Join(t.dir, "session.log"), Timeout: opt.Timeout,
		Ready: func(ctx context.Context) bool { return poll.Answers(ctx, t.URL+opt.Path) },
	})
	if err != nil {
		return nil, err
	}
	go func() {
		for t.process.Alive() {
			time.Sleep(200 * time.Millisecond)
		}
		close(t.ended)
	}()
	return t, nil
}

// Close ends the session, with the plugin that it started.
func (t *Tunnel) Close() error {
	err := t.process.Stop(context.Background(), syscall.SIGINT, 3*time.Second)
	return errors.Join(err, os.RemoveAll(t.dir))
}

// target names the container of a running task in the way that Systems Manager has for ECS.
func target(ctx context.Context, opt Options) (string, error) {
	client := ecs.NewFromConfig(opt.AWS)
	list, err := client.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &opt.Cluster, ServiceName: &opt.Service, DesiredStatus: types.DesiredStatusRunning})
	if err != nil {
		return "", fmt.Errorf("look for the task of %s: %w", opt.Service, err)
	}
	if len(list.TaskArns) == 0 {
		return "", fmt.Errorf("no task of the service %s runs", opt.Service)
	}
	described, err := client.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &opt.Cluster, Tasks: list.TaskArns})
	if err != nil {
		return "", fmt.Errorf("look for the task of %s: %w", opt.Service, err)
	}
	for _, task := range described.Tasks {
		arn := aws.ToString(task.TaskArn)
		for _, container := range task.Containers {
			if id := aws.ToString(container.RuntimeId); id != "" {
				return "ecs:" + opt.Cluster + "_" + arn[strings.LastIndex(arn, "/")+1:] + "_" + id, nil
			}
		}
	}
	return "", fmt.Errorf("the task of the service %s has not started yet", opt.Service)
}
