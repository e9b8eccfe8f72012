package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
)

func newOutputCommand() *cobra.Command {
	var built, asJSON bool
	cmd := &cobra.Command{
		Use:   "output [ENVIRONMENT]",
		Short: "Show the outputs of the deployment: names, ids, addresses of the consoles (default: dev)",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := enterProject()
			if err != nil {
				return err
			}
			env, err := config.LoadOne(config.Dir, environmentName(args))
			if err != nil {
				return err
			}
			if err := checkTools(); err != nil {
				return err
			}
			if _, err := synthesize(cmd.Context(), project, built); err != nil {
				return err
			}
			outputs, err := project.Outputs(cmd.Context(), env.Name)
			if err != nil {
				return err
			}
			if len(outputs) == 0 {
				return fmt.Errorf("nothing is deployed: the state of %s has no outputs; deploy with make deploy ENV=%[1]s", env.Name)
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), outputs)
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, name := range slices.Sorted(maps.Keys(outputs)) {
				text, ok := outputs[name].(string)
				if !ok {
					list, err := json.Marshal(outputs[name])
					if err != nil {
						return err
					}
					text = string(list)
				}
				fmt.Fprintf(table, "%s\t%s\n", name, text)
			}
			return table.Flush()
		},
	}
	builtFlag(cmd, &built)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
