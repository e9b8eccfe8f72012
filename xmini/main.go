package main

import (
	"fmt"
	"prefect-worker-ecs/internal/faststart"
	"os"
	"time"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatchloggroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecscluster"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrole"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/provider"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/securitygroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/subnet"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/vpc"
	"github.com/hashicorp/terraform-cdk-go/cdktf"
)

func stack(scope constructs.Construct, id string) {
	s := cdktf.NewTerraformStack(scope, &id)
	provider.NewAwsProvider(s, jsii.String("aws"), &provider.AwsProviderConfig{Region: jsii.String("us-east-1")})
	v := vpc.NewVpc(s, jsii.String("vpc"), &vpc.VpcConfig{CidrBlock: jsii.String("10.0.0.0/16")})
	subnet.NewSubnet(s, jsii.String("subnet"), &subnet.SubnetConfig{VpcId: v.Id(), CidrBlock: jsii.String("10.0.1.0/24")})
	ecscluster.NewEcsCluster(s, jsii.String("cluster"), &ecscluster.EcsClusterConfig{Name: jsii.String("c")})
	iamrole.NewIamRole(s, jsii.String("role"), &iamrole.IamRoleConfig{AssumeRolePolicy: jsii.String("{}")})
	cloudwatchloggroup.NewCloudwatchLogGroup(s, jsii.String("logs"), &cloudwatchloggroup.CloudwatchLogGroupConfig{Name: jsii.String("/x")})
	securitygroup.NewSecurityGroup(s, jsii.String("sg"), &securitygroup.SecurityGroupConfig{VpcId: v.Id(),
		Egress: &[]*securitygroup.SecurityGroupEgress{{FromPort: jsii.Number(443), ToPort: jsii.Number(443), Protocol: jsii.String("tcp")}}})
}

func main() {
	t0 := time.Now()
	faststart.Enable()
	defer func() {
		if os.Getenv("T") != "" {
			fmt.Fprintln(os.Stderr, "main", time.Since(t0))
		}
	}()
	defer jsii.Close()
	app := cdktf.NewApp(nil)
	stack(app, "dev")
	app.Synth()
}
