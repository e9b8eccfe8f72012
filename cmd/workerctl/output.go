package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/terraform/project"
)

func newOutputCommand() *cobra.Command {
	var asJSON bool
	cmd := deploymentCommand("output", "Show the outputs of the deployment: names, ids, addresses of the consoles", "",
		func(cmd *cobra.Command, d *deployment.Deployment) error {
			if err := project.ToolsInstalled(); err != nil {
				return err
			}
			if err := d.Synthesize(cmd.Context()); err != nil {
				return err
			}
			stack, err := d.Terraform()
			if err != nil {
				return err
			}
			outputs, err := stack.Outputs(cmd.Context())
			if err != nil {
				return err
			}
			if len(outputs) == 0 {
				return fmt.Errorf("nothing is deployed: the state of %s has no outputs; deploy with make deploy ENV=%[1]s", d.Environment.Name)
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
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
