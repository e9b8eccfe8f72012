package run

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
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

// Supervise is the part of ECS that runs tasks: it reads the service and its task definition
// from the emulator's ECS API and keeps the service's task running until ctx ends, and it
// runs the tasks that this one starts. All of them have the credentials of their roles. Up starts it as a process of its own. dir is the
// run's folder, local that of the Python environments; log is told what happens.
func Supervise(ctx context.Context, dir, environment, local string, log io.Writer) error {
	r := &run{dir: dir}
	if err := r.load(environment); err != nil {
		return err
	}
	return r.supervise(ctx, local, log, ecstask.Options{Service: r.state.Service, Dir: r.taskDir()})
}

// supervise keeps the task of the service that options name.
func (r *run) supervise(ctx context.Context, local string, log io.Writer, options ecstask.Options) error {
	cfg := awsConfig(r.state)
	definition, err := readService(ctx, cfg, r.state.Cluster, options.Service)
	if err != nil {
		return err
	}
	spec, err := pyenv.Prefect(r.state.PrefectMajor)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(options.Dir, 0o755); err != nil {
		return err
	}
	events, err := os.OpenFile(filepath.Join(options.Dir, eventFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer events.Close()
	out := json.NewEncoder(events)
	reporter, err := ecstask.NewReporter(ctx, cfg, r.state.Cluster, options.Service)
	if err != nil {
		return err
	}
	if options.Service != r.state.Service {
		if err := r.forServer(&options, definition); err != nil {
			return err
		}
	}

	calls, err := newJournal(r.callPath())
	if err != nil {
		return err
	}
	defer calls.Close()
	checklist, err := r.checklist()
	if err != nil {
		return err
	}
	policies, err := stackPolicies(checklist.Stack, r.state.Region)
	if err != nil {
		return err
	}
	proxy, err := enforce.Start(enforce.Options{
		AWS: cfg, Stack: func(role string) []iam.Document { return policies[role] },
		Journal: func(c enforce.Call) {
			if err := calls.write(c); err != nil {
				fmt.Fprintln(log, "record a call:", err)
			}
			if !c.Allowed {
				fmt.Fprintln(log, c)
			}
		},
	})
	if err != nil {
		return err
	}
	defer proxy.Close()

	options.Definition, options.Cluster = definition, r.state.Cluster
	options.AWS = proxy.Config(enforce.Execution, aws.ToString(definition.ExecutionRoleArn), options.Service)
	options.Image = func(ctx context.Context, extra []string) (pyenv.Env, error) {
		spec := spec
		spec.Extra = extra
		return pyenv.Ensure(ctx, spec, pyenv.Options{Root: local})
	}
	options.Platform = append(platform(r.state, proxy), proxy.Platform(options.Service, aws.ToString(definition.TaskRoleArn))...)
	options.Notify = func(e ecstask.Event) {
		if err := out.Encode(e); err != nil {
			fmt.Fprintln(log, "record an event:", err)
		}
		if err := reporter.Report(ctx, e); err != nil {
			fmt.Fprintln(log, err)
		}
		fmt.Fprintf(log, "%s task %s %s %s%s\n", e.Time.Format("15:04:05"), e.TaskID, e.Kind, e.Health, e.Reason)
	}
	if options.Service == r.state.Service {
		// The worker's supervisor is the agent for the tasks of flow runs, too.
		flowEvents, err := newJournal(r.flowEventPath())
		if err != nil {
			return err
		}
		defer flowEvents.Close()
		var tasks sync.WaitGroup
		defer tasks.Wait()
		a := &agent{run: r, ecs: ecs.NewFromConfig(cfg), proxy: proxy, opt: options, events: flowEvents, log: log}
		tasks.Go(func() { a.watch(ctx) })
		if checklist.Environment.Monitoring.Enabled {
			tasks.Go(func() {
				if err := r.watch(ctx, local, policies, log); err != nil {
					fmt.Fprintln(log, "the probe:", err)
				}
			})
		}
	}
	return ecstask.Run(ctx, options)
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

// readService reads the task definition that a service runs.
func readService(ctx context.Context, cfg aws.Config, cluster, service string) (types.TaskDefinition, error) {
	client := ecs.NewFromConfig(cfg)
	services, err := client.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &cluster, Services: []string{service}})
	if err != nil {
		return types.TaskDefinition{}, fmt.Errorf("read the service %s: %w", service, err)
	}
	if len(services.Services) == 0 {
		return types.TaskDefinition{}, fmt.Errorf("the cluster %s has no service %s", cluster, service)
	}
	out, err := client.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: services.Services[0].TaskDefinition})
	if err != nil {
		return types.TaskDefinition{}, fmt.Errorf("read the task definition of the service %s: %w", service, err)
	}
	return *out.TaskDefinition, nil
}

// containerLog is the file with the container's output.
func (r *run) containerLog() string { return filepath.Join(r.taskDir(), ecstask.LogFile) }

// flowTaskLog is that of the tasks of flow runs.
func (r *run) flowTaskLog() string { return filepath.Join(r.flowTaskDir(), ecstask.LogFile) }
