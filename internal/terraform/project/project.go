// Package project is a checkout of this project and what belongs to it on this machine: the built
// program, the stacks that it synthesizes, the values of Terraform variables, and the tools and
// Terraform providers that are installed.
package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Project is a checkout of this project.
type Project struct {
	// Root is the absolute path of the folder with cdktf.json and go.mod.
	Root string
}

// Find returns the project that contains dir, which may be a folder inside it.
func Find(dir string) (Project, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Project{}, err
	}
	for root := dir; ; root = filepath.Dir(root) {
		_, err := os.Stat(filepath.Join(root, "cmd", "workerctl", "main.go"))
		if err == nil {
			return Project{Root: root}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || root == filepath.Dir(root) {
			return Project{}, fmt.Errorf("%s is not in a checkout of this project; change to the folder that holds cdktf.json", dir)
		}
	}
}

// Local returns the folder for what the project installs and runs on this machine. Git ignores
// it; removing it is always safe while nothing runs.
func (p Project) Local() string { return filepath.Join(p.Root, ".local") }

// LockFile returns where the provider lock of an environment is kept in the repository. The
// file need not exist.
func (p Project) LockFile(environment string) string {
	return filepath.Join(p.Root, "config", "environments", environment+".terraform.lock.hcl")
}

// Program returns the path at which Build puts the CDKTF program.
func (p Project) Program() string { return filepath.Join(p.Local(), "bin", "prefect-worker-ecs") }

// Out returns the folder that the program writes the stacks to.
func (p Project) Out() string { return filepath.Join(p.Root, "cdktf.out") }

// StackDir returns the folder with the synthesized stack of an environment, in which Terraform runs.
func (p Project) StackDir(environment string) string {
	return filepath.Dir(StackFile(p.Out(), environment))
}

// StackFile returns the path of an environment's Terraform JSON in a folder of output.
func StackFile(out, environment string) string {
	return filepath.Join(out, "stacks", environment, "cdk.tf.json")
}
