package terminal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestProgress(t *testing.T) {
	for name, test := range map[string]struct {
		width int
		want  string
	}{
		"in a file":       {0, "  … one\n    note\n  ✓ done T\n  … two\n  ✗ two T\n  … three\n  – three, canceled T\n"},
		"in a terminal":   {40, "\r\x1b[K  … one 0 s\r\x1b[K    note\n\r\x1b[K  … one 0 s\r\x1b[K  ✓ done T\n\r\x1b[K  … two 0 s\r\x1b[K  ✗ two T\n\r\x1b[K  … three 0 s\r\x1b[K  – three, canceled T\n"},
		"in a narrow one": {10, "\r\x1b[K  … one …\r\x1b[K    note\n\r\x1b[K  … one …\r\x1b[K  ✓ done\n    T\n\r\x1b[K  … two …\r\x1b[K  ✗ two\n    T\n\r\x1b[K  … thre…\r\x1b[K  – three,\n    canceled\n    T\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			p := NewProgress(&out)
			p.width = test.width
			// WHEN one step succeeds, with a note, and another fails
			if err := p.Step("one", func() (string, error) { p.Note("note"); return "done", nil }); err != nil {
				t.Error(err)
			}
			if err := p.Step("two", func() (string, error) { return "", errors.New("no") }); err == nil {
				t.Error("the failure is lost")
			}
			// AND a third is canceled because of that
			canceled := fmt.Errorf("run it: %w", context.Canceled)
			if err := p.Do("three", func() error { return canceled }); !errors.Is(err, canceled) {
				t.Error(err)
			}
			// THEN a terminal shows one line for each, and what is going on below
			if got := strings.ReplaceAll(out.String(), "0.0 s", "T"); got != test.want {
				t.Errorf("%q\nwant %q", got, test.want)
			}
		})
	}
}
