package adopt

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/ops/plan"
)

// PrintFound writes what was found, what deploy will create, and what stays beside it.
func PrintFound(out io.Writer, found []Resource, beside []string) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		title string
		row   func(Resource) (string, bool)
	}{
		{"Found:", func(r Resource) (string, bool) { return r.ID, r.ID != "" }},
		{"Not found, created by deploy:", func(r Resource) (string, bool) { return "", r.ID == "" && r.Note == "" }},
		{"Created by deploy in any case:", func(r Resource) (string, bool) { return r.Note, r.Note != "" }},
	} {
		title := part.title
		for _, r := range found {
			text, here := part.row(r)
			if !here {
				continue
			}
			if title != "" {
				fmt.Fprintln(table, title)
				title = ""
			}
			fmt.Fprintln(table, strings.TrimRight("  "+r.Address+"\t"+text, "\t"))
		}
	}
	table.Flush()
	if len(beside) > 0 {
		fmt.Fprintln(out, "Not in the configuration, and left as it is:")
	}
	for _, text := range beside {
		fmt.Fprintln(out, terminal.Wrap("  "+text, terminal.Width(out)))
	}
}

// PrintDifferences writes what deploy does to what was found, and how else to make it agree.
func PrintDifferences(out io.Writer, report plan.Report) {
	fmt.Fprintln(out)
	if n := report.Lost(); n > 0 {
		fmt.Fprintf(out, "warning: deploy would destroy or replace %d of what exists. Do not deploy before the configuration agrees with it.\n", n)
	}
	report.Text(out)
	keep := map[string][]string{}
	for _, c := range report.Changes {
		for _, a := range c.Attributes {
			if option := Option(c.Address, a.Path); option != "" {
				keep[option] = append(keep[option], c.Address+" "+a.Path)
			}
		}
	}
	if len(keep) > 0 {
		fmt.Fprintln(out, "\nWhere AWS differs, make deploy changes AWS. To keep what is there, set these options:")
	}
	for _, option := range slices.Sorted(maps.Keys(keep)) {
		fmt.Fprintf(out, "  %s: %s\n", option, strings.Join(keep[option], ", "))
	}
	fmt.Fprintf(out, "\nHow the running task differs is shown by workerctl verify %s.\n", report.Environment)
}
