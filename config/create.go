package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"prefect-worker-ecs/internal/base/atomicfile"
	"prefect-worker-ecs/internal/base/redact"
)

// newFile is a new environment: what it needs beside others, and where the rest is.
const newFile = `# yaml-language-server: $schema=../environments.schema.json
# The environment %[1]s. Every key is optional; docs/configuration.md lists them all, and
# "workerctl config %[1]s" shows what is in force.

# Appended to the default names that an account can hold once.
name_suffix: %[2]s

network:
  # Free beside the VPCs of the other environments, should they ever be connected.
  vpc_cidr: %[3]s

# The only AWS account that may be deployed to.
# account_id: "123456789012"

# prefect:
#   account_id: the first UUID in the address of the workspace
#   workspace_id: the second
`

// Create writes a new environment in dir that is valid beside those that exist, and returns
// its file.
func Create(dir, name string) (file string, err error) {
	if !environmentName.MatchString(name) {
		return "", fmt.Errorf("%q cannot be the name of an environment: %s; choose one such as prod", redact.Text(name), environmentNameRule)
	}
	envs, err := Load(dir)
	if err != nil && !errors.Is(err, errNoEnvironment) {
		return "", err
	}
	for _, env := range envs {
		if env.Name == name {
			return "", fmt.Errorf("the environment %s exists already: %s; choose another name", name, env.source.File)
		}
	}
	text, err := beside(envs, name)
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, name+".yaml")
	if err := atomicfile.Write(file, []byte(text), 0o644); err != nil { // whole or not at all
		return "", fmt.Errorf("write the environment: %w", err)
	}
	return file, nil
}

// beside returns the text of a new environment: the first suffix and range that make it valid
// beside others.
func beside(envs []*Environment, name string) (string, error) {
	vpc := freeRange(envs)
	suffix := "-" + name
	const longest = 30 // of the format name-suffix
	suffix = suffix[:min(len(suffix), longest)]
	for n := 2; ; n++ {
		text := fmt.Sprintf(newFile, name, suffix, vpc)
		env, problems := parse(name+".yaml", []byte(text))
		if len(problems) > 0 {
			return "", problems
		}
		problems = conflicts(append(envs[:len(envs):len(envs)], env))
		if len(problems) == 0 {
			return text, nil
		}
		if n > len(envs)+2 {
			return "", problems // not to be fixed by a suffix
		}
		number := fmt.Sprintf("-%d", n)
		suffix = ("-" + name)[:min(len(name)+1, longest-len(number))] + number
	}
}

// freeRange returns the first /16 of 10.0.0.0/8 that no environment's VPC has, or the default
// where they have all.
func freeRange(envs []*Environment) string {
	for n := range 256 {
		candidate := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n)}), 16)
		taken := slices.ContainsFunc(envs, func(env *Environment) bool {
			vpc, err := netip.ParsePrefix(env.Network.VPCCIDR)
			return err == nil && vpc.Overlaps(candidate)
		})
		if !taken {
			return candidate.String()
		}
	}
	return base().Network.VPCCIDR
}
