package deployer

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"prefect-worker-ecs/internal/synthesized"
)

func TestX(t *testing.T) {
	for _, n := range []string{"dev", "own", "ecs", "full", "server", "serverdb"} {
		f, _ := os.ReadFile("../../testdata/golden/" + n + ".tf.json")
		s, err := synthesized.Parse(f, synthesized.Place{Partition: "aws", Region: "us-east-1", Account: "123456789012"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []Purpose{Deploy, Read} {
			d, err := Policy(s, p)
			if err != nil {
				t.Error(n, err)
				continue
			}
			out, _ := json.Marshal(d)
			t.Log(n, p, len(out), len(d.Statement))
			if n == "dev" && p == Deploy {
				x, _ := json.MarshalIndent(d, "", " ")
				fmt.Println(string(x))
			}
		}
	}
}
