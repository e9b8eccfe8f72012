package ecstask

import (
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// systemPath is the PATH of Prefect's images (that of Debian).
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environ puts a container's environment together. Later wins: what the image
// sets, what the platform sets, the definition, its secrets, and what must
// differ on this machine. Nothing comes from the caller's environment.
func environ(image, platform []string, c types.ContainerDefinition, secrets map[string]string, local []string) []string {
	env := append(append([]string{}, image...), platform...)
	for _, kv := range c.Environment {
		env = append(env, aws.ToString(kv.Name)+"="+aws.ToString(kv.Value))
	}
	for name, value := range secrets {
		env = append(env, name+"="+value)
	}
	return append(env, local...)
}

// lookup returns the value of a variable in an environment, or "".
func lookup(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// lookPath finds a program on the PATH of an environment, as a container would.
// exec.LookPath searches that of this program. What is not found is returned as
// it is, and starting it then says so.
func lookPath(program string, env []string) string {
	if strings.ContainsRune(program, '/') {
		return program
	}
	for _, dir := range filepath.SplitList(lookup(env, "PATH")) {
		if file, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return file
		}
	}
	return program
}
