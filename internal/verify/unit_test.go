package verify

import (
	"bytes"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/golden"
)

func TestAllows(t *testing.T) {
	const secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf"
	statement := func(effect, action, resource string) string {
		return `{"Statement":{"Effect":"` + effect + `","Action":"` + action + `","Resource":"` + resource + `"}}`
	}
	for name, test := range map[string]struct {
		documents []string
		want      bool
	}{
		"nothing":               {nil, false},
		"exactly":               {[]string{statement("Allow", "secretsmanager:GetSecretValue", secret)}, true},
		"a list":                {[]string{`{"Statement":[{"Effect":"Allow","Action":["a:B","secretsmanager:GetSecretValue"],"Resource":["x","` + secret + `"]}]}`}, true},
		"percent-encoded":       {[]string{`%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22%2A%22%2C%22Resource%22%3A%22%2A%22%7D%7D`}, true},
		"wildcards":             {[]string{statement("Allow", "secretsmanager:get*", "arn:aws:secretsmanager:*:*:secret:key-??????")}, true},
		"too few characters":    {[]string{statement("Allow", "secretsmanager:*", "arn:aws:secretsmanager:*:*:secret:key-?????")}, false},
		"another action":        {[]string{statement("Allow", "secretsmanager:DescribeSecret", "*")}, false},
		"another secret":        {[]string{statement("Allow", "*", "arn:aws:secretsmanager:us-east-1:123456789012:secret:other-AbCdEf")}, false},
		"allowed and denied":    {[]string{statement("Allow", "*", "*"), statement("Deny", "secretsmanager:*", "*")}, false},
		"denied something else": {[]string{statement("Allow", "*", "*"), statement("Deny", "s3:*", "*")}, true},
	} {
		if got := allows(test.documents, "secretsmanager:GetSecretValue", secret); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

func TestKeySource(t *testing.T) {
	for from, want := range map[string][2]string{
		"arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf":           {"arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf", ""},
		"arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf:api_key::": {"arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf", "api_key"},
	} {
		arn, jsonKey := keySource(types.ContainerDefinition{Secrets: []types.Secret{{Name: aws.String("DB"), ValueFrom: aws.String("x")}, {Name: aws.String("PREFECT_API_KEY"), ValueFrom: &from}}})
		if arn != want[0] || jsonKey != want[1] {
			t.Errorf("%s: %s, %s", from, arn, jsonKey)
		}
	}
	if arn, _ := keySource(types.ContainerDefinition{}); arn != "" {
		t.Errorf("no secret: %s", arn)
	}
}

func TestTheCauseInTheLog(t *testing.T) {
	const ok = "Worker 'dev-worker-1' started!"
	for name, test := range map[string]struct {
		lines []string
		want  string // words of the explanation; "" for none
	}{
		"nothing":                           {nil, ""},
		"a worker that works":               {[]string{"Discovered type 'process' for work pool 'p'.", ok}, ""},
		"it says started and then fails":    {[]string{ok, "prefect.exceptions.PrefectHTTPStatusError: Client error '404 Not Found' for url", "An exception occurred."}, "does not know the address"},
		"the cause comes before its result": {[]string{"Client error '401 Unauthorized' for url", "An exception occurred."}, "refuses the key"},
		"a failure of an earlier task":      {[]string{"Client error '401 Unauthorized'", "An exception occurred.", ok}, ""},
		"it fails again and again":          {[]string{"Client error '401 Unauthorized'", "An exception occurred.", ok, "Client error '401 Unauthorized'", "An exception occurred."}, "refuses the key"},
		"an unknown exception":              {[]string{"Traceback", "An exception occurred."}, "ended with an exception"},
	} {
		s, _, found := lastSymptom(test.lines)
		if found != (test.want != "") || !bytes.Contains([]byte(s.explanation), []byte(test.want)) {
			t.Errorf("%s: found %t, %q; want %q", name, found, s.explanation, test.want)
		}
	}
}

func TestTracesAreShortened(t *testing.T) {
	got := withoutFrames([]string{
		"Worker 'dev-worker-1' started!",
		"Traceback (most recent call last):",
		`  File "/usr/lib/x.py", line 3, in post`,
		"    return await self.request(",
		"           ^^^^^^^^^^^^^^^^^^^",
		"  + Exception Group Traceback (most recent call last):",
		"  +-+---------------- 1 ----------------",
		`    |   File "/usr/lib/x.py", line 3, in post`,
		"      | prefect.exceptions.PrefectHTTPStatusError: Client error '403 Forbidden'",
		"      | Response: {'detail': 'Forbidden'}",
		"      +------------------------------------",
		"",
		"An exception occurred.",
	})
	want := []string{
		"Worker 'dev-worker-1' started!",
		"prefect.exceptions.PrefectHTTPStatusError: Client error '403 Forbidden'",
		"Response: {'detail': 'Forbidden'}",
		"An exception occurred.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestPrint(t *testing.T) {
	report := Report{Environment: "dev", Checks: []Check{
		{Name: checkService, Status: OK, Detail: "1 of 1 tasks running, deployment completed"},
		{Name: checkSecret, Status: Failed, Detail: "the secret is empty", Fix: "give the key"},
		{Name: checkLog, Status: Failed, Detail: "the worker cannot reach the Prefect API\nline: httpx.ConnectError", Fix: "check network.nat"},
		{Name: checkWorker, Status: Skipped, Detail: "not checked: there is no pool"},
	}, Log: []string{"first", "httpx.ConnectError"}}
	var text bytes.Buffer
	report.Print(&text)
	report = Report{Environment: "dev", OK: true, Checks: report.Checks[:1]}
	report.Print(&text)
	golden.Equal(t, "testdata/print.golden", text.String())
}
