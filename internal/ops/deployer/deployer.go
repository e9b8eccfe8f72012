// Package deployer writes the least-privilege IAM policy for deploying, changing and destroying one
// environment, from the permissions in the table of resource types.
package deployer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/aws/restype"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

// Purpose is what a policy is for.
type Purpose int

const (
	// Deploy is to deploy, change and destroy the environment.
	Deploy Purpose = iota
	// Read is to compare it with AWS: plan and verify, without any change.
	Read
	// Adopt is Read where nothing has the environment's tags yet, and to find what there is.
	Adopt
)

// managedPolicyLimit is how many characters a managed policy may have, whitespace not counted ("IAM
// and AWS STS quotas" in the IAM User Guide).
const managedPolicyLimit = 6144

// Parts returns the policy as managed policies, to be attached together: one may have 6144
// characters.
func Parts(whole iam.Document) []iam.Document {
	parts := []iam.Document{iam.New()}
	for _, s := range whole.Statement {
		last := &parts[len(parts)-1]
		last.Statement = append(last.Statement, s)
		if size(*last) > managedPolicyLimit && len(last.Statement) > 1 {
			last.Statement = last.Statement[:len(last.Statement)-1]
			parts = append(parts, iam.New(s))
		}
	}
	return parts
}

func size(document iam.Document) int {
	text, err := json.Marshal(document)
	if err != nil {
		panic(err) // it is of strings
	}
	return len(text)
}

// Policy returns the policy that a deployer of the stack needs. It fails for a stack with a resource
// of a type that it does not have, or a name that only AWS has.
func Policy(stack *stackjson.Stack, purpose Purpose) (iam.Document, error) {
	w := writer{stack: stack, purpose: purpose, pairs: map[string]pair{}}
	for _, kind := range stack.Kinds() {
		known, ok := restype.Of(kind)
		if !ok {
			return iam.Document{}, fmt.Errorf("the table of resource types has no %s", kind)
		}
		for _, name := range stack.Names(kind) {
			arguments := stack.Resource(kind, name)
			if err := inside(arguments); err != nil {
				return iam.Document{}, fmt.Errorf("%s.%s: %w", kind, name, err)
			}
			for _, g := range known.Grants {
				if err := w.add(g, arguments); err != nil {
					return iam.Document{}, fmt.Errorf("%s.%s: %w", kind, name, err)
				}
			}
		}
	}
	return w.document(), nil
}

// pair is a set of actions on a resource under conditions.
type pair struct {
	resource   string
	conditions iam.Condition
	own        bool
	actions    map[string]bool
}

type writer struct {
	stack   *stackjson.Stack
	purpose Purpose
	pairs   map[string]pair
}

func (w writer) add(g restype.Grant, arguments map[string]any) error {
	actions := strings.Fields(g.Read)
	switch w.purpose {
	case Deploy:
		actions = append(actions, strings.Fields(g.Write)...)
	case Adopt:
		actions = append(actions, strings.Fields(g.Find)...)
	}
	if len(actions) == 0 {
		return nil
	}
	account := w.stack.Account()
	var s iam.Statement
	add := func(operator, key, value string) { s = s.If(operator, key, value) }
	tags := func(key string) {
		for name, value := range w.stack.DefaultTags() {
			if name == "Project" || name == "Environment" {
				add("StringEquals", key+"/"+name, value)
			}
		}
	}
	if g.When == restype.Own && w.purpose == Adopt {
		g.When = 0 // it has no tags yet
	}
	switch g.When {
	case restype.Tagged:
		tags("aws:RequestTag")
	case restype.Untagged:
		tags("aws:RequestTag")
		add("Null", "aws:ResourceTag/Environment", "true")
	case restype.AtCreation:
		tags("aws:RequestTag")
		add("Null", "ec2:CreateAction", "false")
	case restype.Own:
		tags("aws:ResourceTag")
	case restype.InCluster:
		cluster, err := w.arn("ecs:cluster/{cluster}", arguments)
		if err != nil {
			return err
		}
		add("ArnEquals", "ecs:cluster", cluster)
	case restype.Bounded, restype.ThatPolicy:
		if boundary := w.boundary(arguments); boundary != "" {
			add("StringEquals", "iam:PermissionsBoundary", boundary)
		}
		if g.When == restype.ThatPolicy {
			add("ArnEquals", "iam:PolicyARN", fmt.Sprint(arguments["policy_arn"]))
		}
	}
	if g.PassedTo != "" {
		add("StringEquals", "iam:PassedToService", g.PassedTo+".amazonaws.com")
	}
	if g.Via != "" {
		region, given := arguments["region"].(string) // that of a bucket
		if !given {
			region = account.Region
		}
		add("StringEquals", "kms:ViaService", g.Via+"."+region+".amazonaws.com")
	}
	resources := []string{"*"}
	if g.On == "" {
		if service, _, _ := strings.Cut(actions[0], ":"); service != "route53" {
			add("StringEquals", "aws:RequestedRegion", account.Region)
		}
	} else {
		resources = nil
		for _, pattern := range strings.Fields(g.On) {
			if strings.HasPrefix(pattern, "{") {
				resources = append(resources, texts(arguments[strings.Trim(pattern, "{}")])...)
				continue
			}
			arn, err := w.arn(pattern, arguments)
			if err != nil {
				return err
			}
			if arn != "" {
				resources = append(resources, arn)
			}
			if prefix, role, ok := strings.Cut(arn, ":role/"); ok && w.purpose == Adopt {
				// IAM has no path of a role that does not exist.
				resources = append(resources, prefix+":role/"+iam.ResourceName(role))
			}
		}
	}
	for _, resource := range resources {
		key, err := json.Marshal([]any{resource, s.Condition})
		if err != nil {
			return err
		}
		p, ok := w.pairs[string(key)]
		if !ok {
			p = pair{resource, s.Condition, g.When == restype.Own, map[string]bool{}}
			w.pairs[string(key)] = p
		}
		for _, action := range actions {
			p.actions[action] = true
		}
	}
	return nil
}

// role returns the arguments of a role of the stack, nil if the stack has none of that name.
func (w writer) role(name string) map[string]any {
	for _, address := range w.stack.Names("aws_iam_role") {
		if role := w.stack.Resource("aws_iam_role", address); role["name"] == name {
			return role
		}
	}
	return nil
}

// boundary returns the permissions boundary of a role, or of the role that a policy is for.
func (w writer) boundary(arguments map[string]any) string {
	if name, err := w.stack.NameOf(arguments["role"]); err == nil {
		arguments = w.role(name)
	}
	boundary, _ := arguments["permissions_boundary"].(string)
	return boundary
}

// texts returns the ARNs that an argument holds.
func texts(argument any) []string {
	switch argument := argument.(type) {
	case []string:
		return argument
	case string:
		if argument != "" {
			return []string{argument}
		}
	}
	return nil
}

// inside puts ARNs beside the arguments that stand inside of one: the secrets of a task definition, or of a
// role that may read them, that exist already (existing_secrets, existing_credential), the customer keys
// with which a role may decrypt secrets (keys), and the topic of an alarm (existing_topic). all_parameters
// is everything where there are parameters: looking for one does not support resource-level permissions.
func inside(arguments map[string]any) error {
	var containers []struct {
		Secrets               []struct{ Name, ValueFrom string }
		RepositoryCredentials struct{ CredentialsParameter string }
	}
	var document struct {
		Statement []struct {
			Sid      string
			Resource []string
		}
	}
	for name, into := range map[string]any{"container_definitions": &containers, "policy": &document} {
		if text, ok := arguments[name].(string); ok {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	var secrets, credential, keys, parameters, topic []string
	exists := func(arn string) bool { return stackjson.Shown(arn) == arn } // the stack makes the others
	for _, container := range containers {
		for _, secret := range container.Secrets {
			arn := config.SecretARN(secret.ValueFrom)
			if config.IsParameter(arn) {
				parameters = []string{"*"}
			}
			if config.IsParameter(arn) || !exists(arn) {
				continue
			}
			secrets = append(secrets, arn)
			if secret.Name == config.AuthAPIKey.Variable() || secret.Name == config.AuthBasic.Variable() {
				credential = append(credential, arn)
			}
		}
		if from := container.RepositoryCredentials.CredentialsParameter; from != "" {
			secrets = append(secrets, from)
		}
	}
	for _, s := range document.Statement {
		switch s.Sid {
		case "DecryptSecrets", "DecryptParameters":
			keys = append(keys, s.Resource...)
		case "ReadSecrets":
			secrets = slices.DeleteFunc(s.Resource, func(arn string) bool { return !exists(arn) })
		case "ReadParameters":
			parameters = []string{"*"}
		}
	}
	if actions, _ := arguments["alarm_actions"].([]any); len(actions) > 0 {
		if arn := fmt.Sprint(actions[0]); exists(arn) {
			topic = []string{arn}
		}
	}
	arguments["existing_secrets"], arguments["existing_credential"], arguments["keys"] = secrets, credential, keys
	arguments["all_parameters"], arguments["existing_topic"] = parameters, topic
	return nil
}

// arn returns the ARN of a pattern such as ecs:service/{cluster}/{name}. It is empty if an argument is
// not set.
func (w writer) arn(pattern string, arguments map[string]any) (string, error) {
	account := w.stack.Account()
	service, rest, _ := strings.Cut(pattern, ":")
	for {
		before, after, found := strings.Cut(rest, "{")
		if !found {
			break
		}
		path, tail, _ := strings.Cut(after, "}")
		var argument any = arguments
		for _, key := range strings.Split(path, ".") {
			block, _ := argument.(map[string]any)
			argument = block[key]
		}
		if argument == nil {
			return "", nil
		}
		name, err := w.stack.NameOf(argument)
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		rest = before + name + tail
	}
	if role, ok := strings.CutPrefix(rest, "role/"); ok && service == "iam" {
		path, _ := w.role(role)["path"].(string) // such as /team/
		rest = "role/" + strings.TrimPrefix(path, "/") + role
	}
	return restype.ARN(account, service+":"+rest), nil
}

// document puts together what has the same conditions: first the actions on one resource,
// then the resources with the same actions.
func (w writer) document() iam.Document {
	statements := map[string]*iam.Statement{}
	for _, p := range w.pairs {
		actions := slices.Sorted(maps.Keys(p.actions))
		key := fmt.Sprint(actions, p.conditions)
		if p.own {
			// What an action does to one kind of the environment's own it may do to others.
			service, _, _ := strings.Cut(actions[0], ":")
			key = fmt.Sprint(service, p.conditions)
		}
		s := statements[key]
		if s == nil {
			s = &iam.Statement{Effect: "Allow", Condition: p.conditions}
			statements[key] = s
		}
		s.Action, s.Resource = append(s.Action, actions...), append(s.Resource, p.resource)
	}
	var all []iam.Statement
	for _, s := range statements {
		slices.Sort(s.Resource)
		slices.Sort(s.Action)
		s.Action = slices.Compact(s.Action)
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b iam.Statement) int {
		return strings.Compare(a.Action[0]+a.Resource[0]+fmt.Sprint(a.Condition), b.Action[0]+b.Resource[0]+fmt.Sprint(b.Condition))
	})
	return iam.New(all...)
}
