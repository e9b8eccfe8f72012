package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	tfjson "github.com/hashicorp/terraform-json"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/query"
	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/local/prefectserver"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/test/testtools"
)

// testCase is one change, and what verify has to say of it.
type testCase struct {
	name   string
	change change
	want   want
}

const (
	executionRole = "prefect-task-execution-role"
	taskRole      = "prefect-task-role"
)

// changeIAM makes a call of IAM that must succeed.
func (h *harness) changeIAM(t *testing.T, action string, params query.Params) {
	t.Helper()
	testtools.NoError(t, h.Call(t.Context(), query.IAM, action, params, nil))
}

// changeJSON makes a call of the JSON protocol that must succeed.
func (h *harness) changeJSON(t *testing.T, service query.Service, operation string, in any) {
	t.Helper()
	testtools.NoError(t, h.CallJSON(t.Context(), service, operation, in, &struct{}{}))
}

// inline gives a role a further inline policy.
func (h *harness) inline(role, statement string) change {
	return func(t *testing.T, _ *Options) func() {
		h.changeIAM(t, "PutRolePolicy", query.Params{"RoleName": role, "PolicyName": "further", "PolicyDocument": `{"Version":"2012-10-17","Statement":[` + statement + `]}`})
		return func() {
			h.changeIAM(t, "DeleteRolePolicy", query.Params{"RoleName": role, "PolicyName": "further"})
		}
	}
}

// own changes the policy that lets the execution role read the credential.
func (h *harness) own(before, after string) change {
	return func(t *testing.T, _ *Options) func() {
		const name = "read-prefect-api-key"
		text, err := h.RolePolicy(t.Context(), executionRole, name)
		testtools.NoError(t, err)
		document, err := url.PathUnescape(text)
		testtools.NoError(t, err)
		put := func(document string) {
			h.changeIAM(t, "PutRolePolicy", query.Params{"RoleName": executionRole, "PolicyName": name, "PolicyDocument": document})
		}
		put(strings.ReplaceAll(document, before, after))
		return func() { put(document) }
	}
}

func (h *harness) roleCases() []testCase {
	own := h.own
	trust := func(role, principal, condition string) change {
		return func(t *testing.T, _ *Options) func() {
			found, err := h.Role(t.Context(), role)
			testtools.NoError(t, err)
			before, err := url.PathUnescape(found.TrustPolicy)
			testtools.NoError(t, err)
			put := func(document string) {
				h.changeIAM(t, "UpdateAssumeRolePolicy", query.Params{"RoleName": role, "PolicyDocument": document})
			}
			put(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":%q},"Action":"sts:AssumeRole","Condition":%s}]}`, principal, condition))
			return func() { put(before) }
		}
	}
	boundary := func(document string) change {
		return func(t *testing.T, _ *Options) func() {
			const arn = "arn:aws:iam::123456789012:policy/boundary"
			h.changeIAM(t, "CreatePolicy", query.Params{"PolicyName": "boundary", "PolicyDocument": `{"Version":"2012-10-17","Statement":[` + document + `]}`})
			h.changeIAM(t, "PutRolePermissionsBoundary", query.Params{"RoleName": executionRole, "PermissionsBoundary": arn})
			return func() {
				h.changeIAM(t, "DeleteRolePermissionsBoundary", query.Params{"RoleName": executionRole})
				h.changeIAM(t, "DeletePolicy", query.Params{"PolicyArn": arn})
			}
		}
	}
	detach := func(t *testing.T, _ *Options) func() {
		attachment := query.Params{"RoleName": executionRole, "PolicyArn": "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"}
		h.changeIAM(t, "DetachRolePolicy", attachment)
		return func() { h.changeIAM(t, "AttachRolePolicy", attachment) }
	}
	mayNotRead := failing(checkRoles, "may not call secretsmanager:GetSecretValue")
	since := func(operator, key string) string {
		return fmt.Sprintf(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{%q:{%q:"2020-01-01T00:00:00Z"}}}`, operator, key)
	}
	return []testCase{
		{"the policy is for another secret", own(secretID, "another"), mayNotRead},
		{"the policy has an unmet condition", own(`"Effect":"Allow"`, `"Effect":"Allow","Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}`), mayNotRead},
		{"the policy has a condition that is met", own(`"Effect":"Allow"`, `"Effect":"Allow","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}`), well},
		{"NotAction denies", h.inline(executionRole, `{"Effect":"Deny","NotAction":"logs:*","Resource":"*"}`), mayNotRead},
		{"NotResource denies", h.inline(executionRole, `{"Effect":"Deny","Action":"*","NotResource":"arn:aws:logs:*"}`), mayNotRead},
		{"logs are denied", h.inline(executionRole, `{"Sid":"Quiet","Effect":"Deny","Action":"logs:Put*","Resource":"*"}`), failing(checkRoles, "may not call logs:PutLogEvents")},
		{"the managed policy is detached", detach, failing(checkRoles, "may not call logs:CreateLogStream")},
		{"another service is trusted", trust(executionRole, "ec2.amazonaws.com", `{}`), failing(checkRoles, "may not assume the execution role")},
		{"another account is trusted", trust(taskRole, ecsTasks, `{"StringEquals":{"aws:SourceAccount":"210987654321"}}`), failing(checkRoles, "may not assume the task role")},
		{"this account is trusted", trust(taskRole, ecsTasks, `{"StringEquals":{"aws:SourceAccount":"123456789012"}}`), well},
		{"a trust that cannot be judged", trust(taskRole, ecsTasks, `{"StringEquals":{"aws:SourceOrgID":"o-1"}}`), unsure(checkRoles, "could not be judged: the condition key aws:SourceOrgID")},
		{"a boundary without the secret", boundary(`{"Effect":"Allow","Action":"logs:*","Resource":"*"}`), mayNotRead},
		{"a boundary that allows all", boundary(`{"Effect":"Allow","Action":"*","Resource":"*"}`), well},
		{"a Deny that requires TLS", h.inline(executionRole, `{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`), well},
		{"a Deny that cannot be judged", h.inline(executionRole, `{"Sid":"Vpc","Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpc":"vpc-1"}}}`), unsure(checkRoles, "the condition key aws:SourceVpc in the statement Vpc")},
		{"a Deny from 2020 on", h.inline(executionRole, since("DateGreaterThan", "aws:CurrentTime")), mayNotRead},
		{"a Deny until 2020", h.inline(executionRole, since("DateLessThan", "aws:CurrentTime")), well},
		{"older credentials are revoked", h.inline(executionRole, since("DateLessThan", "aws:TokenIssueTime")), well},
		{"another execution role", edited(func(out *ecs.DescribeTaskDefinitionOutput) {
			out.TaskDefinition.ExecutionRoleArn = aws.String("arn:aws:iam::123456789012:role/another")
		}), failing(checkRoles, "the execution role another does not exist")},
		{"no task role", edited(func(out *ecs.DescribeTaskDefinitionOutput) { out.TaskDefinition.TaskRoleArn = nil }), failing(checkRoles, "the task definition has no task role")},
	}
}

func (h *harness) secretCases(t *testing.T) []testCase {
	const delegates = `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}`
	const forAnother = `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/another"},"Action":"kms:Decrypt","Resource":"*"}]}`
	forRole := strings.ReplaceAll(forAnother, "another", executionRole)
	const likeAWS = `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"123456789012","kms:ViaService":"secretsmanager.us-east-1.amazonaws.com"}}}]}`
	// GIVEN keys, secrets, parameters and images that no container of the stack uses
	key := func(policy string) *string {
		return testtools.Call(t, h.kms.CreateKey, &kms.CreateKeyInput{Policy: &policy}).KeyMetadata.Arn
	}
	secret := func(name string, value *string) *string {
		return testtools.Call(t, h.secrets.CreateSecret, &secretsmanager.CreateSecretInput{Name: &name, SecretString: value}).ARN
	}
	further, leaving := secret("further", aws.String("{}")), secret("leaving", aws.String("x"))
	testtools.Call(t, h.secrets.DeleteSecret, &secretsmanager.DeleteSecretInput{SecretId: leaving, RecoveryWindowInDays: aws.Int64(7)})
	for _, name := range []string{"/flows/token", "token"} {
		h.changeJSON(t, query.SSM, "PutParameter", map[string]any{"Name": name, "Value": "x", "Type": "String"})
	}
	h.changeJSON(t, query.SSM, "PutParameter", map[string]any{"Name": "/flows/locked", "Value": "x", "Type": "SecureString", "KeyId": key(delegates)})
	for repository, policy := range map[string]string{
		"team/flows":  "",
		"team/denied": `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:BatchGetImage"}]}`,
		"team/shared": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"ecr:*"}]}`,
	} {
		h.changeJSON(t, query.ECR, "CreateRepository", map[string]any{"repositoryName": repository})
		h.changeJSON(t, query.ECR, "PutImage", map[string]any{"repositoryName": repository, "imageTag": "7", "imageManifest": `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"digest":"sha256:1","size":1},"layers":[]}`})
		if policy != "" {
			h.changeJSON(t, query.ECR, "SetRepositoryPolicy", map[string]any{"repositoryName": repository, "policyText": policy})
		}
	}

	text := func(text string) change {
		return edited(func(out *secretsmanager.GetSecretValueOutput) { out.SecretString = &text })
	}
	binary := edited(func(out *secretsmanager.GetSecretValueOutput) {
		out.SecretString, out.SecretBinary = nil, []byte(apiKey)
	})
	deleted := func(t *testing.T, _ *Options) func() {
		id := aws.String(secretID)
		testtools.Call(t, h.secrets.DeleteSecret, &secretsmanager.DeleteSecretInput{SecretId: id, RecoveryWindowInDays: aws.Int64(7)})
		return func() { testtools.Call(t, h.secrets.RestoreSecret, &secretsmanager.RestoreSecretInput{SecretId: id}) }
	}
	ownCredential := func(_ *testing.T, opt *Options) func() {
		opt.Credential = apiKey
		return nil
	}
	policy := func(effect string) change {
		return edited(func(out *secretsmanager.GetResourcePolicyOutput) {
			out.ResourcePolicy = aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*"}]}`)
		})
	}
	// under has the credential encrypted with a key of that policy.
	under := func(policy string) change {
		arn := key(policy)
		return edited(func(out *secretsmanager.DescribeSecretOutput) { out.KmsKeyId = arn })
	}
	state := func(state kmstypes.KeyState) change {
		return edited(func(out *kms.DescribeKeyOutput) { out.KeyMetadata.KeyState, out.KeyMetadata.Enabled = state, false })
	}
	granted := edited(func(out *kms.ListGrantsOutput) {
		out.Grants = []kmstypes.GrantListEntry{{Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt}}}
	})
	logKey := func() change {
		arn := *key(delegates)
		return env(func(e *config.Environment) { e.Logs.KMSKeyARN = arn })
	}
	// reads has the container read a secret or a parameter, and the role allowed actions.
	reads := func(from string, actions ...string) change {
		return both(h.inline(executionRole, fmt.Sprintf(`{"Effect":"Allow","Action":["%s"],"Resource":"*"}`, strings.Join(actions, `","`))),
			edited(func(out *ecs.DescribeTaskDefinitionOutput) {
				c := &out.TaskDefinition.ContainerDefinitions[0]
				c.Secrets = append(c.Secrets, types.Secret{Name: aws.String("FURTHER"), ValueFrom: &from})
			}))
	}
	image := func(reference string) change {
		return edited(func(out *ecs.DescribeTaskDefinitionOutput) {
			out.TaskDefinition.ContainerDefinitions[0].Image = &reference
		})
	}
	const (
		ecr       = "123456789012.dkr.ecr.us-east-1.amazonaws.com/"
		parameter = "arn:aws:ssm:us-east-1:123456789012:parameter/"
		absent    = "arn:aws:secretsmanager:us-east-1:123456789012:secret:absent-AbCdEf"
		getSecret = "secretsmanager:GetSecretValue"
		getSSM    = "ssm:GetParameters"
	)
	notRead := want{check: checkRoles, status: OK, details: []string{"not read: the values of FURTHER"}}
	return []testCase{
		{"another key", text("pnu_another"), well},
		{"characters that no key has", text("pnu_ä"), failing(checkSecret, "characters that no API key has")},
		{"quotation marks", text(`"` + apiKey + `"`), failing(checkSecret, "characters that no API key has")},
		{"a line break", text(apiKey + "\n"), failing(checkSecret, "has a line break or spaces around the API key")},
		{"spaces only", text(" \n"), failing(checkSecret, "is empty but for spaces")},
		{"binary", binary, failing(checkSecret, "holds binary data")},
		{"a JSON object", text(`{"key":"` + apiKey + `"}`), failing(checkSecret, "holds a JSON object, and the container gets it whole")},
		{"scheduled for deletion", deleted, failing(checkSecret, "is scheduled for deletion")},
		{"it may not be read, and the credential is given", both(refusing("GetSecretValue"), ownCredential), unsure(checkSecret, "could not be read").and(want{check: checkAPI, status: OK})},
		{"its own policy denies", policy("Deny"), failing(checkRoles, "denied by the statement Deny secretsmanager:GetSecretValue of the resource's own policy")},
		{"its own policy allows", policy("Allow"), well},
		{"its own policy allows, and that of the role does not", both(policy("Allow"), h.own(secretID, "another")), well},
		{"a customer's key without kms:Decrypt", under(delegates), failing(checkRoles, "may not call kms:Decrypt")},
		{"a key whose policy does not delegate", under(forAnother), failing(checkRoles, "may not call kms:Decrypt")},
		{"a key whose policy names the role", under(forRole), well},
		{"a key for all that come through Secrets Manager", under(likeAWS), well},
		{"a key whose policy names the role, which denies it", both(under(forRole), h.inline(executionRole, `{"Effect":"Deny","Action":"kms:*","Resource":"*"}`)), failing(checkRoles, "may not call kms:Decrypt")},
		{"a further secret", reads(*further+":key::", getSecret), notRead},
		{"a further secret without a value", reads(*secret("empty", nil), getSecret), failing(checkRoles, "the secret empty-", "has no value, so that no task can start")},
		{"a further secret that is to be deleted", reads(*leaving, getSecret), failing(checkRoles, "is scheduled for deletion, so that no task can start")},
		{"a further secret that does not exist", reads(absent, getSecret), failing(checkRoles, "does not exist, so that no task can start")},
		{"a key with a grant for the role", both(under(forAnother), granted), well},
		{"a disabled key", both(under(delegates), state(kmstypes.KeyStateDisabled)), failing(checkRoles, "is Disabled, so that no task can start")},
		{"the log group's key", logKey(), well},
		{"the log group's key is disabled", both(logKey(), state(kmstypes.KeyStateDisabled)), failing(checkRoles, "the KMS key of the log group is Disabled, so that no line of a log is kept")},
		{"a key that is to be deleted", both(under(delegates), state(kmstypes.KeyStatePendingDeletion)), failing(checkRoles, "is to be deleted, so that no task can start").fixedBy("cancel-key-deletion")},
		{"a parameter", reads(parameter+"flows/token", getSSM), notRead},
		{"a parameter without a slash", reads(parameter+"token", getSSM), well},
		{"a parameter under a customer's key without kms:Decrypt", reads(parameter+"flows/locked", getSSM), failing(checkRoles, "may not call kms:Decrypt on the key of the parameter flows/locked")},
		{"a parameter under a customer's key with kms:Decrypt", reads(parameter+"flows/locked", getSSM, "kms:Decrypt"), well},
		{"a parameter that does not exist", reads(parameter+"flows/absent", getSSM), failing(checkRoles, "the parameter flows/absent does not exist, so that no task can start")},
		{"a parameter that may not be looked up", both(reads(parameter+"flows/token", getSSM), refusing("DescribeParameters")), unsure(checkRoles, "the parameter flows/token could not be read: AccessDeniedException").fixedBy("ssm:DescribeParameters")},
		{"an image in ECR", image(ecr + "team/flows:7"), well},
		{"an image whose repository denies it", image(ecr + "team/denied:7"), failing(checkRoles, "may not call ecr:BatchGetImage on", "of the resource's own policy")},
		{"an image whose repository allows another account", image(ecr + "team/shared:7"), well},
		{"an image of another account", image("999999999999.dkr.ecr.us-east-1.amazonaws.com/team/flows:8"), well},
		{"a tag that is not in ECR", image(ecr + "team/flows:8"), failing(checkRoles, "the image "+ecr+"team/flows:8 is not in ECR").fixedBy("worker.image")},
		{"a repository that is not in ECR", image(ecr + "flows:7"), failing(checkRoles, "flows:7 is not in ECR, so that no task can start with it")},
		{"an image that may not be looked up", both(image(ecr+"team/flows:7"), refusing("DescribeImages")), unsure(checkRoles, "team/flows:7 could not be read: AccessDeniedException").fixedBy("ecr:DescribeImages")},
	}
}

func (h *harness) networkCases() []testCase {
	// rule adds a rule to the worker's security group.
	rule := func(rule query.SecurityGroupRule) change {
		return edited(func(out *query.Page[query.SecurityGroupRule]) {
			for i, set := range out.Sets {
				if len(set.Items) > 0 {
					rule.GroupID = set.Items[0].GroupID
					out.Sets[i].Items = append(set.Items, rule)
				}
			}
		})
	}
	// route changes the default routes of the private subnets.
	route := func(edit func(*query.Route)) change {
		return each(func(table *query.RouteTable) {
			for i := range table.Routes {
				if table.Routes[i].NATGatewayID != "" {
					edit(&table.Routes[i])
				}
			}
		})
	}
	toInternet := route(func(r *query.Route) { r.GatewayID, r.NATGatewayID = "igw-1", "" })
	// further adds a route.
	further := func(to string) change {
		return each(func(table *query.RouteTable) {
			table.Routes = append(table.Routes, query.Route{Destination: to, NATGatewayID: "nat-1", State: "active"})
		})
	}
	public := edited(func(out *ecs.DescribeServicesOutput) {
		out.Services[0].NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp = types.AssignPublicIpEnabled
	})
	free := func(n int) change { return each(func(s *query.Subnet) { s.FreeAddresses = n }) }
	// endpoint is one of Secrets Manager, with a policy and security groups.
	withEndpoint := env(func(e *config.Environment) { e.Network.Endpoints = []config.Endpoint{"secretsmanager"} })
	endpoint := func(policy string, groups ...string) change {
		e := query.VPCEndpoint{ServiceName: "com.amazonaws.us-east-1.secretsmanager", State: "available", PrivateDNS: true, Policy: policy, Groups: groups}
		return both(withEndpoint, edited(func(out *query.Page[query.VPCEndpoint]) { out.Sets[0].Items = []query.VPCEndpoint{e} }))
	}
	// acl adds an entry that denies TCP to the network ACLs.
	acl := func(egress bool, first, last int) change {
		return each(func(acl *query.NetworkACL) {
			acl.Entries = append(acl.Entries, query.NetworkACLEntry{Number: 50, Egress: egress, Protocol: "6", Action: "deny", CIDRBlock: "0.0.0.0/0", FirstPort: first, LastPort: last})
		})
	}
	// closedNAT gives the NAT gateway's subnet a network ACL without entries.
	closedNAT := both(each(func(g *query.NATGateway) { g.SubnetID = "subnet-nat" }), edited(func(out *query.Page[query.NetworkACL]) {
		out.Sets[0].Items = append(out.Sets[0].Items, query.NetworkACL{ID: "acl-closed", Subnets: []string{"subnet-nat"}})
	}))
	noInternet := each(func(table *query.RouteTable) {
		table.Routes = slices.DeleteFunc(table.Routes, func(r query.Route) bool { return strings.HasPrefix(r.GatewayID, "igw-") })
	})
	// started says in which subnet the task runs, as ECS does.
	var subnet string
	started := both(each(func(s *query.Subnet) {
		if s.CIDRBlock == "10.0.4.0/24" {
			subnet = s.ID
		}
	}), edited(func(out *ecs.DescribeTasksOutput) {
		for i := range out.Tasks {
			out.Tasks[i].StartedAt = aws.Time(time.Now())
			out.Tasks[i].Attachments = []types.Attachment{{Details: []types.KeyValuePair{{Name: aws.String("subnetId"), Value: &subnet}}}}
		}
	}))
	const (
		all = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`
		s3  = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}]}`
	)
	return []testCase{
		{"a rule of egress was added", rule(query.SecurityGroupRule{IsEgress: true, Protocol: "tcp", FromPort: 22, ToPort: 22, CIDRIPv4: "0.0.0.0/0"}), failing(checkNetwork, "the security group prefect_worker_sg allows what is not configured: egress of tcp 22 to 0.0.0.0/0")},
		{"a rule of ingress was added", rule(query.SecurityGroupRule{Protocol: "tcp", FromPort: 8080, ToPort: 8080, CIDRIPv4: "0.0.0.0/0"}), failing(checkNetwork, "the security group prefect_worker_sg allows what is not configured: ingress of tcp 8080 from 0.0.0.0/0")},
		{"no default route", route(func(r *query.Route) { r.Destination = "10.8.0.0/16" }), failing(checkNetwork, "the subnet 10.0.4.0/24 has no default route")},
		{"the default route leads to the internet gateway", toInternet, failing(checkNetwork, "which a task without a public address cannot use")},
		{"and tasks have a public address", both(toInternet, public), well},
		{"the NAT gateway is deleted", each(func(g *query.NATGateway) { g.State = "deleted" }), failing(checkNetwork, "is deleted: the worker reaches neither")},
		{"the target of the default route is gone", route(func(r *query.Route) { r.State = "blackhole" }), failing(checkNetwork, "which does not exist any more")},
		{"no free address", free(0), failing(checkNetwork, "has no free address")},
		{"one free address", free(1), well},
		{"an endpoint is missing", withEndpoint, failing(checkNetwork, "has no endpoint of secretsmanager")},
		{"an endpoint is there", endpoint(all), well},
		{"an endpoint whose group is closed", endpoint(all, "sg-00000000000000000"), failing(checkNetwork, "let no task in on port 443")},
		{"an endpoint whose policy allows another service", endpoint(s3), failing(checkNetwork, "the policy of the endpoint of secretsmanager does not allow secretsmanager:GetSecretValue")},
		{"a network ACL denies HTTPS", acl(true, 400, 500), failing(checkNetwork, "of the subnet 10.0.4.0/24 does not allow egress of tcp 443 to 0.0.0.0/0")},
		{"a network ACL denies the answers", acl(false, 1024, 65535), failing(checkNetwork, "does not allow ingress of the answers")},
		{"the network ACL of the NAT gateway", closedNAT, failing(checkNetwork, "the network ACL acl-closed of the NAT gateway nat-", "does not allow egress of tcp 443 to 0.0.0.0/0")},
		{"a network ACL denies SSH", acl(true, 22, 22), well},
		{"a more specific route", further("0.0.0.0/1"), failing(checkNetwork, "has a route to 0.0.0.0/1 that is more specific")},
		{"a route to a private network", further("10.9.0.0/16"), well},
		{"the NAT gateway has no address", each(func(g *query.NATGateway) { g.PublicAddresses = nil }), failing(checkNetwork, "has no public address")},
		{"the subnet of the NAT gateway has no route", noInternet, failing(checkNetwork, "stands in a subnet without a route to an internet gateway")},
		{"where a task has started", started, want{check: checkNetwork, status: OK, details: []string{"tasks of this deployment have started in 10.0.4.0/24 (us-east-1"}}},
	}
}

// both makes one change after the other.
func both(first, second change) change {
	return func(t *testing.T, opt *Options) func() {
		undo, undoSecond := first(t, opt), second(t, opt)
		return func() {
			for _, undo := range []func(){undoSecond, undo} {
				if undo != nil {
					undo()
				}
			}
		}
	}
}

func (h *harness) serviceCases() []testCase {
	container := func(edit func(c *types.ContainerDefinition)) change {
		return edited(func(out *ecs.DescribeTaskDefinitionOutput) { edit(&out.TaskDefinition.ContainerDefinitions[0]) })
	}
	desired := func(n int32) change {
		return func(t *testing.T, _ *Options) func() {
			in := ecs.UpdateServiceInput{Cluster: aws.String("prefect-cluster"), Service: aws.String("dev-worker")}
			before := in
			in.DesiredCount, before.DesiredCount = &n, aws.Int32(1)
			testtools.Call(t, h.ecs.UpdateService, &in)
			return func() { testtools.Call(t, h.ecs.UpdateService, &before) }
		}
	}
	sidecar := edited(func(out *ecs.DescribeTaskDefinitionOutput) {
		d := out.TaskDefinition
		d.ContainerDefinitions = append([]types.ContainerDefinition{{Name: aws.String("sidecar")}}, d.ContainerDefinitions...)
	})
	noLogGroup := func(t *testing.T, _ *Options) func() {
		group := aws.String("/ecs/prefect-worker")
		testtools.Call(t, h.logs.DeleteLogGroup, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: group})
		return func() {
			testtools.Call(t, h.logs.CreateLogGroup, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group})
			testtools.Call(t, h.logs.PutRetentionPolicy, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: group, RetentionInDays: aws.Int32(30)})
		}
	}
	spot := func(existing bool) change {
		return env(func(e *config.Environment) { e.Cluster.Existing, e.Worker.Spot = existing, true })
	}
	hasSpot := edited(func(out *ecs.DescribeClustersOutput) { out.Clusters[0].CapacityProviders = []string{"FARGATE_SPOT"} })
	return []testCase{
		{"no log configuration", container(func(c *types.ContainerDefinition) { c.LogConfiguration = nil }), failing(checkRoles, "writes no log to CloudWatch")},
		{"another container", container(func(c *types.ContainerDefinition) { c.Name = aws.String("another") }), failing(checkDefinition, "has no container prefect-worker")},
		{"a sidecar before it", sidecar, well},
		{"paused by hand", desired(0), failing(checkService, "the service is paused: its desired count is 0").fixedBy("make deploy")},
		{"paused by configuration", both(desired(0), env(func(e *config.Environment) { e.Worker.DesiredCount = 0 })), failing(checkService, "the service is paused").fixedBy("set worker.desired_count to 1")},
		{"a task is missing", edited(func(out *ecs.DescribeServicesOutput) { out.Services[0].RunningCount = 0 }), failing(checkService, "0 of 1 tasks running")},
		{"a worker is missing", env(func(e *config.Environment) { e.Worker.DesiredCount = 2 }), failing(checkWorker, "1 of 2 workers of this service are online in good")},
		{"no log group", noLogGroup, failing(checkLog, "does not exist, so that no task can start")},
		{"another cluster", env(func(e *config.Environment) { e.Cluster.Name = "another" }), failing(checkCluster, "there is no cluster another")},
		{"another service", env(func(e *config.Environment) { e.Worker.ServiceName = "another" }), failing(checkService, "there is no service another")},
		{"another account", env(func(e *config.Environment) { e.AccountID = "999999999999" }), unsure(checkAccount, "the credentials are for account 123456789012, the environment is for 999999999999")},
		{"this account", env(func(e *config.Environment) { e.AccountID = "123456789012" }), well},
		{"an existing cluster without Spot", spot(true), failing(checkCluster, "has no capacity provider FARGATE_SPOT")},
		{"an existing cluster with Spot", both(spot(true), hasSpot), well},
	}
}

func (h *harness) prefectCases() []testCase {
	patch := func(path string, change, back map[string]any) change {
		return func(t *testing.T, _ *Options) func() {
			h.prefect(t, h.two, "PATCH", path, change)
			return func() { h.prefect(t, h.two, "PATCH", path, back) }
		}
	}
	const pool, queue = "/work_pools/good", "/work_pools/good/queues/default"
	type fields = map[string]any
	paused, resumed := fields{"is_paused": true}, fields{"is_paused": false}
	limit := func(n any) fields { return fields{"concurrency_limit": n} }
	closedQueue := func(t *testing.T, _ *Options) func() {
		h.prefect(t, h.two, "POST", "/work_pools/good/queues/", fields{"name": "low", "is_paused": true})
		return func() { h.prefect(t, h.two, "DELETE", "/work_pools/good/queues/low", nil) }
	}
	lateAs := func(state string) change {
		return func(t *testing.T, _ *Options) func() {
			client := h.client(t, h.two)
			// In a queue that this worker could serve, and that is closed.
			deployment, err := client.Deploy(t.Context(), api.LocalFlow{Name: "late", Pool: "good", Queue: "low", Dir: t.TempDir(), Entrypoint: "f.py:f"})
			testtools.NoError(t, err)
			h.prefect(t, h.two, "POST", "/deployments/"+deployment+"/create_flow_run", fields{"state": fields{
				"type": "SCHEDULED", "name": state, "state_details": fields{"scheduled_time": time.Now().Add(-5*time.Minute - 10*time.Second).UTC().Format(time.RFC3339)}}})
			return func() {
				testtools.NoError(t, client.DeleteFlow(t.Context(), "late"))
			}
		}
	}
	// ahead is the server behind a proxy whose clock is wrong.
	ahead := apiAt(func(t *testing.T) string {
		return before(t, h.two.URL(), func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			return false
		}) + "/api"
	})
	queues := func(names ...string) change {
		return env(func(e *config.Environment) { e.WorkPool.Queues = names })
	}
	return []testCase{
		{"pool paused", patch(pool, paused, resumed), failing(checkPool, "good is paused")},
		{"pool with a limit of 0", patch(pool, limit(0), limit(nil)), failing(checkPool, "good has a concurrency limit of 0")},
		{"pool with a limit of 1", patch(pool, limit(1), limit(nil)), well},
		{"queue paused", patch(queue, paused, resumed), failing(checkPool, "the queue default of good is paused")},
		{"queue with a limit of 0", patch(queue, limit(0), limit(nil)), failing(checkPool, "the queue default of good has a concurrency limit of 0")},
		{"another queue paused", closedQueue, well},
		{"runs that nobody takes", both(closedQueue, lateAs("Scheduled")), failing(checkRuns, "1 late in the queue low, which is paused")},
		{"a retry that nobody takes", both(closedQueue, lateAs("AwaitingRetry")), failing(checkRuns, "1 late in the queue low, which is paused").fixedBy("prefect work-queue resume")},
		{"a proxy whose clock is an hour ahead", ahead, well},
		{"a queue that is missing", queues("high"), failing(checkPool, "good has no queue high").fixedBy("workerctl pool apply dev")},
		{"a queue that is there", queues("default"), well},
	}
}

// flow deploys a flow that runs as long as its file in a folder is there, and returns what submits a run of it
// that is due at a point of time.
func (h *harness) flow(t *testing.T, server *prefectserver.Server, pool, dir string) (submit func(due time.Time) (run string)) {
	t.Helper()
	file := filepath.Join(dir, "f.py")
	code := fmt.Sprintf("import os, time\nfrom prefect import flow\n\n@flow\ndef f():\n    while os.path.exists(%q):\n        time.sleep(0.1)\n", file)
	testtools.NoError(t, os.WriteFile(file, []byte(code), 0o644))
	client := h.client(t, server)
	deployment, err := client.Deploy(t.Context(), api.LocalFlow{Name: filepath.Base(dir), Pool: pool, Dir: dir, Entrypoint: "f.py:f"})
	testtools.NoError(t, err)
	return func(due time.Time) string {
		run, err := client.Run(t.Context(), deployment, nil)
		testtools.NoError(t, err)
		if time.Since(due) > time.Second {
			h.prefect(t, server, "POST", "/flow_runs/"+run.ID+"/set_state", map[string]any{"force": true, "state": map[string]any{
				"type": "SCHEDULED", "state_details": map[string]any{"scheduled_time": due.UTC().Format(time.RFC3339)}}})
		}
		return run.ID
	}
}

// apiAt is an API of the worker at another address.
func apiAt(url func(*testing.T) string) change {
	return func(t *testing.T, opt *Options) func() {
		at := url(t)
		return edited(func(out *ecs.DescribeTaskDefinitionOutput) {
			variables := out.TaskDefinition.ContainerDefinitions[0].Environment
			i := slices.IndexFunc(variables, func(v types.KeyValuePair) bool { return *v.Name == "PREFECT_API_URL" })
			variables[i].Value = &at
		})(t, opt)
	}
}

// closedAPI is the address of an API that nobody serves.
func closedAPI(*testing.T) string {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return server.URL + "/api"
}

// jobCases change the template of the pool, or the job variables of a deployment.
func (h *harness) jobCases() []testCase {
	template := func(name string, value any) change {
		return func(t *testing.T, _ *Options) func() {
			client := h.client(t, h.two)
			pool, err := client.WorkPool(t.Context(), "good")
			testtools.NoError(t, err)
			property := pool.BaseJobTemplate["variables"].(map[string]any)["properties"].(map[string]any)[name].(map[string]any)
			before, had := property["default"]
			set := func() {
				testtools.NoError(t, client.SetTemplate(t.Context(), "good", pool.BaseJobTemplate))
			}
			property["default"] = value
			set()
			return func() {
				if property["default"] = before; !had {
					delete(property, "default")
				}
				set()
			}
		}
	}
	deployment := func(variables map[string]any) change {
		return func(t *testing.T, _ *Options) func() {
			client := h.client(t, h.two)
			id, err := client.Deploy(t.Context(), api.LocalFlow{Name: "with-variables", Pool: "good", Dir: t.TempDir(), Entrypoint: "f.py:f"})
			testtools.NoError(t, err)
			h.prefect(t, h.two, "PATCH", "/deployments/"+id, map[string]any{"infra_overrides": variables, "job_variables": variables})
			return func() {
				testtools.NoError(t, client.DeleteFlow(t.Context(), "with-variables"))
			}
		}
	}
	// withFlow begins when the worker has read the template that a case has set. It reads it before each heartbeat,
	// so for the first one after the change perhaps too early.
	withFlow := func(t *testing.T, opt *Options) func() {
		client := h.client(t, h.two)
		for range 2 {
			since := time.Now()
			err := poll.Until(t.Context(), 100*time.Millisecond, func() (bool, error) {
				workers, err := client.OnlineWorkers(t.Context(), "good", since)
				return len(workers) > 0, err
			})
			testtools.NoError(t, err)
		}
		opt.Flow = true
		return nil
	}
	type fields = map[string]any
	return []testCase{
		{"a command that runs no flow", template("command", "false"), failing(checkPool, "no flow run works with the template of good", `command is "false"`)},
		{"a command of Prefect that runs no flow", template("command", "prefect version"), failing(checkPool, `command is "prefect version"`)},
		{"another key", template("env", fields{"PREFECT_API_KEY": "x"}), unsure(checkPool, "flows of good run with another PREFECT_API_KEY").fixedBy("--flow")},
		{"another API", template("env", fields{"PREFECT_API_URL": "http://127.0.0.1:1/api"}), failing(checkPool, "PREFECT_API_URL is http://127.0.0.1:1/api")},
		{"a variable", template("env", fields{"A": "1"}), well},
		{"a folder in which no flow has run", template("working_dir", "/nowhere"), unsure(checkPool, "flows of good run with working_dir /nowhere").fixedBy("--flow")},
		{"a folder, and a flow that shows that it is not there", both(template("working_dir", "/nowhere"), withFlow), failing(checkFlow, "ended as ")},
		{"a deployment that cannot work", deployment(fields{"command": "false"}), failing(checkPool, "no run of the deployment with-variables/with-variables works: command is").fixedBy("job_variables")},
		{"a deployment in a folder in which it has not run", deployment(fields{"working_dir": "/nowhere"}), unsure(checkPool, "flows of the deployment with-variables/with-variables run with working_dir /nowhere").fixedBy("run it once")},
		{"a deployment that can", deployment(fields{"env": fields{"A": "1"}}), well},
	}
}

func (h *harness) alarmCases() []testCase {
	state := func(value cwtypes.StateValue) change {
		return func(t *testing.T, _ *Options) func() {
			set := func(value cwtypes.StateValue) {
				testtools.Call(t, h.cloudwatch.SetAlarmState, &cloudwatch.SetAlarmStateInput{AlarmName: aws.String("dev-worker-silent-worker"), StateValue: value, StateReason: aws.String("test")})
			}
			set(value)
			return func() { set(cwtypes.StateValueOk) }
		}
	}
	// metric changes a metric of the probe.
	metric := func(name string, value float64) change {
		return edited(func(out *cloudwatch.GetMetricDataOutput) {
			for i, result := range out.MetricDataResults {
				if *result.Label == name {
					out.MetricDataResults[i].Values = []float64{value}
				}
			}
		})
	}
	silent := edited(func(out *cloudwatch.GetMetricDataOutput) {
		for i := range out.MetricDataResults {
			out.MetricDataResults[i].Values = nil
		}
	})
	unconfirmed := edited(func(out *query.SubscriptionPage) {
		out.Subscriptions[0].ARN = "PendingConfirmation"
	})
	away := apiAt(closedAPI)
	// topic has the alarms go to a topic that exists, with a policy, or that of the stack, and a key.
	topic := func(policy, key string) change {
		return both(env(func(e *config.Environment) {
			e.Monitoring.TopicARN = "arn:aws:sns:us-east-1:123456789012:dev-worker-alarms"
		}),
			edited(func(out *query.Topic) {
				out.Attributes = []query.Attribute{{Name: "Policy", Value: cmp.Or(policy, out.Attribute("Policy"))}, {Name: "KmsMasterKeyId", Value: key}}
			}))
	}
	const ofAWS = `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["SNS:Publish"],"Resource":"*","Condition":{"StringEquals":{"AWS:SourceOwner":"123456789012"}}}]}`
	const forOthers = `{"Statement":[{"Effect":"Allow","Principal":{"Service":["cloudwatch.amazonaws.com","events.amazonaws.com"]},"Action":"sns:Publish","Resource":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:cloudwatch:us-east-1:123456789012:alarm:other-*"}}}]}`
	noTopic := env(func(e *config.Environment) { e.Monitoring.TopicARN = "arn:aws:sns:us-east-1:123456789012:none" })
	return []testCase{
		{"a topic that exists", topic("", ""), well},
		{"a topic that does not", noTopic, failing(checkAlarms, "there is no topic arn:aws:sns:us-east-1:123456789012:none").fixedBy("monitoring.topic_arn")},
		{"a topic with the policy that SNS gives it", topic(ofAWS, ""), failing(checkAlarms, "events.amazonaws.com may not publish to the topic arn:aws:sns:us-east-1:123456789012:dev-worker-alarms").fixedBy("sns:Publish")},
		{"a topic for other alarms", topic(forOthers, ""), failing(checkAlarms, "cloudwatch.amazonaws.com may not publish to the topic")},
		{"a topic under AWS's own key", topic("", "alias/aws/sns"), failing(checkAlarms, "with which CloudWatch cannot publish").fixedBy("kms:GenerateDataKey")},
		{"a topic that may not be read", both(topic("", ""), refusing("GetTopicAttributes")), unsure(checkAlarms, "dev-worker-alarms could not be read: AccessDeniedException").fixedBy("sns:GetTopicAttributes")},
		{"an alarm", state(cwtypes.StateValueAlarm), failing(checkAlarms, "dev-worker-silent-worker is in ALARM since").fixedBy("workerctl verify dev")},
		{"an alarm without data", state(cwtypes.StateValueInsufficientData), well},
		{"nobody has confirmed", unconfirmed, failing(checkAlarms, "a@example.com is notified of no alarm: the subscription is not confirmed").fixedBy("follow the link")},
		{"the probe may not publish", h.inline("dev-worker-probe", `{"Effect":"Deny","Action":"cloudwatch:PutMetricData","Resource":"*"}`), failing(checkRoles, "the role of the probe dev-worker-probe may not call cloudwatch:PutMetricData")},
		{"the probe may not delete", h.inline("dev-worker-probe", `{"Effect":"Deny","Action":"s3:DeleteObject","Resource":"*"}`), well},
		{"the probe's schedule may not start it", h.inline("dev-worker-probe-schedule", `{"Effect":"Deny","Action":"lambda:*","Resource":"*"}`), failing(checkRoles, "the role of the probe's schedule dev-worker-probe-schedule may not call lambda:InvokeFunction")},
		{"the probe is silent", silent, failing(checkAlarms, "the probe has published no metrics for 4 minutes").fixedBy("/aws/lambda/dev-worker-probe says why")},
		{"queries of the probe fail", metric("ProbeErrors", 6), failing(checkAlarms, "6 queries of the probe failed")},
		{"the API is not reached from here", away, unsure(checkAPI, "the Prefect API cannot be reached")},
		{"and the probe sees no worker", both(away, metric("WorkersOnline", 0)), failing(checkWorker, "0 of 1 workers of this service are online, by the probe's metrics of ")},
		{"and the probe sees a lost run", both(away, metric("FlowRunsLost", 1)), failing(checkRuns, "1 orphaned or lost, by the probe's metrics of ")},
	}
}

// readingCases take one permission after the other away from whoever verifies, or the content of one answer
// of AWS: what could not be read is no failure.
func readingCases() []testCase {
	var all []testCase
	for operation, check := range map[string]string{
		"DescribeClusters": checkCluster, "DescribeServices": checkService, "DescribeTaskDefinition": checkDefinition,
		"ListTasks": checkWorker, "DescribeSubnets": checkNetwork, "DescribeRouteTables": checkNetwork, "DescribeNatGateways": checkNetwork,
		"DescribeSecurityGroups": checkNetwork, "DescribeSecurityGroupRules": checkNetwork, "DescribeNetworkAcls": checkNetwork,
		"GetSecretValue": checkSecret, "GetResourcePolicy": checkRoles, "DescribeSecret": checkRoles,
		"GetRole": checkRoles, "ListRolePolicies": checkRoles, "GetRolePolicy": checkRoles, "ListAttachedRolePolicies": checkRoles,
		"GetPolicy": checkRoles, "GetPolicyVersion": checkRoles, "FilterLogEvents": checkLog,
		"DescribeAlarms": checkAlarms, "ListSubscriptionsByTopic": checkAlarms, "GetMetricData": checkAlarms,
	} {
		all = append(all, testCase{"without " + operation, refusing(operation), unsure(check, "could not be read: AccessDeniedException: not authorized").fixedBy(":" + operation)})
	}
	// What has an answer that may be empty is not among these.
	for operation, check := range map[string]string{
		"GetCallerIdentity": checkAccount, "DescribeClusters": checkCluster, "DescribeServices": checkService, "DescribeTaskDefinition": checkDefinition,
		"DescribeSubnets": checkNetwork, "DescribeRouteTables": checkNetwork, "DescribeNatGateways": checkNetwork, "DescribeSecurityGroups": checkNetwork,
		"DescribeSecurityGroupRules": checkNetwork, "DescribeNetworkAcls": checkNetwork,
		"GetSecretValue": checkSecret, "GetResourcePolicy": checkRoles, "DescribeSecret": checkRoles, "GetRole": checkRoles,
		"GetRolePolicy": checkRoles, "GetPolicy": checkRoles, "GetPolicyVersion": checkRoles, "DescribeAlarms": checkAlarms, "GetMetricData": checkAlarms,
	} {
		all = append(all, testCase{"nothing from " + operation, empty(operation), unsure(check, "could not be read: ")})
	}
	// A page of a proxy instead, in each of AWS's protocols.
	for operation, check := range map[string]string{"GetCallerIdentity": checkAccount, "DescribeServices": checkService, "DescribeSubnets": checkNetwork, "GetRole": checkRoles, "GetSecretValue": checkSecret, "GetMetricData": checkAlarms} {
		all = append(all, testCase{"a page from " + operation, page(operation), unsure(check, "could not be read: ")})
	}
	return all
}

// planCases are for the check by Terraform's plan, with a real one and with what Terraform may say.
func (h *harness) planCases() []testCase {
	saying := func(plan *tfjson.Plan, err error) change {
		return func(_ *testing.T, opt *Options) func() {
			opt.Plan = func(context.Context) (*tfjson.Plan, error) { return plan, err }
			return nil
		}
	}
	state := &tfjson.State{Values: &tfjson.StateValues{RootModule: &tfjson.StateModule{Resources: []*tfjson.StateResource{{Address: "aws_vpc.main", Mode: tfjson.ManagedResourceMode}}}}}
	update := func(before, after any) *tfjson.Plan {
		return &tfjson.Plan{PriorState: state, ResourceChanges: []*tfjson.ResourceChange{{Address: "aws_vpc.main", Change: &tfjson.Change{
			Actions: tfjson.Actions{tfjson.ActionUpdate}, Before: map[string]any{"x": before, "password": "marker"}, After: map[string]any{"x": after, "password": "marker-2"},
		}}}}
	}
	// drift changes what only a plan sees, of several services of AWS.
	drift := func(t *testing.T, opt *Options) func() {
		vpcs, err := query.VPCs(t.Context(), h.Client, query.Filters("cidr", "10.0.0.0/16"))
		testtools.NoError(t, err)
		groups, err := query.SecurityGroups(t.Context(), h.Client, query.Filters("group-name", "prefect_worker_sg"))
		testtools.NoError(t, err)
		https := query.Params{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": []query.Params{{"CidrIp": "0.0.0.0/0"}}}
		testtools.NoError(t,
			h.Call(t.Context(), query.EC2, "ModifyVpcAttribute", query.Params{"VpcId": vpcs[0].ID, "EnableDnsHostnames": query.Params{"Value": false}}, nil),
			h.Call(t.Context(), query.EC2, "RevokeSecurityGroupEgress", query.Params{"GroupId": groups[0].ID, "IpPermissions": []query.Params{https}}, nil),
		)
		testtools.Call(t, h.ecs.UpdateCluster, &ecs.UpdateClusterInput{Cluster: aws.String("prefect-cluster"), Settings: []types.ClusterSetting{{Name: types.ClusterSettingNameContainerInsights, Value: aws.String("disabled")}}})
		alarm := testtools.Call(t, h.cloudwatch.DescribeAlarms, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{"dev-worker-late-runs"}}).MetricAlarms[0]
		testtools.Call(t, h.cloudwatch.PutMetricAlarm, &cloudwatch.PutMetricAlarmInput{AlarmName: alarm.AlarmName, AlarmDescription: alarm.AlarmDescription, ComparisonOperator: alarm.ComparisonOperator, Threshold: aws.Float64(7),
			EvaluationPeriods: alarm.EvaluationPeriods, DatapointsToAlarm: alarm.DatapointsToAlarm, TreatMissingData: alarm.TreatMissingData, AlarmActions: alarm.AlarmActions,
			OKActions: alarm.OKActions, Namespace: alarm.Namespace, MetricName: alarm.MetricName, Statistic: alarm.Statistic, Period: alarm.Period, Dimensions: alarm.Dimensions})
		opt.Plan = h.plan(t)
		return nil
	}
	return []testCase{
		{"drift", drift, failing(checkConfigured,
			"aws_vpc.main\n      enable_dns_hostnames\n        - false\n        + true",
			"aws_cloudwatch_metric_alarm.late_runs\n      threshold\n        - 7\n        + 600",
			"aws_ecs_cluster.main", "aws_vpc_security_group_egress_rule.https")},
		{"another value", saying(update("a", "b"), nil), failing(checkConfigured, "~ aws_vpc.main").fixedBy("make deploy ENV=dev")},
		{"the same value", saying(&tfjson.Plan{PriorState: state}, nil), well},
		{"no state here", saying(&tfjson.Plan{}, nil), unsure(checkConfigured, "holds nothing of it").fixedBy("--no-plan")},
		{"no plan", saying(nil, errors.New("terraform plan: exit status 1")), unsure(checkConfigured, "could not be read: terraform plan: exit status 1").fixedBy("--no-plan")},
	}
}
