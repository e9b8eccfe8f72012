package supervise

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/enforce"
)

// Folder is the folder of the tasks of a service, or of flow runs.
type Folder string

// Log returns the path of the file with the output of the containers.
func (f Folder) Log() string { return filepath.Join(string(f), ecstask.LogFile) }

// Events returns what happened to the tasks, the oldest first.
func (f Folder) Events() []ecstask.Event { return read[ecstask.Event](f.events()) }

// Calls returns the calls of the tasks to AWS, the oldest first.
func (f Folder) Calls() []enforce.Call { return read[enforce.Call](f.calls()) }

// Clear removes the records of earlier tasks.
func (f Folder) Clear() error {
	var errs []error
	for _, old := range []string{f.Log(), f.events(), f.calls()} {
		if err := os.Remove(old); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (f Folder) events() string { return filepath.Join(string(f), "events.jsonl") }
func (f Folder) calls() string  { return filepath.Join(string(f), "calls.jsonl") }

// write appends a line of JSON to a file, at once: several goroutines do, and others read.
func write(path string, line any) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(append(text, '\n'))
	return err
}

// read returns the lines of such a file that are whole.
func read[T any](path string) []T {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	var lines []T
	for in := json.NewDecoder(file); ; {
		var line T
		if in.Decode(&line) != nil { // the end, or a line that is being written
			return lines
		}
		lines = append(lines, line)
	}
}
