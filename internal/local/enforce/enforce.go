// Package enforce gives tasks on this machine the credentials of their roles, and decides each
// call that is made with them by the policies that the roles have in the emulator: as AWS
// does, which the emulator does not.
//
// A Proxy stands between the tasks and the emulator. A call that it cannot decide, because its
// resources and condition keys are not in the table, is refused by name.
package enforce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/aws/query"
)

// Kind is what a role is for in a task.
type Kind string

// The kinds of role.
const (
	Task      Kind = "task role"
	Execution Kind = "execution role"
	Function  Kind = "role of the function"
	// Deployer runs Terraform; only tests have one.
	Deployer Kind = "deployer"
)

// Call is one permission that a call needed. A call may need several: RunTask also that to pass the
// roles of the task.
type Call struct {
	Time     time.Time `json:"time"`
	Kind     Kind      `json:"kind"`
	Role     string    `json:"role"`
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
	Allowed  bool      `json:"allowed"`
	// Statement is what allowed or denied it. Empty: nothing did.
	Statement string `json:"statement,omitempty"`
	// Problem says, where it is not allowed, why.
	Problem string `json:"problem,omitempty"`
	// Request is what was judged.
	Request iam.Request `json:"request"`
}

// String returns what was refused and why.
func (c Call) String() string {
	return fmt.Sprintf("the %s %s may not call %s on %s: %s", c.Kind, c.Role, c.Action, c.Resource, c.Problem)
}

// Options are those of a Proxy.
type Options struct {
	// AWS is the emulator's, with keys that may do everything.
	AWS aws.Config
	// Stack are the policies that the synthesized stack gives to a role: what is nearest to
	// a refused call may be a statement that the role should have.
	Stack func(role string) []iam.Document
	// Journal is called with each permission that was needed, by several goroutines.
	Journal func(Call)
	// Deployer returns the permissions that a deployer's call needs. Nil: such calls are refused.
	Deployer func(context.Context, *APICall) ([]Permission, error)
}

// Proxy is an IAM-enforcing reverse proxy in front of the emulator: it issues credentials of roles
// and decides each call that is made with them.
type Proxy struct {
	opt      Options
	ecs      *ecs.Client
	query    query.Client
	sts      *sts.Client
	listener net.Listener
	server   *http.Server

	mu    sync.Mutex
	tasks map[string]string    // role by the id of a task
	keys  map[string]principal // by access key
}

// principal is the owner of an access key.
type principal struct {
	kind Kind
	arn  string
	// policies are those of a deployer, which are not in the emulator.
	policies []iam.Document
}

func (h principal) name() string { return iam.ResourceName(h.arn) }

// Start starts a proxy on a free port of this machine.
func Start(opt Options) (*Proxy, error) {
	target, err := url.Parse(aws.ToString(opt.AWS.BaseEndpoint))
	if err != nil {
		return nil, fmt.Errorf("the emulator's address: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the proxy in front of the emulator: %w", err)
	}
	g := &Proxy{
		opt: opt, ecs: ecs.NewFromConfig(opt.AWS), query: query.New(opt.AWS), sts: sts.NewFromConfig(opt.AWS),
		listener: listener, tasks: map[string]string{}, keys: map[string]principal{},
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // so that the URL of a queue leads here
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+credentialsPath+"{task}", g.credentials)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if g.decide(w, r) {
			forward.ServeHTTP(w, r)
		}
	})
	g.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = g.server.Serve(listener) }()
	return g, nil
}

// Close stops the proxy.
func (g *Proxy) Close() { _ = g.server.Close() }

// Endpoint returns the proxy's address, in place of the emulator's.
func (g *Proxy) Endpoint() string { return "http://" + g.listener.Addr().String() }

const credentialsPath = "/task-credentials/"

// Platform returns the variables with which Fargate gives a container the address of its credentials.
// Without a role it has none.
func (g *Proxy) Platform(task, role string) []string {
	if role == "" {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tasks[task] = role
	return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + g.Endpoint() + credentialsPath + task}
}

func (g *Proxy) credentials(w http.ResponseWriter, r *http.Request) {
	task := r.PathValue("task")
	g.mu.Lock()
	role := g.tasks[task]
	g.mu.Unlock()
	if role == "" {
		http.NotFound(w, r)
		return
	}
	c, err := g.assume(r.Context(), Task, role, task)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"RoleArn": role, "AccessKeyId": c.AccessKeyID, "SecretAccessKey": c.SecretAccessKey,
		"Token": c.SessionToken, "Expiration": c.Expires.UTC().Format(time.RFC3339),
	})
}

// Config returns the configuration of clients that call AWS as a role, such as ECS with an execution role.
func (g *Proxy) Config(kind Kind, role, task string) aws.Config {
	cfg := g.opt.AWS.Copy()
	cfg.BaseEndpoint = aws.String(g.Endpoint())
	cfg.Credentials = aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		return g.assume(ctx, kind, role, task)
	}))
	return cfg
}

// assume assumes a role as ECS does for a task, and Lambda for a function, if its trust policy
// lets it.
func (g *Proxy) assume(ctx context.Context, kind Kind, role, task string) (aws.Credentials, error) {
	h := principal{kind: kind, arn: role}
	name := h.name()
	caller, service := "ecs-tasks.amazonaws.com", "ECS"
	if kind == Function {
		caller, service = "lambda.amazonaws.com", "Lambda"
	}
	got, err := g.query.Role(ctx, name)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%s was unable to assume the role %s: %w", service, role, err)
	}
	trust, err := iam.Parse(got.TrustPolicy)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("the trust policy of %s: %w", name, err)
	}
	owner, err := arn.Parse(role)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%q is not the ARN of a role", role)
	}
	request := iam.Request{Action: "sts:AssumeRole", Caller: caller, Context: map[string][]string{
		"aws:sourceaccount": {owner.AccountID}, "aws:sourcearn": {fmt.Sprintf("arn:%s:ecs:%s:%s:task/%s", owner.Partition, g.opt.AWS.Region, owner.AccountID, task)}, "aws:securetransport": {"true"},
	}}
	if result := iam.Evaluate([]iam.Document{trust}, request); result.Decision != iam.Allowed {
		return aws.Credentials{}, fmt.Errorf("%s was unable to assume the role %s: its trust policy does not let it %s", service, role, result.Reason)
	}
	session := "task-" + task
	out, err := g.sts.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String(session[:min(len(session), 64)])})
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%s was unable to assume the role %s: %w", service, role, err)
	}
	c := out.Credentials
	g.mu.Lock()
	g.keys[*c.AccessKeyId] = h
	g.mu.Unlock()
	return aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken, CanExpire: true, Expires: *c.Expiration}, nil
}

// As returns the access key of a deployer with these policies. The secret that
// belongs to it is not checked.
func (g *Proxy) As(arn string, policies ...iam.Document) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := fmt.Sprintf("AKIADEPLOYER%08d", len(g.keys))
	g.keys[key] = principal{Deployer, arn, policies}
	return key
}

// scope is the key, the region and the service in a request's signature.
var scope = regexp.MustCompile(`Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request`)

// decide lets a request through, or answers it with a refusal.
func (g *Proxy) decide(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	signed := scope.FindStringSubmatch(r.Header.Get("Authorization"))
	if signed == nil {
		refuse(w, r, "the request is not signed with the credentials of a task")
		return false
	}
	g.mu.Lock()
	who, known := g.keys[signed[1]]
	g.mu.Unlock()
	if !known {
		refuse(w, r, "the credentials are not those of a task")
		return false
	}
	c := newCall(g, who, signed[2], signed[3], r, body)
	needed, err := c.permissions(r.Context())
	if err != nil {
		call := Call{Time: time.Now(), Kind: who.kind, Role: who.name(), Action: c.Action, Resource: "what it names", Problem: err.Error()}
		g.opt.Journal(call)
		refuse(w, r, call.String())
		return false
	}
	for _, permission := range needed {
		call := g.judge(r.Context(), who, permission)
		g.opt.Journal(call)
		if !call.Allowed {
			refuse(w, r, call.String())
			return false
		}
	}
	return true
}

// refuse answers as the service would, in the form that the client reads.
func refuse(w http.ResponseWriter, r *http.Request, why string) {
	if r.Header.Get("X-Amz-Target") != "" {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": "AccessDeniedException", "message": why})
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(http.StatusForbidden)
	// The first is EC2's form, the second that of other services of XML.
	_, _ = fmt.Fprintf(w, "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>%[1]s</Message></Error></Errors><Error><Code>AccessDenied</Code><Message>%[1]s</Message></Error></Response>", html.EscapeString(why))
}

// judge decides one permission by the policies that the role has now.
func (g *Proxy) judge(ctx context.Context, who principal, need Permission) Call {
	request := iam.Request{Action: need.Action, Resource: need.Resource, Caller: who.arn, Context: need.Context, Complete: who.kind == Deployer}
	call := Call{Time: time.Now(), Kind: who.kind, Role: who.name(), Action: need.Action, Resource: need.Resource, Request: request}
	if who.kind == Deployer {
		return Decide(call, who.policies, nil, nil)
	}
	identity, boundary, err := g.policies(ctx, who.name())
	if err != nil {
		call.Problem = "its policies cannot be read: " + err.Error()
		return call
	}
	return Decide(call, identity, boundary, g.opt.Stack(who.name()))
}

// Decide decides the call's request by a role's policies, its boundary (nil: none), and says
// which statement comes nearest, of those it has and of those that the stack gives it.
func Decide(call Call, identity, boundary, stack []iam.Document) Call {
	result := iam.Evaluate(identity, call.Request)
	if boundary != nil {
		result = result.Within(boundary, call.Request)
	}
	call.Statement, call.Allowed, call.Problem = result.Statement, result.Decision == iam.Allowed, ""
	if call.Allowed {
		return call
	}
	switch result.Decision {
	case iam.ExplicitlyDenied:
		call.Problem = "the statement " + result.Statement + " denies it"
		return call
	case iam.Unknown:
		call.Problem = fmt.Sprintf("it cannot be judged here: %s in the statement %s", result.Reason, result.Statement)
		return call
	}
	call.Problem = "nothing allows it"
	if name, why := iam.Nearest(stack, call.Request); name != "" && why == "" {
		call.Problem += "; the nearest is the statement " + name + " of the stack, which the role does not have"
	} else if name, why := iam.Nearest(identity, call.Request); name != "" && why != "" {
		call.Problem += fmt.Sprintf("; the nearest is the statement %s, but for %s", name, why)
	} else if name != "" && why == "" {
		call.Problem += "; the statement " + name + " would, and its permissions boundary does not"
	}
	return call
}

// policies returns all policies of a role, and its boundary, nil without one.
func (g *Proxy) policies(ctx context.Context, role string) (identity, boundary []iam.Document, err error) {
	found, err := g.query.Role(ctx, role)
	if err != nil {
		return nil, nil, err
	}
	return iam.ReadPolicies(ctx, g.query, role, found.Boundary)
}

// ErrNotJudged is the reason for refusing a call that the table does not have.
var ErrNotJudged = errors.New("the emulator has no list of the permissions that the call needs, and refuses it")
