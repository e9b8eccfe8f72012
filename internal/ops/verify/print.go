package verify

import (
	"fmt"
	"io"
	"strings"

	"github.com/fatih/color"

	"prefect-worker-ecs/internal/base/terminal"
)

// Print writes the checklist for a person, wrapped where w is a terminal.
func (r Report) Print(w io.Writer) {
	var text strings.Builder
	marks := map[Status]string{OK: color.GreenString("✓"), Failed: color.RedString("✗"), Unknown: color.YellowString("?"), Skipped: color.YellowString("–")}
	width := 0
	for _, check := range r.Checks {
		width = max(width, len(check.Name))
	}
	margin := strings.Repeat(" ", width+4)
	for _, check := range r.Checks {
		fmt.Fprintf(&text, "%s %-*s  %s\n", marks[check.Status], width, check.Name, strings.ReplaceAll(check.Detail, "\n", "\n"+margin))
		if check.Fix != "" {
			fmt.Fprintf(&text, "%s%s %s\n", margin, color.New(color.Bold).Sprint("fix:"), check.Fix)
		}
	}
	if len(r.Log) > 0 {
		fmt.Fprintf(&text, "\nlast lines of the worker's log:\n")
		for _, line := range r.Log {
			fmt.Fprintf(&text, "  %s\n", line)
		}
	}
	if r.Error != "" {
		fmt.Fprintln(&text, r.Error)
	}
	switch r.Outcome {
	case OK:
		fmt.Fprintf(&text, "\n%s\n", color.GreenString("The worker of %s runs flows.", r.Environment))
	case Failed:
		fmt.Fprintf(&text, "\n%s\n", color.RedString("The worker of %s does not run flows, or not as configured.", r.Environment))
	default:
		fmt.Fprintf(&text, "\n%s\n", color.YellowString("Whether the worker of %s runs flows could not be checked.", r.Environment))
	}
	if first, found := r.First(); found && first.Fix != "" {
		fmt.Fprintf(&text, "First: %s (%s)\n", first.Fix, first.Name)
	}
	fmt.Fprint(w, terminal.Wrap(text.String(), terminal.Width(w)))
}
