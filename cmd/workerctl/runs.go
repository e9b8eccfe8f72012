package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/flowruns"
)

func newRunsCommand() *cobra.Command {
	var apiURL string
	var asJSON, dryRun bool
	runs := &cobra.Command{
		Use:   "runs [ENVIRONMENT]",
		Short: "List the flow runs that need a person: late, orphaned and lost ones (default: dev)",
		Long: `List the flow runs that need a person:

  late      due for more than a minute, and nobody has taken it
  orphaned  Pending, and the worker or task that took it is gone, or for longer than monitoring.pending_minutes (10)
  lost      Running, and the worker or task that ran it is gone

Prefect takes none of the last two back by itself, and a cancelled one would stay Cancelling.
"workerctl runs retry RUN" reschedules one, and "workerctl runs end RUN" sets it to Crashed.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withPool(cmd, args, apiURL, func(ctx context.Context, pool flowruns.Pool) error {
				return listRuns(ctx, cmd.OutOrStdout(), pool, asJSON)
			})
		},
	}
	runs.PersistentFlags().StringVar(&apiURL, "api-url", "", "address at which workerctl open makes the API of the in-stack Prefect server available, such as http://127.0.0.1:4200/api")
	runs.Flags().BoolVar(&asJSON, "json", false, "print JSON")

	// after adds a command that changes a run of which ECS says that it is over.
	after := func(name, short, long, done string, change func(ctx context.Context, api *api.Client, run, evidence string) error) {
		cmd := &cobra.Command{
			Use: name + " RUN [ENVIRONMENT]", Short: short, Long: long, Args: cobra.RangeArgs(1, 2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return withPool(cmd, args[1:], apiURL, func(ctx context.Context, pool flowruns.Pool) error {
					evidence, err := pool.Stopped(ctx, args[0])
					if err != nil {
						return err
					}
					fmt.Fprintln(cmd.OutOrStdout(), evidence)
					if dryRun {
						_, err := fmt.Fprintln(cmd.OutOrStdout(), "Nothing was changed (--dry-run).")
						return err
					}
					if err := change(ctx, pool.API, args[0], evidence); err != nil {
						return err
					}
					_, err = fmt.Fprintf(cmd.OutOrStdout(), done+"\n", args[0])
					return err
				})
			},
		}
		cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what became of the first attempt, and change nothing")
		runs.AddCommand(cmd)
	}
	after("retry", "Reschedule an orphaned or lost flow run, if the ECS task of its first attempt has stopped",
		`Reschedule a flow run that a worker took and did not finish, so that the next worker takes it.

A run whose first attempt still lives would run twice. So the ECS task that it ran in is looked at,
that of its worker or, with an ecs pool, its own: unless it has stopped the run is left alone.`,
		"The flow run %s waits for a worker again.",
		func(ctx context.Context, api *api.Client, run, _ string) error { return api.Reschedule(ctx, run) })
	after("end", "End an orphaned or lost flow run as crashed, if the ECS task of its first attempt has stopped",
		`Set a flow run that a worker took and did not finish to Crashed, so that it holds no slot any more.

"prefect flow-run cancel" would leave it Cancelling, because nothing is there that cancels it. Unless the
ECS task that it ran in has stopped, that of its worker or, with an ecs pool, its own, the run is left alone.`,
		"The flow run %s is Crashed.",
		func(ctx context.Context, api *api.Client, run, evidence string) error {
			return api.End(ctx, run, evidence)
		})
	return runs
}

// withPool calls f with the work pool of the environment of the arguments.
func withPool(cmd *cobra.Command, args []string, apiURL string, f func(context.Context, flowruns.Pool) error) error {
	opt, err := verifyOptions(cmd, args)
	if err != nil {
		return err
	}
	if opt.Environment.Server.Enabled {
		opt.Reach = reach(opt, apiURL)
	}
	return connected(cmd.Context(), opt, f)
}

// poolTimeout limits the calls of a command on a work pool, after the connection to it.
const poolTimeout = 10 * time.Second

// connected calls f with the work pool of an environment.
func connected(ctx context.Context, opt verify.Options, f func(context.Context, flowruns.Pool) error) error {
	client, done, err := verify.Connect(ctx, opt)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, poolTimeout)
	defer cancel()
	return f(ctx, flowruns.Pool{Environment: opt.Environment, API: client, ECS: ecs.NewFromConfig(opt.AWS)})
}

func listRuns(ctx context.Context, out io.Writer, pool flowruns.Pool, asJSON bool) error {
	runs, err := pool.List(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(out, append([]flowruns.Run{}, runs...)) // never null
	}
	if len(runs) == 0 {
		_, err := fmt.Fprintf(out, "No flow run of %s is late, orphaned or lost.\n", pool.Environment.WorkPool.Name)
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TROUBLE\tFOR\tRUN\tNAME\tWORKER\tTASK")
	for _, r := range runs {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Issue, pool.API.Now().Sub(r.Since).Round(time.Second), r.ID, r.Name, r.Worker, r.Task)
	}
	return table.Flush()
}
