// Package terminal fits text to the terminal that it is shown in, if it is one: what goes to a
// file or another program stays as it is.
package terminal

import (
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Is reports whether a command's stream is a terminal.
func Is(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Width returns the number of columns of a terminal, and 0 for any other stream.
func Width(stream any) int {
	if !Is(stream) {
		return 0
	}
	width, _, _ := term.GetSize(int(stream.(*os.File).Fd()))
	return width
}

var (
	// colour is an escape sequence, which takes no column.
	colour = regexp.MustCompile(`\x1b\[[0-9;]*m`)
	// label is what a line begins with, under which nothing of the rest may stand: spaces, a mark,
	// and a name, which ends with a colon or two spaces.
	label = regexp.MustCompile(`^ *(?:[✓✗?–] )?(?:\S+(?: \S+)*?  +|\S+: +)?`)
)

// Wrap breaks the lines of a text that are longer than width columns, at spaces. What is moved to
// a new line is indented as far as the line's label ("    fix:  ", "  plan        "), unless that
// takes more than half of the width. With a width of 0 the text stays as it is.
func Wrap(text string, width int) string {
	if width == 0 {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = wrapLine(line, width)
	}
	return strings.Join(lines, "\n")
}

func wrapLine(line string, width int) string {
	if columns(line) <= width {
		return line
	}
	indent := columns(label.FindString(colour.ReplaceAllString(line, "")))
	if indent > width/2 {
		indent = len(line) - len(strings.TrimLeft(line, " "))
	}
	var b strings.Builder
	at := 0
	for i, word := range strings.SplitAfter(line, " ") {
		if i > 0 && at > indent && at+columns(strings.TrimSuffix(word, " ")) > width {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		}
		b.WriteString(word)
		at += columns(word)
	}
	return trailing.ReplaceAllString(b.String(), "\n")
}

// trailing are the spaces at which a line was broken.
var trailing = regexp.MustCompile(` +\n`)

func columns(text string) int {
	return utf8.RuneCountInString(colour.ReplaceAllString(text, ""))
}
