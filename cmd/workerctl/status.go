package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/ops/verify"
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
			return showView(cmd, verify.Look(cmd.Context(), opt), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func showView(cmd *cobra.Command, view verify.View, asJSON bool) error {
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), view)
	}
	if err := view.Print(cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	return nil
}
