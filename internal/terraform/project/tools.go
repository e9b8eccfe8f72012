package project

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

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

	command string
	args    []string
	version func(output []byte) string
}

// Tools are the programs that the project needs beside Python.
func Tools() []Tool {
	return []Tool{
		{
			Name: "Go", Need: ">=1.26.0", Why: "builds the program", Get: "https://go.dev/dl",
			command: "go", args: []string{"version"}, version: firstVersion,
		},
		{
			Name: "Node.js", Need: ">=20.9.0", Why: "runs CDKTF", Get: "https://nodejs.org (24 is the one to take)",
			command: "node", args: []string{"--version"}, version: firstVersion,
		},
		TerraformTool(),
	}
}

// TerraformTool is Terraform, or OpenTofu if TerraformBinary is one. Ephemeral variables and write-only arguments, which keep
// the API key out of every file, came with release 1.11 of both.
func TerraformTool() Tool {
	t := Tool{
		Name: "Terraform", Need: ">=1.11.0, <2.0.0", Why: "deploys", Get: "https://developer.hashicorp.com/terraform/install",
		command: TerraformBinary(), args: []string{"version", "-json"}, version: terraformVersion,
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
	version = t.version(out)
	v, err := semver.NewVersion(version)
	if err != nil {
		return "", fmt.Errorf("%s: its version cannot be read from %q. Needed: %s", t.Name, strings.TrimSpace(string(out)), t.Need)
	}
	need, err := semver.NewConstraint(t.Need)
	if err != nil {
		return "", fmt.Errorf("%s: %w", t.Name, err)
	}
	if !need.Check(v) {
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

// TerraformBinary is the Terraform, or OpenTofu, to run. TERRAFORM_BINARY_NAME, a variable of the
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

var versionPattern = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

func firstVersion(output []byte) string { return string(versionPattern.Find(output)) }

func terraformVersion(output []byte) string {
	var answer struct {
		Version string `json:"terraform_version"`
	}
	if json.Unmarshal(output, &answer) != nil {
		return ""
	}
	return answer.Version
}
