// Package contract tests the synthesized JSON with Terraform and the real AWS provider,
// but without AWS: is it valid, and do its variables, conditions and expressions do
// what they say? The JSON is that of the golden files, which the tests of the root
// package compare with what the program writes.
package contract

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"prefect-worker-ecs/internal/terraform/terraform"
	"prefect-worker-ecs/internal/test/golden"
	"prefect-worker-ecs/internal/test/testtools"
)

// TestMain takes Terraform, whatever else is set: the mocks of OpenTofu want every attribute.
func TestMain(m *testing.M) {
	_ = os.Unsetenv("TERRAFORM_BINARY_NAME")
	os.Exit(m.Run())
}

// put writes a golden stack, changed by edit, to a folder.
func put(t *testing.T, dir, name string, edit func(stack map[string]any)) {
	t.Helper()
	var stack map[string]any
	testtools.NoError(t, json.Unmarshal(golden.Stacks(t)[name], &stack))
	// Neither validate nor test keeps a state, but both would look for its backend.
	delete(stack["terraform"].(map[string]any), "backend")
	if edit != nil {
		edit(stack)
	}
	write(t, filepath.Join(dir, "cdk.tf.json"), stack)
}

func write(t *testing.T, path string, content any) {
	t.Helper()
	file, err := json.Marshal(content)
	testtools.NoError(t, err)
	testtools.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, file, 0o644))
}

func stack(t *testing.T, dir string) terraform.Stack {
	t.Helper()
	environ, err := testtools.Project(t).Environ(os.Environ())
	testtools.NoError(t, err)
	return terraform.Stack{Dir: dir, Environ: environ, TrustProvider: true}
}

// run returns the output of a Terraform command.
func run(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	out, err := stack(t, dir).Output(t.Context(), append(args, "-no-color")...)
	return string(out), err
}

// TestStacksAreValid runs `terraform validate` on the stacks with ephemeral resources, for which
// Terraform has no mocks, and on one that is like another: as modules, so that Terraform is
// started once. The life cycle applies such.
func TestStacksAreValid(t *testing.T) {
	testtools.Require(t, testtools.Terraform)
	dir := t.TempDir()
	modules := map[string]any{}
	for _, name := range []string{"server", "serverdb", "closed", "shared"} {
		put(t, filepath.Join(dir, name), name, nil)
		modules[name] = map[string]string{"source": "./" + name}
	}
	// WHEN somebody puts the key where it would be stored
	put(t, filepath.Join(dir, "stored"), "shared", func(stack map[string]any) {
		version := stack["resource"].(map[string]any)["aws_secretsmanager_secret_version"].(map[string]any)["prefect_api_key"].(map[string]any)
		version["secret_string"] = version["secret_string_wo"]
		delete(version, "secret_string_wo")
		delete(version, "secret_string_wo_version")
	})
	modules["stored"] = map[string]string{"source": "./stored"}
	write(t, filepath.Join(dir, "cdk.tf.json"), map[string]any{"module": modules})
	testtools.NoError(t, stack(t, dir).Init(t.Context()))
	out, _ := run(t, dir, "validate", "-json")
	// THEN Terraform refuses just that, because the variable is ephemeral
	var found struct {
		Diagnostics []struct {
			Summary string
			Range   struct{ Filename string }
		}
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if d := found.Diagnostics; len(d) != 1 || d[0].Summary != "Invalid use of ephemeral value" || d[0].Range.Filename != "stored/cdk.tf.json" {
		t.Errorf("terraform validate: %s", out)
	}
}

// TestStacks runs `terraform test`, which validates first, on stacks as modules, so that Terraform
// is started once: the files in testdata hold plans against a mocked provider, with what must be
// refused and what must be calculated.
func TestStacks(t *testing.T) {
	testtools.Require(t, testtools.Terraform)
	dir := t.TempDir()
	mock, err := os.ReadFile(filepath.Join("testdata", "mock.tftest.hcl"))
	testtools.NoError(t, err)
	block := regexp.MustCompile(`(?m)^run .*\{$`)
	runs := 0
	for _, name := range []string{"dev", "full", "ecs", "existing"} {
		put(t, filepath.Join(dir, name), name, func(stack map[string]any) {
			delete(stack, "import") // a mocked provider has nothing to import
		})
		file := name + ".tftest.hcl"
		tests, err := os.ReadFile(filepath.Join("testdata", file))
		testtools.NoError(t, err)
		runs += len(block.FindAll(tests, -1))
		tests = block.ReplaceAll(tests, []byte("$0\nmodule {\n source = \"./"+name+"\"\n}"))
		testtools.NoError(t, os.WriteFile(filepath.Join(dir, file), append(tests, mock...), 0o644))
	}
	write(t, filepath.Join(dir, "cdk.tf.json"), map[string]any{})
	testtools.NoError(t, stack(t, dir).Init(t.Context()))
	out, err := run(t, dir, "test")
	if err != nil || !strings.Contains(out, fmt.Sprintf("Success! %d passed, 0 failed.", runs)) {
		t.Errorf("terraform test: %v\n%s", err, out)
	}
}
