package verify

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/test/golden"
)

// TestWithoutAWS: that AWS cannot be asked says nothing about the worker.
func TestWithoutAWS(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	keys := credentials.NewStaticCredentialsProvider("x", "x", "")
	none := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("no profile") })
	for want, cfg := range map[string]aws.Config{
		"there are no AWS credentials":                    {Region: "us-east-1"},
		"there are no AWS credentials: no profile":        {Region: "us-east-1", Credentials: none},
		"whose credentials these are could not be read: ": {Region: "us-east-1", Credentials: keys, BaseEndpoint: &closed.URL, Retryer: func() aws.Retryer { return aws.NopRetryer{} }},
	} {
		report := Run(t.Context(), goldenOptions(t, cfg))
		expect(t, report, checkAccount, Unknown, want, "")
		for _, check := range report.Checks[1:] {
			if check.Status != Skipped {
				t.Errorf("%s: %+v", want, check)
			}
		}
	}
}

func TestWhereTheCredentialComesFrom(t *testing.T) {
	const secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf"
	for from, want := range map[string][2]string{
		secret:                                  {secret, ""},
		secret + ":api_key::":                   {secret, "api_key"},
		secret + ":api_key:AWSPREVIOUS:":        {secret, "api_key"},
		"arn:aws:ssm:us-east-1:1:parameter/a:b": {"arn:aws:ssm:us-east-1:1:parameter/a:b", ""},
	} {
		if arn, jsonKey := secretARN(from); arn != want[0] || jsonKey != want[1] {
			t.Errorf("%s: %s, %s", from, arn, jsonKey)
		}
	}
}

func TestTheRepositoryOfAnImage(t *testing.T) {
	for image, want := range map[string]string{
		"prefecthq/prefect:2-latest":                                            "",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/worker:1":            "arn:aws:ecr:eu-west-1:123456789012:repository/team/worker",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com/worker@sha256:0123456789": "arn:aws:ecr:eu-west-1:123456789012:repository/worker",
	} {
		if got, _ := ecrRepository(image, "aws"); got != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
}

func TestAClusterThatExistsHasTheCapacity(t *testing.T) {
	for name, test := range map[string]struct {
		spot bool
		has  []string
		want int
	}{
		"on demand": {false, nil, 0}, "on Spot, which it has": {true, []string{"FARGATE", "FARGATE_SPOT"}, 0}, "on Spot, which it lacks": {true, []string{"FARGATE"}, 1},
	} {
		env := config.Default("dev")
		env.Cluster.Existing, env.Worker.Spot = true, test.spot
		c := &checklist{env: env}
		if got := c.lacksProvider(types.Cluster{CapacityProviders: test.has}); len(got) != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestTheOrderOfNames: AWS returns sets, such as those of subnets, in an order of its own.
func TestTheOrderOfNames(t *testing.T) {
	wanted := map[string]any{"vpc_config": map[string]any{"subnet_ids": []any{"subnet-b", "subnet-a"}}}
	got := lambda.GetFunctionConfigurationOutput{VpcConfig: &lambdatypes.VpcConfigResponse{SubnetIds: []string{"subnet-a", "subnet-b"}}}
	if found, err := differences(wanted, got); err != nil || len(found) != 0 {
		t.Errorf("the same subnets: %v, %v", found, err)
	}
	got.VpcConfig.SubnetIds[1] = "subnet-c"
	if found, err := differences(wanted, got); err != nil || !slices.Equal(found, []string{`VpcConfig.SubnetIds is ["subnet-a","subnet-c"], configured is ["subnet-a","subnet-b"]`}) {
		t.Errorf("another subnet: %v, %v", found, err)
	}
	// That of a command is its meaning.
	if found, err := differences(map[string]any{"command": []any{"b", "a"}}, types.ContainerDefinition{Command: []string{"a", "b"}}); err != nil || len(found) != 1 {
		t.Errorf("another command: %v, %v", found, err)
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
		if found != (test.want != "") || !bytes.Contains([]byte(s.Explanation), []byte(test.want)) {
			t.Errorf("%s: found %t, %q; want %q", name, found, s.Explanation, test.want)
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
	report := Report{Environment: "dev", Outcome: Failed, Checks: []Check{
		{Name: checkService, Status: OK, Detail: "1 of 1 tasks running, deployment completed"},
		{Name: checkSecret, Status: Failed, Detail: "the secret is empty", Fix: "give the key"},
		{Name: checkLog, Status: Failed, Detail: "the worker cannot reach the Prefect API\nline: httpx.ConnectError", Fix: "check network.nat"},
		{Name: checkWorker, Status: Skipped, Detail: "not checked: there is no pool"},
	}, Log: []string{"first", "httpx.ConnectError"}}
	var text bytes.Buffer
	report.Print(&text)
	report = Report{Environment: "dev", Outcome: OK, OK: true, Checks: report.Checks[:1]}
	report.Print(&text)
	report = Report{Environment: "dev", Outcome: Unknown, Checks: []Check{{Name: checkAccount, Status: Unknown, Detail: "there are no AWS credentials", Fix: "log in"}}}
	report.Print(&text)
	NotChecked("dev", errors.New("there is no environment dev")).Print(&text)
	golden.Equal(t, "testdata/print.golden", text.String())
}
