package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/base/terminal"
)

// longestLine of a help: longer ones are hard to read, however wide the terminal is.
const longestLine = 100

func showHelp(cmd *cobra.Command, _ []string) {
	out := cmd.OutOrStdout()
	fmt.Fprint(out, help(cmd, min(terminal.Width(out), longestLine)))
}

// help returns the help of a command, for a terminal of so many columns.
func help(cmd *cobra.Command, width int) string {
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	if width > 0 {
		text = joined(text)
	}
	return terminal.Wrap(text+"\n\n"+cmd.UsageString(), width)
}

// joined returns text with the lines of each paragraph in one, but for those of a list, which are
// indented.
func joined(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, paragraph := range paragraphs {
		if !strings.HasPrefix(paragraph, " ") {
			paragraphs[i] = strings.ReplaceAll(paragraph, "\n", " ")
		}
	}
	return strings.Join(paragraphs, "\n\n")
}
