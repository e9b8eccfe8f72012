package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/base/atomicfile"
	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/ops/deployment"
)

func newPolicyCommand() *cobra.Command {
	var readOnly, adopt bool
	var account, dir string
	cmd := deploymentCommand("policy", "Print the IAM policy that deploying an environment needs",
		`Print the least-privilege IAM policy for deploying and destroying this environment; with
--read-only that for plan, verify, status and logs, and with --adopt that for adopt, which also
looks for resources without tags.

Resources with a name are granted by name, those with an id by the environment's tags, and roles
may be passed only to the services that use them. No AWS account is needed. A managed policy has
6144 characters at most: --out writes several, to be attached together.

A deployer decides what the worker's roles may do, and so could give them more permissions than its
own. iam.permissions_boundary_arn limits that: with it the policy allows roles to be created and
changed only within that boundary.

With assume_role_arn the policy is for that role, and the caller of Terraform and workerctl needs
only sts:AssumeRole on it. Terraform does not assume it for the state.`,
		func(cmd *cobra.Command, d *deployment.Deployment) error {
			env := d.Environment
			account = cmp.Or(account, env.AccountID, "*")
			if account == "*" {
				fmt.Fprintln(cmd.ErrOrStderr(), "note: the account is unknown and written as *; set account_id, or give --account")
			}
			stack, err := d.StackIn(cmd.Context(), account)
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
			for _, note := range assumptions(env) {
				fmt.Fprintln(cmd.ErrOrStderr(), "note: "+note)
			}
			parts := deployer.Parts(document)
			if dir != "" {
				return writePolicies(cmd, dir, env.Name+"-"+word, parts)
			}
			if len(parts) > 1 {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: it is longer than a managed policy may be; --out DIR splits it into %d\n", len(parts))
			}
			return writeJSON(cmd.OutOrStdout(), document)
		})
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "the policy for plan, verify, status and logs")
	cmd.Flags().BoolVar(&adopt, "adopt", false, "the policy for adopt, before the first deployment: --read-only and finding resources without tags")
	cmd.MarkFlagsMutuallyExclusive("read-only", "adopt")
	cmd.Flags().StringVar(&account, "account", "", "number of the account (default account_id)")
	cmd.Flags().StringVar(&dir, "out", "", "folder to write it to, as policies of the size that AWS takes")
	return cmd
}

// assumptions returns notes on whose policy it is, where that is not the caller of Terraform.
func assumptions(env *config.Environment) []string {
	var notes []string
	caller := "the caller of Terraform and workerctl"
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
