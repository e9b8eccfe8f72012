package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/toolchain"
)

func newLockCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lock ENVIRONMENT",
		Short: "Write the provider lock of an environment, with checksums for Linux and macOS",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := toolchain.Find(".")
			if err != nil {
				return err
			}
			if _, err := config.LoadOne(filepath.Join(project.Root, filepath.FromSlash(config.Dir)), args[0]); err != nil {
				return err // cdktf.out may still hold an environment that is gone
			}
			file, err := project.Lock(cmd.Context(), args[0], cmd.OutOrStdout())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: commit it, and every machine uses just these providers\n", file)
			return nil
		},
	}
}
