package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/terraform/project"
)

func newSynthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "synth",
		Short: "Write the Terraform JSON of all environments to cdktf.out, with Go and Node alone",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := deployment.Enter()
			if err != nil {
				return err
			}
			if err := (&deployment.Deployment{Project: p, Built: isBuilt(cmd)}).Synthesize(cmd.Context()); err != nil {
				return err
			}
			envs, err := config.Load(config.Dir)
			for _, env := range envs {
				fmt.Fprintln(cmd.OutOrStdout(), "wrote "+project.StackFile("cdktf.out", env.Name))
			}
			return err
		},
	}
}

// open opens the environment of the arguments.
func open(cmd *cobra.Command, args []string) (*deployment.Deployment, error) {
	d, err := deployment.Open(environmentName(args))
	if err != nil {
		return nil, err
	}
	d.Built = isBuilt(cmd)
	return d, nil
}

// builtFlag is the flag with which make says that the program is built from what is in the checkout.
const builtFlag = "built"

func isBuilt(cmd *cobra.Command) bool {
	built, _ := cmd.Flags().GetBool(builtFlag) // the root command has it
	return built
}
