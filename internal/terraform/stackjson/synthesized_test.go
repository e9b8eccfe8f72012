package stackjson

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/test/testtools"
)

// golden is a stack that the program writes.
func golden(t *testing.T, name string, variables map[string]string) *Stack {
	t.Helper()
	file, err := os.ReadFile("../../../testdata/golden/" + name + ".tf.json")
	testtools.NoError(t, err)
	s, err := Parse(file, iam.Account{Partition: "aws", Region: "eu-west-1", ID: "123456789012"}, variables)
	testtools.NoError(t, err)
	return s
}

func TestReferencesHaveTheirValues(t *testing.T) {
	// GIVEN a stack as the program writes it, and an API by account and workspace
	s := golden(t, "dev", map[string]string{"prefect_account_id": "A", "prefect_workspace_id": "W"})

	// WHEN its task definition is evaluated
	task := s.Resource("aws_ecs_task_definition", "worker")

	// THEN what follows from names is known
	for argument, want := range map[string]string{
		"execution_role_arn": "arn:aws:iam::123456789012:role/prefect-task-execution-role",
		"task_role_arn":      "arn:aws:iam::123456789012:role/prefect-task-role",
		"family":             "dev-worker",
	} {
		if task[argument] != want {
			t.Errorf("%s = %v, want %s", argument, task[argument], want)
		}
	}
	containers := task["container_definitions"].(string)
	var decoded []struct {
		Command     []string
		Environment []struct{ Name, Value string }
		Secrets     []struct{ ValueFrom string }
	}
	if err := json.Unmarshal([]byte(containers), &decoded); err != nil {
		t.Fatalf("%v in %s", err, containers)
	}
	c := decoded[0]
	// Terraform's escapes are undone, references replaced.
	if !strings.HasPrefix(c.Command[2], "task=${ECS_CONTAINER_METADATA_URI_V4##*/};") {
		t.Errorf("command %q", c.Command[2])
	}
	for _, variable := range c.Environment {
		if variable.Name == "PREFECT_API_URL" && variable.Value != "https://api.prefect.cloud/api/accounts/a/workspaces/w" {
			t.Errorf("the URL is %s", variable.Value)
		}
	}
	const secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prefect-api-key-new-2-"
	if !Same(c.Secrets[0].ValueFrom, secret+"AbCdEf") || Same(c.Secrets[0].ValueFrom, secret+"AbCdEfG") || Same(c.Secrets[0].ValueFrom, strings.Replace(secret, "key", "KEY", 1)+"AbCdEf") {
		t.Errorf("the secret is %q", c.Secrets[0].ValueFrom)
	}

	// AND what only AWS knows is an address.
	network := s.Resource("aws_ecs_service", "worker")["network_configuration"].(map[string]any)
	if address, ok := Address(network["subnets"].([]any)[0]); !ok || address != "aws_subnet.private_1" {
		t.Errorf("subnet %q", network["subnets"])
	}
	if !Same(network["subnets"].([]any)[0].(string), "subnet-1") || Same(network["subnets"].([]any)[0].(string), "") {
		t.Error("an unknown id is equal to any id")
	}
	// An expression that cannot be evaluated is unknown as a whole.
	if zone := s.Resource("aws_subnet", "private_3")["availability_zone"].(string); !Same(zone, "eu-west-1c") {
		t.Errorf("zone %q", zone)
	}
}

func TestAVariableOverridesItsDefault(t *testing.T) {
	for want, variables := range map[string]map[string]string{
		"http://prefect.example.com:4200/api": nil,
		"https://other.example.com/api":       {"prefect_api_url": "https://other.example.com/api"},
	} {
		containers := golden(t, "full", variables).Resource("aws_ecs_task_definition", "worker")["container_definitions"].(string)
		if !strings.Contains(containers, `"`+want+`"`) {
			t.Errorf("%s is not in %s", want, containers)
		}
	}
}

func TestNotAStack(t *testing.T) {
	if _, err := Parse([]byte(`[]`), iam.Account{}, nil); err == nil {
		t.Error("a list is taken for a stack")
	}
	if golden(t, "dev", nil).Resource("aws_vpc", "other") != nil {
		t.Error("a resource that is not there")
	}
	if _, ok := Address("subnet-1"); ok {
		t.Error("an id is taken for an address")
	}
}
