package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"prefect-worker-ecs/internal/redact"
)

// refuseCredentials refuses variables of Terraform's with a credential in them, but for those
// that are made for one: Terraform shows the value of a variable when it refuses it, and
// keeps it in the state when it does not.
func refuseCredentials(environ []string) error {
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		option, isVariable := strings.CutPrefix(name, "TF_VAR_")
		if isVariable && !redact.Named(option) && redact.Credential(value) {
			return fmt.Errorf("%s holds a credential, which Terraform would show and keep in the state; remove it there, and give what the worker sends to Prefect in TF_VAR_prefect_api_key", name)
		}
	}
	return nil
}

// warnOfFiles says where a file of values wins over a variable that the user has set. The
// CDKTF CLI hands these files to Terraform as arguments, so that they beat TF_VAR_...,
// silently: with a forgotten file an old key is deployed.
func warnOfFiles(out io.Writer, dir string, environ []string) {
	var files []string
	for _, pattern := range []string{"terraform.tfvars", "*.auto.tfvars"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err == nil {
			files = append(files, found...)
		}
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // Terraform will say so
		}
		for _, variable := range environ {
			assignment, isVariable := strings.CutPrefix(variable, "TF_VAR_")
			name, _, _ := strings.Cut(assignment, "=")
			if isVariable && regexp.MustCompile(`(?m)^\s*`+regexp.QuoteMeta(name)+`\s*=`).Match(content) {
				fmt.Fprintf(out, "note: %s sets %s too, and wins over TF_VAR_%s\n", filepath.Base(file), name, name)
			}
		}
	}
}
