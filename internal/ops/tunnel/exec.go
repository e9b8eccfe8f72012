package tunnel

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Command is a command in the container of a service's task.
type Command struct {
	// AWS is where the task runs: credentials and region.
	AWS aws.Config
	// Cluster, Service and Container are the names of the service and of its container.
	Cluster, Service, Container string
	// Task is how the task's id begins. Empty: the first that runs.
	Task string
	// Line is the command with its arguments, which the container's agent splits at spaces.
	Line string
	// Programs is a folder with the AWS CLI and its plugin. Default: they are on the PATH.
	Programs string
	// Stdin, Stdout and Stderr are those of the session.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Exec runs the command and returns when it ends; the error is then an *exec.ExitError if the
// session failed. It is not ended with ctx: Ctrl-C is for the command.
func Exec(ctx context.Context, c Command) error {
	cli, err := programs(c.Programs)
	if err != nil {
		return err
	}
	tasks, err := running(ctx, c.AWS, c.Cluster, c.Service)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(tasks, func(t types.Task) bool { return strings.HasPrefix(taskID(t), c.Task) })
	if i < 0 {
		var ids []string
		for _, t := range tasks {
			ids = append(ids, taskID(t))
		}
		return fmt.Errorf("no task of the service %s whose id begins with %s runs; there are: %s", c.Service, c.Task, strings.Join(ids, ", "))
	}
	cmd := exec.Command(cli, "ecs", "execute-command", "--region", c.AWS.Region, "--cluster", c.Cluster, "--task", taskID(tasks[i]),
		"--container", c.Container, "--interactive", "--command", c.Line)
	if cmd.Env, err = environ(ctx, c.AWS); err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	return cmd.Run()
}
