package main

import (
	"fmt"
	"io"
	"strings"

	"prefect-worker-ecs/internal/redact"
	"prefect-worker-ecs/internal/toolchain"
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

// warnOfFiles says where a file of values wins over a variable that the user has set:
// silently, so that with a forgotten file an old key is deployed.
func warnOfFiles(out io.Writer, dir string, environ []string) {
	for _, a := range toolchain.Assignments(dir, environ) {
		for _, over := range a.Over {
			if strings.HasPrefix(over, "TF_VAR_") {
				fmt.Fprintf(out, "note: %s sets %s too, and wins over %s\n", a.From, a.Name, over)
			}
		}
	}
}
