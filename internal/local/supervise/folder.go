package supervise

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

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

// journal appends lines of JSON to a file, for several goroutines.
type journal struct {
	mu  sync.Mutex
	out *json.Encoder
	io.Closer
}

func newJournal(path string) (*journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &journal{out: json.NewEncoder(file), Closer: file}, nil
}

func (j *journal) write(line any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.Encode(line)
}

// read returns the lines of a journal that are whole.
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
