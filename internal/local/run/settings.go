package run

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"prefect-worker-ecs/internal/local/emulator"
)

// mostWorkers is how many workers of a service of fixed size this machine runs: each takes 170 MiB.
const mostWorkers = 3

const elsewhere = "names what is only in your AWS account"

// notLocal are the options that a local run leaves out, and why.
var notLocal = []struct{ option, why string }{
	{"account_id", "the emulator's account is " + emulator.Account},
	{"assume_role_arn", elsewhere},
	{"protect", "what is made here goes with the local run"},
	{"backend", "the state of the local run is a file of its own"},
	{"secret.existing_arn", elsewhere + "; the local run makes a secret of its own"},
	{"secret.json_key", "belongs to secret.existing_arn"},
	{"secret.kms_key_arn", elsewhere},
	{"logs.kms_key_arn", elsewhere},
	{"iam.permissions_boundary_arn", elsewhere},
	{"worker.secrets", elsewhere},
	{"work_pool.job.secrets", elsewhere},
	{"worker.registry_credentials", elsewhere},
	{"worker.kms_key_arns", elsewhere},
	{"network.proxy", "nothing here reaches the internet"},
	{"network.no_proxy", "belongs to network.proxy"},
}

// block is a block of an environment's YAML.
type block map[string]any

// at returns the block at a key, which is made if there is none.
func (b block) at(key string) block {
	inner, _ := b[key].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
		b[key] = inner
	}
	return inner
}

// drop removes an option such as work_pool.job.secrets, and reports whether it was there.
func (b block) drop(option string) bool {
	for {
		key, rest, nested := strings.Cut(option, ".")
		if !nested {
			_, set := b[key]
			delete(b, key)
			return set
		}
		inner, _ := b[key].(map[string]any)
		b, option = inner, rest
	}
}

// localSettings turns the YAML of an environment into that of its local run. It
// returns the new YAML and, for a person, what was left out and why.
//
// What must change is little: the Prefect API is on this machine, the state is
// a file beside the run, and what exists only in the user's AWS account cannot
// be named: ids hold what stands for it in the emulator, by the user's ids.
func localSettings(user []byte, apiURL string, ids map[string]string) (local []byte, leftOut []string, err error) {
	var content map[string]any
	if err := yaml.Unmarshal(user, &content); err != nil {
		return nil, nil, fmt.Errorf("read the environment: %w", err)
	}
	if content == nil { // A file with comments only.
		content = map[string]any{}
	}
	settings := block(content)
	left := func(option, why string) { leftOut = append(leftOut, option+": "+why) }
	for _, o := range notLocal {
		if settings.drop(o.option) {
			left(o.option, o.why)
		}
	}
	localPolicies(settings.at("iam"), left)
	localNetwork(settings.at("network"), left)
	worker := settings.at("worker")
	if environment := worker.at("environment"); environment["PREFECT_WORKER_QUERY_SECONDS"] == nil {
		environment["PREFECT_WORKER_QUERY_SECONDS"] = "2" // the user waits, and the server is on this machine
	}
	if count, given := worker["desired_count"].(int); given && (count == 0 || count > mostWorkers) {
		worker.drop("desired_count")
		left("worker.desired_count", "the local run has one worker")
	}
	if server := settings.at("server"); server["enabled"] == true {
		if server.at("database")["existing_host"] != nil {
			left("server.database", elsewhere+"; the local run makes a database of its own")
			server.drop("database")
		}
		// What is made here goes with the local run.
		database := server.at("database")
		database["deletion_protection"], database["final_snapshot"] = false, false
	}
	settings["local_run"] = true
	prefect := map[string]any{"api_url": apiURL}
	if authentication := settings.at("prefect")["authentication"]; authentication != nil {
		prefect["authentication"] = authentication
	}
	settings["prefect"] = prefect
	local, err = yaml.Marshal(replaced(content, ids))
	return local, leftOut, err
}

// localPolicies leaves out managed policies that are not AWS's own, which the emulator has.
func localPolicies(iam block, left func(option, why string)) {
	for _, key := range []string{"execution_policy_arns", "task_policy_arns"} {
		arns, _ := iam[key].([]any)
		managed := slices.DeleteFunc(slices.Clone(arns), func(arn any) bool { return !strings.HasPrefix(fmt.Sprint(arn), "arn:aws:iam::aws:policy/") })
		if len(managed) < len(arns) {
			iam[key] = managed
			left("iam."+key, elsewhere)
		}
	}
}

// localNetwork leaves out what has no placeholder: prefix lists, and in a VPC of the program's own the security groups
// of others.
func localNetwork(network block, left func(option, why string)) {
	own := network["existing"] == nil
	if own && network.drop("security_group_ids") {
		left("network.security_group_ids", elsewhere)
	}
	rules, _ := network["egress"].([]any)
	var kept []any
	for i, rule := range rules {
		r, _ := rule.(map[string]any)
		if r["prefix_list_id"] != nil || r["security_group_id"] != nil && own {
			left(fmt.Sprintf("network.egress[%d]", i), elsewhere)
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
