package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestEveryOptionIsInTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range optionKeys(reflect.TypeFor[Environment](), "") {
		if !strings.Contains(string(readme), "`"+key+"`") {
			t.Errorf("the option %s is not in README.md", key)
		}
	}
}

// optionKeys are the paths of all options.
func optionKeys(t reflect.Type, path string) []string {
	if t.Kind() != reflect.Struct {
		return []string{path}
	}
	var keys []string
	for key, field := range yamlFields(t) {
		keys = append(keys, optionKeys(field, join(path, key))...)
	}
	return keys
}
