package run

import (
	"os"
	"path/filepath"
	"testing"

	"prefect-worker-ecs/internal/test/testtools"
)

func TestTheFlowInAFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for content, want := range map[string]struct{ flow, function, err string }{
		"from prefect import flow\n\n@flow\ndef one():\n    pass\n":                                       {"f.py", "one", ""},
		"@flow(name=\"x\",\n      log_prints=True)\nasync def one():\n    pass\n\ndef two():\n    pass\n": {"f.py", "one", ""},
		"@flow\ndef one(): pass\n\n@flow()\n@other\ndef two(): pass\n":                                    {"f.py", "", "f.py has several flows; name one: f.py:one, or f.py:two"},
		"@flow\ndef one(): pass\n@flow\ndef two(): pass\n":                                                {"f.py:two", "two", ""},
		"@flow\ndef one(): pass\n# no other\n":                                                            {"f.py:two", "", "f.py has no flow two; it has: one"},
		"def one(): pass\n":                                                                               {"f.py", "", "f.py has no function with @flow before it; name one: f.py:FUNCTION"},
	} {
		testtools.NoError(t, os.WriteFile("f.py", []byte(content), 0o644))
		file, function, err := findFlow(want.flow)
		if (err != nil) != (want.err != "") || err != nil && err.Error() != want.err {
			t.Errorf("%q: %v, want %s", content, err, want.err)
		}
		if function != want.function || err == nil && (filepath.Base(file) != "f.py" || !filepath.IsAbs(file)) {
			t.Errorf("%q: %s in %s", content, function, file)
		}
	}
	if _, _, err := findFlow("absent.py"); err == nil {
		t.Error("a file that is not there")
	}
}
