package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"github.com/hashicorp/terraform-cdk-go/cdktf"
	tfjson "github.com/hashicorp/terraform-json"
	"golang.org/x/sync/errgroup"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/aws/query"
	"prefect-worker-ecs/internal/faststart"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/prefectserver"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/metrics"
	"prefect-worker-ecs/internal/prefect/probe"
	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/terraform/stackjson"
	"prefect-worker-ecs/internal/terraform/terraform"
	"prefect-worker-ecs/internal/test/deployment"
	"prefect-worker-ecs/internal/test/testtools"
	"prefect-worker-ecs/stacks"
)

// Markers: no report may show them.
const (
	apiKey = "pnu_marker7c1e5a90d2b84f36"
	basic  = "admin:marker-pass w0rd:x"
)

// prefect3 are the settings of a worker of Prefect 3.
const prefect3 = "image: \"prefecthq/prefect:3.9.1-python3.12\""

// TestMain starts what synthesizes, and ends it.
func TestMain(m *testing.M) {
	faststart.Enable()
	code := m.Run()
	faststart.Close()
	os.Exit(code)
}

// harness is the program's own stack in an emulator, with real Prefect servers of both major versions
// and a worker that works. All cases share it: each undoes what it changes.
type harness struct {
	stackDir string // where Terraform runs
	project  project.Project
	aws      aws.Config
	environ  []string // variables that lead to the emulator
	envs     map[int]pyenv.Env
	// two wants no credential, three wants user and password.
	two, three *prefectserver.Server
	// opt is for the worker that works.
	opt      Options
	services int

	clients
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{project: testtools.Project(t), stackDir: t.TempDir(), envs: map[int]pyenv.Env{2: testtools.Environment(t, pyenv.Prefect2), 3: testtools.Environment(t, pyenv.Prefect3)}}
	moto := testtools.Environment(t, pyenv.Moto)
	// The servers see no settings of the user's.
	t.Setenv("PREFECT_API_URL", "https://api.prefect.cloud/api/accounts/a/workspaces/w")
	t.Setenv("PREFECT_API_KEY", "of-the-user")
	together, ctx := errgroup.WithContext(t.Context())
	together.Go(func() error {
		emu, err := emulator.Start(ctx, emulator.Options{Python: moto, Dir: t.TempDir()})
		if err != nil {
			return err
		}
		t.Cleanup(func() {
			if err := emu.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
		h.environ = emu.Env(emulator.Region)
		return nil
	})
	for major, server := range map[int]**prefectserver.Server{2: &h.two, 3: &h.three} {
		together.Go(func() (err error) {
			options := prefectserver.Options{Env: h.envs[major], Dir: t.TempDir()}
			if major == 3 {
				options.ExtraEnv = []string{"PREFECT_SERVER_API_AUTH_STRING=" + basic}
			}
			if *server, err = prefectserver.Start(ctx, options); err == nil {
				t.Cleanup(func() { end(t, *server) })
			}
			return err
		})
	}
	testtools.NoError(t, together.Wait())
	h.aws = testtools.AWS(t, h.environ)
	h.clients = newClients(h.aws)
	// GIVEN the stack with all that watches the worker, and a worker that works
	h.createPool(t, h.two, "good", "process")
	h.opt = h.synthesize(t, h.yaml("good", h.two.APIURL(), "")+"monitoring: {enabled: true, emails: [a@example.com]}\n")
	h.apply(t, h.opt.Stack)
	h.run(t, h.opt)
	h.publish(t)
	green(t, Wait(t.Context(), h.opt, 2*time.Minute, nil))
	return h
}

// yaml is an environment with a process pool, whose worker of a local process sends a heartbeat and
// polls every two seconds. settings are further ones of the worker.
func (h *harness) yaml(pool, apiURL, settings string) string {
	return fmt.Sprintf("local_run: true\nprefect: {api_url: %q}\nwork_pool: {name: %q, type: process}\n"+
		"worker: {environment: {PREFECT_WORKER_HEARTBEAT_SECONDS: \"2\", PREFECT_WORKER_QUERY_SECONDS: \"2\"}, %s}\n", apiURL, pool, settings)
}

// synthesize synthesizes an environment dev of this YAML, here and not in the program, which
// would be started each time.
func (h *harness) synthesize(t *testing.T, yaml string) Options {
	t.Helper()
	dir, out := t.TempDir(), t.TempDir()
	testtools.NoError(t, os.WriteFile(filepath.Join(dir, "dev.yaml"), []byte(yaml), 0o644))
	envs, err := config.LoadLocal(dir)
	testtools.NoError(t, err)
	app := cdktf.NewApp(&cdktf.AppConfig{Outdir: &out})
	stacks.NewPrefectWorker(app, envs[0])
	app.Synth()
	file, err := os.ReadFile(project.StackFile(out, "dev"))
	testtools.NoError(t, err)
	return Options{Environment: envs[0], Stack: file, AWS: h.aws}
}

// apply deploys a stack with Terraform.
func (h *harness) apply(t *testing.T, file []byte) {
	t.Helper()
	var stack map[string]any
	testtools.NoError(t, json.Unmarshal(file, &stack))
	delete(stack["terraform"].(map[string]any), "backend")
	file, err := json.Marshal(stack)
	testtools.NoError(t, err)
	for name, content := range map[string][]byte{"cdk.tf.json": file, probe.ArchiveName: probe.Archive()} {
		testtools.NoError(t, os.WriteFile(filepath.Join(h.stackDir, name), content, 0o644))
	}
	_, err = h.stack(t).Output(t.Context(), "apply", "-auto-approve", "-input=false")
	testtools.NoError(t, err)
}

// stack is the deployment for Terraform, which was initialized.
func (h *harness) stack(t *testing.T) terraform.Stack {
	t.Helper()
	environ, err := h.project.Environ(slices.Concat(os.Environ(), h.environ, []string{"TF_VAR_prefect_api_key=" + apiKey}))
	testtools.NoError(t, err)
	stack := terraform.Stack{Dir: h.stackDir, Environ: environ, TrustProvider: true}
	testtools.NoError(t, stack.Init(t.Context()))
	return stack
}

// plan returns Terraform's plan over the state of the deployment.
func (h *harness) plan(t *testing.T) func(context.Context) (*tfjson.Plan, error) {
	stack := h.stack(t)
	return func(ctx context.Context) (*tfjson.Plan, error) { return stack.Plan(ctx, "-lock=false") }
}

// run runs the task of a deployed service as ECS would, until the test ends.
func (h *harness) run(t *testing.T, opt Options) *worker {
	t.Helper()
	env := opt.Environment
	out := testtools.Call(t, h.ecs.DescribeTaskDefinition, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &env.Worker.ServiceName})
	services := testtools.Call(t, h.ecs.DescribeServices, &ecs.DescribeServicesInput{Cluster: &env.Cluster.Name, Services: []string{env.Worker.ServiceName}}).Services
	deployment := *services[0].Deployments[0].Id
	task := ecstask.Options{
		Definition: *out.TaskDefinition, Cluster: env.Cluster.Name, Service: env.Worker.ServiceName, AWS: h.aws,
		Image: func(context.Context, []string) (pyenv.Env, error) { return h.envs[env.PrefectMajor()], nil },
		Dir:   t.TempDir(),
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{}
	task.Notify = func(e ecstask.Event) {
		if err := ecstask.Report(ctx, h.ecs, env.Cluster.Name, task.TaskARN(e.TaskID), deployment, e); err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	}
	done := make(chan error, 1)
	go func() { done <- ecstask.Run(ctx, ecstask.Fixed(task)) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// serviceOf gives the environment of a YAML, which ends with settings of the worker, a service, a task
// definition and a log group of its own in the deployed stack.
func (h *harness) serviceOf(t *testing.T, yaml string) Options {
	t.Helper()
	h.services++
	name := fmt.Sprintf("case-%d", h.services)
	opt := h.synthesize(t, named(yaml, name)+"logs: {group: /"+name+"}\n")
	testtools.Call(t, h.logs.CreateLogGroup, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &opt.Environment.Logs.Group})
	stack := parsed(t, opt)
	text, _ := stack.Resource("aws_ecs_task_definition", "worker")["container_definitions"].(string)
	var containers []types.ContainerDefinition
	testtools.NoError(t, json.Unmarshal([]byte(text), &containers))
	for i := range containers[0].Secrets {
		containers[0].Secrets[i].ValueFrom = aws.String(h.secretARN(t, opt))
	}
	good := testtools.Call(t, h.ecs.DescribeTaskDefinition, &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("dev-worker")}).TaskDefinition
	definition := testtools.Call(t, h.ecs.RegisterTaskDefinition, &ecs.RegisterTaskDefinitionInput{
		Family: &name, Cpu: good.Cpu, Memory: good.Memory, NetworkMode: good.NetworkMode, RequiresCompatibilities: good.RequiresCompatibilities,
		ExecutionRoleArn: good.ExecutionRoleArn, TaskRoleArn: good.TaskRoleArn, ContainerDefinitions: containers,
	}).TaskDefinition
	service := testtools.Call(t, h.ecs.DescribeServices, &ecs.DescribeServicesInput{Cluster: aws.String("prefect-cluster"), Services: []string{"dev-worker"}}).Services[0]
	testtools.Call(t, h.ecs.CreateService, &ecs.CreateServiceInput{Cluster: aws.String("prefect-cluster"), ServiceName: &name, TaskDefinition: definition.TaskDefinitionArn,
		DesiredCount: aws.Int32(1), LaunchType: types.LaunchTypeFargate, NetworkConfiguration: service.NetworkConfiguration})
	return opt
}

// parsed is the stack of the options in the account of the emulator.
func parsed(t *testing.T, opt Options) *stackjson.Stack {
	t.Helper()
	stack, err := stackjson.Parse(opt.Stack, iam.Account{Partition: "aws", Region: "us-east-1", ID: "123456789012"}, nil)
	testtools.NoError(t, err)
	return stack
}

// named is a YAML, which ends with settings of the worker, with the name of a service.
func named(yaml, service string) string {
	return strings.Replace(yaml, "worker: {", "worker: {service_name: "+service+", ", 1)
}

// The names of the secrets with a key, and with user and password.
const (
	secretID    = "prefect-api-key-new-2"
	basicSecret = "basic"
)

// secretARN is that of the credential of an environment.
func (h *harness) secretARN(t *testing.T, opt Options) string {
	t.Helper()
	name := secretID
	if opt.Environment.Prefect.Authentication == config.AuthBasic {
		name = basicSecret
	}
	return *testtools.Call(t, h.secrets.DescribeSecret, &secretsmanager.DescribeSecretInput{SecretId: &name}).ARN
}

// publish publishes the metrics of a worker that works, as its probe would.
func (h *harness) publish(t *testing.T) {
	t.Helper()
	in := &cloudwatch.PutMetricDataInput{Namespace: aws.String(probe.Namespace)}
	for _, name := range metrics.Names {
		value := 0.0
		if name == "WorkersOnline" || name == "TasksDesired" {
			value = 1
		}
		in.MetricData = append(in.MetricData, cwtypes.MetricDatum{MetricName: &name, Value: &value, Timestamp: aws.Time(time.Now()),
			Dimensions: []cwtypes.Dimension{{Name: aws.String(probe.Dimension), Value: aws.String("dev-worker")}}})
	}
	testtools.Call(t, h.cloudwatch.PutMetricData, in)
}

// worker is the service's task, run as ECS would.
type worker struct {
	mu     sync.Mutex
	events []ecstask.Event
	stop   func()
}

// await waits for an event of the kind.
func (w *worker) await(t *testing.T, kind ecstask.Kind) ecstask.Event {
	t.Helper()
	var event ecstask.Event
	eventually(t, "event "+string(kind), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		i := slices.IndexFunc(w.events, func(e ecstask.Event) bool { return e.Kind == kind })
		if i >= 0 {
			event = w.events[i]
		}
		return i >= 0
	})
	return event
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// reader makes the options those of somebody who has only the environment's policy for reading.
func (h *harness) reader(t *testing.T, opt Options) Options {
	t.Helper()
	stack := parsed(t, opt)
	document, err := deployer.Policy(stack, deployer.Read)
	testtools.NoError(t, err)
	proxy, err := enforce.Start(enforce.Options{AWS: opt.AWS, Deployer: deployment.Permissions(opt.AWS), Journal: func(call enforce.Call) {
		if !call.Allowed {
			t.Error(call)
		}
	}})
	testtools.NoError(t, err)
	t.Cleanup(proxy.Close)
	opt.AWS = opt.AWS.Copy()
	opt.AWS.BaseEndpoint = aws.String(proxy.Endpoint())
	opt.AWS.Credentials = credentials.NewStaticCredentialsProvider(proxy.As("arn:aws:iam::123456789012:user/reader", document), "x", "")
	return opt
}

func green(t *testing.T, report Report) {
	t.Helper()
	noSecret(t, report)
	if report.Outcome != OK {
		t.Fatalf("not green:\n%s", text(report))
	}
}

func text(report Report) string {
	var b bytes.Buffer
	report.Print(&b)
	return b.String()
}

// noSecret: whatever went wrong, no credential is in anything that is shown.
func noSecret(t *testing.T, report Report) {
	t.Helper()
	asJSON, err := json.Marshal(report)
	testtools.NoError(t, err)
	for _, secret := range []string{apiKey, "marker"} {
		if strings.Contains(text(report)+string(asJSON), secret) {
			t.Errorf("a credential is in the report:\n%s", text(report))
		}
	}
}

// want is what verify has to say: the status of a check, which is the outcome of all too, and texts in
// its detail and its fix.
type want struct {
	check   string
	status  Status
	fix     string
	details []string
	also    *want
}

func failing(check string, details ...string) want {
	return want{check: check, status: Failed, details: details}
}

func unsure(check string, details ...string) want {
	return want{check: check, status: Unknown, details: details}
}

// fixedBy adds a text of the fix.
func (w want) fixedBy(text string) want {
	w.fix = text
	return w
}

// and adds what verify has to say of another check.
func (w want) and(also want) want {
	w.also = &also
	return w
}

// well says that nothing is wrong.
var well = want{status: OK}

// judge fails the test if a report does not say what is wanted.
func (w want) judge(t *testing.T, report Report) {
	t.Helper()
	noSecret(t, report)
	if !w.in(report) || report.Outcome != w.status {
		t.Errorf("want %s %s with %q, fix %q:\n%s", w.check, w.status, w.details, w.fix, text(report))
	}
}

// in reports whether a report says what is wanted of the check.
func (w want) in(report Report) bool {
	return w.check == "" || (w.also == nil || w.also.in(report)) && slices.ContainsFunc(report.Checks, func(c Check) bool {
		lacks := slices.ContainsFunc(w.details, func(detail string) bool { return !strings.Contains(c.Detail, detail) })
		return c.Name == w.check && c.Status == w.status && !lacks && strings.Contains(c.Fix, w.fix) && (c.Fix != "" || c.Status == OK)
	})
}

// client returns a client of one of the servers.
func (h *harness) client(t *testing.T, server *prefectserver.Server) *api.Client {
	t.Helper()
	client, err := api.New(server.APIURL(), "")
	if server == h.three {
		client, err = api.NewBasic(server.APIURL(), basic)
	}
	testtools.NoError(t, err)
	return client
}

func (h *harness) createPool(t *testing.T, server *prefectserver.Server, name, kind string) {
	t.Helper()
	testtools.NoError(t, h.client(t, server).CreateWorkPool(t.Context(), name, kind))
}

// prefect makes a call of a server's API that the client has not.
func (h *harness) prefect(t *testing.T, server *prefectserver.Server, method, path string, body any) {
	t.Helper()
	testtools.PostPrefect(t, method, server.APIURL()+path, body, func(request *http.Request) {
		if user, password, _ := strings.Cut(basic, ":"); server == h.three {
			request.SetBasicAuth(user, password)
		}
	})
}

// before is the address of a server that passes to another what it does not answer itself.
func before(t *testing.T, address string, answers func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	target, err := url.Parse(address)
	testtools.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answers(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// front is a server before Prefect 2's that answers some requests itself: answer returns the
// status to answer with, or 0 to pass the request on.
func (h *harness) front(t *testing.T, answer func(*http.Request) int) string {
	t.Helper()
	return before(t, h.two.URL(), func(w http.ResponseWriter, r *http.Request) bool {
		status := answer(r)
		if status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"detail":%q}`, http.StatusText(status))
		}
		return status != 0
	}) + "/api"
}

// change changes one thing, in the deployment or in the options of whoever verifies it, and returns what
// undoes it. Nil: nothing has to be undone.
type change func(t *testing.T, opt *Options) (undo func())

// env changes the configuration of whoever verifies.
func env(edit func(*config.Environment)) change {
	return func(_ *testing.T, opt *Options) func() {
		changed := *opt.Environment
		edit(&changed)
		opt.Environment = &changed
		return nil
	}
}

// refusing takes the permission for one operation of AWS away from whoever verifies.
func refusing(operation string) change {
	return between(func(name string, call func() (any, error)) (any, error) {
		if name == operation {
			return nil, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not authorized"}
		}
		return call()
	})
}

// empty makes the answer to one operation of AWS one of success with nothing in it.
func empty(operation string) change {
	return between(func(name string, call func() (any, error)) (any, error) {
		out, err := call()
		if name == operation && err == nil {
			reflect.ValueOf(out).Elem().SetZero()
		}
		return out, err
	})
}

// page answers to one operation of AWS with a page and 200, as a proxy may.
func page(operation string) change {
	return func(t *testing.T, opt *Options) func() {
		address := before(t, *opt.AWS.BaseEndpoint, func(w http.ResponseWriter, r *http.Request) bool {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			meant := strings.HasSuffix(r.Header.Get("X-Amz-Target"), "."+operation) || strings.Contains(string(body)+"&", "Action="+operation+"&")
			if meant {
				fmt.Fprint(w, "<html><body>log in</body></html>")
			}
			return meant
		})
		opt.AWS = opt.AWS.Copy()
		opt.AWS.BaseEndpoint = &address
		return nil
	}
}

// edited changes the answers of AWS of one type.
func edited[Out any](edit func(*Out)) change {
	return between(func(_ string, call func() (any, error)) (any, error) {
		out, err := call()
		if answer, ok := out.(*Out); ok && answer != nil {
			edit(answer)
		}
		return out, err
	})
}

// each changes the items of EC2's answers of one type.
func each[Item any](edit func(*Item)) change {
	return edited(func(out *query.Page[Item]) {
		for _, set := range out.Sets {
			for i := range set.Items {
				edit(&set.Items[i])
			}
		}
	})
}

// between puts a function between verify and AWS, which gets each operation's name and the call.
func between(answer func(operation string, call func() (any, error)) (any, error)) change {
	return func(_ *testing.T, opt *Options) func() {
		opt.AWS = opt.AWS.Copy()
		opt.AWS.APIOptions = append(slices.Clone(opt.AWS.APIOptions), func(stack *middleware.Stack) error {
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("between", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (out middleware.InitializeOutput, metadata middleware.Metadata, err error) {
				out.Result, err = answer(awsmiddleware.GetOperationName(ctx), func() (any, error) {
					out, metadata, err = next.HandleInitialize(ctx, in)
					return out.Result, err
				})
				return out, metadata, err
			}), middleware.After)
		})
		return nil
	}
}
