package run

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/pyenv"
)

// Supervise is the part of ECS, Lambda and Application Auto Scaling that the emulator lacks: it keeps the tasks of
// the service running as the service is now, runs the tasks of RunTask and the probe, and scales the service by the
// deployed alarms and policies, until ctx ends. All of them have the credentials of their roles. Up starts it as a
// process of its own. dir is the run's folder, local that of the Python environments; log gets what happens.
func Supervise(ctx context.Context, dir, environment, local string, log io.Writer) error {
	r := &run{dir: dir}
	if err := r.load(environment); err != nil {
		return err
	}
	s, err := r.newSupervisor(ctx, local, log, r.state.Service, r.taskDir())
	if err != nil {
		return err
	}
	defer s.close()
	flowEvents, err := newJournal(r.flowEventPath())
	if err != nil {
		return err
	}
	defer flowEvents.Close()
	var others sync.WaitGroup
	defer others.Wait()
	a := &agent{run: r, ecs: s.ecs, proxy: s.proxy, opt: s.options, events: flowEvents, log: log}
	others.Go(func() { a.watch(ctx) })
	others.Go(func() { r.watch(ctx, local, log) })
	return ecstask.Run(ctx, s.service)
}

// supervisor keeps the tasks of one service.
type supervisor struct {
	run     *run
	ecs     *ecs.Client
	proxy   *enforce.Proxy
	options ecstask.Options // of its tasks, but for what depends on the definition
	out     *journal
	log     io.Writer
	calls   *journal

	definition types.TaskDefinition // the last one
}

func (r *run) newSupervisor(ctx context.Context, local string, log io.Writer, service, dir string) (*supervisor, error) {
	spec, err := pyenv.Prefect(r.state.PrefectMajor)
	if err != nil {
		return nil, err
	}
	s := &supervisor{run: r, ecs: ecs.NewFromConfig(awsConfig(r.state)), log: log}
	if s.out, err = newJournal(filepath.Join(dir, eventFile)); err != nil {
		return nil, err
	}
	if s.calls, err = newJournal(r.callPath()); err != nil {
		return nil, err
	}
	s.proxy, err = enforce.Start(enforce.Options{
		AWS: awsConfig(r.state), Stack: r.policies,
		Journal: func(c enforce.Call) {
			if err := s.calls.write(c); err != nil {
				fmt.Fprintln(log, "record a call:", err)
			}
			if !c.Allowed {
				fmt.Fprintln(log, c)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	s.options = ecstask.Options{Cluster: r.state.Cluster, Service: service, Dir: dir, Image: func(ctx context.Context, extra []string) (pyenv.Env, error) {
		checklist, err := r.checklist()
		if err != nil {
			return pyenv.Env{}, err
		}
		spec := spec
		spec.Extra = append(checklist.Environment.ImagePackages(), extra...)
		return pyenv.Ensure(ctx, spec, pyenv.Options{Root: local})
	}}
	return s, nil
}

func (s *supervisor) close() {
	s.proxy.Close()
	_ = s.calls.Close()
	_ = s.out.Close()
}

// service reads what the service is to run now.
func (s *supervisor) service(ctx context.Context) (ecstask.Service, error) {
	service, err := describeService(ctx, s.ecs, s.options.Cluster, s.options.Service)
	if err != nil {
		return ecstask.Service{}, err
	}
	if aws.ToString(service.TaskDefinition) != aws.ToString(s.definition.TaskDefinitionArn) {
		out, err := s.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: service.TaskDefinition})
		if err != nil {
			return ecstask.Service{}, fmt.Errorf("read the task definition of the service %s: %w", s.options.Service, err)
		}
		s.definition = *out.TaskDefinition
	}
	reporter, err := ecstask.NewReporter(s.ecs, service)
	if err != nil {
		return ecstask.Service{}, err
	}
	task := s.options
	task.Definition = s.definition
	role := aws.ToString(s.definition.TaskRoleArn)
	task.AWS = s.proxy.Config(enforce.Execution, aws.ToString(s.definition.ExecutionRoleArn), task.Service)
	task.TaskRole = s.proxy.Config(enforce.Task, role, task.Service)
	task.Platform = append(platform(s.run.state, s.proxy), s.proxy.Platform(task.Service, role)...)
	task.Notify = func(e ecstask.Event) {
		if err := s.out.write(e); err != nil {
			fmt.Fprintln(s.log, "record an event:", err)
		}
		if err := reporter.Report(ctx, e); err != nil {
			fmt.Fprintln(s.log, err)
		}
		fmt.Fprintf(s.log, "%s task %s %s %s%s\n", e.Time.Format("15:04:05"), e.TaskID, e.Kind, e.Health, e.Reason)
	}
	return ecstask.Service{Task: task, Count: int(service.DesiredCount), Protected: s.protected}, nil
}

// protected returns which of some tasks are protected.
func (s *supervisor) protected(ctx context.Context, tasks []string) ([]string, error) {
	out, err := s.ecs.GetTaskProtection(ctx, &ecs.GetTaskProtectionInput{Cluster: &s.options.Cluster, Tasks: tasks})
	if err != nil {
		return nil, err
	}
	var protected []string
	for _, task := range out.ProtectedTasks {
		if task.ProtectionEnabled {
			protected = append(protected, iam.ResourceName(aws.ToString(task.TaskArn)))
		}
	}
	return protected, nil
}

// policies returns the policies that the stack, as it is now, gives to a role.
func (r *run) policies(role string) []iam.Document {
	checklist, err := r.checklist()
	if err != nil {
		return nil
	}
	all, _ := stackPolicies(checklist.Stack, r.state.Region) // without it a refusal names no statement
	return all[role]
}

// awsEnv points AWS clients to the emulator, in the environment's region.
func awsEnv(s State) []string {
	return append(s.Emulator.Env(), "AWS_REGION="+s.Region, "AWS_DEFAULT_REGION="+s.Region)
}

func awsConfig(s State) aws.Config {
	return aws.Config{
		HTTPClient:   http.DefaultClient, // one for all: each client of the SDK would keep connections of its own
		Region:       s.Region,
		BaseEndpoint: &s.Emulator.Endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
}

func describeService(ctx context.Context, client *ecs.Client, cluster, name string) (types.Service, error) {
	out, err := client.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &cluster, Services: []string{name}})
	if err != nil {
		return types.Service{}, fmt.Errorf("read the service %s: %w", name, err)
	}
	if len(out.Services) == 0 {
		return types.Service{}, fmt.Errorf("the cluster %s has no service %s", cluster, name)
	}
	return out.Services[0], nil
}

// readService reads the task definition that a service runs.
func readService(ctx context.Context, cfg aws.Config, cluster, name string) (types.TaskDefinition, error) {
	client := ecs.NewFromConfig(cfg)
	service, err := describeService(ctx, client, cluster, name)
	if err != nil {
		return types.TaskDefinition{}, err
	}
	out, err := client.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: service.TaskDefinition})
	if err != nil {
		return types.TaskDefinition{}, fmt.Errorf("read the task definition of the service %s: %w", name, err)
	}
	return *out.TaskDefinition, nil
}

// containerLog is the file with the container's output.
func (r *run) containerLog() string { return filepath.Join(r.taskDir(), ecstask.LogFile) }

// flowTaskLog is that of the tasks of flow runs.
func (r *run) flowTaskLog() string { return filepath.Join(r.flowTaskDir(), ecstask.LogFile) }
