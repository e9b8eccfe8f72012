package run

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/terraform/project"
)

// Options says which run is meant.
type Options struct {
	// Project is the checkout. Required.
	Project project.Project
	// Environment is the name of a file in config/environments. Required.
	Environment string
	// Dir is the run's folder. Default <project>/.local/run/<environment>.
	Dir string
	// Config is the folder with the environments. Default
	// <project>/config/environments.
	Config string
	// Out is where progress and the summary go. Required.
	Out io.Writer
	// Program is workerctl: Up starts it with local supervise FOLDER ENVIRONMENT, which
	// calls Supervise, and messages name it. Required.
	Program string
}

func (o Options) config() string {
	if o.Config != "" {
		return o.Config
	}
	return fromHere(filepath.Join(o.Project.Root, filepath.FromSlash(config.Dir)))
}

// command returns the command line of a subcommand on this run.
func (o Options) command(verb string) string {
	if target := map[string]string{"up": "local", "down": "local-down"}[verb]; target != "" && o.Dir == "" && o.Config == "" {
		return "make " + target + " ENV=" + o.Environment
	}
	words := []string{fromHere(o.Program), "local", verb}
	if o.Dir != "" {
		words = append(words, "--dir", o.Dir)
	}
	if o.Config != "" {
		words = append(words, "--config", o.Config)
	}
	return shell(append(words, o.Environment)...)
}

// fromHere returns a path as messages show it: relative, if it is below the working directory.
func fromHere(path string) string {
	if here, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(short) {
			return short
		}
	}
	return path
}

// plain are the words that a shell reads as they are.
var plain = regexp.MustCompile(`^[\w+=./:,@-]+$`)

// shell returns a command line for the words, with those quoted that a shell would read otherwise.
func shell(words ...string) string {
	for i, word := range words {
		if !plain.MatchString(word) {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

func (o Options) run() (*run, error) {
	dir := o.Dir
	if dir == "" {
		dir = filepath.Join(o.Project.Local(), "run", o.Environment)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &run{dir: dir}, nil
}
