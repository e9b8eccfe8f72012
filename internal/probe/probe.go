// Package probe is the code of a function that asks Prefect and ECS about a worker each minute
// and publishes the answers as figures in CloudWatch (probe.py).
package probe

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// code is the function's.
//
//go:embed probe.py
var code []byte

// Namespace is that of the figures in CloudWatch, and Dimension the one by which those of a
// worker are found: the name of its ECS service.
const (
	Namespace = "PrefectWorker"
	Dimension = "Service"
)

// ArchiveName is the file with the function's code, beside the stack's Terraform JSON: that
// is where Terraform runs.
const ArchiveName = "probe.zip"

// Archive is the function's code as Lambda takes it, the same bytes on every machine: with a
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

// Hash is what Lambda calls the archive's CodeSha256.
func Hash() string {
	sum := sha256.Sum256(Archive())
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Run runs the code of an archive file once, as Lambda does each minute, with an interpreter
// that has boto3 and with these environment variables alone. It returns what the code printed.
func Run(ctx context.Context, python, archive string, variables []string) (string, error) {
	cmd := exec.CommandContext(ctx, python, "-B", "-c", "import probe; probe.handler({}, None)")
	cmd.Env = append(slices.Clone(variables), "PYTHONPATH="+archive)
	var printed, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &failed
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(failed.String())
		return printed.String(), fmt.Errorf("run the probe: %w: %s", err, text[strings.LastIndex(text, "\n")+1:])
	}
	return printed.String(), nil
}
