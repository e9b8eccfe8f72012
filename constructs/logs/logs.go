// Package logs builds the CloudWatch log group of the worker, or references an existing one.
package logs

import (
	"fmt"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawscloudwatchloggroups"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// Config says which log group New builds.
type Config struct {
	Logs config.Logs

	// Account is where the log group is.
	Account iam.Account

	// Protect keeps the log group from being destroyed.
	Protect bool
}

// Logs is what the rest of the stack needs of the log group, where the container's output goes.
type Logs struct {
	// Name is its name, and ARN its ARN.
	Name, ARN string
}

// New builds the log group.
func New(scope constructs.Construct, id string, cfg Config) *Logs {
	scope = constructs.NewConstruct(scope, &id)
	name := cfg.Logs.Group
	if cfg.Logs.Existing {
		tf.WithAddress(dataawscloudwatchloggroups.NewDataAwsCloudwatchLogGroups(scope, jsii.String("existing"), &dataawscloudwatchloggroups.DataAwsCloudwatchLogGroupsConfig{
			LogGroupNamePrefix: &name,
			Lifecycle: tf.Postconditions(tf.Rule{
				Condition: fmt.Sprintf("contains(self.log_group_names, %q)", name),
				Message:   fmt.Sprintf("There is no log group %s in this account and region. Name one that exists in logs.group, or remove logs.existing.", name),
			}),
		}), "data.aws_cloudwatch_log_groups.existing")
		return &Logs{Name: name, ARN: cfg.Account.Of("logs", "log-group:"+name)}
	}
	group := block.NewLogGroup(scope, "group", block.LogGroupConfig{Address: "worker", Name: name, RetentionDays: cfg.Logs.RetentionDays, KMSKeyARN: cfg.Logs.KMSKeyARN, Protect: cfg.Protect})
	return &Logs{Name: *tf.Name(group), ARN: *tf.ARN(group)}
}
