package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/base/atomicfile"
	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/terraform/stackjson"
	"prefect-worker-ecs/internal/terraform/toolchain"
)

func newPolicyCommand() *cobra.Command {
	var readOnly, adopt bool
	var account, dir string
	cmd := &cobra.Command{
		Use:   "policy [ENVIRONMENT]",
		Short: "Print the IAM policy that deploying an environment needs (default: dev)",
		Long: `Print the IAM policy that whoever deploys and destroys this environment needs, and nothing
beyond it; with --read-only what plan, diff, verify, status and logs need, and with --adopt what
adopt needs beside, to find what has no tags yet.

What has a name is granted by its name, what AWS gives an id to by the environment's tags, and
roles may be handed to the services that use them only. It needs no AWS account. A managed
policy has 6144 characters at most: --out writes it as several, to be attached together.

Who may deploy decides what the worker's roles may do, and so may give them more than he has
himself. iam.permissions_boundary_arn sets a limit to that: with it the policy lets roles be
made and changed only within that boundary.

With assume_role_arn the policy belongs to that role, and who calls Terraform and workerctl needs
no more than sts:AssumeRole on it. Terraform does not take it on for the state.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := enterProject()
			if err != nil {
				return err
			}
			env, err := config.LoadOne(config.Dir, environmentName(args))
			if err != nil {
				return err
			}
			variables := toolchain.ReadVariables(project.Root, os.Environ())
			env, problems := env.WithVariables(variables.Lookup)
			if len(problems) > 0 {
				return problems
			}
			if account == "" {
				account = env.AccountID
			}
			if account == "" {
				account = "*"
				fmt.Fprintln(cmd.ErrOrStderr(), "note: the account is not known, and a * stands for it; set account_id, or give --account")
			}
			file, err := project.Synth(cmd.Context(), project.Root, env.Name)
			if err != nil {
				return err
			}
			stack, err := stackjson.Parse(file, stackjson.Place{Partition: env.Partition(), Region: env.Region, Account: account}, nil)
			if err != nil {
				return err
			}
			purpose, word := deployer.Deploy, "deploy"
			switch {
			case readOnly:
				purpose, word = deployer.Read, "read"
			case adopt:
				purpose, word = deployer.Adopt, "adopt"
			}
			document, err := deployer.Policy(stack, purpose)
			if err != nil {
				return err
			}
			for _, note := range whose(env) {
				fmt.Fprintln(cmd.ErrOrStderr(), "note: "+note)
			}
			parts := deployer.Parts(document)
			if dir != "" {
				return writePolicies(cmd, dir, env.Name+"-"+word, parts)
			}
			if len(parts) > 1 {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: it is longer than a managed policy may be; --out DIR writes it as %d\n", len(parts))
			}
			return writeJSON(cmd.OutOrStdout(), document)
		},
	}
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "what plan, diff, verify, status and logs need")
	cmd.Flags().BoolVar(&adopt, "adopt", false, "what adopt needs before the first deployment: --read-only, and to find what there is")
	cmd.MarkFlagsMutuallyExclusive("read-only", "adopt")
	cmd.Flags().StringVar(&account, "account", "", "number of the account (default account_id)")
	cmd.Flags().StringVar(&dir, "out", "", "folder to write it to, as policies of the size that AWS takes")
	return cmd
}

// whose says to whom the policy belongs, where that is not who calls Terraform.
func whose(env *config.Environment) []string {
	var notes []string
	caller := "who calls Terraform and workerctl"
	if role := env.AssumeRoleARN; role != "" {
		notes = append(notes, fmt.Sprintf("it is the policy of the role %s, on which %s needs sts:AssumeRole", role, caller))
	}
	if role := env.Backend.AssumeRoleARN; role != "" {
		notes = append(notes, fmt.Sprintf("what it says of s3 and its key is for the role %s, on which %s needs sts:AssumeRole", role, caller))
	} else if env.Backend.Type == config.BackendS3 && env.AssumeRoleARN != "" {
		notes = append(notes, "what it says of s3 and its key is for "+caller)
	}
	return notes
}

func writePolicies(cmd *cobra.Command, dir, name string, parts []iam.Document) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the policies: %w", err)
	}
	for i, part := range parts {
		file := filepath.Join(dir, fmt.Sprintf("%s-%d.json", name, i+1))
		var text bytes.Buffer
		if err := writeJSON(&text, part); err != nil {
			return err
		}
		if err := atomicfile.Write(file, text.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write the policies: %w", err)
		}
		fmt.Fprintln(cmd.OutOrStdout(), "wrote "+file)
	}
	return nil
}
