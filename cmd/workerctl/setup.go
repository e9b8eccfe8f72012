package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/terraform/project"
)

func newSetupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "setup",
		Short: "Check the tools that the project needs, and make its Python environments",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := project.Find(".")
			if err != nil {
				return err
			}
			progress := terminal.NewProgress(cmd.ErrOrStderr())
			var environments errgroup.Group
			for _, spec := range []pyenv.Spec{pyenv.Moto, pyenv.Prefect2, pyenv.Prefect3} {
				environments.Go(func() error {
					_, err := pyenv.Ensure(cmd.Context(), spec, pyenv.Options{Root: p.Local(), Step: progress.Do})
					return err
				})
			}
			versions, missing := project.CheckTools(cmd.Context())
			if err := errors.Join(missing, environments.Wait()); err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, tool := range project.Tools() {
				fmt.Fprintf(table, "%s\t%s\t(needed: %s)\n", tool.Name, versions[tool.Name], tool.Need)
			}
			table.Flush()
			fmt.Fprintln(cmd.OutOrStdout(), "everything is in place")
			return nil
		},
	}
}
