package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

// What the program would generate is decoded into the AWS SDK's own types, which refuse a
// field that they do not know, and compared with what AWS answers, field by field. So an
// option that is added later is compared without a change here.

// wantedDefinition is a task definition of the synthesized stack.
func (c *checklist) wantedDefinition(name string) (types.TaskDefinition, error) {
	arguments := c.stack.Resource("aws_ecs_task_definition", name)
	containers, _ := arguments["container_definitions"].(string)
	delete(arguments, "container_definitions")
	rename(arguments, "volume", "volumes")
	want, err := decode[types.TaskDefinition](arguments)
	if err != nil {
		return want, err
	}
	if err := strict([]byte(containers), &want.ContainerDefinitions); err != nil {
		return want, fmt.Errorf("the synthesized container definitions: %w", err)
	}
	if len(want.ContainerDefinitions) == 0 {
		return want, fmt.Errorf("the synthesized stack has no container")
	}
	return want, nil
}

// definitionDifferences lists where a task definition in AWS differs.
func definitionDifferences(want, got types.TaskDefinition) []string {
	// What ECS adds to a definition ("TaskDefinition" in its API reference).
	got.TaskDefinitionArn, got.Revision, got.Status = nil, 0, ""
	got.RequiresAttributes, got.Compatibilities = nil, nil
	got.RegisteredAt, got.RegisteredBy, got.DeregisteredAt = nil, nil, nil
	got.EnableFaultInjection = want.EnableFaultInjection
	differences := compare("", generic(want), generic(got), true)
	slices.Sort(differences)
	return differences
}

// serviceDifferences lists where a service in AWS differs in what the program sets. ECS
// adds much more, which is not looked at.
func (c *checklist) serviceDifferences(name string, got types.Service) ([]string, error) {
	arguments := c.stack.Resource("aws_ecs_service", name)
	if registry, ok := arguments["service_registries"]; ok {
		arguments["service_registries"] = []any{registry} // a block in Terraform, a list in ECS
	}
	// Terraform's own, and what other checks look at: the cluster is asked for this service,
	// and the definition and the network have checks of their own.
	for _, argument := range []string{"depends_on", "timeouts", "wait_for_steady_state", "cluster", "task_definition", "network_configuration"} {
		delete(arguments, argument)
	}
	rename(arguments, "name", "service_name")
	deployment := map[string]any{}
	for argument, field := range map[string]string{
		"deployment_minimum_healthy_percent": "minimum_healthy_percent",
		"deployment_maximum_percent":         "maximum_percent",
		"deployment_circuit_breaker":         "deployment_circuit_breaker",
	} {
		if value, ok := arguments[argument]; ok {
			deployment[field] = value
			delete(arguments, argument)
		}
	}
	arguments["deployment_configuration"] = deployment
	// Their order means nothing, and in the stack it is that of their names.
	slices.SortFunc(got.CapacityProviderStrategy, func(a, b types.CapacityProviderStrategyItem) int {
		return strings.Compare(aws.ToString(a.CapacityProvider), aws.ToString(b.CapacityProvider))
	})
	return differences[types.Service](arguments, got)
}

// clusterDifferences lists where the cluster in AWS differs in what the program sets.
func (c *checklist) clusterDifferences(got types.Cluster) ([]string, error) {
	arguments := c.stack.Resource("aws_ecs_cluster", "main")
	if arguments == nil {
		return c.lacksProvider(got), nil
	}
	rename(arguments, "name", "cluster_name")
	rename(arguments, "setting", "settings")
	if providers := c.stack.Resource("aws_ecs_cluster_capacity_providers", "main"); providers != nil {
		arguments["capacity_providers"] = providers["capacity_providers"]
	}
	return differences[types.Cluster](arguments, got)
}

// lacksProvider says that a cluster that exists lacks the capacity that the tasks ask for.
func (c *checklist) lacksProvider(got types.Cluster) []string {
	const spot = "FARGATE_SPOT"
	if wanted := c.env.Worker.Spot || c.env.WorkPool.Job.Spot; wanted && !slices.Contains(got.CapacityProviders, spot) {
		return []string{"it has no capacity provider " + spot + ", and tasks are to run on it: aws ecs put-cluster-capacity-providers"}
	}
	return nil
}

// differences lists where what AWS has differs in what the program sets.
func differences[T any](arguments map[string]any, got T) ([]string, error) {
	want, err := decode[T](arguments)
	if err != nil {
		return nil, err
	}
	found := compare("", generic(want), generic(got), false)
	slices.Sort(found)
	return found, nil
}

func rename(arguments map[string]any, from, to string) {
	if value, ok := arguments[from]; ok {
		arguments[to] = value
		delete(arguments, from)
	}
}

// decode makes one of the SDK's types of Terraform's arguments, whose names are the same
// but for their spelling.
func decode[T any](arguments map[string]any) (T, error) {
	var value T
	text, err := json.Marshal(camel(arguments))
	if err == nil {
		err = strict(text, &value)
	}
	if err != nil {
		return value, fmt.Errorf("the synthesized stack cannot be compared with AWS: %w", err)
	}
	return value, nil
}

func strict(text []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(value)
}

// camel takes the underscores out of the names of arguments; encoding/json ignores case.
func camel(v any) any {
	switch v := v.(type) {
	case map[string]any:
		renamed := map[string]any{}
		for key, item := range v {
			renamed[strings.ReplaceAll(key, "_", "")] = camel(item)
		}
		return renamed
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = camel(item)
		}
		return items
	default:
		return v
	}
}

// generic is a value as JSON has it, without what is empty: ECS fills in empty lists, zeros
// and false. The order of names means nothing but in a command: lists of them are sorted, and lists
// of named things become objects.
func generic(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("verify: encode %T: %v", v, err)) // only types of the SDK come here
	}
	var decoded any
	if err := json.Unmarshal(text, &decoded); err != nil {
		panic(fmt.Sprintf("verify: decode %T: %v", v, err))
	}
	return tidy(decoded)
}

func tidy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, item := range v {
			item = tidy(item)
			if texts, ok := item.([]any); ok && key != "Command" && key != "EntryPoint" { // sets, such as subnets
				slices.SortStableFunc(texts, func(a, b any) int {
					x, _ := a.(string)
					y, _ := b.(string)
					return strings.Compare(x, y)
				})
			}
			if item != nil && key != "ResultMetadata" {
				kept[key] = item
			}
		}
		if len(kept) == 0 {
			return nil
		}
		return kept
	case []any:
		if len(v) == 0 {
			return nil
		}
		named := map[string]any{}
		for i, item := range v {
			v[i] = tidy(item)
			if fields, ok := v[i].(map[string]any); ok {
				if name, ok := fields["Name"].(string); ok {
					named[name] = fields
				}
			}
		}
		if len(named) == len(v) {
			return named
		}
		return v
	case bool:
		if !v {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	case string:
		if v == "" {
			return nil
		}
	}
	return v
}

// compare lists the differences between what is wanted and what there is, with the path of
// each. exact says that what is not wanted must not be there.
func compare(path string, want, got any, exact bool) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		var differences []string
		for _, key := range slices.Sorted(maps.Keys(w)) {
			differences = append(differences, compare(join(path, key), w[key], g[key], exact)...)
		}
		for _, key := range slices.Sorted(maps.Keys(g)) {
			if _, wanted := w[key]; !wanted && exact {
				differences = append(differences, difference(join(path, key), nil, g[key]))
			}
		}
		return differences
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		var differences []string
		for i := range w {
			if len(compare(path, w[i], g[i], exact)) > 0 {
				// A list such as a command is shown whole.
				return []string{difference(path, want, got)}
			}
		}
		return differences
	case string:
		if g, ok := got.(string); ok && stackjson.Same(w, g) {
			return nil
		}
	case nil:
		if got == nil {
			return nil
		}
	default:
		if want == got {
			return nil
		}
	}
	return []string{difference(path, want, got)}
}

func join(path, key string) string {
	if path == "" || path == "ContainerDefinitions" {
		return key
	}
	return path + "." + key
}

// difference says, for a person, what there is and what is configured.
func difference(path string, want, got any) string {
	name := path[strings.LastIndex(strings.TrimSuffix(path, ".Value"), ".")+1:]
	return fmt.Sprintf("%s is %s, configured is %s", path, show(strings.TrimSuffix(name, ".Value"), got), show(strings.TrimSuffix(name, ".Value"), want))
}

// show is a value of the variable or field called name as it may be shown.
func show(name string, v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		if strings.HasPrefix(v, "arn:") {
			return stackjson.Shown(v) // an ARN is no credential, whatever it names
		}
		return redact.Value(name, stackjson.Shown(v))
	case map[string]any:
		if value, ok := v["Value"].(string); ok { // a variable
			return show(name, value)
		}
		if from, ok := v["ValueFrom"].(string); ok {
			return show(name, from)
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return redact.Value(name, redact.Text(stackjson.Shown(string(text))))
}
