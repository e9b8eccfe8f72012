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
			if _, err := project.Find("."); err != nil {
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
			python, err := pyenv.FindPython(cmd.Context(), pyenv.Moto.MinPython, pyenv.Moto.MaxPython)
			if err != nil {
				missing = append(missing, fmt.Errorf("%w (only for make local and make test)", err))
			} else {
				fmt.Fprintf(table, "Python\t%s\t(for make local and make test)\n", python.Version)
			}
			table.Flush()
			if len(missing) > 0 {
				return errors.Join(missing...)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "everything is in place")
			return nil
		},
	}
}
