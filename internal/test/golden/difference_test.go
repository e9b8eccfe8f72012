package golden

import (
	"encoding/json"
	"reflect"
	"testing"
)

const base = `{"//": 1, "a": {"b": "x", "gone": {"c": 1}}, "list": ["p", "q", "r"],
	"named": [{"name": "one", "v": 1}, {"name": "two", "v": 2}], "text": "{\"Statement\":[{\"Sid\":\"S\",\"Action\":[\"a\"]}]}"}`

const other = `{"a": {"b": "y -> z", "d.e": [{"f": []}]}, "list": ["p", "s", "t", "r"],
	"named": [{"name": "two", "v": 3}], "text": "{\"Statement\":[{\"Action\":[\"a\",\"b\"],\"Sid\":\"S\"}]}"}`

const difference = `a.b: "x" -> "y -> z"
+ a.d\.e.[0].f: []
- a.gone
list[1:2]: ["q"] -> ["s","t"]
- named.[one]
named.[two].v: 2 -> 3
text.json().Statement.[S].Action[1:1]: [] -> ["b"]
`

func TestDifference(t *testing.T) {
	if got := Difference(t, base, other); got != difference {
		t.Errorf("got\n%s\nwant\n%s", got, difference)
	}
	// Nothing differs from itself, whatever CDKTF comments.
	if got := Difference(t, base, `{"//": 2,`+base[len(`{"//": 1,`):]); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestApplyIsTheReverse(t *testing.T) {
	var got, want any
	if err := json.Unmarshal(apply(t, []byte(base), difference), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(other), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEachGoldenStackCanBeRead(t *testing.T) {
	stacks := Stacks(t)
	for name := range bases {
		if Difference(t, string(stacks[Base(name)]), string(stacks[name])) == "" {
			t.Errorf("%s does not differ from %s", name, Base(name))
		}
	}
	if len(stacks) != 9 {
		t.Errorf("%d stacks", len(stacks))
	}
}
