package run

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/query"
)

// imported makes the network, the cluster and the queues of the stack as the stack describes them, and has
// Terraform import them like those that workerctl adopt finds. Where it makes them itself, the AWS provider waits 10 s
// before it looks at a VPC or a cluster for the first time, and watches each queue for 25 s. (The life cycle tests let
// it.) What an earlier up has made stays.
func (u *up) imported(ctx context.Context, yaml []byte) error {
	stack, err := u.stack()
	if err != nil {
		return err
	}
	checklist, err := u.checklist()
	if err != nil {
		return err
	}
	imports := map[string]string{}
	for kind, create := range map[string]func(context.Context, map[string]any) (string, error){
		"aws_vpc": u.makeVPC, "aws_ecs_cluster": u.makeCluster, "aws_sqs_queue": u.makeQueue,
	} {
		for _, name := range stack.Names(kind) {
			address := kind + "." + name
			id := checklist.Environment.Imports[address]
			if id == "" {
				if id, err = create(ctx, stack.Resource(kind, name)); err != nil {
					return fmt.Errorf("make %s: %w", address, err)
				}
			}
			imports[address] = id
		}
	}
	if maps.Equal(imports, checklist.Environment.Imports) {
		return nil
	}
	if err := config.WriteImports(u.environments(), u.env.Name, imports); err != nil {
		return err
	}
	return u.workspace.Synth(ctx, u.env.Name, yaml)
}

func (u *up) makeVPC(ctx context.Context, vpc map[string]any) (string, error) {
	m := &placeholderMaker{ctx: ctx, aws: query.New(u.aws())}
	id, err := m.create("CreateVpc", query.Params{"CidrBlock": vpc["cidr_block"]})
	if err != nil {
		return "", err
	}
	for argument, attribute := range map[string]string{"enable_dns_support": "EnableDnsSupport", "enable_dns_hostnames": "EnableDnsHostnames"} {
		if err := m.aws.Call(ctx, query.EC2, "ModifyVpcAttribute", query.Params{"VpcId": id, attribute: query.Params{"Value": vpc[argument] == true}}, nil); err != nil {
			return "", err
		}
	}
	return id, nil
}

func (u *up) makeCluster(ctx context.Context, cluster map[string]any) (string, error) {
	name, _ := cluster["name"].(string)
	in := &ecs.CreateClusterInput{ClusterName: &name}
	settings, _ := cluster["setting"].([]any)
	for _, setting := range settings {
		setting, _ := setting.(map[string]any)
		key, _ := setting["name"].(string)
		value, _ := setting["value"].(string)
		in.Settings = append(in.Settings, ecstypes.ClusterSetting{Name: ecstypes.ClusterSettingName(key), Value: &value})
	}
	_, err := ecs.NewFromConfig(u.aws()).CreateCluster(ctx, in)
	return name, err
}

func (u *up) makeQueue(ctx context.Context, queue map[string]any) (string, error) {
	name, _ := queue["name"].(string)
	attributes := map[string]string{"MaximumMessageSize": "262144"} // which the provider sets by itself
	for argument, attribute := range map[string]sqstypes.QueueAttributeName{
		"message_retention_seconds":  sqstypes.QueueAttributeNameMessageRetentionPeriod,
		"visibility_timeout_seconds": sqstypes.QueueAttributeNameVisibilityTimeout,
		"sqs_managed_sse_enabled":    sqstypes.QueueAttributeNameSqsManagedSseEnabled,
	} {
		if value, set := queue[argument]; set {
			text, err := json.Marshal(value) // a number without an exponent
			if err != nil {
				return "", err
			}
			attributes[string(attribute)] = string(text)
		}
	}
	made, err := sqs.NewFromConfig(u.aws()).CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		return "", err
	}
	return aws.ToString(made.QueueUrl), nil
}
