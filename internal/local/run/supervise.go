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

// Supervise runs what AWS would run of the deployed stack, or with server the task of the in-stack Prefect server, until
// ctx ends. Up starts it as a process of its own. dir is the run's folder, root that of the Python environments; log
// gets what happens.
func Supervise(ctx context.Context, dir, environment, root string, server bool, log io.Writer) error {
	r := &run{dir: dir}
	if err := r.load(environment); err != nil {
		return err
	}
	deployed, err := r.checklist()
	if err != nil {
		return err
	}
	env := deployed.Environment
	opt := supervise.Options{
		Emulator: r.state.Emulator, Region: r.state.Region, Cluster: env.Cluster.Name, Calls: r.tasks(), FlowTasks: r.flowTasks(),
		StackDir: project.Workspace{Dir: r.workspaceDir()}.StackDir(env.Name), Root: root, Log: log,
		Deployed: func() (*config.Environment, []byte, error) {
			checklist, err := r.checklist()
			return checklist.Environment, checklist.Stack, err
		},
	}
	if server {
		opt.Service, opt.Tasks = env.Server.Name, r.serverTasks()
		return supervise.Server(ctx, opt, r.forServer)
	}
	opt.Service, opt.Tasks = env.Worker.ServiceName, r.tasks()
	return supervise.Worker(ctx, opt)
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
