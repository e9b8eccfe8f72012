package ecstask

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

// limit ends a test that waits for something which does not come.
const limit = 60 * time.Second

// taskRun is a Run that goes on in the background.
type taskRun struct {
	t      *testing.T
	events chan Event
	stop   func() // ends it and waits for its end
	dir    string
}

// nowhere is an image without Prefect.
func nowhere(context.Context, []string) (pyenv.Env, error) { return pyenv.Env{Dir: "/nowhere"}, nil }

func runInBackground(t *testing.T, opt Options) *taskRun {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &taskRun{t: t, events: make(chan Event, 1000), dir: t.TempDir()}
	opt.Dir = r.dir
	opt.Notify = func(e Event) { r.events <- e }
	opt.FirstDelay = 10 * time.Millisecond
	if opt.Image == nil {
		opt.Image = nowhere
	}
	done := make(chan error, 1)
	go func() { done <- Run(ctx, Fixed(opt)) }()
	stopped := false
	r.stop = func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(limit):
			t.Error("Run does not end")
		}
	}
	t.Cleanup(r.stop)
	return r
}

// next waits for the next event of a kind and passes over others.
func (r *taskRun) next(kind Kind) Event {
	r.t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case e := <-r.events:
			if e.Kind == kind {
				return e
			}
			r.t.Logf("event %+v", e)
		case <-timeout:
			r.t.Fatalf("no event %q; output:\n%s", kind, r.output())
		}
	}
}

func (r *taskRun) output() string {
	raw, _ := os.ReadFile(filepath.Join(r.dir, LogFile))
	return string(raw)
}

// awaitOutput waits until the container has printed text.
func (r *taskRun) awaitOutput(text string) {
	r.t.Helper()
	for end := time.Now().Add(limit); !strings.Contains(r.output(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("the container did not print %q but:\n%s", text, r.output())
		}
	}
}

func definition(script string, change func(*types.ContainerDefinition)) types.TaskDefinition {
	c := types.ContainerDefinition{
		Name: aws.String("worker"), Image: aws.String("prefecthq/prefect:2-latest"),
		Command: []string{"/bin/sh", "-c", script},
	}
	if change != nil {
		change(&c)
	}
	return types.TaskDefinition{
		Family: aws.String("f"), Revision: 3, ContainerDefinitions: []types.ContainerDefinition{c},
		TaskDefinitionArn: aws.String("arn:aws:ecs:us-east-1:123456789012:task-definition/f:3"),
	}
}

func TestTaskWithAWS(t *testing.T) {
	// GIVEN an emulator
	e, err := emulator.Start(t.Context(), emulator.Options{Python: testtools.Environment(t, pyenv.Moto), Dir: t.TempDir()})
	testtools.NoError(t, err)
	t.Cleanup(func() { _ = e.Stop(context.Background()) })
	cfg := aws.Config{Region: emulator.Region, BaseEndpoint: &e.Endpoint, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
	t.Run("gets its secrets, and its output reaches the log group", func(t *testing.T) { getsItsSecrets(t, cfg) })
	t.Run("that cannot start says why and is tried again", func(t *testing.T) { cannotStart(t, cfg) })
}

func getsItsSecrets(t *testing.T, cfg aws.Config) {
	ctx := t.Context()
	// GIVEN a secret and a log group
	secret, err := secretsmanager.NewFromConfig(cfg).CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("plain"), SecretString: aws.String("p-value")})
	testtools.NoError(t, err)
	logs := cloudwatchlogs.NewFromConfig(cfg)
	if _, err := logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/ecs/w")}); err != nil {
		t.Fatal(err)
	}

	// WHEN a task runs that prints what it was given, and ends
	def := definition(`printf 'plain %s\n\nid %s\n' "$PLAIN" "${ECS_CONTAINER_METADATA_URI_V4##*/}"; echo error >&2; exit 3`,
		func(c *types.ContainerDefinition) {
			c.Secrets = []types.Secret{{Name: aws.String("PLAIN"), ValueFrom: secret.ARN}}
			c.LogConfiguration = &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{
				"awslogs-group": "/ecs/w", "awslogs-stream-prefix": "pre", "awslogs-region": "us-east-1",
			}}
		})
	r := runInBackground(t, Options{Definition: def, Cluster: "c", Service: "s", AWS: cfg})
	first := r.next(Started)
	end := r.next(Stopped)
	second := r.next(Started)
	r.stop()

	// THEN it ends with its own exit code and another task takes its place
	if end.ExitCode != 3 || end.TaskID != first.TaskID || second.TaskID == first.TaskID {
		t.Errorf("events %+v, %+v, %+v; want exit code 3 and then a new task", first, end, second)
	}
	// AND its output is in the stream that the driver would use, in order
	got, err := logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: aws.String("/ecs/w"), LogStreamName: aws.String("pre/worker/" + first.TaskID), StartFromHead: aws.Bool(true),
	})
	testtools.NoError(t, err)
	var lines []string
	for _, e := range got.Events {
		lines = append(lines, *e.Message)
	}
	want := "plain p-value| |id " + first.TaskID + "-" + containerRuntimeID + "|error"
	if text := strings.Join(lines, "|"); text != want {
		t.Errorf("log stream: %q, want %q", text, want)
	}
}

func cannotStart(t *testing.T, cfg aws.Config) {
	absent := aws.String("arn:aws:secretsmanager:us-east-1:123456789012:secret:absent-AbCdEf")
	for name, change := range map[string]func(*types.ContainerDefinition){
		"unable to pull secrets: KEY": func(c *types.ContainerDefinition) {
			c.Secrets = []types.Secret{{Name: aws.String("KEY"), ValueFrom: absent}}
		},
		"log group /absent": func(c *types.ContainerDefinition) {
			c.LogConfiguration = &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{"awslogs-group": "/absent", "awslogs-stream-prefix": "p"}}
		},
		"CannotStartContainerError": func(c *types.ContainerDefinition) { c.Command = []string{"no-such-program"} },
	} {
		t.Run(name, func(t *testing.T) {
			r := runInBackground(t, Options{Definition: definition("", change), AWS: cfg})
			for range 2 {
				if e := r.next(Failed); !strings.Contains(e.Reason, name) {
					t.Errorf("reason %q, want one with %q", e.Reason, name)
				}
			}
		})
	}
}

func TestUnhealthyTaskIsReplaced(t *testing.T) {
	// GIVEN a task whose health check succeeds until the task says otherwise
	sick := filepath.Join(t.TempDir(), "sick")
	def := definition("exec sleep 60", func(c *types.ContainerDefinition) {
		c.HealthCheck = &types.HealthCheck{
			Command: []string{"CMD-SHELL", "test ! -e " + sick}, Interval: aws.Int32(1), Retries: aws.Int32(2),
		}
	})
	r := runInBackground(t, Options{Definition: def})
	first := r.next(Started)
	if e := r.next(HealthChanged); e.Health != Healthy {
		t.Fatalf("health %s, want HEALTHY", e.Health)
	}
	// WHEN it becomes unhealthy
	testtools.NoError(t, os.WriteFile(sick, nil, 0o600))
	// THEN it is stopped and another one starts
	if e := r.next(HealthChanged); e.Health != Unhealthy {
		t.Fatalf("health %s, want UNHEALTHY", e.Health)
	}
	if e := r.next(Stopped); !strings.Contains(e.Reason, "health") || e.ExitCode != 143 {
		t.Errorf("stopped with %d, %q; want 143 and the health checks as reason", e.ExitCode, e.Reason)
	}
	if e := r.next(Started); e.TaskID == first.TaskID {
		t.Error("the same task started again")
	}
	if first.Process.GroupAlive() {
		t.Error("the unhealthy one still runs")
	}
}

func TestStopSignalReachesWhomTheEntryPointSays(t *testing.T) {
	// The script and its child both say when they get the signal. The script
	// waits for the child, as a worker does for its flow runs.
	const script = `
trap 'echo main got it' TERM
(trap 'echo child got it; exit' TERM; echo ready; i=0; while [ $i -lt 20 ]; do sleep 0.05; i=$((i+1)); done; echo child finished) &
while kill -0 $! 2>/dev/null; do wait $!; done
echo main done`
	tests := []struct {
		name      string
		entry     []string
		want, not string
	}{
		{"the image's own, tini -g", nil, "child got it", "child finished"},
		{"tini without -g", []string{"/usr/bin/tini", "--", "/opt/prefect/entrypoint.sh"}, "child finished", "child got it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// GIVEN a task with a child
			r := runInBackground(t, Options{Definition: definition(script, func(c *types.ContainerDefinition) { c.EntryPoint = test.entry })})
			started := r.next(Started)
			r.awaitOutput("ready")
			// WHEN it is stopped
			r.stop()
			// THEN the signal went to the right ones, and nothing is left
			out := r.output()
			if !strings.Contains(out, "main got it") || !strings.Contains(out, test.want) || strings.Contains(out, test.not) {
				t.Errorf("output:\n%s\nwant %q and not %q", out, test.want, test.not)
			}
			if proc.GroupAlive(started.Process.PID) {
				t.Error("something of the task still runs")
			}
		})
	}
}

func TestTaskThatDoesNotStopIsKilledAfterTheStopTimeout(t *testing.T) {
	// GIVEN a task that ignores the stop signal, with a stop timeout of 1 s
	r := runInBackground(t, Options{Definition: definition(`trap '' TERM; echo ready; while :; do sleep 0.05; done`,
		func(c *types.ContainerDefinition) { c.StopTimeout = aws.Int32(1) })})
	r.next(Started)
	r.awaitOutput("ready")
	// WHEN it is stopped
	began := time.Now()
	r.stop()
	took := time.Since(began)
	// THEN it is killed, and not before
	if e := r.next(Stopped); e.ExitCode != 137 {
		t.Errorf("exit code %d, want 137", e.ExitCode)
	}
	if took < time.Second || took > 20*time.Second {
		t.Errorf("stopped after %v, want 1 s", took)
	}
}

func TestEntryPointScriptInstallsExtraPackages(t *testing.T) {
	// GIVEN a task with EXTRA_PIP_PACKAGES
	asked := make(chan []string, 10)
	r := runInBackground(t, Options{
		Definition: definition("exec sleep 60", func(c *types.ContainerDefinition) {
			c.Environment = []types.KeyValuePair{{Name: aws.String("EXTRA_PIP_PACKAGES"), Value: aws.String("prefect-aws==0.4.20 boto3")}}
		}),
		Image: func(_ context.Context, extra []string) (pyenv.Env, error) {
			asked <- extra
			return pyenv.Env{Dir: "/nowhere"}, nil
		},
	})
	r.next(Started)
	// THEN the image is asked for with them
	if got := <-asked; strings.Join(got, "|") != "prefect-aws==0.4.20|boto3" {
		t.Errorf("extra packages %q", got)
	}
}
