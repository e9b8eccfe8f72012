package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/test/testtools"
)

func TestHelpFitsTheTerminal(t *testing.T) {
	const width = 60
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		whole, wrapped := help(cmd, 0), help(cmd, width)
		// THEN no line is too long, and no word is lost
		for line := range strings.Lines(wrapped) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > width && strings.Contains(strings.TrimSpace(line), " ") {
				t.Errorf("%s: %q", cmd.CommandPath(), line)
			}
		}
		if strings.Join(strings.Fields(wrapped), " ") != strings.Join(strings.Fields(whole), " ") {
			t.Errorf("%s: other words\n%s", cmd.CommandPath(), wrapped)
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(newRootCommand())

	// AND what is moved to another line stands under the text
	runs, _, err := newRootCommand().Find([]string{"runs"})
	testtools.NoError(t, err)
	for _, want := range []string{
		"  orphaned  Pending, and the worker or task that took it is\n            gone, or for longer than\n            monitoring.pending_minutes (10)\n  lost",
		"\"workerctl runs retry\nRUN\" reschedules one,",
		"      --json             print JSON\n",
	} {
		if text := help(runs, width); !strings.Contains(text, want) {
			t.Errorf("missing is\n%s\nin\n%s", want, text)
		}
	}
	// AND without a terminal the text is as it was written
	if text := help(runs, 0); !strings.HasPrefix(text, runs.Long+"\n\nUsage:\n") {
		t.Errorf("%s", text)
	}
}
