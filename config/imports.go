package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"prefect-worker-ecs/config/strict"
	"prefect-worker-ecs/internal/base/atomicfile"
)

// importsEnd is how the names of the files end that workerctl adopt writes.
const importsEnd = ".imports.json"

// ImportsFile returns the file, beside the environment's own in dir, in which `workerctl adopt` leaves
// what Terraform is to import: ids by address. It need not exist.
func ImportsFile(dir, name string) string { return filepath.Join(dir, name+importsEnd) }

// WriteImports writes the file, or removes it if there is nothing to import.
func WriteImports(dir, name string, imports map[string]string) error {
	file := ImportsFile(dir, name)
	if len(imports) == 0 {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("nothing is to be imported any more: %w", err)
		}
		return nil
	}
	text, err := json.MarshalIndent(imports, "", "  ") // in the order of the addresses
	if err != nil {
		return err
	}
	return atomicfile.Write(file, append(text, '\n'), 0o644)
}

// readImports reads what WriteImports wrote.
func (e *Environment) readImports(dir string) Problems {
	file := ImportsFile(dir, e.Name)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &e.Imports)
	}
	if err != nil {
		return Problems{strict.NewProblem(filepath.ToSlash(file), 0, "", "", "the file is JSON with ids by addresses, but "+err.Error(), "remove it; workerctl adopt "+e.Name+" writes it again")}
	}
	return nil
}
