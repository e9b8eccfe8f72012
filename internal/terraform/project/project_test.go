package project

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
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

func TestTerraformNeverPrompts(t *testing.T) {
	env := environ(t, project(t), "TF_INPUT=1", "CHECKPOINT_DISABLE=", "PATH=/bin")
	for name, want := range map[string]string{"CHECKPOINT_DISABLE": "1", "TF_INPUT": "0", "PATH": "/bin"} {
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
		config, err := os.ReadFile(lookup(env, "TF_CLI_CONFIG_FILE"))
		path := regexp.MustCompile(`path    = "(.*)"`).FindSubmatch(config)
		if path == nil {
			t.Fatalf("the configuration names no mirror: %v\n%s", err, config)
		}
		dir := string(path[1])
		if err != nil || strings.Count(string(config), `["registry.terraform.io/hashicorp/aws", "registry.opentofu.org/hashicorp/aws"]`) != 2 {
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
	for name, test := range map[string]struct {
		has, named, binary string // files of the home folder, and a program
		own                bool   // the project writes one of its own
	}{
		"named":                            {has: "own.rc", named: "own.rc"},
		"in the home folder":               {has: ".terraformrc"},
		"of OpenTofu":                      {has: ".tofurc", binary: "tofu"},
		"of OpenTofu, but not for another": {has: ".tofurc", own: true},
		"but not one that does not exist":  {named: "own.rc", own: true},
	} {
		t.Run(name, func(t *testing.T) {
			p, base, want := project(t), []string{MirrorVariable + "=" + dir}, ""
			t.Setenv("TERRAFORM_BINARY_NAME", test.binary)
			if test.has != "" {
				write(t, filepath.Join(os.Getenv("HOME"), test.has), "")
			}
			if test.named != "" {
				want = filepath.Join(os.Getenv("HOME"), test.named)
				base = append(base, "TF_CLI_CONFIG_FILE="+want)
			}
			if test.own {
				want = filepath.Join(p.Local(), "terraform.rc")
			}
			if got := lookup(environ(t, p, base...), "TF_CLI_CONFIG_FILE"); got != want {
				t.Errorf("TF_CLI_CONFIG_FILE = %q, want %q", got, want)
			}
		})
	}
}

func TestSynthAllMakesTheStacksReadyForTerraform(t *testing.T) {
	// GIVEN a lock for prod and none for dev, values in a file, and a link to a file that is gone
	p := project(t)
	write(t, p.LockFile("prod"), "# the lock\n")
	write(t, filepath.Join(p.Root, "terraform.tfvars"), "aws_region = \"eu-west-1\"\n")
	for _, name := range []string{"dev", "prod"} {
		write(t, StackFile(p.Out(), name), "{}")
	}
	if err := os.Symlink("../../../gone.auto.tfvars", filepath.Join(p.StackDir("dev"), "gone.auto.tfvars")); err != nil {
		t.Fatal(err)
	}
	// WHEN the stacks are synthesized
	if err := p.SynthAll(t.Context(), "true"); err != nil {
		t.Fatal(err)
	}
	// THEN Terraform finds lock and values in the stacks' folders
	if got, err := os.ReadFile(filepath.Join(p.StackDir("prod"), ".terraform.lock.hcl")); err != nil || string(got) != "# the lock\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(p.StackDir("dev"), ".terraform.lock.hcl")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dev has no lock: %v", err)
	}
	for _, name := range []string{"dev", "prod"} {
		if got, err := os.ReadFile(filepath.Join(p.StackDir(name), "terraform.tfvars")); err != nil || !strings.Contains(string(got), "eu-west-1") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(p.StackDir("dev"), "gone.auto.tfvars")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link to a file that is gone: %v", err)
	}
}

func TestSynthShowsTheProgramsOwnWords(t *testing.T) {
	p := project(t)
	program := filepath.Join(p.Root, "program")
	write(t, program, "#!/bin/sh\necho \"$WORD\" >&2\nexit 1\n")
	err := Synth(t.Context(), []string{"WORD=wrong"}, program, p.Root, p.Out())
	var synth *SynthError
	if !errors.As(err, &synth) || synth.Output != "wrong" {
		t.Errorf("got %v", err)
	}
}

func TestValuesInFiles(t *testing.T) {
	const key = "abcdefgh12345678" // of no known form
	// GIVEN a variable that two files and the environment set
	dir := t.TempDir()
	write(t, filepath.Join(dir, "terraform.tfvars"), "prefect_api_key = \""+key+"\"\nlist = [1]\n")
	write(t, filepath.Join(dir, "b.auto.tfvars"), "aws_region = \"eu-west-1\"\n")
	variables, err := ReadVariables(dir, []string{"TF_VAR_aws_region=us-east-1", "OTHER=x"})
	// THEN the file takes precedence, and what is a credential is known
	if err != nil {
		t.Fatal(err)
	}
	if value, from := variables.Lookup("aws_region"); value != "eu-west-1" || from != "b.auto.tfvars" {
		t.Errorf("%q from %q", value, from)
	}
	if got := variables.Credentials(); len(got) != 1 || got[0] != key {
		t.Errorf("%d credentials", len(got))
	}

	// WHEN a file is broken THEN the error names the place, and shows nothing of the line
	for content, want := range map[string]string{
		"prefect_api_key = \"" + key + "\n":             "terraform.tfvars, line 1: Invalid multi-line string. ",
		"\nprefect_api_key = \"" + key + "\" oops\n":    "terraform.tfvars, line 2: Missing newline after argument. ",
		"prefect_api_key = " + key + "\n":               "terraform.tfvars, line 1: Variables not allowed. ",
		"prefect_api_key = \"${" + key + "}\"\n":        "terraform.tfvars, line 1: Variables not allowed. ",
		"prefect_api_key = f(\"" + key + "\")\n":        "terraform.tfvars, line 1: Function calls not allowed. ",
		"block { prefect_api_key = \"" + key + "\" }\n": "terraform.tfvars, line 1: Unexpected \"block\" block. ",
	} {
		write(t, filepath.Join(dir, "terraform.tfvars"), content)
		_, err := ReadVariables(dir, nil)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), key[:8]) {
			t.Errorf("%q: got %v, want %s", content, err, want)
		}
	}
}

func TestTools(t *testing.T) {
	const (
		node      = "Needed: >=20.9.0. Get it: https://nodejs.org (24 is the one to take)"
		terraform = "Needed: >=1.11.0, <2.0.0. Get it: https://developer.hashicorp.com/terraform/install"
		tofu      = "Needed: >=1.11.0, <2.0.0. Get it: https://opentofu.org/docs/intro/install"
	)
	bin := t.TempDir()
	t.Setenv("PATH", bin+":/bin:/usr/bin")
	for _, test := range []struct{ binary, prints, want string }{
		{"node", "v22.1.0", ""},
		{"node", "v24.0.0", ""},
		{"node", "v18.20.0", "Node.js 18.20.0 is installed. " + node},
		{"node", "nonsense", `Node.js: its version cannot be read from "nonsense". Needed: >=20.9.0`},
		{"terraform", `{"terraform_version": "1.11.0", "platform": "linux_amd64"}`, ""},
		{"terraform", `{"terraform_version": "1.10.9"}`, "Terraform 1.10.9 is installed. " + terraform},
		{"tofu", `{"terraform_version": "1.11.0"}`, ""},
		{"tofu", `{"terraform_version": "1.10.9"}`, "OpenTofu 1.10.9 is installed. " + tofu},
	} {
		tool := NodeTool()
		if test.binary != "node" {
			t.Setenv("TERRAFORM_BINARY_NAME", test.binary)
			tool = TerraformTool()
		}
		write(t, filepath.Join(bin, test.binary), "#!/bin/sh\necho '"+test.prints+"'\n")
		if _, err := tool.Check(t.Context()); (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
			t.Errorf("%s %s: got %v, want %s", test.binary, test.prints, err, test.want)
		}
	}
	// WHEN they are not there
	t.Setenv("PATH", t.TempDir())
	t.Setenv("TERRAFORM_BINARY_NAME", filepath.Join(bin, "tofu-1.12"))
	for want, tool := range map[string]Tool{"Node.js is not installed; it runs CDKTF. " + node: NodeTool(), "OpenTofu is not installed; it deploys. " + tofu: TerraformTool()} {
		if err := tool.Installed(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestWhatIsMissingIsSaidTogether(t *testing.T) {
	for _, test := range []struct{ manager, terraform, want string }{
		{"apt-get", "terraform", "Debian, Ubuntu: sudo apt-get update && sudo apt-get install golang-go nodejs terraform"},
		{"dnf", "terraform", "Fedora: sudo dnf install golang nodejs terraform"},
		{"dnf", "tofu", "Fedora: sudo dnf install golang nodejs opentofu"},
		{"brew", "terraform", "Homebrew: brew install go node hashicorp/tap/terraform"},
		{"none", "terraform", "Get them: https://go.dev/dl, https://nodejs.org"},
	} {
		t.Run(test.manager+" "+test.terraform, func(t *testing.T) {
			// GIVEN a machine with nothing but a package manager
			bin := t.TempDir()
			for _, name := range []string{"sh", "sed", "cat", "basename"} {
				path, err := exec.LookPath(name)
				if err := errors.Join(err, os.Symlink(path, filepath.Join(bin, name))); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(bin, test.manager), "#!/bin/sh\n")
			t.Setenv("PATH", bin)
			t.Setenv("TERRAFORM_BINARY_NAME", test.terraform)
			// WHEN workerctl looks for the tools THEN all are in one error, with the command that installs them
			_, err := CheckTools(t.Context())
			for _, want := range []string{"Go is not installed", "Node.js is not installed", TerraformTool().Name + " is not installed", test.want} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
			// AND so they are where make cannot build workerctl
			script := func() (string, error) {
				out, err := exec.CommandContext(t.Context(), "sh", "-c", installScript).CombinedOutput()
				return string(out), err
			}
			if out, err := script(); err == nil || !strings.Contains(out, "too old: go node "+test.terraform+"\n") || !strings.Contains(out, test.want) {
				t.Errorf("%v, %s", err, out)
			}
			// AND those that are there are not among them, but for a Go that cannot fetch another
			write(t, filepath.Join(bin, "node"), "#!/bin/sh\n")
			write(t, filepath.Join(bin, test.terraform), "#!/bin/sh\n")
			write(t, filepath.Join(bin, "go"), "#!/bin/sh\necho go version go1.19.8 linux/amd64\n")
			if out, err := script(); err == nil || !strings.Contains(out, "too old: go\n") {
				t.Errorf("%v, %s", err, out)
			}
			write(t, filepath.Join(bin, "go"), "#!/bin/sh\necho go version go1.22.2 linux/amd64\n")
			if out, err := script(); err != nil || out != "" {
				t.Errorf("%v, %s", err, out)
			}
		})
	}
}
