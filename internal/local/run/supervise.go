package run

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/supervise"
	"prefect-worker-ecs/internal/terraform/project"
)

// Supervise runs what AWS would run of the deployed stack, until ctx ends. Up starts it as a process of its own. dir is
// the run's folder, root that of the Python environments; log gets what happens.
func Supervise(ctx context.Context, dir, environment, root string, log io.Writer) error {
	r := &run{dir: dir}
	if err := r.load(environment); err != nil {
		return err
	}
	opt := r.supervised(root, log)
	opt.Service, opt.Tasks = r.state.Service, r.tasks()
	return supervise.Worker(ctx, opt)
}

// SuperviseServer is Supervise for the in-stack Prefect server: Up starts another one for another definition.
func SuperviseServer(ctx context.Context, dir, environment, root string, log io.Writer) error {
	r := &run{dir: dir}
	if err := r.load(environment); err != nil {
		return err
	}
	opt := r.supervised(root, log)
	opt.Service, opt.Tasks, opt.Calls = r.state.OwnServer.Service, r.serverTasks(), r.tasks()
	return supervise.Server(ctx, opt, r.forServer)
}

func (r *run) supervised(root string, log io.Writer) supervise.Options {
	return supervise.Options{
		Emulator: r.state.Emulator, Region: r.state.Region, Cluster: r.state.Cluster, FlowTasks: r.flowTasks(),
		StackDir: project.Workspace{Dir: r.workspaceDir()}.StackDir(r.state.Environment), PrefectMajor: r.state.PrefectMajor, Root: root, Log: log,
		Deployed: func() (*config.Environment, []byte, error) {
			checklist, err := r.checklist()
			return checklist.Environment, checklist.Stack, err
		},
	}
}

func (r *run) aws() aws.Config { return r.state.Emulator.Config(r.state.Region) }

// definitionOf reads the task definition that a service runs.
func definitionOf(ctx context.Context, cfg aws.Config, cluster, name string) (types.TaskDefinition, error) {
	client := ecs.NewFromConfig(cfg)
	service, err := ecstask.Describe(ctx, client, cluster, name)
	if err != nil {
		return types.TaskDefinition{}, err
	}
	definition, err := ecstask.Definition(ctx, client, service.TaskDefinition)
	if err != nil {
		return definition, fmt.Errorf("the service %s: %w", name, err)
	}
	return definition, nil
}
