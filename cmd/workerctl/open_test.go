package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/test/testtools"
)

func TestOpen(t *testing.T) {
	testtools.Require(t, testtools.Node)
	const (
		console = "  service         https://us-east-1.console.aws.amazon.com/ecs/v2/clusters/prefect-cluster/services/dev-worker/health?region=us-east-1\n" +
			"  log             https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logsV2:log-groups/log-group/$252Fecs$252Fprefect-worker\n"
		unknown = "note: the Prefect API is not known; set TF_VAR_prefect_account_id and TF_VAR_prefect_workspace_id, or TF_VAR_prefect_api_url\n"
	)
	for url, want := range map[string][2]string{
		"":                                {console, unknown},
		"https://prefect.example.com/api": {"  Prefect         https://prefect.example.com\n" + console, ""},
	} {
		t.Setenv("TF_VAR_prefect_api_url", url)
		t.Chdir(".") // the command changes the folder
		if out, errOut, err := workerctl(t, "open"); err != nil || out != want[0] || errOut != want[1] {
			t.Errorf("%q: %v\n%s%s", url, err, out, errOut)
		}
	}
}

// TestConsoles: the dashboard is there with its alarms, and China has a console of its own.
func TestConsoles(t *testing.T) {
	project, err := project.Find(".")
	testtools.NoError(t, err)
	const prefix = "https://cn-north-1.console.amazonaws.cn/"
	for name, want := range map[string][]page{
		"dev": {
			{"service", prefix + "ecs/v2/clusters/prefect-cluster/services/dev-worker/health?region=cn-north-1"},
			{"log", prefix + "cloudwatch/home?region=cn-north-1#logsV2:log-groups/log-group/$252Fecs$252Fprefect-worker"},
		},
		"full": {
			{"service", prefix + "ecs/v2/clusters/prefect-cluster-full/services/flow-worker/health?region=cn-north-1"},
			{"log", prefix + "cloudwatch/home?region=cn-north-1#logsV2:log-groups/log-group/$252Fecs$252Fprefect-worker-full"},
			{"dashboard", prefix + "cloudwatch/home?region=cn-north-1#dashboards/dashboard/flow-worker"},
		},
	} {
		stack, err := os.ReadFile(filepath.Join(project.Root, "testdata", "golden", name+".tf.json"))
		testtools.NoError(t, err)
		got, err := consoles(verify.Options{Environment: &config.Environment{Region: "cn-north-1"}, Stack: stack})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
}

func TestTheBrowserNeedsADesktop(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("a Mac has one")
	}
	for variable, want := range map[string]string{"DISPLAY": "xdg-open", "WAYLAND_DISPLAY": "xdg-open", "NONE": ""} {
		t.Setenv("DISPLAY", "")
		t.Setenv("WAYLAND_DISPLAY", "")
		t.Setenv(variable, ":0")
		if got := browser(); got != want {
			t.Errorf("%s: %q, want %q", variable, got, want)
		}
	}
}
