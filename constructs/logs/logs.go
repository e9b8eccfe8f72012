// Package logs builds the CloudWatch log group of the worker.
package logs

import (
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatchloggroup"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/tf"
)

// Config says which log group New builds.
type Config struct {
	Logs config.Logs
}

// Logs is what the rest of the stack needs of the log group.
type Logs struct {
	// Group is the log group where the container's output goes.
	Group tf.Fixed[cloudwatchloggroup.CloudwatchLogGroup]
}

// New builds the log group.
func New(scope constructs.Construct, id string, cfg Config) *Logs {
	scope = constructs.NewConstruct(scope, &id)
	return &Logs{
		Group: tf.Fix(cloudwatchloggroup.NewCloudwatchLogGroup(scope, jsii.String("group"), &cloudwatchloggroup.CloudwatchLogGroupConfig{
			Name:            &cfg.Logs.Group,
			RetentionInDays: jsii.Number(cfg.Logs.RetentionDays),
			KmsKeyId:        tf.Optional(cfg.Logs.KMSKeyARN),
		}), "aws_cloudwatch_log_group.worker"),
	}
}
