package iam

import (
	"strings"
	"testing"
)

const secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf"

func parse(t *testing.T, texts ...string) []Document {
	t.Helper()
	var documents []Document
	for _, text := range texts {
		if !strings.Contains(text, "Statement") && !strings.HasPrefix(text, "%") {
			text = `{"Statement":` + text + `}`
		}
		document, err := Parse(text)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		documents = append(documents, document)
	}
	return documents
}

func TestEvaluate(t *testing.T) {
	const all = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	deny := func(condition string) string {
		return `{"Sid":"No","Effect":"Deny","Action":"*","Resource":"*","Condition":` + condition + `}`
	}
	for name, test := range map[string]struct {
		policies []string
		want     Result
	}{
		"no policy":                {nil, Result{}},
		"exactly":                  {[]string{`{"Sid":"Read","Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"` + secret + `"}`}, Result{Allowed, "Read", ""}},
		"a list":                   {[]string{`[{"Effect":"Allow","Action":["a:B","secretsmanager:GetSecretValue"],"Resource":["x","` + secret + `"]}]`}, Result{Allowed, "Allow a:B, secretsmanager:GetSecretValue", ""}},
		"percent-encoded":          {[]string{`%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22%2A%22%2C%22Resource%22%3A%22%2A%22%7D%7D`}, Result{Allowed, "Allow *", ""}},
		"wildcards":                {[]string{`{"Sid":"W","Effect":"Allow","Action":"secretsmanager:get*","Resource":"arn:aws:secretsmanager:*:*:secret:key-??????"}`}, Result{Allowed, "W", ""}},
		"too few characters":       {[]string{`{"Effect":"Allow","Action":"*","Resource":"arn:aws:secretsmanager:*:*:secret:key-?????"}`}, Result{}},
		"another action":           {[]string{`{"Effect":"Allow","Action":"secretsmanager:DescribeSecret","Resource":"*"}`}, Result{}},
		"another secret":           {[]string{`{"Effect":"Allow","Action":"*","Resource":"` + secret + `x"}`}, Result{}},
		"resources know case":      {[]string{`{"Effect":"Allow","Action":"*","Resource":"` + strings.ToUpper(secret) + `"}`}, Result{}},
		"denied":                   {[]string{all, `{"Sid":"No","Effect":"Deny","Action":"secretsmanager:*","Resource":"*"}`}, Result{ExplicitlyDenied, "No", ""}},
		"something else denied":    {[]string{all, `{"Effect":"Deny","Action":"s3:*","Resource":"*"}`}, Result{Allowed, "Allow *", ""}},
		"NotAction denies":         {[]string{all, `{"Sid":"No","Effect":"Deny","NotAction":"s3:*","Resource":"*"}`}, Result{ExplicitlyDenied, "No", ""}},
		"NotAction spares":         {[]string{all, `{"Sid":"No","Effect":"Deny","NotAction":"secretsmanager:*","Resource":"*"}`}, Result{Allowed, "Allow *", ""}},
		"NotResource denies":       {[]string{all, `{"Sid":"No","Effect":"Deny","Action":"*","NotResource":"arn:aws:s3:::*"}`}, Result{ExplicitlyDenied, "No", ""}},
		"NotResource allows":       {[]string{`{"Sid":"Rest","Effect":"Allow","Action":"*","NotResource":"arn:aws:s3:::*"}`}, Result{Allowed, "Rest", ""}},
		"TLS is asked for":         {[]string{all, deny(`{"Bool":{"aws:SecureTransport":false}}`)}, Result{Allowed, "Allow *", ""}},
		"a condition that is met":  {[]string{`{"Sid":"Here","Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":["eu-west-1","us-east-1"]}}}`}, Result{Allowed, "Here", ""}},
		"a condition that is not":  {[]string{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}}`}, Result{}},
		"all conditions must hold": {[]string{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"},"StringLike":{"aws:RequestedRegion":"eu-*"}}}`}, Result{}},
		"an unknown key allows":    {[]string{`{"Sid":"V","Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}}`}, Result{Unknown, "V", "the condition key aws:SourceVpc"}},
		"an unknown key denies":    {[]string{all, deny(`{"StringNotEquals":{"aws:SourceVpc":"vpc-1"}}`)}, Result{Unknown, "No", "the condition key aws:SourceVpc"}},
		"a second way in":          {[]string{`{"Sid":"V","Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}}`, all}, Result{Allowed, "Allow *", ""}},
		"an unknown operator":      {[]string{all, deny(`{"BinaryEquals":{"aws:RequestedRegion":"eA=="}}`)}, Result{Unknown, "No", "the condition operator BinaryEquals"}},
		"an unknown variable":      {[]string{`{"Sid":"T","Effect":"Allow","Action":"*","Resource":"arn:aws:secretsmanager:us-east-1:123456789012:secret:${aws:PrincipalTag/team}-*"}`}, Result{Unknown, "T", "the variable in arn:aws:secretsmanager:us-east-1:123456789012:secret:${aws:PrincipalTag/team}-*"}},
		"a known variable":         {[]string{`{"Sid":"T","Effect":"Allow","Action":"*","Resource":"arn:aws:secretsmanager:${aws:RequestedRegion}:*"}`}, Result{Allowed, "T", ""}},
	} {
		got := Evaluate(parse(t, test.policies...), Request{
			Action: "secretsmanager:GetSecretValue", Resource: secret,
			Context: map[string][]string{"aws:securetransport": {"true"}, "aws:requestedregion": {"us-east-1"}},
		})
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

func TestConditions(t *testing.T) {
	request := Request{Complete: true, Context: map[string][]string{
		"s": {"Abc"}, "arn": {"arn:aws:ecs:us-east-1:1:cluster/c"}, "b": {"true"}, "n": {"5"},
		"d": {"2026-01-02T03:04:05Z"}, "ip": {"10.1.2.3"}, "many": {"a", "b"}, "absent": nil,
	}}
	for condition, want := range map[string]truth{
		`StringEquals s Abc`: yes, `StringEquals s abc`: no, `StringNotEquals s abc`: yes, `StringNotEquals s Abc`: no,
		`StringEqualsIgnoreCase s ABC`: yes, `StringNotEqualsIgnoreCase s ABC`: no, `StringLike s A*`: yes, `StringNotLike s A?c`: no,
		`ArnEquals arn arn:aws:ecs:*:1:cluster/c`: yes, `ArnLike arn arn:aws:ecs:*:2:*`: no, `ArnNotEquals arn arn:aws:ecs:*:2:*`: yes, `ArnNotLike arn arn:*`: no,
		`Bool b TRUE`: yes, `Bool b false`: no, `Null b false`: yes, `Null b true`: no, `Null absent true`: yes,
		`NumericEquals n 5.0`: yes, `NumericNotEquals n 5`: no, `NumericLessThan n 5`: no, `NumericLessThanEquals n 5`: yes,
		`NumericGreaterThan n 4`: yes, `NumericGreaterThanEquals n 6`: no, `NumericEquals n five`: maybe,
		`DateEquals d 2026-01-02T03:04:05Z`: yes, `DateNotEquals d 2026-01-02T03:04:05Z`: no, `DateLessThan d 2026-01-03T00:00:00Z`: yes,
		`DateLessThanEquals d 2026-01-02T03:04:05Z`: yes, `DateGreaterThan d 2026-01-03T00:00:00Z`: no, `DateGreaterThanEquals d 2026-01-02T03:04:05Z`: yes, `DateEquals d today`: maybe,
		`IpAddress ip 10.0.0.0/8`: yes, `IpAddress ip 10.1.2.4`: no, `NotIpAddress ip 192.168.0.0/16`: yes, `IpAddress ip here`: maybe,
		`StringEquals absent x`: no, `StringNotEquals absent x`: yes, `StringEqualsIfExists absent x`: yes, `StringEqualsIfExists s x`: no, `Bool nowhere true`: no,
		`ForAnyValue:StringEquals many b`: yes, `ForAnyValue:StringEquals many c`: no, `ForAllValues:StringEquals many b`: no,
		`ForAllValues:StringEquals absent b`: yes, `ForAnyValue:StringEquals absent b`: no, `ForAllValues:StringLike many *`: yes, `ForSome:StringLike many *`: maybe,
		`ForAnyValue:StringNotEquals many b`: yes, `ForAllValues:StringNotEquals many c`: yes, `ForAllValues:StringNotEquals many b`: no,
	} {
		operator, rest, _ := strings.Cut(condition, " ")
		key, value, _ := strings.Cut(rest, " ")
		if got, reason := request.condition(operator, key, []string{value}); got != want {
			t.Errorf("%s: %v (%s), want %v", condition, got, reason, want)
		}
	}
}

// TestPrincipals: a statement that names the account leaves the decision to the caller's own policies.
func TestPrincipals(t *testing.T) {
	const role = "arn:aws:iam::123456789012:role/r"
	for principal, callers := range map[string]map[string]Decision{
		`"*"`:                      {role: Allowed, "ecs-tasks.amazonaws.com": Allowed},
		`{"AWS":"*"}`:              {role: Allowed},
		`{"AWS":"` + role + `"}`:   {role: Allowed, role + "x": Denied, "ecs-tasks.amazonaws.com": Denied},
		`{"AWS":["123456789012"]}`: {role: Allowed, "arn:aws:iam::210987654321:role/r": Denied},
		`{"AWS":"arn:aws:iam::123456789012:root"}`:      {role: Allowed, "arn:aws:iam::210987654321:role/r": Denied},
		`{"Service":"ecs-tasks.amazonaws.com"}`:         {role: Denied, "ecs-tasks.amazonaws.com": Allowed, "ec2.amazonaws.com": Denied},
		`{"Service":["a.b","ecs-tasks.amazonaws.com"]}`: {"ecs-tasks.amazonaws.com": Allowed},
	} {
		for caller, want := range callers {
			document := parse(t, `{"Effect":"Allow","Principal":`+principal+`,"Action":"sts:AssumeRole"}`)
			if got := Evaluate(document, Request{Action: "sts:AssumeRole", Caller: caller}); got.Decision != want {
				t.Errorf("%s, %s: %+v", principal, caller, got)
			}
			not := parse(t, `{"Effect":"Deny","NotPrincipal":`+principal+`,"Action":"*"}`)
			named := want == Allowed && !strings.Contains(principal, ":root") && !strings.Contains(principal, `["1`) // not by its account alone
			if got := Evaluate(document, Request{Action: "sts:AssumeRole", Caller: caller, Direct: true}); (got.Decision == Allowed) != named {
				t.Errorf("%s, %s, direct: %+v", principal, caller, got)
			}
			if got := Evaluate(not, Request{Action: "sts:AssumeRole", Caller: caller}); (got.Decision != ExplicitlyDenied) != named {
				t.Errorf("not %s, %s: %+v", principal, caller, got)
			}
		}
	}
}

func TestABoundaryLimits(t *testing.T) {
	request := Request{Action: "logs:PutLogEvents", Resource: "arn:aws:logs:us-east-1:1:log-group:g:log-stream:s"}
	all := Evaluate(parse(t, `{"Sid":"All","Effect":"Allow","Action":"*","Resource":"*"}`), request)
	for boundary, want := range map[string]Result{
		`{"Sid":"B","Effect":"Allow","Action":"logs:*","Resource":"*"}`: {Allowed, "All", ""},
		`{"Sid":"B","Effect":"Allow","Action":"s3:*","Resource":"*"}`:   {Denied, "", ""},
		`{"Sid":"B","Effect":"Deny","Action":"logs:*","Resource":"*"}`:  {ExplicitlyDenied, "B", ""},
	} {
		if got := all.Within(parse(t, boundary), request); got != want {
			t.Errorf("%s: %+v, want %+v", boundary, got, want)
		}
	}
}

func TestManyWildcards(t *testing.T) {
	// With a naive matcher this does not end.
	if wildcard(strings.Repeat("*a", 40)+"b", strings.Repeat("a", 400)) {
		t.Error("matched")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "x", `{"Statement":[1]}`, `{"Statement":{"Action":{}}}`} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q is taken for a policy", text)
		}
	}
}
