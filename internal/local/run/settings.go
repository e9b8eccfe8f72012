package run

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mostWorkers is how many workers of a service of fixed size this machine runs: each takes 170 MiB.
const mostWorkers = 3

// localSettings turns the YAML of an environment into that of its local run. It
// returns the new YAML and, for a person, what was left out and why.
//
// What must change is little: the Prefect API is on this machine, the state is
// a file beside the run, and what exists only in the user's AWS account cannot
// be named: ids hold what stands for it in the emulator, by the user's ids.
func localSettings(user []byte, apiURL string, ids map[string]string) (local []byte, leftOut []string, err error) {
	settings := map[string]any{}
	if err := yaml.Unmarshal(user, &settings); err != nil {
		return nil, nil, fmt.Errorf("read the environment: %w", err)
	}
	if settings == nil { // A file with comments only.
		settings = map[string]any{}
	}
	drop := func(section, key, why string) {
		from := settings
		for part := range strings.SplitSeq(section, ".") {
			if part != "" {
				from, _ = from[part].(map[string]any)
			}
		}
		if _, ok := from[key]; !ok {
			return
		}
		delete(from, key)
		name := strings.TrimPrefix(section+"."+key, ".")
		leftOut = append(leftOut, name+": "+why)
	}
	const elsewhere = "names what is only in your AWS account"
	drop("", "account_id", "the emulator's account is 123456789012")
	drop("", "assume_role_arn", elsewhere)
	drop("", "protect", "what is made here goes with the local run")
	drop("", "backend", "the state of the local run is a file of its own")
	drop("secret", "existing_arn", elsewhere+"; the local run makes a secret of its own")
	drop("secret", "json_key", "belongs to secret.existing_arn")
	drop("secret", "kms_key_arn", elsewhere)
	drop("logs", "kms_key_arn", elsewhere)
	drop("iam", "permissions_boundary_arn", elsewhere)
	for _, key := range []string{"execution_policy_arns", "task_policy_arns"} {
		iam, _ := settings["iam"].(map[string]any)
		arns, _ := iam[key].([]any)
		// The emulator has the policies that AWS manages.
		managed := slices.DeleteFunc(slices.Clone(arns), func(arn any) bool { return !strings.HasPrefix(fmt.Sprint(arn), "arn:aws:iam::aws:policy/") })
		if len(managed) < len(arns) {
			drop("iam", key, elsewhere)
			iam[key] = managed
		}
	}
	drop("worker", "secrets", elsewhere)
	drop("work_pool.job", "secrets", elsewhere)
	drop("worker", "registry_credentials", elsewhere)
	drop("worker", "kms_key_arns", elsewhere)
	drop("network", "proxy", "nothing here reaches the internet")
	drop("network", "no_proxy", "belongs to network.proxy")
	if network, _ := settings["network"].(map[string]any); network["existing"] == nil {
		drop("network", "security_group_ids", elsewhere)
	}
	dropRules(settings, func(rule string) { leftOut = append(leftOut, rule+": "+elsewhere) })
	worker, _ := settings["worker"].(map[string]any)
	if worker == nil {
		worker = map[string]any{}
		settings["worker"] = worker
	}
	environment, _ := worker["environment"].(map[string]any)
	if environment == nil {
		environment = map[string]any{}
		worker["environment"] = environment
	}
	if _, given := environment["PREFECT_WORKER_QUERY_SECONDS"]; !given {
		environment["PREFECT_WORKER_QUERY_SECONDS"] = "2" // somebody waits, and the server is on this machine
	}
	if count, given := worker["desired_count"].(int); given && (count == 0 || count > mostWorkers) {
		drop("worker", "desired_count", "the local run has one worker")
	}

	if server, ok := settings["server"].(map[string]any); ok && server["enabled"] == true {
		database, _ := server["database"].(map[string]any)
		if database == nil {
			database = map[string]any{}
		}
		if database["existing_host"] != nil {
			leftOut = append(leftOut, "server.database: "+elsewhere+"; the local run makes a database of its own")
			database = map[string]any{}
		}
		// What is made here goes with the local run.
		database["deletion_protection"], database["final_snapshot"] = false, false
		server["database"] = database
	}
	settings["local_run"] = true
	prefect := map[string]any{"api_url": apiURL}
	if user, ok := settings["prefect"].(map[string]any); ok && user["authentication"] != nil {
		prefect["authentication"] = user["authentication"]
	}
	settings["prefect"] = prefect
	local, err = yaml.Marshal(replaced(settings, ids))
	return local, leftOut, err
}

// dropRules leaves out the egress rules to what has no placeholder: prefix lists, and in a VPC of the
// program's own the security groups of others.
func dropRules(settings map[string]any, left func(rule string)) {
	network, _ := settings["network"].(map[string]any)
	rules, _ := network["egress"].([]any)
	var kept []any
	for i, rule := range rules {
		r, _ := rule.(map[string]any)
		if r["prefix_list_id"] != nil || r["security_group_id"] != nil && network["existing"] == nil {
			left(fmt.Sprintf("network.egress[%d]", i))
			continue
		}
		kept = append(kept, rule)
	}
	if len(rules) > 0 {
		network["egress"] = kept
	}
}

// readEnvironment reads the YAML file of an environment, with either ending.
func readEnvironment(dir, name string) ([]byte, error) {
	raw, err := os.ReadFile(dir + "/" + name + ".yaml")
	if os.IsNotExist(err) {
		return os.ReadFile(dir + "/" + name + ".yml")
	}
	return raw, err
}
