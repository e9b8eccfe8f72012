package main

import (
	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/ops/status"
	"prefect-worker-ecs/internal/ops/verify"
)

func newStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := workerCommand("status", "Show what runs, on one screen: tasks, workers, flow runs, last error",
		`Show what runs, on one screen: tasks, workers, flow runs, last error.

Exit status: 0 everything could be read, 2 something could not, 1 a wrong configuration.`,
		func(cmd *cobra.Command, opt verify.Options) error {
			s := status.Read(cmd.Context(), opt)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			var err error
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), s)
			} else {
				err = s.Print(cmd.OutOrStdout())
			}
			if err == nil && s.Incomplete {
				return exitCode(2) // as of verify: it could not be found out
			}
			return err
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
