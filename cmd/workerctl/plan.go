package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/ops/plan"
)

func newPlanCommand() *cobra.Command {
	var form format
	var own bool
	cmd := deploymentCommand("plan", "Show what deploy would change, for CI and for finding drift",
		`Show what deploy would change: Terraform's plan, with policies and container
definitions compared by their content, and a warning where data is lost or the worker is cut off.

Exit status: 0 nothing would change, 2 something would, 1 the plan failed.`,
		func(cmd *cobra.Command, d *deployment.Deployment) error {
			stack, err := readyForTerraform(cmd, d)
			if err != nil {
				return err
			}
			if own {
				saved, err := stack.SavePlan(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), plainFlags(cmd.OutOrStdout())...)
				if err == nil {
					saved.Remove()
				}
				return err
			}
			planned, err := stack.Plan(cmd.Context())
			if err != nil {
				return err
			}
			report := plan.Plan(d.Environment.Name, planned)
			if err := form.write(cmd.OutOrStdout(), report, report); err != nil {
				return err
			}
			if !report.Empty() {
				return exitCode(2)
			}
			return nil
		})
	cmd.Flags().BoolVar(&own, "terraform", false, "print Terraform's own text instead; the exit status is then 0, or 1 for a failure")
	form.flags(cmd)
	return cmd
}

func newReviewCommand() *cobra.Command {
	var form format
	var base string
	cmd := &cobra.Command{
		Use:   "review [--base REVISION]",
		Short: "Show what a change of the files does to the infrastructure, with no AWS account",
		Long: `Show what a change of the files does to the infrastructure: the Terraform JSON of the
checkout against that of a git revision, for all environments. No AWS account is needed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := deployment.Enter()
			if err != nil {
				return err
			}
			reports, err := plan.Revisions(cmd.Context(), p, base)
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
