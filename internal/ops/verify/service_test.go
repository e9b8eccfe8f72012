package verify

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/test/golden"
)

// fakeECS answers as ECS does for a service in trouble, which the emulator never is.
func fakeECS(t *testing.T, service map[string]any) aws.Config {
	t.Helper()
	service["serviceName"] = "dev-worker"
	return answers(t, func(operation string, _ map[string]any) any {
		return map[string]any{
			"DescribeClusters": map[string]any{"clusters": []any{map[string]any{"clusterName": "prefect-cluster", "status": "ACTIVE"}}},
			"DescribeServices": map[string]any{"services": []any{service}},
			"ListTasks":        map[string]any{"taskArns": []string{"arn:aws:ecs:us-east-1:123456789012:task/prefect-cluster/0123"}},
			"DescribeTasks": map[string]any{"tasks": []any{map[string]any{
				"stoppedReason": "Essential container in task exited",
				"containers":    []any{map[string]any{"exitCode": 1, "reason": "worker ended"}},
			}}},
		}[operation]
	})
}

// goldenOptions are those for the default environment.
func goldenOptions(t *testing.T, cfg aws.Config) Options {
	t.Helper()
	return Options{Environment: config.Default("dev"), Stack: golden.Stacks(t)["dev"], AWS: cfg}
}

func TestAServiceInTrouble(t *testing.T) {
	now := float64(time.Now().Unix())
	const stopped = "stopped task: Essential container in task exited (exit code 1) (worker ended)"
	for name, test := range map[string]struct {
		status           string
		running, desired int
		rollout, reason  string
		event            string
		detail, fix      string
	}{
		"a service without any of that": {status: "ACTIVE", running: 1, desired: 1, rollout: "COMPLETED", event: "has reached a steady state", detail: "1 of 1 tasks running"},
		"failed": {status: "ACTIVE", desired: 1, rollout: "FAILED", event: "(service dev-worker) deployment failed: tasks failed to start.",
			detail: "the last deployment failed\n" + stopped + "\nevent: (service dev-worker) deployment failed: tasks failed to start.", fix: "reasons above"},
		"rolled back, by the reason": {status: "ACTIVE", running: 1, desired: 1, rollout: "COMPLETED", reason: "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1.",
			event: "steady", detail: "the last deployment was rolled back\n" + stopped, fix: "deploy again"},
		"rolled back, by the events": {status: "ACTIVE", running: 1, desired: 1, rollout: "COMPLETED",
			event: "(service dev-worker) rolling back to deployment ecs-svc/1.", detail: "the last deployment was rolled back\n" + stopped, fix: "deploy again"},
		"too few tasks": {status: "ACTIVE", running: 0, desired: 1, rollout: "COMPLETED", event: "unable to place a task",
			detail: "0 of 1 tasks running, 0 pending\n" + stopped + "\nevent: unable to place a task", fix: "--wait 5m"},
		"in progress": {status: "ACTIVE", running: 1, desired: 1, rollout: "IN_PROGRESS", event: "started 1 tasks",
			detail: "1 of 1 tasks running, but the deployment is still in progress", fix: "--wait 5m"},
		"going away": {status: "DRAINING", running: 1, desired: 1, rollout: "COMPLETED", event: "draining",
			detail: "service dev-worker is DRAINING", fix: "make deploy"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := fakeECS(t, map[string]any{
				"status": test.status, "runningCount": test.running, "desiredCount": test.desired,
				"deployments": []any{map[string]any{"id": "ecs-svc/1", "status": "PRIMARY", "createdAt": now, "rolloutState": test.rollout, "rolloutStateReason": test.reason}},
				"events":      []any{map[string]any{"createdAt": now, "message": test.event}},
			})
			opt := goldenOptions(t, cfg)
			opt.only = withNeeds([]string{checkService})
			wanted := failing(checkService, test.detail).fixedBy(test.fix)
			if test.fix == "" {
				wanted.status = OK
			}
			wanted.judge(t, Run(t.Context(), opt))
		})
	}
}
