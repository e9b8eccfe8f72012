package verify

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"prefect-worker-ecs/internal/aws/query"
	"prefect-worker-ecs/internal/test/golden"
)

// TestWithoutAWS: that AWS cannot be reached says nothing about the worker.
func TestWithoutAWS(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	keys := credentials.NewStaticCredentialsProvider("x", "x", "")
	none := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("no profile") })
	noneAnywhere := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New(`failed to refresh cached credentials, no EC2 IMDS role found, operation error ec2imds: GetMetadata, access disabled to EC2 IMDS via client option, or "AWS_EC2_METADATA_DISABLED" environment variable`)
	})
	if detail := Run(t.Context(), goldenOptions(t, aws.Config{Region: "us-east-1", Credentials: noneAnywhere})).Checks[0].Detail; detail != "there are no AWS credentials" {
		t.Errorf("%q", detail)
	}
	for want, cfg := range map[string]aws.Config{
		"there are no AWS credentials":             {Region: "us-east-1"},
		"there are no AWS credentials: no profile": {Region: "us-east-1", Credentials: none},
		"the caller identity could not be read: ":  {Region: "us-east-1", Credentials: keys, BaseEndpoint: &closed.URL, Retryer: func() aws.Retryer { return aws.NopRetryer{} }},
	} {
		report := Run(t.Context(), goldenOptions(t, cfg))
		unsure(checkAccount, want).judge(t, report)
		for _, check := range report.Checks[1:] {
			if check.Status != Skipped {
				t.Errorf("%s: %+v", want, check)
			}
		}
	}
}

// TestAWSThatDoesNotAnswer: each check ends, and so does all of them.
func TestAWSThatDoesNotAnswer(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for an answer")
	}
	t.Parallel()
	// GIVEN an AWS that takes each connection and does not answer
	ctx, cancel := context.WithCancel(t.Context())
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-ctx.Done() }))
	t.Cleanup(func() { cancel(); silent.Close() })
	keys := credentials.NewStaticCredentialsProvider("x", "x", "")
	began := time.Now()
	// WHEN it is verified, THEN that ends, and says why
	report := Run(t.Context(), goldenOptions(t, aws.Config{Region: "us-east-1", Credentials: keys, BaseEndpoint: &silent.URL}))
	unsure(checkAccount, "the caller identity could not be read: there was no answer within 7s").fixedBy("proxy").judge(t, report)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %s", took)
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

// TestWhoIsAdmitted: a rule lets tasks in by their subnets or by one of their groups.
func TestWhoIsAdmitted(t *testing.T) {
	subnets := []query.Subnet{{CIDRBlock: "10.0.4.0/24"}}
	tcp := func(from, to int, cidr string) query.SecurityGroupRule {
		return query.SecurityGroupRule{Protocol: "tcp", FromPort: from, ToPort: to, CIDRIPv4: cidr}
	}
	group := func(id string) query.SecurityGroupRule {
		return query.SecurityGroupRule{Protocol: "-1", ReferencedGroup: id}
	}
	out := tcp(443, 443, "0.0.0.0/0")
	out.IsEgress = true
	for name, test := range map[string]struct {
		rule query.SecurityGroupRule
		want bool
	}{
		"the VPC": {tcp(443, 443, "10.0.0.0/16"), true}, "half of the subnet": {tcp(443, 443, "10.0.4.0/25"), false}, "another port": {tcp(80, 80, "0.0.0.0/0"), false},
		"its group": {group("sg-1"), true}, "another group": {group("sg-2"), false}, "egress": {out, false},
	} {
		if got := admits(test.rule, subnets, []string{"sg-1"}); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestANetworkACL: the entry with the lowest number decides.
func TestANetworkACL(t *testing.T) {
	entry := func(number int, action, protocol, cidr string, from, to int) query.NetworkACLEntry {
		return query.NetworkACLEntry{Number: number, Action: action, Protocol: protocol, CIDRBlock: cidr, Egress: true, FirstPort: from, LastPort: to}
	}
	const allow, deny = "allow", "deny"
	for name, test := range map[string]struct {
		entries []query.NetworkACLEntry
		want    bool
	}{
		"none":                      {nil, false},
		"all":                       {[]query.NetworkACLEntry{entry(100, allow, "-1", "0.0.0.0/0", 0, 0)}, true},
		"all, after a deny":         {[]query.NetworkACLEntry{entry(100, allow, "-1", "0.0.0.0/0", 0, 0), entry(90, deny, "6", "0.0.0.0/0", 0, 65535)}, false},
		"all, before a deny":        {[]query.NetworkACLEntry{entry(100, deny, "-1", "0.0.0.0/0", 0, 0), entry(90, allow, "6", "0.0.0.0/0", 443, 443)}, true},
		"UDP":                       {[]query.NetworkACLEntry{entry(100, allow, "17", "0.0.0.0/0", 0, 65535)}, false},
		"another port":              {[]query.NetworkACLEntry{entry(100, allow, "6", "0.0.0.0/0", 80, 80)}, false},
		"some addresses":            {[]query.NetworkACLEntry{entry(100, allow, "6", "10.0.0.0/8", 443, 443)}, false},
		"some addresses are denied": {[]query.NetworkACLEntry{entry(90, deny, "6", "192.0.2.0/24", 443, 443), entry(100, allow, "6", "0.0.0.0/0", 443, 443)}, true},
	} {
		if got := aclAllows(test.entries, true, ports{443, 443}, "0.0.0.0/0"); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
		if aclAllows(test.entries, false, ports{443, 443}, "0.0.0.0/0") {
			t.Errorf("%s: an entry of egress allows ingress", name)
		}
	}
}
