// Package network builds the VPC: public and private subnets in several availability
// zones, their routes, the NAT gateways and the flow logs.
package network

import (
	"fmt"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawsavailabilityzones"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/defaultsecuritygroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/eip"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/internetgateway"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/natgateway"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/route"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/routetable"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/routetableassociation"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/subnet"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/vpc"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/vpcendpoint"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// anywhere is the destination of a default route.
const anywhere = "0.0.0.0/0"

// Config says which network New builds.
type Config struct {
	Network config.Network

	// Account is where the network is built.
	Account iam.Account

	// FlowLogs are the settings of the flow logs' group and role. Unused when
	// Network.FlowLogs is none.
	FlowLogs FlowLogs

	// Protect keeps the VPC and its subnets from being destroyed.
	Protect bool

	// Tasks is how many tasks a deployment starts. A VPC that exists must have addresses for
	// them.
	Tasks int
}

// Network is what the rest of the stack needs of the network.
type Network struct {
	// VPCID is the VPC's id.
	VPCID string

	// PublicSubnetIDs and PrivateSubnetIDs are in the order of the configuration.
	PublicSubnetIDs, PrivateSubnetIDs []string

	// Routes must exist before anything in a subnet can reach the internet or the endpoints,
	// and may go only after it has stopped.
	Routes []cdktf.ITerraformDependable

	// Endpoints guards the interface endpoints. Nil: none was made.
	Endpoints *block.SecurityGroup
}

// builder carries what all parts of the network share.
type builder struct {
	Config
	scope constructs.Construct
	vpc   tf.Addressed[vpc.Vpc]
}

type (
	fixedSubnet = tf.Addressed[subnet.Subnet]
	fixedTable  = tf.Addressed[routetable.RouteTable]
)

// New builds the network, or references an existing one.
func New(scope constructs.Construct, id string, cfg Config) *Network {
	b := &builder{Config: cfg, scope: constructs.NewConstruct(scope, &id)}
	if cfg.Network.Exists() {
		return b.existing()
	}
	b.vpc = tf.WithAddress(vpc.NewVpc(b.scope, jsii.String("vpc"), &vpc.VpcConfig{
		CidrBlock:          &cfg.Network.VPCCIDR,
		EnableDnsSupport:   jsii.Bool(true),
		EnableDnsHostnames: jsii.Bool(true),
		Tags:               b.name(),
		Lifecycle:          tf.Protected(cfg.Protect),
	}), "aws_vpc.main")

	// Every VPC comes with a security group that lets its members talk to each other.
	// Nothing here uses it; without rules nothing can use it by mistake.
	tf.WithAddress(defaultsecuritygroup.NewDefaultSecurityGroup(b.scope, jsii.String("default-security-group"), &defaultsecuritygroup.DefaultSecurityGroupConfig{
		VpcId: tf.ID(b.vpc),
		Tags:  b.name(),
	}), "aws_default_security_group.main")

	zones := b.zones()
	public := b.subnets("public", cfg.Network.PublicSubnetCIDRs, zones)
	private := b.subnets("private", cfg.Network.PrivateSubnetCIDRs, zones)

	publicTable, publicRoutes := b.publicRoutes(public)
	privateTables, privateRoutes := b.privateRoutes(public, private, publicRoutes)

	if cfg.Network.S3Endpoint {
		b.s3Endpoint(append([]fixedTable{publicTable}, privateTables...))
	}
	if cfg.Network.FlowLogs != config.FlowLogsNone {
		b.flowLogs()
	}
	n := &Network{
		VPCID:            *tf.ID(b.vpc),
		PublicSubnetIDs:  ids(public),
		PrivateSubnetIDs: ids(private),
		Routes:           append(publicRoutes, privateRoutes...),
	}
	if len(cfg.Network.Endpoints) > 0 {
		b.endpoints(n)
	}
	return n
}

// name returns the Name tag, which the original design has on every part.
func (b *builder) name() *map[string]*string { return tf.NameTag(b.Network.Name) }

// zonesWithoutFargate are the ids of the availability zones in which no task on Fargate can
// run, in whatever region they are: those that "Supported Regions for Amazon ECS on AWS
// Fargate" in the Amazon ECS Developer Guide leaves out of a region's list. An id names the
// same zone in all accounts; a name such as us-east-1a does not.
var zonesWithoutFargate = []string{"use1-az3", "usw1-az2", "cac1-az3", "apne1-az3", "cnn1-az3", "cnn1-az4"}

// zones returns the availability zones of the subnets, one for each pair.
func (b *builder) zones() []string {
	if len(b.Network.AvailabilityZones) > 0 {
		return b.Network.AvailabilityZones
	}
	count := len(b.Network.PublicSubnetCIDRs)
	available := tf.WithAddress(dataawsavailabilityzones.NewDataAwsAvailabilityZones(b.scope, jsii.String("zones"), &dataawsavailabilityzones.DataAwsAvailabilityZonesConfig{
		State:          jsii.String("available"),
		ExcludeZoneIds: jsii.Strings(zonesWithoutFargate...),
		// Local zones are available too after an opt-in, and lack Fargate and NAT.
		Filter: []*dataawsavailabilityzones.DataAwsAvailabilityZonesFilter{{
			Name:   jsii.String("opt-in-status"),
			Values: jsii.Strings("opt-in-not-required"),
		}},
		Lifecycle: tf.Postconditions(tf.Rule{
			Condition: fmt.Sprintf("length(self.names) >= %d", count),
			Message:   fmt.Sprintf("The region has fewer than %d availability zones with Fargate, and each pair of subnets is in another one. Configure fewer subnets in network.public_subnet_cidrs and network.private_subnet_cidrs.", count),
		}),
	}), "data.aws_availability_zones.available")
	zones := make([]string, count)
	for i := range zones {
		zones[i] = *tf.NameAt(available, i)
	}
	return zones
}

// subnets builds the subnets of a kind.
func (b *builder) subnets(kind string, cidrs, zones []string) []fixedSubnet {
	var subnets []fixedSubnet
	for i, cidr := range cidrs {
		n := i + 1
		subnets = append(subnets, tf.WithAddress(subnet.NewSubnet(b.scope, jsii.String(fmt.Sprintf("%s-subnet-%d", kind, n)), &subnet.SubnetConfig{
			VpcId:               tf.ID(b.vpc),
			CidrBlock:           jsii.String(cidr),
			AvailabilityZone:    jsii.String(zones[i]),
			MapPublicIpOnLaunch: jsii.Bool(kind == "public" && b.Network.MapPublicIPOnLaunch),
			Tags:                b.name(),
			Lifecycle:           tf.Protected(b.Protect),
		}), fmt.Sprintf("aws_subnet.%s_%d", kind, n)))
	}
	return subnets
}

func ids(subnets []fixedSubnet) []string {
	var ids []string
	for _, s := range subnets {
		ids = append(ids, *tf.ID(s))
	}
	return ids
}

// publicRoutes sends the traffic of the public subnets to an internet gateway. It returns
// their route table, and the routes.
func (b *builder) publicRoutes(subnets []fixedSubnet) (fixedTable, []cdktf.ITerraformDependable) {
	gateway := tf.WithAddress(internetgateway.NewInternetGateway(b.scope, jsii.String("internet-gateway"), &internetgateway.InternetGatewayConfig{
		VpcId: tf.ID(b.vpc),
		Tags:  b.name(),
	}), "aws_internet_gateway.main")
	table := b.routeTable("public")
	routes := []cdktf.ITerraformDependable{tf.WithAddress(route.NewRoute(b.scope, jsii.String("public-route"), &route.RouteConfig{
		RouteTableId:         tf.ID(table),
		DestinationCidrBlock: jsii.String(anywhere),
		GatewayId:            tf.ID(gateway),
	}), "aws_route.public").Element}
	for i, s := range subnets {
		routes = append(routes, b.associate("public", i, s, table))
	}
	return table, routes
}

// privateRoutes sends the traffic of the private subnets to NAT gateways. The first
// table and gateway keep their addresses when the mode changes between single and
// per_az, so that the change only adds or removes the others. It returns the route
// tables, and the routes.
func (b *builder) privateRoutes(public, private []fixedSubnet, internet []cdktf.ITerraformDependable) ([]fixedTable, []cdktf.ITerraformDependable) {
	count := 1
	if b.Network.NAT == config.NATPerAZ {
		count = len(private)
	}
	var tables []fixedTable
	var routes []cdktf.ITerraformDependable
	for i := range count {
		n := i + 1
		table := b.routeTable(fmt.Sprintf("private_%d", n))
		tables = append(tables, table)
		if b.Network.NAT == config.NATNone {
			continue
		}
		gateway := b.natGateway(n, public[i], internet)
		routes = append(routes, tf.WithAddress(route.NewRoute(b.scope, jsii.String(fmt.Sprintf("private-route-%d", n)), &route.RouteConfig{
			RouteTableId:         tf.ID(table),
			DestinationCidrBlock: jsii.String(anywhere),
			NatGatewayId:         tf.ID(gateway),
		}), fmt.Sprintf("aws_route.private_%d", n)).Element)
	}
	for i, s := range private {
		routes = append(routes, b.associate("private", i, s, tables[i%count]))
	}
	return tables, routes
}

// natGateway builds a NAT gateway in a public subnet.
func (b *builder) natGateway(n int, public fixedSubnet, internet []cdktf.ITerraformDependable) tf.Addressed[natgateway.NatGateway] {
	address := tf.WithAddress(eip.NewEip(b.scope, jsii.String(fmt.Sprintf("nat-address-%d", n)), &eip.EipConfig{
		Domain:    jsii.String("vpc"),
		Tags:      b.name(),
		DependsOn: &internet,
	}), fmt.Sprintf("aws_eip.nat_%d", n))
	return tf.WithAddress(natgateway.NewNatGateway(b.scope, jsii.String(fmt.Sprintf("nat-gateway-%d", n)), &natgateway.NatGatewayConfig{
		AllocationId: tf.ID(address),
		SubnetId:     tf.ID(public),
		Tags:         b.name(),
		// The gateway reaches the internet through the public route, which it does not refer to.
		DependsOn: &internet,
	}), fmt.Sprintf("aws_nat_gateway.nat_%d", n))
}

func (b *builder) routeTable(name string) fixedTable {
	return tf.WithAddress(routetable.NewRouteTable(b.scope, jsii.String(name+"-route-table"), &routetable.RouteTableConfig{
		VpcId: tf.ID(b.vpc),
		Tags:  b.name(),
	}), "aws_route_table."+name)
}

func (b *builder) associate(kind string, i int, subnet fixedSubnet, table fixedTable) cdktf.ITerraformDependable {
	name := fmt.Sprintf("%s_%d", kind, i+1)
	return tf.WithAddress(routetableassociation.NewRouteTableAssociation(b.scope, jsii.String(name+"-association"), &routetableassociation.RouteTableAssociationConfig{
		SubnetId:     tf.ID(subnet),
		RouteTableId: tf.ID(table),
	}), "aws_route_table_association."+name).Element
}

func (b *builder) s3Endpoint(tables []fixedTable) {
	var ids []*string
	for _, table := range tables {
		ids = append(ids, tf.ID(table))
	}
	tf.WithAddress(vpcendpoint.NewVpcEndpoint(b.scope, jsii.String("s3-endpoint"), &vpcendpoint.VpcEndpointConfig{
		VpcId:           tf.ID(b.vpc),
		ServiceName:     jsii.String(fmt.Sprintf("com.amazonaws.%s.s3", b.Account.Region)),
		VpcEndpointType: jsii.String("Gateway"),
		RouteTableIds:   &ids,
		Tags:            b.name(),
	}), "aws_vpc_endpoint.s3")
}
