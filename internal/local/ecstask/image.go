package ecstask

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// imageEntryPoint is that of Prefect's images, 2 and 3 (its Dockerfile).
var imageEntryPoint = []string{"/usr/bin/tini", "-g", "--", entryPointScript}

const (
	entryPointScript = "/opt/prefect/entrypoint.sh"
	// extraPackages is the variable with the packages that the entry point
	// script installs before it starts the command.
	extraPackages = "EXTRA_PIP_PACKAGES"
)

// launch is what a container's entry point and command come down to.
type launch struct {
	// args are the program and its arguments.
	args []string
	// signalGroup says that the stop signal reaches every process of the
	// container and not only the first: tini -g.
	signalGroup bool
	// script says that the image's entry point script runs first.
	script bool
}

// newLaunch works out what a container runs. The two programs of the image's
// entry point are not on this machine, so what they do is done here: tini
// passes signals on, the script installs packages.
func newLaunch(c types.ContainerDefinition) launch {
	entry := c.EntryPoint
	if len(entry) == 0 {
		entry = imageEntryPoint
	}
	var l launch
	if path.Base(entry[0]) == "tini" {
		entry = entry[1:]
		for len(entry) > 0 && strings.HasPrefix(entry[0], "-") {
			option := entry[0]
			entry = entry[1:]
			if option == "-g" {
				l.signalGroup = true
			}
			if option == "--" {
				break
			}
		}
	}
	if len(entry) > 0 && entry[0] == entryPointScript {
		l.script = true
		entry = entry[1:]
	}
	l.args = slices.Concat(entry, c.Command)
	if len(l.args) == 0 {
		// What the image does without a command: a banner, and the end.
		l.args = []string{"/bin/sh", "-c", "echo 'The container has no command, so the image only prints a banner and ends.'"}
	}
	return l
}

// packages returns the packages that the entry point script installs.
func (l launch) packages(env []string) []string {
	if !l.script {
		return nil
	}
	return strings.Fields(lookup(env, extraPackages))
}

// healthPort is where a worker serves its health by default; the variable
// changes it (Prefect's PREFECT_WORKER_WEBSERVER_PORT).
const (
	healthPort         = "8080"
	healthPortVariable = "PREFECT_WORKER_WEBSERVER_PORT"
)

// movePort leads a health check to another port of this machine. It changes
// 127.0.0.1:<from> and localhost:<from>, and nothing else.
func movePort(command []string, from, to string) []string {
	address := regexp.MustCompile(`\b(127\.0\.0\.1|localhost):` + regexp.QuoteMeta(from) + `\b`)
	moved := make([]string, len(command))
	for i, arg := range command {
		moved[i] = address.ReplaceAllString(arg, "${1}:"+to)
	}
	return moved
}

// container returns the one container of a definition.
func container(def types.TaskDefinition) (types.ContainerDefinition, error) {
	if n := len(def.ContainerDefinitions); n != 1 {
		return types.ContainerDefinition{}, fmt.Errorf("the task definition has %d containers; only one can be run here", n)
	}
	return def.ContainerDefinitions[0], nil
}
