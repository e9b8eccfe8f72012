package terminal

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWrap(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"a short line", "a line  of its own", "a line  of its own"},
		{"a long line", "one two three four five six", "one two three four\nfive six"},
		{"each line by itself", "one two\nthree four five six seven", "one two\nthree four five six\nseven"},
		{"an indented line", "  one two three four five", "  one two three four\n  five"},
		{"a label with a colon", "  fix: two three four five", "  fix: two three\n       four five"},
		{"a name in a table", "a name  one two three", "a name  one two\n        three"},
		{"a mark", "✓ name  one two three four", "✓ name  one two\n        three four"},
		{"a label that leaves no room", "long-long-label: one two", "long-long-label: one\ntwo"},
		{"a word that is longer than the terminal", "see https://example.com/a/b/c now", "see\nhttps://example.com/a/b/c\nnow"},
		{"colours take no column", "\x1b[31m✗\x1b[0m one two three four", "\x1b[31m✗\x1b[0m one two three four"},
		{"a label in colour", "\x1b[31m✗\x1b[0m x: one two three four", "\x1b[31m✗\x1b[0m x: one two three\n     four"},
	} {
		if got := Wrap(test.text, 20); got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
	const long = "what is not for a terminal stays one line"
	if got := Wrap(long, 0); got != long {
		t.Errorf("got %q", got)
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if Is(file) || Width(file) != 0 || Is(nil) || Width(t) != 0 {
		t.Error("taken for a terminal")
	}
}
