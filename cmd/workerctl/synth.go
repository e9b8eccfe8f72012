package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/terraform/toolchain"
)

func newSynthCommand() *cobra.Command {
	var built bool
	cmd := &cobra.Command{
		Use:   "synth",
		Short: "Write the Terraform JSON of all environments to cdktf.out, with Go and Node alone",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			project, err := enterProject()
			if err != nil {
				return err
			}
			written, err := synthesize(cmd.Context(), project, built)
			for _, file := range written {
				fmt.Fprintln(cmd.OutOrStdout(), "wrote "+file)
			}
			return err
		},
	}
	builtFlag(cmd, &built)
	return cmd
}

// program is the path of the built program.
func program(ctx context.Context, project toolchain.Project, built bool) (string, error) {
	if built {
		return project.Program(), nil
	}
	return project.Build(ctx)
}

// builtFlag adds the flag with which make says that it has just built the program.
func builtFlag(cmd *cobra.Command, built *bool) {
	cmd.Flags().BoolVar(built, "built", false, "the program is built and new")
	_ = cmd.Flags().MarkHidden("built")
}

// synthesize writes cdktf.out and returns the files with the stacks, as a person at the
// project's folder names them.
func synthesize(ctx context.Context, project toolchain.Project, built bool) ([]string, error) {
	app, err := program(ctx, project, built)
	if err != nil {
		return nil, err
	}
	if err := project.SynthInto(ctx, os.Environ(), app, project.Root, project.Out()); err != nil {
		return nil, err
	}
	envs, err := config.Load(config.Dir)
	if err != nil {
		return nil, err
	}
	var written []string
	for _, env := range envs {
		written = append(written, toolchain.StackFile("cdktf.out", env.Name))
	}
	return written, project.PlaceInputs(project.Root)
}
