// Package terraform runs Terraform, or OpenTofu, in the folders of synthesized stacks.
package terraform

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"prefect-worker-ecs/internal/base/atomicfile"
	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/terraform/project"
)

// Stack is a synthesized stack, in whose folder Terraform runs.
type Stack struct {
	// Dir is the folder with cdk.tf.json.
	Dir string
	// Environ are the environment variables of Terraform, see project.Environ.
	Environ []string
	// Secrets are values that Terraform's messages must not show. It quotes the line of a file
	// that it cannot read.
	Secrets []string
	// TrustProvider removes the provider's checksums from the lock after init, which has compared
	// them: each command would do so again, which takes 0.6 s for the 700 MB of the AWS provider.
	// For folders that last no longer than a test or a local run.
	TrustProvider bool
	// Started, if set, is called with each process of Terraform, so that one that outlives this
	// program can be found.
	Started func(proc.Identity)
}

// Open returns the stack of an environment of the project, for the variables of this process and
// further ones, such as TF_VAR_aws_region=eu-west-1. It need not have been synthesized yet.
func Open(p project.Project, environment string, further ...string) (Stack, error) {
	environ, err := p.Environ(append(os.Environ(), further...))
	if err != nil {
		return Stack{}, err
	}
	return Stack{Dir: p.StackDir(environment), Environ: environ}, nil
}

const (
	// noticeAfter is how long an interrupted Terraform may take to end before a message says so.
	noticeAfter = time.Second
	// gracePeriod is how long it may take to finish the requests in flight and save the state.
	gracePeriod = 2 * time.Minute
)

// Run runs a Terraform command and shows its output, without the secrets. Its input is empty. When
// ctx ends, Terraform gets the signal of Ctrl-C once: it then finishes the requests in flight, saves
// the state and ends. It has a process group of its own, because a terminal's Ctrl-C would be a
// second signal, at which Terraform ends at once. The error is an *Error if Terraform ran and failed.
func (s Stack) Run(ctx context.Context, stdout, stderr io.Writer, args ...string) error {
	shown, messages := redact.NewWriter(stdout, s.known), redact.NewWriter(stderr, s.message)
	err := s.run(ctx, shown, messages, messages, args)
	return errors.Join(err, shown.Flush(), messages.Flush())
}

// Output runs a Terraform command and returns its standard output. An *Error holds the end of all
// output.
func (s Stack) Output(ctx context.Context, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	err := s.run(ctx, &stdout, &stderr, io.Discard, args)
	if failed, ok := errors.AsType[*Error](err); ok {
		failed.Output = s.message(proc.LastLines(stdout.String()+stderr.String(), 40))
	}
	return stdout.Bytes(), err
}

// known returns output without the secrets. What else looks like a credential stays: a plan names many
// attributes so, such as the secrets of a container.
func (s Stack) known(text string) string { return redact.Known(text, s.Secrets...) }

// message returns an error message without the secrets and all else that looks like a credential.
func (s Stack) message(text string) string { return redact.Text(s.known(text)) }

// run runs Terraform. notice gets a line if an interrupted Terraform takes a while.
func (s Stack) run(ctx context.Context, stdout, stderr, notice io.Writer, args []string) error {
	cmd := exec.CommandContext(ctx, project.TerraformBinary(), args...)
	cmd.Dir, cmd.Env = s.Dir, append(s.Environ, "TF_IN_AUTOMATION=1")
	var messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, io.MultiWriter(stderr, &messages)
	cmd.WaitDelay = gracePeriod
	ended, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	cmd.Cancel = func() error {
		timer := time.AfterFunc(noticeAfter, func() {
			fmt.Fprintln(notice, "Terraform is finishing what it has begun and saves the state; please wait")
		})
		context.AfterFunc(ended, func() { timer.Stop() })
		return cmd.Process.Signal(os.Interrupt)
	}
	id, err := proc.Start(cmd, false)
	if err != nil {
		return err
	}
	if s.Started != nil {
		s.Started(id)
	}
	err = cmd.Wait()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return &Error{Command: args[0], cause: err, Fix: s.unlock(messages.String())}
}

// Error says that Terraform ended with a status other than 0.
type Error struct {
	// Command is the one that failed, such as plan.
	Command string
	// Output is the end of what Terraform printed, if the caller has not shown it.
	Output string
	// Fix says what to do, where Terraform's own message does not.
	Fix   string
	cause error
}

// lockID is the id in Terraform's message about the lock of a state.
var lockID = regexp.MustCompile(`(?s)Error acquiring the state lock.*?\bID:\s+(\S+)`)

// unlock returns the fix for messages about a state lock, or nothing.
func (s Stack) unlock(messages string) string {
	m := lockID.FindStringSubmatch(messages)
	if m == nil {
		return ""
	}
	return fmt.Sprintf("another deployment is running, or a Terraform process was killed and left the lock; wait, or, if none is running, remove it: cd %s && %s force-unlock %s",
		s.Dir, filepath.Base(project.TerraformBinary()), m[1])
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: %v", filepath.Base(project.TerraformBinary()), e.Command, e.cause)
	if e.Output != "" {
		text += "\n" + proc.Indent(e.Output)
	}
	if e.Fix != "" {
		text += "\n" + e.Fix
	}
	return text
}

// Unwrap returns the error of the process.
func (e *Error) Unwrap() error { return e.cause }

// Init runs `terraform init` if it has something to do.
func (s Stack) Init(ctx context.Context) error {
	if s.isInitialized() {
		return nil
	}
	if _, err := s.Output(ctx, "init", "-input=false", "-no-color"); err != nil {
		return err
	}
	if s.TrustProvider {
		return TrustProvider(s.Dir)
	}
	return rememberInit(s.Dir)
}

// State returns the ids of the resources in the state by their addresses, wherever the state is
// stored. Without a state there are none. The state is read as it is stored: `terraform show -json`
// would first load the provider.
func (s Stack) State(ctx context.Context) (map[string]string, error) {
	if err := s.Init(ctx); err != nil {
		return nil, err
	}
	text, err := s.Output(ctx, "state", "pull")
	ids := map[string]string{}
	if err != nil || len(text) == 0 {
		return ids, err
	}
	var state struct {
		Resources []struct {
			Mode, Type, Name string
			Instances        []struct {
				Deposed    string // to be destroyed, without a replacement so far
				Attributes struct{ ID string }
			}
		}
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	for _, r := range state.Resources {
		if r.Mode == "managed" && len(r.Instances) > 0 && r.Instances[0].Deposed == "" {
			ids[r.Type+"."+r.Name] = r.Instances[0].Attributes.ID
		}
	}
	return ids, nil
}

// Outputs returns the outputs in the state by name. Without a deployment there are none.
func (s Stack) Outputs(ctx context.Context) (map[string]any, error) {
	if err := s.Init(ctx); err != nil {
		return nil, err
	}
	text, err := s.Output(ctx, "output", "-json", "-no-color")
	if err != nil {
		return nil, err
	}
	var outputs map[string]tfjson.StateOutput
	if err := json.Unmarshal(text, &outputs); err != nil {
		return nil, fmt.Errorf("read the outputs: %w", err)
	}
	values := map[string]any{}
	for name, output := range outputs {
		values[name] = output.Value
	}
	return values, nil
}

// Plan plans a deployment. flags are further ones of `terraform plan`, such as -lock=false.
func (s Stack) Plan(ctx context.Context, flags ...string) (*tfjson.Plan, error) {
	var output bytes.Buffer
	saved, err := s.SavePlan(ctx, &output, &output, append(flags, "-no-color")...)
	if failed, ok := errors.AsType[*Error](err); ok {
		failed.Output = proc.LastLines(output.String(), 40)
	}
	if err != nil {
		return nil, err
	}
	defer saved.Remove()
	return saved.Read(ctx)
}

// SavedPlan is a plan that can be applied. Remove removes it: it holds values of the state.
type SavedPlan struct {
	stack Stack
	dir   string
}

// SavePlan plans a deployment and shows Terraform's text of the plan. flags are further ones of
// `terraform plan`.
func (s Stack) SavePlan(ctx context.Context, stdout, stderr io.Writer, flags ...string) (*SavedPlan, error) {
	if err := s.Init(ctx); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "workerctl-plan-")
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	p := &SavedPlan{stack: s, dir: dir}
	if err := s.Run(ctx, stdout, stderr, append([]string{"plan", "-input=false", "-out=" + p.file()}, flags...)...); err != nil {
		p.Remove()
		return nil, err
	}
	return p, nil
}

func (p *SavedPlan) file() string { return filepath.Join(p.dir, "plan") }

// Remove removes the plan's file.
func (p *SavedPlan) Remove() { os.RemoveAll(p.dir) }

// Read returns the content of the plan.
func (p *SavedPlan) Read(ctx context.Context) (*tfjson.Plan, error) {
	text, err := p.stack.Output(ctx, "show", "-json", "-no-color", p.file())
	if err != nil {
		return nil, err
	}
	var plan tfjson.Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	return &plan, nil
}

// Apply makes the changes of the plan. flags are further ones of `terraform apply`.
func (p *SavedPlan) Apply(ctx context.Context, stdout, stderr io.Writer, flags ...string) error {
	return p.stack.Run(ctx, stdout, stderr, slices.Concat([]string{"apply", "-input=false"}, flags, []string{p.file()})...)
}

// initMark is a file in a stack's .terraform that says for what its init was.
const initMark = "workerctl-init"

// isInitialized reports whether `terraform init` has nothing to do: it has run for the providers,
// backend, lock and Terraform that are there now, and the providers are still in place.
func (s Stack) isInitialized() bool {
	if os.Getenv("TF_CLI_ARGS_init") != "" || os.Getenv("TF_DATA_DIR") != "" {
		return false // with these set the user runs init
	}
	sum, err := initSum(s.Dir)
	if err != nil {
		return false
	}
	if done, err := os.ReadFile(filepath.Join(s.Dir, ".terraform", initMark)); err != nil || string(done) != sum {
		return false
	}
	// host/namespace/type/version/platform: a folder, or a link into a cache or a mirror.
	providers, err := filepath.Glob(filepath.Join(s.Dir, ".terraform", "providers", "*", "*", "*", "*", "*"))
	if err != nil || len(providers) == 0 {
		return false
	}
	for _, provider := range providers {
		if content, err := os.ReadDir(provider); err != nil || len(content) == 0 {
			return false
		}
	}
	return true
}

// rememberInit records that `terraform init` has run for the stack as it is.
func rememberInit(dir string) error {
	sum, err := initSum(dir)
	if err != nil {
		return err
	}
	return atomicfile.Keep(filepath.Join(dir, ".terraform", initMark), []byte(sum), 0o644)
}

// initSum returns what an init depends on: Terraform, providers, backend, versions, and the lock.
func initSum(dir string) (string, error) {
	file, err := os.ReadFile(filepath.Join(dir, "cdk.tf.json"))
	if err != nil {
		return "", err
	}
	var stack struct{ Terraform json.RawMessage }
	if err := json.Unmarshal(file, &stack); err != nil {
		return "", err
	}
	lock, err := os.ReadFile(filepath.Join(dir, ".terraform.lock.hcl"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%s\n%s", project.TerraformBinary(), stack.Terraform, lock)
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// TrustProvider does for a folder in which Terraform was just initialized what the field of Stack
// describes.
func TrustProvider(dir string) error {
	path := filepath.Join(dir, ".terraform.lock.hcl")
	lock, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("trust the provider: %w", err)
	}
	if err := os.WriteFile(path, hashes.ReplaceAll(lock, nil), 0o644); err != nil {
		return fmt.Errorf("trust the provider: %w", err)
	}
	return rememberInit(dir)
}

var hashes = regexp.MustCompile(`(?m)^ *hashes = \[[^\]]*\]\n`)
