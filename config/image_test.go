package config

import (
	"slices"
	"strings"
	"testing"
)

func TestRuntime(t *testing.T) {
	for _, test := range []struct {
		worker     Worker
		prefect    string
		official   bool
		prefectAWS bool
	}{
		{Worker{Image: "prefecthq/prefect:2-latest"}, "2.99999.99999", true, false},
		{Worker{Image: "prefecthq/prefect:2.20.25-python3.11"}, "2.20.25", true, false},
		{Worker{Image: "docker.io/prefecthq/prefect:3.9.1-python3.12"}, "3.9.1", true, false},
		{Worker{Image: "prefecthq/prefect:3.6-python3.12"}, "3.6.99999", true, false},
		{Worker{Image: "prefecthq/prefect:3"}, "3.99999.99999", true, false},
		{Worker{Image: "prefecthq/prefect-aws:0.7.5-python3.12-prefect3.6.20"}, "3.6.20", true, true},
		{Worker{Image: "prefecthq/prefect@sha256:0000000000000000000000000000000000000000000000000000000000000000", PrefectVersion: "2.20.25"}, "2.20.25", true, false},
		{Worker{Image: "123456789012.dkr.ecr.us-east-1.amazonaws.com/w:7", PrefectVersion: "3", PrefectAWSIncluded: true}, "3.99999.99999", false, true},
	} {
		runtime, err := test.worker.Runtime()
		if err != nil {
			t.Errorf("%s: %v", test.worker.Image, err)
			continue
		}
		if runtime.Prefect.String() != test.prefect || runtime.Official != test.official || runtime.PrefectAWS != test.prefectAWS {
			t.Errorf("%s: got %s, official %t, prefect-aws %t", test.worker.Image, runtime.Prefect, runtime.Official, runtime.PrefectAWS)
		}
	}
	if _, err := (Worker{Image: "prefecthq/prefect-aws:latest-python3.12"}).Runtime(); err == nil {
		t.Error("a tag that does not name Prefect's version must be refused")
	}
}

func TestPrefectAWSIsPinnedToTheImage(t *testing.T) {
	for _, test := range []struct {
		image string
		pool  PoolType
		extra []string
		want  []string
	}{
		{"prefecthq/prefect:2-latest", PoolECS, nil, []string{"prefect-aws==0.4.20"}},
		{"prefecthq/prefect:2-latest", PoolProcess, nil, nil},
		{"prefecthq/prefect:2-latest", PoolECS, []string{"s3fs"}, []string{"s3fs", "prefect-aws==0.4.20"}},
		{"prefecthq/prefect:2-latest", PoolECS, []string{"Prefect_AWS==0.4.19"}, []string{"Prefect_AWS==0.4.19"}},
		{"prefecthq/prefect:3-latest", PoolECS, nil, []string{"prefect-aws==0.7.12"}},
		{"prefecthq/prefect:3.7.0-python3.12", PoolECS, nil, []string{"prefect-aws==0.7.11"}},
		{"prefecthq/prefect:3.6.20-python3.12", PoolECS, nil, []string{"prefect-aws==0.6.0"}},
		{"prefecthq/prefect:3.2.1-python3.12", PoolECS, nil, []string{"prefect-aws==0.5.5"}},
		{"prefecthq/prefect:3.0.0-python3.12", PoolECS, nil, []string{"prefect-aws==0.5.0"}},
		{"prefecthq/prefect-aws:0.7.5-python3.12-prefect3.6.20", PoolECS, nil, nil},
	} {
		env := Default("dev")
		env.Worker.Image, env.WorkPool.Type, env.Worker.ExtraPipPackages = test.image, test.pool, test.extra
		if problems := env.Validate(); len(problems) > 0 {
			t.Errorf("%s: %v", test.image, problems)
		}
		if got := env.PipPackages(); !slices.Equal(got, test.want) {
			t.Errorf("%s with a %s pool: packages %v, want %v", test.image, test.pool, got, test.want)
		}
	}
}

func TestFlowTasksReadTheCredentialWherePrefectAWSCan(t *testing.T) {
	for _, test := range []struct {
		image          string
		pool           PoolType
		authentication Authentication
		want           bool
	}{
		{"prefecthq/prefect:3-latest", PoolECS, AuthAPIKey, true},
		{"prefecthq/prefect:3.4.7-python3.12", PoolECS, AuthBasic, true},
		{"prefecthq/prefect:3.4.6-python3.12", PoolECS, AuthAPIKey, false},
		{"prefecthq/prefect:2-latest", PoolECS, AuthAPIKey, false},
		{"prefecthq/prefect:3-latest", PoolECS, AuthNone, false},
		{"prefecthq/prefect:3-latest", PoolProcess, AuthBasic, false},
	} {
		env := Default("dev")
		env.Worker.Image, env.WorkPool.Type, env.Prefect.Authentication = test.image, test.pool, test.authentication
		if got := env.FlowsReadCredential(); got != test.want {
			t.Errorf("%+v: got %t", test, got)
		}
	}
}

func TestFargateSizes(t *testing.T) {
	// GIVEN the table of the Amazon ECS Developer Guide: first, second and last size, and how many
	for cpu, want := range map[int][4]int{
		256: {512, 1024, 2048, 3}, 512: {1024, 2048, 4096, 4}, 1024: {2048, 3072, 8192, 7}, 2048: {4096, 5120, 16384, 13},
		4096: {8192, 9216, 30720, 23}, 8192: {16384, 20480, 61440, 12}, 16384: {32768, 40960, 122880, 12},
	} {
		sizes := FargateMemory(cpu)
		if got := [4]int{sizes[0], sizes[1], sizes[len(sizes)-1], len(sizes)}; got != want {
			t.Errorf("cpu %d: %v, want %v", cpu, got, want)
		}
	}
	if sizes := FargateMemory(300); sizes != nil {
		t.Errorf("cpu 300: %v, want none", sizes)
	}
}

func TestAPIPort(t *testing.T) {
	for url, want := range map[string]int{
		"": 443, "https://prefect.example.com/api": 443, "http://prefect.example.com/api": 80,
		"http://prefect.example.com:4200/api": 4200, "https://[2001:db8::1]:8443/api": 8443,
	} {
		if got := APIPort(url); got != want {
			t.Errorf("APIPort(%q) = %d, want %d", url, got, want)
		}
	}
}

func TestImagesInECR(t *testing.T) {
	const registry = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for image, want := range map[string]ECRImage{
		"prefecthq/prefect:2-latest":          {},
		"public.ecr.aws/team/worker:1":        {},
		registry + "/team/worker:1":           {"123456789012", "eu-west-1", "team/worker", "1", ""},
		registry + "/worker":                  {"123456789012", "eu-west-1", "worker", "latest", ""},
		registry + ".cn/worker@" + digest:     {"123456789012", "eu-west-1", "worker", "", digest},
		registry + "/worker:2@" + digest:      {"123456789012", "eu-west-1", "worker", "2", digest},
		"example.com/" + registry + "/worker": {},
	} {
		if got, ok := ParseECRImage(image); got != want || ok != (want != ECRImage{}) {
			t.Errorf("%s: %+v, %t, want %+v", image, got, ok, want)
		}
	}
}

func TestSecretReference(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf"
	for reference, want := range map[string][2]string{
		arn:                    {arn, ""},
		arn + ":user::":        {arn, "user"},
		arn + "::AWSPREVIOUS:": {arn, ""},
		arn + ":user:s:v1":     {arn, "user"},
		arn + ":user":          {arn + ":user", ""},
		"key":                  {"key", ""},
		"arn:aws:ssm:us-east-1:123456789012:parameter/a:b": {"arn:aws:ssm:us-east-1:123456789012:parameter/a:b", ""},
	} {
		if arn, key := SecretReference(reference); arn != want[0] || key != want[1] {
			t.Errorf("%s: %s, %s, want %q", reference, arn, key, want)
		}
	}
}
