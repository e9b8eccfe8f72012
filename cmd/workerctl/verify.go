package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/verify"
)

func newVerifyCommand() *cobra.Command {
	var wait time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [ENVIRONMENT]",
		Short: "Check that the worker runs flows: in AWS, in the Prefect API, in its log (default: dev)",
		Long: `Check that the worker runs flows: in AWS, in the Prefect API, in its log.

It uses the AWS credentials of the AWS CLI (AWS_PROFILE, AWS_ACCESS_KEY_ID, ...) and reads
the API key as the worker does, from Secrets Manager. The region is that of the
configuration, or TF_VAR_aws_region. The exit status is 0 only if all is well.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			env, err := environment(args)
			if err != nil {
				return err
			}
			cfg, err := awsconfig.LoadDefaultConfig(cmd.Context(), awsconfig.WithRegion(env.Region), awsconfig.WithRetryMaxAttempts(2))
			if err != nil {
				return fmt.Errorf("AWS configuration: %w", err)
			}
			opt := verify.Options{Environment: env, AWS: cfg}
			report := verify.Wait(cmd.Context(), opt, wait, waiting(wait))
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(os.Stdout)
				encoder.SetIndent("", "  ")
				encoder.SetEscapeHTML(false)
				if err := encoder.Encode(report); err != nil {
					return err
				}
			} else {
				report.Print(os.Stdout)
			}
			if !report.OK {
				return errReported
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "keep checking for this long until all is well, such as 5m")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// errReported ends the program with status 1 and without a further message.
var errReported = errors.New("reported")

// environment is the one that a command is for: the first argument, or dev. Its region is
// the one that deploy was told in the variable.
func environment(args []string) (*config.Environment, error) {
	if _, err := enterProject(); err != nil {
		return nil, err
	}
	name := "dev"
	if len(args) > 0 {
		name = args[0]
	}
	env, err := config.LoadOne(config.Dir, name)
	if region := os.Getenv("TF_VAR_aws_region"); err == nil && region != "" {
		env.Region = region
	}
	return env, err
}

// waiting shows on stderr what is waited for: a line that is redrawn in a terminal, and
// in a file a line for each change.
func waiting(limit time.Duration) func(verify.Report) {
	if limit == 0 {
		return nil
	}
	start := time.Now()
	last := ""
	terminal := term.IsTerminal(int(os.Stderr.Fd()))
	return func(r verify.Report) {
		failure, failed := r.FirstFailure()
		text := failure.Name + ": " + firstLine(failure.Detail)
		switch {
		case terminal && (!failed || time.Since(start) >= limit):
			fmt.Fprint(os.Stderr, "\r\033[K") // the report follows
		case terminal:
			fmt.Fprintf(os.Stderr, "\r\033[K%3.0f s of %s  %.100s", time.Since(start).Seconds(), limit, text)
		case failed && text != last:
			fmt.Fprintf(os.Stderr, "%3.0f s of %s  %s\n", time.Since(start).Seconds(), limit, text)
		}
		last = text
	}
}

func firstLine(text string) string {
	for i, r := range text {
		if r == '\n' {
			return text[:i]
		}
	}
	return text
}
