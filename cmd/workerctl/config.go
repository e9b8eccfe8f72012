package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/ops/deployment"
	"prefect-worker-ecs/internal/terraform/project"
)

func newNewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "new NAME",
		Short: "Write a new environment that is valid beside those that exist",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := deployment.Enter(); err != nil {
				return err
			}
			file, err := config.Create(config.Dir, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s; change it as you like, then look with: make plan ENV=%s\n", file, args[0])
			return nil
		},
	}
}

func newConfigCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "config [ENVIRONMENT]",
		Short: "Show every option of an environment, and where its value comes from (default: dev)",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := deployment.Enter()
			if err != nil {
				return err
			}
			env, err := config.LoadOne(config.Dir, environmentName(args))
			if err != nil {
				return err
			}
			variables, err := project.ReadVariables(p.Root, os.Environ())
			if err != nil {
				return err
			}
			settings := effective(env, variables)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), settings)
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, s := range settings {
				fmt.Fprintf(table, "%s\t%s  (%s)\n", s.Option, s.text(), s.Source) // a third column would not fit beside the longest value
			}
			return table.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the options as JSON")
	return cmd
}

// setting is an option as it is in force.
type setting struct {
	Option string `json:"option"`
	Value  any    `json:"value"`
	// Origin is default, file or variable.
	Origin string `json:"origin"`
	// Source is where that is: "default", file and line, or what sets the variable.
	Source string `json:"source"`
}

// effective returns all options of an environment, with the variables that deploy would read.
func effective(env *config.Environment, variables project.Variables) []setting {
	// What is wrong with the variables diff and deploy say; here they are only shown.
	env, _ = env.WithVariables(variables.Lookup)
	var all []setting
	for _, o := range config.Options() {
		s := setting{Option: o.Key, Value: shown(o.Key, o.Value(env)), Origin: "default", Source: "default"}
		switch source, line := o.Origin(env); {
		case line > 0:
			s.Origin, s.Source = "file", fmt.Sprintf("%s:%d", source, line)
		case source != "":
			s.Origin, s.Source = "variable", source
		}
		all = append(all, s)
	}
	return all
}

// shown returns an option's value without credentials.
func shown(option string, value any) any {
	switch value := value.(type) {
	case string:
		return redact.Value(option, value)
	case []string:
		items := make([]string, len(value)) // never null in JSON
		for i, item := range value {
			items[i] = redact.Value(option, item)
		}
		return items
	case map[string]string:
		items := make(map[string]string, len(value))
		for name, text := range value {
			items[name] = text
			if !strings.HasPrefix(text, "arn:") { // whatever it names, an ARN is no credential
				items[name] = redact.Value(name, text)
			}
		}
		return items
	case []config.Egress, []config.Statement:
		return byKeys(value)
	default:
		return value
	}
}

// byKeys returns a list of blocks with the keys of the file that have a value.
func byKeys(value any) []map[string]any {
	blocks := []map[string]any{} // never null in JSON
	text, err := yaml.Marshal(value)
	if err == nil {
		err = yaml.Unmarshal(text, &blocks)
	}
	if err != nil {
		panic(fmt.Sprintf("workerctl: show %T: %v", value, err)) // what was read from YAML
	}
	for _, block := range blocks {
		maps.DeleteFunc(block, func(_ string, v any) bool {
			return v == "" || v == false || reflect.ValueOf(v).Kind() == reflect.Map && reflect.ValueOf(v).Len() == 0
		})
	}
	return blocks
}

// text returns the value in one line for a person.
func (s setting) text() string {
	switch value := s.Value.(type) {
	case []string:
		return "[" + strings.Join(value, ", ") + "]"
	case map[string]string:
		var pairs []string
		for name, text := range value {
			pairs = append(pairs, fmt.Sprintf("%s: %q", name, text))
		}
		slices.Sort(pairs)
		return "{" + strings.Join(pairs, ", ") + "}"
	case []map[string]any:
		text, err := json.Marshal(value)
		if err != nil {
			return err.Error()
		}
		return string(text)
	case string:
		if value == "" {
			return "-"
		}
		return value
	default:
		return fmt.Sprint(value)
	}
}
