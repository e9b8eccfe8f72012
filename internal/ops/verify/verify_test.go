package verify

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"prefect-worker-ecs/internal/local/ecstask"
)

// TestVerify goes through what goes wrong with workers, each for real: real workers, real Prefect
// servers, the program's own stack. Each case can be run alone: -run 'TestVerify/roles/NotAction'.
func TestVerify(t *testing.T) {
	h := newHarness(t)
	right, all := 0, 0
	// group runs cases, each with its own check, some others and those that they need, or else with all.
	group := func(name string, cases []testCase, with []string) {
		t.Run(name, func(t *testing.T) {
			for _, c := range cases {
				all++
				if t.Run(c.name, func(t *testing.T) {
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
				}) {
					right++
				}
			}
		})
	}
	group("roles", h.roleCases(), []string{checkRoles})
	group("secret", h.secretCases(t), []string{checkSecret, checkRoles, checkAPI})
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
	t.Run("servers", func(t *testing.T) {
		h.serve(t, h.two)
		h.serve(t, h.three)
	})
	t.Run("lives", h.lives)
	group("plan", h.planCases(), []string{checkService, checkConfigured}) // the last: what has drifted stays so
	page, err := os.ReadFile(filepath.Join(h.project.Root, "docs", "operate.md"))
	_, left, _ := strings.Cut(string(page), "What it does not look at:\n\n")
	left, _, found := strings.Cut(left, "\n\n")
	if err != nil || !found {
		t.Errorf("docs/operate.md does not say what is known and left: %v", err)
	}
	t.Logf("%d of %d judged rightly; known and left:\n%s", right, all, left)
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
	for range 3 { // the other tests take processor time as well
		began := time.Now()
		green(t, Run(t.Context(), opt))
		took := time.Since(began)
		t.Logf("it took %s", took)
		if took <= 3*time.Second {
			return
		}
	}
	t.Error("it took more than 3 s three times")
}

// TestEachCheckComesAfterThoseThatItNeeds: two that need each other would wait forever.
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
