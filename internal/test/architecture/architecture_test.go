// Package architecture tests which package may import which.
package architecture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "prefect-worker-ecs"

// floors are the folders of packages with those whose packages they may import, beside their own. A
// package belongs to the longest name that it begins with. Tests may import anything.
var floors = map[string][]string{
	"":                   {"config", "stacks", "internal/base", "internal/faststart"}, // main
	"stacks":             {"config", "constructs", "internal/aws", "internal/prefect"},
	"constructs":         {"config", "internal/aws", "internal/prefect"},
	"config":             {"internal/base"},
	"cmd":                {"config", "internal/base", "internal/aws", "internal/prefect", "internal/terraform", "internal/ops", "internal/local"},
	"internal/base":      {},
	"internal/faststart": {"internal/base"},
	"internal/aws":       {"config", "internal/base"},
	// A work pool is placed where the worker's service runs.
	"internal/prefect":   {"config", "internal/base", "internal/aws/query"},
	"internal/terraform": {"config", "internal/base", "internal/aws"},
	"internal/ops":       {"config", "internal/base", "internal/aws", "internal/prefect", "internal/terraform"},
	// The local run checks what it has deployed.
	"internal/local": {"config", "internal/base", "internal/aws", "internal/prefect", "internal/terraform", "internal/ops/verify"},
	"internal/test":  {"config", "stacks", "internal"},
	"docs":           {},
}

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// packages returns the packages of this module.
var packages = sync.OnceValue(func() (all []listed) {
	list := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	list.Dir = "../../.."
	out, err := list.Output()
	for decoder := json.NewDecoder(bytes.NewReader(out)); err == nil && decoder.More(); {
		var p listed
		err = decoder.Decode(&p)
		all = append(all, p)
	}
	if err != nil {
		panic(fmt.Sprintf("go list: %v", err))
	}
	return all
})

// below returns the path of a package of this module below its root.
func below(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func within(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }

// floorOf returns the folder that a package belongs to.
func floorOf(name string) (string, bool) {
	best, found := "", name == ""
	for folder := range floors {
		if folder != "" && within(name, folder) && len(folder) > len(best) {
			best, found = folder, true
		}
	}
	return best, found
}

// forbidden returns the rule that an import breaks, empty if it breaks none.
func forbidden(from, to string) string {
	floor, known := floorOf(from)
	switch {
	case !known:
		return "it is in no folder of the table floors"
	case within(to, "internal/test") && !within(from, "internal/test"):
		return "internal/test is for tests only"
	case floor != "" && within(to, floor):
		return ""
	case slices.ContainsFunc(floors[floor], func(folder string) bool { return within(to, folder) }):
		return ""
	}
	return floor + " may import " + strings.Join(floors[floor], ", ")
}

func TestImportsGoOneWay(t *testing.T) {
	checked := 0
	for _, p := range packages() {
		from, _ := below(p.ImportPath)
		for _, path := range p.Imports {
			to, ours := below(path)
			if !ours {
				continue
			}
			checked++
			if rule := forbidden(from, to); rule != "" {
				t.Errorf("%s imports %s, but %s", p.ImportPath, path, rule)
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d imports were checked", checked)
	}
	// AND what is not allowed is found
	for from, to := range map[string]string{
		"internal/base/proc": "config", "config": "stacks", "internal/ops/verify": "internal/local/run", "internal/local/run": "internal/ops/adopt",
		"internal/prefect/api": "internal/aws/iam", "cmd/workerctl": "constructs/tf", "internal/new": "config", "internal/ops/verify2": "internal/test/golden",
	} {
		if forbidden(from, to) == "" {
			t.Errorf("%s may import %s", from, to)
		}
	}
}

// TestOnlyTheProgramNeedsJsii: CDKTF and its bindings add 30 MB to a binary and half a minute to the
// first build.
func TestOnlyTheProgramNeedsJsii(t *testing.T) {
	const jsii = "github.com/aws/jsii-runtime-go"
	reached := 0
	for _, p := range packages() {
		name, _ := below(p.ImportPath)
		floor, _ := floorOf(name)
		needs := slices.ContainsFunc(p.Deps, func(path string) bool { return within(path, jsii) })
		if needs {
			reached++
		}
		if needs && !slices.Contains([]string{"", "stacks", "constructs", "internal/faststart", "internal/test"}, floor) {
			t.Errorf("%s reaches jsii", p.ImportPath)
		}
	}
	if reached < 10 {
		t.Errorf("only %d packages reach jsii: the test does not see it", reached)
	}
}

// TestTheLargestServicesAreNotCompiled: the SDK's packages of these services take longer to compile than
// all the rest of both programs. Package query has what they are needed for.
func TestTheLargestServicesAreNotCompiled(t *testing.T) {
	const services = "github.com/aws/aws-sdk-go-v2/service/"
	found := 0
	for _, p := range packages() {
		if name, _ := below(p.ImportPath); name != "" && name != "cmd/workerctl" {
			continue
		}
		for _, dependency := range p.Deps {
			service, isService := strings.CutPrefix(dependency, services)
			if isService {
				found++
			}
			if isService && slices.Contains([]string{"ec2", "iam", "rds", "route53"}, service) {
				t.Errorf("%s needs %s", p.ImportPath, dependency)
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d packages of services are needed: the test does not see them", found)
	}
}
