package iam

import (
	"cmp"
	"slices"
	"strings"
)

// Request is one call.
type Request struct {
	// Action is the service's prefix and the operation, such as secretsmanager:GetSecretValue.
	Action string
	// Resource is the ARN that the call is for; empty for an action that has none.
	Resource string
	// Caller is who calls: a role's ARN, or a service such as ecs-tasks.amazonaws.com. Only
	// policies with principals need it.
	Caller string
	// Context are the condition keys of the call, in lower case. A key with no values is
	// known to be absent.
	Context map[string][]string
	// Direct passes over statements of a resource's policy that name the caller's account, and leave the decision
	// to the caller's own policies.
	Direct bool
	// Complete says that every other key is absent. Otherwise it is unknown.
	Complete bool
}

// Decision is the outcome for a request.
type Decision int

// The decisions. Unknown is neither: something in the policies could not be judged.
const (
	// Denied: nothing allows it.
	Denied Decision = iota
	// ExplicitlyDenied: a statement denies it.
	ExplicitlyDenied
	// Unknown: what decides could not be judged.
	Unknown
	// Allowed: a statement allows it and none denies it.
	Allowed
)

// Result is a decision and what it rests on.
type Result struct {
	Decision Decision
	// Statement is the name of the statement that decided: its Sid, or its effect and
	// actions. Empty if none did.
	Statement string
	// Reason says, for Unknown, what could not be judged.
	Reason string
}

// Evaluate decides the request by policies of one kind: all identity policies of a role, or
// one resource policy.
func Evaluate(documents []Document, request Request) Result {
	var allowed, perhapsDenied, perhapsAllowed Result
	for _, document := range documents {
		for _, s := range document.Statement {
			met, reason := s.applies(request)
			switch {
			case met == yes && s.Effect == "Deny":
				return Result{ExplicitlyDenied, s.name(), ""}
			case met == yes && s.Effect == "Allow":
				allowed = Result{Allowed, s.name(), ""}
			case met == maybe && s.Effect == "Deny":
				perhapsDenied = Result{Unknown, s.name(), reason}
			case met == maybe && perhapsAllowed.Statement == "":
				perhapsAllowed = Result{Unknown, s.name(), reason}
			}
		}
	}
	switch {
	case perhapsDenied.Decision == Unknown:
		return perhapsDenied
	case allowed.Decision == Allowed:
		return allowed
	}
	return perhapsAllowed
}

// Within limits what identity policies decided by a permissions boundary.
func (r Result) Within(boundary []Document, request Request) Result {
	limit := Evaluate(boundary, request)
	if limit.Decision < r.Decision {
		return limit
	}
	return r
}

// applies reports whether the statement is about the request, and what it is that is not met.
func (s Statement) applies(request Request) (truth, string) {
	met := yes
	reason := ""
	and := func(t truth, why string) {
		if t < met {
			met, reason = t, why
		}
	}
	if s.Principal != nil {
		and(s.Principal.match(request), "its principal")
	}
	if s.NotPrincipal != nil {
		// The account among them spares none of its roles, which have to be named as well ("AWS JSON policy elements:
		// NotPrincipal" in the IAM User Guide).
		request := request
		request.Direct = true
		and(s.NotPrincipal.match(request).not(), "its principal")
	}
	if s.Action != nil {
		and(matchAny(s.Action, request.Action), "")
	}
	if s.NotAction != nil {
		and(matchAny(s.NotAction, request.Action).not(), "")
	}
	if s.Resource != nil {
		t, why := request.matchResource(s.Resource)
		and(t, why)
	}
	if s.NotResource != nil {
		t, why := request.matchResource(s.NotResource)
		and(t.not(), why)
	}
	for operator, keys := range s.Condition {
		for key, values := range keys {
			t, why := request.condition(operator, key, values)
			and(t, cmp.Or(why, "its condition "+key))
		}
	}
	return met, reason
}

// match reports whether the caller is among the principals.
func (p Principals) match(request Request) truth {
	service := !strings.HasPrefix(request.Caller, "arn:")
	for _, name := range p["AWS"] {
		switch {
		case name == "*":
			return yes
		case service:
		case name == request.Caller:
			return yes
		case request.Direct:
		case name == AccountOf(request.Caller).ID, strings.HasSuffix(name, ":"+AccountOf(request.Caller).ID+":root"):
			return yes
		}
	}
	if service {
		return matchAny(p["Service"], request.Caller)
	}
	return no
}

func (r Request) matchResource(patterns []string) (truth, string) {
	best, reason := no, ""
	for _, pattern := range patterns {
		pattern, known := r.Substitute(pattern)
		t := truthOf(wildcard(pattern, r.Resource))
		if !known && t == no {
			t, reason = maybe, "the variable in "+pattern
		}
		best = max(best, t)
	}
	return best, reason
}

// Substitute puts the values of policy variables such as ${aws:PrincipalAccount} into text.
// It returns false if one is not known.
func (r Request) Substitute(text string) (string, bool) {
	known := true
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		name, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			b.WriteString(text)
			return b.String(), known
		}
		b.WriteString(before)
		switch values := r.Context[strings.ToLower(name)]; {
		case name == "*" || name == "?" || name == "$":
			b.WriteString(name)
		case len(values) == 1:
			b.WriteString(values[0])
		default:
			known = false
			b.WriteString("${" + name + "}")
		}
		text = after
	}
}

// matchAny reports whether a value, in upper or lower case, matches one of the patterns.
func matchAny(patterns []string, value string) truth {
	return truthOf(slices.ContainsFunc(patterns, func(pattern string) bool {
		return wildcard(strings.ToLower(pattern), strings.ToLower(value))
	}))
}

// wildcard matches * and ? as IAM does: * also spans slashes and colons. Each * is tried
// once from where the last one ended, so that the time does not explode with their number.
func wildcard(pattern, value string) bool {
	p, v, star, mark := 0, 0, -1, 0
	for v < len(value) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, v
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == value[v]):
			p, v = p+1, v+1
		case star >= 0:
			mark++
			p, v = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// truth is yes, no or maybe.
type truth int

const (
	no truth = iota
	maybe
	yes
)

func (t truth) not() truth { return yes - t }

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}
