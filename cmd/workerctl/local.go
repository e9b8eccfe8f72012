package main

import (
	"os"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/localrun"
	"prefect-worker-ecs/internal/toolchain"
	"prefect-worker-ecs/internal/verify"
)

func newLocalCommand() *cobra.Command {
	var dir, config string
	options := func(args []string) (localrun.Options, error) {
		project, err := toolchain.Find(".")
		if err != nil {
			return localrun.Options{}, err
		}
		self, err := os.Executable()
		if err != nil {
			return localrun.Options{}, err
		}
		return localrun.Options{
			Project: project, Environment: environmentName(args), Dir: dir, Config: config, Out: os.Stdout,
			Program: self,
		}, nil
	}
	local := &cobra.Command{
		Use:   "local",
		Short: "Run the whole system on this machine: emulator, Prefect server, worker",
	}
	local.PersistentFlags().StringVar(&dir, "dir", "", "folder of the run (default .local/run/ENVIRONMENT)")
	local.PersistentFlags().StringVar(&config, "config", "", "folder of the environments (default config/environments)")
	local.AddCommand(
		&cobra.Command{
			Use:   "up [ENVIRONMENT]",
			Short: "Deploy to an emulator, start the worker as ECS would, and prove that it runs a flow (default: dev)",
			Args:  cobra.MaximumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				opt, err := options(args)
				if err != nil {
					return err
				}
				return localrun.Up(cmd.Context(), opt)
			},
		},
		&cobra.Command{
			Use:   "down [ENVIRONMENT]",
			Short: "Destroy the stack and stop what up started (default: dev)",
			Args:  cobra.MaximumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				opt, err := options(args)
				if err != nil {
					return err
				}
				return localrun.Down(cmd.Context(), opt)
			},
		},
		&cobra.Command{
			Use:   "status [ENVIRONMENT]",
			Short: "Show what of it is running (default: dev)",
			Args:  cobra.MaximumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				opt, err := options(args)
				if err != nil {
					return err
				}
				return localrun.Status(cmd.Context(), opt)
			},
		},
		&cobra.Command{
			Use:   "verify [ENVIRONMENT]",
			Short: "Check the worker of the local run as verify does in AWS (default: dev)",
			Args:  cobra.MaximumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				opt, err := options(args)
				if err != nil {
					return err
				}
				checklist, err := opt.Checklist()
				if err != nil {
					return err
				}
				return showReport(cmd, verify.Run(cmd.Context(), checklist), false)
			},
		},
		&cobra.Command{
			Use:    "supervise DIR ENVIRONMENT",
			Short:  "Run the service's task as ECS would (up starts this in the background)",
			Args:   cobra.ExactArgs(2),
			Hidden: true,
			RunE: func(cmd *cobra.Command, args []string) error {
				project, err := toolchain.Find(".")
				if err != nil {
					return err
				}
				return localrun.Supervise(cmd.Context(), args[0], args[1], project.Local())
			},
		},
	)
	return local
}
