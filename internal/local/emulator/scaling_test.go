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

	"prefect-worker-ecs/internal/test/testtools"
)

// protectsTasks as ECS does: a deployment leaves the protected ones, and no more can be protected than are wanted.
func protectsTasks(t *testing.T, e *Emulator) {
	client, cluster := ecs.NewFromConfig(testtools.AWS(t, e.Env(Region))), aws.String("scaled")
	// GIVEN a service that wants one task and has three, as during deployments
	testtools.Call(t, client.CreateCluster, &ecs.CreateClusterInput{ClusterName: cluster})
	for range 2 {
		registerDefinition(t, client, "w", "512")
	}
	made := testtools.Call(t, client.CreateService, &ecs.CreateServiceInput{Cluster: cluster, ServiceName: aws.String("w"), TaskDefinition: aws.String("w:1"), DesiredCount: aws.Int32(1)})
	first := *made.Service.Deployments[0].Id
	arn := func(id string) string { return "arn:aws:ecs:us-east-1:123456789012:task/scaled/" + id }
	report := func(id, status, deployment string) {
		t.Helper()
		testtools.Call(t, client.SubmitTaskStateChange, &ecs.SubmitTaskStateChangeInput{Cluster: cluster, Task: aws.String(arn(id)), Status: &status, Reason: &deployment})
	}
	for _, id := range []string{"a", "b", "c"} {
		report(id, "RUNNING", first)
	}
	protect := func(on bool, id string) string {
		t.Helper()
		out := testtools.Call(t, client.UpdateTaskProtection, &ecs.UpdateTaskProtectionInput{Cluster: cluster, Tasks: []string{arn(id)}, ProtectionEnabled: on, ExpiresInMinutes: aws.Int32(2880)})
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
	testtools.Call(t, client.UpdateService, &ecs.UpdateServiceInput{Cluster: cluster, Service: aws.String("w"), TaskDefinition: aws.String("w:2")})
	deployments := func() string {
		t.Helper()
		got := testtools.Call(t, client.DescribeServices, &ecs.DescribeServicesInput{Cluster: cluster, Services: []string{"w"}})
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
	target := testtools.Call(t, client.RegisterScalableTarget, &applicationautoscaling.RegisterScalableTargetInput{ServiceNamespace: scaling.ServiceNamespaceEcs, ResourceId: resource,
		ScalableDimension: scaling.ScalableDimensionECSServiceDesiredCount, MinCapacity: aws.Int32(0), MaxCapacity: aws.Int32(4), Tags: map[string]string{"Environment": "dev", "Old": "x"}})
	// WHEN they change THEN they are read back
	testtools.Call(t, client.TagResource, &applicationautoscaling.TagResourceInput{ResourceARN: target.ScalableTargetARN, Tags: map[string]string{"New": "y"}})
	testtools.Call(t, client.UntagResource, &applicationautoscaling.UntagResourceInput{ResourceARN: target.ScalableTargetARN, TagKeys: []string{"Old"}})
	tags := testtools.Call(t, client.ListTagsForResource, &applicationautoscaling.ListTagsForResourceInput{ResourceARN: target.ScalableTargetARN}).Tags
	if !maps.Equal(tags, map[string]string{"Environment": "dev", "New": "y"}) {
		t.Errorf("tags %v", tags)
	}
	// WHEN a policy changes THEN its ARN stays
	put := func(change int32) string {
		return *testtools.Call(t, client.PutScalingPolicy, &applicationautoscaling.PutScalingPolicyInput{PolicyName: aws.String("p"), PolicyType: scaling.PolicyTypeStepScaling,
			ServiceNamespace: scaling.ServiceNamespaceEcs, ResourceId: resource, ScalableDimension: scaling.ScalableDimensionECSServiceDesiredCount,
			StepScalingPolicyConfiguration: &scaling.StepScalingPolicyConfiguration{AdjustmentType: scaling.AdjustmentTypeChangeInCapacity,
				StepAdjustments: []scaling.StepAdjustment{{MetricIntervalLowerBound: aws.Float64(0), ScalingAdjustment: &change}}}}).PolicyARN
	}
	if a, b := put(1), put(2); a != b {
		t.Errorf("the ARN changed from %s to %s", a, b)
	}
}
