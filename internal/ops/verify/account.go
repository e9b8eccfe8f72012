package verify

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/aws/query"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

type clients struct {
	query.Client
	autoscaling *applicationautoscaling.Client
	cloudwatch  *cloudwatch.Client
	discovery   *servicediscovery.Client
	ecs         *ecs.Client
	kms         *kms.Client
	logs        *cloudwatchlogs.Client
	secrets     *secretsmanager.Client
	sts         *sts.Client
}

func newClients(cfg aws.Config) clients {
	return clients{
		Client:      query.New(cfg),
		autoscaling: applicationautoscaling.NewFromConfig(cfg),
		cloudwatch:  cloudwatch.NewFromConfig(cfg),
		discovery:   servicediscovery.NewFromConfig(cfg),
		ecs:         ecs.NewFromConfig(cfg),
		kms:         kms.NewFromConfig(cfg),
		logs:        cloudwatchlogs.NewFromConfig(cfg),
		secrets:     secretsmanager.NewFromConfig(cfg),
		sts:         sts.NewFromConfig(cfg),
	}
}

// account checks which account the credentials are for, and places the stack there.
func (c *checklist) account(ctx context.Context) finding {
	if c.opt.AWS.Credentials == nil {
		return unknown("there are no AWS credentials", loginFix).prerequisite()
	}
	if _, err := c.opt.AWS.Credentials.Retrieve(ctx); err != nil {
		detail := "there are no AWS credentials"
		if !strings.Contains(err.Error(), "no EC2 IMDS role found") { // the last place that the SDK looks in
			detail += ": " + Reason(err)
		}
		return unknown(detail, loginFix).prerequisite()
	}
	identity, err := c.aws.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	switch {
	case is(err, badCredentials...):
		return unknown("AWS does not accept the credentials: "+Reason(err), loginFix).prerequisite()
	case err != nil:
		return unreadable("the caller identity", err).prerequisite()
	}
	account := aws.ToString(identity.Account)
	if account == "" {
		return unreadable("the caller identity", errEmpty).prerequisite()
	}
	if want := c.env.AccountID; want != "" && account != want {
		return unknown(fmt.Sprintf("the credentials are for account %s, the environment is for %s", account, want),
			"use credentials of the other account, or correct account_id").prerequisite()
	}
	partition := "aws"
	if parts := strings.Split(aws.ToString(identity.Arn), ":"); len(parts) > 1 {
		partition = parts[1]
	}
	c.stack, err = stackjson.Parse(c.opt.Stack, iam.Account{Partition: partition, Region: c.opt.AWS.Region, ID: account}, c.opt.Variables)
	if err != nil {
		return unknown(err.Error(), "run make synth").prerequisite()
	}
	return ok("%s in %s", account, c.opt.AWS.Region)
}
