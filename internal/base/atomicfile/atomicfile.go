// Package atomicfile writes files that others may be reading, or writing too, at the same
// time: they find the old content or the new one, and never a part.
package atomicfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
)

// Write gives the file the content, whatever was there. What a killed program leaves beside it is a
// hidden file.
func Write(file string, content []byte, perm os.FileMode) error {
	beside, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(beside.Name()) // unless it was renamed
	_, err = beside.Write(content)
	if err := errors.Join(err, beside.Chmod(perm), beside.Close()); err != nil {
		return err
	}
	return os.Rename(beside.Name(), file)
}

// Keep is Write for a file that mostly has the content already. It makes the folder, too.
func Keep(file string, content []byte, perm os.FileMode) error {
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return Write(file, content, perm)
}
