package verify

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"go.yaml.in/yaml/v3"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/prefect/api"
)

// call makes a request that must succeed.
func call[In, Out, Options any](t *testing.T, f func(context.Context, *In, ...func(*Options)) (*Out, error), in *In) *Out {
	t.Helper()
	out, err := f(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	executionRole = "prefect-task-execution-role"
	taskRole      = "prefect-task-role"
)

// drift changes one thing after the other, sees verify name it, and puts it back: the worker
// runs all the while, so that nothing but verify notices.
func (b *bench) drift(t *testing.T, opt Options) {
	t.Helper()
	green(t, verified(t, opt))
	for _, change := range slices.Concat(b.roleChanges(t), b.secretChanges(t), b.networkChanges(t), b.serviceChanges(t, opt), b.prefectChanges(t)) {
		// Not a subtest: what is put back wrongly spoils all that follows, so it ends there.
		undo := change.do()
		opt := opt
		if change.check == checkRoles || change.check == checkNetwork { // at which nothing else looks
			opt.only = with(change.check)
		}
		if change.status == OK {
			if report := verified(t, opt); report.Outcome != OK {
				t.Errorf("%s is no failure:\n%s", change.name, text(report))
			}
		} else {
			report := verified(t, opt)
			found := slices.ContainsFunc(report.Checks, func(c Check) bool {
				return c.Name == change.check && c.Status == change.status && strings.Contains(c.Detail, change.detail) && c.Fix != ""
			})
			if !found || report.Outcome != change.status {
				t.Errorf("%s: want %s %s with %q:\n%s", change.name, change.check, change.status, change.detail, text(report))
			}
		}
		undo()
	}
	green(t, verified(t, opt))
}

// refused takes one right after the other away from the identity that verifies.
func (b *bench) refused(t *testing.T, opt Options) {
	t.Helper()
	for operation, check := range map[string]string{
		"DescribeClusters": checkCluster, "DescribeServices": checkService, "DescribeTaskDefinition": checkDefinition,
		"ListTasks": checkWorker, "DescribeSubnets": checkNetwork, "DescribeRouteTables": checkNetwork, "DescribeNatGateways": checkNetwork,
		"DescribeSecurityGroups": checkNetwork, "GetSecretValue": checkSecret, "GetResourcePolicy": checkRoles, "DescribeSecret": checkRoles,
		"GetRole": checkRoles, "ListRolePolicies": checkRoles, "GetRolePolicy": checkRoles, "ListAttachedRolePolicies": checkRoles,
		"DescribeLogGroups": checkLog, "GetPolicy": checkRoles, "GetPolicyVersion": checkRoles, "FilterLogEvents": checkLog,
	} {
		limited := refusing(opt, operation)
		report := verified(t, limited)
		expect(t, report, check, Unknown, "could not be read: AccessDeniedException: not authorized", ":"+operation)
		if report.Outcome != Unknown || strings.Contains(text(report), "does not run flows") {
			t.Errorf("%s: what may not be read is no failure:\n%s", operation, text(report))
		}
		if operation == "GetSecretValue" {
			limited.Credential = apiKey
			if report := verified(t, limited); report.Outcome != Unknown || !slices.ContainsFunc(report.Checks, func(c Check) bool { return c.Name == checkWorker && c.Status == OK }) {
				t.Errorf("with a key of one's own the API is asked all the same:\n%s", text(report))
			}
		}
	}
}

// refusing may do all but one operation.
func refusing(opt Options, operation string) Options {
	return between(opt, func(name string, call func() (any, error)) (any, error) {
		if name == operation {
			return nil, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not authorized"}
		}
		return call()
	})
}

// unconfirmed hears that nobody has confirmed a subscription: the emulator confirms each at once.
func unconfirmed(opt Options) Options {
	return between(opt, func(_ string, call func() (any, error)) (any, error) {
		out, err := call()
		if list, ok := out.(*sns.ListSubscriptionsByTopicOutput); ok {
			for i := range list.Subscriptions {
				list.Subscriptions[i].SubscriptionArn = aws.String("PendingConfirmation")
			}
		}
		return out, err
	})
}

// between puts a function between verify and AWS, which gets each operation's name and the call.
func between(opt Options, answer func(operation string, call func() (any, error)) (any, error)) Options {
	opt.AWS = opt.AWS.Copy()
	opt.AWS.APIOptions = append(slices.Clone(opt.AWS.APIOptions), func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("between", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (out middleware.InitializeOutput, metadata middleware.Metadata, err error) {
			out.Result, err = answer(awsmiddleware.GetOperationName(ctx), func() (any, error) {
				out, metadata, err = next.HandleInitialize(ctx, in)
				return out.Result, err
			})
			return out, metadata, err
		}), middleware.After)
	})
	return opt
}

// options verifies with each option set in the configuration and not in what runs: the rows
// of testdata/options.yaml say which check sees it, or why none does.
func (b *bench) options(t *testing.T) {
	t.Helper()
	file, err := os.ReadFile("../../../testdata/options.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rows map[string]struct {
		Set    map[string]any
		Verify string
	}
	if err := yaml.Unmarshal(file, &rows); err != nil {
		t.Fatal(err)
	}
	for name, row := range rows {
		if reason, exempt := strings.CutPrefix(row.Verify, "not: "); exempt && reason != "" {
			continue
		}
		// Over the environment that was deployed.
		var deployed map[string]any
		if err := yaml.Unmarshal([]byte(b.yaml("good", "process", b.two.APIURL(), beats)), &deployed); err != nil {
			t.Fatal(err)
		}
		if row.Set["prefect"] != nil {
			delete(deployed, "prefect") // an address and account ids exclude each other
		}
		merge(deployed, row.Set)
		content, err := yaml.Marshal(deployed)
		if err != nil {
			t.Fatal(err)
		}
		opt := b.synthesize(t, string(content))
		opt.only = with(row.Verify)
		report := verified(t, opt)
		if !slices.ContainsFunc(report.Checks, func(c Check) bool { return c.Name == row.Verify && (c.Status == Failed || c.Status == Unknown) }) {
			t.Errorf("%s: the %s should see that it was deployed without:\n%s", name, row.Verify, text(report))
		}
	}
}

// with is a check with those that it needs.
func with(check string) map[string]bool {
	only := map[string]bool{check: true}
	for _, check := range slices.Backward(checks) {
		for _, need := range check.needs {
			only[need] = only[need] || only[check.name]
		}
	}
	return only
}

// merge puts the values of further over those in into.
func merge(into, further map[string]any) {
	for key, value := range further {
		block, isBlock := value.(map[string]any)
		before, wasBlock := into[key].(map[string]any)
		if isBlock && wasBlock {
			merge(before, block)
		} else {
			into[key] = value
		}
	}
}

// missing verifies with a configuration that asks for more than runs.
func (b *bench) missing(t *testing.T, opt Options) {
	t.Helper()
	yaml := func(pool, worker string) Options {
		return b.synthesize(t, fmt.Sprintf("local_run: true\nprefect: {api_url: %q}\nwork_pool: {name: good, type: process%s}\nworker: {environment: {PREFECT_WORKER_HEARTBEAT_SECONDS: \"2\", PREFECT_WORKER_QUERY_SECONDS: \"2\"}%s}\n", b.two.APIURL(), pool, worker))
	}
	report := verified(t, yaml(", queues: [high]", ""))
	expect(t, report, checkPool, Failed, "good has no queue high", "workerctl pool apply dev")
	expect(t, report, checkDefinition, Failed, "prefect-worker.Command is", "make deploy")
	report = verified(t, yaml("", ", desired_count: 2"))
	expect(t, report, checkWorker, Failed, "1 of 2 workers of this service are online in good", checkService)
	expect(t, report, checkService, Failed, "DesiredCount is 1, configured is 2", "make deploy")
	report = verified(t, yaml("", ", memory: 1024"))
	expect(t, report, checkDefinition, Failed, "Memory is 512, configured is 1024", "make deploy")
	for name, env := range map[string]func(*config.Environment){
		"the credentials are for account 123456789012, the environment is for 999999999999": func(e *config.Environment) { e.AccountID = "999999999999" },
		"there is no cluster another": func(e *config.Environment) { e.Cluster.Name = "another" },
		"there is no service another": func(e *config.Environment) { e.Worker.ServiceName = "another" },
	} {
		other, changed := opt, *opt.Environment
		env(&changed)
		other.Environment = &changed
		if report := verified(t, other); report.OK || !strings.Contains(text(report), name) {
			t.Errorf("want %q:\n%s", name, text(report))
		}
	}
}

type change struct {
	name   string
	do     func() (undo func())
	check  string
	status Status
	detail string
}

func failing(name, check, detail string, do func() func()) change {
	return change{name, do, check, Failed, detail}
}

func (b *bench) roleChanges(t *testing.T) []change {
	policy := func(role, document string) func() func() {
		return func() func() {
			call(t, b.iam.PutRolePolicy, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String("further"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[` + document + `]}`)})
			return func() {
				call(t, b.iam.DeleteRolePolicy, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: aws.String("further")})
			}
		}
	}
	own := func(edit func(string) string) func() func() {
		return func() func() {
			name := aws.String("read-prefect-api-key")
			before := call(t, b.iam.GetRolePolicy, &iam.GetRolePolicyInput{RoleName: aws.String(executionRole), PolicyName: name})
			document, err := url.PathUnescape(*before.PolicyDocument)
			if err != nil {
				t.Fatal(err)
			}
			put := func(document string) {
				call(t, b.iam.PutRolePolicy, &iam.PutRolePolicyInput{RoleName: aws.String(executionRole), PolicyName: name, PolicyDocument: &document})
			}
			put(edit(document))
			return func() { put(document) }
		}
	}
	trust := func(role, principal, condition string) func() func() {
		return func() func() {
			before, err := url.PathUnescape(*call(t, b.iam.GetRole, &iam.GetRoleInput{RoleName: &role}).Role.AssumeRolePolicyDocument)
			if err != nil {
				t.Fatal(err)
			}
			put := func(document string) {
				call(t, b.iam.UpdateAssumeRolePolicy, &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &document})
			}
			put(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":%q},"Action":"sts:AssumeRole","Condition":%s}]}`, principal, condition))
			return func() { put(before) }
		}
	}
	boundary := func(document string) func() func() {
		return func() func() {
			p := call(t, b.iam.CreatePolicy, &iam.CreatePolicyInput{PolicyName: aws.String("boundary"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[` + document + `]}`)})
			call(t, b.iam.PutRolePermissionsBoundary, &iam.PutRolePermissionsBoundaryInput{RoleName: aws.String(executionRole), PermissionsBoundary: p.Policy.Arn})
			return func() {
				call(t, b.iam.DeleteRolePermissionsBoundary, &iam.DeleteRolePermissionsBoundaryInput{RoleName: aws.String(executionRole)})
				call(t, b.iam.DeletePolicy, &iam.DeletePolicyInput{PolicyArn: p.Policy.Arn})
			}
		}
	}
	const mayNotRead = "may not call secretsmanager:GetSecretValue"
	return []change{
		failing("the policy is for another secret", checkRoles, "is not that of the configuration", own(func(d string) string { return strings.ReplaceAll(d, "prefect-api-key-new-2", "another") })),
		failing("the policy has an unmet condition", checkRoles, mayNotRead, own(func(d string) string {
			return strings.Replace(d, `"Effect":"Allow"`, `"Effect":"Allow","Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}`, 1)
		})),
		failing("NotAction denies", checkRoles, mayNotRead, policy(executionRole, `{"Effect":"Deny","NotAction":"logs:*","Resource":"*"}`)),
		failing("NotResource denies", checkRoles, mayNotRead, policy(executionRole, `{"Effect":"Deny","Action":"*","NotResource":"arn:aws:logs:*"}`)),
		failing("logs are denied", checkRoles, "may not call logs:PutLogEvents", policy(executionRole, `{"Sid":"Quiet","Effect":"Deny","Action":"logs:Put*","Resource":"*"}`)),
		failing("the managed policy is detached", checkRoles, "AmazonECSTaskExecutionRolePolicy is not attached", func() func() {
			arn := aws.String("arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")
			call(t, b.iam.DetachRolePolicy, &iam.DetachRolePolicyInput{RoleName: aws.String(executionRole), PolicyArn: arn})
			return func() {
				call(t, b.iam.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: aws.String(executionRole), PolicyArn: arn})
			}
		}),
		failing("another service is trusted", checkRoles, "may not use the execution role", trust(executionRole, "ec2.amazonaws.com", `{}`)),
		failing("another account is trusted", checkRoles, "may not use the task role", trust(taskRole, ecsTasks, `{"StringEquals":{"aws:SourceAccount":"210987654321"}}`)),
		{"a trust that cannot be judged", trust(taskRole, ecsTasks, `{"StringEquals":{"aws:SourceOrgID":"o-1"}}`), checkRoles, Unknown, "could not be judged: the condition key aws:SourceOrgID"},
		failing("a boundary without the secret", checkRoles, mayNotRead, boundary(`{"Effect":"Allow","Action":"logs:*","Resource":"*"}`)),
		failing("a boundary that allows all", checkRoles, "the permissions boundary of the execution role prefect-task-execution-role is arn:aws:iam::123456789012:policy/boundary, configured is none", boundary(`{"Effect":"Allow","Action":"*","Resource":"*"}`)),
		{"a Deny that asks for TLS", policy(executionRole, `{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`), "", OK, ""},
		{"a Deny that cannot be judged", policy(executionRole, `{"Sid":"Vpc","Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpc":"vpc-1"}}}`), checkRoles, Unknown, "the condition key aws:SourceVpc in the statement Vpc"},
	}
}

func (b *bench) secretChanges(t *testing.T) []change {
	id := aws.String("prefect-api-key-new-2")
	value := func(put *secretsmanager.PutSecretValueInput) func() func() {
		return func() func() {
			put.SecretId = id
			call(t, b.secrets.PutSecretValue, put)
			return func() { b.put(t, apiKey) }
		}
	}
	key := func(policy string, then func(keyID *string)) func() func() {
		return func() func() {
			k := call(t, b.kms.CreateKey, &kms.CreateKeyInput{Policy: &policy})
			call(t, b.secrets.UpdateSecret, &secretsmanager.UpdateSecretInput{SecretId: id, KmsKeyId: k.KeyMetadata.Arn})
			if then != nil {
				then(k.KeyMetadata.KeyId)
			}
			return func() {
				call(t, b.secrets.UpdateSecret, &secretsmanager.UpdateSecretInput{SecretId: id, KmsKeyId: aws.String("alias/aws/secretsmanager"), SecretString: aws.String(apiKey)})
			}
		}
	}
	const delegates = `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}`
	byKey := fmt.Sprintf(`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/%s"},"Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:ViaService":"secretsmanager.us-east-1.amazonaws.com"}}}]}`, executionRole)
	return []change{
		failing("characters that no key has", checkSecret, "characters that no API key has", value(&secretsmanager.PutSecretValueInput{SecretString: aws.String("pnu_ä")})),
		failing("blank", checkSecret, "is blank", value(&secretsmanager.PutSecretValueInput{SecretString: aws.String(" \n")})),
		failing("binary", checkSecret, "holds binary data", value(&secretsmanager.PutSecretValueInput{SecretBinary: []byte(apiKey)})),
		failing("a JSON object", checkSecret, "holds a JSON object, and the container gets it whole", value(&secretsmanager.PutSecretValueInput{SecretString: aws.String(`{"key":"` + apiKey + `"}`)})),
		failing("scheduled for deletion", checkSecret, "is scheduled for deletion", func() func() {
			call(t, b.secrets.DeleteSecret, &secretsmanager.DeleteSecretInput{SecretId: id, RecoveryWindowInDays: aws.Int64(7)})
			return func() { call(t, b.secrets.RestoreSecret, &secretsmanager.RestoreSecretInput{SecretId: id}) }
		}),
		failing("its own policy denies", checkRoles, "the policy of the secret prefect-api-key-new-2-", func() func() {
			call(t, b.secrets.PutResourcePolicy, &secretsmanager.PutResourcePolicyInput{SecretId: id, ResourcePolicy: aws.String(
				`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*"}]}`)})
			return func() {
				call(t, b.secrets.DeleteResourcePolicy, &secretsmanager.DeleteResourcePolicyInput{SecretId: id})
			}
		}),
		failing("a customer's key without kms:Decrypt", checkRoles, "may not call kms:Decrypt", key(delegates, nil)),
		failing("a key whose policy does not delegate", checkRoles, "may not call kms:Decrypt", key(strings.ReplaceAll(byKey, executionRole, "another"), nil)),
		failing("a disabled key", checkRoles, "is Disabled, so that no task can start", key(delegates, func(id *string) {
			call(t, b.kms.DisableKey, &kms.DisableKeyInput{KeyId: id})
		})),
	}
}

func (b *bench) networkChanges(t *testing.T) []change {
	group := func() *string {
		out := call(t, b.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: aws.String("group-name"), Values: []string{"prefect_worker_sg"}}}})
		return out.SecurityGroups[0].GroupId
	}
	permission := func(port int32) []ec2types.IpPermission {
		return []ec2types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(port), ToPort: aws.Int32(port), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}
	}
	revoke := func(port int32) {
		call(t, b.ec2.RevokeSecurityGroupEgress, &ec2.RevokeSecurityGroupEgressInput{GroupId: group(), IpPermissions: permission(port)})
	}
	authorize := func(port int32) {
		call(t, b.ec2.AuthorizeSecurityGroupEgress, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: group(), IpPermissions: permission(port)})
	}
	table := func() ec2types.RouteTable {
		subnet := call(t, b.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{{Name: aws.String("cidr-block"), Values: []string{"10.0.4.0/24"}}}}).Subnets[0].SubnetId
		return call(t, b.ec2.DescribeRouteTables, &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{*subnet}}}}).RouteTables[0]
	}
	route := func(change func(table, nat *string)) func() func() {
		return func() func() {
			r := table()
			i := slices.IndexFunc(r.Routes, func(r ec2types.Route) bool { return aws.ToString(r.DestinationCidrBlock) == "0.0.0.0/0" })
			nat := r.Routes[i].NatGatewayId
			call(t, b.ec2.DeleteRoute, &ec2.DeleteRouteInput{RouteTableId: r.RouteTableId, DestinationCidrBlock: aws.String("0.0.0.0/0")})
			if change != nil {
				change(r.RouteTableId, nat)
				return func() {
					call(t, b.ec2.ReplaceRoute, &ec2.ReplaceRouteInput{RouteTableId: r.RouteTableId, DestinationCidrBlock: aws.String("0.0.0.0/0"), NatGatewayId: nat})
				}
			}
			return func() {
				call(t, b.ec2.CreateRoute, &ec2.CreateRouteInput{RouteTableId: r.RouteTableId, DestinationCidrBlock: aws.String("0.0.0.0/0"), NatGatewayId: nat})
			}
		}
	}
	return []change{
		failing("port 443 is closed", checkNetwork, "does not let out: tcp 443 to 0.0.0.0/0", func() func() { revoke(443); return func() { authorize(443) } }),
		failing("a further port is open", checkNetwork, "lets out what is not configured: tcp 22 to 0.0.0.0/0", func() func() { authorize(22); return func() { revoke(22) } }),
		failing("something may come in", checkNetwork, "lets in what is not configured: tcp 8080 to 0.0.0.0/0", func() func() {
			call(t, b.ec2.AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group(), IpPermissions: permission(8080)})
			return func() {
				call(t, b.ec2.RevokeSecurityGroupIngress, &ec2.RevokeSecurityGroupIngressInput{GroupId: group(), IpPermissions: permission(8080)})
			}
		}),
		failing("no default route", checkNetwork, "the subnet 10.0.4.0/24 has no default route", route(nil)),
		failing("the default route leads to the internet gateway", checkNetwork, "configured is a NAT gateway", route(func(table, _ *string) {
			gateway := call(t, b.ec2.DescribeInternetGateways, &ec2.DescribeInternetGatewaysInput{}).InternetGateways[0].InternetGatewayId
			call(t, b.ec2.CreateRoute, &ec2.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: gateway})
		})),
		failing("the NAT gateway of the route is gone", checkNetwork, "is deleted: the worker reaches neither", route(func(table, nat *string) {
			subnet := call(t, b.ec2.DescribeNatGateways, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{*nat}}).NatGateways[0].SubnetId
			second := call(t, b.ec2.CreateNatGateway, &ec2.CreateNatGatewayInput{SubnetId: subnet, ConnectivityType: ec2types.ConnectivityTypePrivate}).NatGateway.NatGatewayId
			call(t, b.ec2.CreateRoute, &ec2.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("0.0.0.0/0"), NatGatewayId: second})
			call(t, b.ec2.DeleteNatGateway, &ec2.DeleteNatGatewayInput{NatGatewayId: second})
		})),
	}
}

func (b *bench) serviceChanges(t *testing.T, opt Options) []change {
	definition := func(edit func(in *ecs.RegisterTaskDefinitionInput)) func() func() {
		return func() func() {
			b.register(t, opt, edit)
			return func() { b.register(t, opt, nil) }
		}
	}
	container := func(edit func(c *types.ContainerDefinition)) func() func() {
		return definition(func(in *ecs.RegisterTaskDefinitionInput) { edit(&in.ContainerDefinitions[0]) })
	}
	service := func(change, back *ecs.UpdateServiceInput) func() func() {
		return func() func() {
			b.updateService(t, change)
			return func() { b.updateService(t, back) }
		}
	}
	network := func(edit func(*types.AwsVpcConfiguration)) func() func() {
		return func() func() {
			s := call(t, b.ecs.DescribeServices, &ecs.DescribeServicesInput{Cluster: aws.String("prefect-cluster"), Services: []string{"dev-worker"}}).Services[0]
			before := *s.NetworkConfiguration.AwsvpcConfiguration
			after := before
			after.Subnets = slices.Clone(before.Subnets)
			edit(&after)
			put := func(c types.AwsVpcConfiguration) {
				b.updateService(t, &ecs.UpdateServiceInput{NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &c}})
			}
			put(after)
			return func() { put(before) }
		}
	}
	sidecar := types.ContainerDefinition{Name: aws.String("sidecar"), Image: aws.String("example.com/s:1")}
	return []change{
		failing("command", checkDefinition, "prefect-worker.Command is", container(func(c *types.ContainerDefinition) { c.Command = append(c.Command, "--run-once") })),
		failing("entry point", checkDefinition, "prefect-worker.EntryPoint is none", container(func(c *types.ContainerDefinition) { c.EntryPoint = nil })),
		failing("health check", checkDefinition, "prefect-worker.HealthCheck is none", container(func(c *types.ContainerDefinition) { c.HealthCheck = nil })),
		failing("health check's time", checkDefinition, "prefect-worker.HealthCheck.Retries is 1, configured is 3", container(func(c *types.ContainerDefinition) { c.HealthCheck.Retries = aws.Int32(1) })),
		failing("a variable", checkDefinition, "prefect-worker.Environment.DO_NOT_TRACK.Value is 0, configured is 1", container(func(c *types.ContainerDefinition) {
			c.Environment = slices.Clone(c.Environment)
			i := slices.IndexFunc(c.Environment, func(v types.KeyValuePair) bool { return *v.Name == "DO_NOT_TRACK" })
			c.Environment[i].Value = aws.String("0")
		})),
		failing("a further variable", checkDefinition, "prefect-worker.Environment.A is", container(func(c *types.ContainerDefinition) {
			c.Environment = append(slices.Clone(c.Environment), types.KeyValuePair{Name: aws.String("A"), Value: aws.String("1")})
		})),
		failing("a variable with a credential", checkDefinition, "prefect-worker.Environment.DB_PASSWORD is", container(func(c *types.ContainerDefinition) {
			c.Environment = append(slices.Clone(c.Environment), types.KeyValuePair{Name: aws.String("DB_PASSWORD"), Value: aws.String("marker")})
		})),
		failing("another secret", checkDefinition, "prefect-worker.Secrets.PREFECT_API_KEY.ValueFrom is", container(func(c *types.ContainerDefinition) {
			c.Secrets = []types.Secret{{Name: aws.String("PREFECT_API_KEY"), ValueFrom: aws.String("arn:aws:secretsmanager:us-east-1:123456789012:secret:another-AbCdEf")}}
		})),
		failing("log driver", checkDefinition, "prefect-worker.LogConfiguration.LogDriver is json-file", container(func(c *types.ContainerDefinition) {
			c.LogConfiguration = &types.LogConfiguration{LogDriver: types.LogDriverJsonFile}
		})),
		failing("no log configuration", checkRoles, "writes no log to CloudWatch", container(func(c *types.ContainerDefinition) { c.LogConfiguration = nil })),
		failing("privileged", checkDefinition, "prefect-worker.Privileged is true, configured is none", container(func(c *types.ContainerDefinition) { c.Privileged = aws.Bool(true) })),
		failing("a sidecar before it", checkDefinition, "sidecar is", definition(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions = append([]types.ContainerDefinition{sidecar}, in.ContainerDefinitions...)
		})),
		failing("another container", checkDefinition, "has no container prefect-worker", definition(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions = []types.ContainerDefinition{sidecar}
		})),
		failing("execution role", checkDefinition, "ExecutionRoleArn is", definition(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ExecutionRoleArn = aws.String("arn:aws:iam::123456789012:role/another")
		})),
		failing("task role", checkDefinition, "TaskRoleArn is none", definition(func(in *ecs.RegisterTaskDefinitionInput) { in.TaskRoleArn = nil })),
		failing("memory", checkDefinition, "Memory is 1024, configured is 512", definition(func(in *ecs.RegisterTaskDefinitionInput) { in.Memory = aws.String("1024") })),
		failing("architecture", checkDefinition, "RuntimePlatform.CpuArchitecture is ARM64", definition(func(in *ecs.RegisterTaskDefinitionInput) {
			in.RuntimePlatform = &types.RuntimePlatform{CpuArchitecture: types.CPUArchitectureArm64, OperatingSystemFamily: types.OSFamilyLinux}
		})),

		failing("desired count", checkService, "DesiredCount is 2, configured is 1", service(&ecs.UpdateServiceInput{DesiredCount: aws.Int32(2)}, &ecs.UpdateServiceInput{DesiredCount: aws.Int32(1)})),
		failing("paused by hand", checkService, "DesiredCount is none, configured is 1", service(&ecs.UpdateServiceInput{DesiredCount: aws.Int32(0)}, &ecs.UpdateServiceInput{DesiredCount: aws.Int32(1)})),
		failing("public address", checkNetwork, "tasks get a public address", network(func(c *types.AwsVpcConfiguration) { c.AssignPublicIp = types.AssignPublicIpEnabled })),
		failing("one subnet less", checkNetwork, "does not run in the subnet 10.0.", network(func(c *types.AwsVpcConfiguration) { c.Subnets = c.Subnets[1:] })),
		failing("a public subnet", checkNetwork, "(10.0.1.0/24), which is not one of the configuration", network(func(c *types.AwsVpcConfiguration) {
			public := call(t, b.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{{Name: aws.String("cidr-block"), Values: []string{"10.0.1.0/24"}}}})
			c.Subnets = append(c.Subnets, *public.Subnets[0].SubnetId)
		})),
		failing("another security group", checkNetwork, "the service has the security group default", network(func(c *types.AwsVpcConfiguration) {
			groups := call(t, b.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: aws.String("group-name"), Values: []string{"default"}}}})
			c.SecurityGroups = []string{*groups.SecurityGroups[0].GroupId}
		})),
		failing("the cluster's settings", checkCluster, "containerInsights.Value is disabled, configured is enabled", func() func() {
			put := func(value string) {
				call(t, b.ecs.UpdateCluster, &ecs.UpdateClusterInput{Cluster: aws.String("prefect-cluster"), Settings: []types.ClusterSetting{{Name: types.ClusterSettingNameContainerInsights, Value: &value}}})
			}
			put("disabled")
			return func() { put("enabled") }
		}),
		failing("no log group", checkLog, "does not exist, so that no task can start", func() func() {
			logs := cloudwatchlogs.NewFromConfig(b.aws)
			group := aws.String("/ecs/prefect-worker")
			call(t, logs.DeleteLogGroup, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: group})
			return func() {
				call(t, logs.CreateLogGroup, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group})
				call(t, logs.PutRetentionPolicy, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: group, RetentionInDays: aws.Int32(30)})
			}
		}),
	}
}

func (b *bench) prefectChanges(t *testing.T) []change {
	client := b.client(t, b.two)
	pool := func(change, back map[string]any) func() func() {
		return func() func() {
			b.prefect(t, b.two, "PATCH", "/work_pools/good", change)
			return func() { b.prefect(t, b.two, "PATCH", "/work_pools/good", back) }
		}
	}
	queue := func(name string, change map[string]any) func() func() {
		return func() func() {
			b.prefect(t, b.two, "PATCH", "/work_pools/good/queues/"+name, change)
			return func() {
				b.prefect(t, b.two, "PATCH", "/work_pools/good/queues/"+name, map[string]any{"is_paused": false, "concurrency_limit": nil})
			}
		}
	}
	return []change{
		failing("pool paused", checkPool, "good is paused", pool(map[string]any{"is_paused": true}, map[string]any{"is_paused": false})),
		failing("pool with a limit of 0", checkPool, "good has a concurrency limit of 0", pool(map[string]any{"concurrency_limit": 0}, map[string]any{"concurrency_limit": nil})),
		failing("queue paused", checkPool, "the queue default of good is paused", queue("default", map[string]any{"is_paused": true})),
		failing("queue with a limit of 0", checkPool, "the queue default of good has a concurrency limit of 0", queue("default", map[string]any{"concurrency_limit": 0})),
		{"another queue paused", func() func() {
			b.prefect(t, b.two, "POST", "/work_pools/good/queues/", map[string]any{"name": "low", "is_paused": true})
			return func() { b.prefect(t, b.two, "DELETE", "/work_pools/good/queues/low", nil) }
		}, "", OK, ""},
		failing("runs that nobody takes", checkRuns, "1 late, the oldest for 5m", func() func() {
			// In a queue that this worker could serve, and that is closed.
			b.prefect(t, b.two, "POST", "/work_pools/good/queues/", map[string]any{"name": "low", "is_paused": true})
			deployment, err := client.Deploy(t.Context(), api.LocalFlow{Name: "late", Pool: "good", Queue: "low", Dir: t.TempDir(), Entrypoint: "f.py:f"})
			if err != nil {
				t.Fatal(err)
			}
			b.prefect(t, b.two, "POST", "/deployments/"+deployment+"/create_flow_run", map[string]any{"state": map[string]any{
				"type": "SCHEDULED", "state_details": map[string]any{"scheduled_time": time.Now().Add(-5*time.Minute - 10*time.Second).UTC().Format(time.RFC3339)}}})
			return func() {
				if err := client.DeleteFlow(t.Context(), "late"); err != nil {
					t.Fatal(err)
				}
				b.prefect(t, b.two, "DELETE", "/work_pools/good/queues/low", nil)
			}
		}),
	}
}
