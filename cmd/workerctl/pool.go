package main

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/prefect/flowruns"
	"prefect-worker-ecs/internal/prefect/workpool"
)

func newPoolCommand() *cobra.Command {
	pool := &cobra.Command{Use: "pool", Short: "Make the Prefect work pool fit the deployment"}
	var dryRun bool
	apply := workerCommand("apply", "Create the work pool, and set the template of an ecs pool to where the worker runs",
		`Create the work pool with its queues if they are missing, and make the template of an ecs
pool say where flow tasks run: cluster, network, roles, log group, image, size, and with
Prefect 3 the secret with the API key.

What differs is shown before it is changed, and nothing else is touched. A second call
changes nothing. It reads AWS and Prefect as verify does, with the same credentials; the
Prefect credential needs a role that may change work pools.`,
		func(cmd *cobra.Command, opt verify.Options) error {
			return connected(cmd.Context(), opt, func(ctx context.Context, pool flowruns.Pool) error {
				return applyPool(ctx, cmd.OutOrStdout(), pool, opt.AWS, dryRun)
			})
		})
	apply.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change, and change nothing")
	pool.AddCommand(apply)
	return pool
}

func applyPool(ctx context.Context, out io.Writer, pool flowruns.Pool, cfg aws.Config, dryRun bool) (err error) {
	env := pool.Environment
	var wanted workpool.Wanted
	if env.WorkPool.FlowsAreTasks() {
		if wanted, err = workpool.Read(ctx, cfg, env); err != nil {
			return err
		}
	}
	plan, err := workpool.Prepare(ctx, pool.API, env.WorkPool, wanted)
	if err != nil {
		return err
	}
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
	if err := plan.Apply(ctx, pool.API); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The work pool %s fits the deployment now.\n", env.WorkPool.Name)
	return err
}
