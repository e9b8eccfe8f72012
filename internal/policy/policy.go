// Package policy holds the types of an IAM policy document. Policies are built from
// them instead of from text, so that a reviewer reads fields and the compiler
// checks the shape.
package policy

import (
	"slices"

	"prefect-worker-ecs/internal/arn"
)

// Document is a policy document.
type Document struct {
	Version   string
	Statement []Statement
}

// Statement is one rule of a policy. Sid says in a word what it is for.
type Statement struct {
	Sid       string `json:",omitempty"`
	Effect    string
	Principal *Principal `json:",omitempty"`
	Action    []string
	Resource  []string  `json:",omitempty"`
	Condition Condition `json:",omitempty"`
}

// Principal is who a resource policy or trust policy speaks of.
type Principal struct {
	Service string
}

// Condition maps an operator such as StringEquals to condition keys and their values.
type Condition map[string]map[string]string

// New returns a document with the statements.
func New(statements ...Statement) Document {
	return Document{Version: "2012-10-17", Statement: statements}
}

// Allow is a statement that permits actions on resources.
func Allow(sid string, actions []string, resources ...string) Statement {
	return Statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources}
}

// ECSExec lets the agent of ECS Exec in a container open its session. The four actions know no
// resource (Service Authorization Reference).
func ECSExec() Statement {
	return Allow("ECSExec", []string{
		"ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
	}, "*")
}

// If adds a condition to the statement.
func (s Statement) If(operator, key, value string) Statement {
	condition := Condition{}
	for op, keys := range s.Condition {
		condition[op] = keys
	}
	keys := map[string]string{key: value}
	for k, v := range condition[operator] {
		keys[k] = v
	}
	condition[operator] = keys
	s.Condition = condition
	return s
}

// Decrypt lets one service, and nobody else, use customers' keys for a role. Empty and repeated
// keys are left out; without any there is no statement.
func Decrypt(account arn.Account, sid, service string, keys ...string) []Statement {
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
func Trust(service string, account arn.Account, sourceARN string) Document {
	return New(Statement{
		Effect:    "Allow",
		Principal: &Principal{Service: service},
		Action:    []string{"sts:AssumeRole"},
	}.If("StringEquals", "aws:SourceAccount", account.ID).If("ArnLike", "aws:SourceArn", sourceARN))
}
