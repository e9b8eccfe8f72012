package restype

import (
	"slices"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
)

// incomplete returns what a type lacks.
func incomplete(t Type) []string {
	if strings.Contains(t.Name, ".") { // not created, imported or destroyed
		return nil
	}
	var lacks []string
	if (t.Find == nil) == (t.NotImported == "") {
		lacks = append(lacks, "either Find or NotImported")
	}
	if t.Loss == "" {
		lacks = append(lacks, "Loss, or Nothing")
	}
	if len(t.Grants) == 0 {
		lacks = append(lacks, "Grants")
	}
	return lacks
}

func TestEachTypeIsComplete(t *testing.T) {
	for name, kind := range all {
		if lacks := incomplete(kind); len(lacks) > 0 {
			t.Errorf("%s lacks %s", name, strings.Join(lacks, ", "))
		}
		for argument, option := range kind.Options {
			if !slices.ContainsFunc(config.Options(), func(o config.Option) bool { return o.Key == option }) {
				t.Errorf("%s.%s: there is no option %s", name, argument, option)
			}
			if kind.Find == nil {
				t.Errorf("%s.%s: it is never imported", name, argument)
			}
		}
	}
	// AND an incomplete one is found
	if got := incomplete(Type{Name: "aws_new", NotImported: "it is new"}); !slices.Equal(got, []string{"Loss, or Nothing", "Grants"}) {
		t.Errorf("lacks %q", got)
	}
}

func TestSeveralAreNotGuessedAmong(t *testing.T) {
	r := Resource{address: "aws_vpc.main"}
	if _, err := r.one([]string{"vpc-1", "vpc-2"}); err == nil || err.Error() != "vpc-1 and vpc-2 can each be it; say which: --id aws_vpc.main=vpc-1" {
		t.Error(err)
	}
	if id, err := r.one([]string{"vpc-1"}); id != "vpc-1" || err != nil {
		t.Error(id, err)
	}
}
