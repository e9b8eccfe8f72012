package symptoms

import (
	"fmt"
	"strings"
	"testing"

	"prefect-worker-ecs/internal/test/golden"
)

// TestGeneratedSymptoms: the table of symptoms in the documentation is the list.
func TestGeneratedSymptoms(t *testing.T) {
	var table strings.Builder
	table.WriteString("| line | meaning | fix |\n|---|---|---|\n")
	for _, s := range List {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", strings.Join(s.Lines, "`, `"), s.Explanation, s.Fix)
	}
	golden.Section(t, "../../../docs/troubleshooting.md", "symptoms", strings.ReplaceAll(table.String(), "||", "\\|\\|"))
}
