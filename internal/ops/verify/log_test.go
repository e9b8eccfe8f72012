package verify

import (
	"strings"
	"testing"

	"prefect-worker-ecs/config"
)

// TestTheCredentialIsHidden: also one without a known form, which a worker or its API has written out.
func TestTheCredentialIsHidden(t *testing.T) {
	for credential, line := range map[string]string{"correct horse battery": "login with correct horse battery", "admin:s3same": "password s3same is wrong"} {
		c := newChecklist(Options{Environment: config.Default("dev"), only: []string{}})
		c.credential, c.log = credential, []string{line, "another line"}
		if report := c.run(t.Context()); len(report.Log) != 2 || strings.Contains(report.Log[0], credential) || strings.Contains(report.Log[0], "s3same") || report.Log[1] != "another line" {
			t.Errorf("%q", report.Log)
		}
	}
}

// TestTheCauseInTheLog: a cause is given if the worker does not work, or its flow runs, and if no other check
// contradicts it.
func TestTheCauseInTheLog(t *testing.T) {
	const key, submit, done = "httpx: Client error '401 Unauthorized'", "14:07:31.123 | ERROR   | prefect.flow_runs.worker - Failed to submit flow run 'x'", "14:07:32.123 | INFO    | prefect.flow_runs.worker - Completed submission of flow run 'x'"
	for name, test := range map[string]struct {
		online bool
		checks Status
		lines  []string
		status Status
		want   string
	}{
		"nothing":                                  {false, Unknown, nil, OK, "0 lines"},
		"a key that is rejected":                   {false, Failed, []string{key}, Failed, "the Prefect API rejects the key\nline: " + key},
		"a key that is accepted now":               {false, OK, []string{key}, OK, "but the Prefect API is as it should be now"},
		"a worker that is online":                  {true, Unknown, []string{key}, OK, "The worker is online all the same"},
		"a line of a flow":                         {false, Failed, []string{"14:07:31.123 | INFO    | Flow run 'x' - " + key}, OK, "none of them a known failure"},
		"a run that could not be started, and why": {true, Failed, []string{submit}, Failed, "a flow run could not be started"},
		"a run that could not be started":          {true, OK, []string{submit}, Unknown, "no flow run was started since; the template and the roles are as they should be now"},
		"and another one that could":               {true, OK, []string{submit, done}, OK, "none of them a known failure"},
		"a worker that says that it started":       {false, OK, []string{"Worker 'w' started!"}, OK, "is no proof"},
	} {
		c := newChecklist(Options{Environment: config.Default("dev")})
		c.online = test.online
		for _, check := range []string{checkAPI, checkPool, checkRoles} {
			c.outcomes[check] = func() finding { return finding{status: test.checks} }
		}
		f := c.judgeLog("/g", test.lines)
		if f.status != test.status || !strings.Contains(f.detail, test.want) {
			t.Errorf("%s: %s %q, want %s %q", name, f.status, f.detail, test.status, test.want)
		}
	}
}
