package flowruns

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/test/testtools"
)

const (
	living  = "11111111111111111111111111111111"
	halted  = "22222222222222222222222222222222"
	unknown = "33333333333333333333333333333333" // ECS has forgotten it
	silent  = "5123456789abcdef0123456789abcdef" // ECS gives no answer
)

// fake answers as Prefect does of one run that is underway, and as ECS does of tasks.
func fake(t *testing.T, poolType config.PoolType, run map[string]any, heartbeat, created time.Duration) Pool {
	t.Helper()
	now := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Sort     string
			FlowRuns struct {
				State struct {
					Type struct {
						Any []string `json:"any_"`
					}
				}
			} `json:"flow_runs"`
			Tasks []string
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		var answer any = []any{}
		switch {
		case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ListTasks"):
			answer = map[string]any{"taskArns": []string{living}}
		case r.Header.Get("X-Amz-Target") != "":
			var tasks, failures []any
			for _, id := range body.Tasks {
				arn := "arn:aws:ecs:us-east-1:123456789012:task/prefect-cluster/" + id
				switch id {
				case living:
					tasks = append(tasks, map[string]any{"taskArn": arn, "lastStatus": "RUNNING", "createdAt": now.Add(-created).Unix()})
				case halted:
					tasks = append(tasks, map[string]any{"taskArn": arn, "lastStatus": "STOPPED"})
				case silent:
				default:
					failures = append(failures, map[string]any{"arn": arn, "reason": "MISSING"})
				}
			}
			answer = map[string]any{"tasks": tasks, "failures": failures}
		case strings.HasSuffix(r.URL.Path, "/workers/filter"):
			var all []any
			for _, id := range []string{living, halted, "desk"} {
				if id == "desk" && created > 0 {
					continue
				}
				all = append(all, map[string]any{"name": "dev-worker-" + id, "last_heartbeat_time": now.Add(-heartbeat).UTC().Format(time.RFC3339)})
			}
			answer = all
		case slices.Contains(body.FlowRuns.State.Type.Any, "PENDING"):
			answer = []any{run}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	client, err := api.New(server.URL+"/api", "")
	testtools.NoError(t, err)
	env := config.Default("dev")
	env.WorkPool.Type, env.Monitoring.PendingMinutes = poolType, 10
	return Pool{Environment: env, API: client, ECS: ecs.NewFromConfig(aws.Config{Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("x", "x", "")})}
}

// TestWhatIsLeftBehind: a run is orphaned or lost as soon as there is evidence, and not before.
func TestWhatIsLeftBehind(t *testing.T) {
	for name, test := range map[string]struct {
		pool      config.PoolType
		state     string
		age       time.Duration
		task      string
		heartbeat time.Duration
		want      Issue
		created   time.Duration // of the one task, beside which no other worker is online; 0: others are
	}{
		"Running, and its worker lives":                                 {config.PoolProcess, "RUNNING", time.Hour, living, 0, "", 0},
		"Running, and its worker's task has stopped":                    {config.PoolProcess, "RUNNING", time.Second, halted, 0, Lost, 0},
		"Running, and its worker is frozen":                             {config.PoolProcess, "RUNNING", time.Second, living, 2 * time.Minute, "", 0},
		"Running, and its worker is not known":                          {config.PoolProcess, "RUNNING", time.Hour, "", 0, "", 0},
		"Pending, of a worker that is not known and whose task is gone": {config.PoolProcess, "PENDING", 10 * time.Second, "", 0, Orphaned, 5 * time.Second},
		"Pending, and the worker that is not known may live":            {config.PoolProcess, "PENDING", 10 * time.Second, "", 0, "", time.Minute},
		"Running, of a worker that is not known and whose task is gone": {config.PoolProcess, "RUNNING", time.Hour, "", 0, Lost, time.Minute},
		"Running in a worker of others":                                 {config.PoolProcess, "RUNNING", time.Hour, "desk", 0, "", 0},
		"Running in a worker of others that is silent":                  {config.PoolProcess, "RUNNING", time.Hour, "laptop", 0, "", 0},
		"Pending for two seconds":                                       {config.PoolProcess, "PENDING", 2 * time.Second, living, 0, "", 0},
		"Pending for two seconds, its worker's task has stopped":        {config.PoolProcess, "PENDING", 2 * time.Second, halted, 0, Orphaned, 0},
		"Pending for eleven minutes, and its worker lives":              {config.PoolProcess, "PENDING", 11 * time.Minute, living, 0, Orphaned, 0},
		"Pending, and its own task starts":                              {config.PoolECS, "PENDING", 5 * time.Minute, living, 0, "", 0},
		"Pending for two seconds, and its own task has ended":           {config.PoolECS, "PENDING", 2 * time.Second, halted, 0, "", 0},
		"Pending for two minutes, and its own task has ended":           {config.PoolECS, "PENDING", 2 * time.Minute, halted, 0, Orphaned, 0},
		"Running, and its own task has ended":                           {config.PoolECS, "RUNNING", time.Second, halted, 0, Lost, 0},
		"Running, and its own task is forgotten":                        {config.PoolECS, "RUNNING", 2 * time.Hour, unknown, 0, Lost, 0},
		"Running, and ECS says nothing of its task":                     {config.PoolECS, "RUNNING", time.Hour, silent, 0, "", 0},
		"Running in its own task, and the worker is silent":             {config.PoolECS, "RUNNING", time.Second, living, time.Hour, "", 0},
		"Cancelling, and nothing is left to cancel it":                  {config.PoolECS, "CANCELLING", time.Minute, halted, 0, Lost, 0},
	} {
		t.Run(name, func(t *testing.T) {
			// GIVEN a run
			run := map[string]any{"id": "1", "name": "one", "state_type": test.state, "work_queue_name": "default",
				"state": map[string]any{"timestamp": time.Now().Add(-test.age).UTC().Format(time.RFC3339)}}
			if test.pool == config.PoolECS {
				run["infrastructure_pid"] = "prefect-cluster::arn:aws:ecs:us-east-1:123456789012:task/prefect-cluster/" + test.task
				run["labels"] = map[string]any{"prefect.worker.name": "w"}
			} else if test.task != "" {
				run["labels"] = map[string]any{"prefect.worker.name": "dev-worker-" + test.task}
			}
			// WHEN the pool is read
			pool := fake(t, test.pool, run, test.heartbeat, test.created)
			survey, err := pool.Survey(t.Context())
			// THEN it is what it is
			got := Issue("")
			for _, r := range slices.Concat(survey.Late, survey.Orphaned, survey.Lost) {
				got = r.Issue
			}
			if err != nil || got != test.want || survey.Count() != map[bool]int{true: 1, false: 0}[test.want == ""] {
				t.Errorf("%q, want %q; %d underway; %v", got, test.want, survey.Count(), err)
			}
			if survey.Count("default") != survey.Count() || survey.Count("another") != 0 {
				t.Errorf("by queue: %v", fmt.Sprint(survey.Underway))
			}
			if wanted := test.task == "laptop" || test.task == "" && test.want == "" && test.age > time.Minute; (len(survey.Silent) == 1) != wanted {
				t.Errorf("silent: %v", survey.Silent)
			}
			// AND it ends with the worker if it runs in a task of that
			in, err := pool.InWorker(t.Context())
			if want := test.pool == config.PoolProcess && test.task == living; err != nil || (len(in) == 1) != want {
				t.Errorf("in the worker: %v, %v, want %t", in, err, want)
			}
		})
	}
}
