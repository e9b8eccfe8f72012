// Package toolchain installs and runs the tools that the project needs beside Go: the
// CDKTF CLI in one pinned release, Terraform and its AWS provider.
//
// The CLI has habits that would surprise a user: it rewrites cdktf.json, asks a registry
// that a machine may not reach, waits at a prompt that nobody sees. All of them are
// dealt with here, so that every caller (make, the local run, the tests) has the
// same tools in the same environment.
package toolchain

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

// Local is the folder for what the project installs and runs on this machine. Git ignores
// it; removing it is always safe while nothing runs.
func (p Project) Local() string { return filepath.Join(p.Root, ".local") }

// LockFile is where the provider lock of an environment is kept in the repository. The
// file need not exist.
func (p Project) LockFile(environment string) string {
	return filepath.Join(p.Root, "config", "environments", environment+".terraform.lock.hcl")
}
