// Command workerctl is the operator's tool. It is thin: each subcommand calls one
// internal package.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/terraform/toolchain"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	if err := newRootCommand().ExecuteContext(ctx); err != nil {
		os.Exit(report(os.Stderr, err))
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "workerctl",
		Short:         "Set up, deploy, try out and verify the Prefect worker",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newSetupCommand(), newNewCommand(), newConfigCommand(), newVersionCommand(), newSynthCommand(), newPlanCommand(), newAdoptCommand(), newReviewCommand(), newCDKTFCommand(), newOutputCommand(), newLockCommand(), newPoolCommand(), newPolicyCommand(), newVerifyCommand(), newStatusCommand(), newRunsCommand(), newLogsCommand(), newOpenCommand(), newExecCommand(), newLocalCommand())
	root.SetHelpFunc(showHelp)
	return root
}

// writeJSON writes a document for programs, which a person can read too.
func writeJSON(out io.Writer, document any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(document)
}

// enterProject finds the project that the working directory is in and makes its folder the
// working directory, so that paths in messages are those that a person sees there.
func enterProject() (toolchain.Project, error) {
	project, err := toolchain.Find(".")
	if err != nil {
		return toolchain.Project{}, err
	}
	return project, os.Chdir(project.Root)
}

// report shows an error to a person and gives the exit status. Errors quote what somebody
// typed, which may be a key in the wrong place.
func report(out io.Writer, err error) int {
	var cli *toolchain.CLIError
	var problems config.Problems
	var silent exitCode
	var synth *toolchain.SynthError
	say := func(text string) { fmt.Fprintln(out, terminal.Wrap(text, terminal.Width(out))) }
	switch {
	case errors.As(err, &silent):
		return int(silent)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(out, "interrupted")
		return 130 // 128 + SIGINT, as shells have it
	case errors.As(err, &synth): // the program's own words
		say(synth.Error())
		return 1
	case errors.As(err, &problems):
		say(problems.Error())
		return 1
	case errors.As(err, &cli):
		if err != error(cli) { // by itself the CLI has said why, on this terminal
			say("workerctl: " + redact.Text(err.Error()))
		}
		return cli.Status
	default:
		say("workerctl: " + redact.Text(err.Error()))
		return 1
	}
}
