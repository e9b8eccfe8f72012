package config

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImportsAreReadBesideTheEnvironment(t *testing.T) {
	// GIVEN an environment, and what is to be imported for it
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prod.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"aws_vpc.main": "vpc-1"}
	if err := WriteImports(dir, "prod", want); err != nil {
		t.Fatal(err)
	}
	// WHEN it is loaded THEN it has them, and the file is no environment of its own
	envs, err := Load(dir)
	if err != nil || len(envs) != 1 || !maps.Equal(envs[0].Imports, want) {
		t.Fatalf("%v, %v", envs, err)
	}
	// WHEN there are none any more, once and again THEN the file is gone
	for range 2 {
		if err := WriteImports(dir, "prod", nil); err != nil {
			t.Fatal(err)
		}
	}
	if envs, err = Load(dir); err != nil || len(envs[0].Imports) != 0 {
		t.Errorf("%v, %v", envs[0].Imports, err)
	}
	// WHEN the file is broken THEN that is said, with what to do
	if err := os.WriteFile(ImportsFile(dir, "prod"), []byte(`["aws_vpc.main"]`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err = Load(dir); err == nil || !strings.Contains(err.Error(), "prod.imports.json") || !strings.Contains(err.Error(), "remove it; workerctl adopt prod writes it again") {
		t.Error(err)
	}
}
