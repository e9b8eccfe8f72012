package restype

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	discoverytypes "github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"

	"prefect-worker-ecs/internal/aws/query"
)

// Beside returns, in sentences, what AWS has in or on the found resources that is not in the stack, and that
// therefore stays: AWS deletes no VPC, cluster, namespace or role before it.
func (f *Search) Beside() (all []string, err error) {
	for _, look := range []struct {
		kind string
		look func(id string) ([]string, error)
	}{
		{"aws_vpc", f.networkBeside},
		{"aws_vpc", f.flowLogsBeside},
		{"aws_security_group", f.rulesBeside},
		{"aws_ecs_cluster", f.ecsServicesBeside},
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

func (f *Search) networkBeside(vpc string) (all []string, err error) {
	in := query.Filters("vpc-id", vpc)
	add := func(kind, noun, id string) {
		if !f.taken[kind+" "+id] {
			all = append(all, fmt.Sprintf("the %s of the VPC %s: delete it before make destroy", noun, vpc))
		}
	}
	groups, err := query.SecurityGroups(f.Context, f.aws, in)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if g.Name != "default" {
			add("aws_security_group", fmt.Sprintf("security group %s (%s)", g.ID, g.Name), g.ID)
		}
	}
	endpoints, err := query.VPCEndpoints(f.Context, f.aws, in)
	if err != nil {
		return nil, err
	}
	for _, e := range endpoints {
		if e.State != "deleted" {
			add("aws_vpc_endpoint", fmt.Sprintf("endpoint %s (%s)", e.ID, e.ServiceName), e.ID)
		}
	}
	subnets, err := query.Subnets(f.Context, f.aws, in)
	if err != nil {
		return nil, err
	}
	for _, s := range subnets {
		add("aws_subnet", fmt.Sprintf("subnet %s (%s)", s.ID, s.CIDRBlock), s.ID)
	}
	tables, err := query.RouteTables(f.Context, f.aws, in)
	for _, t := range tables {
		if len(t.Associations) == 0 || !t.Associations[0].Main {
			add("aws_route_table", "route table "+t.ID, t.ID)
		}
	}
	return all, err
}

// rulesBeside returns the rules of a security group of the stack that others have added.
func (f *Search) rulesBeside(group string) (all []string, err error) {
	rules, err := query.SecurityGroupRules(f.Context, f.aws, query.Filters("group-id", group))
	for _, r := range rules {
		kind := "aws_vpc_security_group_ingress_rule"
		if r.IsEgress {
			kind = "aws_vpc_security_group_egress_rule"
		}
		if !f.taken[kind+" "+r.ID] {
			all = append(all, fmt.Sprintf("the rule %s of the security group %s, %s: delete it, or name what is needed of it in network.egress", r.ID, group, r))
		}
	}
	return all, err
}

func (f *Search) ecsServicesBeside(cluster string) (all []string, err error) {
	pages := ecs.NewListServicesPaginator(ecs.NewFromConfig(f.cfg), &ecs.ListServicesInput{Cluster: &cluster})
	for pages.HasMorePages() {
		page, err := pages.NextPage(f.Context)
		if err != nil {
			return nil, err
		}
		for _, arn := range page.ServiceArns {
			if name := arn[strings.LastIndexByte(arn, '/')+1:]; !f.taken["aws_ecs_service "+cluster+"/"+name] {
				all = append(all, fmt.Sprintf("the service %s of the cluster %s: delete it before make destroy", name, cluster))
			}
		}
	}
	return all, nil
}

func (f *Search) flowLogsBeside(vpc string) (all []string, err error) {
	logs, err := query.FlowLogs(f.Context, f.aws, query.Filters("resource-id", vpc))
	for _, l := range logs {
		if !f.taken["aws_flow_log "+l.ID] && len(f.Stack.Names("aws_flow_log")) > 0 {
			all = append(all, fmt.Sprintf("the flow log %s of the VPC %s: that of the stack records the same a second time; network.flow_logs: none leaves it out", l.ID, vpc))
		}
	}
	return all, err
}

func (f *Search) servicesBeside(namespace string) (all []string, err error) {
	namespace, _, _ = strings.Cut(namespace, ":") // it is imported with its VPC
	pages := servicediscovery.NewListServicesPaginator(servicediscovery.NewFromConfig(f.cfg), &servicediscovery.ListServicesInput{
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
	inline, err := f.aws.RolePolicies(f.Context, role)
	if err != nil {
		return nil, err
	}
	attached, err := f.aws.AttachedPolicies(f.Context, role)
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
