package plan

import (
	"fmt"
	"io"
	"strings"
)

// marks are how the actions are written before an address, as Terraform has it.
var marks = map[Action]string{Create: "+", Import: "<-", Change: "~", Replace: "-/+", Destroy: "-"}

// Summary is the report in a line.
func (r Report) Summary() string {
	if len(r.Changes) == 0 {
		return "no changes"
	}
	var counts []string
	for _, action := range []Action{Create, Import, Change, Replace, Destroy} {
		if n := r.Count(action); n > 0 {
			counts = append(counts, fmt.Sprintf("%d to %s", n, action))
		}
	}
	return strings.Join(counts, ", ")
}

// Text writes the report for a terminal.
func (r Report) Text(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", r.Environment, r.Summary())
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	for _, c := range r.Changes {
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
	if len(r.Changes) == 0 {
		return
	}
	fmt.Fprint(w, "\n| | resource | attributes |\n|---|---|---|\n")
	for _, c := range r.Changes {
		count := ""
		if len(c.Attributes) > 0 {
			count = fmt.Sprint(len(c.Attributes))
		}
		fmt.Fprintf(w, "| %s | `%s` | %s |\n", c.Action, c.Address, count)
	}
	for _, c := range r.Changes {
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

// lines are the values as the lines of a diff.
func (a Attribute) lines() []string {
	var lines []string
	for _, side := range []struct{ mark, value string }{{"-", a.Before}, {"+", a.After}} {
		if side.value != "" {
			lines = append(lines, side.mark+" "+strings.ReplaceAll(side.value, "\n", `\n`))
		}
	}
	return lines
}
