// Package restype is the table of the resource types that a stack may have: how one is found in AWS
// and imported, which permissions Terraform needs for it, what is lost with it. There is one file for
// each AWS service. Tests fail for a type of a golden stack that is missing (of package deployer) or incomplete here.
package restype

import (
	"slices"
	"strings"

	"prefect-worker-ecs/internal/aws/iam"
)

// Type is a type of resource, data source, ephemeral resource or backend.
type Type struct {
	// Name is Terraform's, such as aws_sqs_queue; with the prefix data., ephemeral. or backend. for
	// what is no resource.
	Name string
	// ARN is the pattern of its ARN if it can be computed from its name, as in Grant.On. Empty: only
	// AWS has it.
	ARN string
	// Find looks for one in AWS and returns the id with which Terraform imports it ("Import" on its
	// page in the provider's documentation).
	Find func(*Search, Resource) (string, error)
	// NotImported says why it is created whatever there is in AWS. Either this or Find is set.
	NotImported string
	// Loss is what its destruction takes along or cuts off, Nothing if nothing. It stands in a warning
	// behind "is destroyed: ".
	Loss string
	// Replaces are the arguments whose change destroys the resource and creates another one ("Forces new
	// resource" on its page in the provider's documentation), of those that the stacks have.
	Replaces []string
	// Options are the options of the configuration that set its arguments, by argument.
	Options map[string]string
	// Grants are the permissions that Terraform and workerctl need for it.
	Grants []Grant
}

// Nothing is the Loss of a type whose destruction does no harm.
const Nothing = "-"

// Grant is a set of actions on resources. Which actions support resource-level permissions and
// which condition keys is from the Service Authorization Reference, which a test of package deployer
// compares. Which actions the provider calls was observed: deployments with just these permissions
// are in the tests.
type Grant struct {
	// Read, Write and Find are actions of one service, separated by spaces. Those that only read are
	// in a read-only policy too, and those that find a resource in the policy for adopting.
	Read, Write, Find string
	// On are resources, separated by spaces, as patterns of ARNs without their first parts:
	// ecs:service/{cluster}/{name}. {name} is the argument of that name, or the name of the resource
	// that it refers to; where it stands alone, the ARNs that the argument holds. A pattern with an
	// argument that is not set is left out. Empty: the actions do not support resource-level
	// permissions.
	On string
	// When limits it further.
	When Condition
	// PassedTo is the service that a role is passed to, and Via the one that uses a key for the caller.
	PassedTo, Via string
}

// Condition limits a grant to what belongs to the environment.
type Condition int

// The conditions.
const (
	// Tagged: the request gives the created resource the tags of the environment.
	Tagged Condition = iota + 1
	// Untagged: the request gives the tags of the environment to a resource that belongs to none.
	Untagged
	// AtCreation: the request tags a resource while it is created, and no other.
	AtCreation
	// Own: the resource has the tags of the environment.
	Own
	// InCluster: the request is about the cluster of the argument cluster.
	InCluster
	// Bounded: the role has the permissions boundary of the environment, if there is one.
	Bounded
	// ThatPolicy: the attached policy is the one of the argument policy_arn.
	ThatPolicy
)

// readOnly are the actions on all resources of the types for which Terraform needs no others, or none at all.
var readOnly = map[string]string{
	"backend.local":                                "",
	"data.aws_availability_zones":                  "ec2:DescribeAvailabilityZones",
	"data.aws_caller_identity":                     "",
	"data.aws_cloudwatch_log_groups":               "logs:DescribeLogGroups",
	"data.aws_ecs_clusters":                        "ecs:ListClusters",
	"data.aws_partition":                           "",
	"data.aws_route_table":                         "ec2:DescribeRouteTables",
	"data.aws_route_tables":                        "ec2:DescribeRouteTables",
	"data.aws_subnet":                              "ec2:DescribeSubnets",
	"data.aws_vpc_endpoint":                        "ec2:DescribeVpcEndpoints",
	"ephemeral.aws_secretsmanager_random_password": "secretsmanager:GetRandomPassword",
}

var all = func() map[string]Type {
	types := map[string]Type{}
	for name, actions := range readOnly {
		types[name] = Type{Name: name, Grants: []Grant{{Read: actions}}}
	}
	for _, t := range slices.Concat(applicationautoscalingTypes, cloudwatchTypes, ec2Types, ecsTypes, eventsTypes, iamTypes, lambdaTypes, logsTypes, rdsTypes,
		s3Types, schedulerTypes, secretsmanagerTypes, servicediscoveryTypes, snsTypes, sqsTypes) {
		types[t.Name] = t
	}
	return types
}()

// Of returns the type of a name, and whether the table has it.
func Of(name string) (Type, bool) {
	t, ok := all[name]
	return t, ok
}

// ARN returns the ARN of a pattern as in Grant.On, without arguments in braces, in an account. Some
// services have no region or account in their ARNs ("Resource types defined by" each service in the
// Service Authorization Reference).
func ARN(in iam.Account, pattern string) string {
	service, resource, _ := strings.Cut(pattern, ":")
	switch {
	case service == "iam", service == "cloudwatch" && strings.HasPrefix(resource, "dashboard/"):
		in.Region = ""
	case service == "route53", service == "s3":
		in.Region, in.ID = "", ""
	}
	return in.Of(service, resource)
}
