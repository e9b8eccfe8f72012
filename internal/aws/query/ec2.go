package query

import (
	"context"
	"maps"
)

// Filters returns the parameters for filters: name, value, name, value.
func Filters(pairs ...string) Params {
	var filters []Params
	for i := 0; i < len(pairs); i += 2 {
		filters = append(filters, Params{"Name": pairs[i], "Value": []string{pairs[i+1]}})
	}
	return Params{"Filter": filters}
}

// Page is an answer to a Describe call: a set of items among other elements, of which none has items.
type Page[T any] struct {
	Sets []struct {
		Items []T `xml:"item"`
	} `xml:",any"`
	NextToken string `xml:"nextToken"`
}

// describe returns the items of all pages. Their types have the fields that are read.
func describe[T any](ctx context.Context, c Client, action string, params Params) ([]T, error) {
	call := Params{}
	maps.Copy(call, params)
	var items []T
	for {
		var page Page[T]
		if err := c.Call(ctx, EC2, action, call, &page); err != nil {
			return nil, err
		}
		for _, set := range page.Sets {
			items = append(items, set.Items...)
		}
		if page.NextToken == "" {
			return items, nil
		}
		call["NextToken"] = page.NextToken
	}
}

// VPC is a VPC.
type VPC struct {
	ID string `xml:"vpcId"`
}

// VPCs returns the VPCs that the parameters of DescribeVpcs select.
func (c Client) VPCs(ctx context.Context, params Params) ([]VPC, error) {
	return describe[VPC](ctx, c, "DescribeVpcs", params)
}

// Subnet is a subnet.
type Subnet struct {
	ID            string `xml:"subnetId"`
	VPCID         string `xml:"vpcId"`
	CIDRBlock     string `xml:"cidrBlock"`
	Zone          string `xml:"availabilityZone"`
	FreeAddresses int    `xml:"availableIpAddressCount"`
}

// Subnets returns the subnets that the parameters of DescribeSubnets select.
func (c Client) Subnets(ctx context.Context, params Params) ([]Subnet, error) {
	return describe[Subnet](ctx, c, "DescribeSubnets", params)
}

// InternetGateway is an internet gateway.
type InternetGateway struct {
	ID string `xml:"internetGatewayId"`
}

// InternetGateways returns the gateways that the parameters of DescribeInternetGateways select.
func (c Client) InternetGateways(ctx context.Context, params Params) ([]InternetGateway, error) {
	return describe[InternetGateway](ctx, c, "DescribeInternetGateways", params)
}

// NATGateway is a NAT gateway.
type NATGateway struct {
	ID               string   `xml:"natGatewayId"`
	SubnetID         string   `xml:"subnetId"`
	State            string   `xml:"state"`
	ConnectivityType string   `xml:"connectivityType"`
	Allocations      []string `xml:"natGatewayAddressSet>item>allocationId"`
	PublicAddresses  []string `xml:"natGatewayAddressSet>item>publicIp"`
}

// NATGateways returns the gateways that the parameters of DescribeNatGateways select.
func (c Client) NATGateways(ctx context.Context, params Params) ([]NATGateway, error) {
	return describe[NATGateway](ctx, c, "DescribeNatGateways", params)
}

// Address is an Elastic IP address.
type Address struct {
	AllocationID  string `xml:"allocationId"`
	AssociationID string `xml:"associationId"`
}

// Addresses returns the addresses that the parameters of DescribeAddresses select.
func (c Client) Addresses(ctx context.Context, params Params) ([]Address, error) {
	return describe[Address](ctx, c, "DescribeAddresses", params)
}

// RouteTable is a route table.
type RouteTable struct {
	ID           string  `xml:"routeTableId"`
	Routes       []Route `xml:"routeSet>item"`
	Associations []struct {
		SubnetID string `xml:"subnetId"`
		Main     bool   `xml:"main"`
	} `xml:"associationSet>item"`
}

// Route is a route of a table.
type Route struct {
	Destination  string `xml:"destinationCidrBlock"`
	GatewayID    string `xml:"gatewayId"`
	NATGatewayID string `xml:"natGatewayId"`
	State        string `xml:"state"`
}

// RouteTables returns the tables that the parameters of DescribeRouteTables select.
func (c Client) RouteTables(ctx context.Context, params Params) ([]RouteTable, error) {
	return describe[RouteTable](ctx, c, "DescribeRouteTables", params)
}

// SecurityGroup is a security group.
type SecurityGroup struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

// SecurityGroups returns the groups that the parameters of DescribeSecurityGroups select.
func (c Client) SecurityGroups(ctx context.Context, params Params) ([]SecurityGroup, error) {
	return describe[SecurityGroup](ctx, c, "DescribeSecurityGroups", params)
}

// SecurityGroupRule is a rule of a security group.
type SecurityGroupRule struct {
	ID              string `xml:"securityGroupRuleId"`
	GroupID         string `xml:"groupId"`
	IsEgress        bool   `xml:"isEgress"`
	Protocol        string `xml:"ipProtocol"`
	FromPort        int    `xml:"fromPort"`
	ToPort          int    `xml:"toPort"`
	CIDRIPv4        string `xml:"cidrIpv4"`
	CIDRIPv6        string `xml:"cidrIpv6"`
	PrefixListID    string `xml:"prefixListId"`
	ReferencedGroup string `xml:"referencedGroupInfo>groupId"`
	Tags            []Tag  `xml:"tagSet>item"`
}

// Tag is a tag of a resource.
type Tag struct {
	Key        string `xml:"key"`
	Value      string `xml:"value"`
	ResourceID string `xml:"resourceId"`
}

// SecurityGroupRules returns the rules that the parameters of DescribeSecurityGroupRules select.
func (c Client) SecurityGroupRules(ctx context.Context, params Params) ([]SecurityGroupRule, error) {
	return describe[SecurityGroupRule](ctx, c, "DescribeSecurityGroupRules", params)
}

// NetworkACL is a network ACL. The default one of a VPC is that of each subnet without another.
type NetworkACL struct {
	ID      string            `xml:"networkAclId"`
	Default bool              `xml:"default"`
	Entries []NetworkACLEntry `xml:"entrySet>item"`
	Subnets []string          `xml:"associationSet>item>subnetId"`
}

// NetworkACLEntry is a rule of a network ACL. The protocol is a number, or -1 for all.
type NetworkACLEntry struct {
	Number    int    `xml:"ruleNumber"`
	Egress    bool   `xml:"egress"`
	Protocol  string `xml:"protocol"`
	Action    string `xml:"ruleAction"`
	CIDRBlock string `xml:"cidrBlock"`
	FirstPort int    `xml:"portRange>from"`
	LastPort  int    `xml:"portRange>to"`
}

// NetworkACLs returns the ACLs that the parameters of DescribeNetworkAcls select.
func (c Client) NetworkACLs(ctx context.Context, params Params) ([]NetworkACL, error) {
	return describe[NetworkACL](ctx, c, "DescribeNetworkAcls", params)
}

// VPCEndpoint is a VPC endpoint.
type VPCEndpoint struct {
	ID          string   `xml:"vpcEndpointId"`
	ServiceName string   `xml:"serviceName"`
	Type        string   `xml:"vpcEndpointType"`
	State       string   `xml:"state"`
	PrivateDNS  bool     `xml:"privateDnsEnabled"`
	Policy      string   `xml:"policyDocument"`
	Groups      []string `xml:"groupSet>item>groupId"`
}

// VPCEndpoints returns the endpoints that the parameters of DescribeVpcEndpoints select.
func (c Client) VPCEndpoints(ctx context.Context, params Params) ([]VPCEndpoint, error) {
	return describe[VPCEndpoint](ctx, c, "DescribeVpcEndpoints", params)
}

// FlowLog is a flow log.
type FlowLog struct {
	ID          string `xml:"flowLogId"`
	LogGroup    string `xml:"logGroupName"`
	Destination string `xml:"logDestination"` // the ARN of the log group, in place of its name or beside it
	TrafficType string `xml:"trafficType"`
}

// FlowLogs returns the flow logs that the parameters of DescribeFlowLogs select.
func (c Client) FlowLogs(ctx context.Context, params Params) ([]FlowLog, error) {
	return describe[FlowLog](ctx, c, "DescribeFlowLogs", params)
}

// Tags returns the tags that the parameters of DescribeTags select.
func (c Client) Tags(ctx context.Context, params Params) ([]Tag, error) {
	return describe[Tag](ctx, c, "DescribeTags", params)
}
