// Package block builds the resources that several constructs need in the same form: security groups
// and their rules, roles and their policies, log groups, event rules.
package block

import (
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatcheventrule"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatchloggroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrole"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrolepolicy"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrolepolicyattachment"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/securitygroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/vpcsecuritygroupegressrule"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/vpcsecuritygroupingressrule"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// SecurityGroup is a security group of the stack. It allows nothing before Ingress and Egress.
type SecurityGroup struct {
	tf.Addressed[securitygroup.SecurityGroup]
	// Name is also the Name tag of the group and its rules.
	Name string
}

// NewSecurityGroup builds a security group. address is its name in Terraform.
func NewSecurityGroup(scope constructs.Construct, id, address, name, description, vpcID string) SecurityGroup {
	return SecurityGroup{tf.WithAddress(securitygroup.NewSecurityGroup(scope, &id, &securitygroup.SecurityGroupConfig{
		Name:        &name,
		Description: &description,
		VpcId:       &vpcID,
		Tags:        tf.NameTag(name),
	}), "aws_security_group."+address), name}
}

// ID refers to the id of the group.
func (g SecurityGroup) ID() *string { return tf.ID(g.Addressed) }

// Egress allows connections from the members of the group to a TCP port: of the members of another
// group, or of any IPv4 address if to is nil.
func (g SecurityGroup) Egress(scope constructs.Construct, address, description string, port int, to *SecurityGroup) cdktf.ITerraformDependable {
	rule := &vpcsecuritygroupegressrule.VpcSecurityGroupEgressRuleConfig{
		Description: &description,
		IpProtocol:  jsii.String("tcp"),
		FromPort:    jsii.Number(port),
		ToPort:      jsii.Number(port),
	}
	if to == nil {
		rule.CidrIpv4 = jsii.String("0.0.0.0/0")
	} else {
		rule.ReferencedSecurityGroupId = to.ID()
	}
	return g.egress(scope, address, rule)
}

// EgressTo allows connections from the members of the group as an option of the configuration says.
func (g SecurityGroup) EgressTo(scope constructs.Construct, r config.Egress) cdktf.ITerraformDependable {
	return g.egress(scope, r.Address(), &vpcsecuritygroupegressrule.VpcSecurityGroupEgressRuleConfig{
		Description:               jsii.String(tf.Literal(r.Description)),
		IpProtocol:                jsii.String(string(r.Protocol)),
		FromPort:                  jsii.Number(r.FromPort),
		ToPort:                    jsii.Number(r.ToPort),
		CidrIpv4:                  tf.Optional(r.CIDR),
		PrefixListId:              tf.Optional(r.PrefixListID),
		ReferencedSecurityGroupId: tf.Optional(r.SecurityGroupID),
	})
}

func (g SecurityGroup) egress(scope constructs.Construct, address string, rule *vpcsecuritygroupegressrule.VpcSecurityGroupEgressRuleConfig) cdktf.ITerraformDependable {
	rule.SecurityGroupId, rule.Tags = g.ID(), tf.NameTag(g.Name)
	return tf.WithAddress(vpcsecuritygroupegressrule.NewVpcSecurityGroupEgressRule(scope, jsii.String("egress-"+address), rule), "aws_vpc_security_group_egress_rule."+address).Element
}

// Ingress allows connections from the members of another group to a TCP port of the members of this
// one.
func (g SecurityGroup) Ingress(scope constructs.Construct, address, description string, port int, from SecurityGroup) cdktf.ITerraformDependable {
	return tf.WithAddress(vpcsecuritygroupingressrule.NewVpcSecurityGroupIngressRule(scope, jsii.String("ingress-"+address), &vpcsecuritygroupingressrule.VpcSecurityGroupIngressRuleConfig{
		SecurityGroupId:           g.ID(),
		Description:               &description,
		IpProtocol:                jsii.String("tcp"),
		FromPort:                  jsii.Number(port),
		ToPort:                    jsii.Number(port),
		ReferencedSecurityGroupId: from.ID(),
		Tags:                      tf.NameTag(g.Name),
	}), "aws_vpc_security_group_ingress_rule."+address).Element
}

// RoleConfig says which role NewRole builds.
type RoleConfig struct {
	// Address is its name in Terraform.
	Address           string
	Name, Description string
	Trust             iam.Document
	// Path begins and ends with a slash. Empty: IAM's default, /.
	Path string
	// PermissionsBoundaryARN is the policy that limits the role. Empty: none.
	PermissionsBoundaryARN string
}

// Role is a role of the stack. Its policies are resources of their own, for which whatever uses the
// role must wait.
type Role struct {
	tf.Addressed[iamrole.IamRole]
	scope constructs.Construct
}

// NewRole builds a role without permissions.
func NewRole(scope constructs.Construct, id string, cfg RoleConfig) Role {
	return Role{tf.WithAddress(iamrole.NewIamRole(scope, jsii.String(id+"-role"), &iamrole.IamRoleConfig{
		Name:                &cfg.Name,
		Description:         &cfg.Description,
		Path:                tf.Optional(cfg.Path),
		AssumeRolePolicy:    tf.JSON(cfg.Trust),
		PermissionsBoundary: tf.Optional(cfg.PermissionsBoundaryARN),
	}), "aws_iam_role."+cfg.Address), scope}
}

// ARN refers to the ARN of the role.
func (r Role) ARN() *string { return tf.ARN(r.Addressed) }

// Inline gives the role an inline policy of these statements.
func (r Role) Inline(id, address, name string, statements ...iam.Statement) cdktf.ITerraformDependable {
	return tf.WithAddress(iamrolepolicy.NewIamRolePolicy(r.scope, &id, &iamrolepolicy.IamRolePolicyConfig{
		Name:   &name,
		Role:   tf.ID(r.Addressed),
		Policy: tf.JSON(iam.New(statements...)),
	}), "aws_iam_role_policy."+address).Element
}

// Attach attaches a managed policy to the role.
func (r Role) Attach(id, address, policyARN string) cdktf.ITerraformDependable {
	return tf.WithAddress(iamrolepolicyattachment.NewIamRolePolicyAttachment(r.scope, &id, &iamrolepolicyattachment.IamRolePolicyAttachmentConfig{
		Role:      tf.Name(r.Addressed),
		PolicyArn: &policyARN,
	}), "aws_iam_role_policy_attachment."+address).Element
}

// LogGroupConfig says which log group NewLogGroup builds.
type LogGroupConfig struct {
	// Address is its name in Terraform.
	Address, Name string
	// RetentionDays is how long events are kept; 0 keeps them indefinitely.
	RetentionDays int
	// KMSKeyARN encrypts the group. Empty: CloudWatch's own encryption.
	KMSKeyARN string
	// Protect makes Terraform refuse to destroy it.
	Protect bool
}

// NewLogGroup builds a CloudWatch log group.
func NewLogGroup(scope constructs.Construct, id string, cfg LogGroupConfig) tf.Addressed[cloudwatchloggroup.CloudwatchLogGroup] {
	return tf.WithAddress(cloudwatchloggroup.NewCloudwatchLogGroup(scope, &id, &cloudwatchloggroup.CloudwatchLogGroupConfig{
		Name:            &cfg.Name,
		RetentionInDays: jsii.Number(cfg.RetentionDays),
		KmsKeyId:        tf.Optional(cfg.KMSKeyARN),
		Lifecycle:       tf.Protected(cfg.Protect),
	}), "aws_cloudwatch_log_group."+cfg.Address)
}

// EventPattern selects events of ECS ("Amazon ECS events" in the Amazon ECS Developer Guide).
type EventPattern struct {
	Source     []string            `json:"source"`
	DetailType []string            `json:"detail-type"`
	Resources  []string            `json:"resources,omitempty"`
	Detail     map[string][]string `json:"detail"`
}

// NewEventRule builds a rule of EventBridge for events of ECS.
func NewEventRule(scope constructs.Construct, id, address, name, description string, pattern EventPattern) tf.Addressed[cloudwatcheventrule.CloudwatchEventRule] {
	pattern.Source = []string{"aws.ecs"}
	return tf.WithAddress(cloudwatcheventrule.NewCloudwatchEventRule(scope, &id, &cloudwatcheventrule.CloudwatchEventRuleConfig{
		Name:         &name,
		Description:  &description,
		EventPattern: tf.JSON(pattern),
	}), "aws_cloudwatch_event_rule."+address)
}
