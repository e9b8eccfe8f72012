package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/ops/plan"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/terraform/terraform"
)

func newDeployCommand() *cobra.Command {
	return changeCommand(change{
		use:    "deploy",
		short:  "Create or change the AWS resources: plan, approval, apply",
		prompt: "Make these changes in AWS?",
	})
}

func newDestroyCommand() *cobra.Command {
	return changeCommand(change{
		use:    "destroy",
		short:  "Remove the AWS resources: plan, approval, apply",
		prompt: "Destroy these resources? There is no way back.",
		flags:  []string{"-destroy"},
		check:  protected,
	})
}

// change is a command that changes AWS.
type change struct {
	use, short, prompt string
	// flags of `terraform plan`.
	flags []string
	// check, if set, fails where an environment may not be changed so.
	check func(*config.Environment) error
}

func changeCommand(c change) *cobra.Command {
	var approved bool
	cmd := deploymentCommand(c.use, c.short,
		c.short+`.

Terraform's plan is shown, with a warning where data is lost or the worker is cut off, and applied
as it was shown. At Ctrl-C Terraform finishes the requests in flight and saves the state; the
command can be repeated.`,
		func(cmd *cobra.Command, d *deployment.Deployment) error {
			if !approved && !terminal.Is(cmd.InOrStdin()) {
				return errors.New("there is no terminal to approve the changes at; run it in one, or add AUTO_APPROVE=1 to make (--auto-approve to workerctl)")
			}
			if c.check != nil {
				if err := c.check(d.Environment); err != nil {
					return err
				}
			}
			stack, err := readyForTerraform(cmd, d)
			if err != nil {
				return err
			}
			return c.run(cmd, d, stack, approved)
		})
	cmd.Flags().BoolVar(&approved, "auto-approve", false, "do not ask for approval")
	return cmd
}

func (c change) run(cmd *cobra.Command, d *deployment.Deployment, stack terraform.Stack, approved bool) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	plain := plainFlags(out)
	saved, err := stack.SavePlan(ctx, out, cmd.ErrOrStderr(), append(plain, c.flags...)...)
	if err != nil {
		return err
	}
	defer saved.Remove()
	planned, err := saved.Read(ctx)
	if err != nil {
		return err
	}
	report := plan.Plan(d.Environment.Name, planned)
	if report.Empty() {
		return nil // Terraform has said so
	}
	if action := report.StopsWorker(); action != "" {
		report.Warnings = append(report.Warnings, interruption(cmd, d, action == plan.Change)...)
	}
	for _, warning := range report.Warnings {
		fmt.Fprintln(out, "warning: "+warning)
	}
	if !approved {
		fmt.Fprintf(out, "\n%s Only 'yes' is accepted: ", c.prompt)
		answer, err := readLine(ctx, cmd.InOrStdin())
		if err != nil {
			return err
		}
		if answer != "yes" {
			return errors.New("not approved; nothing was changed")
		}
	}
	if err := saved.Apply(ctx, out, cmd.ErrOrStderr(), plain...); err != nil {
		return err
	}
	if c.use == "deploy" && d.Environment.Worker.ProtectRuns {
		fmt.Fprintf(out, "\nTasks that have flow runs finish them before ECS replaces them; this does not wait for it. Whether the new ones run: workerctl verify %s --wait 5m\n", d.Environment.Name)
	}
	return nil
}

// interruption returns a warning of the flow runs that end with the tasks of the worker, if there are any. byECS says
// that ECS replaces the tasks of a service that stays.
func interruption(cmd *cobra.Command, d *deployment.Deployment, byECS bool) []string {
	opt, err := optionsOf(cmd.Context(), d)
	var warning string
	if err == nil {
		if opt.Environment.Server.Enabled {
			opt.Reach = reach(opt, "")
		}
		warning, err = verify.Interruption(cmd.Context(), opt, byECS)
	}
	switch {
	case err != nil:
		return []string{"the tasks of the worker are stopped, and whether flow runs end with them could not be read: " + redact.Text(err.Error())}
	case warning != "":
		return []string{warning}
	}
	return nil
}

// plainFlags returns the flags of Terraform for an output that is no terminal.
func plainFlags(out io.Writer) []string {
	if terminal.Is(out) {
		return nil
	}
	return []string{"-no-color"}
}

// readLine reads a line, unless ctx ends before there is one.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(in).ReadString('\n') // the end of the input is no approval
		line <- strings.TrimSpace(text)
	}()
	select {
	case text := <-line:
		return text, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// protected returns an error where Terraform would stop, half-way through its plan and in its own words.
func protected(env *config.Environment) error {
	if !env.Protect {
		return nil
	}
	keeps := "network, secret and log group"
	if env.Server.Enabled && env.Server.OwnDatabase() {
		keeps = "network, secrets, log group and database"
	}
	return fmt.Errorf("%s is protected, and with it its %s: nothing was destroyed. To take it down, remove protect from config/environments/%[1]s.yaml and call this again; nothing has to be deployed in between", env.Name, keeps)
}

// readyForTerraform checks, before anything starts, what Terraform needs, and synthesizes the stack.
func readyForTerraform(cmd *cobra.Command, d *deployment.Deployment) (terraform.Stack, error) {
	warnOfFiles(cmd.ErrOrStderr(), d.Variables)
	if err := project.ToolsInstalled(); err != nil {
		return terraform.Stack{}, err
	}
	if err := d.CheckCredentials(cmd.Context()); err != nil {
		return terraform.Stack{}, err
	}
	if err := d.Synthesize(cmd.Context()); err != nil {
		return terraform.Stack{}, err
	}
	return d.Terraform()
}

// warnOfFiles says where a file of values wins over a variable that the user has set:
// silently, so that with a forgotten file an old key is deployed.
func warnOfFiles(out io.Writer, variables project.Variables) {
	for _, a := range variables {
		for _, over := range a.Over {
			if strings.HasPrefix(over, "TF_VAR_") {
				fmt.Fprintf(out, "note: %s sets %s too, and wins over %s\n", a.From, a.Name, over)
			}
		}
	}
}
