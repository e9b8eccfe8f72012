package query

import (
	"context"
	"fmt"
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

// describe returns a function that makes a Describe call with parameters and returns the items of all pages. Their types
// have the fields that are read.
func describe[T any](action string) func(context.Context, Client, Params) ([]T, error) {
	return func(ctx context.Context, c Client, params Params) ([]T, error) {
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
}

// The Describe calls. Each returns what its parameters select.
var (
	Addresses          = describe[Address]("DescribeAddresses")
	FlowLogs           = describe[FlowLog]("DescribeFlowLogs")
	InternetGateways   = describe[InternetGateway]("DescribeInternetGateways")
	NATGateways        = describe[NATGateway]("DescribeNatGateways")
	NetworkACLs        = describe[NetworkACL]("DescribeNetworkAcls")
	RouteTables        = describe[RouteTable]("DescribeRouteTables")
	SecurityGroupRules = describe[SecurityGroupRule]("DescribeSecurityGroupRules")
	SecurityGroups     = describe[SecurityGroup]("DescribeSecurityGroups")
	Subnets            = describe[Subnet]("DescribeSubnets")
	Tags               = describe[Tag]("DescribeTags")
	VPCEndpoints       = describe[VPCEndpoint]("DescribeVpcEndpoints")
	VPCs               = describe[VPC]("DescribeVpcs")
)

// VPC is a VPC.
type VPC struct {
	ID string `xml:"vpcId"`
}

// Subnet is a subnet.
type Subnet struct {
	ID            string `xml:"subnetId"`
	VPCID         string `xml:"vpcId"`
	CIDRBlock     string `xml:"cidrBlock"`
	Zone          string `xml:"availabilityZone"`
	FreeAddresses int    `xml:"availableIpAddressCount"`
}

// InternetGateway is an internet gateway.
type InternetGateway struct {
	ID string `xml:"internetGatewayId"`
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

// Address is an Elastic IP address.
type Address struct {
	AllocationID  string `xml:"allocationId"`
	AssociationID string `xml:"associationId"`
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

// SecurityGroup is a security group.
type SecurityGroup struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
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

// String returns the rule for a person, such as "ingress of tcp 22 from 0.0.0.0/0".
func (r SecurityGroupRule) String() string {
	traffic, direction, preposition := "everything", "ingress", "from"
	if r.IsEgress {
		direction, preposition = "egress", "to"
	}
	if r.Protocol != "-1" {
		traffic = fmt.Sprintf("%s %d", r.Protocol, r.FromPort)
		if r.FromPort != r.ToPort {
			traffic += fmt.Sprintf(" to %d", r.ToPort)
		}
	}
	return fmt.Sprintf("%s of %s %s %s", direction, traffic, preposition, r.CIDRIPv4+r.CIDRIPv6+r.PrefixListID+r.ReferencedGroup)
}

// Tag is a tag of a resource.
type Tag struct {
	Key        string `xml:"key"`
	Value      string `xml:"value"`
	ResourceID string `xml:"resourceId"`
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

// FlowLog is a flow log.
type FlowLog struct {
	ID          string `xml:"flowLogId"`
	LogGroup    string `xml:"logGroupName"`
	Destination string `xml:"logDestination"` // the ARN of the log group, in place of its name or beside it
	TrafficType string `xml:"trafficType"`
}
