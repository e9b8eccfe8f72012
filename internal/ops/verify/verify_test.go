package verify

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/prefect/workpool"
)

// TestVerify goes through what really goes wrong with workers, each for real: a real worker,
// real Prefect servers, the program's own stack. None of them may be green, and each must
// be called by its name.
func TestVerify(t *testing.T) {
	b := newBench(t)
	ready := func(opt Options) Report {
		t.Helper()
		return Wait(t.Context(), opt, 2*time.Minute, nil)
	}

	t.Run("the servers", func(t *testing.T) {
		b.serve(t, b.two)
		b.serve(t, b.three)
	})

	t.Run("a worker that works, and then dies", func(t *testing.T) {
		// GIVEN a deployment whose worker beats every two seconds
		b.createPool(t, b.two, "good", "process")
		opt := b.deploy(t, b.yaml("good", "process", b.two.APIURL(), beats), apiKey)
		w := b.start(t, opt)
		// THEN verify becomes green, and its flow completes and leaves nothing behind
		proved := opt
		proved.Flow = true
		report := ready(proved)
		green(t, report)
		if last := report.Checks[len(report.Checks)-1]; last.Name != checkFlow || !strings.Contains(last.Detail, "ran to COMPLETED") {
			t.Errorf("the flow: %+v", last)
		}
		if runs, err := b.client(t, b.two).Overdue(t.Context(), "good", nil, time.Now().Add(time.Hour)); err != nil || len(runs) != 0 {
			t.Errorf("runs left: %v, %v", runs, err)
		}

		// AND so it does for somebody who has only the policy for reading
		green(t, verified(t, b.reader(t, opt)))

		// AND a look shows it all
		var screen strings.Builder
		if err := Look(t.Context(), opt).Print(&screen); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"service      dev-worker in prefect-cluster: 1 of 1 tasks running, 0 pending\n", "deployment   completed, begun ", " running",
			"work pool    good, process\n", "workers      dev-worker-", "flow runs    0 underway, 0 late\n", "last error   none in the log since the deployment\n",
		} {
			if !strings.Contains(screen.String(), want) || strings.Contains(screen.String(), "could not be") {
				t.Errorf("%q is not in the view:\n%s", want, screen.String())
			}
		}

		// WHEN what there is in AWS and in Prefect changes, THEN verify says what
		b.drift(t, opt)

		// WHEN this identity may not read one thing, THEN that one could not be checked
		b.refused(t, opt)
		// WHEN an option is set that was not when it was deployed, THEN it is missed
		b.options(t)
		// WHEN more is configured than runs, THEN it is missed
		b.missing(t, opt)

		// WHEN the worker is frozen, and then killed and not replaced
		process := w.await(t, ecstask.Started).Process
		if err := syscall.Kill(process.PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		// THEN ECS still counts a running task and Prefect calls the worker online for a
		// while, and verify does not believe them
		frozen := time.Now()
		eventually(t, "a failed verification", func() bool { report = verified(t, opt); return !report.OK })
		t.Logf("frozen for %.0f s when it was seen", time.Since(frozen).Seconds())
		expect(t, report, checkWorker, Failed, "good", "--wait")
		if !strings.Contains(report.Checks[2].Detail, "1 of 1 tasks running") {
			t.Errorf("the emulator should still count a task: %v", report.Checks[2])
		}
		if err := syscall.Kill(process.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.stop()
		expect(t, verified(t, opt), checkWorker, Failed, "no worker of this service is online in good", "--wait")

		// WHEN others are online whose names begin alike, THEN none of them counts
		for _, name := range []string{"dev-worker-laptop", "dev-worker-b-0123456789abcdef0123456789abcdef", "dev-worker-0123456789abcdef0123456789abcdef"} {
			b.prefect(t, b.two, "POST", "/work_pools/good/workers/heartbeat", map[string]any{"name": name})
		}
		expect(t, verified(t, opt), checkWorker, Failed, "no worker of this service is online in good\nnot of a running task of the current deployment: ", "--wait")
	})

	t.Run("Prefect 3 with user and password", func(t *testing.T) {
		b.createPool(t, b.three, "basic", "process")
		yaml := strings.Replace(b.yaml("basic", "process", b.three.APIURL(), prefect3), "prefect: {", "prefect: {authentication: basic, ", 1)
		opt := b.deploy(t, yaml, basic)
		b.start(t, opt)
		// The network is that of another port.
		opt.Flow = true
		var report Report
		eventually(t, "an online worker", func() bool {
			round := opt
			round.Flow = false
			report = verified(t, round)
			return slices.ContainsFunc(report.Checks, func(c Check) bool { return c.Name == checkWorker && c.Status == OK })
		})
		report = verified(t, opt)
		if last := report.Checks[len(report.Checks)-1]; last.Status != OK || !strings.Contains(last.Detail, "ran to COMPLETED") {
			t.Errorf("the flow: %+v", last)
		}
		// Flow tasks of an ecs pool read both from the same secret.
		tasks := b.synthesize(t, strings.Replace(yaml, "type: process", "type: ecs", 1)).Environment
		wanted, err := workpool.Read(t.Context(), b.aws, tasks)
		if got := wanted.Defaults["prefect_api_auth_string_secret_arn"]; err != nil || got != b.secretARN(t) {
			t.Errorf("flow tasks read %v, %v", got, err)
		}
		// A wrong password, and none at all
		b.put(t, "admin:wrong-marker")
		expect(t, verified(t, opt), checkAPI, Failed, "the API refuses the user and password", "TF_VAR_prefect_api_auth_string")
		b.put(t, "admin")
		expect(t, verified(t, opt), checkSecret, Failed, "is not user:password", "TF_VAR_prefect_api_auth_string")
	})

	t.Run("the probe", func(t *testing.T) {
		// GIVEN a service of its own on each server, and the credential of that of Prefect 3,
		// which the other does not look at
		b.put(t, basic)
		two, three := b.watch(t, 2), b.watch(t, 3)
		t.Run("both versions", func(t *testing.T) {
			for _, w := range []*watched{two, three} {
				t.Run(w.service, func(t *testing.T) {
					t.Parallel()
					w.seesAll(t)
				})
			}
		})
	})

	t.Run("no credential at all", func(t *testing.T) {
		yaml := strings.Replace(b.yaml("good", "process", b.two.APIURL(), ""), "prefect: {", "prefect: {authentication: none, ", 1)
		report := verified(t, b.deploy(t, yaml, apiKey))
		for _, check := range report.Checks {
			if (check.Name == checkSecret || check.Name == checkAPI || check.Name == checkPool || check.Name == checkDefinition) && check.Status != OK {
				t.Errorf("%+v", check)
			}
		}
	})

	t.Run("managed pool", func(t *testing.T) {
		// A worker is told to be of type process, so it would start, warn and even be online.
		b.createPool(t, b.two, "managed", "prefect:managed")
		opt := b.deploy(t, b.yaml("managed", "process", b.two.APIURL(), ""), apiKey)
		expect(t, verified(t, opt), checkPool, Failed, "managed is of type prefect:managed: Prefect runs its flows itself", "prefect work-pool create NAME --type process")
	})

	t.Run("missing pool that may not be created", func(t *testing.T) {
		// As Prefect Cloud's free plan answers.
		url := b.front(t, func(r *http.Request) int {
			if r.Method == http.MethodPost && r.URL.Path == "/api/work_pools/" {
				return http.StatusForbidden
			}
			return 0
		})
		opt := b.deploy(t, b.yaml("absent", "process", url, ""), apiKey)
		b.start(t, opt).await(t, ecstask.Stopped)
		report := verified(t, opt)
		expect(t, report, checkPool, Failed, "there is no work pool absent", "workerctl pool apply dev")
		expect(t, report, checkLog, Failed, "the key may not do this", "role Worker")
		if !saysStarted(report) {
			t.Errorf("Prefect 2 says that it started and ends at once; the log has: %v", report.Log)
		}
	})

	t.Run("wrong key", func(t *testing.T) {
		url := b.front(t, func(r *http.Request) int {
			if r.Header.Get("Authorization") != "Bearer another" {
				return http.StatusUnauthorized
			}
			return 0
		})
		opt := b.deploy(t, b.yaml("good", "process", url, prefect3), apiKey)
		b.start(t, opt).await(t, ecstask.Stopped)
		report := verified(t, opt)
		expect(t, report, checkAPI, Failed, "the API refuses the API key", "raise secret.version")
		expect(t, report, checkLog, Failed, "the Prefect API refuses the key", "new API key")
	})

	t.Run("API that is not there", func(t *testing.T) {
		closed := httptest.NewServer(http.NotFoundHandler())
		url := closed.URL + "/api"
		closed.Close()
		opt := b.deploy(t, b.yaml("good", "process", url, ""), apiKey)
		b.start(t, opt).await(t, ecstask.Stopped)
		report := verified(t, opt)
		expect(t, report, checkAPI, Unknown, "the Prefect API cannot be reached", "prefect_api_url")
		expect(t, report, checkLog, Failed, "the worker cannot reach the Prefect API", "egress rule")
	})

	t.Run("URL without account and workspace", func(t *testing.T) {
		url := b.front(t, func(r *http.Request) int {
			if !strings.Contains(r.URL.Path, "/accounts/") {
				return http.StatusNotFound
			}
			return 0
		})
		opt := b.deploy(t, b.yaml("good", "process", url, ""), apiKey)
		b.start(t, opt).await(t, ecstask.Stopped)
		report := verified(t, opt)
		expect(t, report, checkAPI, Failed, "is not the API of a workspace (404)", "prefect_account_id and prefect_workspace_id")
		if !saysStarted(report) {
			t.Errorf("Prefect 2 says that it started and ends at once; the log has: %v", report.Log)
		}
	})

	t.Run("ecs pool without prefect-aws", func(t *testing.T) {
		b.createPool(t, b.two, "tasks", "ecs")
		opt := b.deploy(t, b.yaml("tasks", "ecs", b.two.APIURL(), "worker: {image: example.com/worker:1, prefect_version: \"2\", prefect_aws_included: true}\n"), apiKey)
		b.start(t, opt).await(t, ecstask.Stopped)
		report := verified(t, opt)
		expect(t, report, checkLog, Failed, "the image lacks the package for this type of pool; for an ecs pool that is prefect-aws", "worker.prefect_aws_included")
		expect(t, report, checkWorker, Failed, "no worker of this service is online in tasks", checkRoles)
		expect(t, report, checkPool, Failed, "the template of tasks is empty", "workerctl pool apply dev")
		expect(t, report, checkRoles, Failed, "the execution role of flow tasks prefect-flow-execution-role does not exist", "make deploy")
		// The stack of this pool's policy was not deployed.
		expect(t, report, checkRoles, Failed, "the task role prefect-task-role lacks its policy run-flow-tasks", "make deploy")
	})

	t.Run("key with a line break", func(t *testing.T) {
		opt := b.deploy(t, b.yaml("good", "process", b.two.APIURL(), ""), apiKey+"\n")
		b.start(t, opt).await(t, ecstask.Started)
		report := verified(t, opt)
		expect(t, report, checkSecret, Failed, "has a line break or blanks around the API key", "raise secret.version")
		expect(t, report, checkWorker, Failed, "no worker of this service is online", checkSecret)
	})

	t.Run("what watches the worker", func(t *testing.T) {
		b.createPool(t, b.two, "alarmed", "process")
		opt := b.synthesize(t, b.yaml("alarmed", "process", b.two.APIURL(), "monitoring: {enabled: true, emails: [a@example.com]}\n"))
		// GIVEN a deployment without, THEN that is said
		expect(t, verified(t, opt), checkMonitoring, Failed, "there is no function dev-worker-probe\nthere is no schedule dev-worker-probe", "make deploy")
		// WHEN it is deployed, THEN it is as configured, and the probe has not run yet
		expect(t, verified(t, opt), checkEvents, Failed, "there is no event rule dev-worker-ended-task\nthere is no event rule dev-worker-failed-deployment", "make deploy")
		targets := []string{"aws_scheduler_schedule.probe", "aws_cloudwatch_log_metric_filter.known_failures"}
		for _, kind := range []string{"aws_cloudwatch_metric_alarm", "aws_cloudwatch_dashboard", "aws_cloudwatch_event_target", "aws_sns_topic_policy", "aws_sns_topic_subscription"} {
			for _, name := range b.checklist(t, opt).stack.Names(kind) {
				targets = append(targets, kind+"."+name)
			}
		}
		b.apply(opt.Stack, targets...)
		report := verified(t, opt)
		if f := outcome(report, checkMonitoring); f.Status != OK || !strings.Contains(f.Detail, "9 alarms are as configured") {
			t.Errorf("%+v", f)
		}
		if f := outcome(report, checkEvents); f.Status != OK || f.Detail != "2 rules of EventBridge are enabled, as configured" {
			t.Errorf("%+v", f)
		}
		// But for an address that has not confirmed
		expect(t, verified(t, unconfirmed(opt)), checkMonitoring, Failed, "a@example.com hears of no alarm: the subscription is not confirmed", "follow the link")
		expect(t, report, checkAlarms, Failed, "the probe has sent no figures for 4 minutes", "/aws/lambda/dev-worker-probe says why")
		// WHEN the probe runs
		b.put(t, apiKey)
		w := b.probeOf(t, opt)
		w.see()
		// THEN nothing is red, and it answers where the API is not reached from here
		if f := outcome(verified(t, opt), checkAlarms); f.Status != OK || !strings.Contains(f.Detail, "none is in ALARM; the probe sent its figures ") {
			t.Errorf("%+v", f)
		}
		away := opt
		closed := httptest.NewServer(http.NotFoundHandler())
		closed.Close()
		b.register(t, b.synthesize(t, b.yaml("alarmed", "process", closed.URL+"/api", "")), nil)
		report = verified(t, away)
		expect(t, report, checkAPI, Unknown, "the Prefect API cannot be reached", "")
		expect(t, report, checkWorker, Failed, "0 of 1 workers of this service are online, says the probe ", "")
		if f := outcome(report, checkRuns); f.Status != OK || !strings.Contains(f.Detail, "0 due, the oldest for 0 s; 0 orphaned or lost, says the probe ") {
			t.Errorf("%+v", f)
		}
		var screen strings.Builder
		if err := Look(t.Context(), away).Print(&screen); err != nil || !strings.Contains(screen.String(), "ago: 0 workers online; flow runs: 0 underway, 0 due, 0 late, 0 orphaned, 0 lost; 0 questions failed\n") {
			t.Errorf("%v\n%s", err, screen.String())
		}
		// WHEN all is changed by hand, THEN each is named
		b.changeMonitoring(t)
		report = verified(t, opt)
		for _, want := range []string{
			"the function dev-worker-probe is not that of the configuration: Environment.Variables.PENDING_MINUTES is 99, configured is 10",
			"the schedule dev-worker-probe is DISABLED: the probe does not run",
			"the alarm dev-worker-late-runs is not that of the configuration: Threshold is 7, configured is 600",
			"the alarm dev-worker-probe tells nobody: its actions are switched off",
			"there is no alarm dev-worker-cpu",
			"the filter dev-worker-known-failures is not that of the configuration: FilterPattern is ERROR",
			"the policy of the topic arn:aws:sns:us-east-1:123456789012:dev-worker-alarms is not that of the configuration",
			"a@example.com hears of no alarm: the topic has no such subscription",
			"there is no dashboard dev-worker",
		} {
			expect(t, report, checkMonitoring, Failed, want, "make deploy")
		}
		for _, want := range []string{
			"the event rule dev-worker-ended-task is not that of the configuration: EventPattern.detail.lastStatus is [\"RUNNING\"], configured is [\"STOPPED\"]",
			"the event rule dev-worker-failed-deployment is disabled",
			"the event rule dev-worker-failed-deployment does not lead to arn:aws:sns:us-east-1:123456789012:dev-worker-alarms",
			"the target of the event rule dev-worker-ended-task is not that of the configuration: InputTransformer.InputTemplate is",
		} {
			expect(t, report, checkEvents, Failed, want, "make deploy")
		}
		// AND what is red is explained
		expect(t, report, checkAlarms, Failed, "dev-worker-silent-worker is in ALARM since", "workerctl verify dev")
		expect(t, report, checkAlarms, Failed, "ago: Fewer workers send heartbeats to Prefect than ECS is to run", "")
		// WHEN the probe cannot ask, THEN it is not believed
		w.see("PREFECT_API_URL=" + closed.URL + "/api")
		expect(t, verified(t, opt), checkAlarms, Failed, "the probe could not ask 6 of its questions", "")
		for operation, check := range map[string]string{
			"GetFunctionConfiguration": checkMonitoring, "GetSchedule": checkMonitoring, "DescribeAlarms": checkMonitoring, "DescribeMetricFilters": checkMonitoring,
			"GetTopicAttributes": checkMonitoring, "ListSubscriptionsByTopic": checkMonitoring, "GetDashboard": checkMonitoring, "DescribeRule": checkEvents, "ListTargetsByRule": checkEvents,
		} {
			if f := outcome(verified(t, refusing(opt, operation)), check); !strings.Contains(f.Detail, "could not be read: AccessDeniedException") {
				t.Errorf("%s: %+v", operation, f)
			}
		}
		if f := outcome(verified(t, refusing(opt, "GetMetricData")), checkAlarms); !strings.Contains(f.Detail, "the probe's figures could not be read") {
			t.Errorf("%+v", f)
		}
	})
}

// outcome is a check of a report.
func outcome(report Report, name string) Check {
	for _, check := range report.Checks {
		if check.Name == name {
			return check
		}
	}
	return Check{}
}
