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
		Args:  cobra.MaximumNArgs(1),
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
		return writeJSON(cmd.OutOrStdout(), s)
	}
	if err := s.Print(cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	return nil
}
