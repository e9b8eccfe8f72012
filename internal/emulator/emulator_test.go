package emulator

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/pyenv"
	"prefect-worker-ecs/internal/testtools"
)

// python returns the project's own environment with moto, which is made once.
func TestEmulatorAnswersAsAWSWhereMotoDoesNot(t *testing.T) {
	t.Setenv("AWS_PROFILE", "of-the-user") // it must not reach moto
	e, err := Start(t.Context(), Options{Python: testtools.Environment(t, pyenv.Moto), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop(context.Background())
	for _, variable := range e.Env() {
		if strings.HasSuffix(variable, "=") {
			t.Errorf("%s: boto3 takes an empty AWS_PROFILE for a name", variable)
		}
	}
	client := ecs.NewFromConfig(testtools.AWS(t, e.Env()))

	// GIVEN a service with the settings that moto drops
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("c")}))
	for _, memory := range []string{"512", "1024"} {
		must(client.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: aws.String("f"), Cpu: aws.String("256"), Memory: aws.String(memory),
			ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("worker"), Image: aws.String("i")}},
		}))
	}
	must(client.CreateService(t.Context(), &ecs.CreateServiceInput{
		Cluster: aws.String("c"), ServiceName: aws.String("s"), TaskDefinition: aws.String("f:1"), DesiredCount: aws.Int32(1),
		EnableExecuteCommand: true, EnableECSManagedTags: true,
		DeploymentConfiguration: &types.DeploymentConfiguration{
			DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: true},
		},
	}))
	// WHEN it moves to the second task definition and is read back
	must(client.UpdateService(t.Context(), &ecs.UpdateServiceInput{
		Cluster: aws.String("c"), Service: aws.String("s"), TaskDefinition: aws.String("f:2"),
	}))
	got, err := client.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: aws.String("c"), Services: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}

	// THEN all is as it would be on AWS
	s := got.Services[0]
	if s.RunningCount != 1 || !s.EnableExecuteCommand || !s.EnableECSManagedTags || s.AvailabilityZoneRebalancing != types.AvailabilityZoneRebalancingDisabled {
		t.Errorf("running %d, exec %v, managed tags %v, rebalancing %q; want 1, true, true, DISABLED",
			s.RunningCount, s.EnableExecuteCommand, s.EnableECSManagedTags, s.AvailabilityZoneRebalancing)
	}
	if s.DeploymentConfiguration == nil || s.DeploymentConfiguration.DeploymentCircuitBreaker == nil || !s.DeploymentConfiguration.DeploymentCircuitBreaker.Rollback {
		t.Error("the circuit breaker was dropped")
	}
	if td := aws.ToString(s.Deployments[0].TaskDefinition); !strings.HasSuffix(td, "f:2") {
		t.Errorf("the deployment names %s, want f:2", td)
	}

	// WHEN the emulator is reset THEN all is gone
	if err := e.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	clusters, err := client.ListClusters(t.Context(), &ecs.ListClustersInput{})
	if err != nil || len(clusters.ClusterArns) != 0 {
		t.Errorf("after the reset: clusters %v, error %v", clusters, err)
	}

	// WHEN permissions are checked THEN the dummy keys are refused, until they are not
	if err := e.EnforceIAM(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ListClusters(t.Context(), &ecs.ListClustersInput{}); err == nil {
		t.Error("unknown keys were accepted with IAM enforced")
	}
	if err := e.AllowAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ListClusters(t.Context(), &ecs.ListClustersInput{}); err != nil {
		t.Errorf("after AllowAll: %v", err)
	}
}

func TestTwoEmulatorsRunSideBySideAndStop(t *testing.T) {
	env := testtools.Environment(t, pyenv.Moto)
	// GIVEN two at once
	a, err := Start(t.Context(), Options{Python: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	b, err := Start(t.Context(), Options{Python: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.Background())
	if a.Endpoint == b.Endpoint {
		t.Fatalf("both are at %s", a.Endpoint)
	}

	// WHEN one stops
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	// THEN it is gone and the other is not
	if a.Process.Alive() || a.Ready(t.Context()) {
		t.Error("the stopped one still runs")
	}
	if !b.Process.Alive() || !b.Ready(t.Context()) {
		t.Error("the other one does not run")
	}
}

func TestAFailedStartSaysWhyAndLeavesNothing(t *testing.T) {
	// GIVEN an environment whose Python ends at once with a reason
	env := pyenv.Env{Dir: t.TempDir()}
	if err := os.Mkdir(env.Bin(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(env.Python(), []byte("#!/bin/sh\necho no module named moto\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	// THEN the error names it
	_, err := Start(t.Context(), Options{Python: env, Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "no module named moto") {
		t.Errorf("error %v, want the reason from the log", err)
	}

	// GIVEN one that never answers, and a caller that gives up
	if err := os.WriteFile(env.Python(), []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// THEN the error is the caller's
	if e, err := Start(ctx, Options{Python: env, Dir: t.TempDir()}); !errors.Is(err, context.Canceled) || e != nil {
		t.Errorf("%v, %v; want context.Canceled", e, err)
	}
}
