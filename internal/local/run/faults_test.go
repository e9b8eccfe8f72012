package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/alarm"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/postgres"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/local/supervise"
	"prefect-worker-ecs/internal/ops/tunnel"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/test/testtools"
)

// ticks is a flow that says each second that it lives.
const ticks = `import time
from prefect import flow, get_run_logger

@flow
def ticks(seconds: int = 60):
    for second in range(seconds):
        get_run_logger().info(f"tick {second}.")
        time.sleep(1)
`

// TestOwnServer runs an environment with a Prefect server of its own, and takes from it what
// fails in life: its database, the server, the password.
func TestOwnServer(t *testing.T) {
	t.Parallel()
	if postgres.Find() == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("PostgreSQL is not installed")
		}
		t.Skip("PostgreSQL is not installed")
	}
	w := newWorkerctl(t)
	testtools.Environment(t, pyenv.Prefect3)
	write(t, w.config, map[string]string{"dev.yaml": "worker: {image: 'prefecthq/prefect:3-latest', environment: {PREFECT_WORKER_HEARTBEAT_SECONDS: '2'}}\nserver: {enabled: true}\n" +
		"monitoring: {enabled: true, emails: [a@example.com]}\n" +
		"network: {existing: {vpc_id: vpc-0123456789abcdef0, subnet_ids: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]}}\n"})

	out := w.must("up", "dev")
	for _, want := range []string{
		"Prefect server http://127.0.0.1:", "from task definition prefect-server:1", "PostgreSQL on this machine stands for RDS",
		"all 15 checks of workerctl verify are green", "is COMPLETED", "The worker works.",
		"CloudWatch: 1 worker online, 1 of 1 tasks, ", " 0 lost; no alarm is red", " kinds by the probe, all allowed by: ",
		"DescribeWorker; ", "PublishMetrics; ", "ReadCredential; ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	s := w.state()
	t.Cleanup(func() { // whatever went wrong
		_ = s.OwnServer.Database.Stop(context.WithoutCancel(t.Context()))
	})
	b := faultBench{t: t, w: w, s: s}
	b.connect()
	b.way()
	b.drift()
	b.watched()

	run := b.start(85)
	time.Sleep(4 * time.Second)
	t.Log("the database is away for 5 and for 30 seconds while a flow runs")
	for _, away := range []time.Duration{5 * time.Second, 30 * time.Second} {
		b.restartDatabase(away)
		time.Sleep(8 * time.Second)
	}
	t.Log("the password is rotated, with which the server ends, and the flow runs on")
	b.rotate()
	if now, err := b.client.FlowRun(t.Context(), run); err != nil || now.State != "RUNNING" {
		t.Errorf("the flow run is %s, %v; it should have outlived all that", now.State, err)
	}
	b.completed(run, 85)

	// The worker of Prefect 3 ends at once and takes its runs with it; nobody tells the API. An
	// entry point of one's own would change nothing (tried with 3.8.3), and the stack sets none.
	t.Log("the worker's task is stopped while a flow runs: the run stays as it was")
	run = b.start(60)
	w.stopTask()
	if now, err := b.client.FlowRun(t.Context(), run); err != nil || now.State != "RUNNING" {
		t.Errorf("the flow run is %s, %v; docs/operate.md says that it stays RUNNING", now.State, err)
	}

	// What was deployed is gone with the emulator, for whose database Terraform waits a minute.
	testtools.NoError(t, s.Emulator.Process.Stop(t.Context(), syscall.SIGKILL, time.Second))
	w.must("down", "dev")
	if _, err := os.Stat(s.OwnServer.Database.Dir); err == nil {
		t.Error("the database's folder is still there")
	}
}

// faultBench is a local run with a server of its own, for faults.
type faultBench struct {
	t          *testing.T
	w          workerctl
	s          *State
	credential string
	client     *api.Client
	worker     proc.Identity
}

func (b *faultBench) connect() {
	b.t.Helper()
	out := testtools.Call(b.t, secretsmanager.NewFromConfig(b.s.Emulator.Config(b.s.Region)).GetSecretValue, &secretsmanager.GetSecretValueInput{SecretId: aws.String("prefect-api-key-new-2")})
	b.credential = *out.SecretString
	var err error
	b.client, err = api.NewBasic(b.s.Prefect.APIURL(), b.credential)
	testtools.NoError(b.t, err)
	if resp, err := http.Get(b.s.Prefect.APIURL() + "/admin/version"); err != nil || resp.StatusCode != http.StatusUnauthorized {
		b.t.Errorf("without a password the API says %v, %v", resp, err)
	}
	b.worker = b.process("task")
	assertNowhere(b.t, b.w.dir, b.credential)
}

// watched freezes the worker, and then kills it: the deployed alarms turn red and green again,
// and people are told that a task ended.
func (b *faultBench) watched() {
	b.t.Helper()
	b.t.Log("the worker is frozen, killed and replaced")
	cfg := b.s.Emulator.Config(b.s.Region)
	queues := sqs.NewFromConfig(cfg)
	queue := testtools.Call(b.t, queues.CreateQueue, &sqs.CreateQueueInput{QueueName: aws.String("people")})
	// The SDK of SNS is not needed elsewhere; the emulator wants the name of the service.
	subscribe, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.s.Emulator.Endpoint, strings.NewReader(url.Values{"Action": {"Subscribe"}, "Version": {"2010-03-31"}, "Protocol": {"sqs"},
		"TopicArn": {"arn:aws:sns:us-east-1:123456789012:dev-worker-alarms"}, "Endpoint": {"arn:aws:sqs:us-east-1:123456789012:people"}}.Encode()))
	testtools.NoError(b.t, err)
	subscribe.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	subscribe.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sns/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := http.DefaultClient.Do(subscribe)
	testtools.NoError(b.t, err)
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); !strings.Contains(string(answer), "<SubscriptionArn>") {
		b.t.Fatalf("subscribe: %s", answer)
	}
	red := func(want ...string) {
		b.t.Helper()
		var now []string
		for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(2 * time.Second) {
			alarms, samples, err := alarm.Read(b.t.Context(), cfg, "dev-worker")
			testtools.NoError(b.t, err)
			now = nil
			for _, a := range alarms {
				if alarm.InAlarm(a, samples) {
					now = append(now, *a.AlarmName)
				}
			}
			if slices.Equal(now, want) {
				return
			}
			if time.Now().After(deadline) {
				b.t.Fatalf("red are %v, want %v; the last metrics are %v", now, want, samples[max(0, len(samples)-3):])
			}
		}
	}
	red()
	testtools.NoError(b.t, syscall.Kill(b.worker.PID, syscall.SIGSTOP))
	red("dev-worker-silent-worker")
	testtools.NoError(b.t, b.worker.Stop(b.t.Context(), syscall.SIGKILL, time.Second))
	red()
	b.worker = b.process("task")
	got, err := queues.ReceiveMessage(b.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, WaitTimeSeconds: 10})
	if err != nil || len(got.Messages) != 1 || !strings.Contains(*got.Messages[0].Body, "of the service dev-worker ended by itself: Essential container in task exited. ECS starts another one.") {
		b.t.Errorf("people are told %+v, %v", got, err)
	}
}

// process is the container that runs now.
func (b *faultBench) process(folder string) proc.Identity {
	b.t.Helper()
	for _, e := range slices.Backward(supervise.Folder(filepath.Join(b.w.dir, folder)).Events()) {
		if e.Kind == ecstask.Started {
			return e.Process
		}
	}
	b.t.Fatalf("nothing runs in %s", folder)
	return proc.Identity{}
}

// start submits a flow of so many seconds and returns when it runs.
func (b *faultBench) start(seconds int) string {
	b.t.Helper()
	dir := b.t.TempDir()
	write(b.t, dir, map[string]string{"ticks.py": ticks})
	deployment, err := b.client.Deploy(b.t.Context(), api.LocalFlow{Name: "ticks", Pool: "ecs-work-pool", Dir: dir, Entrypoint: "ticks.py:ticks"})
	testtools.NoError(b.t, err)
	run, err := b.client.Run(b.t.Context(), deployment, map[string]any{"seconds": seconds})
	testtools.NoError(b.t, err)
	for deadline := time.Now().Add(time.Minute); run.State != "RUNNING"; time.Sleep(time.Second) {
		now, err := b.client.FlowRun(b.t.Context(), run.ID)
		if err == nil {
			run = now
		}
		if err != nil && !errors.Is(err, api.ErrUnreachable) || time.Now().After(deadline) {
			b.t.Fatalf("the flow run is %s: %v\n%s", run.State, err, proc.Tail(b.w.dir+"/task/container.log", 30))
		}
	}
	return run.ID
}

// completed waits for the end of a flow run: it is COMPLETED, no line of its log is lost,
// and the worker is the one of before.
func (b *faultBench) completed(id string, lines int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 3*time.Minute)
	defer cancel()
	run, err := b.client.AwaitEnd(ctx, id, nil)
	if err != nil || run.State != "COMPLETED" {
		b.t.Fatalf("the flow run is %s: %v\n%s", run.State, err, proc.Tail(b.w.dir+"/task/container.log", 60))
	}
	if now := b.process("task"); now != b.worker || !now.Alive() {
		b.t.Error("the worker is another one")
	}
	missing := []string{"all"}
	// A batch that failed again and again is sent once more after up to 128 s, and the process of the run stays for it.
	for deadline := time.Now().Add(200 * time.Second); len(missing) > 0 && time.Now().Before(deadline); time.Sleep(time.Second) {
		log := b.log(id)
		missing = nil
		for n := range lines {
			if line := fmt.Sprintf("tick %d.", n); !strings.Contains(log, line) {
				missing = append(missing, line)
			}
		}
	}
	if len(missing) > 0 {
		b.t.Errorf("%d lines of the log are lost: %v", len(missing), missing)
	}
}

// log is what Prefect has of a run's log.
func (b *faultBench) log(id string) string {
	b.t.Helper()
	body := fmt.Sprintf(`{"logs": {"flow_run_id": {"any_": [%q]}}, "limit": 200}`, id)
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.s.Prefect.APIURL()+"/logs/filter", strings.NewReader(body))
	testtools.NoError(b.t, err)
	user, password, _ := strings.Cut(b.credential, ":")
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	testtools.NoError(b.t, err)
	defer resp.Body.Close()
	var entries []struct{ Message string }
	text, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(text, &entries); err != nil {
		b.t.Fatalf("%v: %s", err, text)
	}
	var all bytes.Buffer
	for _, e := range entries {
		all.WriteString(e.Message + "\n")
	}
	return all.String()
}

// restartDatabase starts the database again after some time, and records its process as up does.
func (b *faultBench) restartDatabase(away time.Duration) {
	b.t.Helper()
	database, r := b.s.OwnServer.Database, &run{dir: b.w.dir}
	testtools.NoError(b.t, database.Halt(b.t.Context()))
	time.Sleep(away)
	testtools.NoError(b.t, errors.Join(database.Launch(b.t.Context(), nil), r.load("dev"), r.update(func(s *State) { s.OwnServer.Database.Process = database.Process })))
}

// rotate does to the password what a deployment with another password_version does: the
// secret, the database, and then the server restarts. In between the server has the old one.
func (b *faultBench) rotate() {
	b.t.Helper()
	secrets := secretsmanager.NewFromConfig(b.s.Emulator.Config(b.s.Region))
	password := `another:pa$$w%40rd'\#?`
	testtools.Call(b.t, secrets.PutSecretValue, &secretsmanager.PutSecretValueInput{SecretId: aws.String("prefect-server-database"), SecretString: &password})
	testtools.NoError(b.t, b.s.OwnServer.Database.Provide(b.t.Context(), "prefect", password, "prefect"))
	b.restartDatabase(0) // which cuts its connections
	time.Sleep(5 * time.Second)
	before := b.process("server")
	testtools.NoError(b.t, before.Stop(b.t.Context(), syscall.SIGKILL, time.Second))
	for deadline := time.Now().Add(time.Minute); b.process("server") == before || !b.s.Prefect.Ready(b.t.Context()); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the server does not come back:\n%s", proc.Tail(b.w.dir+"/server/container.log", 30))
		}
	}
}

// way reaches the server as workerctl open does, with placeholders for the programs of AWS.
func (b *faultBench) way() {
	b.t.Helper()
	bin := b.t.TempDir()
	python := testtools.Environment(b.t, pyenv.Prefect3).Python()
	// It checks the arguments, and forwards the port that it is told to.
	script := fmt.Sprintf("#!%s\nimport asyncio, json, sys\n"+
		"a = sys.argv[1:]\nassert a[:2] == ['ssm', 'start-session'], a\n"+
		"assert a[a.index('--document-name') + 1] == 'AWS-StartPortForwardingSession', a\n"+
		"assert a[a.index('--target') + 1].startswith('ecs:prefect-cluster_'), a\n"+
		"p = json.loads(a[a.index('--parameters') + 1])\nassert p['portNumber'] == ['%d'], p\n"+
		"async def pipe(r, w):\n    try:\n        while data := await r.read(65536):\n            w.write(data); await w.drain()\n    finally:\n        w.close()\n"+
		"async def client(r, w):\n    r2, w2 = await asyncio.open_connection('127.0.0.1', %d)\n    await asyncio.gather(pipe(r, w2), pipe(r2, w))\n"+
		"async def main():\n    s = await asyncio.start_server(client, '127.0.0.1', int(p['localPortNumber'][0]))\n    await s.serve_forever()\n"+
		"asyncio.run(main())\n", python, config.ServerPort, b.s.Prefect.Port)
	for name, text := range map[string]string{"aws": script, "session-manager-plugin": "#!/bin/sh\n"} {
		testtools.NoError(b.t, os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755))
	}
	opt := tunnel.Options{AWS: b.s.Emulator.Config(b.s.Region), Cluster: "prefect-cluster", Service: "prefect-server", RemotePort: config.ServerPort, Path: "/api/health", Programs: bin}
	way, err := tunnel.Open(b.t.Context(), opt)
	testtools.NoError(b.t, err)
	for path, want := range map[string]string{"/": "<html", "/api/health": "true"} {
		resp, err := http.Get(way.URL + path)
		testtools.NoError(b.t, err)
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(strings.ToLower(string(body)), want) {
			b.t.Errorf("%s through the way: %s %.200s", path, resp.Status, body)
		}
	}
	if err := way.Close(); err != nil {
		b.t.Error(err)
	}
	select {
	case <-way.Ended():
	case <-time.After(5 * time.Second):
		b.t.Error("the session goes on")
	}
}

// drift changes what the checks of the server and of its database must see, and undoes it.
func (b *faultBench) drift() {
	b.t.Helper()
	r := &run{dir: b.w.dir}
	testtools.NoError(b.t, r.load("dev"))
	opt, err := r.checklist()
	testtools.NoError(b.t, err)
	cfg := b.s.Emulator.Config(b.s.Region)
	network := ec2.NewFromConfig(cfg)
	groups, err := network.DescribeSecurityGroups(b.t.Context(), &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: aws.String("group-name"), Values: []string{"prefect_server_sg-dev"}}}})
	if err != nil || len(groups.SecurityGroups) != 1 {
		b.t.Fatalf("the server's security group: %v, %v", groups, err)
	}
	world := []ec2types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(4200), ToPort: aws.Int32(4200), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}
	group := groups.SecurityGroups[0].GroupId
	roles := iam.NewFromConfig(cfg)
	execution := testtools.Call(b.t, roles.GetRolePolicy, &iam.GetRolePolicyInput{RoleName: aws.String("prefect-server-execution-role"), PolicyName: aws.String("read-passwords")})
	document, err := url.QueryUnescape(*execution.PolicyDocument)
	testtools.NoError(b.t, err)
	discovery := servicediscovery.NewFromConfig(cfg)
	records, err := discovery.ListServices(b.t.Context(), &servicediscovery.ListServicesInput{})
	if err != nil || len(records.Services) != 1 {
		b.t.Fatalf("the server's record: %v, %v", records, err)
	}
	record := records.Services[0].Id
	instances, err := discovery.ListInstances(b.t.Context(), &servicediscovery.ListInstancesInput{ServiceId: record})
	if err != nil || len(instances.Instances) != 1 {
		b.t.Fatalf("the registered tasks: %v, %v", instances, err)
	}
	task := instances.Instances[0]
	nothing := func() {}
	for _, test := range []struct {
		check, want string
		status      verify.Status
		change      func()
		undo        func()
		reach       func(context.Context) (string, func(), error)
	}{
		{"network", "prefect_server_sg-dev allows what is not configured: ingress of tcp 4200 from 0.0.0.0/0", verify.Failed, func() {
			testtools.Call(b.t, network.AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group, IpPermissions: world})
		}, func() {
			testtools.Call(b.t, network.RevokeSecurityGroupIngress, &ec2.RevokeSecurityGroupIngressInput{GroupId: group, IpPermissions: world})
		}, nil},
		{"roles of the next task", "the execution role of the Prefect server prefect-server-execution-role may not call secretsmanager:GetSecretValue on ", verify.Failed, func() {
			testtools.Call(b.t, roles.DeleteRolePolicy, &iam.DeleteRolePolicyInput{RoleName: execution.RoleName, PolicyName: execution.PolicyName})
		}, func() {
			testtools.Call(b.t, roles.PutRolePolicy, &iam.PutRolePolicyInput{RoleName: execution.RoleName, PolicyName: execution.PolicyName, PolicyDocument: aws.String(document)})
		}, nil},
		{"Prefect server", "the running task of the Prefect server is not registered in Cloud Map", verify.Failed, func() {
			testtools.Call(b.t, discovery.DeregisterInstance, &servicediscovery.DeregisterInstanceInput{ServiceId: record, InstanceId: task.Id})
		}, func() {
			testtools.Call(b.t, discovery.RegisterInstance, &servicediscovery.RegisterInstanceInput{ServiceId: record, InstanceId: task.Id, Attributes: task.Attributes})
		}, nil},
		{"Prefect server", "00000000000000000000000000000000 is registered in Cloud Map and no running task of the Prefect server", verify.Failed, func() {
			testtools.Call(b.t, discovery.RegisterInstance, &servicediscovery.RegisterInstanceInput{ServiceId: record, InstanceId: aws.String(strings.Repeat("0", 32)), Attributes: task.Attributes})
		}, func() {
			testtools.Call(b.t, discovery.DeregisterInstance, &servicediscovery.DeregisterInstanceInput{ServiceId: record, InstanceId: aws.String(strings.Repeat("0", 32))})
		}, nil},
		{"Prefect API", "there is no connection from here: no plugin", verify.Unknown, nothing, nothing, func(context.Context) (string, func(), error) {
			return "", nil, errors.New("no plugin")
		}},
		{"Prefect API", "answers and accepts the worker", verify.OK, nothing, nothing, func(context.Context) (string, func(), error) {
			return b.s.Prefect.APIURL(), nothing, nil
		}},
	} {
		opt.Reach = test.reach
		test.change()
		changed := verify.Run(b.t.Context(), opt)
		test.undo()
		found := false
		for _, check := range changed.Checks {
			found = found || check.Name == test.check && check.Status == test.status && strings.Contains(check.Detail, test.want)
		}
		if !found {
			b.t.Errorf("%s: want %s with %q, got %+v", test.check, test.status, test.want, changed.Checks)
		}
	}
	opt.Reach = nil
	if report := verify.Run(b.t.Context(), opt); !report.OK {
		b.t.Errorf("with all undone: %+v", report.Checks)
	}
}
