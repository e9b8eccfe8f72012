package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/terraform/project"
)

func newSetupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "setup",
		Short: "Check the tools that the project needs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := project.Find(".")
			if err != nil {
				return err
			}
			var missing []error
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, tool := range project.Tools() {
				version, err := tool.Check(cmd.Context())
				if err != nil {
					missing = append(missing, err)
					continue
				}
				fmt.Fprintf(table, "%s\t%s\t(needed: %s)\n", tool.Name, version, tool.Need)
			}
			table.Flush()
			for _, spec := range []pyenv.Spec{pyenv.Moto, pyenv.Prefect2, pyenv.Prefect3} {
				if _, err := pyenv.Ensure(cmd.Context(), spec, pyenv.Options{Root: p.Local()}); err != nil {
					missing = append(missing, err)
				}
			}
			if len(missing) > 0 {
				return errors.Join(missing...)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "everything is in place")
			return nil
		},
	}
}
