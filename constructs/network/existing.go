package network

import (
	"fmt"
	"strings"

	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawsroutetable"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawsroutetables"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawssubnet"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawsvpc"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawsvpcendpoint"

	"prefect-worker-ecs/constructs/tf"
)

// existing takes a VPC that exists. What would keep tasks from starting there is found when
// Terraform plans, before anything is made.
func (b *builder) existing() *Network {
	x := b.Network.Existing
	vpc := tf.WithAddress(dataawsvpc.NewDataAwsVpc(b.scope, jsii.String("existing-vpc"), &dataawsvpc.DataAwsVpcConfig{
		Id: &x.VPCID,
		Lifecycle: tf.Postconditions(tf.Rule{
			Condition: "self.enable_dns_support && self.enable_dns_hostnames",
			Message:   fmt.Sprintf("The VPC %[1]s has DNS support or DNS host names off, and tasks find the APIs of AWS by both. Switch them on: aws ec2 modify-vpc-attribute --vpc-id %[1]s --enable-dns-support, and again with --enable-dns-hostnames.", x.VPCID),
		}),
	}), "data.aws_vpc.existing")
	mainTable := tf.WithAddress(dataawsroutetables.NewDataAwsRouteTables(b.scope, jsii.String("existing-main-route-table"), &dataawsroutetables.DataAwsRouteTablesConfig{
		VpcId:  tf.ID(vpc),
		Filter: []*dataawsroutetables.DataAwsRouteTablesFilter{{Name: jsii.String("association.main"), Values: jsii.Strings("true")}},
	}), "data.aws_route_tables.existing_main")
	if b.Network.Isolated() {
		b.existingEndpoints(*tf.ID(vpc))
	}
	n := &Network{VPCID: *tf.ID(vpc)}
	var zones []string
	for i, id := range x.SubnetIDs {
		name := fmt.Sprintf("existing_%d", i+1)
		subnet := tf.WithAddress(dataawssubnet.NewDataAwsSubnet(b.scope, jsii.String(name+"-subnet"), &dataawssubnet.DataAwsSubnetConfig{
			Id:        jsii.String(id),
			Lifecycle: tf.Postconditions(b.subnetRules(id, zones)...),
		}), "data.aws_subnet."+name)
		zones = append(zones, subnet.Address+".availability_zone")
		// A subnet without a route table of its own follows the VPC's main one.
		own := tf.WithAddress(dataawsroutetables.NewDataAwsRouteTables(b.scope, jsii.String(name+"-route-tables"), &dataawsroutetables.DataAwsRouteTablesConfig{
			Filter: []*dataawsroutetables.DataAwsRouteTablesFilter{{Name: jsii.String("association.subnet-id"), Values: &[]*string{tf.ID(subnet)}}},
		}), "data.aws_route_tables."+name)
		tf.WithAddress(dataawsroutetable.NewDataAwsRouteTable(b.scope, jsii.String(name+"-route-table"), &dataawsroutetable.DataAwsRouteTableConfig{
			RouteTableId: jsii.String(fmt.Sprintf("${try(%s.ids[0], %s.ids[0])}", own.Address, mainTable.Address)),
			Lifecycle:    tf.Postconditions(b.egressRule(id)),
		}), "data.aws_route_table."+name)
		if x.Public {
			n.PublicSubnetIDs = append(n.PublicSubnetIDs, *tf.ID(subnet))
		} else {
			n.PrivateSubnetIDs = append(n.PrivateSubnetIDs, *tf.ID(subnet))
		}
	}
	return n
}

// subnetRules returns what tasks need of a subnet; zones are those of the subnets before it.
func (b *builder) subnetRules(id string, zones []string) []tf.Rule {
	x := b.Network.Existing
	free := (b.Tasks + len(x.SubnetIDs) - 1) / len(x.SubnetIDs)
	rules := []tf.Rule{{
		Condition: fmt.Sprintf("self.vpc_id == %q", x.VPCID),
		Message:   fmt.Sprintf("The subnet %s is in the VPC ${self.vpc_id}, and network.existing.vpc_id is %s. Name subnets of that VPC in network.existing.subnet_ids.", id, x.VPCID),
	}, {
		Condition: fmt.Sprintf(`!contains(["%s"], self.availability_zone_id)`, strings.Join(zonesWithoutFargate, `", "`)),
		Message:   fmt.Sprintf("The subnet %s is in the zone ${self.availability_zone} (${self.availability_zone_id}), which has no Fargate. Name a subnet in another zone in network.existing.subnet_ids.", id),
	}, {
		Condition: fmt.Sprintf("self.available_ip_address_count >= %d", free),
		Message:   fmt.Sprintf("The subnet %s has ${self.available_ip_address_count} free addresses, and a deployment starts %d tasks in it. Free some, name larger subnets in network.existing.subnet_ids, or lower worker.desired_count.", id, free),
	}}
	if len(zones) > 0 {
		rules = append(rules, tf.Rule{
			Condition: "!contains([" + strings.Join(zones, ", ") + "], self.availability_zone)",
			Message:   fmt.Sprintf("The subnet %s is in ${self.availability_zone}, as another one in network.existing.subnet_ids: the loss of that zone would stop all tasks. Name subnets in different zones.", id),
		})
	}
	return rules
}

// egressRule returns the rule for the route table of a subnet.
func (b *builder) egressRule(subnet string) tf.Rule {
	switch {
	case b.Network.Isolated():
		return tf.Rule{
			Condition: "contains(data.aws_vpc_endpoint.existing_s3.route_table_ids, self.id)",
			Message:   fmt.Sprintf("The route table ${self.id} of the subnet %s lacks the gateway endpoint of S3, in which ECR keeps images. Add it: aws ec2 modify-vpc-endpoint --vpc-endpoint-id ${data.aws_vpc_endpoint.existing_s3.id} --add-route-table-ids ${self.id}.", subnet),
		}
	case b.Network.Existing.Public:
		return tf.Rule{
			Condition: `anytrue([for r in self.routes : r.cidr_block == "` + anywhere + `" && startswith(r.gateway_id, "igw-")])`,
			Message:   fmt.Sprintf("The route table ${self.id} of the subnet %s has no default route to an internet gateway, and network.existing.public says that it has. Name public subnets, or remove network.existing.public if they lead out through a NAT or transit gateway.", subnet),
		}
	}
	return tf.Rule{
		Condition: `anytrue([for r in self.routes : r.cidr_block == "` + anywhere + `" && !startswith(r.gateway_id, "igw-")])`,
		Message:   fmt.Sprintf("The route table ${self.id} of the subnet %s has no default route, or one to an internet gateway, which a task without a public address cannot use. Give it a route to a NAT or transit gateway, set network.existing.public for public subnets, or name in network.endpoints the VPC endpoints that are there.", subnet),
	}
}

// existingEndpoints looks up the endpoints that stand instead of internet egress.
func (b *builder) existingEndpoints(vpc string) {
	for _, service := range b.Network.Endpoints {
		tf.WithAddress(dataawsvpcendpoint.NewDataAwsVpcEndpoint(b.scope, jsii.String("existing-"+string(service)+"-endpoint"), &dataawsvpcendpoint.DataAwsVpcEndpointConfig{
			VpcId:       &vpc,
			ServiceName: jsii.String(b.serviceName(service)),
			Lifecycle: tf.Postconditions(tf.Rule{
				Condition: "self.private_dns_enabled",
				Message:   fmt.Sprintf("The VPC endpoint ${self.id} of %s has no private DNS, so that its host name leads elsewhere. Switch it on: aws ec2 modify-vpc-endpoint --vpc-endpoint-id ${self.id} --private-dns-enabled.", service),
			}),
		}), "data.aws_vpc_endpoint.existing_"+endpointName(service))
	}
	tf.WithAddress(dataawsvpcendpoint.NewDataAwsVpcEndpoint(b.scope, jsii.String("existing-s3-endpoint"), &dataawsvpcendpoint.DataAwsVpcEndpointConfig{
		VpcId:       &vpc,
		ServiceName: jsii.String(b.serviceName("s3")),
		Filter:      []*dataawsvpcendpoint.DataAwsVpcEndpointFilter{{Name: jsii.String("vpc-endpoint-type"), Values: jsii.Strings("Gateway")}},
	}), "data.aws_vpc_endpoint.existing_s3")
}
