package main

import (
	"fmt"

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
			return showStatus(cmd, status.Read(cmd.Context(), opt), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func showStatus(cmd *cobra.Command, s status.Status, asJSON bool) error {
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	if asJSON {
		if err := writeJSON(cmd.OutOrStdout(), s); err != nil {
			return err
		}
	} else if err := s.Print(cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	if s.Incomplete {
		return exitCode(2) // as of verify: it could not be found out
	}
	return nil
}
