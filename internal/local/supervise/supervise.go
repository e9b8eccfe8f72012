// Package supervise is the part of ECS, Lambda and Application Auto Scaling that the emulator lacks: it runs the tasks of
// a service, those of RunTask and the probe as processes of this machine, each with the credentials of its role, and
// scales the service by the deployed alarms and policies.
package supervise

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

// Options says what is supervised. Fields are required unless their comments say otherwise.
type Options struct {
	// Emulator is the AWS emulator, and Region the region in it.
	Emulator *emulator.Emulator
	Region   string
	// Cluster and Service are the names of the cluster and the service.
	Cluster, Service string
	// Tasks is the folder of the service's tasks.
	Tasks Folder
	// Calls is the folder with the record of the calls of all roles.
	Calls Folder
	// FlowTasks is the folder of the tasks of RunTask.
	FlowTasks Folder
	// StackDir is the folder of the synthesized stack, with the archive of the probe. Worker requires it.
	StackDir string
	// Root is the folder of the Python environments.
	Root string
	// Deployed returns what is deployed now: its configuration, and the synthesized stack.
	Deployed func() (*config.Environment, []byte, error)
	// Log gets what happens.
	Log io.Writer
}

// Worker keeps the tasks of the worker's service running as the service is now, runs the tasks of RunTask and the probe,
// and scales the service, until ctx ends.
func Worker(ctx context.Context, opt Options) error {
	s, err := start(opt)
	if err != nil {
		return err
	}
	defer s.proxy.Close()
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { s.runTasks(ctx) })
	others.Go(func() { s.watchProbe(ctx) })
	return ecstask.Run(ctx, s.service)
}

// Server keeps the task of an in-stack Prefect server running until ctx ends, in its present definition. adapt changes
// what must differ on this machine.
func Server(ctx context.Context, opt Options, adapt func(*ecstask.Options) error) error {
	s, err := start(opt)
	if err != nil {
		return err
	}
	defer s.proxy.Close()
	service, err := s.service(ctx)
	if err != nil {
		return err
	}
	if err := adapt(&service.Task); err != nil {
		return err
	}
	return ecstask.Run(ctx, ecstask.Fixed(service.Task))
}

// supervisor keeps the tasks of one service.
type supervisor struct {
	Options
	aws   aws.Config
	ecs   *ecs.Client
	proxy *enforce.Proxy
	// probed are the calls of the probe that were allowed.
	probed sync.Map
	// cooldown is when each scaling policy may act again.
	cooldown map[string]time.Time

	definition types.TaskDefinition // the last one
}

func start(opt Options) (*supervisor, error) {
	for _, folder := range []Folder{opt.Tasks, opt.FlowTasks, opt.Calls} {
		if err := os.MkdirAll(string(folder), 0o755); err != nil {
			return nil, err
		}
	}
	s := &supervisor{Options: opt, aws: opt.Emulator.Config(opt.Region), cooldown: map[string]time.Time{}}
	s.ecs = ecs.NewFromConfig(s.aws)
	var err error
	s.proxy, err = enforce.Start(enforce.Options{AWS: s.aws, Stack: s.policies, Journal: s.record})
	return s, err
}

// record writes a call to the journal, and a refused one to the log too. Of the calls that the probe makes again and
// again the first is on record.
func (s *supervisor) record(c enforce.Call) {
	if !c.Allowed {
		fmt.Fprintln(s.Log, c)
	} else if c.Kind == enforce.Function {
		if _, recorded := s.probed.LoadOrStore(c.Action, true); recorded {
			return
		}
	}
	s.write(s.Calls.calls(), c)
}

// notify records an event of a task, and reports it to ECS.
func (s *supervisor) notify(ctx context.Context, tasks Folder, arn, deployment string, e ecstask.Event) {
	s.write(tasks.events(), e)
	fmt.Fprintf(s.Log, "%s task %s %s %s%s\n", e.Time.Format("15:04:05"), e.TaskID, e.Kind, e.Health, e.Reason)
	if err := ecstask.Report(ctx, s.ecs, s.Cluster, arn, deployment, e); err != nil {
		fmt.Fprintln(s.Log, err)
	}
}

func (s *supervisor) write(file string, line any) {
	if err := write(file, line); err != nil {
		fmt.Fprintln(s.Log, "write the journal:", err)
	}
}

// service reads what the service is to run now.
func (s *supervisor) service(ctx context.Context) (ecstask.Service, error) {
	service, err := ecstask.Describe(ctx, s.ecs, s.Cluster, s.Service)
	if err != nil {
		return ecstask.Service{}, err
	}
	if aws.ToString(service.TaskDefinition) != aws.ToString(s.definition.TaskDefinitionArn) {
		if s.definition, err = ecstask.Definition(ctx, s.ecs, service.TaskDefinition); err != nil {
			return ecstask.Service{}, fmt.Errorf("the service %s: %w", s.Service, err)
		}
	}
	execution, role := aws.ToString(s.definition.ExecutionRoleArn), aws.ToString(s.definition.TaskRoleArn)
	task := s.task(s.definition, s.Tasks, s.Service, execution, role)
	task.Service = s.Service
	task.TaskRole = s.proxy.Config(enforce.Task, role, s.Service)
	deployment := aws.ToString(service.Deployments[0].Id) // the emulator lists the current one first
	task.Notify = func(e ecstask.Event) {
		s.notify(ctx, s.Tasks, task.TaskARN(e.TaskID), deployment, e)
	}
	return ecstask.Service{Task: task, Count: int(service.DesiredCount), Protected: s.protected}, nil
}

// task returns the options of a task with these roles. Its credentials are issued under the name.
func (s *supervisor) task(definition types.TaskDefinition, dir Folder, name, execution, role string) ecstask.Options {
	return ecstask.Options{
		Definition: definition, Cluster: s.Cluster, Dir: string(dir), Image: s.image,
		AWS: s.proxy.Config(enforce.Execution, execution, name), Platform: append(s.platform(), s.proxy.Platform(name, role)...),
	}
}

// image returns the Python environment that stands for the container's image.
func (s *supervisor) image(ctx context.Context, extra []string) (pyenv.Env, error) {
	env, _, err := s.Deployed()
	if err != nil {
		return pyenv.Env{}, err
	}
	spec := pyenv.Prefect(env.PrefectMajor())
	spec.Extra = append(env.ImagePackages(), extra...)
	return pyenv.Ensure(ctx, spec, pyenv.Options{Root: s.Root})
}

// platform returns the variables that Fargate, and this machine in its place, gives a container beside its
// credentials. It must not find the user's AWS.
func (s *supervisor) platform() []string {
	env := slices.DeleteFunc(s.Emulator.Env(s.Region), func(variable string) bool {
		return strings.HasPrefix(variable, "AWS_ACCESS_KEY_ID=") || strings.HasPrefix(variable, "AWS_SECRET_ACCESS_KEY=")
	})
	return append(env, "AWS_ENDPOINT_URL="+s.proxy.Endpoint())
}

// protected returns which of some tasks are protected.
func (s *supervisor) protected(ctx context.Context, tasks []string) ([]string, error) {
	out, err := s.ecs.GetTaskProtection(ctx, &ecs.GetTaskProtectionInput{Cluster: &s.Cluster, Tasks: tasks})
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
func (s *supervisor) policies(role string) []iam.Document {
	_, stack, err := s.Deployed()
	if err != nil {
		return nil
	}
	all, _ := stackPolicies(stack, s.Region) // without it a refusal names no statement
	return all[role]
}

// stackPolicies returns the inline policies that the synthesized stack gives to roles, or says that
// roles which exist must have, by the names of the roles.
func stackPolicies(file []byte, region string) (map[string][]iam.Document, error) {
	stack, err := stackjson.Parse(file, iam.Account{Partition: "aws", Region: region, ID: emulator.Account}, nil)
	if err != nil {
		return nil, err
	}
	all := map[string][]iam.Document{}
	add := func(role, text string) error {
		document, err := iam.Parse(text)
		if err != nil {
			return fmt.Errorf("a policy of the role %s in the stack: %w", role, err)
		}
		all[role] = append(all[role], document)
		return nil
	}
	for _, name := range stack.Names("aws_iam_role_policy") {
		policy := stack.Resource("aws_iam_role_policy", name)
		address, _ := stackjson.Address(policy["role"])
		_, of, _ := strings.Cut(address, ".")
		role, _ := stack.Resource("aws_iam_role", of)["name"].(string)
		text, _ := policy["policy"].(string)
		// What is known only after apply, the end of a secret's ARN, may be anything here.
		if err := add(role, stackjson.Shown(text)); err != nil {
			return nil, err
		}
	}
	for arn, policy := range stack.NeededPolicies() {
		if err := add(iam.ResourceName(arn), policy); err != nil {
			return nil, err
		}
	}
	return all, nil
}
