package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/smithy-go"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/aws/query"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

// placeholders makes in the emulator what the environment names as existing, and returns which id
// or ARN stands for which of the user's. What an earlier up made is found again.
func (u *up) placeholders(ctx context.Context) (map[string]string, error) {
	m := &placeholderMaker{ctx: ctx, cfg: u.aws(), aws: query.New(u.aws()), ids: map[string]string{}}
	err := errors.Join(m.network(u.env.Network), m.names(u.env), m.roles(u.env.IAM.Existing), m.topic(u.env.Monitoring.TopicARN), m.image(u.env.Worker.Image), m.image(u.env.WorkPool.Job.Image))
	if err != nil {
		return nil, fmt.Errorf("make a placeholder for what exists: %w", err)
	}
	return m.ids, nil
}

// placeholderMaker makes placeholders.
type placeholderMaker struct {
	ctx context.Context
	cfg aws.Config
	aws query.Client
	ids map[string]string
}

// placeholderTag is the tag with the id that the configuration names.
const placeholderTag = "prefect-placeholder"

// tags returns the tags of a placeholder.
func tags(resourceType, id string) []query.Params {
	return []query.Params{{"ResourceType": resourceType, "Tag": []query.Params{{"Key": placeholderTag, "Value": id}}}}
}

// create makes a resource in EC2 and returns its id, empty for what has none.
func (m *placeholderMaker) create(action string, params query.Params) (string, error) {
	var out struct {
		VPC     string `xml:"vpc>vpcId"`
		Subnet  string `xml:"subnet>subnetId"`
		Group   string `xml:"groupId"`
		Gateway string `xml:"internetGateway>internetGatewayId"`
		NAT     string `xml:"natGateway>natGatewayId"`
	}
	err := m.aws.Call(m.ctx, query.EC2, action, params, &out)
	return out.VPC + out.Subnet + out.Group + out.Gateway + out.NAT, err
}

// network makes a VPC with its subnets and further security groups, as far as an earlier up has
// not.
func (m *placeholderMaker) network(n config.Network) error {
	if !n.Exists() {
		return nil
	}
	found, err := query.Tags(m.ctx, m.aws, query.Filters("key", placeholderTag))
	if err != nil {
		return err
	}
	for _, tag := range found {
		m.ids[tag.Value] = tag.ResourceID
	}
	if m.ids[n.Existing.VPCID] == "" {
		if err := m.vpc(n); err != nil {
			return err
		}
	}
	groups := slices.Clone(n.SecurityGroupIDs)
	for _, rule := range n.Egress {
		groups = append(groups, rule.SecurityGroupID)
	}
	for _, id := range groups {
		if id == "" || m.ids[id] != "" {
			continue
		}
		if m.ids[id], err = m.create("CreateSecurityGroup", query.Params{
			"GroupName": "placeholder " + id, "GroupDescription": "Placeholder", "VpcId": m.ids[n.Existing.VPCID], "TagSpecification": tags("security-group", id),
		}); err != nil {
			return err
		}
	}
	return nil
}

// vpc makes the VPC and its subnets.
func (m *placeholderMaker) vpc(n config.Network) error {
	vpc, err := m.create("CreateVpc", query.Params{"CidrBlock": "10.0.0.0/16", "TagSpecification": tags("vpc", n.Existing.VPCID)})
	if err != nil {
		return err
	}
	m.ids[n.Existing.VPCID] = vpc
	if _, err := m.create("ModifyVpcAttribute", query.Params{"VpcId": vpc, "EnableDnsHostnames": query.Params{"Value": true}}); err != nil {
		return err
	}
	var zones struct {
		Names []string `xml:"availabilityZoneInfo>item>zoneName"`
	}
	if err := m.aws.Call(m.ctx, query.EC2, "DescribeAvailabilityZones", nil, &zones); err != nil {
		return err
	}
	for i, subnet := range n.Existing.SubnetIDs {
		if m.ids[subnet], err = m.create("CreateSubnet", query.Params{
			"VpcId": vpc, "CidrBlock": fmt.Sprintf("10.0.%d.0/24", i), "AvailabilityZone": zones.Names[i%len(zones.Names)], "TagSpecification": tags("subnet", subnet),
		}); err != nil {
			return err
		}
	}
	return m.egress(n, vpc)
}

// egress gives the VPC's main route table a default route, or makes the endpoints that the VPC has
// instead.
func (m *placeholderMaker) egress(n config.Network, vpc string) error {
	tables, err := query.RouteTables(m.ctx, m.aws, query.Filters("vpc-id", vpc))
	if err != nil || len(tables) == 0 {
		return errors.Join(err, errors.New("the VPC has no main route table"))
	}
	if n.Isolated() {
		for _, service := range append([]config.Endpoint{"s3"}, n.Endpoints...) {
			endpoint := query.Params{"VpcId": vpc, "ServiceName": "com.amazonaws." + m.cfg.Region + "." + string(service)}
			if service == "s3" {
				endpoint["RouteTableId"] = []string{tables[0].ID}
			} else {
				endpoint["VpcEndpointType"], endpoint["PrivateDnsEnabled"] = "Interface", true
			}
			if _, err := m.create("CreateVpcEndpoint", endpoint); err != nil {
				return err
			}
		}
		return nil
	}
	route := query.Params{"RouteTableId": tables[0].ID, "DestinationCidrBlock": "0.0.0.0/0"}
	if n.Existing.Public {
		gateway, err := m.create("CreateInternetGateway", nil)
		if err != nil {
			return err
		}
		route["GatewayId"] = gateway
		if _, err := m.create("AttachInternetGateway", query.Params{"InternetGatewayId": gateway, "VpcId": vpc}); err != nil {
			return err
		}
	} else if route["NatGatewayId"], err = m.create("CreateNatGateway", query.Params{"SubnetId": m.ids[n.Existing.SubnetIDs[0]], "ConnectivityType": "private"}); err != nil {
		return err
	}
	_, err = m.create("CreateRoute", route)
	return err
}

// names makes what is referenced by its name.
func (m *placeholderMaker) names(env *config.Environment) error {
	if env.Cluster.Existing {
		if _, err := ecs.NewFromConfig(m.cfg).CreateCluster(m.ctx, &ecs.CreateClusterInput{ClusterName: &env.Cluster.Name, CapacityProviders: []string{"FARGATE", "FARGATE_SPOT"}}); err != nil {
			return err
		}
	}
	if env.Logs.Existing {
		_, err := cloudwatchlogs.NewFromConfig(m.cfg).CreateLogGroup(m.ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &env.Logs.Group})
		return unlessThere(err)
	}
	return nil
}

// unlessThere returns the error of a call, but nil where an earlier up has made what it was to make.
func unlessThere(err error) error {
	if answer, ok := errors.AsType[smithy.APIError](err); ok && strings.Contains(answer.ErrorCode(), "AlreadyExists") {
		return nil
	}
	return err
}

// image makes an image in ECR, which verify looks up. It is never pulled.
func (m *placeholderMaker) image(name string) error {
	in, ok := config.ParseECRImage(name)
	if !ok {
		return nil
	}
	registry := m.aws.In(in.Region)
	image := map[string]string{"repositoryName": in.Repository, "imageTag": cmp.Or(in.Tag, "latest"), "imageManifest": `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}`}
	if in.Digest != "" {
		image["imageDigest"] = in.Digest
	}
	return errors.Join(
		unlessThere(registry.CallJSON(m.ctx, query.ECR, "CreateRepository", map[string]string{"repositoryName": in.Repository}, &struct{}{})),
		unlessThere(registry.CallJSON(m.ctx, query.ECR, "PutImage", image, &struct{}{})),
	)
}

// topic makes the topic that alarms are sent to.
func (m *placeholderMaker) topic(arn string) error {
	if arn == "" {
		return nil
	}
	name := arn[strings.LastIndexByte(arn, ':')+1:]
	m.ids[arn] = iam.Account{Partition: "aws", Region: m.cfg.Region, ID: emulator.Account}.Of("sns", name)
	const policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["cloudwatch.amazonaws.com","events.amazonaws.com"]},"Action":"sns:Publish","Resource":"*"}]}`
	return errors.Join(m.aws.Call(m.ctx, query.SNS, "CreateTopic", query.Params{"Name": name}, nil),
		m.aws.Call(m.ctx, query.SNS, "SetTopicAttributes", query.Params{"TopicArn": m.ids[arn], "AttributeName": "Policy", "AttributeValue": policy}, nil))
}

// inAccount is how the ARN of a role or policy, and an image in ECR, begins, with the account.
var inAccount = regexp.MustCompile(`^(arn:aws[a-z-]*:iam::)?\d{12}(:|\.dkr\.ecr\.)`)

// roles makes roles, for now without permissions.
func (m *placeholderMaker) roles(x config.ExistingRoles) error {
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	for _, arn := range []string{x.ExecutionRole, x.TaskRole, x.FlowExecutionRole, x.FlowTaskRole} {
		if arn == "" {
			continue
		}
		_, path, _ := strings.Cut(arn, ":role")
		slash := strings.LastIndex(path, "/")
		err := m.aws.Call(m.ctx, query.IAM, "CreateRole", query.Params{"RoleName": path[slash+1:], "Path": path[:slash+1], "AssumeRolePolicyDocument": trust}, nil)
		if err := unlessThere(err); err != nil {
			return err
		}
	}
	return nil
}

// grant gives roles that stand for existing ones what the deployed stack says that they must be
// allowed, and nothing else: so the calls of the run show whether that is enough.
func (u *up) grant(ctx context.Context) error {
	stack, err := u.stack()
	if err != nil {
		return err
	}
	for arn, policy := range stack.NeededPolicies() {
		if err := query.New(u.aws()).Call(ctx, query.IAM, "PutRolePolicy", query.Params{"RoleName": iam.ResourceName(arn), "PolicyName": "needed", "PolicyDocument": policy}, nil); err != nil {
			return fmt.Errorf("give %s what it must be allowed: %w", arn, err)
		}
	}
	return nil
}

// stack returns the synthesized stack.
func (u *up) stack() (*stackjson.Stack, error) {
	file, err := os.ReadFile(filepath.Join(u.workspace.StackDir(u.env.Name), "cdk.tf.json"))
	if err != nil {
		return nil, err
	}
	return stackjson.Parse(file, iam.Account{Partition: "aws", Region: u.state.Region, ID: emulator.Account}, nil)
}

// replaced returns a setting with the ids of placeholders, and with the emulator's account in the ARNs of
// roles and policies and in the images of ECR.
func replaced(setting any, ids map[string]string) any {
	switch setting := setting.(type) {
	case map[string]any:
		for key, value := range setting {
			setting[key] = replaced(value, ids)
		}
	case []any:
		for i, value := range setting {
			setting[i] = replaced(value, ids)
		}
	case string:
		if id, stands := ids[setting]; stands {
			return id
		}
		return inAccount.ReplaceAllString(setting, "${1}"+emulator.Account+"${2}")
	}
	return setting
}
