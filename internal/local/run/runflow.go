package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/prefect/api"
)

// flowFunction finds the functions of a file that Prefect runs as flows.
var flowFunction = regexp.MustCompile(`(?m)^@flow\b[^\n]*(?:\n(?:@|[ \t)]).*)*\n(?:async )?def (\w+)`)

// RunFlow runs a flow of the user with parameters on the worker of a local run: file.py, or
// file.py:function where the file has several flows. A parameter is name=value, in JSON or else text.
func RunFlow(ctx context.Context, opt Options, flow string, parameters []string) error {
	file, function, err := findFlow(flow)
	if err != nil {
		return err
	}
	r, err := opt.running()
	if err != nil {
		return err
	}
	// Prefect copies the flow's folder into that of the run.
	if within, err := filepath.Rel(filepath.Dir(file), r.dir); err == nil && filepath.IsLocal(within) {
		return fmt.Errorf("the folder of the flow, %s, holds the local run, and Prefect copies it for each flow run; move the flow into a folder of its own", filepath.Dir(file))
	}
	checklist, err := r.checklist()
	if err != nil {
		return err
	}
	values, err := parsed(parameters)
	if err != nil {
		return err
	}
	client, done, err := verify.Connect(ctx, checklist)
	if err != nil {
		return err
	}
	defer done()
	p := terminal.NewProgress(opt.Out)
	return p.Step("running "+strings.TrimSuffix(filepath.Base(file), ".py")+":"+function, func() (string, error) {
		run, err := submit(ctx, client, checklist.Environment, file, function, values)
		if err != nil {
			return "", err
		}
		run, err = client.AwaitEnd(ctx, run.ID, func(r api.FlowRun) { p.Note("flow run %s: %s", r.Name, r.State) })
		if err != nil {
			return "", err
		}
		if run.State != "COMPLETED" {
			return "", fmt.Errorf("flow run %s is %s: %s", run.Name, run.State, run.StateDetail.Message)
		}
		return fmt.Sprintf("flow run %s is COMPLETED", run.Name), nil
	})
}

// parsed returns the values of parameters by their names.
func parsed(parameters []string) (map[string]any, error) {
	values := map[string]any{}
	for _, parameter := range parameters {
		name, text, found := strings.Cut(parameter, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("a parameter is NAME=VALUE, and %q is none; write for example --param days=7", parameter)
		}
		var value any
		if json.Unmarshal([]byte(text), &value) != nil {
			value = text
		}
		values[name] = value
	}
	return values, nil
}

// findFlow splits file.py:function, or finds the one flow in the file.
func findFlow(flow string) (file, function string, err error) {
	file, function, named := strings.Cut(flow, ".py:")
	if named {
		file += ".py"
	}
	if file, err = filepath.Abs(file); err != nil {
		return "", "", err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", "", fmt.Errorf("read the flow: %w", err)
	}
	var found []string
	for _, m := range flowFunction.FindAllStringSubmatch(string(content), -1) {
		found = append(found, m[1])
	}
	switch {
	case named && !regexp.MustCompile(`\b`+regexp.QuoteMeta(function)+`\b`).Match(content):
		return "", "", fmt.Errorf("%s has no flow %s; it has: %s", filepath.Base(file), function, strings.Join(found, ", "))
	case named:
		return file, function, nil
	case len(found) == 0:
		return "", "", fmt.Errorf("%s has no function with @flow before it; name one: %s:FUNCTION", filepath.Base(file), flow)
	case len(found) > 1:
		return "", "", errors.New(filepath.Base(file) + " has several flows; name one: " + flow + ":" + strings.Join(found, ", or "+flow+":"))
	}
	return file, found[0], nil
}
