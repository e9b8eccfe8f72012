package status

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/test/golden"
	"prefect-worker-ecs/internal/test/testtools"
)

type fields = map[string]any

// serve answers as AWS does for a service that runs, and as Prefect does for its pool: a POST or GET by its
// path, and a call of AWS by its operation.
func serve(t *testing.T, answers map[string]any) verify.Options {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, name, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if strings.HasPrefix(r.URL.Path, "/api/") {
			name = strings.TrimPrefix(r.URL.Path, "/api")
		}
		answer, known := answers[name]
		if of, isFunction := answer.(func(fields) any); isFunction {
			var in fields
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				t.Error(err)
			}
			answer = of(in)
		}
		switch {
		case r.FormValue("Action") == "GetMetricData": // CloudWatch speaks XML
			fmt.Fprintf(w, `<GetMetricDataResponse><GetMetricDataResult><MetricDataResults>%s</MetricDataResults></GetMetricDataResult></GetMetricDataResponse>`, answers["GetMetricData"])
			return
		case name == "": // so does STS
			fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
			return
		case !known:
			w.WriteHeader(http.StatusBadRequest)
			answer = fields{"__type": "AccessDeniedException", "message": "not authorized"}
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	container := fields{"name": "prefect-worker", "environment": []any{fields{"name": "PREFECT_API_URL", "value": server.URL + "/api"}},
		"secrets": []any{fields{"name": "PREFECT_API_KEY", "valueFrom": "arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf"}}}
	answers["DescribeTaskDefinition"] = fields{"taskDefinition": fields{"family": "dev-worker", "revision": 1, "containerDefinitions": []any{container}}}
	return verify.Options{Environment: config.Default("dev"), Stack: golden.Stacks(t)["dev"], AWS: aws.Config{Region: "us-east-1", BaseEndpoint: &server.URL,
		Credentials: credentials.NewStaticCredentialsProvider("x", "x", ""), Retryer: func() aws.Retryer { return aws.NopRetryer{} }}}
}

// running are the answers for a worker that runs.
func running() map[string]any {
	now := time.Now()
	at := func(ago time.Duration) float64 { return float64(now.Add(-ago).Unix()) }
	return map[string]any{
		"DescribeClusters": fields{"clusters": []any{fields{"clusterName": "prefect-cluster", "status": "ACTIVE"}}},
		"DescribeServices": fields{"services": []any{fields{"serviceName": "dev-worker", "status": "ACTIVE", "taskDefinition": "dev-worker:1", "runningCount": 1, "desiredCount": 1,
			"deployments": []any{fields{"id": "d", "status": "PRIMARY", "rolloutState": "COMPLETED", "createdAt": at(time.Hour)}}}}},
		"ListTasks":                                fields{"taskArns": []string{"arn:aws:ecs:us-east-1:123456789012:task/prefect-cluster/0123"}},
		"DescribeTasks":                            fields{"tasks": []any{fields{"taskArn": "arn:aws:ecs:us-east-1:123456789012:task/prefect-cluster/0123", "lastStatus": "RUNNING", "healthStatus": "HEALTHY", "startedAt": at(time.Minute)}}},
		"GetSecretValue":                           fields{"SecretString": "pnu_marker"},
		"FilterLogEvents":                          fields{"events": []any{fields{"message": "Worker 'w' started!"}}},
		"/work_pools/filter":                       []any{},
		"/flow_runs/filter":                        []any{},
		"/work_pools/ecs-work-pool":                fields{"name": "ecs-work-pool", "type": "process"},
		"/work_pools/ecs-work-pool/queues/filter":  []any{fields{"name": "default"}},
		"/work_pools/ecs-work-pool/workers/filter": []any{fields{"name": "dev-worker-0123", "last_heartbeat_time": now.Add(-5 * time.Second).UTC().Format(time.RFC3339)}},
	}
}

// scaled answers with metrics of the probe, and with a task of the deployment before.
func scaled(metrics string) func(answers map[string]any) {
	const task = "arn:aws:ecs:us-east-1:123456789012:task/prefect-cluster/"
	return func(a map[string]any) {
		a["GetMetricData"] = metrics
		a["ListTasks"] = func(in fields) any {
			if in["serviceName"] != nil {
				return fields{"taskArns": []string{task + "0123", task + "0456"}}
			}
			return fields{"taskArns": []string{task + "0123"}}
		}
		a["DescribeTasks"] = fields{"tasks": []any{fields{"taskArn": task + "0123", "lastStatus": "RUNNING"}, fields{"taskArn": task + "0456", "lastStatus": "RUNNING"}}}
	}
}

// metric is a result of GetMetricData.
func metric(name string, value int) string {
	return fmt.Sprintf("<member><Label>%s</Label><Timestamps><member>%s</member></Timestamps><Values><member>%d</member></Values></member>", name, time.Now().UTC().Format(time.RFC3339), value)
}

func TestStatus(t *testing.T) {
	for name, test := range map[string]struct {
		change func(answers map[string]any)
		want   []string
	}{
		"a worker that runs": {func(map[string]any) {}, []string{
			"service: dev-worker in prefect-cluster: 1 of 1 tasks running, 0 pending\n", "deployment: completed, begun 1h0m", "tasks: 0123 running, healthy, started 1m",
			"work pool: ecs-work-pool, process\n", "workers: dev-worker-0123, heartbeat ", "flow runs: 0 underway, 0 late, 0 orphaned, 0 lost\n", "last error: none in the log since the deployment\n",
		}},
		"no worker, and why": {func(a map[string]any) {
			a["/work_pools/ecs-work-pool/workers/filter"] = []any{}
			a["FilterLogEvents"] = fields{"events": []any{fields{"message": "  File x.py"}, fields{"message": "Client error '401 Unauthorized'"}}}
		}, []string{"workers: none online\n", "last error: Client error '401 Unauthorized'\n"}},
		"an error that is over": {func(a map[string]any) {
			a["FilterLogEvents"] = func(in fields) any {
				if begin, _ := in["startTime"].(float64); time.Since(time.UnixMilli(int64(begin))) < 30*time.Second {
					return fields{"events": []any{fields{"message": "INFO | a line after the heartbeat"}}}
				}
				return fields{"events": []any{fields{"message": "httpx.ConnectError"}, fields{"message": "INFO | a line after the heartbeat"}}}
			}
		}, []string{"last error: before the last heartbeat: httpx.ConnectError\n"}},
		"a run that could not be started, though the worker lives": {func(a map[string]any) {
			a["FilterLogEvents"] = func(in fields) any {
				if begin, _ := in["startTime"].(float64); time.Since(time.UnixMilli(int64(begin))) < 30*time.Second {
					return fields{"events": []any{}}
				}
				return fields{"events": []any{fields{"message": "Failed to submit flow run 'x'"}}}
			}
		}, []string{"last error: Failed to submit flow run 'x'\n"}},
		"a paused pool": {func(a map[string]any) {
			a["/work_pools/ecs-work-pool"] = fields{"name": "ecs-work-pool", "type": "process", "is_paused": true}
		}, []string{"work pool: ecs-work-pool, process, paused\n"}},
		"no service":     {func(a map[string]any) { a["DescribeServices"] = fields{"failures": []any{fields{"reason": "MISSING"}}} }, []string{"ECS service: there is no service dev-worker in the cluster\n"}},
		"no permissions": {func(a map[string]any) { delete(a, "FilterLogEvents"); delete(a, "DescribeTasks") }, []string{"tasks: could not be read: AccessDeniedException: not authorized\n", "log: could not be read: AccessDeniedException: not authorized\n"}},
		"no secret":      {func(a map[string]any) { delete(a, "GetSecretValue") }, []string{"credential in Secrets Manager: the secret key-AbCdEf could not be read: AccessDeniedException"}},
		"a service that is scaled": {scaled(metric("ProbeErrors", 0) + metric("TasksNeeded", 3)), []string{
			"scaling: 0 to 4 tasks, 3 needed ", "0123 running\n", "0456 running, of the deployment before until its flow runs have ended\n",
		}},
		"one whose need is not published": {scaled(metric("ProbeErrors", 0)), []string{"scaling: 0 to 4 tasks, how many are needed was not published lately\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			answers := running()
			test.change(answers)
			opt := serve(t, answers)
			if answers["GetMetricData"] != nil {
				opt.Environment.Worker.Scaling, opt.Environment.Worker.ProtectRuns = config.Scaling{Max: 4}, true
			}
			var screen strings.Builder
			testtools.NoError(t, Read(t.Context(), opt).Print(&screen))
			lines := regexp.MustCompile(`  +`).ReplaceAllString(screen.String(), ": ")
			for _, want := range test.want {
				if !strings.Contains(lines, want) {
					t.Errorf("%q is not in the status:\n%s", want, screen.String())
				}
			}
			if strings.Contains(screen.String(), "marker") {
				t.Errorf("a credential is shown:\n%s", screen.String())
			}
		})
	}
}

// TestStatusAsJSON: a program finds values, not sentences.
func TestStatusAsJSON(t *testing.T) {
	text, err := json.Marshal(Read(t.Context(), serve(t, running())))
	testtools.NoError(t, err)
	var status struct {
		Lines []struct {
			Name string
			Data fields
		}
	}
	testtools.NoError(t, json.Unmarshal(text, &status))
	got := map[string]fields{}
	for _, line := range status.Lines {
		got[line.Name] = line.Data
	}
	for name, want := range map[string]fields{
		"service":   {"name": "dev-worker", "cluster": "prefect-cluster", "running": 1.0, "desired": 1.0, "pending": 0.0},
		"work pool": {"name": "ecs-work-pool", "type": "process", "paused": false, "paused_queues": []any{}},
		"flow runs": {"underway": 0.0, "late": 0.0, "orphaned": 0.0, "lost": 0.0},
	} {
		if !reflect.DeepEqual(got[name], want) {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if at, err := time.Parse(time.RFC3339, fmt.Sprint(got["workers"]["heartbeat"])); err != nil || time.Since(at) > time.Minute {
		t.Errorf("workers: %v (%v)", got["workers"], err)
	}
	if got["tasks"]["id"] != "0123" || got["tasks"]["status"] != "RUNNING" || got["deployment"]["state"] != "COMPLETED" {
		t.Errorf("tasks %v, deployment %v", got["tasks"], got["deployment"])
	}
}
