package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// variable is the value of a Terraform variable, and where it is set.
type variable struct{ value, where string }

// assignment is a line of a file of values. Only text is looked for: all variables of the
// stacks are text.
var assignment = regexp.MustCompile(`(?m)^\s*(\w+)\s*=\s*"([^"\n]*)"`)

// variables are those that deploy hands to Terraform, from the folder's files of values and
// from TF_VAR_... . The CDKTF CLI hands the files to Terraform as arguments, so that they
// beat the environment. hidden are the names of which the environment's value counts for
// nothing.
func variables(dir string, environ []string) (all map[string]variable, hidden []string) {
	all = map[string]variable{}
	for _, text := range environ {
		name, value, _ := strings.Cut(text, "=")
		if name, isVariable := strings.CutPrefix(name, "TF_VAR_"); isVariable {
			all[name] = variable{value, "TF_VAR_" + name}
		}
	}
	for _, pattern := range []string{"terraform.tfvars", "*.auto.tfvars"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are valid
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				continue // Terraform will say so
			}
			for _, m := range assignment.FindAllStringSubmatch(string(content), -1) {
				if strings.HasPrefix(all[m[1]].where, "TF_VAR_") {
					hidden = append(hidden, m[1])
				}
				all[m[1]] = variable{m[2], filepath.Base(file)}
			}
		}
	}
	return all, hidden
}

// lookup gives a variable to config.Environment.WithVariables.
func lookup(all map[string]variable) func(name string) (value, where string) {
	return func(name string) (string, string) { return all[name].value, all[name].where }
}

// warnOfFiles says where a file of values wins over a variable that the user has set: with a
// forgotten file an old key is deployed.
func warnOfFiles(out io.Writer, dir string, environ []string) {
	all, hidden := variables(dir, environ)
	slices.Sort(hidden)
	for _, name := range slices.Compact(hidden) {
		fmt.Fprintf(out, "note: %s sets %s too, and wins over TF_VAR_%s\n", all[name].where, name, name)
	}
}
