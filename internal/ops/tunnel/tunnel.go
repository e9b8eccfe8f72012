// Package tunnel opens a connection from this machine to a task that nothing outside of the VPC
// reaches: to a port, by a port-forwarding session of Systems Manager, or for a command, by ECS
// Exec. Both are sessions of the AWS CLI.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/base/proc"
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
	// Path is requested until it answers, such as /api/health.
	Path string
	// Programs is a folder with the AWS CLI and its plugin. Default: they are on the PATH.
	Programs string
}

// timeout is how long a tunnel may take to open.
const timeout = 30 * time.Second

// Tunnel is an open port forwarding session.
type Tunnel struct {
	// URL is this end of it, such as http://127.0.0.1:4200.
	URL     string
	process proc.Identity
	ended   chan struct{}
	dir     string
}

// Ended returns a channel that is closed when the session has ended.
func (t *Tunnel) Ended() <-chan struct{} { return t.ended }

// Open opens a tunnel. It needs the AWS CLI and its Session Manager plugin.
func Open(ctx context.Context, opt Options) (_ *Tunnel, err error) {
	cli, err := programs(opt.Programs)
	if err != nil {
		return nil, err
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
	if cmd.Env, err = environ(ctx, opt.AWS); err != nil {
		return nil, err
	}
	t.process, err = proc.Launch(ctx, proc.Server{
		Name: "the session", Cmd: cmd, Log: filepath.Join(t.dir, "session.log"), Timeout: timeout,
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

// programs finds the AWS CLI and its plugin, in a folder or on the PATH, and returns the former.
func programs(folder string) (cli string, err error) {
	for program, install := range map[string]string{
		"aws":                    "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
		"session-manager-plugin": "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html",
	} {
		if _, err := exec.LookPath(filepath.Join(folder, program)); err != nil {
			return "", fmt.Errorf("%s is not installed: %s", filepath.Join(folder, program), install)
		}
	}
	return filepath.Join(folder, "aws"), nil
}

// environ gives the AWS CLI the credentials that are used here, which may be those of a role that
// it does not manage.
func environ(ctx context.Context, cfg aws.Config) ([]string, error) {
	c, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("AWS credentials: %w", err)
	}
	env := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "AWS_PROFILE=") || strings.HasPrefix(variable, "AWS_SESSION_TOKEN=")
	})
	env = append(env, "AWS_ACCESS_KEY_ID="+c.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+c.SecretAccessKey)
	if c.SessionToken != "" {
		env = append(env, "AWS_SESSION_TOKEN="+c.SessionToken)
	}
	return env, nil
}

// target names the container of a running task in the way that Systems Manager has for ECS.
func target(ctx context.Context, opt Options) (string, error) {
	tasks, err := running(ctx, opt.AWS, opt.Cluster, opt.Service)
	if err != nil {
		return "", err
	}
	for _, task := range tasks {
		for _, container := range task.Containers {
			if id := aws.ToString(container.RuntimeId); id != "" {
				return "ecs:" + opt.Cluster + "_" + taskID(task) + "_" + id, nil
			}
		}
	}
	return "", fmt.Errorf("the task of the service %s has not started yet", opt.Service)
}

// running returns the running tasks of a service, at least one.
func running(ctx context.Context, cfg aws.Config, cluster, service string) ([]types.Task, error) {
	client := ecs.NewFromConfig(cfg)
	list, err := client.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &cluster, ServiceName: &service, DesiredStatus: types.DesiredStatusRunning})
	if err != nil {
		return nil, fmt.Errorf("look for the task of %s: %w", service, err)
	}
	if len(list.TaskArns) == 0 {
		return nil, fmt.Errorf("no task of the service %s runs", service)
	}
	described, err := client.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: list.TaskArns})
	if err != nil {
		return nil, fmt.Errorf("look for the task of %s: %w", service, err)
	}
	return described.Tasks, nil
}

func taskID(task types.Task) string {
	return iam.ResourceName(aws.ToString(task.TaskArn))
}
