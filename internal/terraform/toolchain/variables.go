package toolchain

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Assignment is a value that somebody gave a Terraform variable.
type Assignment struct {
	// Name is the variable's.
	Name string
	// Value is what it was given. It may be a credential.
	Value string
	// From is where: a file's name, or TF_VAR_ and the name.
	From string
	// Over are the places that gave the variable a value too, which this one hides.
	Over []string
}

// valueFiles are the files of values that Terraform reads by itself.
var valueFiles = []string{"terraform.tfvars", "*.auto.tfvars"}

// Variables are the values of Terraform variables, each name once.
type Variables []Assignment

// Lookup is the value of a variable and where it is set. Both are empty if it is not.
func (v Variables) Lookup(name string) (value, from string) {
	for _, a := range v {
		if a.Name == name {
			return a.Value, a.From
		}
	}
	return "", ""
}

// ReadVariables are the values that a deployment from dir has, in the order of their names.
// The CDKTF CLI hands the files to Terraform as arguments, so that they win over TF_VAR_. A
// file that cannot be read is left for Terraform to complain about.
func ReadVariables(dir string, environ []string) Variables {
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
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		parsed, diagnostics := hclsyntax.ParseConfig(content, file, hcl.InitialPos)
		if diagnostics.HasErrors() {
			continue
		}
		attributes, _ := parsed.Body.JustAttributes()
		for name, attribute := range attributes {
			value, diagnostics := attribute.Expr.Value(nil)
			if !diagnostics.HasErrors() && value.Type().Equals(cty.String) && value.IsKnown() && !value.IsNull() {
				give(name, value.AsString(), filepath.Base(file))
			}
		}
	}
	all := make(Variables, 0, len(given))
	for _, a := range given {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Assignment) int { return strings.Compare(a.Name, b.Name) })
	return all
}
