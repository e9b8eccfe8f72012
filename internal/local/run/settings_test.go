package run

import (
	"os"
	"slices"
	"strings"
	"testing"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/test/testtools"
)

const localAPI = "http://127.0.0.1:4200/api"

// localized returns what an environment becomes in a local run, and the options that are left out.
func localized(t *testing.T, user string, ids map[string]string) (env *config.Environment, local string, leftOut []string) {
	t.Helper()
	raw, why, err := localSettings([]byte(user), localAPI, ids)
	testtools.NoError(t, err)
	dir := t.TempDir()
	write(t, dir, map[string]string{"dev.yaml": string(raw)})
	envs, err := config.LoadLocal(dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	for _, line := range why {
		option, _, _ := strings.Cut(line, ":")
		leftOut = append(leftOut, option)
	}
	return envs[0], string(raw), leftOut
}

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
	env, local, leftOut := localized(t, user, nil)

	// THEN the project accepts it, the shape is kept and the API is the local one
	if !env.LocalRun || env.Prefect.APIURL != localAPI || env.Prefect.Authentication != config.AuthNone || env.WorkPool.Name != "my-pool" || env.Worker.MemoryMiB != 1024 {
		t.Errorf("%s", local)
	}
	// AND its worker polls often
	if poll := env.Worker.Environment["PREFECT_WORKER_QUERY_SECONDS"]; poll != "2" {
		t.Errorf("the worker polls each %q s", poll)
	}
	// AND nothing of the account is left, and a person is told what is missing
	if strings.Contains(local, "210987654321") || env.Backend.Type != config.BackendLocal {
		t.Errorf("the user's account is still in it:\n%s", local)
	}
	if want := []string{"account_id", "backend", "secret.existing_arn", "secret.json_key", "worker.secrets", "work_pool.job.secrets", "worker.desired_count"}; !slices.Equal(leftOut, want) {
		t.Errorf("left out %q, want %q", leftOut, want)
	}
}

func TestWhatExistsHasAPlaceholder(t *testing.T) {
	// GIVEN an environment in an account where nearly everything exists
	user, err := os.ReadFile("../../../testdata/environments/existing.yaml")
	testtools.NoError(t, err)
	ids := map[string]string{"vpc-0123456789abcdef0": "vpc-00000001", "subnet-0123456789abcdef0": "subnet-00000001", "subnet-0123456789abcdef1": "subnet-00000002",
		"sg-0123456789abcdef0": "sg-00000001", "sg-0123456789abcdef1": "sg-00000002"}
	// WHEN it becomes that of a local run
	env, local, leftOut := localized(t, strings.ReplaceAll(string(user), "123456789012", "210987654321"), ids)
	// THEN placeholders take the place of what exists
	n := env.Network
	if n.Existing.VPCID != "vpc-00000001" || !slices.Equal(n.Existing.SubnetIDs, []string{"subnet-00000001", "subnet-00000002"}) || !slices.Equal(n.SecurityGroupIDs, []string{"sg-00000002"}) ||
		env.IAM.Existing.TaskRole != "arn:aws:iam::123456789012:role/company/flows" || !env.Cluster.Existing || !env.Logs.Existing {
		t.Errorf("%s", local)
	}
	// AND what has none is left out, and said
	if len(n.Egress) != 2 || n.Egress[1].SecurityGroupID != "sg-00000001" || n.Proxy != "" || strings.Contains(local, "210987654321") {
		t.Errorf("%s", local)
	}
	if env.Worker.DesiredCount != 2 {
		t.Errorf("%d workers, want 2", env.Worker.DesiredCount)
	}
	if want := []string{"worker.secrets", "worker.registry_credentials", "worker.kms_key_arns", "network.proxy", "network.no_proxy", "network.egress[1]"}; !slices.Equal(leftOut, want) {
		t.Errorf("left out %q, want %q", leftOut, want)
	}
}

func TestLocalSettingsOfAnEmptyFile(t *testing.T) {
	if env, local, leftOut := localized(t, "# only a comment\n", nil); len(leftOut) > 0 || env.Prefect.APIURL != localAPI {
		t.Errorf("%s\n%q", local, leftOut)
	}
}

func TestALocalServerGoesWithTheRun(t *testing.T) {
	for user, left := range map[string]int{
		"server: {enabled: true}\n": 0,
		"server: {enabled: true, database: {existing_host: db.example.com, existing_secret: \"arn:aws:secretsmanager:us-east-1:210987654321:secret:a-AbCdEf\"}}\n": 1,
	} {
		// WHEN an environment with a Prefect server becomes that of a local run
		env, _, leftOut := localized(t, user, nil)
		// THEN the server is on this machine, and its database can be destroyed
		if env.Prefect.APIURL != localAPI || !env.Server.OwnDatabase() || env.Server.Database.DeletionProtection || env.Server.Database.FinalSnapshot {
			t.Errorf("got %+v %+v", env.Prefect, env.Server)
		}
		if len(leftOut) != left {
			t.Errorf("left out: %v", leftOut)
		}
	}
}
