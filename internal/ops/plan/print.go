package plan

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// marks are how the actions are written before an address, as Terraform has it.
var marks = map[Action]string{Create: "+", Import: "<-", Change: "~", Replace: "-/+", Destroy: "-"}

// Summary returns the report in a line, with Terraform's own counts: a replacement is an addition and a
// destruction, and an import may come with a change.
func (r Report) Summary() string {
	counts := map[string]int{}
	for _, c := range r.Changes {
		if c.Imported {
			counts["import"]++
		}
		switch c.Action {
		case Create:
			counts["add"]++
		case Change:
			counts["change"]++
		case Replace:
			counts["add"]++
			counts["destroy"]++
		case Destroy:
			counts["destroy"]++
		}
	}
	var all []string
	for _, action := range []string{"import", "add", "change", "destroy"} {
		if n := counts[action]; n > 0 {
			all = append(all, fmt.Sprintf("%d to %s", n, action))
		}
	}
	switch {
	case r.Empty():
		return "no changes"
	case len(all) == 0:
		return "no changes of resources"
	}
	return strings.Join(all, ", ")
}

// Lost returns the number of resources that are destroyed, or destroyed and created again.
func (r Report) Lost() int {
	n := 0
	for _, c := range r.Changes {
		if c.Action == Destroy || c.Action == Replace {
			n++
		}
	}
	return n
}

// Text writes the report for a terminal.
func (r Report) Text(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", r.Environment, r.Summary())
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	for _, c := range slices.Concat(r.Changes, r.Others) {
		fmt.Fprintf(w, "\n%3s %s\n", marks[c.Action], c.Address)
		for _, a := range c.Attributes {
			fmt.Fprintf(w, "      %s%s\n", a.Path, forced(a))
			for _, line := range a.lines() {
				fmt.Fprintf(w, "        %s\n", line)
			}
		}
	}
}

// Markdown writes the report as a comment on a pull request.
func (r Report) Markdown(w io.Writer) {
	fmt.Fprintf(w, "### `%s`: %s\n", r.Environment, r.Summary())
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "\n> **Warning:** %s\n", warning)
	}
	if r.Empty() {
		return
	}
	fmt.Fprint(w, "\n| | resource | attributes |\n|---|---|---|\n")
	for _, c := range slices.Concat(r.Changes, r.Others) {
		count := ""
		if len(c.Attributes) > 0 {
			count = fmt.Sprint(len(c.Attributes))
		}
		fmt.Fprintf(w, "| %s | `%s` | %s |\n", c.Action, c.Address, count)
	}
	for _, c := range slices.Concat(r.Changes, r.Others) {
		if len(c.Attributes) == 0 {
			continue
		}
		var diff strings.Builder
		for _, a := range c.Attributes {
			fmt.Fprintf(&diff, "@@ %s%s @@\n%s\n", a.Path, forced(a), strings.Join(a.lines(), "\n"))
		}
		// A value may hold a fence of its own.
		fence := "```"
		for strings.Contains(diff.String(), fence) {
			fence += "`"
		}
		fmt.Fprintf(w, "\n<details><summary><code>%s</code></summary>\n\n%sdiff\n%s%s\n\n</details>\n", c.Address, fence, diff.String(), fence)
	}
}

func forced(a Attribute) string {
	if a.ForcesReplacement {
		return " (forces replacement)"
	}
	return ""
}

// lines returns the values as the lines of a diff.
func (a Attribute) lines() []string {
	var lines []string
	for _, side := range []struct{ mark, value string }{{"-", a.Before}, {"+", a.After}} {
		if side.value != "" {
			lines = append(lines, side.mark+" "+strings.ReplaceAll(side.value, "\n", `\n`))
		}
	}
	return lines
}
