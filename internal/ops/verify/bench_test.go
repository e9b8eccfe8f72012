package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/hashicorp/terraform-cdk-go/cdktf"
	"golang.org/x/sync/errgroup"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/faststart"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/prefectserver"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/prefect/api"
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

// beats makes a worker beat and ask for runs every two seconds.
const beats = "worker: {environment: {PREFECT_WORKER_HEARTBEAT_SECONDS: \"2\", PREFECT_WORKER_QUERY_SECONDS: \"2\"}}\n"

// prefect3 makes a worker one of Prefect 3.
const prefect3 = "worker: {image: \"prefecthq/prefect:3.8.3-python3.12\"}\n"

// TestMain starts what synthesizes, and ends it.
func TestMain(m *testing.M) {
	faststart.Enable()
	code := m.Run()
	faststart.Close()
	os.Exit(code)
}

// bench is the program's own stack in an emulator, with real Prefect servers of both major
// versions, shared by all cases.
type bench struct {
	t        *testing.T
	project  project.Project
	stackDir string // where Terraform runs
	aws      aws.Config
	environ  []string // variables that lead to the emulator
	envs     map[int]pyenv.Env
	// two wants no credential, three wants user and password.
	two, three *prefectserver.Server

	ec2     *ec2.Client
	ecs     *ecs.Client
	iam     *awsiam.Client
	kms     *kms.Client
	secrets *secretsmanager.Client
}

func newBench(t *testing.T) *bench {
	t.Helper()
	testtools.Require(t, testtools.Node, testtools.Terraform)
	project, err := project.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, project: project, envs: map[int]pyenv.Env{2: testtools.Environment(t, pyenv.Prefect2), 3: testtools.Environment(t, pyenv.Prefect3)}}
	moto := testtools.Environment(t, pyenv.Moto)
	var emu *emulator.Emulator
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()}
	// The servers see no settings of the user's, and take another port if somebody is on the wanted one.
	t.Setenv("PREFECT_API_URL", "https://api.prefect.cloud/api/accounts/a/workspaces/w")
	t.Setenv("PREFECT_API_KEY", "of-the-user")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	wanted := taken.Addr().(*net.TCPAddr).Port
	ctx := t.Context()
	together, ctx := errgroup.WithContext(ctx)
	together.Go(func() (err error) {
		emu, err = emulator.Start(ctx, emulator.Options{Python: moto, Dir: dirs[0]})
		return err
	})
	together.Go(func() (err error) {
		b.two, err = prefectserver.Start(ctx, prefectserver.Options{Env: b.envs[2], Dir: dirs[1], Port: wanted})
		return err
	})
	together.Go(func() (err error) {
		b.three, err = prefectserver.Start(ctx, prefectserver.Options{Env: b.envs[3], Dir: dirs[2], Port: wanted, ExtraEnv: []string{"PREFECT_SERVER_API_AUTH_STRING=" + basic}})
		return err
	})
	err = together.Wait()
	t.Cleanup(func() {
		if emu != nil {
			if err := emu.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}
		for _, server := range []*prefectserver.Server{b.two, b.three} {
			if server != nil {
				end(t, server)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.environ = emu.Env()
	b.aws = testtools.AWS(t, b.environ)
	b.ec2, b.ecs, b.iam, b.kms, b.secrets = ec2.NewFromConfig(b.aws), ecs.NewFromConfig(b.aws), awsiam.NewFromConfig(b.aws), kms.NewFromConfig(b.aws), secretsmanager.NewFromConfig(b.aws)
	b.stackDir = dirs[3]
	b.apply(b.synthesize(t, b.yaml("good", "process", b.two.APIURL(), "")).Stack)
	return b
}

// yaml is an environment that the worker of a local process can be run from.
func (b *bench) yaml(pool, kind, apiURL, further string) string {
	return fmt.Sprintf("local_run: true\nprefect: {api_url: %q}\nwork_pool: {name: %q, type: %s}\n%s", apiURL, pool, kind, further)
}

// synthesize synthesizes an environment dev of this YAML, here and not in the program, which
// would be started for each option.
func (b *bench) synthesize(t *testing.T, yaml string) Options {
	t.Helper()
	dir, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dev.yaml"), []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	envs, err := config.LoadLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	app := cdktf.NewApp(&cdktf.AppConfig{Outdir: &out})
	stacks.NewPrefectWorker(app, envs[0])
	app.Synth()
	file, err := os.ReadFile(project.StackFile(out, "dev"))
	if err != nil {
		t.Fatal(err)
	}
	return Options{Environment: envs[0], Stack: file, AWS: b.aws}
}

// apply deploys a stack with Terraform, or the targets in it with what they need.
func (b *bench) apply(file []byte, targets ...string) {
	b.t.Helper()
	var stack map[string]any
	if err := json.Unmarshal(file, &stack); err != nil {
		b.t.Fatal(err)
	}
	delete(stack["terraform"].(map[string]any), "backend")
	file, err := json.Marshal(stack)
	if err != nil {
		b.t.Fatal(err)
	}
	for name, content := range map[string][]byte{"cdk.tf.json": file, probe.ArchiveName: probe.Archive()} {
		if err := os.WriteFile(filepath.Join(b.stackDir, name), content, 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	env, err := b.project.Environ(os.Environ())
	if err != nil {
		b.t.Fatal(err)
	}
	apply := []string{"apply", "-auto-approve", "-input=false"}
	for _, target := range targets {
		apply = append(apply, "-target="+target)
	}
	for _, args := range [][]string{{"init", "-input=false"}, apply} {
		cmd := exec.CommandContext(b.t.Context(), project.TerraformBinary(), append(args, "-no-color")...)
		cmd.Dir, cmd.Env = b.stackDir, append(env, "TF_VAR_prefect_api_key="+apiKey)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.t.Fatalf("terraform %s: %v\n%s", args[0], err, out)
		}
		if err := terraform.TrustProvider(b.stackDir); err != nil {
			b.t.Fatal(err)
		}
	}
}

// deploy makes the service run the task definition of an environment, and puts the
// credential into its secret. The rest of the stack stays.
func (b *bench) deploy(t *testing.T, yaml, credential string) Options {
	t.Helper()
	opt := b.synthesize(t, yaml)
	b.register(t, opt, nil)
	b.put(t, credential)
	// What an earlier case logged would be taken for this one's.
	logs := cloudwatchlogs.NewFromConfig(b.aws)
	streams, err := logs.DescribeLogStreams(t.Context(), &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: &opt.Environment.Logs.Group})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range streams.LogStreams {
		if _, err := logs.DeleteLogStream(t.Context(), &cloudwatchlogs.DeleteLogStreamInput{LogGroupName: &opt.Environment.Logs.Group, LogStreamName: s.LogStreamName}); err != nil {
			t.Fatal(err)
		}
	}
	return opt
}

// register registers the synthesized task definition, after change, and makes the service
// run it.
func (b *bench) register(t *testing.T, opt Options, change func(*ecs.RegisterTaskDefinitionInput)) {
	t.Helper()
	c := b.checklist(t, opt)
	want, err := c.wantedDefinition("worker")
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range want.ContainerDefinitions[0].Secrets {
		if strings.Contains(*s.ValueFrom, opt.Environment.Secret.Name) {
			want.ContainerDefinitions[0].Secrets[i].ValueFrom = aws.String(b.secretARN(t))
		}
	}
	in := &ecs.RegisterTaskDefinitionInput{
		Family: want.Family, Cpu: want.Cpu, Memory: want.Memory, NetworkMode: want.NetworkMode, RuntimePlatform: want.RuntimePlatform,
		ExecutionRoleArn: want.ExecutionRoleArn, TaskRoleArn: want.TaskRoleArn,
		RequiresCompatibilities: want.RequiresCompatibilities, ContainerDefinitions: want.ContainerDefinitions,
	}
	if change != nil {
		change(in)
	}
	out, err := b.ecs.RegisterTaskDefinition(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	b.updateService(t, &ecs.UpdateServiceInput{TaskDefinition: out.TaskDefinition.TaskDefinitionArn, DesiredCount: aws.Int32(1)})
}

// checklist knows where the stack is deployed.
func (b *bench) checklist(t *testing.T, opt Options) *checklist {
	t.Helper()
	c := &checklist{opt: opt, env: opt.Environment, aws: newClients(b.aws)}
	var err error
	c.stack, err = stackjson.Parse(opt.Stack, stackjson.Place{Partition: "aws", Region: "us-east-1", Account: "123456789012"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *bench) updateService(t *testing.T, in *ecs.UpdateServiceInput) {
	t.Helper()
	in.Cluster, in.Service = aws.String("prefect-cluster"), aws.String("dev-worker")
	if _, err := b.ecs.UpdateService(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) secretARN(t *testing.T) string {
	t.Helper()
	out, err := b.secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("prefect-api-key-new-2")})
	if err != nil {
		t.Fatal(err)
	}
	return *out.ARN
}

func (b *bench) put(t *testing.T, credential string) {
	t.Helper()
	if _, err := b.secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String("prefect-api-key-new-2"), SecretString: &credential}); err != nil {
		t.Fatal(err)
	}
}

// worker is the service's task, run as ECS would.
type worker struct {
	mu     sync.Mutex
	events []ecstask.Event
	stop   func()
}

// start runs the deployed task definition until the test ends.
func (b *bench) start(t *testing.T, opt Options) *worker {
	t.Helper()
	env := opt.Environment
	out, err := b.ecs.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: &env.Worker.ServiceName})
	if err != nil {
		t.Fatal(err)
	}
	reporter, err := ecstask.NewReporter(t.Context(), b.aws, env.Cluster.Name, env.Worker.ServiceName)
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := env.Worker.Runtime()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{}
	done := make(chan error, 1)
	go func() {
		done <- ecstask.Run(ctx, ecstask.Options{
			Definition: *out.TaskDefinition, Cluster: env.Cluster.Name, Service: env.Worker.ServiceName, AWS: b.aws,
			Image: func(context.Context, []string) (pyenv.Env, error) { return b.envs[runtime.Major()], nil },
			Dir:   t.TempDir(),
			Notify: func(e ecstask.Event) {
				if err := reporter.Report(ctx, e); err != nil {
					t.Error(err)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				w.events = append(w.events, e)
			},
		})
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	return w
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

func verified(t *testing.T, opt Options) Report {
	t.Helper()
	report := Run(t.Context(), opt)
	noSecret(t, report)
	return report
}

// green fails the test unless all is well.
// reader makes the options those of somebody who has only the environment's policy for reading.
func (b *bench) reader(t *testing.T, opt Options) Options {
	t.Helper()
	stack, err := stackjson.Parse(opt.Stack, stackjson.Place{Partition: "aws", Region: "us-east-1", Account: "123456789012"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	document, err := deployer.Policy(stack, deployer.Read)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := enforce.Start(enforce.Options{AWS: opt.AWS, Deployer: deployment.Permissions(opt.AWS), Journal: func(call enforce.Call) {
		if !call.Allowed {
			t.Error(call)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
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
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{apiKey, "marker"} {
		if strings.Contains(text(report)+string(asJSON), secret) {
			t.Errorf("a credential is in the report:\n%s", text(report))
		}
	}
}

// expect fails the test unless the check has this outcome, with these words in what was
// found and in the fix.
func expect(t *testing.T, report Report, name string, status Status, detail, fix string) {
	t.Helper()
	noSecret(t, report)
	if report.OK {
		t.Fatalf("the report is green:\n%s", text(report))
	}
	for _, check := range report.Checks {
		if check.Name == name && check.Status == status {
			if !strings.Contains(check.Detail, detail) || !strings.Contains(check.Fix, fix) {
				t.Errorf("%s: got %q, fix %q\nwant %q, fix %q", name, check.Detail, check.Fix, detail, fix)
			}
			return
		}
	}
	t.Errorf("%s should be %s:\n%s", name, status, text(report))
}

// saysStarted tells whether the worker's log holds the line that proves nothing.
func saysStarted(report Report) bool { return slices.ContainsFunc(report.Log, started.MatchString) }

// api is a client of one of the servers.
func (b *bench) client(t *testing.T, server *prefectserver.Server) *api.Client {
	t.Helper()
	client, err := api.New(server.APIURL(), "")
	if server == b.three {
		client, err = api.NewBasic(server.APIURL(), basic)
	}
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (b *bench) createPool(t *testing.T, server *prefectserver.Server, name, kind string) {
	t.Helper()
	if err := b.client(t, server).CreateWorkPool(t.Context(), name, kind); err != nil {
		t.Fatal(err)
	}
}

// prefect makes a call of a server's API that the client has not.
func (b *bench) prefect(t *testing.T, server *prefectserver.Server, method, path string, body any) {
	t.Helper()
	testtools.TellPrefect(t, method, server.APIURL()+path, body, func(request *http.Request) {
		if user, password, _ := strings.Cut(basic, ":"); server == b.three {
			request.SetBasicAuth(user, password)
		}
	})
}

// front is a server before Prefect 2's that answers some requests itself: answer returns the
// status to answer with, or 0 to pass the request on.
func (b *bench) front(t *testing.T, answer func(*http.Request) int) string {
	t.Helper()
	target, err := url.Parse(b.two.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := answer(r); status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"detail":%q}`, http.StatusText(status))
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/api"
}
