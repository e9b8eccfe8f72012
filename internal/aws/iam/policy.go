// Package iam holds IAM's policy documents, builds the ones of the stack and decides requests by
// them, as the policy evaluation logic of the IAM User Guide describes: an explicit Deny overrides
// every Allow, a permissions boundary limits what identity policies allow, and what nothing allows
// is denied.
//
// Decisions are used where a wrong answer is worse than none: an operator, a policy variable or a
// condition key that cannot be evaluated makes the answer Unknown, with the reason, and never
// Allowed.
package iam

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Document is an IAM policy.
type Document struct {
	Version   string `json:",omitempty"`
	Statement list[Statement]
}

// Statement is one rule of a policy. Sid says in a word what it is for.
type Statement struct {
	Sid          string `json:",omitempty"`
	Effect       string
	Principal    Principals   `json:",omitempty"`
	NotPrincipal Principals   `json:",omitempty"`
	Action       list[string] `json:",omitempty"`
	NotAction    list[string] `json:",omitempty"`
	Resource     list[string] `json:",omitempty"`
	NotResource  list[string] `json:",omitempty"`
	Condition    Condition    `json:",omitempty"`
}

// Principals are the callers that a resource policy or trust policy is about, by their kind: AWS,
// Service or Federated. "*", everyone, is read as AWS: *.
type Principals map[string]Values

// Condition maps an operator such as StringEquals to condition keys and their values.
type Condition map[string]map[string]Values

// Values are texts that JSON holds as a list, or as one text if there is only one. Numbers and
// booleans, which IAM accepts as values of conditions, are read as text.
type Values []string

// Denies returns the statements of policies that deny.
func Denies(documents []Document) Document {
	var all Document
	for _, document := range documents {
		for _, s := range document.Statement {
			if s.Effect == "Deny" {
				all.Statement = append(all.Statement, s)
			}
		}
	}
	return all
}

// ByService returns the principals that consist of one AWS service.
func ByService(service string) Principals { return Principals{"Service": {service}} }

// Parse reads a policy. IAM's API returns it percent-encoded, other services as it is.
func Parse(text string) (Document, error) {
	if strings.HasPrefix(text, "%7B") {
		if decoded, err := url.PathUnescape(text); err == nil {
			text = decoded
		}
	}
	var document Document
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		return Document{}, fmt.Errorf("it is not a policy: %w", err)
	}
	return document, nil
}

// name returns the statement's name for a person.
func (s Statement) name() string {
	if s.Sid != "" {
		return s.Sid
	}
	return fmt.Sprintf("%s %s", s.Effect, strings.Join(slices.Concat(s.Action, s.NotAction), ", "))
}

// UnmarshalJSON reads "*" or an object.
func (p *Principals) UnmarshalJSON(data []byte) error {
	var everyone string
	if json.Unmarshal(data, &everyone) == nil {
		*p = Principals{"AWS": {everyone}}
		return nil
	}
	type plain Principals
	return json.Unmarshal(data, (*plain)(p))
}

// list is a JSON value that is one T or an array of them.
type list[T any] []T

// UnmarshalJSON reads either form.
func (l *list[T]) UnmarshalJSON(data []byte) error {
	var many []T
	if json.Unmarshal(data, &many) == nil {
		*l = many
		return nil
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*l = list[T]{one}
	return nil
}

// UnmarshalJSON reads either form.
func (v *Values) UnmarshalJSON(data []byte) error {
	var all list[json.RawMessage]
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	*v = Values{}
	for _, one := range all {
		var text string
		if json.Unmarshal(one, &text) != nil {
			text = string(one)
		}
		*v = append(*v, text)
	}
	return nil
}

// MarshalJSON writes a single value without a list around it.
func (v Values) MarshalJSON() ([]byte, error) {
	if len(v) == 1 {
		return json.Marshal(v[0])
	}
	return json.Marshal([]string(v))
}

// New returns a document with the statements.
func New(statements ...Statement) Document {
	return Document{Version: "2012-10-17", Statement: statements}
}

// Allow returns a statement that permits actions on resources.
func Allow(sid string, actions []string, resources ...string) Statement {
	return Statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources}
}

// ECSExec lets the agent of ECS Exec in a container open its session. The four actions do not
// support resource-level permissions (Service Authorization Reference).
func ECSExec() Statement {
	return Allow("ECSExec", []string{
		"ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
	}, "*")
}

// If adds a condition to the statement.
func (s Statement) If(operator, key string, values ...string) Statement {
	condition, keys := Condition{}, map[string]Values{key: values}
	maps.Copy(condition, s.Condition)
	maps.Copy(keys, condition[operator])
	condition[operator] = keys
	s.Condition = condition
	return s
}

// Decrypt lets a role use customer managed keys through one service only. Empty and repeated
// keys are left out; without any there is no statement.
func Decrypt(account Account, sid, service string, keys ...string) []Statement {
	var all []string
	for _, key := range keys {
		if key != "" && !slices.Contains(all, key) {
			all = append(all, key)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return []Statement{Allow(sid, []string{"kms:Decrypt"}, all...).
		If("StringEquals", "kms:ViaService", service+"."+account.Region+".amazonaws.com")}
}

// Trust lets an AWS service assume a role, but only on behalf of this account and of
// the resources that sourceARN matches: without that, another account could make the
// service use the role for it (the "confused deputy" of the IAM User Guide).
func Trust(service string, account Account, sourceARN string) Document {
	return New(Statement{
		Effect:    "Allow",
		Principal: ByService(service),
		Action:    []string{"sts:AssumeRole"},
	}.If("StringEquals", "aws:SourceAccount", account.ID).If("ArnLike", "aws:SourceArn", sourceARN))
}
