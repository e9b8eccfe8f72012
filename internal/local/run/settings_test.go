package run

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
)

func TestLocalSettingsKeepTheShapeAndDropWhatIsElsewhere(t *testing.T) {
	// GIVEN an environment with everything that only real AWS has
	user := `
account_id: "210987654321"
backend: {type: s3, bucket: states}
secret: {existing_arn: "arn:aws:secretsmanager:us-east-1:210987654321:secret:k-AbCdEf", json_key: k}
prefect: {account_id: 00000000-0000-0000-0000-000000000000, authentication: none}
worker: {image: "prefecthq/prefect:3.9.1-python3.12", cpu: 512, memory: 1024, desired_count: 4, secrets: {A: "arn:aws:secretsmanager:us-east-1:210987654321:secret:a-AbCdEf"}}
work_pool: {name: my-pool, type: ecs, job: {secrets: {B: "arn:aws:secretsmanager:us-east-1:210987654321:secret:b-AbCdEf"}}}
`
	// WHEN it becomes that of a local run
	local, leftOut, err := localSettings([]byte(user), "http://127.0.0.1:4200/api", nil)
	if err != nil {
		t.Fatal(err)
	}

	// THEN the project accepts it, the shape is kept and the API is the local one
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prod.yaml"), local, 0o600); err != nil {
		t.Fatal(err)
	}
	envs, err := config.LoadLocal(dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, local)
	}
	env := envs[0]
	if !env.LocalRun || env.Prefect.APIURL != "http://127.0.0.1:4200/api" || env.Prefect.Authentication != config.AuthNone || env.WorkPool.Name != "my-pool" || env.Worker.MemoryMiB != 1024 {
		t.Errorf("%s", local)
	}
	// AND its worker polls often
	if poll := env.Worker.Environment["PREFECT_WORKER_QUERY_SECONDS"]; poll != "2" {
		t.Errorf("the worker polls each %q s", poll)
	}
	// AND nothing of the account is left, and a person is told what is missing
	if strings.Contains(string(local), "210987654321") || env.Backend.Type != config.BackendLocal {
		t.Errorf("the user's account is still in it:\n%s", local)
	}
	var names []string
	for _, l := range leftOut {
		name, _, _ := strings.Cut(l, ":")
		names = append(names, name)
	}
	if want := []string{"account_id", "backend", "secret.existing_arn", "secret.json_key", "worker.secrets", "work_pool.job.secrets", "worker.desired_count"}; !slices.Equal(names, want) {
		t.Errorf("left out %q, want %q", names, want)
	}
}

func TestWhatExistsHasAPlaceholder(t *testing.T) {
	// GIVEN an environment in an account where nearly everything exists
	user, err := os.ReadFile("../../../testdata/environments/existing.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{"vpc-0123456789abcdef0": "vpc-00000001", "subnet-0123456789abcdef0": "subnet-00000001", "subnet-0123456789abcdef1": "subnet-00000002",
		"sg-0123456789abcdef0": "sg-00000001", "sg-0123456789abcdef1": "sg-00000002"}
	// WHEN it becomes that of a local run
	local, leftOut, err := localSettings([]byte(strings.ReplaceAll(string(user), "123456789012", "210987654321")), "http://127.0.0.1:4200/api", ids)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dev.yaml"), local, 0o600); err != nil {
		t.Fatal(err)
	}
	envs, err := config.LoadLocal(dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, local)
	}
	// THEN placeholders take the place of what exists
	env := envs[0]
	n := env.Network
	if n.Existing.VPCID != "vpc-00000001" || !slices.Equal(n.Existing.SubnetIDs, []string{"subnet-00000001", "subnet-00000002"}) || !slices.Equal(n.SecurityGroupIDs, []string{"sg-00000002"}) ||
		env.IAM.Existing.TaskRole != "arn:aws:iam::123456789012:role/company/flows" || !env.Cluster.Existing || !env.Logs.Existing {
		t.Errorf("%s", local)
	}
	// AND what has none is left out, and said
	if len(n.Egress) != 2 || n.Egress[1].SecurityGroupID != "sg-00000001" || n.Proxy != "" || strings.Contains(string(local), "210987654321") {
		t.Errorf("%s", local)
	}
	var names []string
	for _, l := range leftOut {
		name, _, _ := strings.Cut(l, ":")
		names = append(names, name)
	}
	if env.Worker.DesiredCount != 2 {
		t.Errorf("%d workers, want 2", env.Worker.DesiredCount)
	}
	if want := []string{"worker.secrets", "worker.registry_credentials", "worker.kms_key_arns", "network.proxy", "network.no_proxy", "network.egress[1]"}; !slices.Equal(names, want) {
		t.Errorf("left out %q, want %q", names, want)
	}
}

func TestLocalSettingsOfAnEmptyFile(t *testing.T) {
	local, leftOut, err := localSettings([]byte("# only a comment\n"), "http://127.0.0.1:1/api", nil)
	if err != nil || len(leftOut) > 0 || !strings.Contains(string(local), "api_url: http://127.0.0.1:1/api") {
		t.Errorf("%s\n%q, %v", local, leftOut, err)
	}
}

func TestALocalServerGoesWithTheRun(t *testing.T) {
	for user, left := range map[string]int{
		"server: {enabled: true}\n": 0,
		"server: {enabled: true, database: {existing_host: db.example.com, existing_secret: \"arn:aws:secretsmanager:us-east-1:210987654321:secret:a-AbCdEf\"}}\n": 1,
	} {
		// WHEN an environment with a Prefect server becomes that of a local run
		local, leftOut, err := localSettings([]byte(user), "http://127.0.0.1:43210/api", nil)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "dev.yaml"), local, 0o600); err != nil {
			t.Fatal(err)
		}
		envs, err := config.LoadLocal(dir)
		if err != nil {
			t.Fatalf("%v\n%s", err, local)
		}
		// THEN the server is on this machine, and its database can be destroyed
		if env := envs[0]; env.Prefect.APIURL != "http://127.0.0.1:43210/api" || !env.Server.OwnDatabase() || env.Server.Database.DeletionProtection || env.Server.Database.FinalSnapshot {
			t.Errorf("got %+v %+v", env.Prefect, env.Server)
		}
		if len(leftOut) != left {
			t.Errorf("left out: %v", leftOut)
		}
	}
}
