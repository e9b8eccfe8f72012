// Package golden compares the output of a test with a file that is reviewed in git.
package golden

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "update the golden files instead of comparing with them")

// Equal fails the test where got differs from the file, and shows the difference. With
// `go test -update` it writes the file.
func Equal(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s does not exist; write it with: go test . -update", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (- file, + now); if that is right, run: go test . -update\n%s", file, diff)
	}
}

// Section fails the test where the generated section of a page differs from got. It stands between
// the lines "<!-- generated: NAME -->" and "<!-- end -->". With `go test -update` it is written.
func Section(t *testing.T, page, name, got string) {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(content), "<!-- generated: "+name+" -->\n")
	_, after, ends := strings.Cut(rest, "<!-- end -->\n")
	if !begins || !ends {
		t.Fatalf("%s has no generated section %s", page, name)
	}
	Equal(t, page, before+"<!-- generated: "+name+" -->\n"+got+"<!-- end -->\n"+after)
}
