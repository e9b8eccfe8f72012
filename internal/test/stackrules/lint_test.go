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

	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/golden"
	"prefect-worker-ecs/internal/test/testtools"
)

// The rules and the constructs could share a misspelt action, or a field of a container that does
// not exist. cfn-lint has AWS's own lists of them, for templates of CloudFormation: what it can
// judge of a stack is written as one. It comes with moto.

// template returns what cfn-lint judges of a stack.
func template(stack object) object {
	elements := object{}
	for kind, named := range asObject(stack["resource"]) {
		for name, r := range asObject(named) {
			id := strings.ReplaceAll(kind+name, "_", "")
			switch kind {
			case "aws_ecs_task_definition":
				elements[id] = object{"Type": "AWS::ECS::TaskDefinition", "Properties": object{
					"Family": Get(r, "family"), "Cpu": Get(r, "cpu"), "Memory": Get(r, "memory"), "NetworkMode": Get(r, "network_mode"), "RequiresCompatibilities": Get(r, "requires_compatibilities"),
					"ExecutionRoleArn": evaluated(Get(r, "execution_role_arn")), "ContainerDefinitions": capitalized(evaluated(Get(r, "container_definitions"))),
				}}
			case "aws_iam_role":
				elements[id] = object{"Type": "AWS::IAM::Role", "Properties": object{"RoleName": Get(r, "name"), "AssumeRolePolicyDocument": evaluated(Get(r, "assume_role_policy"))}}
			case "aws_iam_role_policy":
				elements[id] = object{"Type": "AWS::IAM::RolePolicy", "Properties": object{"PolicyName": Get(r, "name"), "RoleName": "role", "PolicyDocument": evaluated(Get(r, "policy"))}}
			case "aws_sqs_queue_policy":
				elements[id] = object{"Type": "AWS::SQS::QueuePolicy", "Properties": object{"Queues": list{"https://sqs.us-east-1.amazonaws.com/123456789012/q"}, "PolicyDocument": evaluated(Get(r, "policy"))}}
			}
		}
	}
	return object{"AWSTemplateFormatVersion": "2010-09-09", "Resources": elements}
}

var reference = regexp.MustCompile(`\$?\$\{[^{}]*\}`)

// evaluated returns text, or the JSON in it, with a value of the right form for each reference.
func evaluated(text any) any {
	return decoded(reference.ReplaceAllStringFunc(fmt.Sprint(text), func(r string) string {
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
	}))
}

// capitalized returns ECS's fields under CloudFormation's names. The names of log options and labels
// are values.
func capitalized(value any) any {
	switch value := value.(type) {
	case []any:
		all := make([]any, len(value))
		for i, v := range value {
			all[i] = capitalized(v)
		}
		return all
	case object:
		all := object{}
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
func lint(t *testing.T, stacks map[string]object) map[string][]string {
	t.Helper()
	env := testtools.Environment(t, pyenv.Moto)
	dir := t.TempDir()
	args := []string{"-c", "from cfnlint.runner import main; main()", "--format", "json", "--regions", "us-east-1", "--non-zero-exit-code", "none", "--"}
	for name, stack := range stacks {
		file, err := json.Marshal(template(stack))
		testtools.NoError(t, err)
		testtools.NoError(t, os.WriteFile(filepath.Join(dir, name+".json"), file, 0o600))
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
	// GIVEN the golden stacks, and some with something misspelt
	const execution, task = "resource.aws_iam_role_policy.execution.policy.Statement.0.", "resource.aws_iam_role.task.assume_role_policy.Statement.0."
	files := golden.Stacks(t)
	stacks, want := map[string]object{}, map[string][]string{}
	for name, file := range files {
		var stack object
		testtools.NoError(t, json.Unmarshal(file, &stack))
		stacks[name] = stack
	}
	for name, misspelt := range map[string]struct {
		fault
		finding string
	}{
		"action":    {fault{"ecs", "resource.aws_iam_role_policy.task.policy.Statement.2.Action.0", "ecs:RunTasks"}, "W3037 awsiamrolepolicytask.Properties.PolicyDocument.Statement.2.Action: 'runtasks'"},
		"service":   {fault{"dev", execution + "Action.0", "secretmanager:GetSecretValue"}, "W3037 awsiamrolepolicyexecution.Properties.PolicyDocument.Statement.0.Action: 'secretmanager'"},
		"operator":  {fault{"dev", task + "Condition", object{"StringEqual": object{"aws:SourceAccount": "1"}}}, "E3530 awsiamroletask.Properties.AssumeRolePolicyDocument.Statement.0.Condition.StringEqual: 'StringEqual'"},
		"queue":     {fault{"ecs", "resource.aws_sqs_queue_policy.task_events.policy.Statement.0.Action.0", "sqs:SendMesage"}, "W3037 awssqsqueuepolicytaskevents.Properties.PolicyDocument.Statement.0.Action: 'sendmesage'"},
		"statement": {fault{"dev", execution + "Resources", "*"}, "E3510 awsiamrolepolicyexecution.Properties.PolicyDocument.Statement.0.Resources: Additional properties are not allowed ('Resources' was unexpected. Did you mean 'Resource'?)"},
		"field":     {fault{"full", container + ".healthCheck.startperiod", 300}, "E3002 awsecstaskdefinitionworker.Properties.ContainerDefinitions.0.HealthCheck.Startperiod: Additional properties are not allowed ('Startperiod' was unexpected. Did you mean 'StartPeriod'?)"},
		"number":    {fault{"dev", container + ".stopTimeout", "soon"}, "E3012 awsecstaskdefinitionworker.Properties.ContainerDefinitions.0.StopTimeout: 'soon' is not of type 'integer'"},
	} {
		stacks[name], want[name] = planted(t, files, misspelt.fault), []string{misspelt.finding}
	}

	// WHEN cfn-lint judges them
	found := lint(t, stacks)

	// THEN the golden stacks are right, and what is misspelt is found
	for _, name := range slices.Sorted(maps.Keys(stacks)) {
		if !slices.Equal(found[name], want[name]) {
			t.Errorf("%s:\n got  %q\n want %q", name, found[name], want[name])
		}
	}
}
