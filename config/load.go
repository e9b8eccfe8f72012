package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"prefect-worker-ecs/config/strict"
	"prefect-worker-ecs/internal/base/redact"
)

// Dir is where the environments are, below the project's folder.
const Dir = "config/environments"

// Load reads and checks every environment in dir, in the order of their names.
// The error is of type Problems if the files could be read but not used; it then
// holds all that is wrong with all of them.
func Load(dir string) ([]*Environment, error) { return loadFolder(dir, false) }

// LoadLocal is Load for the folder that `workerctl local` has written: only there may an
// environment say local_run.
func LoadLocal(dir string) ([]*Environment, error) { return loadFolder(dir, true) }

func loadFolder(dir string, local bool) ([]*Environment, error) {
	files, problems, err := environmentFiles(dir)
	if err != nil {
		return nil, err
	}
	var envs []*Environment
	for _, file := range files {
		env, found := read(file)
		found = append(found, env.readImports(dir)...)
		if env.LocalRun && !local {
			v := &validator{env: env}
			v.reject("local_run", true, "make local sets it in a copy of the file; on AWS nothing is on this machine", "remove it, and run make local")
			found = append(found, v.problems...)
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
		redact.Text(name), dir, strings.Join(names, ", "), redact.Text(name))
}

// ignored are files that editors, systems and people leave beside others, and that nobody
// means as an environment: hidden ones, backups and notes; and the locks of `make lock` and the imports
// of `workerctl adopt`.
var ignored = regexp.MustCompile(`^\.|~$|^#.*#$|___jb_(tmp|old)___$|(?i)\.(md|txt|bak|orig|swp|tmp)$|^(?i)(thumbs\.db|desktop\.ini)$|\.(terraform\.lock\.hcl|imports\.json)$`)

// environmentFiles lists the files to read. What is in the folder and would not be read is a
// problem: it was put there to count.
func environmentFiles(dir string) ([]string, Problems, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("the folder %s does not exist here; run the program in the project's folder", dir)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the environments: %w", err)
	}
	var files []string
	var problems Problems
	for _, entry := range entries {
		name := entry.Name()
		if ignored.MatchString(name) {
			continue
		}
		file := filepath.Join(dir, name)
		refuse := func(rule, fix string) {
			problems = append(problems, strict.NewProblem(filepath.ToSlash(file), 0, "", "", rule, fix))
		}
		ext := filepath.Ext(name)
		other := strings.TrimSuffix(name, ext) + ".yaml"
		info, err := os.Stat(file)
		switch {
		case err != nil:
			refuse("the link leads to nothing that can be read", "remove it or fix its target")
		case info.IsDir():
			refuse("folders in this folder are not read", "move the environments in it up, or the folder elsewhere")
		case !info.Mode().IsRegular():
			refuse("an environment is a file", "remove it")
		case ext == ".yml" && slices.Contains(files, filepath.Join(dir, other)):
			refuse("an environment has one file, and "+other+" beside it has the same name", "remove one of the two")
		case ext != ".yaml" && ext != ".yml":
			refuse("an environment's file ends in .yaml or .yml, in lower case; this one would not be read", "rename it, or move it out of the folder")
		default:
			files = append(files, file)
		}
	}
	if len(files)+len(problems) == 0 {
		return nil, nil, fmt.Errorf("%w in %s; add a file such as dev.yaml, which may be empty", errNoEnvironment, dir)
	}
	return files, problems, nil
}

func read(file string) (*Environment, Problems) {
	data, err := os.ReadFile(file)
	if err != nil {
		return &Environment{}, Problems{strict.NewProblem(filepath.ToSlash(file), 0, "", "", "the file must be readable, but "+err.Error(), "fix its permissions")}
	}
	return parse(file, data)
}

// parse reads and checks the environment that a file of this name and content is.
func parse(file string, data []byte) (*Environment, Problems) {
	env, problems := decode(file, data)
	return env, append(problems, env.Validate()...)
}

// decode returns parse without the check.
func decode(file string, data []byte) (*Environment, Problems) {
	env := base()
	// Slashes on every system, so that a message is the same everywhere.
	var problems Problems
	env.source.Source, problems = strict.Decode(filepath.ToSlash(file), data, env, formerKey)
	env.Name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	env.complete()
	return env, problems
}

// errNoEnvironment says that a folder is there and holds no environment.
var errNoEnvironment = errors.New("there is no environment")

// source is where the values of an environment come from.
type source struct {
	strict.Source
	// variables are the keys whose values come from a Terraform variable, and where it is set.
	variables map[string]string
}

// Problem is one thing in the configuration that cannot work.
type Problem = strict.Problem

// Problems are all that is wrong with a configuration.
type Problems = strict.Problems

// formerKey returns what to do instead of a key of earlier releases, or of one with the name of a credential.
func formerKey(key string) string {
	if redact.Named(key) {
		return "remove the line, and replace the credential if others may have seen it; the API key is given in the Terraform variable prefect_api_key (export TF_VAR_prefect_api_key=...)"
	}
	return map[string]string{
		"adopt":     "remove the line, and call workerctl adopt: it finds what exists, and writes what is to be imported into a file of its own",
		"policy":    "write it as iam.flow_task_role.statements: {actions: [...], resources: [...]}, or as a managed policy in policy_arns",
		"public_ip": "remove the line: with network.nat: none the worker runs in the public subnets, with a public address",
	}[key]
}
