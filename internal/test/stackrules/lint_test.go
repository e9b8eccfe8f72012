package stackrules

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

// The lists of this package and the constructs could share a misspelt action, or a field of a
// container that does not exist. cfn-lint knows AWS's own lists of them, for templates of
// CloudFormation: what it can judge of a stack is written as one. It comes with moto.

// template is what cfn-lint is to judge of a stack.
func template(t *testing.T, stack map[string]any) map[string]any {
	t.Helper()
	elements := map[string]any{}
	resources := stack["resource"].(map[string]any)
	for _, kind := range []string{"aws_ecs_task_definition", "aws_iam_role", "aws_iam_role_policy", "aws_sqs_queue_policy"} {
		named, _ := resources[kind].(map[string]any)
		for name, r := range named {
			r := r.(map[string]any)
			id := strings.ReplaceAll(kind+name, "_", "")
			switch kind {
			case "aws_ecs_task_definition":
				elements[id] = element("AWS::ECS::TaskDefinition", map[string]any{
					"Family": r["family"], "Cpu": r["cpu"], "Memory": r["memory"], "NetworkMode": r["network_mode"], "RequiresCompatibilities": r["requires_compatibilities"],
					"ExecutionRoleArn": evaluated(r["execution_role_arn"].(string)), "ContainerDefinitions": capitalized(decoded(t, r["container_definitions"])),
				})
			case "aws_iam_role":
				elements[id] = element("AWS::IAM::Role", map[string]any{"RoleName": r["name"], "AssumeRolePolicyDocument": decoded(t, r["assume_role_policy"])})
			case "aws_iam_role_policy":
				elements[id] = element("AWS::IAM::RolePolicy", map[string]any{"PolicyName": r["name"], "RoleName": "role", "PolicyDocument": decoded(t, r["policy"])})
			case "aws_sqs_queue_policy":
				elements[id] = element("AWS::SQS::QueuePolicy", map[string]any{"Queues": []any{"https://sqs.us-east-1.amazonaws.com/123456789012/q"}, "PolicyDocument": decoded(t, r["policy"])})
			}
		}
	}
	return map[string]any{"AWSTemplateFormatVersion": "2010-09-09", "Resources": elements}
}

func element(kind string, properties map[string]any) map[string]any {
	return map[string]any{"Type": kind, "Properties": properties}
}

// decoded is a JSON document of the stack with values for its references.
func decoded(t *testing.T, document any) any {
	t.Helper()
	var content any
	if err := json.Unmarshal([]byte(evaluated(document.(string))), &content); err != nil {
		t.Fatal(err)
	}
	return content
}

var reference = regexp.MustCompile(`\$?\$\{[^{}]*\}`)

// evaluated puts a value of the right form in the place of each reference.
func evaluated(text string) string {
	return reference.ReplaceAllStringFunc(text, func(r string) string {
		switch {
		case r == account.Partition:
			return "aws"
		case r == account.Region:
			return "us-east-1"
		case r == account.ID:
			return "123456789012"
		case strings.HasPrefix(r, "${aws_iam_role."):
			return "arn:aws:iam::123456789012:role/x"
		case strings.HasSuffix(r, ".arn}"):
			return "arn:aws:example:us-east-1:123456789012:x"
		}
		return "x"
	})
}

// capitalized turns ECS's names of fields into CloudFormation's. The names of log options and
// labels are values.
func capitalized(value any) any {
	switch value := value.(type) {
	case []any:
		all := make([]any, len(value))
		for i, v := range value {
			all[i] = capitalized(v)
		}
		return all
	case map[string]any:
		all := map[string]any{}
		for name, v := range value {
			if name != "options" && name != "dockerLabels" {
				v = capitalized(v)
			}
			all[strings.ToUpper(name[:1])+name[1:]] = v
		}
		return all
	}
	return value
}

// lint returns what cfn-lint finds in each stack, by name: the rule, where and what.
func lint(t *testing.T, stacks map[string]map[string]any) map[string][]string {
	t.Helper()
	env := testtools.Environment(t, pyenv.Moto)
	dir := t.TempDir()
	args := []string{"-c", "from cfnlint.runner import main; main()", "--format", "json", "--regions", "us-east-1", "--non-zero-exit-code", "none", "--"}
	for name, stack := range stacks {
		file, err := json.Marshal(template(t, stack))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".json"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name+".json")
	}
	cmd := exec.CommandContext(t.Context(), env.Python(), args...)
	cmd.Dir, cmd.Env = dir, pyenv.Environ()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cfn-lint: %v\n%s", err, out)
	}
	var answers []struct {
		Filename, Message string
		Rule              struct{ ID string }
		Location          struct{ Path []any }
	}
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatalf("cfn-lint: %v\n%s", err, out)
	}
	all := map[string][]string{}
	for _, a := range answers {
		var path []string
		for _, part := range a.Location.Path {
			path = append(path, fmt.Sprint(part))
		}
		name := strings.TrimSuffix(a.Filename, ".json")
		message, _, _ := strings.Cut(a.Message, " is not one of ") // and then the whole list
		message, _, _ = strings.Cut(message, " does not match any of ")
		all[name] = append(all[name], a.Rule.ID+" "+strings.Join(path[1:], ".")+": "+message)
	}
	return all
}

func TestActionsAndFieldsAreThoseThatAWSHas(t *testing.T) {
	// GIVEN the golden stacks, and each with something misspelt
	stacks := map[string]map[string]any{}
	load := func(name, environment string, plant ...func(*testing.T, map[string]any)) {
		var stack map[string]any
		if err := json.Unmarshal(golden(t, environment), &stack); err != nil {
			t.Fatal(err)
		}
		for _, p := range plant {
			p(t, stack)
		}
		stacks[name] = stack
	}
	for name := range environments(t) {
		load(name, name)
	}
	// The lists hold more than these environments use; what a construct builds is on them.
	everything := *environments(t)["full"]
	everything.WorkPool.Type, everything.WorkPool.Job.Deregister, everything.IAM.FlowTaskFamilies = config.PoolECS, true, []string{"etl"}
	everything.Worker.Secrets = map[string]string{"A": "arn:aws:ssm:eu-central-1:123456789012:parameter/a"}
	r := rulesFor(&everything)
	load("lists", "ecs",
		set(executionPolicy, encode(iam.New(r.readSecrets()...))), set(taskPolicy, encode(iam.New(append(r.runFlows(), r.startFlows()...)...))))
	load("action", "ecs", statement(taskPolicy, 2, "Action", []any{"ecs:RunTasks"}))
	load("service", "dev", statement(executionPolicy, 0, "Action", []any{"secretmanager:GetSecretValue"}))
	load("trust", "dev", statement(taskTrust, 0, "Action", []any{"sts:AssumeRoles"}))
	load("operator", "dev", statement(taskTrust, 0, "Condition", map[string]any{"StringEqual": map[string]any{"aws:SourceAccount": "123456789012"}}))
	load("queue", "ecs", statement(queuePolicy, 0, "Action", []any{"sqs:SendMesage"}))
	load("statement", "dev", statement(executionPolicy, 0, "Resources", []any{"*"}))
	load("field", "dev", renamed("stopTimeout", "stopTimout"))
	load("inner", "full", inContainer("healthCheck.startperiod", 300))
	load("driver", "full", inContainer("logConfiguration.logDriver", "awslog"))
	load("number", "dev", inContainer("stopTimeout", "soon"))

	// WHEN AWS's own lists are asked
	found := lint(t, stacks)

	// THEN the golden stacks are right, and what is misspelt is found
	want := map[string][]string{
		"action":    {"W3037 awsiamrolepolicytask.Properties.PolicyDocument.Statement.2.Action: 'runtasks'"},
		"service":   {"W3037 awsiamrolepolicyexecution.Properties.PolicyDocument.Statement.0.Action: 'secretmanager'"},
		"trust":     {"W3037 awsiamroletask.Properties.AssumeRolePolicyDocument.Statement.0.Action: 'assumeroles'"},
		"operator":  {"E3530 awsiamroletask.Properties.AssumeRolePolicyDocument.Statement.0.Condition.StringEqual: 'StringEqual'"},
		"queue":     {"W3037 awssqsqueuepolicytaskevents.Properties.PolicyDocument.Statement.0.Action: 'sendmesage'"},
		"statement": {"E3510 awsiamrolepolicyexecution.Properties.PolicyDocument.Statement.0.Resources: Additional properties are not allowed ('Resources' was unexpected. Did you mean 'Resource'?)"},
		"field":     {"E3002 awsecstaskdefinitionworker.Properties.ContainerDefinitions.0.StopTimout: Additional properties are not allowed ('StopTimout' was unexpected. Did you mean 'StopTimeout'?)"},
		"inner":     {"E3002 awsecstaskdefinitionworker.Properties.ContainerDefinitions.0.HealthCheck.Startperiod: Additional properties are not allowed ('Startperiod' was unexpected. Did you mean 'StartPeriod'?)"},
		"driver":    {"E3048 awsecstaskdefinitionworker.Properties.ContainerDefinitions.0.LogConfiguration.LogDriver: 'awslog'"},
		"number":    {"E3012 awsecstaskdefinitionworker.Properties.ContainerDefinitions.0.StopTimeout: 'soon' is not of type 'integer'"},
	}
	for _, name := range slices.Sorted(maps.Keys(stacks)) {
		if !slices.Equal(found[name], want[name]) {
			t.Errorf("%s:\n got  %q\n want %q", name, found[name], want[name])
		}
	}
}
