package verify

import (
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/prefect/flowruns"
	"prefect-worker-ecs/internal/prefect/workpool"
)

// TestVerify goes through what goes wrong with workers, each for real: real workers, real Prefect
// servers, the program's own stack. Each case can be run alone: -run 'TestVerify/roles/NotAction'.
func TestVerify(t *testing.T) {
	h := newHarness(t)
	// group runs cases, each with its own check, some others and those that they need, or else with all.
	group := func(name string, cases []testCase, with []string) {
		t.Run(name, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					// WHEN one thing is changed
					opt := h.opt
					if with != nil {
						opt.only = withNeeds(append(with, c.want.check))
					}
					if undo := c.change(t, &opt); undo != nil {
						defer undo()
					}
					h.publish(t)
					// THEN verify says what, and nothing else
					c.want.judge(t, Run(t.Context(), opt))
				})
			}
		})
	}
	group("roles", h.roleCases(), []string{checkRoles})
	group("secret", h.secretCases(), []string{checkSecret, checkRoles, checkAPI})
	group("network", h.networkCases(), []string{checkNetwork, checkDefinition})
	group("service", h.serviceCases(), nil)
	group("Prefect", h.prefectCases(), []string{checkWorker, checkRuns})
	group("jobs", h.jobCases(), []string{checkWorker, checkFlow})
	group("alarms", h.alarmCases(), []string{checkRoles, checkAlarms, checkWorker, checkRuns})
	group("reading", readingCases(), []string{})
	group("workers", h.workerCases(), nil)

	t.Run("all undone", func(t *testing.T) {
		h.publish(t)
		// Also for somebody who has only the policy for reading
		green(t, Run(t.Context(), h.reader(t, h.opt)))
	})
	t.Run("in time", h.inTime)
	t.Run("smoke test", h.smokeTest)
	t.Run("Prefect 3", h.prefect3)
	t.Run("frozen", h.frozen)
	t.Run("servers", func(t *testing.T) {
		h.serve(t, h.two)
		h.serve(t, h.three)
	})
	t.Run("probe", h.probes)
	group("plan", h.planCases(), []string{checkService, checkConfigured}) // the last: what has drifted stays so
}

// withNeeds returns checks with those that they need.
func withNeeds(names []string) []string {
	for _, check := range slices.Backward(checks) {
		if slices.Contains(names, check.name) {
			names = append(names, check.needs...)
		}
	}
	return names
}

// workerCases are services of their own, whose workers do not work.
func (h *harness) workerCases() []testCase {
	// worker starts one for which the API is at the URL, and waits for the end of its first task.
	worker := func(pool, settings string, api func(t *testing.T) string) change {
		return func(t *testing.T, opt *Options) func() {
			*opt = h.serviceOf(t, h.yaml(pool, api(t), settings))
			h.run(t, *opt).await(t, ecstask.Stopped)
			return nil
		}
	}
	answering := func(answer func(*http.Request) int) func(*testing.T) string {
		return func(t *testing.T) string { return h.front(t, answer) }
	}
	// As Prefect Cloud's free plan answers.
	mayNotCreate := answering(func(r *http.Request) int {
		if r.Method == http.MethodPost && r.URL.Path == "/api/work_pools/" {
			return http.StatusForbidden
		}
		return 0
	})
	wrongKey := answering(func(r *http.Request) int { return http.StatusUnauthorized })
	// Its worker, of type process, would start, warn and even be online.
	managed := func(t *testing.T, opt *Options) func() {
		h.createPool(t, h.two, "managed", "prefect:managed")
		*opt = h.serviceOf(t, h.yaml("managed", h.two.APIURL(), ""))
		return nil
	}
	noPackage := func(t *testing.T, opt *Options) func() {
		h.createPool(t, h.two, "tasks", "ecs")
		yaml := strings.Replace(h.yaml("tasks", h.two.APIURL(), `image: example.com/worker:1, prefect_version: "2", prefect_aws_included: true`), "type: process", "type: ecs", 1)
		*opt = h.serviceOf(t, yaml)
		h.run(t, *opt).await(t, ecstask.Stopped)
		return nil
	}
	noAuthentication := func(t *testing.T, opt *Options) func() {
		*opt = h.serviceOf(t, strings.Replace(h.yaml("good", h.two.APIURL(), ""), "prefect: {", "prefect: {authentication: none, ", 1))
		return nil
	}
	return []testCase{
		{"managed pool", managed, failing(checkPool, "managed is of type prefect:managed: Prefect runs its flows itself").fixedBy("prefect work-pool create NAME --type process")},
		{"a pool that may not be created", worker("absent", "", mayNotCreate), failing(checkPool, "there is no work pool absent").fixedBy("workerctl pool apply dev").
			and(failing(checkLog, "the key may not do this").fixedBy("role Worker"))},
		{"wrong key", worker("good", prefect3, wrongKey), failing(checkAPI, "the API rejects the API key").fixedBy("raise secret.version").
			and(failing(checkLog, "the Prefect API rejects the key").fixedBy("new API key"))},
		{"an API that is not there", worker("good", "", closedAPI), failing(checkLog, "the worker cannot reach the Prefect API").fixedBy("egress rule")},
		{"ecs pool without prefect-aws", noPackage, failing(checkLog, "the image lacks the package for this type of pool; for an ecs pool that is prefect-aws").fixedBy("worker.prefect_aws_included")},
		{"no task yet", noAuthentication, failing(checkWorker, "no worker of this service is online in good").fixedBy("--wait")},
	}
}

// inTime verifies from far away: with all that AWS and Prefect take, and a tenth of a second for each call, the
// checklist takes 3 s at most.
func (h *harness) inTime(t *testing.T) {
	const far = 100 * time.Millisecond
	opt := h.opt
	between(func(_ string, call func() (any, error)) (any, error) {
		time.Sleep(far)
		return call()
	})(t, &opt)
	apiAt(func(t *testing.T) string {
		return h.front(t, func(*http.Request) int { time.Sleep(far); return 0 })
	})(t, &opt)
	h.publish(t)
	began := time.Now()
	green(t, Run(t.Context(), opt))
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s", took)
	} else {
		t.Logf("it took %s", took)
	}
}

// smokeTest runs a flow in the pool, which leaves nothing behind.
func (h *harness) smokeTest(t *testing.T) {
	h.publish(t)
	opt := h.opt
	opt.Flow = true
	report := Wait(t.Context(), opt, time.Minute, nil)
	green(t, report)
	if last := report.Checks[len(report.Checks)-1]; last.Name != checkFlow || !strings.Contains(last.Detail, "ran to COMPLETED") {
		t.Errorf("the flow: %+v", last)
	}
	// AND nothing is left
	if runs, err := h.client(t, h.two).Overdue(t.Context(), "good", nil, time.Now().Add(time.Hour)); err != nil || len(runs) != 0 {
		t.Errorf("runs left: %v, %v", runs, err)
	}
}

// prefect3 goes through the life of a worker of Prefect 3 with user and password.
func (h *harness) prefect3(t *testing.T) {
	// GIVEN a worker that is online
	h.createPool(t, h.three, "basic", "process")
	h.put(t, basic)
	defer h.put(t, apiKey)
	yaml := strings.Replace(h.yaml("basic", h.three.APIURL(), prefect3), "prefect: {", "prefect: {authentication: basic, ", 1)
	opt := h.serviceOf(t, yaml)
	h.run(t, opt)
	online := want{check: checkWorker, status: OK}
	eventually(t, "an online worker", func() bool { return online.in(Run(t.Context(), opt)) })
	// WHEN it is verified with a flow, THEN that completes
	opt.Flow = true
	if report := Run(t.Context(), opt); !(want{check: checkFlow, status: OK, details: []string{"ran to COMPLETED"}}).in(report) {
		t.Errorf("the flow:\n%s", text(report))
	}
	opt.Flow = false
	// AND flow tasks of an ecs pool read both from the same secret
	tasks := *opt.Environment
	tasks.WorkPool.Type = "ecs"
	wanted, err := workpool.Read(t.Context(), h.aws, &tasks)
	if got := wanted.Defaults["prefect_api_auth_string_secret_arn"]; err != nil || got != h.secretARN(t) {
		t.Errorf("flow tasks read %v, %v", got, err)
	}
	// WHEN the password is wrong, or there is none, THEN that is said
	h.put(t, "admin:wrong-marker")
	failing(checkAPI, "the API rejects the user and password").fixedBy("TF_VAR_prefect_api_auth_string").judge(t, Run(t.Context(), opt))
	h.put(t, "admin")
	failing(checkSecret, "is not user:password").fixedBy("TF_VAR_prefect_api_auth_string").judge(t, Run(t.Context(), opt))
}

// frozen freezes and kills a worker: ECS still counts a running task and Prefect calls the worker online
// for a while, and verify believes neither.
func (h *harness) frozen(t *testing.T) {
	// GIVEN a worker that is online, and runs a flow
	h.createPool(t, h.two, "frozen", "process")
	opt := h.serviceOf(t, h.yaml("frozen", h.two.APIURL(), ""))
	w := h.run(t, opt)
	green(t, Wait(t.Context(), opt, time.Minute, nil))
	dir := t.TempDir()
	left := h.flow(t, h.two, "frozen", dir)(time.Now())
	client := h.client(t, h.two)
	eventually(t, "a run", func() bool {
		run, err := client.FlowRun(t.Context(), left)
		return err == nil && run.State == "RUNNING"
	})
	// THEN a deployment that stops its task says which run ends with it, also one to another pool
	moved := opt
	env := *opt.Environment
	env.WorkPool.Name, moved.Environment = "another", &env
	for _, opt := range []Options{opt, moved} {
		if text, err := Interruption(t.Context(), opt, true); err != nil || !strings.HasPrefix(text, "the tasks of the worker are stopped, with flow runs underway in them (1): ") {
			t.Errorf("%q, %v", text, err)
		}
	}
	// AND one for which the run is protected does not
	protected := opt
	edited(func(out *ecs.DescribeTaskDefinitionOutput) {
		out.TaskDefinition.ContainerDefinitions[0].Command = []string{`echo "task protection: $?"`}
	})(t, &protected)
	for byECS, want := range map[bool]string{true: "", false: "the tasks of the worker are stopped"} {
		if text, err := Interruption(t.Context(), protected, byECS); err != nil || !strings.HasPrefix(text, want) || (text == "") != byECS {
			t.Errorf("%q, %v", text, err)
		}
	}
	// WHEN it is frozen
	process := w.await(t, ecstask.Started).Process
	if err := syscall.Kill(process.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// THEN it is soon not believed, though a task runs
	frozen := time.Now()
	dead := failing(checkWorker, "frozen").fixedBy("aws ecs stop-task --cluster prefect-cluster --task ")
	eventually(t, "a failed verification", func() bool { return dead.in(Run(t.Context(), opt)) })
	t.Logf("frozen for %.0f s when it was seen", time.Since(frozen).Seconds())
	if report := Run(t.Context(), opt); !(want{check: checkService, status: OK, details: []string{"1 of 1 tasks running"}}).in(report) {
		t.Errorf("the emulator should still count a task:\n%s", text(report))
	}
	// WHEN it is killed and not replaced, and others are online whose names begin alike
	if err := syscall.Kill(process.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.stop()
	name := opt.Environment.Worker.ServiceName
	report := Run(t.Context(), opt)
	failing(checkWorker, "no worker of this service is online in frozen").judge(t, report)
	// THEN its run is named
	failing(checkRuns, left+") is lost for ", "in the task ").fixedBy("workerctl runs end RUN dev").judge(t, report)
	// AND no deployment ends it any more
	if text, err := Interruption(t.Context(), opt, true); err != nil || text != "" {
		t.Errorf("%q, %v", text, err)
	}
	// WHEN that is ended, THEN it holds no slot any more
	pool := flowruns.Pool{Environment: opt.Environment, API: client, ECS: h.ecs}
	evidence, err := pool.Stopped(t.Context(), left)
	if err != nil || client.End(t.Context(), left, evidence) != nil {
		t.Errorf("%q, %v", evidence, err)
	}
	if run, err := client.FlowRun(t.Context(), left); err != nil || run.State != "CRASHED" || run.StateDetail.Message != evidence {
		t.Errorf("the run that was ended: %+v, %v", run, err)
	}
	if list, err := pool.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	for _, name := range []string{name + "-laptop", name + "-b-0123456789abcdef0123456789abcdef", name + "-0123456789abcdef0123456789abcdef"} {
		h.prefect(t, h.two, "POST", "/work_pools/frozen/workers/heartbeat", map[string]any{"name": name})
	}
	// THEN none of those counts
	failing(checkWorker, "no worker of this service is online in frozen\nnot of a running task of the current deployment: ").judge(t, Run(t.Context(), opt))
}

// TestEachCheckComesAfterThoseThatItNeeds: await of a check that stands later would wait forever.
func TestEachCheckComesAfterThoseThatItNeeds(t *testing.T) {
	made := map[string]bool{}
	for _, check := range checks {
		for _, need := range check.needs {
			if !made[need] {
				t.Errorf("%s needs %s, which is not before it", check.name, need)
			}
		}
		made[check.name] = true
	}
}
