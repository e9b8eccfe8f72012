package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/ops/tunnel"
	"prefect-worker-ecs/internal/ops/verify"
)

func newOpenCommand() *cobra.Command {
	port := config.ServerPort
	var noBrowser bool
	cmd := workerCommand("open", "Open Prefect and the AWS consoles; the in-stack Prefect server until Ctrl-C",
		`Print the addresses of Prefect and of the service, log and dashboard in the AWS console, and
open them in the browser, where there is a desktop.

The in-stack Prefect server (server.enabled) has no public address. For it this opens a
port-forwarding session of AWS Systems Manager to its task, until Ctrl-C, which needs the AWS CLI
with the Session Manager plugin, and rights for ssm:StartSession, ecs:ListTasks and
ecs:DescribeTasks.`,
		func(cmd *cobra.Command, opt verify.Options) error {
			env, out := opt.Environment, cmd.OutOrStdout()
			pages, err := consoles(opt)
			if err != nil {
				return err
			}
			if !env.Server.Enabled {
				if ui := env.Prefect.UIURL(); ui != "" {
					pages = append([]page{{"Prefect", ui}}, pages...)
				} else {
					fmt.Fprintln(cmd.ErrOrStderr(), "note: the Prefect API is not known; set TF_VAR_prefect_account_id and TF_VAR_prefect_workspace_id, or TF_VAR_prefect_api_url")
				}
				return showPages(out, pages, noBrowser)
			}
			if err := showPages(out, pages, noBrowser); err != nil {
				return err
			}
			t, err := tunnel.Open(cmd.Context(), wayTo(opt, port))
			if err != nil {
				return err
			}
			defer t.Close()
			if err := showPages(out, []page{{"Prefect", t.URL}}, noBrowser); err != nil {
				return err
			}
			fmt.Fprintf(out, "  API             %s/api\n", t.URL)
			if env.Prefect.Authentication == config.AuthBasic {
				secret := cmp.Or(env.Secret.ExistingARN, env.Secret.Name)
				fmt.Fprintf(out, "  user:password   aws secretsmanager get-secret-value --secret-id %s --region %s --query SecretString --output text\n"+
					"                  (the prefect command takes both in PREFECT_API_AUTH_STRING)\n", secret, env.Region)
			} else {
				fmt.Fprintln(out, "  user:password   none: Prefect 2 has no authentication")
			}
			fmt.Fprintln(out, "Ctrl-C closes it.")
			select {
			case <-cmd.Context().Done():
				return nil // Ctrl-C
			case <-t.Ended():
				return errors.New("the session has ended: AWS closes one that is idle for 20 minutes, and the task may have been replaced; open it again")
			}
		})
	cmd.Flags().IntVar(&port, "port", port, "port of this machine for the in-stack Prefect server")
	noBrowserFlag(cmd, &noBrowser)
	return cmd
}

// wayTo leads to the Prefect server of an environment.
func wayTo(opt verify.Options, port int) tunnel.Options {
	return tunnel.Options{AWS: opt.AWS, Cluster: opt.Environment.Cluster.Name, Service: opt.Environment.Server.Name,
		RemotePort: config.ServerPort, LocalPort: port, Path: "/api/health"}
}

// reach opens a connection to the API for the checks: to the address that was given, or by a session.
func reach(opt verify.Options, apiURL string) func(context.Context) (string, func(), error) {
	return func(ctx context.Context) (string, func(), error) {
		if apiURL != "" {
			return apiURL, func() {}, nil
		}
		if poll.Answers(ctx, opt.Environment.Prefect.APIURL+"/health") {
			return opt.Environment.Prefect.APIURL, func() {}, nil // inside of the VPC
		}
		t, err := tunnel.Open(ctx, wayTo(opt, 0))
		if err != nil {
			return "", nil, err
		}
		return t.URL + "/api", func() { _ = t.Close() }, nil
	}
}
