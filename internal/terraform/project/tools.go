package project

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"
)

// Tool is a program that must be on the PATH.
type Tool struct {
	// Name of the program, as a person calls it.
	Name string
	// Need is the range of versions that the project works with.
	Need string
	// Why says what it is for.
	Why string
	// Get says how to get it.
	Get string

	// name is the argument of tools.sh for it.
	name    string
	command string
	args    []string
}

// installScript prints the commands of the system's package manager that install tools.
//
//go:embed tools.sh
var installScript string

// CheckTools returns the versions of all tools, by their names. The error names all that are missing or
// too old, and how to get them.
func CheckTools(ctx context.Context) (map[string]string, error) {
	tools := Tools()
	versions, errs := make([]string, len(tools)), make([]error, len(tools))
	var checks sync.WaitGroup
	for i, tool := range tools {
		checks.Go(func() { versions[i], errs[i] = tool.Check(ctx) })
	}
	checks.Wait()
	byName := map[string]string{}
	for i, tool := range tools {
		byName[tool.Name] = versions[i]
	}
	return byName, withCommands(errors.Join(errs...))
}

// ToolsInstalled checks that all tools are on the PATH, without starting them.
func ToolsInstalled() error {
	var errs []error
	for _, tool := range Tools() {
		errs = append(errs, tool.Installed())
	}
	return withCommands(errors.Join(errs...))
}

// withCommands adds to an error the commands that install the tools which are missing.
func withCommands(err error) error {
	arguments := []string{"-c", installScript, "tools.sh"}
	for _, tool := range Tools() {
		if tool.Installed() != nil {
			arguments = append(arguments, tool.name)
		}
	}
	if err == nil || len(arguments) == 3 {
		return err
	}
	commands, scriptErr := exec.Command("/bin/sh", arguments...).Output()
	if scriptErr != nil {
		return err
	}
	return fmt.Errorf("%w\n%s", err, strings.TrimSpace(string(commands)))
}

// Tools returns the programs that the project needs. (uv brings Python where it is not installed.)
func Tools() []Tool {
	return []Tool{
		{
			Name: "Go", Need: ">=1.26.0", Why: "builds the program", Get: "https://go.dev/dl",
			name: "go", command: "go", args: []string{"version"},
		},
		NodeTool(),
		TerraformTool(),
	}
}

// NodeTool describes Node.js.
func NodeTool() Tool {
	return Tool{
		Name: "Node.js", Need: ">=20.9.0", Why: "runs CDKTF", Get: "https://nodejs.org (24 is the one to take)",
		name: "node", command: "node", args: []string{"--version"},
	}
}

// TerraformTool describes Terraform, or OpenTofu if TerraformBinary is one. Ephemeral variables and write-only arguments, which keep
// the API key out of every file, came with release 1.11 of both.
func TerraformTool() Tool {
	t := Tool{
		Name: "Terraform", Need: ">=1.11.0, <2.0.0", Why: "deploys", Get: "https://developer.hashicorp.com/terraform/install",
		name: "terraform", command: TerraformBinary(), args: []string{"version", "-json"},
	}
	if isOpenTofu() {
		t.Name, t.Get = "OpenTofu", "https://opentofu.org/docs/intro/install"
	}
	return t
}

// Check reports the version of the tool. The error says what is missing and how to get it.
func (t Tool) Check(ctx context.Context) (version string, err error) {
	if err := t.Installed(); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, t.command, t.args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s does not run (%s %s: %w). Needed: %s. Get it: %s", t.Name, t.command, strings.Join(t.args, " "), err, t.Need, t.Get)
	}
	version = versionPattern.FindString(string(out))
	v, err := semver.NewVersion(version)
	if err != nil {
		return "", fmt.Errorf("%s: its version cannot be read from %q. Needed: %s", t.Name, strings.TrimSpace(string(out)), t.Need)
	}
	if need, _ := semver.NewConstraint(t.Need); !need.Check(v) { // each Need is one
		return "", fmt.Errorf("%s %s is installed. Needed: %s. Get it: %s", t.Name, version, t.Need, t.Get)
	}
	return version, nil
}

// Installed checks that the tool is on the PATH, without starting it. The error says how to get
// it.
func (t Tool) Installed() error {
	if _, err := exec.LookPath(t.command); err != nil {
		return fmt.Errorf("%s is not installed; it %s. Needed: %s. Get it: %s", t.Name, t.Why, t.Need, t.Get)
	}
	return nil
}

// TerraformBinary returns the Terraform, or OpenTofu, to run. TERRAFORM_BINARY_NAME, a variable of the
// CDKTF CLI, names another one.
func TerraformBinary() string {
	if own := os.Getenv("TERRAFORM_BINARY_NAME"); own != "" {
		return own
	}
	return "terraform"
}

// isOpenTofu reports whether the Terraform to run is OpenTofu, by its name, as in
// TERRAFORM_BINARY_NAME=tofu.
func isOpenTofu() bool { return strings.Contains(filepath.Base(TerraformBinary()), "tofu") }

// versionPattern matches the tool's version, which each prints before those of others.
var versionPattern = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)
