package localrun

import (
	"context"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/emulator"
	"prefect-worker-ecs/internal/prefectapi"
	"prefect-worker-ecs/internal/prefectserver"
	"prefect-worker-ecs/internal/proc"
	"prefect-worker-ecs/internal/pyenv"
	"prefect-worker-ecs/internal/testtools"
)

// TestADeadObserverIsSeen: a worker of an ecs pool with Prefect 3 is online also when the part
// of it that reads the queue with its tasks' events has ended.
func TestADeadObserverIsSeen(t *testing.T) {
	// GIVEN a Prefect 3 server, an emulator and in it the queue of an ecs pool's worker
	env := config.Default("dev")
	env.WorkPool.Type, env.Worker.Image = config.PoolECS, "prefecthq/prefect:3-latest"
	spec := pyenv.Prefect3
	prefect := testtools.Environment(t, spec)
	spec.Extra = env.PipPackages()
	withAWS := testtools.Environment(t, spec)
	dir := t.TempDir()
	server, err := prefectserver.Start(t.Context(), prefectserver.Options{Env: prefect, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	aws, err := emulator.Start(t.Context(), emulator.Options{Python: testtools.Environment(t, pyenv.Moto), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = aws.Stop(context.Background()) })
	api, err := prefectapi.New(server.APIURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := api.CreateWorkPool(t.Context(), "tasks", "ecs"); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	u := &up{run: &run{dir: dir, state: State{Emulator: aws, Region: env.Region}}, env: env, p: newProgress(&out)}
	queue := env.EventQueue()
	if _, err := sqs.NewFromConfig(awsConfig(u.state)).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &queue}); err != nil {
		t.Fatal(err)
	}
	worker := func(name string, more ...string) proc.Identity {
		t.Helper()
		cmd := exec.Command(withAWS.Python(), "-c", "from prefect.cli import app; app()", "worker", "start", "--pool", "tasks", "--type", "ecs", "--name", name)
		cmd.Dir = t.TempDir()
		cmd.Env = append(append([]string{"HOME=" + cmd.Dir, "PREFECT_API_URL=" + server.APIURL(), "DO_NOT_TRACK=1",
			"PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME=" + queue}, awsEnv(u.state)...), more...)
		id, err := proc.Start(cmd, false)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = cmd.Wait() }()
		t.Cleanup(func() { _ = id.Stop(context.Background(), syscall.SIGKILL, time.Second) })
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			workers, err := api.OnlineWorkers(t.Context(), "tasks", time.Time{})
			for _, w := range workers {
				if w.Name == name {
					return id
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("the worker is not online: %v", err)
			}
		}
	}

	// WHEN a worker is online whose observer has ended: boto3 fails with an empty profile
	dead := worker("dead", "AWS_PROFILE=")
	short, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	err = u.observe(short, queue)
	// THEN that is an error
	if want := "the worker does not read the events of its tasks from the queue dev-worker-task-events"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := dead.Stop(t.Context(), syscall.SIGKILL, time.Second); err != nil {
		t.Fatal(err)
	}

	// WHEN a worker has the environment that the local run gives it
	worker("alive")
	// THEN it reads the queue, and the emulator answers others while it waits for messages
	if err := u.observe(t.Context(), queue); err != nil {
		t.Error(err)
	}
	began := time.Now()
	if !aws.Ready(t.Context()) || time.Since(began) > 3*time.Second {
		t.Errorf("the emulator answers after %v", time.Since(began))
	}
}
