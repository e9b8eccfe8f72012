package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreate(t *testing.T) {
	for _, test := range []struct {
		name        string
		existing    map[string]string
		suffix, vpc string
	}{
		{"prod", nil, "-prod", "10.0.0.0/16"},
		{"prod", map[string]string{"dev.yaml": ""}, "-prod", "10.1.0.0/16"},
		{"prod", map[string]string{"dev.yaml": "", "a.yaml": "name_suffix: -prod\nnetwork: {vpc_cidr: 10.1.128.0/20}"}, "-prod-2", "10.2.0.0/16"},
		{strings.Repeat("p", 30), map[string]string{"dev.yaml": ""}, "-" + strings.Repeat("p", 29), "10.1.0.0/16"},
	} {
		// GIVEN a folder with environments, or without
		if _, err := load(t, test.existing); err != nil && test.existing != nil {
			t.Fatal(err)
		}
		// WHEN another one is created
		file, err := Create(Dir, test.name)
		if err != nil {
			t.Errorf("%s beside %v: %v", test.name, test.existing, err)
			continue
		}
		// THEN all are valid together, and it has what it needs
		env, err := LoadOne(Dir, test.name)
		if err != nil {
			t.Errorf("%s beside %v is not valid: %v", test.name, test.existing, err)
			continue
		}
		if env.NameSuffix != test.suffix || env.Network.VPCCIDR != test.vpc || file != filepath.Join(Dir, test.name+".yaml") {
			t.Errorf("%s has suffix %s and range %s, want %s and %s", file, env.NameSuffix, env.Network.VPCCIDR, test.suffix, test.vpc)
		}
		// AND editors find the schema
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(text), "# yaml-language-server: $schema=../environments.schema.json\n") {
			t.Errorf("%v: %s", err, text)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	for name, want := range map[string]string{
		"dev":         "the environment dev exists already: config/environments/dev.yml; choose another name",
		"Prod":        `"Prod" cannot be the name of an environment: an environment's name is 1 to 30 lower-case letters, digits and hyphens and begins with a letter: it is the name of the stack and of its state file; choose one such as prod`,
		"../x":        `"../x" cannot be the name`,
		"pnu_hunter2": `"(not shown)" cannot be the name`,
	} {
		if _, err := load(t, map[string]string{"dev.yml": ""}); err != nil {
			t.Fatal(err)
		}
		if _, err := Create(Dir, name); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
		if files, _ := filepath.Glob(Dir + "/*"); len(files) != 1 {
			t.Errorf("%s: left %v", name, files)
		}
	}
}
