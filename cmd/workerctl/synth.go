package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/ops/verify"
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

// deploymentCommand returns a command on the deployment of one environment.
func deploymentCommand(name, short, long string, run func(*cobra.Command, *deployment.Deployment) error) *cobra.Command {
	return &cobra.Command{
		Use:   name + " [ENVIRONMENT]",
		Short: short + " (default: dev)",
		Long:  long,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := open(cmd, args)
			if err != nil {
				return err
			}
			return run(cmd, d)
		},
	}
}

// workerCommand returns a command on the running worker of one environment.
func workerCommand(name, short, long string, run func(*cobra.Command, verify.Options) error) *cobra.Command {
	return deploymentCommand(name, short, long, func(cmd *cobra.Command, d *deployment.Deployment) error {
		opt, err := optionsOf(cmd.Context(), d)
		if err != nil {
			return err
		}
		return run(cmd, opt)
	})
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
