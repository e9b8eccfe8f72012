package main

import (
	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/ops/status"
)

func newStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [ENVIRONMENT]",
		Short: "Show what runs, on one screen: tasks, workers, flow runs, last error (default: dev)",
		Long: `Show what runs, on one screen: tasks, workers, flow runs, last error.

Exit status: 0 everything could be read, 2 something could not, 1 a wrong configuration.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt, err := verifyOptions(cmd, args)
			if err != nil {
				return err
			}
			s := status.Read(cmd.Context(), opt)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), s)
			} else {
				err = s.Print(cmd.OutOrStdout())
			}
			if err == nil && s.Incomplete {
				return exitCode(2) // as of verify: it could not be found out
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
