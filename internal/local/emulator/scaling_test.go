package emulator

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/test/testtools"
)

// protectsTasks as ECS does: a deployment leaves the protected ones, and no more can be protected than are wanted.
func protectsTasks(t *testing.T, e *Emulator) {
	client, cluster := ecs.NewFromConfig(testtools.AWS(t, e.Env(Region))), aws.String("scaled")
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// GIVEN a service that wants one task and has three, as during deployments
	must(client.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: cluster}))
	for range 2 {
		must(client.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: aws.String("w"), Cpu: aws.String("256"), Memory: aws.String("512"), ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("worker"), Image: aws.String("i")}},
		}))
	}
	made, err := client.CreateService(t.Context(), &ecs.CreateServiceInput{Cluster: cluster, ServiceName: aws.String("w"), TaskDefinition: aws.String("w:1"), DesiredCount: aws.Int32(1)})
	must(made, err)
	first := *made.Service.Deployments[0].Id
	arn := func(id string) string { return "arn:aws:ecs:us-east-1:123456789012:task/scaled/" + id }
	report := func(id, status, deployment string) {
		t.Helper()
		must(client.SubmitTaskStateChange(t.Context(), &ecs.SubmitTaskStateChangeInput{Cluster: cluster, Task: aws.String(arn(id)), Status: &status, Reason: &deployment}))
	}
	for _, id := range []string{"a", "b", "c"} {
		report(id, "RUNNING", first)
	}
	protect := func(on bool, id string) string {
		t.Helper()
		out, err := client.UpdateTaskProtection(t.Context(), &ecs.UpdateTaskProtectionInput{Cluster: cluster, Tasks: []string{arn(id)}, ProtectionEnabled: on, ExpiresInMinutes: aws.Int32(2880)})
		must(out, err)
		if len(out.Failures) > 0 {
			return aws.ToString(out.Failures[0].Reason)
		}
		return fmt.Sprint(out.ProtectedTasks[0].ProtectionEnabled)
	}
	// WHEN they are protected one after the other THEN the one beyond more than the wanted ones is refused
	for _, step := range []struct {
		on       bool
		id, want string
	}{{true, "a", "true"}, {true, "b", "true"}, {true, "c", "DEPLOYMENT_BLOCKED"}, {false, "b", "false"}, {true, "c", "true"}, {true, "c", "true"}, {false, "c", "false"}, {true, "x", "MISSING"}} {
		if got := protect(step.on, step.id); got != step.want {
			t.Errorf("protection of %s: %s, want %s", step.id, got, step.want)
		}
	}
	// AND a deployment shows the one before as long as a task of it is protected
	must(client.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: cluster, Service: aws.String("w"), TaskDefinition: aws.String("w:2")}))
	deployments := func() string {
		t.Helper()
		got, err := client.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: cluster, Services: []string{"w"}})
		must(got, err)
		var all []string
		for _, d := range got.Services[0].Deployments {
			all = append(all, fmt.Sprintf("%s %s %d", *d.Status, strings.TrimPrefix(*d.TaskDefinition, "arn:aws:ecs:us-east-1:123456789012:task-definition/"), d.RunningCount))
		}
		return strings.Join(all, ", ")
	}
	if got := deployments(); got != "PRIMARY w:2 1, ACTIVE w:1 1" {
		t.Errorf("while one is protected: %s", got)
	}
	protect(false, "a")
	if got := deployments(); got != "PRIMARY w:2 1" {
		t.Errorf("when none is: %s", got)
	}
}

// scalesServices keeps the tags of a target and the ARN of a policy, so that no plan differs.
func scalesServices(t *testing.T, e *Emulator) {
	cfg := testtools.AWS(t, e.Env(Region))
	client, resource := applicationautoscaling.NewFromConfig(cfg), aws.String("service/scaled/w")
	// GIVEN a target with tags
	target, err := client.RegisterScalableTarget(t.Context(), &applicationautoscaling.RegisterScalableTargetInput{ServiceNamespace: scaling.ServiceNamespaceEcs, ResourceId: resource,
		ScalableDimension: scaling.ScalableDimensionECSServiceDesiredCount, MinCapacity: aws.Int32(0), MaxCapacity: aws.Int32(4), Tags: map[string]string{"Environment": "dev", "Old": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	// WHEN they change THEN they are read back
	if _, err := client.TagResource(t.Context(), &applicationautoscaling.TagResourceInput{ResourceARN: target.ScalableTargetARN, Tags: map[string]string{"New": "y"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UntagResource(t.Context(), &applicationautoscaling.UntagResourceInput{ResourceARN: target.ScalableTargetARN, TagKeys: []string{"Old"}}); err != nil {
		t.Fatal(err)
	}
	got, err := client.ListTagsForResource(t.Context(), &applicationautoscaling.ListTagsForResourceInput{ResourceARN: target.ScalableTargetARN})
	if err != nil || !maps.Equal(got.Tags, map[string]string{"Environment": "dev", "New": "y"}) {
		t.Errorf("tags %v, %v", got, err)
	}
	// WHEN a policy changes THEN its ARN stays
	put := func(change int32) string {
		out, err := client.PutScalingPolicy(t.Context(), &applicationautoscaling.PutScalingPolicyInput{PolicyName: aws.String("p"), PolicyType: scaling.PolicyTypeStepScaling,
			ServiceNamespace: scaling.ServiceNamespaceEcs, ResourceId: resource, ScalableDimension: scaling.ScalableDimensionECSServiceDesiredCount,
			StepScalingPolicyConfiguration: &scaling.StepScalingPolicyConfiguration{AdjustmentType: scaling.AdjustmentTypeChangeInCapacity,
				StepAdjustments: []scaling.StepAdjustment{{MetricIntervalLowerBound: aws.Float64(0), ScalingAdjustment: &change}}}})
		if err != nil {
			t.Fatal(err)
		}
		return *out.PolicyARN
	}
	if a, b := put(1), put(2); a != b {
		t.Errorf("the ARN changed from %s to %s", a, b)
	}
}
