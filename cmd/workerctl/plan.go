package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/ops/plan"
	"prefect-worker-ecs/internal/terraform/toolchain"
)

func newPlanCommand() *cobra.Command {
	var form format
	var built bool
	cmd := &cobra.Command{
		Use:   "plan [ENVIRONMENT]",
		Short: "Show what deploy would change, for CI and for finding drift (default: dev)",
		Long: `Show what deploy would change: a plan of Terraform's, with policies and container
definitions compared by their content, and a warning where data is lost or the worker is cut off.

Exit status: 0 nothing would change, 2 something would, 1 it could not be found out.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := environmentName(args)
			project, _, err := readyForTerraform(cmd, name)
			if err != nil {
				return err
			}
			if _, err := synthesize(cmd.Context(), project, built); err != nil {
				return err
			}
			planned, err := project.Plan(cmd.Context(), name)
			if err != nil {
				return err
			}
			report := plan.Plan(name, planned)
			if err := form.write(cmd.OutOrStdout(), report, report); err != nil {
				return err
			}
			if len(report.Changes) > 0 {
				return exitCode(2)
			}
			return nil
		},
	}
	form.flags(cmd)
	builtFlag(cmd, &built)
	return cmd
}

// readyForTerraform enters the project and checks, before anything starts, what a plan of an
// environment needs.
func readyForTerraform(cmd *cobra.Command, name string) (toolchain.Project, toolchain.Variables, error) {
	project, err := enterProject()
	if err != nil {
		return project, nil, err
	}
	variables := toolchain.ReadVariables(project.Root, os.Environ())
	if err := checkConfiguration([]string{"diff", name}, variables); err != nil {
		return project, nil, err
	}
	warnOfFiles(cmd.ErrOrStderr(), variables)
	if err := checkTools(); err != nil {
		return project, nil, err
	}
	return project, variables, checkCredentials(cmd.Context(), name, variables)
}

func newReviewCommand() *cobra.Command {
	var form format
	var base string
	cmd := &cobra.Command{
		Use:   "review [--base REVISION]",
		Short: "Show what a change of the files does to the infrastructure, with no AWS account",
		Long: `Show what a change of the files does to the infrastructure: the Terraform JSON of the
checkout against that of a git revision, for all environments. No AWS account is asked. No
output of changes means that the change touches no infrastructure.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			project, err := enterProject()
			if err != nil {
				return err
			}
			reports, err := compareRevisions(cmd.Context(), project, base)
			if err != nil {
				return err
			}
			if len(reports) == 0 && !form.json {
				fmt.Fprintf(cmd.OutOrStdout(), "No environment changes against %s: the change touches no infrastructure.\n", base)
				return nil
			}
			return form.write(cmd.OutOrStdout(), reports, reports...)
		},
	}
	form.flags(cmd)
	cmd.Flags().StringVar(&base, "base", "HEAD", "git revision to compare with, such as origin/main")
	return cmd
}

// format is how a report is written: for a terminal, unless a flag says otherwise.
type format struct{ json, markdown bool }

func (f *format) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	cmd.Flags().BoolVar(&f.markdown, "markdown", false, "print Markdown, for a comment on a pull request")
	cmd.MarkFlagsMutuallyExclusive("json", "markdown")
}

// write writes the reports; document is what stands for them all in JSON.
func (f format) write(out io.Writer, document any, reports ...plan.Report) error {
	if f.json {
		return writeJSON(out, document)
	}
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if f.markdown {
			r.Markdown(out)
		} else {
			r.Text(out)
		}
	}
	return nil
}
