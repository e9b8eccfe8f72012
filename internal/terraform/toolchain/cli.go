package toolchain

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"prefect-worker-ecs/internal/base/atomicfile"
	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/base/terminal"
)

// The CLI and all it depends on, each with a checksum. package.json puts another package in
// the place of the CLI's node-pty, with the same functions: the CLI's own has no build for
// Node 23 and later and none for a Mac with an Intel processor, and is 160 MB larger.
var (
	//go:embed cli/package.json
	cliPackage []byte
	//go:embed cli/package-lock.json
	cliLock []byte
)

//go:embed preload.js
var preloadScript []byte

// EnsureCLI installs the pinned CDKTF CLI into the project's .local folder, if it is not
// there. It takes about half a minute and 260 MB the first time. progress, which may be
// nil, is told before that.
func (p Project) EnsureCLI(ctx context.Context, progress func(string)) error {
	dir := p.cliDir()
	if p.haveCLI() {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("install the CDKTF CLI: %w", err)
	}
	lock := flock.New(dir + ".lock")
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return fmt.Errorf("install the CDKTF CLI: wait for another program that does it: %w", err)
	}
	defer lock.Unlock()
	if p.haveCLI() {
		return nil // installed by the other program
	}
	if progress != nil {
		progress("installing the CDKTF CLI (about 260 MB, once)")
	}

	// Installed beside and then renamed, so that an interrupted one is never taken for whole.
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("install the CDKTF CLI: %w", err)
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return fmt.Errorf("install the CDKTF CLI: %w", err)
	}
	for name, content := range map[string][]byte{"package.json": cliPackage, "package-lock.json": cliLock} {
		if err := os.WriteFile(filepath.Join(partial, name), content, 0o644); err != nil {
			return fmt.Errorf("install the CDKTF CLI: %w", err)
		}
	}
	// Its packages hold what they need; their install scripts only look for compilers.
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = partial
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("install the CDKTF CLI: npm ci: %w\n%s\nIf the npm registry cannot be reached from here, run make setup once where it can: npm keeps the packages in its cache",
			err, indent(lastLines(output.String(), 15)))
	}
	if err := os.Rename(partial, dir); err != nil {
		return fmt.Errorf("install the CDKTF CLI: %w", err)
	}
	return nil
}

// cliDir is the folder of the CLI. Its name changes with the lock file, so that another
// pinned release is another folder.
func (p Project) cliDir() string {
	sum := sha256.Sum256(append(append([]byte(nil), cliPackage...), cliLock...))
	return filepath.Join(p.Local(), "cdktf-cli-"+hex.EncodeToString(sum[:4]))
}

func (p Project) cliBinary() string {
	return filepath.Join(p.cliDir(), "node_modules", ".bin", "cdktf")
}

func (p Project) haveCLI() bool {
	_, err := os.Stat(p.cliBinary())
	return err == nil
}

// Run is one call of the CDKTF CLI.
type Run struct {
	// Dir is the folder with cdktf.json. Default: the project's.
	Dir string
	// App is the built program, which then writes the stacks before the CLI starts. Default:
	// the CLI runs the one that cdktf.json names.
	App string
	// Args are the CLI's arguments, such as deploy dev.
	Args []string
	// Base is the environment that Env is added to. Default: that of this process.
	Base []string
	// Env are further variables, such as TF_VAR_prefect_api_key=..., over those of Base.
	Env []string
	// Stdin, Stdout and Stderr are the CLI's. Without a Stdin it cannot ask anything.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// TrustProvider does after init what the function of that name does.
	TrustProvider bool
	// Started, if set, is told of the CLI's process, which then has a process group of its
	// own: a Ctrl-C in the terminal reaches it only through ctx, and it cannot read from
	// the terminal.
	Started func(proc.Identity)
}

// CDKTF runs the CLI, which must have been installed by EnsureCLI. When ctx ends it gets
// the signal that Ctrl-C sends: Terraform then finishes the request that it is at, saves
// the state and ends. The error is a *CLIError if the CLI ran and failed.
func (p Project) CDKTF(ctx context.Context, run Run) error {
	if run.Dir == "" {
		run.Dir = p.Root
	}
	if err := refuseKeyArgument(run.Args); err != nil {
		return err
	}
	if err := p.PlaceInputs(run.Dir); err != nil {
		return err
	}
	if run.Base == nil {
		run.Base = os.Environ()
	}
	env, err := p.Environ(append(slices.Clone(run.Base), run.Env...))
	if err != nil {
		return err
	}
	terraform, err := p.watchTerraform()
	if err != nil {
		return err
	}
	defer terraform.close()

	args, environ := run.Args, terraform.environ(env)
	if run.TrustProvider {
		environ = append(environ, "WORKERCTL_TERRAFORM_TRUSTS=1")
	}
	prepared := func() error { return nil }
	if run.App != "" && slices.Contains([]string{"diff", "deploy", "destroy"}, args[0]) {
		args = append([]string{args[0], "--skip-synth"}, args[1:]...)
		environ = append(environ, "WORKERCTL_TERRAFORM_WAITS=1")
		whole := ctx
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		defer end()
		// While the CLI starts, which takes as long. Its first question is for Terraform's
		// version, and that is answered when all is prepared.
		result := make(chan error, 1)
		go func() {
			err := p.prepare(whole, run, env, terraform)
			if err != nil {
				end()
			}
			result <- err
		}()
		prepared = func() error { return <-result }
	}
	if !terminal.Is(run.Stdout) {
		args = withoutColor(args)
	}
	environ, err = p.withPreload(environ)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, p.cliBinary(), args...)
	cmd.Dir, cmd.Env = run.Dir, environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = run.Stdin, run.Stdout, run.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Minute // AWS may be slow to answer the request in progress
	err = run.run(cmd)
	if notReady := prepared(); notReady != nil {
		return notReady
	}
	if run.Stderr == nil {
		run.Stderr = io.Discard
	}
	if waitErr := terraform.wait(run.Stderr); err == nil {
		err = waitErr
	}
	if initErr := terraform.rememberInits(); err == nil {
		err = initErr
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return &CLIError{Args: run.Args, Status: exit.ExitCode()}
		}
		return fmt.Errorf("cdktf %s: %w", strings.Join(run.Args, " "), err)
	}
	return nil
}

// CLIError says that the CDKTF CLI ended with a status other than 0. The CLI, or Terraform,
// has said why.
type CLIError struct {
	// Args are the arguments that the CLI was called with.
	Args []string
	// Status is its exit status.
	Status int
}

func (e *CLIError) Error() string {
	return fmt.Sprintf("cdktf %s ended with status %d", strings.Join(e.Args, " "), e.Status)
}

func (r Run) run(cmd *exec.Cmd) error {
	if r.Started == nil {
		return cmd.Run()
	}
	id, err := proc.Start(cmd, false)
	if err != nil {
		return err
	}
	r.Started(id)
	return cmd.Wait()
}

// withPreload returns env with what lets the CLI start quickly, see preload.js.
func (p Project) withPreload(env []string) ([]string, error) {
	preload := filepath.Join(p.Local(), "bin", "preload.js")
	if err := atomicfile.Keep(preload, preloadScript, 0o644); err != nil {
		return nil, fmt.Errorf("start the CDKTF CLI: %w", err)
	}
	own := lookup(env, "NODE_OPTIONS")
	return append(slices.Clone(env),
		"WORKERCTL_COMPILE_CACHE="+filepath.Join(p.Local(), "compiled"),
		"WORKERCTL_NODE_OPTIONS="+own,
		// Quoted as Node reads it; the path may hold blanks.
		strings.TrimSpace(fmt.Sprintf("NODE_OPTIONS=%s --require %q", own, preload))), nil
}

// prepare does before the CLI starts what it would do more slowly: the synth, and finding out
// Terraform's version and which stacks need an init.
func (p Project) prepare(ctx context.Context, run Run, env []string, t *terraform) error {
	together, ctx := errgroup.WithContext(ctx)
	out := filepath.Join(run.Dir, "cdktf.out")
	together.Go(func() error {
		if err := p.SynthInto(ctx, env, run.App, run.Dir, out); err != nil {
			return err
		}
		if err := p.PlaceInputs(run.Dir); err != nil {
			return err
		}
		stacks, err := filepath.Glob(StackFile(out, "*"))
		if err != nil {
			return err
		}
		var initialized strings.Builder
		for _, stack := range stacks {
			if dir := filepath.Dir(stack); isInitialized(dir) {
				fmt.Fprintln(&initialized, dir)
			}
		}
		return os.WriteFile(filepath.Join(t.dir, "initialized"), []byte(initialized.String()), 0o600)
	})
	versions := map[string][]byte{}
	together.Go(func() error {
		for file, args := range map[string][]string{"version.json": {"version", "-json"}, "version": {"-v"}} {
			cmd := exec.CommandContext(ctx, TerraformBinary(), args...)
			cmd.Dir, cmd.Env = run.Dir, env
			text, err := cmd.Output()
			if err != nil {
				return nil // the CLI asks itself then, and says what is wrong
			}
			versions[file] = text
		}
		return nil
	})
	if err := together.Wait(); err != nil {
		return err
	}
	for file, text := range versions {
		if err := os.WriteFile(filepath.Join(t.dir, file), text, 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(t.dir, "prepared"), nil, 0o600)
}

// withoutColor keeps escape sequences out of files and CI logs, for the commands that
// know the flag.
func withoutColor(args []string) []string {
	if len(args) > 0 && slices.Contains([]string{"diff", "deploy", "destroy", "output"}, args[0]) {
		return append([]string{args[0], "--no-color"}, args[1:]...)
	}
	return args
}

// refuseKeyArgument keeps the API key out of the list of processes, which every user of
// the machine can read.
func refuseKeyArgument(args []string) error {
	for _, arg := range args {
		if strings.Contains(arg, "prefect_api_key=") {
			return errors.New("the API key must not be given with --var: every user of this machine can read a program's arguments. Use the environment variable TF_VAR_prefect_api_key")
		}
	}
	return nil
}

// PlaceInputs puts what Terraform looks for in a stack's own folder below dir: the provider
// lock of the repository, and links to the project's files of values. So plain Terraform
// finds there what the CDKTF CLI gives it, and a credential is in one file only.
func (p Project) PlaceInputs(dir string) error {
	const doing = "put Terraform's files in place: %w"
	locks, err := filepath.Glob(p.LockFile("*"))
	if err != nil {
		return err
	}
	for _, lock := range locks {
		environment := strings.TrimSuffix(filepath.Base(lock), ".terraform.lock.hcl")
		content, err := os.ReadFile(lock)
		if err != nil {
			return fmt.Errorf(doing, err)
		}
		if err := atomicfile.Keep(filepath.Join(dir, "cdktf.out", "stacks", environment, ".terraform.lock.hcl"), content, 0o644); err != nil {
			return fmt.Errorf(doing, err)
		}
	}
	stacks, err := filepath.Glob(StackFile(filepath.Join(dir, "cdktf.out"), "*"))
	if err != nil {
		return err
	}
	for _, stack := range stacks {
		if err := linkValues(dir, filepath.Dir(stack)); err != nil {
			return fmt.Errorf(doing, err)
		}
	}
	return nil
}

// linkValues makes the links in a stack's folder to the files of values in dir, and takes
// away those whose file is gone.
func linkValues(dir, stack string) error {
	for _, pattern := range valueFiles {
		there, _ := filepath.Glob(filepath.Join(stack, pattern)) // the patterns are valid
		for _, file := range there {
			if target, err := os.Readlink(file); err == nil && strings.HasPrefix(target, "..") {
				if err := os.Remove(file); err != nil {
					return err
				}
			}
		}
		given, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, file := range given {
			target, err := filepath.Rel(stack, file)
			if err != nil {
				return err
			}
			if err := os.Symlink(target, filepath.Join(stack, filepath.Base(file))); err != nil {
				return err
			}
		}
	}
	return nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }
