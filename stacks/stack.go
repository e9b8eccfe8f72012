// Package stacks composes the constructs into the one stack of an environment.
package stacks

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawscalleridentity"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawspartition"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/provider"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/cluster"
	"prefect-worker-ecs/constructs/ecsworker"
	"prefect-worker-ecs/constructs/iam"
	"prefect-worker-ecs/constructs/logs"
	"prefect-worker-ecs/constructs/monitoring"
	"prefect-worker-ecs/constructs/network"
	"prefect-worker-ecs/constructs/scaling"
	"prefect-worker-ecs/constructs/secrets"
	"prefect-worker-ecs/constructs/tf"
	awsiam "prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/prefect/probe"
)

// Versions of what carries out the stack. CDKTF has no word for the first, and would pin
// the provider to the exact release that the binding was generated from, which shuts
// out the later ones of the same major version.
const (
	// 1.11 is the first with write-only arguments.
	requiredTerraform = ">= 1.11"
	providerSource    = "hashicorp/aws"
	providerVersion   = "~> 5.99"

	// roleSession is what CloudTrail calls who has assumed a role for a deployment.
	roleSession = "prefect-worker-ecs"
)

// NewPrefectWorker builds the stack of an environment that config has found valid. It
// panics, as CDKTF itself does, where a construct is used wrongly.
func NewPrefectWorker(scope constructs.Construct, env *config.Environment) cdktf.TerraformStack {
	runtime, err := env.Worker.Runtime()
	if err != nil {
		panic(fmt.Sprintf("stacks: environment %s was not validated: %v", env.Name, err))
	}
	stack := cdktf.NewTerraformStack(scope, &env.Name)
	newBackend(stack, env)
	newVariables(stack, env)
	account := newProvider(stack, env)

	net := network.New(stack, "network", network.Config{
		Network: env.Network,
		Account: account,
		FlowLogs: network.FlowLogs{
			Group:                  env.FlowLogGroup(),
			Role:                   env.FlowLogRole(),
			RetentionDays:          env.Logs.RetentionDays,
			KMSKeyARN:              env.Logs.KMSKeyARN,
			RolePath:               env.IAM.Path,
			PermissionsBoundaryARN: env.IAM.PermissionsBoundaryARN,
		},
		Protect: env.Protect,
		Tasks:   env.Worker.MostTasks(),
	})
	logGroup := logs.New(stack, "logs", logs.Config{Logs: env.Logs, Account: account, Protect: env.Protect})
	apiKey := secrets.New(stack, "secrets", secrets.Config{Secret: env.Secret, Authentication: env.Prefect.Authentication, Protect: env.Protect, Generated: env.GeneratedCredential()})
	protectTasksIn := ""
	if env.Worker.ProtectRuns {
		protectTasksIn = env.Cluster.Name
	}
	roles := iam.New(stack, "iam", iam.Config{
		IAM:             env.IAM,
		Account:         account,
		LogGroupARN:     logGroup.ARN,
		SecretARNs:      secretARNs(apiKey.ARN, env.Worker.Secrets, env.Worker.RegistryCredentials),
		SecretKMSKeyARN: env.Secret.KMSKeyARN,
		KMSKeyARNs:      env.Worker.KMSKeyARNs,
		ExecuteCommand:  env.Worker.ExecuteCommand,
		ProtectTasksIn:  protectTasksIn,
		FlowTasks:       flowTasks(env, account, apiKey.ARN),
	})

	subnets := net.PrivateSubnetIDs
	if env.Network.PublicIP() {
		subnets = net.PublicSubnetIDs
	}
	cluster := cluster.New(stack, "cluster", cluster.Config{
		Cluster: env.Cluster,
		Account: account,
		VPCID:   net.VPCID,
		Spot:    env.Worker.Spot || env.WorkPool.Job.Spot,
	})
	group := ecsworker.NewGroup(stack, "worker-group", ecsworker.GroupConfig{
		Name:      env.WorkerSecurityGroup(),
		VPCID:     net.VPCID,
		APIPort:   env.RemoteAPIPort(),
		ProxyPort: env.Network.ProxyPort(),
		Egress:    env.Network.Egress,
		Endpoints: net.Endpoints,
	})
	own := newServer(stack, env, serverConfig{account, net, subnets, apiKey, logGroup.Name, cluster, group.SecurityGroup})
	worker := ecsworker.New(stack, "ecsworker", ecsworker.Config{
		Worker:       env.Worker,
		WorkPool:     env.WorkPool,
		Cluster:      cluster,
		Group:        group,
		CreatePool:   env.Server.Enabled,
		Runtime:      runtime,
		PipPackages:  env.PipPackages(),
		Account:      account,
		APIURL:       apiURLReference,
		Requirements: apiRequirements(env),
		Credential: ecsworker.Credential{
			Variable:  env.Prefect.Authentication.Variable(),
			ValueFrom: apiKey.ValueFrom,
			Version:   env.Secret.Version,
		},
		LogGroup:         logGroup.Name,
		SubnetIDs:        subnets,
		PublicIP:         env.Network.PublicIP(),
		SecurityGroupIDs: env.Network.SecurityGroupIDs,
		Proxy:            env.ProxyVariables(regionReference),
		ExecutionRoleARN: roles.Execution.ARN,
		TaskRoleARN:      roles.Task.ARN,
		EventQueue:       env.EventQueue(),
		DependsOn:        slices.Concat(net.Routes, roles.Ready, apiKey.Ready, own.ready()),
	})

	if env.HasProbe() {
		monitoring.New(stack, "monitoring", monitoring.Config{
			Environment:    env,
			Account:        account,
			APIURL:         apiURLReference,
			CredentialARN:  apiKey.ARN,
			CredentialFrom: apiKey.ValueFrom,
			ClusterARN:     cluster.ARN,
			WorkerGroup:    group.SecurityGroup,
			LogGroup:       logGroup.Name,
			SubnetIDs:      subnets,
			DependsOn:      slices.Concat(net.Routes, apiKey.Ready),
		})
	}

	if env.Worker.Scales() {
		scaling.New(stack, "scaling", scaling.Config{Range: env.Worker.Scaling, ClusterName: env.Cluster.Name, ServiceName: env.Worker.ServiceName, Service: worker.Service})
	}

	newOutputs(stack, env, built{net, logGroup, apiKey, roles, cluster, group, worker, own})
	newImports(stack, env)
	return stack
}

// Files returns the files that belong beside the Terraform JSON of an environment, by name.
func Files(env *config.Environment) map[string][]byte {
	if !env.HasProbe() {
		return nil
	}
	return map[string][]byte{probe.ArchiveName: probe.Archive()}
}

// secretARNs returns the secrets that ECS reads before it starts the container, each once, the API
// key's first if there is one.
func secretARNs(apiKey string, secrets map[string]string, registry string) []string {
	var arns []string
	if apiKey != "" {
		arns = append(arns, apiKey)
	}
	add := func(secretARN string) {
		if secretARN != "" && !slices.Contains(arns, secretARN) {
			arns = append(arns, secretARN)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		add(config.SecretARN(secrets[name]))
	}
	add(registry)
	return arns
}

func flowTasks(env *config.Environment, account awsiam.Account, apiKeyARN string) *iam.FlowTasks {
	if !env.WorkPool.FlowsAreTasks() {
		return nil
	}
	tasks := &iam.FlowTasks{ClusterName: env.Cluster.Name, LogStream: env.FlowStream(), Deregister: env.WorkPool.Job.Deregister}
	if env.FlowsReadCredential() {
		tasks.SecretKMSKeyARN = env.Secret.KMSKeyARN
	} else {
		apiKeyARN = ""
	}
	if len(env.WorkPool.Job.Secrets) > 0 || env.Worker.RegistryCredentials != "" {
		tasks.KMSKeyARNs = env.Worker.KMSKeyARNs
	}
	tasks.SecretARNs = secretARNs(apiKeyARN, env.WorkPool.Job.Secrets, env.Worker.RegistryCredentials)
	if queue := env.EventQueue(); queue != "" {
		tasks.EventQueueARN = account.Of("sqs", queue)
	}
	return tasks
}

// newProvider configures AWS and returns where the stack is deployed.
func newProvider(stack cdktf.TerraformStack, env *config.Environment) awsiam.Account {
	stack.AddOverride(jsii.String("terraform"), map[string]any{
		"required_version":   requiredTerraform,
		"required_providers": map[string]any{"aws": map[string]string{"source": providerSource, "version": providerVersion}},
	})

	tags := map[string]*string{}
	for key, value := range env.Tags {
		tags[key] = jsii.String(value)
	}
	aws := &provider.AwsProviderConfig{
		Region:      jsii.String(regionReference),
		DefaultTags: []*provider.AwsProviderDefaultTags{{Tags: &tags}},
	}
	if env.AccountID != "" {
		aws.AllowedAccountIds = jsii.Strings(env.AccountID)
	}
	if env.AssumeRoleARN != "" {
		aws.AssumeRole = []*provider.AwsProviderAssumeRole{{RoleArn: &env.AssumeRoleARN, SessionName: jsii.String(roleSession)}}
	}
	provider.NewAwsProvider(stack, jsii.String("aws"), aws)

	identity := tf.WithAddress(dataawscalleridentity.NewDataAwsCallerIdentity(stack, jsii.String("identity"), &dataawscalleridentity.DataAwsCallerIdentityConfig{}), "data.aws_caller_identity.current")
	partition := tf.WithAddress(dataawspartition.NewDataAwsPartition(stack, jsii.String("partition"), &dataawspartition.DataAwsPartitionConfig{}), "data.aws_partition.current")
	return awsiam.Account{
		Partition: *tf.Partition(partition),
		ID:        *tf.AccountID(identity),
		Region:    regionReference,
	}
}

// newBackend says where the state is kept. CDKTF's own default is an absolute path, which
// differs on each machine; Terraform runs in cdktf.out/stacks/<name>, so this relative
// one is the project's folder.
func newBackend(stack cdktf.TerraformStack, env *config.Environment) {
	b := env.Backend
	if b.Type == config.BackendLocal {
		cdktf.NewLocalBackend(stack, &cdktf.LocalBackendConfig{
			Path: jsii.String("../../../terraform." + env.Name + ".tfstate"),
		})
		return
	}
	backend := cdktf.NewS3Backend(stack, &cdktf.S3BackendConfig{
		Bucket:   &b.Bucket,
		Key:      &b.Key,
		Region:   &b.Region,
		Encrypt:  jsii.Bool(true),
		KmsKeyId: tf.Optional(b.KMSKeyARN),
	})
	backend.AddOverride(jsii.String("use_lockfile"), true) // the binding has no field for it
	if b.AssumeRoleARN != "" {                             // nor for this one
		backend.AddOverride(jsii.String("assume_role"), map[string]string{"role_arn": b.AssumeRoleARN, "session_name": roleSession})
	}
}

// keptOfImports are arguments, by resource types, that stay as they are in AWS: for a description a group would be
// replaced, and AWS does not remove the defaults of Service Connect, which services of others use, nor the log of
// ExecuteCommand.
var keptOfImports = map[string][]string{"aws_security_group": {"description"}, "aws_ecs_cluster": {"configuration", "service_connect_defaults"}}

// newImports takes over what exists already, with Terraform's import blocks: CDKTF's ImportFrom
// would start Terraform at each synth to read its version. Once imported the blocks do nothing.
// A block for what the configuration no longer has would stop Terraform, so it is left out.
func newImports(stack cdktf.TerraformStack, env *config.Environment) {
	if len(env.Imports) == 0 {
		return
	}
	content, _ := stack.ToTerraform().(map[string]any)
	resources, _ := content["resource"].(map[string]any)
	var blocks []map[string]string
	for _, address := range slices.Sorted(maps.Keys(env.Imports)) {
		kind, name, _ := strings.Cut(address, ".")
		if named, _ := resources[kind].(map[string]any); named[name] != nil {
			blocks = append(blocks, map[string]string{"to": address, "id": tf.Literal(env.Imports[address])})
			if ignored := keptOfImports[kind]; ignored != nil {
				stack.AddOverride(jsii.String("resource."+address+".lifecycle.ignore_changes"), ignored)
			}
		}
	}
	if len(blocks) > 0 {
		stack.AddOverride(jsii.String("import"), blocks)
	}
}
