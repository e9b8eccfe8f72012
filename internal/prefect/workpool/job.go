package workpool

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Job is what the ecs worker of prefect-aws makes of a template and the job variables of a deployment: the
// task definition that it registers, and the request with which it runs that. It does the same as the
// functions _prepare_task_definition and _prepare_task_run_request of the worker's ecs_worker.py, with both
// major versions of Prefect, apart from what differs with each flow run.
type Job struct {
	// Configuration is the job configuration of the template, with the variables put in.
	Configuration map[string]any
	Definition    map[string]any
	Request       map[string]any
	// Overrides are what the request changes in the definition.
	Overrides map[string]any
	// Container is the one of the definition that runs the flow, and Override what the request changes in it.
	Container, Override map[string]any
}

// defaultContainer is the name of the container of a flow run that has no other.
const defaultContainer = "prefect"

// Job renders the template with the job variables of a deployment, or with none, as a worker of a pool does
// with a major version of Prefect.
func (t Template) Job(pool string, variables map[string]any, major int) Job {
	values := map[string]any{}
	defaults, _ := t["variables"].(map[string]any)
	properties, _ := defaults["properties"].(map[string]any)
	for name, property := range properties {
		attributes, _ := property.(map[string]any)
		// Prefect 3 leaves out a default of null, Prefect 2 puts it in.
		if value, has := attributes["default"]; has && (value != nil || major == 2) {
			values[name] = value
		}
	}
	env, _ := values["env"].(map[string]any)
	maps.Copy(values, variables)
	if further, ok := variables["env"].(map[string]any); ok {
		values["env"] = merged(env, further)
	}
	rendered, _ := render(t["job_configuration"], values)
	j := Job{}
	j.Configuration, _ = rendered.(map[string]any)
	j.define(pool, major)
	j.request(major)
	return j
}

func merged(all ...map[string]any) map[string]any {
	into := map[string]any{}
	for _, one := range all {
		maps.Copy(into, one)
	}
	return into
}

// placeholder is a variable in a template. Those with a dot or a $ are for blocks, variables and the
// environment of the worker, which are put in elsewhere.
var placeholder = regexp.MustCompile(`{{\s*([\w-]+)\s*}}`)

// render puts values into what a template holds. It reports whether anything is left: a field of a variable
// without a value is none.
func render(v any, values map[string]any) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		all := map[string]any{}
		for key, item := range v {
			if item, left := render(item, values); left {
				all[key] = item
			}
		}
		return all, true
	case []any:
		all := []any{}
		for _, item := range v {
			if item, left := render(item, values); left {
				all = append(all, item)
			}
		}
		return all, true
	case string:
		if match := placeholder.FindStringSubmatch(v); match != nil && match[0] == v {
			value, has := values[match[1]]
			return value, has
		}
		return placeholder.ReplaceAllStringFunc(v, func(found string) string {
			if value, has := values[placeholder.FindStringSubmatch(found)[1]]; has && value != nil {
				return fmt.Sprint(value)
			}
			return ""
		}), true
	}
	return v, true
}

// define makes the task definition.
func (j *Job) define(pool string, major int) {
	definition, _ := j.Configuration["task_definition"].(map[string]any)
	j.Definition = merged(definition)
	containers := objects(j.Definition["containerDefinitions"])
	containers = slices.DeleteFunc(containers, func(c map[string]any) bool { return len(c) == 0 })
	name := cmp.Or(text(j.Configuration["container_name"]), containerName(containers), defaultContainer)
	i := slices.IndexFunc(containers, func(c map[string]any) bool { return c["name"] == name })
	if i < 0 { // one without a name
		i = slices.IndexFunc(containers, func(c map[string]any) bool { _, named := c["name"]; return !named })
	}
	if i < 0 {
		i = len(containers)
		containers = append(containers, map[string]any{})
	}
	j.Container = containers[i]
	j.Container["name"] = name
	if on, _ := j.Configuration["configure_cloudwatch_logs"].(bool); on {
		options := map[string]any{"awslogs-create-group": "true", "awslogs-group": "prefect", "awslogs-stream-prefix": "prefect-logs_" + pool + "_"}
		if prefix := text(j.Configuration["cloudwatch_logs_prefix"]); prefix != "" {
			options["awslogs-stream-prefix"] = prefix
		}
		further, _ := j.Configuration["cloudwatch_logs_options"].(map[string]any)
		j.Container["logConfiguration"] = map[string]any{"logDriver": "awslogs", "options": merged(options, further)}
	}
	if text(j.Definition["family"]) == "" {
		j.Definition["family"] = "prefect_" + pool + "_"
	}
	request, _ := j.Configuration["task_run_request"].(map[string]any)
	_, launched := request["launchType"]
	fargate := strings.HasPrefix(text(request["launchType"]), "FARGATE") || !launched && major == 2
	for field, value := range map[string]any{"cpu": 1024, "memory": 2048} {
		if text(j.Definition[field]) != "" {
			value = j.Definition[field]
		}
		if fargate {
			j.Definition[field] = text(value)
		} else if _, set := j.Container[field]; !set {
			j.Container[field] = value
		}
	}
	if fargate {
		if _, set := j.Definition["networkMode"]; !set {
			j.Definition["networkMode"] = "awsvpc"
		}
	}
	j.Definition["containerDefinitions"] = containers
}

// request makes the request of RunTask.
func (j *Job) request(major int) {
	request, _ := j.Configuration["task_run_request"].(map[string]any)
	j.Request = merged(request)
	if major > 2 && text(j.Request["cluster"]) == "" && text(j.Configuration["cluster"]) != "" {
		j.Request["cluster"] = j.Configuration["cluster"]
	}
	if len(objects(j.Request["capacityProviderStrategy"])) > 0 {
		delete(j.Request, "launchType")
	} else if j.Request["launchType"] == "FARGATE_SPOT" {
		delete(j.Request, "launchType")
		j.Request["capacityProviderStrategy"] = []any{map[string]any{"capacityProvider": "FARGATE_SPOT", "weight": 1}}
	}
	if network, _ := j.Configuration["network_configuration"].(map[string]any); len(network) > 0 && j.Definition["networkMode"] == "awsvpc" {
		j.Request["networkConfiguration"] = map[string]any{"awsvpcConfiguration": network}
	}
	j.Overrides, _ = j.Request["overrides"].(map[string]any)
	containers := objects(j.Overrides["containerOverrides"])
	if len(containers) > 0 && text(containers[0]["name"]) == "" {
		containers[0]["name"] = j.Container["name"]
	}
	if i := slices.IndexFunc(containers, func(c map[string]any) bool { return c["name"] == j.Container["name"] }); i >= 0 {
		j.Override = containers[i]
		if command := text(j.Configuration["command"]); command != "" {
			j.Override["command"] = command
		}
	}
}

// containerName returns the name of the container that runs the flow, in the eyes of the worker. Empty: it has none.
func containerName(containers []map[string]any) string {
	if len(containers) == 0 || slices.ContainsFunc(containers, func(c map[string]any) bool { return c["name"] == defaultContainer }) {
		return ""
	}
	return text(containers[0]["name"])
}

// objects returns the objects in a list, to be changed.
func objects(v any) []map[string]any {
	if all, ok := v.([]map[string]any); ok {
		return all
	}
	list, _ := v.([]any)
	var all []map[string]any
	for _, item := range list {
		if object, ok := item.(map[string]any); ok {
			all = append(all, object)
		}
	}
	return all
}

// text returns a value as the worker writes it. Of none it is empty.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		var words []string
		for _, item := range v {
			words = append(words, text(item))
		}
		return strings.Join(words, " ")
	}
	return fmt.Sprint(v)
}
