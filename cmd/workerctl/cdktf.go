package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/terraform/toolchain"
)

func newCDKTFCommand() *cobra.Command {
	var built bool
	cmd := &cobra.Command{
		Use:   "cdktf -- COMMAND [ARGUMENT...]",
		Short: "Run the pinned CDKTF CLI without its traps, for example: workerctl cdktf -- deploy dev",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := enterProject()
			if err != nil {
				return err
			}
			if err := requireApproval(args, cmd.InOrStdin()); err != nil {
				return err
			}
			for i, arg := range args[1:] {
				args[i+1] = environmentName([]string{arg})
			}
			variables := toolchain.ReadVariables(project.Root, os.Environ())
			if err := checkConfiguration(args, variables); err != nil {
				return err
			}
			warnOfFiles(cmd.ErrOrStderr(), variables)
			if err := checkTools(); err != nil {
				return err
			}
			if names := environments(args); changes(args) && len(names) > 0 {
				if err := checkCredentials(cmd.Context(), names[0], variables); err != nil {
					return err
				}
			}
			if err := project.EnsureCLI(cmd.Context(), progress(cmd)); err != nil {
				return err
			}
			app, err := program(cmd.Context(), project, built)
			if err != nil {
				return err
			}
			return project.CDKTF(cmd.Context(), toolchain.Run{
				App: app, Args: args, Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(),
			})
		},
	}
	builtFlag(cmd, &built)
	return cmd
}

// changes tells whether the CLI's command asks AWS.
func changes(args []string) bool {
	return slices.Contains([]string{"diff", "deploy", "destroy"}, args[0])
}

// environments are the environments that a command of the CLI names. They come first; what
// follows a flag may be its value.
func environments(args []string) []string {
	names := args[1:]
	if i := slices.IndexFunc(names, func(arg string) bool { return strings.HasPrefix(arg, "-") }); i >= 0 {
		names = names[:i]
	}
	return names
}

// checkTools says which of the tools are missing. The CLI would fail in words that name none.
func checkTools() error {
	var missing []error
	for _, tool := range toolchain.Tools() {
		missing = append(missing, tool.Installed())
	}
	return errors.Join(missing...)
}

// checkConfiguration reads the configuration as the program itself will. The CLI would show
// the same problems, after several seconds and twice. The variables are checked as well,
// where they count: Terraform knows few of the rules, and shows the value that it refuses.
func checkConfiguration(args []string, variables toolchain.Variables) error {
	if !slices.Contains([]string{"synth", "diff", "deploy", "destroy", "output"}, args[0]) {
		return nil
	}
	if _, err := config.Load(config.Dir); err != nil {
		return err
	}
	for _, name := range environments(args) {
		env, err := config.LoadOne(config.Dir, name)
		if err != nil {
			return err
		}
		if args[0] == "destroy" && env.Protect {
			return protected(env)
		}
		if args[0] != "diff" && args[0] != "deploy" {
			continue
		}
		if _, problems := env.WithVariables(variables.Lookup); len(problems) > 0 {
			return problems
		}
	}
	return nil
}

// protected says what Terraform would stop at, half-way through its plan and in its own words.
func protected(env *config.Environment) error {
	keeps := "network, secret and log group"
	if env.Server.Enabled && env.Server.OwnDatabase() {
		keeps = "network, secrets, log group and database"
	}
	return fmt.Errorf("%s is protected, and with it its %s: nothing was destroyed. To take it down, remove protect from config/environments/%[1]s.yaml and call this again; nothing has to be deployed in between", env.Name, keeps)
}

// requireApproval stops a change that would ask for approval where nobody can answer:
// the CLI would plan first and then crash.
func requireApproval(args []string, in io.Reader) error {
	changes := args[0] == "deploy" || args[0] == "destroy"
	if changes && !slices.Contains(args, "--auto-approve") && !terminal.Is(in) {
		return errors.New("there is no terminal here to approve the changes at; run it in one, or add AUTO_APPROVE=1 to make (--auto-approve to workerctl)")
	}
	return nil
}
