package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/terraform/terraform"
)

func newLockCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lock ENVIRONMENT",
		Short: "Write the provider lock of an environment, with checksums for Linux and macOS",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := deployment.Enter()
			if err != nil {
				return err
			}
			env, err := config.LoadOne(config.Dir, environmentName(args))
			if err != nil {
				return err // cdktf.out may still hold an environment that is gone
			}
			file, err := terraform.Lock(cmd.Context(), p, env.Name, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: commit it, and every machine uses just these providers\n", file)
			return nil
		},
	}
}
