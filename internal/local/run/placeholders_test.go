package run

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/query"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

// TestPlaceholders makes networks of each kind in one emulator. That the stack is deployed into one,
// and a worker and its flows run there, the local run with Prefect 3 shows.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	e, err := emulator.Start(t.Context(), emulator.Options{Python: testtools.Environment(t, pyenv.Moto), Dir: t.TempDir()})
	testtools.NoError(t, err)
	t.Cleanup(func() { _ = e.Stop(context.Background()) })
	network := func(vpc string, change func(*config.Network)) *config.Environment {
		env := config.Default("dev")
		env.Network.Existing = config.ExistingNetwork{VPCID: "vpc-" + vpc, SubnetIDs: []string{"subnet-" + vpc + "a", "subnet-" + vpc + "b"}}
		change(&env.Network)
		return env
	}
	private := network("1", func(n *config.Network) { n.SecurityGroupIDs = []string{"sg-1"} })
	private.Monitoring.TopicARN = "arn:aws:sns:us-east-1:210987654321:on-call"
	for name, test := range map[string]struct {
		env  *config.Environment
		ids  int
		way  string // the default route's target begins so
		ends int    // endpoints
	}{
		"private": {private, 5, "nat-", 0},
		"public":  {network("2", func(n *config.Network) { n.Existing.Public = true }), 3, "igw-", 0},
		"closed":  {network("3", func(n *config.Network) { n.Endpoints = []config.Endpoint{"ecr.api", "logs"} }), 3, "", 3},
	} {
		t.Run(name, func(t *testing.T) {
			u := &up{run: &run{state: State{Emulator: e, Region: "us-east-1"}}, env: test.env}
			// WHEN placeholders are made, and asked for again by the next up
			first, err := u.placeholders(t.Context())
			testtools.NoError(t, err)
			second, err := u.placeholders(t.Context())
			testtools.NoError(t, err)
			// THEN each thing has one, the same in both
			mine := func(ids map[string]string) map[string]string {
				kept := maps.Clone(ids)
				maps.DeleteFunc(kept, func(id, _ string) bool {
					return !strings.Contains(id, strings.TrimPrefix(test.env.Network.Existing.VPCID, "vpc-"))
				})
				return kept
			}
			if !maps.Equal(mine(first), mine(second)) || len(mine(first)) != test.ids {
				t.Errorf("first %v, then %v, want %d", first, second, test.ids)
			}
			if topic := test.env.Monitoring.TopicARN; topic != "" {
				if _, err := query.New(u.aws()).Topic(t.Context(), first[topic]); err != nil {
					t.Error(err)
				}
			}
			// AND what leads out is what the environment says
			client := ec2.NewFromConfig(u.aws())
			in := []types.Filter{{Name: aws.String("vpc-id"), Values: []string{first[test.env.Network.Existing.VPCID]}}}
			tables := testtools.Call(t, client.DescribeRouteTables, &ec2.DescribeRouteTablesInput{Filters: in})
			way := ""
			for _, route := range tables.RouteTables[0].Routes {
				if aws.ToString(route.DestinationCidrBlock) == "0.0.0.0/0" {
					way = aws.ToString(route.GatewayId) + aws.ToString(route.NatGatewayId)
				}
			}
			if !strings.HasPrefix(way, test.way) || (test.way == "") != (way == "") {
				t.Errorf("the internet egress is %q", way)
			}
			endpoints, err := client.DescribeVpcEndpoints(t.Context(), &ec2.DescribeVpcEndpointsInput{Filters: in})
			if err != nil || len(endpoints.VpcEndpoints) != test.ends {
				t.Errorf("%v, endpoints %+v", err, endpoints.VpcEndpoints)
			}
		})
	}
}
