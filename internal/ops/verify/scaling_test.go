package verify

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/prefect/flowruns"
	"prefect-worker-ecs/internal/prefect/metrics"
)

// answers is an AWS that answers operations of JSON protocols, and which account it is.
func answers(t *testing.T, by func(operation string, parameters map[string]any) any) aws.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if operation == "" { // STS speaks XML
			fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
			return
		}
		parameters := map[string]any{}
		_ = json.NewDecoder(r.Body).Decode(&parameters)
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if err := json.NewEncoder(w).Encode(by(operation, parameters)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return aws.Config{Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("x", "x", ""),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
}

func scaledChecklist(cfg aws.Config) *checklist {
	env := config.Default("dev")
	env.Worker.Scaling, env.Worker.ProtectRuns, env.Monitoring.Enabled = config.Scaling{Max: 4}, true, true
	c := newChecklist(Options{Environment: env, AWS: cfg})
	c.metrics = metrics.Last{At: time.Now(), Values: map[string]float64{"TasksNeeded": 2}}
	return c
}

const (
	oldTask = "0123456789abcdef0123456789abcdef"
	newTask = "fedcba9876543210fedcba9876543210"
)

func TestTheScalableTarget(t *testing.T) {
	type object = map[string]any
	for name, test := range map[string]struct {
		targets     []object
		needed      float64
		status      Status
		detail, fix string
	}{
		"it is there":        {targets: []object{{}}, needed: 2, status: OK, detail: "0 to 4 tasks, 1 wanted, 2 needed 0s ago"},
		"more than the most": {targets: []object{{}}, needed: 9, status: OK, detail: "9 needed 0s ago: more than worker.scaling.max"},
		"it is gone":         {status: Failed, detail: "the service is no scalable target", fix: "make deploy"},
		"nothing is suspended": {targets: []object{{"SuspendedState": object{"DynamicScalingOutSuspended": false, "DynamicScalingInSuspended": false}}},
			needed: 2, status: OK, detail: "2 needed"},
		"scaling out is suspended": {targets: []object{{"SuspendedState": object{"DynamicScalingOutSuspended": true}}}, status: Failed, detail: "scaling is suspended",
			fix: "--resource-id service/prefect-cluster/dev-worker --suspended-state DynamicScalingOutSuspended=false"},
	} {
		c := scaledChecklist(answers(t, func(operation string, _ map[string]any) any {
			if operation != "DescribeScalableTargets" {
				t.Errorf("%s is called", operation)
			}
			return object{"ScalableTargets": test.targets}
		}))
		c.Service.DesiredCount, c.metrics.Values["TasksNeeded"] = 1, test.needed
		if f := c.scaling(t.Context()); f.status != test.status || !strings.Contains(f.detail, test.detail) || !strings.Contains(f.fix, test.fix) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestTasksOfTheDeploymentBefore(t *testing.T) {
	type object = map[string]any
	arn := "arn:aws:ecs:us-east-1:123456789012:task/prefect-cluster/"
	for name, test := range map[string]struct {
		desired int
		old     bool
		status  Status
		detail  string
	}{
		"at zero":                   {desired: 0, status: OK, detail: "no task is needed: 0 running"},
		"with one that finishes":    {desired: 1, old: true, status: OK, detail: "1 of 1 tasks running, deployment in progress; of the deployment before, until their flow runs have ended: " + oldTask},
		"that goes on by itself":    {desired: 1, status: Failed, detail: "1 of 1 tasks running, but the deployment is still in progress"},
		"with too few of the other": {desired: 3, old: true, status: Failed, detail: "1 of 3 tasks running"},
	} {
		running := min(1, test.desired)
		deployments := []object{{"id": "ecs-svc/2", "status": "PRIMARY", "runningCount": running, "rolloutState": "IN_PROGRESS"}}
		if test.old {
			deployments = append(deployments, object{"id": "ecs-svc/1", "status": "ACTIVE", "runningCount": 1})
			running++
		}
		c := scaledChecklist(answers(t, func(operation string, parameters map[string]any) any {
			switch {
			case operation == "DescribeServices":
				return object{"services": []object{{"serviceName": "dev-worker", "status": "ACTIVE", "desiredCount": test.desired, "runningCount": running, "deployments": deployments}}}
			case operation == "ListTasks" && parameters["desiredStatus"] == "STOPPED" || test.desired == 0:
				return object{"taskArns": []string{}}
			case operation == "ListTasks" && parameters["serviceName"] != nil && test.old:
				return object{"taskArns": []string{arn + oldTask, arn + newTask}}
			}
			return object{"taskArns": []string{arn + newTask}}
		}))
		if f := c.workerService(t.Context()); f.status != test.status || !strings.Contains(f.detail, test.detail) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestRunsAreProtected(t *testing.T) {
	now := time.Now()
	runs := []flowruns.Run{
		{ID: "1", Name: "one", Since: now.Add(-time.Hour), Task: oldTask}, {ID: "2", Name: "two", Since: now.Add(-time.Second), Task: newTask}, {ID: "3", Name: "elsewhere", Since: now.Add(-time.Hour)},
	}
	for name, test := range map[string]struct {
		protected bool
		status    Status
		detail    string
	}{
		"protected":     {true, OK, ""},
		"not protected": {false, Failed, "the flow run one (1) is in the task " + oldTask + ", which is not protected"},
	} {
		c := scaledChecklist(answers(t, func(operation string, parameters map[string]any) any {
			if tasks := parameters["tasks"].([]any); operation != "GetTaskProtection" || len(tasks) != 1 || tasks[0] != oldTask { // the others are new, or no task's
				t.Errorf("%s is called with %v", operation, parameters)
			}
			return map[string]any{"protectedTasks": []any{map[string]any{"taskArn": "arn:aws:ecs:us-east-1:123456789012:task/prefect-cluster/" + oldTask, "protectionEnabled": test.protected}}}
		}))
		if f := c.protection(t.Context(), runs, now); f.status != test.status || f.detail != "" && !strings.Contains(f.detail, test.detail) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestABacklogAtZero(t *testing.T) {
	now := time.Now()
	for waited, want := range map[time.Duration]Status{2 * time.Minute: OK, 6 * time.Minute: Failed} {
		c := scaledChecklist(aws.Config{})
		c.Service = types.Service{DesiredCount: 0}
		f := c.judgeRuns(flowruns.Survey{Late: []flowruns.Run{{ID: "1", Name: "one", Issue: flowruns.Late, Since: now.Add(-waited)}}}, now)
		if f.status != want || want == OK && !strings.Contains(f.detail, "a worker task is started for them") {
			t.Errorf("late for %v: %+v", waited, f)
		}
	}
}
