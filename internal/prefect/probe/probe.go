// Package probe is the code of the Lambda function that publishes the state of a worker in Prefect and
// ECS as CloudWatch metrics (probe.py).
package probe

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// code is the function's.
//
//go:embed probe.py
var code []byte

// Namespace is that of the metrics in CloudWatch, and Dimension the one by which those of a
// worker are found: the name of its ECS service.
const (
	Namespace = "PrefectWorker"
	Dimension = "Service"
)

// ProbeErrors is the metric that each run of the probe publishes, in one call with its others.
const ProbeErrors = "ProbeErrors"

// TasksMissing is the metric of the worker tasks that are needed and not wanted yet; below 0: those that are
// wanted and not needed.
const TasksMissing = "TasksMissing"

// ArchiveName is the file with the function's code, beside the stack's Terraform JSON: that
// is where Terraform runs.
const ArchiveName = "probe.zip"

// Archive returns the function's code as Lambda takes it, the same bytes on every machine: with a
// fixed time, and not compressed, because another release of Go may compress otherwise.
func Archive() []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	header := &zip.FileHeader{Name: "probe.py", Method: zip.Store, Modified: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
	header.SetMode(0o644) // Lambda's user is not the owner
	file, err := w.CreateHeader(header)
	if err == nil {
		_, err = file.Write(code)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(fmt.Sprintf("probe: pack it: %v", err)) // memory does not fail
	}
	return b.Bytes()
}

// Hash returns the archive's CodeSha256 of Lambda.
func Hash() string {
	sum := sha256.Sum256(Archive())
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Function runs the code of an archive as Lambda does: in a process that stays between
// invocations, with what it has imported and kept in its globals. One that raises an error fails
// the invocation alone; another process is for what must have other variables, or has ended.
// It is for one caller at a time, who closes it.
type Function struct {
	// Python is an interpreter that has boto3.
	Python string
	// Archive is the path of the file with the code.
	Archive string

	variables []string // of the process
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *json.Decoder
	failed    *bytes.Buffer
}

// loop invokes the function for each line that it reads. It ends with its input, and so with
// whoever started it, however that ends.
const loop = `
import sys
sys.path[0] = sys.argv[1]  # in place of the working folder
import contextlib, io, json, traceback
import probe
for _ in sys.stdin:
    failed = ""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            probe.handler({}, None)
        except Exception as error:
            failed = traceback.format_exception_only(error)[-1].strip()
    print(json.dumps({"Printed": printed.getvalue(), "Failed": failed}), flush=True)
`

// Run invokes the function once, with these environment variables alone. It returns what the
// code printed. The process ends with the ctx of the call that started it.
func (f *Function) Run(ctx context.Context, variables []string) (string, error) {
	if f.cmd != nil && !slices.Equal(f.variables, variables) {
		_ = f.Close()
	}
	if f.cmd == nil {
		if err := f.start(ctx, variables); err != nil {
			return "", fmt.Errorf("run the probe: %w", err)
		}
	}
	var answer struct{ Printed, Failed string }
	_, err := fmt.Fprintln(f.in)
	if err == nil {
		err = f.out.Decode(&answer)
	}
	switch {
	case err != nil: // it has ended
		err = cmp.Or(f.Close(), err)
		text := strings.TrimSpace(f.failed.String())
		return "", fmt.Errorf("run the probe: %w: %s", err, text[strings.LastIndex(text, "\n")+1:])
	case answer.Failed != "":
		return answer.Printed, fmt.Errorf("run the probe: %s", answer.Failed)
	}
	return answer.Printed, nil
}

func (f *Function) start(ctx context.Context, variables []string) error {
	cmd := exec.CommandContext(ctx, f.Python, "-B", "-c", loop, f.Archive)
	cmd.Env = slices.Clone(variables)
	f.failed = &bytes.Buffer{}
	cmd.Stderr = f.failed
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	f.cmd, f.in, f.out, f.variables = cmd, in, json.NewDecoder(out), cmd.Env
	return nil
}

// Close ends the process, if there is one, and waits for its end.
func (f *Function) Close() error {
	if f.cmd == nil {
		return nil
	}
	_ = f.in.Close()
	err := f.cmd.Wait()
	f.cmd = nil
	return err
}
