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
	// NotEquals, NotLike and NotIpAddress are the others, negated.
	negated := strings.Contains(name, "Not")
	compare, ok := comparisons[strings.Replace(name, "Not", "", 1)]
	if !ok || (set != "" && set != "ForAnyValue" && set != "ForAllValues") {
		return maybe, "the condition operator " + operator
	}
	if len(values) == 0 {
		// A missing key is not equal to anything, and so it is unequal to everything.
		return truthOf(ifExists || negated || set == "ForAllValues"), ""
	}

	all := set == "ForAllValues" || (set == "" && negated)
	met := all
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
		if all {
			met = met && one
		} else {
			met = met || one
		}
	}
	return truthOf(met), ""
}

// comparisons are what operators compare a value by with one that is wanted.
var comparisons = map[string]func(value, want string) (bool, error){
	"StringEquals":           plain(func(value, want string) bool { return value == want }),
	"StringEqualsIgnoreCase": plain(strings.EqualFold),
	"StringLike":             plain(like),
	// For ARNs IAM treats Equals and Like alike.
	"ArnEquals":                plain(like),
	"ArnLike":                  plain(like),
	"Bool":                     plain(strings.EqualFold),
	"NumericEquals":            parsed(number, func(v, w float64) bool { return v == w }),
	"NumericLessThan":          parsed(number, func(v, w float64) bool { return v < w }),
	"NumericLessThanEquals":    parsed(number, func(v, w float64) bool { return v <= w }),
	"NumericGreaterThan":       parsed(number, func(v, w float64) bool { return v > w }),
	"NumericGreaterThanEquals": parsed(number, func(v, w float64) bool { return v >= w }),
	"DateEquals":               parsed(date, time.Time.Equal),
	"DateLessThan":             parsed(date, time.Time.Before),
	"DateLessThanEquals":       parsed(date, func(v, w time.Time) bool { return !v.After(w) }),
	"DateGreaterThan":          parsed(date, time.Time.After),
	"DateGreaterThanEquals":    parsed(date, func(v, w time.Time) bool { return !v.Before(w) }),
	"IpAddress":                inRange,
}

func like(value, want string) bool { return wildcard(want, value) }

func number(text string) (float64, error) { return strconv.ParseFloat(text, 64) }

func date(text string) (time.Time, error) { return time.Parse(time.RFC3339, text) }

// plain compares texts.
func plain(compare func(value, want string) bool) func(value, want string) (bool, error) {
	return func(value, want string) (bool, error) { return compare(value, want), nil }
}

// parsed compares what texts are parsed to.
func parsed[T any](parse func(string) (T, error), compare func(value, want T) bool) func(value, want string) (bool, error) {
	return func(value, want string) (bool, error) {
		v, err := parse(value)
		if err != nil {
			return false, err
		}
		w, err := parse(want)
		return err == nil && compare(v, w), err
	}
}

// inRange reports whether an IP address is one, or in a range of them.
func inRange(value, want string) (bool, error) {
	ip, err := netip.ParseAddr(value)
	if err != nil {
		return false, err
	}
	if !strings.Contains(want, "/") {
		want = fmt.Sprintf("%s/%d", want, ip.BitLen())
	}
	prefix, err := netip.ParsePrefix(want)
	return err == nil && prefix.Contains(ip), err
}
