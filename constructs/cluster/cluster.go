// Package cluster builds the ECS cluster of the services with its namespace, or references an
// existing cluster. It is tested by TestEachOption in main_test.go.
package cluster

import (
	"fmt"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawsecsclusters"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecscluster"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecsclustercapacityproviders"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/servicediscoveryprivatednsnamespace"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// Config says which cluster New builds.
type Config struct {
	Cluster config.Cluster

	// Account is where the cluster is.
	Account iam.Account

	// VPCID is the VPC of the namespace.
	VPCID string

	// Spot adds the capacity provider FARGATE_SPOT, unless the cluster exists: others use it too.
	Spot bool
}

// Cluster is what services need of their cluster.
type Cluster struct {
	ID, ARN, Name string
	// NamespaceID is the id of the Cloud Map namespace. Empty: there is none.
	NamespaceID string
	// Ready must exist before a service of the cluster.
	Ready []cdktf.ITerraformDependable
}

// New builds the cluster.
func New(scope constructs.Construct, id string, cfg Config) *Cluster {
	scope = constructs.NewConstruct(scope, &id)
	c := newCluster(scope, cfg)
	if cfg.Cluster.Namespaced() {
		namespace := tf.WithAddress(servicediscoveryprivatednsnamespace.NewServiceDiscoveryPrivateDnsNamespace(scope, jsii.String("namespace"), &servicediscoveryprivatednsnamespace.ServiceDiscoveryPrivateDnsNamespaceConfig{
			Name:        &cfg.Cluster.Namespace,
			Description: jsii.String("Names of services in the VPC of the Prefect worker"),
			Vpc:         &cfg.VPCID,
		}), "aws_service_discovery_private_dns_namespace.main")
		c.NamespaceID = *tf.ID(namespace)
	}
	if cfg.Spot && !cfg.Cluster.Existing {
		providers := tf.WithAddress(ecsclustercapacityproviders.NewEcsClusterCapacityProviders(scope, jsii.String("capacity-providers"), &ecsclustercapacityproviders.EcsClusterCapacityProvidersConfig{
			ClusterName:       &c.Name,
			CapacityProviders: jsii.Strings("FARGATE", "FARGATE_SPOT"),
		}), "aws_ecs_cluster_capacity_providers.main")
		c.Ready = append(c.Ready, providers.Element)
	}
	return c
}

func newCluster(scope constructs.Construct, cfg Config) *Cluster {
	name := cfg.Cluster.Name
	if cfg.Cluster.Existing {
		tf.WithAddress(dataawsecsclusters.NewDataAwsEcsClusters(scope, jsii.String("existing-clusters"), &dataawsecsclusters.DataAwsEcsClustersConfig{
			Lifecycle: tf.Postconditions(tf.Rule{
				Condition: fmt.Sprintf(`anytrue([for arn in self.cluster_arns : endswith(arn, ":cluster/%s")])`, name),
				Message:   fmt.Sprintf("There is no ECS cluster %s in this account and region. Name one that exists in cluster.name, or remove cluster.existing.", name),
			}),
		}), "data.aws_ecs_clusters.existing")
		arn := cfg.Account.Of("ecs", "cluster/"+name)
		return &Cluster{ID: arn, ARN: arn, Name: name}
	}
	insights := "disabled"
	if cfg.Cluster.ContainerInsights {
		insights = "enabled"
	}
	cluster := tf.WithAddress(ecscluster.NewEcsCluster(scope, jsii.String("cluster"), &ecscluster.EcsClusterConfig{
		Name: &name,
		Setting: []*ecscluster.EcsClusterSetting{{
			Name:  jsii.String("containerInsights"),
			Value: &insights,
		}},
	}), "aws_ecs_cluster.main")
	return &Cluster{ID: *tf.ID(cluster), ARN: *tf.ARN(cluster), Name: *tf.Name(cluster)}
}
