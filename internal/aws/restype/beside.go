package restype

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	discoverytypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"

	"prefect-worker-ecs/internal/aws/query"
)

// Beside returns, in sentences, what AWS has in or on the found resources that is not in the stack, and that
// therefore stays: AWS deletes no VPC, namespace or role before it.
func (f *Search) Beside() (all []string, err error) {
	for _, look := range []struct {
		kind string
		look func(id string) ([]string, error)
	}{
		{"aws_vpc", f.groupsBeside},
		{"aws_vpc", f.flowLogsBeside},
		{"aws_service_discovery_private_dns_namespace", f.servicesBeside},
		{"aws_iam_role", f.policiesBeside},
	} {
		for _, name := range f.Stack.Names(look.kind) {
			id := f.ids[look.kind+"."+name]
			if id == "" {
				continue
			}
			found, err := look.look(id)
			if err != nil {
				return nil, fmt.Errorf("look for what is beside %s.%s in AWS: %w", look.kind, name, err)
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

func (f *Search) groupsBeside(vpc string) (all []string, err error) {
	groups, err := f.aws.ec2.SecurityGroups(f.Context, query.Filters("vpc-id", vpc))
	for _, g := range groups {
		if g.Name != "default" && !f.taken["aws_security_group "+g.ID] {
			all = append(all, fmt.Sprintf("the security group %s (%s) of the VPC %s: delete it before make destroy", g.ID, g.Name, vpc))
		}
	}
	return all, err
}

func (f *Search) flowLogsBeside(vpc string) (all []string, err error) {
	logs, err := f.aws.ec2.FlowLogs(f.Context, query.Filters("resource-id", vpc))
	for _, l := range logs {
		if !f.taken["aws_flow_log "+l.ID] && len(f.Stack.Names("aws_flow_log")) > 0 {
			all = append(all, fmt.Sprintf("the flow log %s of the VPC %s: that of the stack records the same a second time; network.flow_logs: none leaves it out", l.ID, vpc))
		}
	}
	return all, err
}

func (f *Search) servicesBeside(namespace string) (all []string, err error) {
	namespace, _, _ = strings.Cut(namespace, ":") // it is imported with its VPC
	pages := servicediscovery.NewListServicesPaginator(f.aws.discovery, &servicediscovery.ListServicesInput{
		Filters: []discoverytypes.ServiceFilter{{Name: discoverytypes.ServiceFilterNameNamespaceId, Values: []string{namespace}}}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(f.Context)
		if err != nil {
			return nil, err
		}
		for _, s := range page.Services {
			if id := aws.ToString(s.Id); !f.taken["aws_service_discovery_service "+id] {
				all = append(all, fmt.Sprintf("the Cloud Map service %s (%s) of the namespace %s: delete it before make destroy", id, aws.ToString(s.Name), namespace))
			}
		}
	}
	return all, nil
}

func (f *Search) policiesBeside(role string) (all []string, err error) {
	inline, err := f.aws.iam.RolePolicies(f.Context, role)
	if err != nil {
		return nil, err
	}
	attached, err := f.aws.iam.AttachedPolicies(f.Context, role)
	add := func(kind, separator string, policies []string) {
		for _, p := range policies {
			if !f.taken[kind+" "+role+separator+p] {
				all = append(all, fmt.Sprintf("the policy %s of the role %s, with all that it allows: remove it, or put what flows need of it in iam, and in any case before make destroy", p, role))
			}
		}
	}
	add("aws_iam_role_policy", ":", inline)
	add("aws_iam_role_policy_attachment", "/", attached)
	return all, err
}
