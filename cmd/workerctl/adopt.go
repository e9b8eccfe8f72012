package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/ops/adopt"
	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/ops/plan"
)

func newAdoptCommand() *cobra.Command {
	var given map[string]string
	cmd := deploymentCommand("adopt", "Take over what exists in AWS and is not in the state",
		`Take over what exists in AWS and is not in the state: built by hand, by another Terraform
project, or by a deployment that was interrupted.

It looks for the network by Name tag and address ranges and for the rest by name, shows what it
found and what deploy would do to it, and writes config/environments/ENVIRONMENT.imports.json,
which plan and deploy read. Nothing is changed in AWS or in the state.`,
		func(cmd *cobra.Command, d *deployment.Deployment) error {
			stack, err := readyForTerraform(cmd, d)
			if err != nil {
				return err
			}
			name := d.Environment.Name
			found, beside, imports, err := adopt.Existing(cmd.Context(), d, stack, given)
			if err != nil {
				return err
			}
			if err := config.WriteImports(config.Dir, name, imports); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			adopt.PrintFound(out, found, beside)
			if len(imports) == 0 {
				fmt.Fprintln(out, "Nothing is to be taken over.")
				return nil
			}
			d.Changed()
			if err := d.Synthesize(cmd.Context()); err != nil {
				return err
			}
			planned, err := stack.Plan(cmd.Context())
			if err != nil {
				return fmt.Errorf("%s is written, but the plan with it fails: %w", config.ImportsFile(config.Dir, name), err)
			}
			adopt.PrintDifferences(out, plan.Plan(name, planned))
			fmt.Fprintf(out, "\nWrote %s. Next: make deploy ENV=%s. Keep the file with the environment's: once deployed it\nchanges nothing. After make destroy remove it: it would name what is gone.\n", config.ImportsFile(config.Dir, name), name)
			return nil
		})
	cmd.Example = "  workerctl adopt prod --id aws_vpc.main=vpc-0123456789abcdef0"
	cmd.Flags().StringToStringVar(&given, "id", nil, "what a resource is, where it cannot be found, as ADDRESS=ID")
	return cmd
}
