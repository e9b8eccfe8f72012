package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fatih/color"
)

// Progress shows what is done and how long it took. Steps may run at the same time: each line stands
// for itself. In a terminal the steps in progress are in one last line with a clock; in a file each has
// a line when it begins. Colour only on a terminal and without NO_COLOR (package color sees to both).
type Progress struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
	// width is that of the terminal; 0 in a file.
	width   int
	running []*activity
	clock   *time.Ticker
}

// activity is a step in progress.
type activity struct {
	what  string
	began time.Time
}

// NewProgress returns a Progress that begins now.
func NewProgress(out io.Writer) *Progress {
	return &Progress{out: out, start: time.Now(), width: Width(out)}
}

// Elapsed returns the time since the beginning.
func (p *Progress) Elapsed() time.Duration { return time.Since(p.start) }

// Line writes a line.
func (p *Progress) Line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print(format, args...)
}

// print writes a line above that of the clock.
func (p *Progress) print(format string, args ...any) {
	if p.width > 0 {
		fmt.Fprint(p.out, "\r\033[K")
	}
	fmt.Fprintf(p.out, format+"\n", args...)
	p.draw()
}

// draw writes the line of the clock, in a terminal.
func (p *Progress) draw() {
	if p.width == 0 || len(p.running) == 0 {
		return
	}
	var steps []string
	for _, a := range p.running {
		steps = append(steps, fmt.Sprintf("%s %.0f s", a.what, time.Since(a.began).Seconds()))
	}
	text := []rune("  … " + strings.Join(steps, ", "))
	if len(text) >= p.width { // a line that wraps could not be taken back
		text = append(text[:max(0, p.width-2)], '…')
	}
	fmt.Fprintf(p.out, "\r\033[K%s", color.HiBlackString("%s", string(text)))
}

// begin shows a step in progress. The mutex is held.
func (p *Progress) begin(what string) *activity {
	a := &activity{what, time.Now()}
	p.running = append(p.running, a)
	switch {
	case p.width == 0:
		p.print("  %s %s", color.HiBlackString("…"), color.HiBlackString(what))
	case p.clock == nil:
		p.clock = time.NewTicker(time.Second)
		go func(clock *time.Ticker) {
			for range clock.C {
				p.mu.Lock()
				p.draw()
				p.mu.Unlock()
			}
		}(p.clock)
		fallthrough
	default:
		p.draw()
	}
	return a
}

// end takes a step back. The mutex is held.
func (p *Progress) end(a *activity) {
	p.running = slices.DeleteFunc(p.running, func(b *activity) bool { return a == b })
	if len(p.running) == 0 && p.clock != nil {
		p.clock.Stop() // its goroutine waits indefinitely, which ends with the program
		p.clock = nil
	}
}

// Step runs one step. before says what it does; do returns what came of it.
func (p *Progress) Step(before string, do func() (string, error)) error {
	p.mu.Lock()
	a := p.begin(before)
	p.mu.Unlock()
	after, err := do()
	took := time.Since(a.began).Seconds()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(a)
	mark := color.GreenString("✓")
	switch {
	case errors.Is(err, context.Canceled): // Ctrl-C, or a step beside it failed
		mark, after = color.HiBlackString("–"), before+", canceled"
	case err != nil:
		mark, after = color.RedString("✗"), before
	}
	p.print("%s", Wrap(fmt.Sprintf("  %s %s %s", mark, after, color.HiBlackString("%.1f s", took)), p.width))
	return err
}

// Do runs one step that needs no other words when it is done.
func (p *Progress) Do(what string, do func() error) error {
	return p.Step(what, func() (string, error) { return what, do() })
}

// Note adds a line to the step in progress.
func (p *Progress) Note(format string, args ...any) {
	p.Line("    %s", color.HiBlackString(format, args...))
}
