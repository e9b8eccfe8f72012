package deployer

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/terraform/stackjson"
	"prefect-worker-ecs/internal/test/deployment"
	"prefect-worker-ecs/internal/test/golden"
	"prefect-worker-ecs/internal/test/testtools"
)

// The golden stacks and their policies, which all tests share.
var (
	stacks   map[string][]byte
	policies = map[string]iam.Document{}
)

// environments returns those with a golden stack.
func environments(t *testing.T) []string {
	t.Helper()
	if stacks == nil {
		stacks = golden.Stacks(t)
	}
	return slices.Sorted(maps.Keys(stacks))
}

func stackOf(t *testing.T, name string) *stackjson.Stack {
	t.Helper()
	environments(t)
	stack, err := stackjson.Parse(stacks[name], iam.Account{Partition: "aws", Region: "us-east-1", ID: "123456789012"}, nil)
	testtools.NoError(t, err)
	return stack
}

func policyOf(t *testing.T, name string, purpose Purpose) iam.Document {
	t.Helper()
	key := fmt.Sprint(name, purpose)
	if document, made := policies[key]; made {
		return document
	}
	document, err := Policy(stackOf(t, name), purpose)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	policies[key] = document
	return document
}

// grantedFor returns the actions that the policies for some purposes grant together.
func grantedFor(t *testing.T, purposes ...Purpose) map[string]bool {
	t.Helper()
	granted := map[string]bool{}
	for _, name := range environments(t) {
		for _, purpose := range purposes {
			for _, s := range policyOf(t, name, purpose).Statement {
				for _, action := range s.Action {
					granted[action] = true
				}
			}
		}
	}
	return granted
}

// TestPolicies compares the policies with golden files: those of an own and of an existing network
// as a whole, the others as differences to one of them.
func TestPolicies(t *testing.T) {
	policy := func(name string, purpose Purpose) string {
		text, err := json.MarshalIndent(policyOf(t, name, purpose), "", "  ")
		testtools.NoError(t, err)
		return string(text) + "\n"
	}
	for word, purpose := range map[string]Purpose{"deploy": Deploy, "read": Read} {
		for _, name := range environments(t) {
			file := filepath.Join("testdata", name+"."+word)
			switch name {
			case "dev", "existing":
				golden.Equal(t, file+".json", policy(name, purpose))
			case "shared":
				golden.Equal(t, file+".diff", golden.Difference(t, policy("existing", purpose), policy(name, purpose)))
			default:
				golden.Equal(t, file+".diff", golden.Difference(t, policy("dev", purpose), policy(name, purpose)))
			}
		}
	}
	// Adopting needs no more than reading, and a few actions.
	golden.Equal(t, "testdata/dev.adopt.diff", golden.Difference(t, policy("dev", Read), policy("dev", Adopt)))
}

// TestParts: each part is a managed policy that AWS takes, and together they are the whole.
func TestParts(t *testing.T) {
	for _, name := range environments(t) {
		whole := policyOf(t, name, Deploy)
		var statements []iam.Statement
		for _, part := range Parts(whole) {
			if n := size(part); n > managedPolicyLimit {
				t.Errorf("%s: a part has %d characters", name, n)
			}
			statements = append(statements, part.Statement...)
		}
		if size(iam.New(statements...)) != size(whole) {
			t.Errorf("%s: the parts are not the whole", name)
		}
	}
}

// TestNoPrivilegeEscalation: whoever has only the policy of an environment cannot give himself, or a task,
// more rights than it is about.
func TestNoPrivilegeEscalation(t *testing.T) {
	const account = "arn:aws:iam::123456789012:"
	tags := map[string][]string{"aws:resourcetag/project": {"another"}, "aws:resourcetag/environment": {"dev"}}
	attempts := map[string]iam.Request{
		"a policy of another role":              {Action: "iam:PutRolePolicy", Resource: account + "role/admin"},
		"a policy of a user":                    {Action: "iam:PutUserPolicy", Resource: account + "user/deployer"},
		"a policy attached to another role":     {Action: "iam:AttachRolePolicy", Resource: account + "role/admin"},
		"administrator for the worker":          {Action: "iam:AttachRolePolicy", Resource: account + "role/prefect-task-execution-role", Context: map[string][]string{"iam:policyarn": {"arn:aws:iam::aws:policy/AdministratorAccess"}}},
		"a managed policy's new version":        {Action: "iam:CreatePolicyVersion", Resource: account + "policy/p"},
		"the trust of another role":             {Action: "iam:UpdateAssumeRolePolicy", Resource: account + "role/admin"},
		"another role":                          {Action: "iam:CreateRole", Resource: account + "role/admin"},
		"a role's boundary taken away":          {Action: "iam:DeleteRolePermissionsBoundary", Resource: account + "role/prefect-task-role"},
		"another role handed to ECS":            {Action: "iam:PassRole", Resource: account + "role/admin", Context: map[string][]string{"iam:passedtoservice": {"ecs-tasks.amazonaws.com"}}},
		"the worker's role handed to Lambda":    {Action: "iam:PassRole", Resource: account + "role/prefect-task-role", Context: map[string][]string{"iam:passedtoservice": {"lambda.amazonaws.com"}}},
		"the worker's role assumed":             {Action: "sts:AssumeRole", Resource: account + "role/prefect-task-role"},
		"another secret":                        {Action: "secretsmanager:GetSecretValue", Resource: "arn:aws:secretsmanager:us-east-1:123456789012:secret:other-AbCdEf"},
		"a subnet in another's VPC":             {Action: "ec2:CreateSubnet", Resource: "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1", Context: tags},
		"another's VPC deleted":                 {Action: "ec2:DeleteVpc", Resource: "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1", Context: tags},
		"prod's security group tagged as dev's": {Action: "ec2:CreateTags", Resource: "arn:aws:ec2:us-east-1:123456789012:security-group/sg-1", Context: map[string][]string{"aws:requesttag/project": {"prefect-worker"}, "aws:requesttag/environment": {"dev"}, "aws:resourcetag/project": {"prefect-worker"}, "aws:resourcetag/environment": {"prod"}}},
		"another's VPC tagged as one's own":     {Action: "ec2:CreateTags", Resource: "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1", Context: map[string][]string{"aws:requesttag/project": {"prefect-worker"}, "aws:requesttag/environment": {"dev"}}},
		"another cluster deleted":               {Action: "ecs:DeleteCluster", Resource: "arn:aws:ecs:us-east-1:123456789012:cluster/other"},
		"a task in another cluster":             {Action: "ecs:RunTask", Resource: "arn:aws:ecs:us-east-1:123456789012:task-definition/admin:1"},
		"another log group":                     {Action: "logs:DeleteLogGroup", Resource: "arn:aws:logs:us-east-1:123456789012:log-group:other"},
		"a virtual machine":                     {Action: "ec2:RunInstances", Resource: "*"},
		"a secret of another region":            {Action: "secretsmanager:CreateSecret", Resource: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prefect-api-key-new-2-AbCdEf"},
		"networks of another region observed":   {Action: "ec2:DescribeVpcs", Resource: "*", Context: map[string][]string{"aws:requestedregion": {"eu-west-1"}}},
	}
	for _, name := range environments(t) {
		documents := []iam.Document{policyOf(t, name, Deploy)}
		for what, request := range attempts {
			request.Complete = true
			if result := iam.Evaluate(documents, request); result.Decision != iam.Denied {
				t.Errorf("%s: %s is possible: %s by %s", name, what, request.Action, result.Statement)
			}
		}
	}
	// AND each attempt would succeed if its grant were wider, or its action is granted nowhere
	granted := grantedFor(t, Deploy)
	var never []string
	for _, request := range attempts {
		if !granted[request.Action] {
			never = append(never, request.Action)
		}
	}
	slices.Sort(never)
	if want := []string{"ec2:RunInstances", "ecs:RunTask", "iam:CreatePolicyVersion", "iam:DeleteRolePermissionsBoundary", "iam:PutUserPolicy", "sts:AssumeRole"}; !slices.Equal(never, want) {
		t.Errorf("no policy grants %q, want %q", never, want)
	}
	// And what the policy is for is possible: the attempts fail for what they are.
	own := iam.Request{Action: "iam:PutRolePolicy", Resource: account + "role/prefect-task-execution-role", Complete: true}
	if result := iam.Evaluate([]iam.Document{policyOf(t, "dev", Deploy)}, own); result.Decision != iam.Allowed {
		t.Error("a policy of the worker's own role cannot be written")
	}
}

// remaining are actions for which AWS has neither resources nor tags: what a deployer may do with them is in
// docs/deploy.md.
var remaining = []string{
	"ecs:DeregisterTaskDefinition", "route53:CreateHostedZone", "route53:DeleteHostedZone", "servicediscovery:UntagResource", "secretsmanager:GetRandomPassword",
}

// TestNothingOfOthers: each action is denied on what another environment of the project has, whatever else the
// conditions of its statement want, and for what is made without the tags of the environment.
func TestNothingOfOthers(t *testing.T) {
	allowed := map[string]bool{}
	for _, name := range environments(t) {
		documents := []iam.Document{policyOf(t, name, Deploy)}
		for _, s := range documents[0].Statement {
			for i := range s.Resource {
				for _, environment := range []string{"another", ""} {
					for _, action := range s.Action {
						request := iam.Request{Action: action, Resource: anothers(s.Resource[i]), Context: ofAnother(s.Condition, environment), Complete: true}
						if !reads(action) && iam.Evaluate(documents, request).Decision != iam.Denied {
							allowed[action] = true
							if !slices.Contains(remaining, action) {
								t.Errorf("%s: %s of %s is possible with %v", name, action, request.Resource, request.Context)
							}
						}
					}
				}
			}
		}
	}
	for _, action := range remaining {
		if !allowed[action] {
			t.Errorf("%s is denied, or granted by no policy", action)
		}
	}
}

// reads reports whether an action only reads, and no secret.
func reads(action string) bool {
	_, verb, _ := strings.Cut(action, ":")
	return action != "secretsmanager:GetSecretValue" && action != "secretsmanager:GetRandomPassword" &&
		slices.ContainsFunc([]string{"Get", "List", "Describe", "Filter"}, func(verbs string) bool { return strings.HasPrefix(verb, verbs) })
}

// anothers returns a resource of the kind of a pattern that has another name. Where the pattern holds no name it is
// one of those that the pattern stands for.
func anothers(pattern string) string {
	const parts = 6
	arn := strings.SplitN(pattern, ":", parts)
	if len(arn) != parts {
		return "arn:aws:any:us-east-1:123456789012:x"
	}
	own, _, _ := strings.Cut(arn[parts-1], "*")
	own, _, _ = strings.Cut(own, "?")
	if !regexp.MustCompile(`^([a-z-]*[:/])?$`).MatchString(own) {
		own = strings.TrimRight(own, "/:-") + "-other" + own[len(strings.TrimRight(own, "/:-")):]
	}
	arn[parts-1] = own + "x"
	return strings.ReplaceAll(strings.Join(arn, ":"), "*", "x")
}

// ofAnother returns the context that meets a condition but for the environment in its tags: another one, or "" for
// no tags at all.
func ofAnother(condition iam.Condition, environment string) map[string][]string {
	all := map[string][]string{"aws:resourcetag/project": {"prefect-worker"}, "aws:resourcetag/environment": {"another"}}
	for _, keys := range condition {
		for key, values := range keys {
			key = strings.ToLower(key)
			switch isTag := strings.HasPrefix(key, "aws:requesttag/"); {
			case isTag && environment == "", key == "aws:resourcetag/environment":
			case key == "aws:requesttag/environment":
				all[key] = []string{environment}
			default:
				all[key] = values
			}
		}
	}
	return all
}

// TestWhatADeployerCalls: the policies together grant each action that Terraform and workerctl were seen to call, or
// that a change calls which the tests do not make.
func TestWhatADeployerCalls(t *testing.T) {
	granted := grantedFor(t, Deploy, Adopt)
	for _, action := range append(deployment.Actions(), slices.Sorted(maps.Keys(deployment.NotCalled))...) {
		if !granted[action] {
			t.Errorf("no policy grants %s", action)
		}
	}
}

// TestReadOnly: a policy for reading changes nothing, and is part of the one for deploying and of
// the one for adopting, which changes nothing either.
func TestReadOnly(t *testing.T) {
	actions := func(name string, purpose Purpose) map[string]bool {
		granted := map[string]bool{}
		for _, s := range policyOf(t, name, purpose).Statement {
			for _, action := range s.Action {
				_, verb, _ := strings.Cut(action, ":")
				state := strings.HasPrefix(action, "s3:") || slices.Contains(s.Condition["StringEquals"]["kms:ViaService"], "s3.us-east-1.amazonaws.com") // the lock of a plan
				reads := slices.ContainsFunc([]string{"Get", "List", "Describe", "Filter", "Decrypt"}, func(verbs string) bool { return strings.HasPrefix(verb, verbs) })
				if purpose != Deploy && !state && !reads {
					t.Errorf("%s: who may only read may %s", name, action)
				}
				granted[action] = true
			}
		}
		return granted
	}
	for _, name := range environments(t) {
		deploy, adopt := actions(name, Deploy), actions(name, Adopt)
		for action := range actions(name, Read) {
			if !deploy[action] || !adopt[action] {
				t.Errorf("%s: who deploys may %s: %t, who adopts: %t", name, action, deploy[action], adopt[action])
			}
		}
	}
}

// TestSecretsThatExist: who verifies reads the credential, and of others only how they are guarded.
func TestSecretsThatExist(t *testing.T) {
	documents := []iam.Document{policyOf(t, "ecs", Read)}
	for secret, actions := range map[string]map[string]iam.Decision{
		"prefect-AbCdEf": {"secretsmanager:DescribeSecret": iam.Allowed, "secretsmanager:GetResourcePolicy": iam.Allowed, "secretsmanager:GetSecretValue": iam.Allowed},
		"other-AbCdEf":   {"secretsmanager:DescribeSecret": iam.Denied, "secretsmanager:GetSecretValue": iam.Denied},
	} {
		for action, want := range actions {
			request := iam.Request{Action: action, Resource: "arn:aws:secretsmanager:us-east-1:123456789012:secret:" + secret, Complete: true}
			if result := iam.Evaluate(documents, request); result.Decision != want {
				t.Errorf("%s of %s: %v, want %v", action, secret, result.Decision, want)
			}
		}
	}
	for _, s := range policyOf(t, "serverdb", Read).Statement {
		if slices.Contains(s.Action, "secretsmanager:GetSecretValue") {
			t.Errorf("the database's password may be read: %+v", s)
		}
	}
}

// TestABoundaryBinds: with a permissions boundary in the configuration, roles are made and
// changed only within it.
func TestABoundaryBinds(t *testing.T) {
	stack := stackOf(t, "full")
	boundary, _ := stack.Resource("aws_iam_role", "task")["permissions_boundary"].(string)
	if boundary == "" {
		t.Fatal("the environment full has no permissions boundary")
	}
	documents := []iam.Document{policyOf(t, "full", Deploy)}
	role := fmt.Sprint(stack.Resource("aws_ecs_task_definition", "worker")["execution_role_arn"])
	for _, action := range []string{"iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"} {
		for given, want := range map[string]iam.Decision{boundary: iam.Allowed, "": iam.Denied, "arn:aws:iam::aws:policy/AdministratorAccess": iam.Denied} {
			request := iam.Request{Action: action, Resource: role, Complete: true, Context: map[string][]string{}}
			if given != "" {
				request.Context["iam:permissionsboundary"] = []string{given}
			}
			if result := iam.Evaluate(documents, request); result.Decision != want {
				t.Errorf("%s with the boundary %q: %v, want %v", action, given, result, want)
			}
		}
	}
}

// TestAResourceOfAnUnknownType is refused by its name: a policy that lacks something would fail
// in the middle of a deployment.
func TestAResourceOfAnUnknownType(t *testing.T) {
	stack, err := stackjson.Parse([]byte(`{"resource": {"aws_lambda_unknown": {"x": {}}}}`), iam.Account{}, nil)
	testtools.NoError(t, err)
	if _, err := Policy(stack, Deploy); err == nil || err.Error() != "the table of resource types has no aws_lambda_unknown" {
		t.Errorf("got %v", err)
	}
}
