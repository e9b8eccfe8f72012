package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/ops/tunnel"
)

func newExecCommand() *cobra.Command {
	var task string
	cmd := &cobra.Command{
		Use:   "exec [ENVIRONMENT] [-- COMMAND [ARGUMENT...]]",
		Short: "Run a command in the worker's container, by default a shell (default: dev)",
		Long: `Run a command in the worker's container, by default a shell, through ECS Exec.

The environment must have worker.execute_command. It needs the AWS CLI with the Session Manager
plugin, and permissions for ecs:ExecuteCommand, ecs:ListTasks and ecs:DescribeTasks. Whoever is in the
container can read the API key.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			command := []string{"/bin/sh"}
			if at := cmd.ArgsLenAtDash(); at >= 0 {
				args, command = args[:at], args[at:]
			}
			if len(args) > 1 || len(command) == 0 {
				return errors.New("exec takes one environment, and behind -- a command: workerctl exec prod -- prefect version")
			}
			d, err := open(cmd, args)
			if err != nil {
				return err
			}
			env := d.Environment
			if !env.Worker.ExecuteCommand {
				return fmt.Errorf("ECS Exec is off in %[1]s: set worker.execute_command to true in config/environments/%[1]s.yaml and deploy: make deploy ENV=%[1]s", env.Name)
			}
			cfg, err := d.AWS(cmd.Context())
			if err != nil {
				return err
			}
			err = tunnel.Exec(cmd.Context(), tunnel.Command{
				AWS: cfg, Cluster: env.Cluster.Name, Service: env.Worker.ServiceName, Container: env.Worker.ContainerName, Task: task,
				Line: strings.Join(command, " "), Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(),
			})
			if ended, ok := errors.AsType[*exec.ExitError](err); ok {
				return exitCode(ended.ExitCode()) // the AWS CLI has said why
			}
			return err
		},
	}
	cmd.Flags().StringVar(&task, "task", "", "the task whose id begins so (default: one that runs)")
	return cmd
}
