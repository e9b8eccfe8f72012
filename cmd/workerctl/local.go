package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/local/run"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/prefect/flowruns"
	"prefect-worker-ecs/internal/terraform/project"
)

// localFlags are the flags of all subcommands of local.
type localFlags struct{ dir, config string }

func newLocalCommand() *cobra.Command {
	local := &cobra.Command{
		Use:   "local",
		Short: "Run the whole system on this machine: emulator, Prefect server, worker",
	}
	f := &localFlags{}
	local.PersistentFlags().StringVar(&f.dir, "dir", "", "folder of the run (default .local/run/ENVIRONMENT)")
	local.PersistentFlags().StringVar(&f.config, "config", "", "folder of the environments (default config/environments)")
	local.AddCommand(
		f.subcommand("up", "Deploy to an emulator, start the worker as ECS would, and prove that it runs a flow",
			func(cmd *cobra.Command, opt run.Options) error { return run.Up(cmd.Context(), opt) }),
		f.subcommand("down", "Destroy the stack and stop what up started",
			func(cmd *cobra.Command, opt run.Options) error { return run.Down(cmd.Context(), opt) }),
		f.subcommand("status", "Show which processes are running",
			func(cmd *cobra.Command, opt run.Options) error { return run.Status(cmd.Context(), opt) }),
		f.subcommand("verify", "Check the worker of the local run as verify does in AWS",
			func(cmd *cobra.Command, opt run.Options) error {
				checklist, err := opt.Checklist()
				if err != nil {
					return err
				}
				return showReport(cmd, verify.Run(cmd.Context(), checklist), false)
			}),
		f.runCommand(), f.runsCommand(), f.openCommand(), newSuperviseCommand(),
	)
	return local
}

// options returns the options of the run of the environment in the arguments.
func (f *localFlags) options(cmd *cobra.Command, args []string) (run.Options, error) {
	p, err := project.Find(".")
	if err != nil {
		return run.Options{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return run.Options{}, err
	}
	return run.Options{Project: p, Environment: environmentName(args), Dir: f.dir, Config: f.config, Out: cmd.OutOrStdout(), Program: self}, nil
}

func (f *localFlags) subcommand(name, short string, run func(*cobra.Command, run.Options) error) *cobra.Command {
	return &cobra.Command{
		Use:   name + " [ENVIRONMENT]",
		Short: short + " (default: dev)",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt, err := f.options(cmd, args)
			if err != nil {
				return err
			}
			return run(cmd, opt)
		},
	}
}

func (f *localFlags) runCommand() *cobra.Command {
	var parameters []string
	cmd := &cobra.Command{
		Use:   "run FLOW.py[:FUNCTION] [ENVIRONMENT]",
		Short: "Run a flow of your own on the worker of the local run (default: dev)",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt, err := f.options(cmd, args[1:])
			if err != nil {
				return err
			}
			return run.RunFlow(cmd.Context(), opt, args[0], parameters)
		},
	}
	cmd.Flags().StringArrayVarP(&parameters, "param", "p", nil, "parameter of the flow, NAME=VALUE in JSON or else text; repeat it for each")
	return cmd
}

func (f *localFlags) runsCommand() *cobra.Command {
	var asJSON bool
	cmd := f.subcommand("runs", "List the flow runs of the local run that need a person, as runs does in AWS",
		func(cmd *cobra.Command, opt run.Options) error {
			checklist, err := opt.Checklist()
			if err != nil {
				return err
			}
			return connected(cmd.Context(), checklist, func(ctx context.Context, pool flowruns.Pool) error {
				return listRuns(ctx, cmd.OutOrStdout(), pool, asJSON)
			})
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (f *localFlags) openCommand() *cobra.Command {
	var noBrowser bool
	cmd := f.subcommand("open", "Open Prefect and what the AWS emulator holds",
		func(cmd *cobra.Command, opt run.Options) error {
			prefect, aws, err := opt.Pages()
			if err != nil {
				return err
			}
			return showPages(cmd.OutOrStdout(), []page{{"Prefect", prefect}, {"AWS emulator", aws}}, noBrowser)
		})
	noBrowserFlag(cmd, &noBrowser)
	return cmd
}

// newSuperviseCommand returns the command that up starts in the background.
func newSuperviseCommand() *cobra.Command {
	server := false
	cmd := &cobra.Command{
		Use:    "supervise DIR ENVIRONMENT",
		Short:  "Run the service's task as ECS would (up starts this in the background)",
		Args:   cobra.ExactArgs(2),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := project.Find(".")
			if err != nil {
				return err
			}
			return run.Supervise(cmd.Context(), args[0], args[1], p.Local(), server, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&server, "server", false, "the task of the in-stack Prefect server")
	return cmd
}
