package localrun

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/fatih/color"
)

// progress tells a person what is done and how long it took. Steps may run at
// the same time: each line stands for itself. Colour only on a terminal and
// without NO_COLOR (package color sees to both).
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

func newProgress(out io.Writer) *progress { return &progress{out: out, start: time.Now()} }

func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format+"\n", args...)
}

// step runs one step. before says what is going on; do returns what came of it.
func (p *progress) step(before string, do func() (string, error)) error {
	p.line("  %s %s", color.HiBlackString("…"), color.HiBlackString(before))
	began := time.Now()
	after, err := do()
	took := time.Since(began).Seconds()
	if err != nil {
		p.line("  %s %s %s", color.RedString("✗"), before, color.HiBlackString("%.1f s", took))
		return err
	}
	p.line("  %s %s %s", color.GreenString("✓"), after, color.HiBlackString("%.1f s", took))
	return nil
}

// note adds a line to the step that is going on.
func (p *progress) note(format string, args ...any) {
	p.line("    %s", color.HiBlackString(format, args...))
}
