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
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/terraform/terraform"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
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
	root.PersistentFlags().Bool(builtFlag, false, "the program is built from what is in the checkout")
	_ = root.PersistentFlags().MarkHidden(builtFlag) // it is there
	for _, group := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Configure:", []*cobra.Command{newSetupCommand(), newNewCommand(), newConfigCommand(), newSynthCommand(), newReviewCommand(), newPolicyCommand(), newLockCommand()}},
		{"Deploy:", []*cobra.Command{newAdoptCommand(), newPlanCommand(), newDeployCommand(), newOutputCommand(), newPoolCommand(), newDestroyCommand()}},
		{"Operate:", []*cobra.Command{newVerifyCommand(), newStatusCommand(), newRunsCommand(), newLogsCommand(), newOpenCommand(), newExecCommand()}},
		{"Try it on this machine:", []*cobra.Command{newLocalCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, command := range group.commands {
			command.GroupID = group.title
			completeEnvironments(command)
			root.AddCommand(command)
		}
	}
	root.AddCommand(newVersionCommand())
	root.SetHelpFunc(showHelp)
	return root
}

// completeEnvironments lets the shell complete the environments of a command and its subcommands.
func completeEnvironments(command *cobra.Command) {
	isEnvironment := func(word string) bool { return strings.Contains(word, "ENVIRONMENT") }
	if place := slices.IndexFunc(strings.Fields(command.Use), isEnvironment) - 1; place >= 0 { // after the command
		command.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			p, err := project.Find(".")
			switch {
			case len(args) < place: // the file of a flow
				return nil, cobra.ShellCompDirectiveDefault
			case err != nil || len(args) > place:
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			files, _ := filepath.Glob(filepath.Join(p.Root, config.Dir, "*.y*ml")) // the pattern is valid
			for i, file := range files {
				files[i] = environmentName([]string{filepath.Join(config.Dir, filepath.Base(file))})
			}
			return files, cobra.ShellCompDirectiveNoFileComp
		}
	}
	for _, sub := range command.Commands() {
		completeEnvironments(sub)
	}
}

// writeJSON writes a document for programs, which a person can read too.
func writeJSON(out io.Writer, document any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(document)
}

// report shows an error and returns the exit status. Errors quote user input, which may be
// a key in the wrong place.
func report(out io.Writer, err error) int {
	var failed *terraform.Error
	var problems config.Problems
	var silent exitCode
	var synth *project.SynthError
	say := func(text string) { fmt.Fprintln(out, terminal.Wrap(text, terminal.Width(out))) }
	switch {
	case errors.As(err, &silent):
		return int(silent)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(out, "interrupted")
		return 130 // 128 + SIGINT, as shells have it
	case errors.As(err, &synth): // the program's own words
		say(synth.Error())
	case errors.As(err, &problems):
		say(problems.Error())
	case errors.As(err, &failed) && failed.Output == "": // Terraform has printed why
		if failed.Fix != "" {
			fmt.Fprintln(out, "workerctl: "+failed.Fix)
		}
	default:
		say("workerctl: " + redact.Text(err.Error()))
	}
	return 1
}
