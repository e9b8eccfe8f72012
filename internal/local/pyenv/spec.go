package pyenv

import (
	_ "embed"
	"strings"
)

// Spec says what a virtual environment holds.
type Spec struct {
	// Name is the start of the environment's folder name, such as "prefect2".
	Name string
	// Requirements is a requirements file that pins every package of the closure with ==, and with
	// the hashes of its wheels for every system. Nothing but it is installed.
	Requirements string
	// Extra is installed afterwards with its dependencies, as the entry point of Prefect's image does
	// with EXTRA_PIP_PACKAGES. It may therefore replace what Requirements pins. Each item is one
	// requirement; none by default.
	Extra []string
}

//go:embed requirements/moto.txt
var motoRequirements string

//go:embed requirements/pip.txt
var pipRequirements string

//go:embed requirements/prefect2.txt
var prefect2Requirements string

//go:embed requirements/prefect3.txt
var prefect3Requirements string

var (
	// Moto is the AWS emulator, moto 5.2.5 with its server.
	Moto = Spec{Name: "moto", Requirements: motoRequirements}
	// Prefect2 is Prefect 2.20.25, the last release of Prefect 2.
	Prefect2 = Spec{Name: "prefect2", Requirements: prefect2Requirements + pipRequirements}
	// Prefect3 is Prefect 3.9.1.
	Prefect3 = Spec{Name: "prefect3", Requirements: prefect3Requirements + pipRequirements}
)

// Prefect returns the environment for a major version of Prefect: 2 or 3.
func Prefect(major int) Spec {
	if major == 2 {
		return Prefect2
	}
	return Prefect3
}

// Pin returns the version to which the requirements pin a package, or "".
func (s Spec) Pin(pkg string) string {
	for line := range strings.Lines(s.Requirements) {
		requirement, _, _ := strings.Cut(strings.TrimSuffix(line, " \\\n"), ";")
		name, version, ok := strings.Cut(strings.TrimSpace(requirement), "==")
		if ok && name == pkg {
			return version
		}
	}
	return ""
}
