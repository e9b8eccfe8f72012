package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// project is an empty one, with a home folder of its own so that nothing of the user's
// counts.
func project(t *testing.T) Project {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	return Project{Root: t.TempDir()}
}

// mirror makes a filesystem mirror that holds the AWS provider for this system.
func mirror(t *testing.T, dir string) string {
	t.Helper()
	return mirrorOf(t, registries[0], dir)
}

func mirrorOf(t *testing.T, registry, dir string) string {
	t.Helper()
	write(t, filepath.Join(dir, registry, "hashicorp", "aws", "5.100.0", runtime.GOOS+"_"+runtime.GOARCH, "terraform-provider-aws"), registry)
	return dir
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

func environ(t *testing.T, p Project, base ...string) []string {
	t.Helper()
	env, err := p.Environ(base)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestFind(t *testing.T) {
	found, err := Find(".")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(found.Root, "cdktf.json")); err != nil {
		t.Errorf("%s is not the project's folder: %v", found.Root, err)
	}
	if _, err := Find(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not in a checkout of this project") {
		t.Errorf("another folder: %v", err)
	}
}

func TestTheCLIsTrapsAreSwitchedOff(t *testing.T) {
	env := environ(t, project(t), "TF_INPUT=1", "CHECKPOINT_DISABLE=", "PATH=/bin")
	for name, want := range map[string]string{
		"CHECKPOINT_DISABLE": "1", "TF_INPUT": "0", "CDKTF_DISABLE_PLUGIN_CACHE_ENV": "1", "DISABLE_VERSION_CHECK": "1", "PATH": "/bin",
	} {
		if got := lookup(env, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestTheMirrorIsUsed(t *testing.T) {
	// linked is the mirror for both, which is made of the one that is found.
	linked := func(t *testing.T, p Project, base ...string) string {
		t.Helper()
		env := environ(t, p, base...)
		dir, ok := strings.CutPrefix(lookup(env, "TF_CLI_ARGS_providers_lock"), "-fs-mirror=")
		if !ok {
			t.Fatal("the lock command asks the registry")
		}
		config, err := os.ReadFile(lookup(env, "TF_CLI_CONFIG_FILE"))
		if err != nil || !strings.Contains(string(config), dir) || strings.Count(string(config), `["registry.terraform.io/hashicorp/aws", "registry.opentofu.org/hashicorp/aws"]`) != 2 {
			t.Errorf("the configuration does not name the mirror: %v\n%s", err, config)
		}
		if lookup(env, "TF_PLUGIN_CACHE_DIR") != "" {
			t.Error("a provider in a mirror needs no cache")
		}
		return dir
	}
	// holds checks from whose folder a registry has its provider there.
	holds := func(t *testing.T, dir, registry, want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(dir, registry, "hashicorp", "aws", "5.100.0", runtime.GOOS+"_"+runtime.GOARCH, "terraform-provider-aws"))
		if err != nil || string(got) != want {
			t.Errorf("%s has the provider of %q, want %s: %v", registry, got, want, err)
		}
	}
	terraform, opentofu := registries[0], registries[1]
	t.Run("named by the variable, for Terraform and OpenTofu, twice", func(t *testing.T) {
		p, dir := project(t), mirror(t, t.TempDir())
		for range 2 {
			got := linked(t, p, MirrorVariable+"="+dir)
			holds(t, got, terraform, terraform)
			holds(t, got, opentofu, terraform)
		}
	})
	t.Run("of OpenTofu", func(t *testing.T) {
		got := linked(t, project(t), MirrorVariable+"="+mirrorOf(t, opentofu, t.TempDir()))
		holds(t, got, terraform, opentofu)
		holds(t, got, opentofu, opentofu)
	})
	t.Run("of both", func(t *testing.T) {
		got := linked(t, project(t), MirrorVariable+"="+mirrorOf(t, opentofu, mirror(t, t.TempDir())))
		holds(t, got, terraform, terraform)
		holds(t, got, opentofu, opentofu)
	})
	t.Run("in one of Terraform's implied folders", func(t *testing.T) {
		p := project(t)
		mirror(t, filepath.Join(os.Getenv("HOME"), ".terraform.d", "plugins"))
		holds(t, linked(t, p), terraform, terraform)
	})
	t.Run("as an archive", func(t *testing.T) {
		dir := t.TempDir()
		archive := filepath.Join("hashicorp", "aws", "terraform-provider-aws_5.100.0_"+runtime.GOOS+"_"+runtime.GOARCH+".zip")
		write(t, filepath.Join(dir, terraform, archive), "")
		if _, err := os.Stat(filepath.Join(linked(t, project(t), MirrorVariable+"="+dir), opentofu, archive)); err != nil {
			t.Error(err)
		}
	})
	t.Run("not of another system", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, terraform, "hashicorp", "aws", "5.100.0", "plan9_mips", "terraform-provider-aws"), "")
		_, err := project(t).Environ([]string{MirrorVariable + "=" + dir})
		if err == nil || !strings.Contains(err.Error(), "there is no registry.terraform.io/hashicorp/aws with a release for "+runtime.GOOS+"_"+runtime.GOARCH) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheUsersTerraformConfigurationStands(t *testing.T) {
	dir := mirror(t, t.TempDir())
	t.Run("named", func(t *testing.T) {
		p, own := project(t), filepath.Join(t.TempDir(), "own.rc")
		write(t, own, "")
		if got := lookup(environ(t, p, MirrorVariable+"="+dir, "TF_CLI_CONFIG_FILE="+own), "TF_CLI_CONFIG_FILE"); got != own {
			t.Errorf("TF_CLI_CONFIG_FILE = %s", got)
		}
	})
	t.Run("in the home folder", func(t *testing.T) {
		p := project(t)
		write(t, filepath.Join(os.Getenv("HOME"), ".terraformrc"), "")
		if got := lookup(environ(t, p, MirrorVariable+"="+dir), "TF_CLI_CONFIG_FILE"); got != "" {
			t.Errorf("TF_CLI_CONFIG_FILE = %s", got)
		}
	})
	t.Run("of OpenTofu", func(t *testing.T) {
		p := project(t)
		write(t, filepath.Join(os.Getenv("HOME"), ".tofurc"), "")
		for binary, want := range map[string]string{"tofu": "", "terraform": filepath.Join(p.Local(), "terraform.rc")} {
			t.Setenv("TERRAFORM_BINARY_NAME", binary)
			if got := lookup(environ(t, p, MirrorVariable+"="+dir), "TF_CLI_CONFIG_FILE"); got != want {
				t.Errorf("%s: TF_CLI_CONFIG_FILE = %q, want %q", binary, got, want)
			}
		}
	})
	t.Run("but not one that does not exist", func(t *testing.T) {
		p := project(t)
		got := lookup(environ(t, p, MirrorVariable+"="+dir, "TF_CLI_CONFIG_FILE=/nowhere/.terraformrc"), "TF_CLI_CONFIG_FILE")
		if got != filepath.Join(p.Local(), "terraform.rc") {
			t.Errorf("TF_CLI_CONFIG_FILE = %s", got)
		}
	})
}

func TestALockInTheRepositoryIsPutInPlace(t *testing.T) {
	// GIVEN a lock for prod, and none for dev
	p := project(t)
	write(t, p.LockFile("prod"), "# the lock\n")
	// WHEN the CLI is about to run
	if err := p.PlaceInputs(p.Root); err != nil {
		t.Fatal(err)
	}
	// THEN Terraform finds it
	stacks := filepath.Join(p.Root, "cdktf.out", "stacks")
	got, err := os.ReadFile(filepath.Join(stacks, "prod", ".terraform.lock.hcl"))
	if err != nil || string(got) != "# the lock\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(stacks, "dev")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dev has no lock: %v", err)
	}
}

func TestLockNeedsASynthesizedStack(t *testing.T) {
	_, err := project(t).Lock(t.Context(), "dev", new(bytes.Buffer))
	if want := "write the provider lock of dev: cdktf.out holds no stack of that name; run make synth first"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestTheKeyIsNoArgument(t *testing.T) {
	err := project(t).CDKTF(t.Context(), Run{Args: []string{"deploy", "dev", "--var", "prefect_api_key=pnu_secret"}})
	if err == nil || !strings.Contains(err.Error(), "must not be given with --var") || strings.Contains(err.Error(), "pnu_secret") {
		t.Errorf("got %v", err)
	}
	if err := refuseKeyArgument([]string{"deploy", "dev", "--var", "aws_region=eu-west-1"}); err != nil {
		t.Errorf("another variable: %v", err)
	}
}

// fakeCLI puts a shell script in the place of the CLI.
func fakeCLI(t *testing.T, p Project, script string) {
	t.Helper()
	write(t, p.cliBinary(), "#!/bin/sh\n"+script)
}

func TestErrorsOfTerraformAreShown(t *testing.T) {
	// GIVEN a CLI that runs Terraform and loses what it says
	p := project(t)
	bin := t.TempDir()
	write(t, filepath.Join(bin, "terraform"), "#!/bin/sh\necho planned\necho 'Error: it failed' >&2\nexit 1\n")
	fakeCLI(t, p, `"$TERRAFORM_BINARY_NAME" apply >/dev/null; exit $?`)
	// WHEN it fails
	var out, errOut bytes.Buffer
	err := p.CDKTF(t.Context(), Run{Args: []string{"deploy"}, Env: []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, Stdout: &out, Stderr: &errOut})
	// THEN the error is shown all the same, and the status is known
	var cli *CLIError
	if !errors.As(err, &cli) || cli.Status != 1 {
		t.Errorf("got %v", err)
	}
	if errOut.String() != "Error: it failed\n" {
		t.Errorf("stderr is %q", errOut.String())
	}
}

// stateVariable turns the test binary into a Terraform that needs a moment to save its
// state, the file that the variable names, when it is interrupted.
const stateVariable = "TOOLCHAIN_TEST_STATE"

func TestMain(m *testing.M) {
	if file := os.Getenv(stateVariable); file != "" {
		slowTerraform(file)
		return
	}
	os.Exit(m.Run())
}

func slowTerraform(file string) {
	interrupts := make(chan os.Signal, 9)
	signal.Notify(interrupts, os.Interrupt)
	note := func(what string) {
		state, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		defer state.Close()
		fmt.Fprintln(state, what)
	}
	note("begun")
	ended := time.After(time.Minute) // whatever goes wrong
	for {
		select {
		case <-interrupts:
			note("interrupted")
			ended = time.After(300 * time.Millisecond)
		case <-ended:
			note("saved")
			return
		}
	}
}

func TestTerraformEndsInOrderAfterTheCLI(t *testing.T) {
	// GIVEN a CLI that does not wait for Terraform, also if these tests are run below nohup or in
	// the background of a shell: a script cannot trap a signal that is ignored when it starts
	taken := make(chan os.Signal, 1)
	signal.Notify(taken, os.Interrupt, syscall.SIGHUP)
	defer signal.Stop(taken)
	p := project(t)
	for name, interrupt := range map[string]string{
		"a CLI that hangs up":                      `kill -HUP -- -$!`,
		"a CLI that passes Ctrl-C on and hangs up": `kill -INT -- -$group; sleep 0.1; kill -HUP -- -$!`,
	} {
		t.Run(name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			// A process group of their own gets signals as from a terminal.
			write(t, p.cliBinary(), `#!/usr/bin/env bash
export `+stateVariable+`="$STATE"
set -m
trap '`+interrupt+`; exit 1' INT # first: the interrupt comes as soon as Terraform has begun
"$TERRAFORM_BINARY_NAME" apply &
while :; do sleep 0.05; done
`)

			// WHEN the user interrupts it
			ctx, interrupt := context.WithCancel(t.Context())
			go func() {
				defer interrupt()
				for begun := []byte(nil); len(begun) == 0 && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
					begun, _ = os.ReadFile(state)
				}
			}()
			err := p.CDKTF(ctx, Run{Args: []string{"deploy"}, Env: []string{"TERRAFORM_BINARY_NAME=" + os.Args[0], "STATE=" + state}})

			// THEN Terraform was interrupted once, and has saved its state when that is said
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			got, _ := os.ReadFile(state)
			if want := "begun\ninterrupted\nsaved\n"; string(got) != want {
				t.Errorf("Terraform wrote %q, want %q", got, want)
			}
		})
	}
}

func TestNoColorInAFile(t *testing.T) {
	p := project(t)
	fakeCLI(t, p, `echo "$@"`)
	for _, test := range []struct{ args, want string }{
		{"deploy dev --auto-approve", "deploy --no-color dev --auto-approve\n"},
		{"synth", "synth\n"}, // it does not know the flag
	} {
		var out bytes.Buffer
		if err := p.CDKTF(t.Context(), Run{Args: strings.Fields(test.args), Stdout: &out}); err != nil {
			t.Fatal(err)
		}
		if out.String() != test.want {
			t.Errorf("%s: the CLI got %q", test.args, out.String())
		}
	}
}

func TestTools(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+":/bin:/usr/bin")
	node := Tools()[1]
	for _, test := range []struct{ prints, want string }{
		{"v22.1.0", ""},
		{"v24.0.0", ""},
		{"v18.20.0", "Node.js 18.20.0 is here. Needed: >=20.9.0. Get it: https://nodejs.org (24 is the one to take)"},
		{"nonsense", `Node.js: its version cannot be read from "nonsense". Needed: >=20.9.0`},
	} {
		write(t, filepath.Join(bin, "node"), "#!/bin/sh\necho "+test.prints+"\n")
		_, err := node.Check(t.Context())
		if (err == nil) != (test.want == "") || (err != nil && err.Error() != test.want) {
			t.Errorf("%s: got %v, want %s", test.prints, err, test.want)
		}
	}
	t.Setenv("PATH", t.TempDir())
	_, err := node.Check(t.Context())
	if want := "Node.js is not installed; it runs CDKTF. Needed: >=20.9.0. Get it: https://nodejs.org (24 is the one to take)"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAnotherTerraform(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+":/bin:/usr/bin")
	for _, test := range []struct{ binary, version, want string }{
		{"terraform", "1.11.0", ""},
		{"terraform", "1.10.9", "Terraform 1.10.9 is here. Needed: >=1.11.0, <2.0.0. Get it: https://developer.hashicorp.com/terraform/install"},
		{"tofu", "1.11.0", ""},
		{"tofu", "1.10.9", "OpenTofu 1.10.9 is here. Needed: >=1.11.0, <2.0.0. Get it: https://opentofu.org/docs/intro/install"},
	} {
		t.Setenv("TERRAFORM_BINARY_NAME", test.binary)
		write(t, filepath.Join(bin, test.binary), "#!/bin/sh\necho '{\"terraform_version\": \""+test.version+"\"}'\n")
		if _, err := TerraformTool().Check(t.Context()); (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
			t.Errorf("%s %s: got %v, want %s", test.binary, test.version, err, test.want)
		}
	}
	t.Setenv("TERRAFORM_BINARY_NAME", filepath.Join(bin, "tofu-1.12"))
	if err, want := TerraformTool().Installed(), "OpenTofu is not installed; it deploys. Needed: >=1.11.0, <2.0.0. Get it: https://opentofu.org/docs/intro/install"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWorkspace(t *testing.T) {
	p, err := Find(".")
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.NewWorkspace(t.Context(), filepath.Join(t.TempDir(), "a b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteEnvironment("dev", []byte("region: eu-west-1\n")); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(w.Dir, "cdktf.json"))
	if err != nil || !strings.Contains(string(config), `"app": "'`+p.Local()) {
		t.Errorf("%v\n%s", err, config)
	}
	if got := shellQuote("it's"); got != `'it'\''s'` {
		t.Errorf("shellQuote = %s", got)
	}
}

func TestThePreloadHasAllThatTheCLITakesOfTheConverter(t *testing.T) {
	p, err := Find(".")
	if err != nil {
		t.Fatal(err)
	}
	if !p.haveCLI() {
		t.Skip("the CLI is not installed")
	}
	// GIVEN the code of the CLI
	bundle, err := os.ReadFile(filepath.Join(p.cliDir(), "node_modules", "cdktf-cli", "bundle", "bin", "cmds", "handlers.js"))
	if err != nil {
		t.Fatal(err)
	}
	// THEN what it takes of the converter is in the list
	taken := 0
	for _, variable := range regexp.MustCompile(`(\w+)=(?:\w+\()?require\("@cdktf/hcl2cdk"\)`).FindAllSubmatch(bundle, -1) {
		for _, name := range regexp.MustCompile(`\b`+string(variable[1])+`\.(\w+)`).FindAllSubmatch(bundle, -1) {
			taken++
			if !bytes.Contains(preloadScript, []byte(`"`+string(name[1])+`"`)) {
				t.Errorf("preload.js lacks %s", name[1])
			}
		}
	}
	if taken == 0 {
		t.Error("the CLI takes nothing of the converter: preload.js need not keep it back")
	}
}
