package monitoring

import (
	"slices"
	"strconv"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/lambdafunction"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/schedulerschedule"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/prefect/probe"
)

// newProbe builds the function, its role and log group, and the schedule that starts it.
func (cfg Config) newProbe(scope constructs.Construct) {
	env := cfg.Environment
	group := block.NewLogGroup(scope, "log-group", block.LogGroupConfig{Address: "probe", Name: env.ProbeLogGroup(), RetentionDays: env.Logs.RetentionDays, KMSKeyARN: env.Logs.KMSKeyARN})
	// Only who may pass the role can give it to a function, so that no condition is needed; nor
	// does Lambda document one for this.
	role, permissions := cfg.newRole(scope, "probe", "probe", env.ProbeRole(), "What the probe may do in AWS",
		iam.New(iam.Statement{Effect: "Allow", Principal: iam.ByService("lambda.amazonaws.com"), Action: []string{"sts:AssumeRole"}}),
		cfg.probePermissions(*tf.ARN(group))...)

	variables := map[string]*string{
		"AUTHENTICATION":  jsii.String(string(env.Prefect.Authentication)),
		"CLUSTER":         &env.Cluster.Name,
		"PENDING_MINUTES": jsii.String(strconv.Itoa(env.Monitoring.PendingMinutes)),
		"PREFECT_API_URL": &cfg.APIURL,
		"QUEUES":          jsii.String(tf.Literal(*tf.JSON(env.WorkPool.Queues))),
		"SERVICE":         &env.Worker.ServiceName,
		"WORK_POOL":       jsii.String(tf.Literal(env.WorkPool.Name)),
		"WORK_POOL_TYPE":  jsii.String(string(env.WorkPool.Type)),
	}
	if env.Worker.Scales() {
		variables["SCALING"] = tf.JSON(scaling{env.Worker.Scaling.Min, env.Worker.Scaling.Max, env.Worker.ConcurrencyLimit})
	}
	if cfg.CredentialFrom != "" {
		variables["CREDENTIAL"] = &cfg.CredentialFrom
	}
	dependsOn := slices.Concat([]cdktf.ITerraformDependable{permissions}, cfg.DependsOn, []cdktf.ITerraformDependable{group.Element})
	function := &lambdafunction.LambdaFunctionConfig{
		FunctionName:   jsii.String(env.Probe()),
		Description:    jsii.String("Publishes metrics of the worker from the Prefect API each minute"),
		Role:           role.ARN(),
		Runtime:        jsii.String("python3.13"),
		Handler:        jsii.String("probe.handler"),
		Architectures:  jsii.Strings("arm64"), // cheaper, and the code is the same
		Filename:       jsii.String(probe.ArchiveName),
		SourceCodeHash: jsii.String(probe.Hash()),
		MemorySize:     jsii.Number(256),
		Timeout:        jsii.Number(55), // the next one comes after 60 s
		Environment:    &lambdafunction.LambdaFunctionEnvironment{Variables: &variables},
		DependsOn:      &dependsOn,
	}
	if env.ProbeInVPC() {
		// The worker's group may connect to what the probe must, and nothing connects to it.
		function.VpcConfig = &lambdafunction.LambdaFunctionVpcConfig{
			SubnetIds:        jsii.Strings(cfg.SubnetIDs...),
			SecurityGroupIds: &[]*string{cfg.WorkerGroup.ID()},
		}
	}
	built := tf.WithAddress(lambdafunction.NewLambdaFunction(scope, jsii.String("probe"), function), "aws_lambda_function.probe")

	// A condition on the group of schedules is the narrowest that EventBridge Scheduler takes
	// ("Confused deputy prevention" in its user guide).
	schedulerRole, _ := cfg.newRole(scope, "schedule", "probe_schedule", env.ScheduleRole(), "Starts the probe each minute",
		iam.Trust("scheduler.amazonaws.com", cfg.Account, cfg.Account.Of("scheduler", "schedule-group/default")),
		iam.Allow("StartProbe", []string{"lambda:InvokeFunction"}, *tf.ARN(built)))
	tf.WithAddress(schedulerschedule.NewSchedulerSchedule(scope, jsii.String("schedule"), &schedulerschedule.SchedulerScheduleConfig{
		Name:               jsii.String(env.Probe()),
		Description:        jsii.String("Starts the probe of the Prefect worker each minute"),
		ScheduleExpression: jsii.String("rate(1 minute)"),
		FlexibleTimeWindow: &schedulerschedule.SchedulerScheduleFlexibleTimeWindow{Mode: jsii.String("OFF")},
		Target: &schedulerschedule.SchedulerScheduleTarget{
			Arn:     tf.ARN(built),
			RoleArn: schedulerRole.ARN(),
			// The next minute brings the next one.
			RetryPolicy: &schedulerschedule.SchedulerScheduleTargetRetryPolicy{MaximumEventAgeInSeconds: jsii.Number(60), MaximumRetryAttempts: jsii.Number(0)},
		},
	}), "aws_scheduler_schedule.probe")
}

// scaling is the range of worker tasks, and the flow runs that each takes at a time.
type scaling struct {
	Min   int `json:"min"`
	Max   int `json:"max"`
	Slots int `json:"slots"`
}

// newRole builds a role with one inline policy, which must be there before the role is used.
func (cfg Config) newRole(scope constructs.Construct, id, address, name, description string, trust iam.Document, statements ...iam.Statement) (block.Role, cdktf.ITerraformDependable) {
	role := block.NewRole(scope, id, block.RoleConfig{Address: address, Name: name, Description: description, Trust: trust,
		Path: cfg.Environment.IAM.Path, PermissionsBoundaryARN: cfg.Environment.IAM.PermissionsBoundaryARN})
	return role, role.Inline(id+"-policy", address, name, statements...)
}

// probePermissions returns the statements for what the probe calls, each action as narrow as AWS lets it be (Service
// Authorization Reference).
func (cfg Config) probePermissions(logGroupARN string) []iam.Statement {
	env, account := cfg.Environment, cfg.Account
	cluster := account.Of("ecs", "cluster/"+env.Cluster.Name)
	statements := []iam.Statement{
		// The action does not support resource-level permissions, but a condition on the namespace.
		iam.Allow("PublishMetrics", []string{"cloudwatch:PutMetricData"}, "*").If("StringEquals", "cloudwatch:namespace", probe.Namespace),
		iam.Allow("DescribeWorker", []string{"ecs:DescribeServices"}, account.Of("ecs", "service/"+env.Cluster.Name+"/"+env.Worker.ServiceName)),
		iam.Allow("DescribeTasks", []string{"ecs:DescribeTasks"}, account.Of("ecs", "task/"+env.Cluster.Name+"/*")).If("ArnEquals", "ecs:cluster", cluster),
		iam.Allow("WriteLog", []string{"logs:CreateLogStream", "logs:PutLogEvents"}, logGroupARN+":*"),
	}
	if cfg.CredentialARN != "" {
		statements = append(statements, iam.Allow("ReadCredential", []string{"secretsmanager:GetSecretValue"}, cfg.CredentialARN))
		statements = append(statements, iam.Decrypt(account, "DecryptSecrets", "secretsmanager", env.Secret.KMSKeyARN)...)
	}
	if env.ProbeInVPC() {
		// What AWSLambdaVPCAccessExecutionRole has for the network interface; most do not support resource-level permissions.
		statements = append(statements, iam.Allow("JoinVPC", []string{
			"ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
			"ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
		}, "*"))
	}
	return statements
}
