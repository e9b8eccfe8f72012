package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/ops/adopt"
	"prefect-worker-ecs/internal/ops/plan"
	"prefect-worker-ecs/internal/terraform/stackjson"
	"prefect-worker-ecs/internal/terraform/toolchain"
)

func newAdoptCommand() *cobra.Command {
	var given map[string]string
	cmd := &cobra.Command{
		Use:   "adopt [ENVIRONMENT]",
		Short: "Take over what exists in AWS and is not in the state (default: dev)",
		Long: `Take over what exists in AWS and is not in the state: built by hand, by another Terraform
project, or by a deployment that was cut off.

It looks for the network by Name tag and address ranges and for the rest by name, shows what it
found and what deploy would do to it, and writes config/environments/ENVIRONMENT.imports.json,
which diff, plan and deploy read. Nothing is changed in AWS or in the state.`,
		Example: "  workerctl adopt prod --id aws_vpc.main=vpc-0123456789abcdef0",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := environmentName(args)
			project, variables, err := readyForTerraform(cmd, name)
			if err != nil {
				return err
			}
			found, imports, err := findExisting(cmd.Context(), project, name, variables, given)
			if err != nil {
				return err
			}
			if err := config.WriteImports(config.Dir, name, imports); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			printFound(out, found)
			if len(imports) == 0 {
				fmt.Fprintln(out, "Nothing is to be taken over.")
				return nil
			}
			if _, err := synthesize(cmd.Context(), project, true); err != nil {
				return err
			}
			planned, err := project.Plan(cmd.Context(), name)
			if err != nil {
				return fmt.Errorf("%s is written, but the plan with it fails: %w", config.ImportsFile(config.Dir, name), err)
			}
			printDifferences(out, plan.Plan(name, planned))
			fmt.Fprintf(out, "\nWrote %s. Next: make deploy ENV=%s. Keep the file with the environment's: once deployed it\nchanges nothing. After make destroy remove it: it would name what is gone.\n", config.ImportsFile(config.Dir, name), name)
			return nil
		},
	}
	cmd.Flags().StringToStringVar(&given, "id", nil, "what a resource is, where it cannot be found, as ADDRESS=ID")
	return cmd
}

// findExisting synthesizes, and looks in AWS for what the state does not hold. imports are what was
// found, and what was taken over before and is still in the state.
func findExisting(ctx context.Context, project toolchain.Project, name string, variables toolchain.Variables, given map[string]string) (found []adopt.Resource, imports map[string]string, err error) {
	if _, err := synthesize(ctx, project, false); err != nil {
		return nil, nil, err
	}
	state, err := project.State(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	env, err := config.LoadOne(config.Dir, name)
	if err != nil {
		return nil, nil, err
	}
	env, problems := env.WithVariables(variables.Lookup)
	if len(problems) > 0 {
		return nil, nil, problems
	}
	cfg, err := awsConfig(ctx, env)
	if err != nil {
		return nil, nil, err
	}
	identity, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, nil, fmt.Errorf("whose account it is: %w", err)
	}
	file, err := os.ReadFile(toolchain.StackFile(project.Out(), name))
	if err != nil {
		return nil, nil, err
	}
	stack, err := stackjson.Parse(file, stackjson.Place{Partition: env.Partition(), Region: env.Region, Account: aws.ToString(identity.Account)}, nil)
	if err != nil {
		return nil, nil, err
	}
	if found, err = adopt.Find(ctx, cfg, stack, state, given); err != nil {
		return nil, nil, err
	}
	imports = maps.Clone(env.Imports)
	maps.DeleteFunc(imports, func(address, _ string) bool { return state[address] == "" })
	if imports == nil {
		imports = map[string]string{}
	}
	for _, r := range found {
		if r.ID != "" {
			imports[r.Address] = r.ID
		}
	}
	return found, imports, nil
}

func printFound(out io.Writer, found []adopt.Resource) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		title string
		row   func(adopt.Resource) (string, bool)
	}{
		{"Found:", func(r adopt.Resource) (string, bool) { return r.ID, r.ID != "" }},
		{"Not found, made by deploy:", func(r adopt.Resource) (string, bool) { return "", r.ID == "" && r.Note == "" }},
		{"Made by deploy, whatever there is:", func(r adopt.Resource) (string, bool) { return r.Note, r.Note != "" }},
	} {
		title := part.title
		for _, r := range found {
			text, here := part.row(r)
			if !here {
				continue
			}
			if title != "" {
				fmt.Fprintln(table, title)
				title = ""
			}
			fmt.Fprintln(table, strings.TrimRight("  "+r.Address+"\t"+text, "\t"))
		}
	}
	table.Flush()
}

// printDifferences writes what deploy does to what was found, and how else to make it agree.
func printDifferences(out io.Writer, report plan.Report) {
	fmt.Fprintln(out)
	if n := report.Count(plan.Destroy) + report.Count(plan.Replace); n > 0 {
		fmt.Fprintf(out, "warning: deploy would destroy or replace %d of what exists. Do not deploy before the configuration agrees with it.\n", n)
	}
	report.Text(out)
	keep := map[string][]string{}
	for _, c := range report.Changes {
		for _, a := range c.Attributes {
			if option := adopt.Option(c.Address, a.Path); option != "" {
				keep[option] = append(keep[option], c.Address+" "+a.Path)
			}
		}
	}
	if len(keep) > 0 {
		fmt.Fprintln(out, "\nWhere AWS differs, make deploy changes AWS. To keep what is there, say it with these options:")
	}
	for _, option := range slices.Sorted(maps.Keys(keep)) {
		fmt.Fprintf(out, "  %s: %s\n", option, strings.Join(keep[option], ", "))
	}
	fmt.Fprintf(out, "\nHow the running task differs is shown by workerctl verify %s.\n", report.Environment)
}
