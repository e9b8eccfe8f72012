package iam

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// condition judges one key under one operator ("IAM JSON policy elements: Condition
// operators" in the IAM User Guide).
func (r Request) condition(operator, key string, wanted []string) (truth, string) {
	name := operator
	set := ""
	if prefix, rest, found := strings.Cut(name, ":"); found {
		set, name = prefix, rest
	}
	name, ifExists := strings.CutSuffix(name, "IfExists")
	values, known := r.Context[strings.ToLower(key)]
	if !known && !r.Complete {
		return maybe, "the condition key " + key
	}
	if name == "Null" {
		return truthOf(len(wanted) == 1 && strings.EqualFold(wanted[0], strconv.FormatBool(len(values) == 0))), ""
	}
	compare, negated, ok := comparison(name)
	if !ok || (set != "" && set != "ForAnyValue" && set != "ForAllValues") {
		return maybe, "the condition operator " + operator
	}
	if len(values) == 0 {
		// A missing key is not equal to anything, and so it is unequal to everything.
		return truthOf(ifExists || negated || set == "ForAllValues"), ""
	}

	met := set == "ForAllValues" || (set == "" && negated)
	for _, value := range values {
		one := negated
		for _, want := range wanted {
			text, known := r.Substitute(want)
			if !known {
				return maybe, "the variable in " + text
			}
			equal, err := compare(value, text)
			if err != nil {
				return maybe, fmt.Sprintf("the value %s of %s", text, key)
			}
			if equal {
				one = !negated
			}
		}
		if set == "ForAllValues" || (set == "" && negated) {
			met = met && one
		} else {
			met = met || one
		}
	}
	return truthOf(met), ""
}

// comparison returns what an operator compares by, and whether it negates that.
func comparison(operator string) (compare func(value, want string) (bool, error), negated, ok bool) {
	plain := func(f func(value, want string) bool) func(string, string) (bool, error) {
		return func(value, want string) (bool, error) { return f(value, want), nil }
	}
	equal := plain(func(value, want string) bool { return value == want })
	like := plain(func(value, want string) bool { return wildcard(want, value) })
	number := func(f func(value, want float64) bool) func(string, string) (bool, error) {
		return func(value, want string) (bool, error) {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return false, err
			}
			w, err := strconv.ParseFloat(want, 64)
			return f(v, w), err
		}
	}
	date := func(f func(value, want time.Time) bool) func(string, string) (bool, error) {
		return func(value, want string) (bool, error) {
			v, err := time.Parse(time.RFC3339, value)
			if err != nil {
				return false, err
			}
			w, err := time.Parse(time.RFC3339, want)
			return f(v, w), err
		}
	}
	address := func(value, want string) (bool, error) {
		ip, err := netip.ParseAddr(value)
		if err != nil {
			return false, err
		}
		if !strings.Contains(want, "/") {
			want += map[bool]string{true: "/32", false: "/128"}[!strings.Contains(want, ":")]
		}
		prefix, err := netip.ParsePrefix(want)
		return err == nil && prefix.Contains(ip), err
	}
	operators := map[string]struct {
		compare func(value, want string) (bool, error)
		negated bool
	}{
		"StringEquals":              {equal, false},
		"StringNotEquals":           {equal, true},
		"StringEqualsIgnoreCase":    {plain(strings.EqualFold), false},
		"StringNotEqualsIgnoreCase": {plain(strings.EqualFold), true},
		"StringLike":                {like, false},
		"StringNotLike":             {like, true},
		// For ARNs IAM treats Equals and Like alike.
		"ArnEquals":                {like, false},
		"ArnLike":                  {like, false},
		"ArnNotEquals":             {like, true},
		"ArnNotLike":               {like, true},
		"Bool":                     {plain(strings.EqualFold), false},
		"NumericEquals":            {number(func(v, w float64) bool { return v == w }), false},
		"NumericNotEquals":         {number(func(v, w float64) bool { return v == w }), true},
		"NumericLessThan":          {number(func(v, w float64) bool { return v < w }), false},
		"NumericLessThanEquals":    {number(func(v, w float64) bool { return v <= w }), false},
		"NumericGreaterThan":       {number(func(v, w float64) bool { return v > w }), false},
		"NumericGreaterThanEquals": {number(func(v, w float64) bool { return v >= w }), false},
		"DateEquals":               {date(time.Time.Equal), false},
		"DateNotEquals":            {date(time.Time.Equal), true},
		"DateLessThan":             {date(time.Time.Before), false},
		"DateLessThanEquals":       {date(func(v, w time.Time) bool { return !v.After(w) }), false},
		"DateGreaterThan":          {date(time.Time.After), false},
		"DateGreaterThanEquals":    {date(func(v, w time.Time) bool { return !v.Before(w) }), false},
		"IpAddress":                {address, false},
		"NotIpAddress":             {address, true},
	}
	o, ok := operators[operator]
	return o.compare, o.negated, ok
}
