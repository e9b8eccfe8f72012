// Package emulator runs an AWS emulator on this machine: moto's server, with
// the few answers added that moto leaves out (see server.py). It keeps all in
// memory: what is stopped is forgotten.
//
// It listens on 127.0.0.1 only, on a port that the system chooses.
package emulator

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/pyenv"
)

//go:embed server.py
var serverScript []byte

const (
	// Region is the default of the project's variable aws_region.
	Region = "us-east-1"
	// Account is the account of an emulator, moto's default.
	Account = "123456789012"
)

const (
	// startTimeout is generous: moto needs 1 s to 2 s, on a loaded machine and
	// for the first time (no byte code yet) up to 20 s.
	startTimeout = 90 * time.Second
	// stopGrace is how long SIGTERM has. moto exits at once unless a request
	// hangs.
	stopGrace = 3 * time.Second
)

// Options says how to start an emulator.
type Options struct {
	// Python is the environment with moto: pyenv.Ensure(ctx, pyenv.Moto, ...).
	// Required.
	Python pyenv.Env
	// Dir is the absolute path of the folder for its log (emulator.log) and its
	// script. Required; it is made if missing. Each emulator has one of its own.
	Dir string
	// Started is called with the process before it is ready. Default: no call.
	Started func(proc.Identity)
}

// Emulator is an AWS emulator that runs, or ran.
type Emulator struct {
	// Endpoint is its address, such as http://127.0.0.1:43210.
	Endpoint string `json:"endpoint"`
	// Process is the server's process.
	Process proc.Identity `json:"process"`
	// Log is the path of its log. It holds one line for each request that failed
	// and neither bodies nor secrets.
	Log string `json:"log"`
}

// Start starts an emulator and returns when it answers. If it does not start,
// or ctx ends first, nothing is left running and the error holds the last lines
// of its log.
func Start(ctx context.Context, opt Options) (*Emulator, error) {
	script := filepath.Join(opt.Dir, "server.py")
	portFile := filepath.Join(opt.Dir, "port")
	if err := errors.Join(os.MkdirAll(opt.Dir, 0o755), os.WriteFile(script, serverScript, 0o644)); err != nil {
		return nil, fmt.Errorf("start the AWS emulator: %w", err)
	}
	cmd := exec.Command(opt.Python.Python(), script, portFile)
	cmd.Dir = opt.Dir
	// moto is made with boto3, which fails where a profile of the user's is not found.
	cmd.Env = append(WithoutUserSettings(pyenv.Environ()),
		// AmazonECSTaskExecutionRolePolicy and the like exist only with this.
		"MOTO_IAM_LOAD_MANAGED_POLICIES=true",
		// moto's default. Without it, moto looks for the account of each request in the IAM of all
		// partitions, and makes that first.
		"MOTO_ACCOUNT_ID="+Account,
	)
	var err error
	e := &Emulator{Log: filepath.Join(opt.Dir, "emulator.log")}
	e.Process, err = proc.Launch(ctx, proc.Server{
		Name: "the AWS emulator", Cmd: cmd, Log: e.Log, Started: opt.Started, Timeout: startTimeout,
		Ready: func(ctx context.Context) bool {
			port, err := os.ReadFile(portFile)
			if err != nil {
				return false
			}
			e.Endpoint = "http://127.0.0.1:" + string(port)
			return e.Ready(ctx)
		},
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Ready reports whether the emulator answers now.
func (e *Emulator) Ready(ctx context.Context) bool { return poll.Answers(ctx, e.Endpoint+"/moto-api/") }

// Stop ends the emulator, if it still runs.
func (e *Emulator) Stop(ctx context.Context) error {
	if err := e.Process.Stop(ctx, syscall.SIGTERM, stopGrace); err != nil {
		return fmt.Errorf("stop the AWS emulator: %w", err)
	}
	return nil
}

// Env returns the variables that lead the AWS CLI, the SDKs and the Terraform provider to the
// emulator, with a region, in an environment without other settings of AWS. The keys are not secrets,
// the emulator accepts any. No value is empty: boto3 takes an empty AWS_PROFILE
// for the name of a profile and fails.
func (e *Emulator) Env(region string) []string {
	return []string{
		"AWS_ENDPOINT_URL=" + e.Endpoint,
		"AWS_ACCESS_KEY_ID=" + key,
		"AWS_SECRET_ACCESS_KEY=" + key,
		"AWS_REGION=" + region,
		"AWS_DEFAULT_REGION=" + region,
		"AWS_EC2_METADATA_DISABLED=true",
		// The files of the user's home name other endpoints and logins.
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
}

// key is the access key and its secret. The emulator accepts any.
const key = "test"

// Config returns the configuration of the SDK's clients for the emulator.
func (e *Emulator) Config(region string) aws.Config {
	return aws.Config{
		HTTPClient:   http.DefaultClient, // one for all: each client of the SDK would keep connections of its own
		Region:       region,
		BaseEndpoint: &e.Endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider(key, key, ""),
	}
}

// WithoutUserSettings returns the variables of environ without what the user has set for deployments to AWS: an account,
// values, and arguments of Terraform, which can name another state.
func WithoutUserSettings(environ []string) []string {
	return slices.DeleteFunc(environ, func(variable string) bool {
		return slices.ContainsFunc([]string{"AWS_", "TF_VAR_", "TF_CLI_ARGS", "TF_WORKSPACE=", "TF_DATA_DIR="}, func(prefix string) bool {
			return strings.HasPrefix(variable, prefix)
		})
	})
}
