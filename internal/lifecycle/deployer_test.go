package lifecycle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"prefect-worker-ecs/internal/access"
	deploying "prefect-worker-ecs/internal/deployer"
	"prefect-worker-ecs/internal/rights"
	"prefect-worker-ecs/internal/synthesized"
)

func TestDeployerX(t *testing.T) {
	d := newDeployment(t)
	yaml := os.Getenv("XENV")
	d.environment(yaml)
	d.synth()
	file, err := os.ReadFile(filepath.Join(d.workspace.Stack("dev"), "cdk.tf.json"))
	if err != nil {
		t.Fatal(err)
	}
	stack, err := synthesized.Parse(file, synthesized.Place{Partition: "aws", Region: "us-east-1", Account: "123456789012"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := deploying.Policy(stack, deploying.Deploy)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(policy)
	document, err := access.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	guard, err := rights.Start(rights.Options{
		AWS: aws.Config{Region: "us-east-1", BaseEndpoint: &d.emulator.Endpoint, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")},
		Journal: func(c rights.Call) {
			mu.Lock()
			defer mu.Unlock()
			if line := c.String(); !c.Allowed && !seen[line] {
				seen[line] = true
				t.Log(line, c.Request.Context)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	key := guard.As("arn:aws:iam::123456789012:user/deployer", document)
	d.deployer = []string{"AWS_ACCESS_KEY_ID=" + key, "AWS_SECRET_ACCESS_KEY=x", "AWS_ENDPOINT_URL=" + guard.Endpoint(), "TF_VAR_prefect_api_key=" + firstKey}
	d.apply()
	t.Log("---- destroy")
	d.destroy()
}
