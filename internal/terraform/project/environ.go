package project

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"prefect-worker-ecs/internal/base/atomicfile"
)

// MirrorVariable names an environment variable with the path of a filesystem mirror of
// Terraform providers, for machines that do not reach the registry.
const MirrorVariable = "PREFECT_WORKER_PROVIDER_MIRROR"

// registries are the hosts from which Terraform and OpenTofu have the provider hashicorp/aws. Each
// looks into the folder of its own in a filesystem mirror.
var registries = [...]string{"registry.terraform.io", "registry.opentofu.org"}

// Environ returns base with the variables that make Terraform behave as a person expects. Of a
// variable that is in the result twice the last one counts, as exec.Cmd has it.
func (p Project) Environ(base []string) ([]string, error) {
	env := slices.Clone(base)
	set := func(name, value string) { env = append(env, name+"="+value) }

	set("CHECKPOINT_DISABLE", "1") // no calls home
	if lookup(env, "GOGC") == "" {
		// Terraform and the provider read large schemas and end: with Go's default a third of
		// their time goes into collecting garbage (validate: 2.6 s of processor time, 1.7 s
		// without). The limit is above what a plan of this stack needs, 600 MB.
		set("GOGC", "off")
		set("GOMEMLIMIT", "1GiB")
	}
	// A missing variable is an error at once, not a prompt.
	set("TF_INPUT", "0")

	mirror, err := p.mirror(lookup(env, MirrorVariable))
	if err != nil {
		return nil, err
	}
	config, err := p.cliConfig(lookup(env, "TF_CLI_CONFIG_FILE"), mirror)
	if err != nil {
		return nil, err
	}
	if config != "" {
		set("TF_CLI_CONFIG_FILE", config)
	}
	if mirror == "" && lookup(env, "TF_PLUGIN_CACHE_DIR") == "" {
		// Without a cache each environment would download its own 700 MB.
		cache := filepath.Join(p.Local(), "provider-cache")
		if err := os.MkdirAll(cache, 0o755); err != nil {
			return nil, fmt.Errorf("make the cache for Terraform providers: %w", err)
		}
		set("TF_PLUGIN_CACHE_DIR", cache)
	}
	return env, nil
}

// cliConfig returns the Terraform CLI configuration to use, or "" for Terraform's own choice.
// A configuration of the user's is kept, unless it names a file that does not exist, about which
// Terraform would print a warning at each command.
func (p Project) cliConfig(named, mirror string) (string, error) {
	userHas := false
	if named != "" {
		userHas = exists(named)
	} else if home, err := os.UserHomeDir(); err == nil {
		userHas = exists(filepath.Join(home, ".terraformrc")) || isOpenTofu() &&
			(exists(filepath.Join(home, ".tofurc")) || exists(filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "opentofu", "tofurc")))
	}
	if userHas || (named == "" && mirror == "") {
		return "", nil
	}
	text := "# Made by internal/terraform/project.\ndisable_checkpoint = true\n"
	if mirror != "" {
		providers := fmt.Sprintf(`"%s/hashicorp/aws", "%s/hashicorp/aws"`, registries[0], registries[1])
		text += fmt.Sprintf(`
provider_installation {
  filesystem_mirror {
    path    = %q
    include = [%[2]s]
  }
  direct {
    exclude = [%[2]s]
  }
}
`, mirror, providers)
	}
	file := filepath.Join(p.Local(), "terraform.rc")
	if err := atomicfile.Keep(file, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("write the Terraform CLI configuration: %w", err)
	}
	return file, nil
}

// mirror returns a filesystem mirror with the AWS provider for both Terraform and OpenTofu, or "" if
// this machine has none. Mostly one has it for Terraform only, and the provider is the same for
// both: so this is a folder of links into the mirror that findMirror finds.
func (p Project) mirror(named string) (string, error) {
	found, err := findMirror(named, p.Root)
	if err != nil || found == "" {
		return "", err
	}
	sum := sha256.Sum256([]byte(found))
	mirror := filepath.Join(p.Local(), "mirror-"+hex.EncodeToString(sum[:4]))
	for i, registry := range registries {
		from := registry
		if len(releases(found, from)) == 0 {
			from = registries[1-i]
		}
		for _, release := range releases(found, from) {
			link := filepath.Join(mirror, registry, strings.TrimPrefix(release, filepath.Join(found, from)))
			err := os.MkdirAll(filepath.Dir(link), 0o755)
			if err == nil {
				err = os.Symlink(release, link)
			}
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return "", fmt.Errorf("link to the providers in %s: %w", found, err)
			}
		}
	}
	return mirror, nil
}

// findMirror looks for a folder with the AWS provider in filesystem-mirror layout: the
// named one, the implied mirrors of Terraform's documentation ("Implied Local Mirror
// Directories"), and the folders directly under /opt. It returns "" if there is none.
func findMirror(named, root string) (string, error) {
	if named != "" {
		if !holdsProvider(named) {
			return "", fmt.Errorf("%s is %s, and there is no %s/hashicorp/aws with a release for %s_%s in it; correct it or unset it",
				MirrorVariable, named, registries[0], runtime.GOOS, runtime.GOARCH)
		}
		return filepath.Abs(named)
	}
	dirs := []string{filepath.Join(root, "terraform.d", "plugins")}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs,
			filepath.Join(home, ".terraform.d", "plugins"),
			filepath.Join(home, ".local", "share", "terraform", "plugins"),
			filepath.Join(home, "Library", "Application Support", "io.terraform", "plugins"))
	}
	dirs = append(dirs, "/Library/Application Support/io.terraform/plugins",
		"/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins")
	if opt, err := filepath.Glob("/opt/*"); err == nil {
		dirs = append(dirs, opt...)
	}
	for _, dir := range dirs {
		if holdsProvider(dir) {
			return dir, nil
		}
	}
	return "", nil
}

func holdsProvider(dir string) bool {
	return len(releases(dir, registries[0]))+len(releases(dir, registries[1])) > 0
}

// releases returns the paths of the AWS provider's releases for this system that a mirror has of a
// registry, unpacked or as archives.
func releases(dir, registry string) []string {
	system := runtime.GOOS + "_" + runtime.GOARCH
	provider := filepath.Join(dir, registry, "hashicorp", "aws")
	unpacked, _ := filepath.Glob(filepath.Join(provider, "*", system)) // the patterns are valid
	archives, _ := filepath.Glob(filepath.Join(provider, "terraform-provider-aws_*_"+system+".zip"))
	return append(unpacked, archives...)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// lookup returns the value of a variable in a list of assignments, the last one counting.
func lookup(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}
