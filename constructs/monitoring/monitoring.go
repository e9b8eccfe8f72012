// Package monitoring builds the probe, a Lambda function that publishes the state of the work pool each
// minute as metrics, for alarms and scaling; alarms on these metrics and on those of AWS; and a dashboard.
package monitoring

import (
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/internal/aws/iam"
)

// Config says what New watches.
type Config struct {
	Environment *config.Environment

	// Account is where the worker runs.
	Account iam.Account

	// APIURL is the URL of the Prefect API, a Terraform reference.
	APIURL string

	// CredentialARN is the secret with the credential of the API, and CredentialFrom how a
	// container names it. Empty: the API needs none.
	CredentialARN, CredentialFrom string

	// ClusterARN is the cluster of the worker, and WorkerGroup its security group.
	ClusterARN  string
	WorkerGroup block.SecurityGroup

	// LogGroup is the name of the worker's log group.
	LogGroup string

	// SubnetIDs are private subnets with a way to AWS's APIs, for a probe in the VPC.
	SubnetIDs []string

	// DependsOn must exist before the probe can work.
	DependsOn []cdktf.ITerraformDependable
}

// New builds the probe, and where they are enabled the alarms and the dashboard.
func New(scope constructs.Construct, id string, cfg Config) {
	scope = constructs.NewConstruct(scope, &id)
	cfg.newProbe(scope)
	if !cfg.Environment.Monitoring.Enabled {
		return
	}
	topic := cfg.newTopic(scope)
	cfg.newEvents(scope, topic)
	cfg.newLogFilter(scope)
	var addresses []string
	for _, a := range cfg.alarms() {
		addresses = append(addresses, cfg.newAlarm(scope, a, topic))
	}
	cfg.newDashboard(scope, addresses)
}
