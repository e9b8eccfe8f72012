package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/ecstask"
	"prefect-worker-ecs/internal/emulator"
	"prefect-worker-ecs/internal/prefectapi"
	"prefect-worker-ecs/internal/prefectserver"
	"prefect-worker-ecs/internal/pyenv"
	"prefect-worker-ecs/internal/testtools"
	"prefect-worker-ecs/internal/toolchain"
)

// The key is a marker: no report may show it.
const apiKey = "pnu_marker7c1e5a90d2b84f36"

// bench is a real Prefect 2 server and an emulator, shared by all cases.
type bench struct {
	t       *testing.T
	aws     aws.Config
	prefect pyenv.Env
	server  *prefectserver.Server
	emu     *emulator.Emulator
	golden  string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	project, err := toolchain.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, prefect: testtools.Environment(t, pyenv.Prefect2)}
	if b.emu, err = emulator.Start(t.Context(), emulator.Options{Python: testtools.Environment(t, pyenv.Moto), Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.emu.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if b.server, err = prefectserver.Start(t.Context(), prefectserver.Options{Env: b.prefect, Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	b.aws = testtools.AWS(t, b.emu.Env())
	file, err := os.ReadFile(filepath.Join(project.Root, "testdata", "golden", "dev.tf.json"))
	if err != nil {
		t.Fatal(err)
	}
	b.golden = string(file)
	return b
}

// scenario is one deployment and what is wrong with it.
type scenario struct {
	pool     string // name of the work pool in the deployment
	poolType string // type that the worker is started with
	apiURL   string
	secret   string
	env      map[string]string
}

// deploy puts the program's own task definition, of the golden file, into the emulator, with
// all that belongs to it, and returns the environment that it was deployed from.
func (b *bench) deploy(t *testing.T, s scenario) *config.Environment {
	t.Helper()
	ctx := t.Context()
	if err := b.emu.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	env := config.Default("dev")
	env.WorkPool.Name, env.WorkPool.Type = s.pool, config.PoolType(s.poolType)
	env.Worker.Environment = s.env
	if s.poolType == "ecs" {
		env.Worker.PrefectAWSIncluded = true // it is not: that is the scenario
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	logs := cloudwatchlogs.NewFromConfig(b.aws)
	_, err := logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &env.Logs.Group})
	must(err)
	secret, err := secretsmanager.NewFromConfig(b.aws).CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &env.Secret.Name, SecretString: &s.secret})
	must(err)
	roles := iam.NewFromConfig(b.aws)
	role, err := roles.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &env.IAM.ExecutionRoleName, AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
	must(err)
	b.putPolicy(t, env, *secret.ARN)

	client := ecs.NewFromConfig(b.aws)
	_, err = client.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: &env.Cluster.Name})
	must(err)
	var stack struct {
		Resource struct {
			Task map[string]struct {
				Containers string `json:"container_definitions"`
			} `json:"aws_ecs_task_definition"`
		}
	}
	must(json.Unmarshal([]byte(b.golden), &stack))
	text := strings.NewReplacer(
		"${local.prefect_api_url}", s.apiURL,
		"${aws_secretsmanager_secret.prefect_api_key.arn}", *secret.ARN,
		"${aws_cloudwatch_log_group.worker.name}", env.Logs.Group,
		"${var.aws_region}", env.Region,
		"ecs-work-pool", s.pool,
		`"--type","process","--limit","1"`, map[string]string{"process": `"--type","process","--limit","1"`, "ecs": `"--type","ecs","--limit","1"`}[s.poolType],
		"$${", "${", "%%{", "%{",
	).Replace(stack.Resource.Task["worker"].Containers)
	var containers []types.ContainerDefinition
	decodeCamel(t, text, &containers)
	for name, value := range s.env {
		containers[0].Environment = append(containers[0].Environment, types.KeyValuePair{Name: &name, Value: &value})
	}
	_, err = client.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
		Family: &env.Worker.ServiceName, Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: types.NetworkModeAwsvpc,
		ExecutionRoleArn: role.Role.Arn, RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, ContainerDefinitions: containers,
	})
	must(err)
	_, err = client.CreateService(ctx, &ecs.CreateServiceInput{Cluster: &env.Cluster.Name, ServiceName: &env.Worker.ServiceName,
		TaskDefinition: &env.Worker.ServiceName, DesiredCount: aws.Int32(1), LaunchType: types.LaunchTypeFargate})
	must(err)
	return env
}

// decodeCamel decodes the JSON of ECS, whose keys begin with a small letter. (encoding/json
// matches them with the SDK's fields regardless of case.)
func decodeCamel(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func (b *bench) putPolicy(t *testing.T, env *config.Environment, resource string) {
	t.Helper()
	_, err := iam.NewFromConfig(b.aws).PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
		RoleName: &env.IAM.ExecutionRoleName, PolicyName: aws.String("read"),
		PolicyDocument: aws.String(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["secretsmanager:GetSecretValue"],"Resource":[%q]}]}`, resource)),
	})
	if err != nil {
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
func (b *bench) start(t *testing.T, env *config.Environment) *worker {
	t.Helper()
	client := ecs.NewFromConfig(b.aws)
	out, err := client.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: &env.Worker.ServiceName})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{}
	done := make(chan error, 1)
	go func() {
		done <- ecstask.Run(ctx, ecstask.Options{
			Definition: *out.TaskDefinition, Cluster: env.Cluster.Name, Service: env.Worker.ServiceName, AWS: b.aws,
			Image: func(context.Context, []string) (pyenv.Env, error) { return b.prefect, nil },
			Dir:   t.TempDir(),
			Notify: func(e ecstask.Event) {
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

func (b *bench) verify(t *testing.T, env *config.Environment) Report {
	t.Helper()
	report := Run(t.Context(), Options{Environment: env, AWS: b.aws})
	b.noKey(t, report)
	return report
}

// noKey: whatever went wrong, the key is in nothing that is shown.
func (b *bench) noKey(t *testing.T, report Report) {
	t.Helper()
	var text bytes.Buffer
	report.Print(&text)
	asJSON, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String()+string(asJSON), strings.TrimSpace(apiKey)) {
		t.Error("the API key is in the report")
	}
}

// expect fails the test unless the check failed, with these words in what was found and in
// the fix. It returns the report as text.
func expect(t *testing.T, report Report, name, detail, fix string) {
	t.Helper()
	var text bytes.Buffer
	report.Print(&text)
	if report.OK {
		t.Fatalf("the report is green:\n%s", text.String())
	}
	for _, check := range report.Checks {
		if check.Name == name && check.Status == Failed {
			if !strings.Contains(check.Detail, detail) || !strings.Contains(check.Fix, fix) {
				t.Errorf("%s: got %q, fix %q\nwant %q, fix %q", name, check.Detail, check.Fix, detail, fix)
			}
			return
		}
	}
	t.Errorf("%s should have failed:\n%s", name, text.String())
}

// saysStarted tells whether the worker's log holds the line that proves nothing.
func saysStarted(report Report) bool { return slices.ContainsFunc(report.Log, started.MatchString) }

func (b *bench) createPool(t *testing.T, name, kind string) {
	t.Helper()
	client, err := prefectapi.New(b.server.APIURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.CreateWorkPool(t.Context(), name, kind); err != nil {
		t.Fatal(err)
	}
}

// front is a server before Prefect's that answers some requests itself: refuse returns the
// status to answer with, or 0 to pass the request on.
func (b *bench) front(t *testing.T, refuse func(*http.Request) int) string {
	t.Helper()
	target, err := url.Parse(b.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := refuse(r); status != 0 {
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

// TestVerify goes through what really goes wrong with workers, each for real: a real worker,
// a real Prefect server, the program's own task definition. None of them may be green,
// and each must be called by its name.
func TestVerify(t *testing.T) {
	b := newBench(t)
	process := func(pool string) scenario {
		return scenario{pool: pool, poolType: "process", apiURL: b.server.APIURL(), secret: apiKey}
	}

	t.Run("a worker that works, and then is killed", func(t *testing.T) {
		// GIVEN a deployment whose worker beats every two seconds
		b.createPool(t, "good", "process")
		s := process("good")
		s.env = map[string]string{"PREFECT_WORKER_HEARTBEAT_SECONDS": "2"}
		env := b.deploy(t, s)
		w := b.start(t, env)
		// THEN verify becomes green
		report := Wait(t.Context(), Options{Environment: env, AWS: b.aws}, 2*time.Minute, nil)
		b.noKey(t, report)
		if !report.OK {
			var text bytes.Buffer
			report.Print(&text)
			t.Fatal(text.String())
		}

		// WHEN what AWS has changes, THEN verify says what
		b.changes(t, env)

		// WHEN the worker is killed and not replaced
		process := w.await(t, ecstask.Started).Process
		if err := syscall.Kill(process.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.stop()
		// THEN ECS still counts a running task here and Prefect calls the worker online for
		// a while, and verify does not believe them
		eventually(t, "a failed verification", func() bool { report = b.verify(t, env); return !report.OK })
		expect(t, report, checkWorker, "no worker of this service is online in good", "--wait")
		if !strings.Contains(report.Checks[2].Detail, "1 of 1 tasks running") {
			t.Errorf("the emulator should still count a task: %v", report.Checks[2])
		}
	})

	t.Run("managed pool", func(t *testing.T) {
		b.createPool(t, "managed", "prefect:managed")
		env := b.deploy(t, process("managed"))
		b.start(t, env)
		// The worker is told to be of type process, so it starts, warns and is even online.
		var report Report
		eventually(t, "an online worker", func() bool {
			report = b.verify(t, env)
			return slices.ContainsFunc(report.Checks, func(c Check) bool { return c.Name == checkWorker && c.Status == OK })
		})
		expect(t, report, checkPool, "managed is of type prefect:managed: Prefect runs its flows itself", "prefect work-pool create NAME --type process")
	})

	t.Run("missing pool that may not be created", func(t *testing.T) {
		// As Prefect Cloud's free plan answers.
		s := process("absent")
		s.apiURL = b.front(t, func(r *http.Request) int {
			if r.Method == http.MethodPost && r.URL.Path == "/api/work_pools/" {
				return http.StatusForbidden
			}
			return 0
		})
		env := b.deploy(t, s)
		b.start(t, env).await(t, ecstask.Stopped)
		report := b.verify(t, env)
		expect(t, report, checkPool, "there is no work pool absent", `prefect work-pool create "absent" --type process`)
		expect(t, report, checkLog, "the key may not do this", "role Worker")
		if !saysStarted(report) {
			t.Errorf("Prefect 2 says that it started and ends at once; the log has: %v", report.Log)
		}
	})

	t.Run("wrong key", func(t *testing.T) {
		b.createPool(t, "locked", "process")
		s := process("locked")
		s.apiURL = b.front(t, func(r *http.Request) int {
			if r.Header.Get("Authorization") != "Bearer another" {
				return http.StatusUnauthorized
			}
			return 0
		})
		env := b.deploy(t, s)
		b.start(t, env).await(t, ecstask.Stopped)
		report := b.verify(t, env)
		expect(t, report, checkAPI, "the API refuses the key", "raise secret.version")
		expect(t, report, checkLog, "the Prefect API refuses the key", "new API key")
	})

	t.Run("API that is not there", func(t *testing.T) {
		closed := httptest.NewServer(http.NotFoundHandler())
		s := process("unreachable")
		s.apiURL = closed.URL + "/api"
		closed.Close()
		env := b.deploy(t, s)
		b.start(t, env).await(t, ecstask.Stopped)
		report := b.verify(t, env)
		expect(t, report, checkAPI, "the Prefect API cannot be reached", "prefect_api_url")
		expect(t, report, checkLog, "the worker cannot reach the Prefect API", "egress rule")
	})

	t.Run("URL without account and workspace", func(t *testing.T) {
		s := process("nowhere")
		s.apiURL = b.front(t, func(r *http.Request) int {
			if !strings.Contains(r.URL.Path, "/accounts/") {
				return http.StatusNotFound
			}
			return 0
		})
		env := b.deploy(t, s)
		b.start(t, env).await(t, ecstask.Stopped)
		report := b.verify(t, env)
		expect(t, report, checkAPI, "is not the API of a workspace (404)", "prefect_account_id and prefect_workspace_id")
		if !saysStarted(report) {
			t.Errorf("Prefect 2 says that it started and ends at once; the log has: %v", report.Log)
		}
	})

	t.Run("ecs pool without prefect-aws", func(t *testing.T) {
		b.createPool(t, "tasks", "ecs")
		s := process("tasks")
		s.poolType = "ecs"
		env := b.deploy(t, s)
		b.start(t, env).await(t, ecstask.Stopped)
		report := b.verify(t, env)
		expect(t, report, checkLog, "the image lacks the package for this type of pool; for an ecs pool that is prefect-aws", "worker.prefect_aws_included")
		expect(t, report, checkWorker, "no worker of this service is online in tasks", "log")
	})

	t.Run("key with a line break", func(t *testing.T) {
		b.createPool(t, "newline", "process")
		s := process("newline")
		s.secret = apiKey + "\n"
		env := b.deploy(t, s)
		b.start(t, env).await(t, ecstask.Started)
		report := b.verify(t, env)
		expect(t, report, checkSecret, "has a line break or blanks around the key", "raise secret.version")
		expect(t, report, checkWorker, "no worker of this service is online", checkSecret)
	})
}

// changes takes away or changes one thing after the other in AWS, sees verify name it, and
// puts it back.
func (b *bench) changes(t *testing.T, env *config.Environment) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	secrets, client := secretsmanager.NewFromConfig(b.aws), ecs.NewFromConfig(b.aws)

	b.putPolicy(t, env, "arn:aws:secretsmanager:us-east-1:123456789012:secret:another-AbCdEf")
	expect(t, b.verify(t, env), checkPolicy, "no policy of the execution role prefect-task-execution-role allows", "make deploy")
	b.putPolicy(t, env, "*")

	put := func(value string) {
		_, err := secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &env.Secret.Name, SecretString: &value})
		must(err)
	}
	put("pnu_ä")
	expect(t, b.verify(t, env), checkSecret, "characters that no API key has", "raise secret.version")
	put(apiKey)

	other := *env
	other.Worker.MemoryMiB, other.WorkPool.Queues = 1024, []string{"high"}
	expect(t, b.verify(t, &other), checkDefinition, "memory is 512, configured is 1024; queues is none, configured is high", "make deploy ENV=dev")

	other = *env
	other.AccountID = "999999999999"
	expect(t, b.verify(t, &other), checkAccount, "the credentials are for account 123456789012, the environment is for 999999999999", "account_id")

	other = *env
	other.Cluster.Name = "another"
	expect(t, b.verify(t, &other), checkCluster, "there is no cluster another", "make deploy ENV=dev")

	other = *env
	other.Worker.ServiceName = "another"
	expect(t, b.verify(t, &other), checkService, "there is no service another", "make deploy ENV=dev")

	_, err := client.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: &env.Cluster.Name, Service: &env.Worker.ServiceName, DesiredCount: aws.Int32(0)})
	must(err)
	expect(t, b.verify(t, env), checkService, "the service is paused", "worker.desired_count")
	_, err = client.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: &env.Cluster.Name, Service: &env.Worker.ServiceName, DesiredCount: aws.Int32(1)})
	must(err)

	if report := b.verify(t, env); !report.OK {
		t.Errorf("all is put back, and verify fails: %+v", report)
	}
}
