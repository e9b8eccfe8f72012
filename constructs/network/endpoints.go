package network

import (
	"strings"

	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/vpcendpoint"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/tf"
)

// endpoints builds interface endpoints in the private subnets. Who may connect to them, each
// says who needs one.
func (b *builder) endpoints(n *Network) {
	group := block.NewSecurityGroup(b.scope, "endpoints-security-group", config.EndpointsSecurityGroup, config.EndpointsSecurityGroup, "VPC endpoints: in from the worker, nothing out", *tf.ID(b.vpc))
	for _, service := range b.Network.Endpoints {
		n.Routes = append(n.Routes, tf.WithAddress(vpcendpoint.NewVpcEndpoint(b.scope, jsii.String(string(service)+"-endpoint"), &vpcendpoint.VpcEndpointConfig{
			VpcId:             tf.ID(b.vpc),
			ServiceName:       jsii.String(b.serviceName(service)),
			VpcEndpointType:   jsii.String("Interface"),
			PrivateDnsEnabled: jsii.Bool(true),
			SubnetIds:         jsii.Strings(n.PrivateSubnetIDs...),
			SecurityGroupIds:  &[]*string{group.ID()},
			Tags:              b.name(),
		}), "aws_vpc_endpoint."+endpointName(service)).Element)
	}
	n.Endpoints = &group
}

// serviceName returns the name of an endpoint's service in the region.
func (b *builder) serviceName(service config.Endpoint) string {
	return "com.amazonaws." + b.Account.Region + "." + string(service)
}

// endpointName returns the name of an endpoint in addresses.
func endpointName(service config.Endpoint) string {
	return strings.ReplaceAll(string(service), ".", "_")
}
