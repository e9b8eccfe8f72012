package lifecycle

import (
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

// emulated is the emulator, with keys that may do everything. It is not from variables, which
// all tests of a process share.
func emulated(e *emulator.Emulator) aws.Config {
	return aws.Config{Region: "us-east-1", BaseEndpoint: &e.Endpoint, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
}

// may makes the tools those of somebody who has only the policy of the environment, but for
// some actions.
func (d *life) may(purpose deployer.Purpose, but ...string) {
	d.t.Helper()
	d.deployer = d.proxy.As("arn:aws:iam::123456789012:user/deployer", d.policy(purpose, but...))
}

func (d *life) policy(purpose deployer.Purpose, but ...string) iam.Document {
	d.t.Helper()
	stack, err := stackjson.Parse(d.synthesized(), iam.Account{Partition: "aws", Region: "us-east-1", ID: "123456789012"}, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	document, err := deployer.Policy(stack, purpose)
	if err != nil {
		d.t.Fatal(err)
	}
	return without(document, but...)
}

// notCalled are actions that these life cycles do not need: they change nothing of the kind, or
// the emulator lacks what makes Terraform call them.
var notCalled = map[string]string{
	"ec2:DeleteTags": "a tag is removed", "ecs:UntagResource": "a tag is removed", "events:UntagResource": "a tag is removed", "iam:UntagRole": "a tag is removed",
	"logs:UntagResource": "a tag is removed", "rds:RemoveTagsFromResource": "a tag is removed", "secretsmanager:UntagResource": "a tag is removed",
	"servicediscovery:UntagResource": "a tag is removed", "sqs:UntagQueue": "a tag is removed",

	"ec2:ModifySecurityGroupRules": "another port", "ec2:ModifySubnetAttribute": "another setting of a subnet", "ec2:ModifyVpcEndpoint": "another route table",
	"ec2:ReplaceRoute": "another gateway", "ec2:ReplaceRouteTableAssociation": "another route table", "ecs:UpdateCluster": "other insights",
	"iam:PutRolePermissionsBoundary": "a boundary comes", "iam:UpdateAssumeRolePolicy": "another release's trust policy", "iam:UpdateRole": "another release's description",
	"iam:UpdateRoleDescription": "another release's description", "logs:AssociateKmsKey": "a key comes", "logs:DisassociateKmsKey": "a key goes",
	"logs:DeleteRetentionPolicy": "logs never expire", "rds:ModifyDBSubnetGroup": "other subnets", "rds:ResetDBParameterGroup": "a parameter goes",
	"secretsmanager:UpdateSecret": "another description or key", "secretsmanager:UpdateSecretVersionStage": "a write that was half done", "servicediscovery:UpdatePrivateDnsNamespace": "another description",
	"servicediscovery:UpdateService": "another description", "servicediscovery:ListInstances": "verify",

	"ecr:DescribeImages": "verify", "ecs:ListTasks": "verify", "ecs:GetTaskProtection": "verify", "ecs:DescribeTasks": "verify", "iam:GetPolicy": "verify", "iam:GetPolicyVersion": "verify", "logs:FilterLogEvents": "verify",
	"cloudwatch:GetMetricData": "verify", "lambda:GetFunctionConfiguration": "verify called it; whether Terraform waits with it in AWS is open", "kms:DescribeKey": "verify", "kms:GetKeyPolicy": "verify",
	"sns:ListSubscriptionsByTopic": "verify", "kms:Decrypt": "the emulator asks no key", "kms:GenerateDataKey": "the emulator asks no key",

	"cloudwatch:UntagResource": "a tag is removed", "lambda:UntagResource": "a tag is removed", "lambda:DeleteFunctionConcurrency": "somebody else has reserved concurrency", "sns:UntagResource": "a tag is removed",
	"lambda:UpdateFunctionCode": "another release's probe", "scheduler:UpdateSchedule": "another release's schedule",

	"ec2:DescribeRegions": "Cloud Map asks", "route53:GetHostedZone": "Cloud Map asks", "route53:ListHostedZonesByName": "Cloud Map asks",
	"ec2:RevokeSecurityGroupIngress": "AWS gives a default group a rule that moto does not", "iam:CreateServiceLinkedRole": "the first cluster or database of an account",
}

// eachActionIsNeeded judges the calls of a life cycle again, without one action after the
// other: one that no call needs is too much.
func (d *life) eachActionIsNeeded() {
	d.t.Helper()
	whole := d.policy(deployer.Deploy)
	d.journal.mu.Lock()
	defer d.journal.mu.Unlock()
	calls := map[string]enforce.Call{}
	for _, call := range d.journal.calls {
		if call.Allowed {
			calls[call.Action] = call
		}
	}
	actions := map[string]bool{}
	for _, s := range whole.Statement {
		for _, action := range s.Action {
			actions[action] = true
		}
	}
	for _, action := range slices.Sorted(maps.Keys(actions)) {
		call, called := calls[action]
		if !called && notCalled[action] == "" {
			d.t.Errorf("no call needs %s", action)
		}
		if called && enforce.Decide(call, []iam.Document{without(whole, action)}, nil, nil).Allowed {
			d.t.Errorf("%s is allowed without the action", action)
		}
	}
}

// without is a policy but for some actions.
func without(policy iam.Document, actions ...string) iam.Document {
	policy.Statement = slices.Clone(policy.Statement)
	for i, s := range policy.Statement {
		policy.Statement[i].Action = slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return slices.Contains(actions, a) })
	}
	return policy
}
