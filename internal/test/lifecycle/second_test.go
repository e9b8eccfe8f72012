package lifecycle

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/google/go-cmp/cmp"

	"prefect-worker-ecs/internal/ops/deployer"
	"prefect-worker-ecs/internal/test/testtools"
)

// second deploys an environment in which everything exists but the service: network, cluster,
// roles, secret and log group are those of dev, which was deployed with its outputs in a file.
func (d *life) second(r *reader) {
	d.t.Helper()
	file, err := os.ReadFile(filepath.Join(d.clone.Root, "outputs.json"))
	testtools.NoError(d.t, err)
	var outputs struct {
		Dev struct {
			VPC           string   `json:"vpc_id"`
			Subnets       []string `json:"private_subnet_ids"`
			PublicSubnets []string `json:"public_subnet_ids"`
			Secret        string   `json:"secret_arn"`
			ExecutionRole string   `json:"execution_role_arn"`
			TaskRole      string   `json:"task_role_arn"`
			SecurityGroup string   `json:"security_group_id"`
		}
	}
	testtools.NoError(d.t, json.Unmarshal(file, &outputs))
	dev := outputs.Dev
	two := *d
	two.stack = "two"
	environment := func(subnets []string) {
		two.environment(fmt.Sprintf(`worker: {scaling: {max: 3}}
network:
  existing: {vpc_id: %s, subnet_ids: [%s]}
  egress: [{description: Warehouse, from_port: 5432, cidr: 10.0.9.0/24}]
  security_group_ids: [%s]
cluster: {name: prefect-cluster, existing: true, namespace: none}
secret: {existing_arn: %q}
logs: {group: /ecs/prefect-worker, existing: true}
iam: {existing: {execution_role: %q, task_role: %q}}
`, dev.VPC, strings.Join(subnets, ", "), dev.SecurityGroup, dev.Secret, dev.ExecutionRole, dev.TaskRole))
	}
	before := r.inventory()

	// GIVEN subnets from which nothing gets out without a public address WHEN it is deployed
	environment(dev.PublicSubnets[:1])
	two.may(deployer.Deploy)
	out, err := two.terraform("", "plan", "-no-color")
	// THEN that is said before anything is made
	if err == nil || !strings.Contains(unwrapped(string(out)), "set network.existing.public for public subnets") {
		d.t.Errorf("a plan in public subnets: %v\n%s", err, out)
	}

	// WHEN it is deployed as it should be
	environment(dev.Subnets)
	two.may(deployer.Deploy)
	two.apply("")
	// THEN only a security group, the service with its definition, and what scales it are new
	var fresh []string
	for _, name := range r.inventory() {
		if !slices.Contains(before, name) && !strings.HasPrefix(name, "security group ") {
			fresh = append(fresh, name)
		}
	}
	want := []string{"alarm two-worker-scale-in", "alarm two-worker-scale-out", "function two-worker-probe", "log group /aws/lambda/two-worker-probe", "role two-worker-probe", "role two-worker-probe-schedule",
		"scalable target service/prefect-cluster/two-worker", "scaling policy two-worker-scale-in", "scaling policy two-worker-scale-out", "schedule two-worker-probe", "task definition arn:aws:ecs:us-east-1:123456789012:task-definition/two-worker:1"}
	if diff := cmp.Diff(want, fresh); diff != "" {
		d.t.Errorf("new are (- want, + got)\n%s", diff)
	}
	service := testtools.Call(r.t, r.ecs.DescribeServices, &ecs.DescribeServicesInput{Cluster: aws.String("prefect-cluster"), Services: []string{"two-worker"}}).Services[0]
	place := service.NetworkConfiguration.AwsvpcConfiguration
	if !slices.Equal(slices.Sorted(slices.Values(place.Subnets)), slices.Sorted(slices.Values(dev.Subnets))) || len(place.SecurityGroups) != 2 {
		d.t.Errorf("the service runs in %v with %v", place.Subnets, place.SecurityGroups)
	}
	for _, group := range testtools.Call(r.t, r.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: aws.String("group-name"), Values: []string{"prefect_worker_sg-two"}}}}).SecurityGroups {
		if len(group.IpPermissions) != 0 || len(group.IpPermissionsEgress) != 2 {
			d.t.Errorf("the group lets in %v and out %v", group.IpPermissions, group.IpPermissionsEgress)
		}
	}
	// AND it has nothing more to do, also when it was scaled out
	testtools.Call(r.t, r.ecs.UpdateService, &ecs.UpdateServiceInput{Cluster: aws.String("prefect-cluster"), Service: aws.String("two-worker"), DesiredCount: aws.Int32(3)})
	two.noChanges("")

	// WHEN it is destroyed, though its subnets are not as they should be any more THEN all of the
	// first is left
	environment(dev.PublicSubnets[:1])
	two.destroy()
	if diff := cmp.Diff(before, r.inventory()); diff != "" {
		d.t.Errorf("(- before the second environment, + after it)\n%s", diff)
	}
	testtools.NoError(d.t, os.Remove(filepath.Join(d.clone.Root, "config", "environments", "two.yaml")))
}
