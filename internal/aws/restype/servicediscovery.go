package restype

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	discoverytypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

// servicediscoveryTypes are those of Cloud Map.
var servicediscoveryTypes = []Type{
	{
		Name:     "aws_service_discovery_private_dns_namespace",
		Find:     inVPC("vpc", (*Search).namespace),
		Loss:     "names in it are gone until it is there again",
		Replaces: []string{"name", "vpc"},
		Grants: []Grant{
			{Read: "servicediscovery:GetNamespace", On: "servicediscovery:namespace/*", When: Own},
			{Find: "servicediscovery:ListNamespaces servicediscovery:ListServices"},
			{Find: "route53:GetHostedZone", On: "route53:hostedzone/*"},
			// The operation that makes a namespace is about none yet.
			{Read: "servicediscovery:GetOperation servicediscovery:ListTagsForResource"},
			{Write: "servicediscovery:CreatePrivateDnsNamespace servicediscovery:TagResource", When: Tagged},
			{Write: "servicediscovery:UpdatePrivateDnsNamespace servicediscovery:DeleteNamespace", On: "servicediscovery:namespace/*", When: Own},
			{Write: "servicediscovery:UntagResource"},
			// Cloud Map makes the hosted zone with the permissions of the caller.
			{Write: "route53:CreateHostedZone route53:ListHostedZonesByName"},
			{Write: "route53:GetHostedZone route53:DeleteHostedZone", On: "route53:hostedzone/*"},
			{Write: "ec2:DescribeVpcs ec2:DescribeRegions"},
		},
	},
	{
		Name:     "aws_service_discovery_service",
		Find:     (*Search).discoveryService,
		Loss:     Nothing,
		Replaces: []string{"name"},
		Grants: []Grant{
			// verify: whether the task of the Prefect server is registered.
			{Read: "servicediscovery:GetService servicediscovery:ListInstances", On: "servicediscovery:service/*", When: Own},
			{Find: "servicediscovery:ListServices"},
			{Read: "servicediscovery:ListTagsForResource"},
			{Write: "servicediscovery:CreateService", On: "servicediscovery:namespace/*", When: Own},
			{Write: "servicediscovery:CreateService", On: "servicediscovery:service/*", When: Tagged},
			{Write: "servicediscovery:UpdateService servicediscovery:DeleteService", On: "servicediscovery:service/*", When: Own},
		},
	},
}

// namespace returns the namespace of the name in the VPC: other VPCs may have the same.
func (f *Search) namespace(r Resource, vpc string) (string, error) {
	pages := servicediscovery.NewListNamespacesPaginator(servicediscovery.NewFromConfig(f.cfg), &servicediscovery.ListNamespacesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(f.Context)
		if err != nil {
			return "", err
		}
		for _, n := range page.Namespaces {
			if n.Type != discoverytypes.NamespaceTypeDnsPrivate || aws.ToString(n.Name) != r.text("name") || n.Properties == nil || n.Properties.DnsProperties == nil {
				continue
			}
			vpcs, err := f.aws.ZoneVPCs(f.Context, aws.ToString(n.Properties.DnsProperties.HostedZoneId))
			if err != nil {
				return "", err
			}
			if slices.Contains(vpcs, vpc) {
				return aws.ToString(n.Id) + ":" + vpc, nil
			}
		}
	}
	return "", errNone
}

func (f *Search) discoveryService(r Resource) (string, error) {
	config, _ := r.arguments["dns_config"].(map[string]any)
	namespace, err := f.id(config["namespace_id"])
	if err != nil {
		return "", err
	}
	namespace, _, _ = strings.Cut(namespace, ":") // it is imported with its VPC
	out, err := servicediscovery.NewFromConfig(f.cfg).ListServices(f.Context, &servicediscovery.ListServicesInput{
		Filters: []discoverytypes.ServiceFilter{{Name: discoverytypes.ServiceFilterNameNamespaceId, Values: []string{namespace}}}})
	if err != nil {
		return "", err
	}
	for _, s := range out.Services {
		if aws.ToString(s.Name) == r.text("name") {
			return aws.ToString(s.Id), nil
		}
	}
	return "", errNone
}
