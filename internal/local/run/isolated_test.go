package run

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

// TestIsolatedSubnets runs flow tasks on Spot, from an image in ECR that contains prefect-aws, in an existing VPC
// without internet egress.
func TestIsolatedSubnets(t *testing.T) {
	t.Parallel()
	w := newWorkerctl(t)
	testtools.Environment(t, pyenv.Prefect3)
	environment := `prefect: {api_url: 'https://prefect.example.internal/api'}
network:
  existing: {vpc_id: vpc-0123456789abcdef0, subnet_ids: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]}
  endpoints: [ec2, ecr.api, ecr.dkr, ecs, logs, secretsmanager, sqs]
work_pool: {type: ecs, job: {spot: true}}
worker: {image: '210987654321.dkr.ecr.us-east-1.amazonaws.com/prefect:3', prefect_version: 3.9.1, prefect_aws_included: true}
`
	write(t, w.config, map[string]string{"dev.yaml": environment})

	// WHEN it is brought up THEN its flow run has completed
	if out := w.must("up", "dev"); !strings.Contains(out, "checks of workerctl verify are green") || !strings.Contains(out, "is COMPLETED") {
		t.Errorf("up:\n%s", out)
	}

	// WHEN a flow of one's own is run with parameters THEN it has them
	dir := t.TempDir()
	result := filepath.Join(dir, "result")
	write(t, dir, map[string]string{"own.py": "from prefect import flow\n\n@flow\ndef mine(days: int, name: str, to: str):\n    open(to, 'w').write(f'{days + 1} {name}')\n"})
	out := w.must("run", filepath.Join(dir, "own.py"), "dev", "--param", "days=7", "-p", "name=a b=c", "-p", "to="+result)
	if got, err := os.ReadFile(result); err != nil || string(got) != "8 a b=c" {
		t.Errorf("the flow had %q, %v\n%s", got, err, out)
	}
	// AND one beside the run's folder is refused: it would be copied into itself
	write(t, filepath.Dir(w.dir), map[string]string{"own.py": "from prefect import flow\n\n@flow\ndef mine():\n    pass\n"})
	if out, err := w.command("run", filepath.Join(filepath.Dir(w.dir), "own.py"), "dev").CombinedOutput(); err == nil || !strings.Contains(string(out), "move the flow into a folder of its own") {
		t.Errorf("a flow beside the run's folder: %v\n%s", err, out)
	}
	// AND no flow run needs a person
	if out := w.must("runs", "dev"); out != "No flow run of ecs-work-pool is late, orphaned or lost.\n" {
		t.Errorf("runs: %s", out)
	}

	// WHEN Terraform fails THEN its error is shown
	write(t, w.config, map[string]string{"dev.yaml": environment + "iam: {task_policy_arns: ['arn:aws:iam::aws:policy/NoSuchPolicy']}\n"})
	if out := w.refused(); !strings.Contains(out, "NoSuchEntity") {
		t.Errorf("a policy that does not exist:\n%s", out)
	}

	// GIVEN a call that was denied before
	write(t, w.config, map[string]string{"dev.yaml": environment})
	calls, err := os.OpenFile(filepath.Join(w.dir, "task", "calls.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer calls.Close()
	denied := enforce.Call{Time: time.Now(), Kind: enforce.Task, Role: "r", Action: "s3:GetObject", Resource: "*", Problem: "nothing allows it"}
	if err := json.NewEncoder(calls).Encode(denied); err != nil {
		t.Fatal(err)
	}
	if _, err := (&run{dir: w.dir}).allowed(); err == nil {
		t.Error("the denied call is allowed")
	}
	// WHEN it is brought up again THEN it does not count
	w.must("up", "dev")
	w.must("down", "dev")
}
