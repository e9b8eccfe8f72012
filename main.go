// Command prefect-worker-ecs is the CDKTF app: it reads config/environments and writes
// one stack of Terraform JSON for each environment. The CDKTF CLI runs it for every
// synth, diff, deploy and destroy (see cdktf.json); run by itself it does a synth.
package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"

	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/faststart"
	"prefect-worker-ecs/stacks"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, redact.Text(err.Error()))
		os.Exit(1)
	}
}

func run() error {
	// First of all, because the modules have unpacked the jsii runtime already.
	defer faststart.Close()
	load := config.Load
	if emulated(os.Getenv("AWS_ENDPOINT_URL")) {
		load = config.LoadLocal
	}
	envs, err := load(config.Dir)
	if err != nil {
		return err
	}
	faststart.Enable()
	return synth(envs, nil)
}

// emulated says that the AWS provider will talk to an emulator on this machine, which the
// local run names in the variable that all of AWS's SDKs read.
func emulated(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

// synth writes the stacks of all environments. CDKTF reports errors as panics; a person
// who runs the program must not be shown a stack trace for them.
func synth(envs []*config.Environment, options *cdktf.AppConfig) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("CDKTF could not build the stacks: %v", r)
		}
	}()
	app := cdktf.NewApp(options)
	for _, env := range envs {
		stacks.NewPrefectWorker(app, env)
	}
	app.Synth()
	for _, env := range envs {
		for name, content := range stacks.Files(env) {
			if err := os.WriteFile(filepath.Join(*app.Outdir(), "stacks", env.Name, name), content, 0o644); err != nil {
				return fmt.Errorf("write what belongs to the stack: %w", err)
			}
		}
	}
	return nil
}
