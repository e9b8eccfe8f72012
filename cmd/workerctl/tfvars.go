package main

import (
	"fmt"
	"io"
	"strings"

	"prefect-worker-ecs/internal/terraform/project"
)

// warnOfFiles says where a file of values wins over a variable that the user has set:
// silently, so that with a forgotten file an old key is deployed.
func warnOfFiles(out io.Writer, variables project.Variables) {
	for _, a := range variables {
		for _, over := range a.Over {
			if strings.HasPrefix(over, "TF_VAR_") {
				fmt.Fprintf(out, "note: %s sets %s too, and wins over %s\n", a.From, a.Name, over)
			}
		}
	}
}
