package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/prefect/workpool"
)

func newPoolCommand() *cobra.Command {
	pool := &cobra.Command{Use: "pool", Short: "Make the Prefect work pool fit the deployment"}
	var dryRun bool
	apply := &cobra.Command{
		Use:   "apply [ENVIRONMENT]",
		Short: "Create the work pool, and set the template of an ecs pool to where the worker runs (default: dev)",
		Long: `Create the work pool with its queues if they are missing, and make the template of an ecs
pool say where flow tasks run: cluster, network, roles, log group, image, size, and with
Prefect 3 the secret with the API key.

What differs is shown before it is changed, and nothing else is touched. A second call
changes nothing. It reads AWS and Prefect as verify does, with the same credentials; the
Prefect credential needs a role that may change work pools.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt, err := verifyOptions(cmd, args)
			if err != nil {
				return err
			}
			return applyPool(cmd, opt, dryRun)
		},
	}
	apply.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change, and change nothing")
	pool.AddCommand(apply)
	return pool
}

func applyPool(cmd *cobra.Command, opt verify.Options, dryRun bool) error {
	env := opt.Environment
	api, done, err := verify.Connect(cmd.Context(), opt)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(cmd.Context(), poolTimeout)
	defer cancel()
	var wanted workpool.Wanted
	if env.WorkPool.FlowsAreTasks() {
		if wanted, err = workpool.Read(ctx, opt.AWS, env); err != nil {
			return err
		}
	}
	plan, err := workpool.Prepare(ctx, api, env.WorkPool, wanted)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if plan.Empty() {
		_, err := fmt.Fprintf(out, "The work pool %s fits the deployment; nothing was changed.\n", env.WorkPool.Name)
		return err
	}
	for _, line := range plan.Lines() {
		fmt.Fprintln(out, line)
	}
	if dryRun {
		_, err := fmt.Fprintln(out, "Nothing was changed (--dry-run).")
		return err
	}
	if err := plan.Apply(ctx, api); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The work pool %s fits the deployment now.\n", env.WorkPool.Name)
	return err
}
