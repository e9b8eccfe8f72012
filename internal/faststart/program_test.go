package faststart

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/cloudwatchloggroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/codepipeline"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawssqsqueue"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecscluster"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/iamrole"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/provider"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/securitygroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/subnet"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/vpc"
	"github.com/hashicorp/terraform-cdk-go/cdktf"
)

// programs are what the test binary can run instead of tests: CDKTF programs,
// which need a process of their own. Each writes to a folder of its name.
var programs = map[string]func(app cdktf.App){
	"mini":    func(app cdktf.App) { mini(app, "mini") },
	"unusual": unusual,
	"broken":  broken,
}

// runPrograms is the main function of such a process. It prints, as JSON, the
// environment after Enable and the errors of the programs.
func runPrograms(names []string) {
	Enable()
	report := report{Errors: map[string]string{}, Environment: os.Environ()}
	for _, name := range names {
		func() {
			defer func() {
				if r := recover(); r != nil {
					report.Errors[name] = fmt.Sprint(r)
				}
			}()
			app := cdktf.NewApp(&cdktf.AppConfig{Outdir: jsii.String(name)})
			programs[name](app)
			app.Synth()
		}()
	}
	report.WaiterBefore = waiterRuns()
	Close()
	report.WaiterAfter = waiterRuns()
	fmt.Print(reportPrefix)
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		panic(err)
	}
}

const reportPrefix = "report: "

type report struct {
	Errors      map[string]string
	Environment []string
	// Whether jsii's goroutine existed before and after Close.
	WaiterBefore, WaiterAfter bool
}

func (r report) lookup(name string) (value string, set bool) {
	for _, entry := range r.Environment {
		if v, found := strings.CutPrefix(entry, name+"="); found {
			return v, true
		}
	}
	return "", false
}

func newStack(app constructs.Construct, id string) cdktf.TerraformStack {
	stack := cdktf.NewTerraformStack(app, &id)
	provider.NewAwsProvider(stack, jsii.String("aws"), &provider.AwsProviderConfig{Region: jsii.String("us-east-1")})
	return stack
}

func mini(app constructs.Construct, id string) (cdktf.TerraformStack, vpc.Vpc) {
	stack := newStack(app, id)
	network := vpc.NewVpc(stack, jsii.String("vpc"), &vpc.VpcConfig{CidrBlock: jsii.String("10.0.0.0/16")})
	subnet.NewSubnet(stack, jsii.String("subnet"), &subnet.SubnetConfig{VpcId: network.Id(), CidrBlock: jsii.String("10.0.1.0/24")})
	ecscluster.NewEcsCluster(stack, jsii.String("cluster"), &ecscluster.EcsClusterConfig{Name: jsii.String("ünïcode")})
	iamrole.NewIamRole(stack, jsii.String("role"), &iamrole.IamRoleConfig{AssumeRolePolicy: jsii.String("{}")})
	cloudwatchloggroup.NewCloudwatchLogGroup(stack, jsii.String("logs"), &cloudwatchloggroup.CloudwatchLogGroupConfig{Name: jsii.String("/x")})
	securitygroup.NewSecurityGroup(stack, jsii.String("group"), &securitygroup.SecurityGroupConfig{
		VpcId:  network.Id(),
		Egress: &[]*securitygroup.SecurityGroupEgress{{FromPort: jsii.Number(443), ToPort: jsii.Number(443), Protocol: jsii.String("tcp")}},
	})
	return stack, network
}

// unusual uses a resource and a data source of the provider that nothing else
// here uses, with nested types, and the two things of cdktf that load late: a
// validation of Terraform's version and an archive, which another Node makes.
func unusual(app cdktf.App) {
	stack := newStack(app, "unusual")
	queue := dataawssqsqueue.NewDataAwsSqsQueue(stack, jsii.String("queue"), &dataawssqsqueue.DataAwsSqsQueueConfig{Name: jsii.String("q")})
	pipeline := codepipeline.NewCodepipeline(stack, jsii.String("pipeline"), &codepipeline.CodepipelineConfig{
		Name:          jsii.String("p"),
		RoleArn:       queue.Arn(),
		ArtifactStore: &[]*codepipeline.CodepipelineArtifactStore{{Location: jsii.String("l"), Type: jsii.String("S3")}},
		Stage: &[]*codepipeline.CodepipelineStage{{
			Name: jsii.String("s"),
			Action: &[]*codepipeline.CodepipelineStageAction{{
				Category: jsii.String("Source"), Name: jsii.String("a"), Owner: jsii.String("AWS"),
				Provider: jsii.String("S3"), Version: jsii.String("1"),
			}},
		}},
	})
	pipeline.ImportFrom(jsii.String("existing"), nil)
	cdktf.NewTerraformAsset(stack, jsii.String("archive"), &cdktf.TerraformAssetConfig{
		Path: jsii.String("asset"), Type: cdktf.AssetType_ARCHIVE,
	})
	pipeline.ArtifactStore().Get(jsii.Number(0)).SetRegion(jsii.String("eu-west-1"))
	cdktf.NewTerraformOutput(stack, jsii.String("stage"), &cdktf.TerraformOutputConfig{
		Value: pipeline.Stage().Get(jsii.Number(0)).Action().Get(jsii.Number(0)).Name(),
	})

	// Every kind of token, in every place, and what only looks like one.
	number := cdktf.Token_AsNumber(queue.Arn())
	cdktf.NewTerraformOutput(stack, jsii.String("tokens"), &cdktf.TerraformOutputConfig{Value: map[string]any{
		"number":            number,
		"list":              cdktf.Token_AsList(queue.Arn(), nil),
		"numbers":           cdktf.Token_AsNumberList(queue.Arn()),
		"map":               cdktf.Token_AsStringMap(queue.Arn(), nil),
		"numberInText":      fmt.Sprintf("%v of them", *number),
		"text":              fmt.Sprintf("a %s and %v, 1e5, -12e+3", *queue.Arn(), *number),
		"key":               map[string]any{*queue.Arn(): "the key is a token", "x": number},
		"plain":             []any{"-e01", "1e300", 1e21, -1, 0.5, true, nil, []any{}, map[string]any{"a": nil}},
		"listOfLists":       []any{[]any{queue.Arn(), "x"}, map[string]any{"deep": []any{queue.Url()}}},
		"function":          cdktf.Fn_Join(jsii.String(","), jsii.Strings(*queue.Arn(), "${not.escaped}", `"quoted"`)),
		"aResource":         pipeline,
		"literal reference": "${data.aws_sqs_queue.queue.arn}",
	}})
	// A reference to another stack adds to both when it is resolved.
	other := newStack(app, "unusual-other")
	cdktf.NewTerraformOutput(other, jsii.String("reference"), &cdktf.TerraformOutputConfig{Value: []any{pipeline.Arn()}})
}

// broken has two stacks that need each other.
func broken(app cdktf.App) {
	first, firstVpc := mini(app, "first")
	second, secondVpc := mini(app, "second")
	subnet.NewSubnet(first, jsii.String("other"), &subnet.SubnetConfig{VpcId: secondVpc.Id()})
	subnet.NewSubnet(second, jsii.String("other"), &subnet.SubnetConfig{VpcId: firstVpc.Id()})
}
