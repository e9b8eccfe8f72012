package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Dir is where the environments are, below the project's folder.
const Dir = "config/environments"

// Load reads and checks every environment in dir, in the order of their names.
// The error is of type Problems if the files could be read but not used; it then
// holds all that is wrong with all of them.
func Load(dir string) ([]*Environment, error) {
	files, err := environmentFiles(dir)
	if err != nil {
		return nil, err
	}
	var envs []*Environment
	var problems Problems
	for _, file := range files {
		env, found, err := read(file)
		if err != nil {
			return nil, err
		}
		problems = append(problems, found...)
		if len(found) == 0 {
			envs = append(envs, env)
		}
	}
	problems = append(problems, conflicts(envs)...)
	if len(problems) > 0 {
		return nil, problems
	}
	return envs, nil
}

// LoadOne reads every environment in dir, as Load does, and returns the named one.
func LoadOne(dir, name string) (*Environment, error) {
	envs, err := Load(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, env := range envs {
		if env.Name == name {
			return env, nil
		}
		names = append(names, env.Name)
	}
	return nil, fmt.Errorf("there is no environment %q in %s; there are: %s. Add the file %s.yaml, which may be empty",
		name, dir, strings.Join(names, ", "), name)
}

func environmentFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the folder %s does not exist here; run the program in the project's folder", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read the environments: %w", err)
	}
	var files []string
	for _, entry := range entries {
		if ext := filepath.Ext(entry.Name()); !entry.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(dir, entry.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no environment in %s; add a file such as dev.yaml, which may be empty", dir)
	}
	slices.Sort(files)
	return files, nil
}

func read(file string) (*Environment, Problems, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read the environment: %w", err)
	}
	defer f.Close()

	env := base()
	// Slashes on every system, so that a message is the same everywhere.
	slashed := filepath.ToSlash(file)
	problems := decodeYAML(slashed, f, env)
	env.Name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	env.fillDerived()
	return env, append(problems, env.Validate()...), nil
}
