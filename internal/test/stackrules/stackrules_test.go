package stackrules

import (
	"os"
	"path/filepath"
	"testing"

	"prefect-worker-ecs/config"
)

// environments are those of the golden files, by name.
func environments(t *testing.T) map[string]*config.Environment {
	t.Helper()
	all := map[string]*config.Environment{}
	for _, dir := range []string{"../../../" + config.Dir, "../../../testdata/environments"} {
		envs, err := config.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, env := range envs {
			all[env.Name] = env
		}
	}
	return all
}

func golden(t *testing.T, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("../../../testdata/golden", name+".tf.json"))
	if err != nil {
		t.Fatal(err)
	}
	return file
}
