package project

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"prefect-worker-ecs/internal/base/redact"
)

// Assignment is the value of a Terraform variable.
type Assignment struct {
	// Name of the variable.
	Name string
	// Value may be a credential.
	Value string
	// From is where it is set: a file's name, or TF_VAR_ and the name.
	From string
	// Over are the other places that set the variable, over which this one takes precedence.
	Over []string
}

// valueFiles are the files of values that Terraform and the CDKTF CLI read by themselves.
var valueFiles = []string{"terraform.tfvars", "*.auto.tfvars"}

// Variables are the values of Terraform variables, each name once.
type Variables []Assignment

// Lookup returns the value of a variable and where it is set. Both are empty if it is not.
func (v Variables) Lookup(name string) (value, from string) {
	for _, a := range v {
		if a.Name == name {
			return a.Value, a.From
		}
	}
	return "", ""
}

// ReadVariables returns the values that a deployment from dir has, in the order of their names:
// the files of values, which take precedence, and TF_VAR_... in environ. A file that cannot be read
// is an error that shows none of its lines, which may hold a key; Terraform would quote them.
func ReadVariables(dir string, environ []string) (Variables, error) {
	given := map[string]Assignment{}
	give := func(name, value, from string) {
		a := Assignment{Name: name, Value: value, From: from}
		if before, ok := given[name]; ok {
			a.Over = append(before.Over, before.From)
		}
		given[name] = a
	}
	for _, variable := range environ {
		if assignment, ok := strings.CutPrefix(variable, "TF_VAR_"); ok {
			name, value, _ := strings.Cut(assignment, "=")
			give(name, value, "TF_VAR_"+name)
		}
	}
	var files []string
	for _, pattern := range valueFiles {
		found, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are valid
		files = append(files, found...)
	}
	for _, file := range files {
		if err := readValues(file, func(name, value string) { give(name, value, filepath.Base(file)) }); err != nil {
			return nil, err
		}
	}
	all := make(Variables, 0, len(given))
	for _, a := range given {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Assignment) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// readValues calls give for each text that a file of values assigns.
func readValues(file string, give func(name, value string)) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the values of Terraform variables: %w", err)
	}
	parsed, diagnostics := hclsyntax.ParseConfig(content, filepath.Base(file), hcl.InitialPos)
	if diagnostics.HasErrors() {
		return unreadable(diagnostics)
	}
	attributes, diagnostics := parsed.Body.JustAttributes()
	for name, attribute := range attributes {
		value, wrong := attribute.Expr.Value(nil)
		diagnostics = append(diagnostics, wrong...)
		if !wrong.HasErrors() && value.Type().Equals(cty.String) && value.IsKnown() && !value.IsNull() {
			give(name, value.AsString())
		}
	}
	if diagnostics.HasErrors() {
		return unreadable(diagnostics)
	}
	return nil
}

// unreadable returns the first error of a file of values. Only its summary is shown: the detail may quote
// a line.
func unreadable(diagnostics hcl.Diagnostics) error {
	first := diagnostics.Errs()[0].(*hcl.Diagnostic)
	return fmt.Errorf("%s, line %d: %s. Each line is NAME = \"VALUE\"; the line is not shown, it may hold a credential",
		first.Subject.Filename, first.Subject.Start.Line, first.Summary)
}

// Credentials returns the values of the variables that hold a credential.
func (v Variables) Credentials() []string {
	var all []string
	for _, a := range v {
		if redact.Named(a.Name) && a.Value != "" {
			all = append(all, a.Value)
		}
	}
	return all
}
