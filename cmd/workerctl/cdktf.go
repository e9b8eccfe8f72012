package main

import (
	"errors"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"prefect-worker-ecs/internal/toolchain"
)

func newCDKTFCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cdktf -- COMMAND [ARGUMENT...]",
		Short: "Run the pinned CDKTF CLI without its traps, for example: workerctl cdktf -- deploy dev",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := toolchain.Find(".")
			if err != nil {
				return err
			}
			if err := requireApproval(args); err != nil {
				return err
			}
			if err := project.EnsureCLI(cmd.Context(), progress); err != nil {
				return err
			}
			return project.CDKTF(cmd.Context(), toolchain.Run{
				Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			})
		},
	}
}

// requireApproval stops a change that would ask for approval where nobody can answer:
// the CLI would plan first and then crash.
func requireApproval(args []string) error {
	changes := args[0] == "deploy" || args[0] == "destroy"
	if changes && !slices.Contains(args, "--auto-approve") && !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("there is no terminal here to approve the changes at; run it in one, or add AUTO_APPROVE=1 to make (--auto-approve to workerctl)")
	}
	return nil
}
