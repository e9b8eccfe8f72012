package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"prefect-worker-ecs/internal/base/atomicfile"
)

func TestAFileThatIsKept(t *testing.T) {
	// GIVEN no file, the same one, and another one
	file := filepath.Join(t.TempDir(), "bin", "script")
	var before os.FileInfo
	for _, content := range []string{"one", "one", "two"} {
		// WHEN it is to have a content
		if err := atomicfile.Keep(file, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		// THEN it has it, can be run, and nothing else is there
		got, err := os.ReadFile(file)
		if err != nil || string(got) != content {
			t.Errorf("%q, %v; want %q", got, err, content)
		}
		now, err := os.Stat(file)
		if err != nil || now.Mode().Perm() != 0o755 {
			t.Errorf("mode %v, %v", now.Mode(), err)
		}
		if all, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(all) != 1 {
			t.Errorf("there are %v", all)
		}
		// AND who has the old one open still reads all of it: another content is another file
		if before != nil && os.SameFile(before, now) != (content == "one") {
			t.Errorf("%s: the same file: %t", content, os.SameFile(before, now))
		}
		before = now
	}
}
