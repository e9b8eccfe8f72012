package query

import (
	"context"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/hashicorp/aws-sdk-go-base/v2/endpoints"
)

// Route53 is a client of Amazon Route 53, which has no Query protocol but the same XML.
type Route53 struct{ client }

// NewRoute53 returns a client of Route 53.
func NewRoute53(cfg aws.Config) Route53 {
	return Route53{newClient(cfg, service{id: "Route 53", name: "route53", global: map[string][2]string{
		endpoints.AwsPartitionID:      {"route53.amazonaws.com", "us-east-1"},
		endpoints.AwsCnPartitionID:    {"route53.amazonaws.com.cn", "cn-northwest-1"},
		endpoints.AwsUsGovPartitionID: {"route53.us-gov.amazonaws.com", "us-gov-west-1"},
	}})}
}

// ZoneVPCs returns the ids of the VPCs that a private hosted zone is associated with.
func (c Route53) ZoneVPCs(ctx context.Context, zone string) ([]string, error) {
	var out struct {
		IDs []string `xml:"VPCs>VPC>VPCId"`
	}
	err := c.send(ctx, "GetHostedZone", http.MethodGet, "/2013-04-01/hostedzone/"+strings.TrimPrefix(zone, "/hostedzone/"), "", &out)
	return out.IDs, err
}
