package lifecycle

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/test/testtools"
)

// TestOptionsLifeCycle deploys the environment of the golden files that has most options at once, but for
// what is in another account or region, and moves it from one NAT gateway to one in each zone.
func TestOptionsLifeCycle(t *testing.T) {
	t.Parallel()
	d := newLife(t)
	file, err := os.ReadFile(testtools.Project(t).Root + "/testdata/environments/full.yaml")
	testtools.NoError(t, err)
	full, _, _ := strings.Cut(string(file), "backend:\n")
	full = strings.NewReplacer("eu-central-1", "us-east-1", "assume_role_arn: arn:aws:iam::123456789012:role/deployer\n", "",
		"  permissions_boundary_arn: arn:aws:iam::123456789012:policy/boundary\n", "",
		"arn:aws:iam::123456789012:policy/flows, ", "",
		"  recovery_window_days: 7\n", "", // for which the secret would be left
		"  s3_endpoint: false\n", "  egress: [{description: Warehouse, from_port: 5432, prefix_list_id: pl-63a5400a}]\n").Replace(full)
	aws := newReader(t, d.emulator)
	before := aws.inventory()

	t.Log("deploy with one NAT gateway")
	d.environment(strings.Replace(full, "nat: per_az", "nat: single", 1))
	d.may(deployer.Deploy)
	d.apply(firstKey)
	d.noChanges(firstKey)

	t.Log("the second zone gets a NAT gateway of its own")
	d.environment(full)
	d.may(deployer.Deploy)
	d.apply(firstKey)
	d.noChanges(firstKey)

	t.Log("destroy: nothing is left")
	d.destroy()
	if diff := cmp.Diff(before, aws.inventory()); diff != "" {
		t.Errorf("something is left (- before, + now)\n%s", diff)
	}
}
