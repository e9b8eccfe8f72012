package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/ops/verify"
)

func newVerifyCommand() *cobra.Command {
	var wait time.Duration
	var asJSON, flow, noPlan bool
	var apiURL string
	cmd := &cobra.Command{
		Use:   "verify [ENVIRONMENT]",
		Short: "Check that the worker runs flows, and as configured: in AWS, in the Prefect API, in its log (default: dev)",
		Long: `Check that the worker runs flows, and as configured: in AWS, in the Prefect API, in its log.

It uses the AWS credentials of the AWS CLI (AWS_PROFILE, AWS_ACCESS_KEY_ID, ...) and reads
the worker's credential as the worker does, from Secrets Manager; where that may not be
read, PREFECT_API_KEY or PREFECT_API_AUTH_STRING of this shell is used for the API.

Whether what runs is as configured is read from a plan of Terraform's over the state of the
deployment, without a lock; with --wait once, at the end. It needs Terraform and access to the
state: --no-plan leaves it out. With --flow a small flow is run through the pool and removed.

Exit status: 0 the worker runs flows, 1 it does not or not as configured, 2 it could not be
checked.`,
		// Checked below: with --json there is always a report, also of wrong arguments.
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			report := verifyReport(cmd, args, flow, func(opt verify.Options) verify.Report {
				if noPlan {
					opt.Plan = nil
				}
				if opt.Environment.Server.Enabled {
					opt.Reach = reach(opt, apiURL)
				}
				return verify.Wait(cmd.Context(), opt, wait, waiting(cmd.ErrOrStderr(), wait))
			})
			return showReport(cmd, report, asJSON)
		},
	}
	// Wrong flags are reported like wrong arguments.
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if !asJSON && !slices.ContainsFunc(os.Args, func(arg string) bool { return arg == "--json" || arg == "--json=true" }) {
			fmt.Fprintln(cmd.ErrOrStderr(), "workerctl: "+redact.Text(err.Error()))
			return exitCode(2)
		}
		return showReport(cmd, verify.NotChecked(environmentName(cmd.Flags().Args()), err), true)
	})
	cmd.Flags().DurationVar(&wait, "wait", 0, "keep checking for this long until all is well, such as 5m")
	cmd.Flags().BoolVar(&flow, "flow", false, "run a small flow through the work pool, as a smoke test")
	cmd.Flags().BoolVar(&noPlan, "no-plan", false, "leave out the check \"as configured\", which needs Terraform and its state")
	cmd.Flags().StringVar(&apiURL, "api-url", "", "address at which workerctl open makes the API of the in-stack Prefect server available, such as http://127.0.0.1:4200/api")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// showReport shows the checklist, and ends with its outcome as the exit status.
func showReport(cmd *cobra.Command, report verify.Report, asJSON bool) error {
	interrupted := cmd.Context().Err()
	switch {
	case asJSON:
		if err := writeJSON(cmd.OutOrStdout(), report); err != nil {
			return err
		}
	case interrupted == nil:
		report.Print(cmd.OutOrStdout())
	}
	switch {
	case interrupted != nil:
		return interrupted
	case report.Outcome == verify.OK:
		return nil
	case report.Outcome == verify.Failed:
		return exitCode(1)
	}
	return exitCode(2)
}

// planUnlocked returns what makes a plan of an environment without a lock, so that it is in the way of
// no deployment.
func planUnlocked(d *deployment.Deployment) func(context.Context) (*tfjson.Plan, error) {
	return func(ctx context.Context) (*tfjson.Plan, error) {
		if err := d.Synthesize(ctx); err != nil {
			return nil, err
		}
		stack, err := d.Terraform()
		if err != nil {
			return nil, err
		}
		flags := []string{"-lock=false"}
		// The credential is write-only: a plan needs one, whichever. Who is on call may have none.
		env := d.Environment
		name := env.Prefect.Authentication.TerraformVariable()
		if value, _ := d.Variables.Lookup(name); name != "" && value == "" && !env.GeneratedCredential() && env.Secret.ExistingARN == "" {
			flags = append(flags, "-var="+name+"=placeholder:placeholder")
		}
		return stack.Plan(ctx, flags...)
	}
}

// verifyReport runs the checklist, or says why it cannot.
func verifyReport(cmd *cobra.Command, args []string, flow bool, run func(verify.Options) verify.Report) verify.Report {
	if len(args) > 1 {
		return verify.NotChecked(args[0], fmt.Errorf("verify takes one environment, and these are %d: %s", len(args), strings.Join(args, " ")))
	}
	opt, err := verifyOptions(cmd, args)
	if err != nil {
		return verify.NotChecked(environmentName(args), err)
	}
	opt.Flow = flow
	report := run(opt)
	if cmd.Context().Err() != nil {
		return verify.NotChecked(opt.Environment.Name, errors.New("interrupted"))
	}
	return report
}

// verifyOptions returns the options of verify for the environment of the arguments, as it would be deployed now.
func verifyOptions(cmd *cobra.Command, args []string) (verify.Options, error) {
	d, err := open(cmd, args)
	if err != nil {
		return verify.Options{}, err
	}
	return optionsOf(cmd.Context(), d)
}

// optionsOf returns the options of verify for a deployment.
func optionsOf(ctx context.Context, d *deployment.Deployment) (verify.Options, error) {
	variables := map[string]string{}
	for _, a := range d.Variables {
		variables[a.Name] = a.Value
	}
	stack, err := d.Stack(ctx)
	if err != nil {
		return verify.Options{}, err
	}
	cfg, err := d.AWS(ctx)
	if err != nil {
		return verify.Options{}, err
	}
	return verify.Options{Environment: d.Environment, Stack: stack, Variables: variables, AWS: cfg, Plan: planUnlocked(d),
		Credential: os.Getenv(d.Environment.Prefect.Authentication.Variable())}, nil
}

// exitCode ends the program with this status and without a further message.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("ended with status %d", int(e)) }

// environmentName returns the first argument, or dev. The path of an environment's file, as a shell
// completes it, stands for its name; one in another folder is no environment.
func environmentName(args []string) string {
	if len(args) == 0 {
		return "dev"
	}
	dir, name, ext := filepath.ToSlash(filepath.Dir(args[0])), filepath.Base(args[0]), filepath.Ext(args[0])
	if dir != "." && !strings.HasSuffix(dir, config.Dir) || ext != ".yaml" && ext != ".yml" {
		return args[0]
	}
	return strings.TrimSuffix(name, ext)
}

// waiting shows on stderr what is waited for: a line that is redrawn in a terminal, and
// in a file a line for each change.
func waiting(out io.Writer, limit time.Duration) func(verify.Report) {
	if limit == 0 {
		return nil
	}
	start := time.Now()
	last := ""
	redrawn := terminal.Is(out)
	return func(r verify.Report) {
		failure, failed := r.First()
		text := failure.Name + ": " + firstLine(failure.Detail)
		switch {
		case redrawn && (!failed || time.Since(start) >= limit):
			fmt.Fprint(out, "\r\033[K") // the report follows
		case redrawn:
			fmt.Fprintf(out, "\r\033[K%3.0f s of %s  %.100s", time.Since(start).Seconds(), limit, text)
		case failed && text != last:
			fmt.Fprintf(out, "%3.0f s of %s  %s\n", time.Since(start).Seconds(), limit, text)
		}
		last = text
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
