package ecstask

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Service is what a service is to run now.
type Service struct {
	// Task are the options of its tasks. Another definition is a deployment.
	Task Options
	// Count is the number of tasks.
	Count int
	// Protected returns which of some tasks are protected from scale-in and deployments. Nil: none is.
	Protected func(context.Context, []string) ([]string, error)
}

// Fixed returns a service of one task, for Run.
func Fixed(opt Options) func(context.Context) (Service, error) {
	return func(context.Context) (Service, error) { return Service{Task: opt, Count: 1}, nil }
}

// Describe reads a service.
func Describe(ctx context.Context, client *ecs.Client, cluster, name string) (types.Service, error) {
	out, err := client.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &cluster, Services: []string{name}})
	if err != nil {
		return types.Service{}, fmt.Errorf("read the service %s: %w", name, err)
	}
	if len(out.Services) == 0 {
		return types.Service{}, fmt.Errorf("the cluster %s has no service %s", cluster, name)
	}
	return out.Services[0], nil
}

// Definition reads a task definition by its ARN.
func Definition(ctx context.Context, client *ecs.Client, arn *string) (types.TaskDefinition, error) {
	out, err := client.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: arn})
	if err != nil {
		return types.TaskDefinition{}, fmt.Errorf("read the task definition %s: %w", aws.ToString(arn), err)
	}
	return *out.TaskDefinition, nil
}

const (
	// readInterval is how often Run reads what the service is to run.
	readInterval = time.Second
	// steadyAfter is how long a task must have run for its successor to be started without a growing delay.
	steadyAfter = time.Minute
	// mostDelay is the longest wait before a replacement. (ECS goes up to 27 min.)
	mostDelay = time.Minute
)

// serviceTask is a task of a service.
type serviceTask struct {
	definition string
	started    time.Time
	stop       context.CancelFunc
	stopping   bool
}

// scheduler keeps the tasks of a service.
type scheduler struct {
	tasks map[string]*serviceTask
	ended chan string
	// notBefore is when a task may be started in place of one that ended by itself, and delay how long the
	// next one will have to wait.
	notBefore time.Time
	delay     time.Duration
}

// Run keeps the tasks of a service running, as its scheduler does, until ctx ends; then it stops them and
// returns nil. read returns what is to run, and while it fails nothing changes. A task that is protected is
// neither stopped for a deployment nor for a lower count. Unlike in ECS an unprotected task of the definition
// before ends before its successor starts: there is one machine for both.
// Run returns an error only if the first read fails.
func Run(ctx context.Context, read func(context.Context) (Service, error)) error {
	service, err := read(ctx)
	if err != nil {
		return err
	}
	s := &scheduler{tasks: map[string]*serviceTask{}, ended: make(chan string)}
	for {
		if err == nil {
			s.reconcile(ctx, service)
		}
		wait := readInterval
		if until := time.Until(s.notBefore); until > 0 {
			wait = min(wait, until)
		}
		select {
		case <-ctx.Done():
			for len(s.tasks) > 0 {
				delete(s.tasks, <-s.ended)
			}
			return nil
		case id := <-s.ended:
			s.end(id, service.Task)
		case <-time.After(wait):
		}
		var next Service
		if next, err = read(ctx); err == nil {
			service = next
		}
	}
}

// end forgets a task that has ended, and delays the start of its successor.
func (s *scheduler) end(id string, opt Options) {
	task := s.tasks[id]
	delete(s.tasks, id)
	if task.stopping {
		return
	}
	if s.delay == 0 || time.Since(task.started) > steadyAfter {
		s.delay = cmp.Or(opt.FirstDelay, time.Second)
	}
	s.notBefore, s.delay = time.Now().Add(s.delay), min(2*s.delay, mostDelay)
}

// reconcile stops tasks of other definitions and those above the count, and starts those that are missing.
func (s *scheduler) reconcile(ctx context.Context, service Service) {
	definition := aws.ToString(service.Task.Definition.TaskDefinitionArn)
	var current, old []string
	replaced := false
	for _, id := range slices.SortedFunc(maps.Keys(s.tasks), func(a, b string) int { return s.tasks[a].started.Compare(s.tasks[b].started) }) {
		switch task := s.tasks[id]; {
		case task.stopping:
			replaced = replaced || task.definition != definition
		case task.definition == definition:
			current = append(current, id)
		default:
			old = append(old, id)
		}
	}
	excess := max(0, len(current)-service.Count)
	if len(old)+excess > 0 {
		var protected []string
		if service.Protected != nil {
			var err error
			if protected, err = service.Protected(ctx, append(slices.Clone(old), current...)); err != nil {
				return
			}
		}
		for _, id := range old {
			if !slices.Contains(protected, id) {
				s.stop(id)
				replaced = true
			}
		}
		for _, id := range current {
			if excess > 0 && !slices.Contains(protected, id) {
				s.stop(id)
				excess--
			}
		}
	}
	if replaced || time.Now().Before(s.notBefore) {
		return
	}
	for range service.Count - len(current) {
		s.start(ctx, service.Task, definition)
	}
}

func (s *scheduler) stop(id string) {
	s.tasks[id].stopping = true
	s.tasks[id].stop()
}

func (s *scheduler) start(ctx context.Context, opt Options, definition string) {
	id := newTaskID()
	taskCtx, cancel := context.WithCancel(ctx)
	s.tasks[id] = &serviceTask{definition: definition, started: time.Now(), stop: cancel}
	go func() {
		defer cancel()
		RunOnce(taskCtx, opt, id, nil)
		s.ended <- id
	}()
}

// RunOnce runs one task to its end, as RunTask does: the definition with the overrides. When ctx ends the task is
// stopped. It returns the last event, which is Stopped or Failed.
func RunOnce(ctx context.Context, opt Options, id string, overrides *types.TaskOverride) Event {
	notify := func(e Event) Event {
		e.Time, e.TaskID, e.Definition = time.Now(), id, aws.ToString(opt.Definition.TaskDefinitionArn)
		opt.Notify(e)
		return e
	}
	c, err := container(opt.Definition)
	if err != nil {
		return notify(Event{Kind: Failed, Reason: err.Error()})
	}
	t, err := startTask(ctx, opt, overridden(c, overrides), id)
	if err != nil {
		return notify(Event{Kind: Failed, Reason: err.Error()})
	}
	defer t.cleanUp()
	notify(Event{Kind: Started, Process: t.process})
	reason := t.watch(ctx, func(h Health) { notify(Event{Kind: HealthChanged, Health: h}) })
	t.finish()
	return notify(Event{Kind: Stopped, Reason: reason, ExitCode: t.exitCode()})
}

// overridden returns the container with the overrides of a call of RunTask.
func overridden(c types.ContainerDefinition, overrides *types.TaskOverride) types.ContainerDefinition {
	if overrides == nil {
		return c
	}
	for _, o := range overrides.ContainerOverrides {
		if aws.ToString(o.Name) != aws.ToString(c.Name) {
			continue
		}
		if len(o.Command) > 0 {
			c.Command = o.Command
		}
		c.Environment = append(append([]types.KeyValuePair{}, c.Environment...), o.Environment...)
	}
	return c
}
