package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

func (r *run) flowTaskDir() string   { return filepath.Join(r.dir, "flow-tasks") }
func (r *run) flowEventPath() string { return filepath.Join(r.flowTaskDir(), "events.jsonl") }
func (r *run) callPath() string      { return filepath.Join(r.taskDir(), "calls.jsonl") }

// journal appends lines of JSON to a file, for several goroutines.
type journal struct {
	mu  sync.Mutex
	out *json.Encoder
	io.Closer
}

func newJournal(path string) (*journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &journal{out: json.NewEncoder(file), Closer: file}, nil
}

func (j *journal) write(line any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.Encode(line)
}

// readJournal reads the lines of a journal that are whole.
func readJournal[T any](path string) []T {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	var lines []T
	for in := json.NewDecoder(file); ; {
		var line T
		if in.Decode(&line) != nil { // the end, or a line that is being written
			return lines
		}
		lines = append(lines, line)
	}
}

// stackPolicies are the inline policies that the synthesized stack gives to roles, or says that
// roles which exist must have, by the names of the roles.
func stackPolicies(file []byte, region string) (map[string][]iam.Document, error) {
	stack, err := stackjson.Parse(file, iam.Account{Partition: "aws", Region: region, ID: emulatorAccount}, nil)
	if err != nil {
		return nil, err
	}
	all := map[string][]iam.Document{}
	add := func(role, text string) error {
		// What is known only after apply, the end of a secret's ARN, may be anything here.
		document, err := iam.Parse(stackjson.Shown(text))
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
		if err := add(role, text); err != nil {
			return nil, err
		}
	}
	for _, role := range []string{"execution_role", "task_role", "flow_execution_role", "flow_task_role"} {
		arn, _ := stack.Output(role + "_arn").(string)
		if text, exists := stack.Output(role + "_policy").(string); exists {
			if err := add(iam.ResourceName(arn), text); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// emulatorAccount is the account of the emulator.
const emulatorAccount = "123456789012"

// agent is the part of ECS that runs the tasks of RunTask: it finds those that nobody has
// reported on yet, runs them, reports on them, and stops those that are to be stopped.
type agent struct {
	run    *run
	ecs    *ecs.Client
	proxy  *enforce.Proxy
	opt    ecstask.Options
	events *journal
	log    io.Writer
}

// agentInterval is how often the agent lists tasks.
const agentInterval = time.Second

// watch runs tasks until ctx ends, and then stops those that run.
func (a *agent) watch(ctx context.Context) {
	stop := map[string]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		running, err := a.list(ctx)
		if err == nil {
			for fresh := range slices.Chunk(slices.DeleteFunc(slices.Clone(running), func(arn string) bool { return stop[arn] != nil }), 100) { // as many as a call may name
				tasks, err := a.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &a.run.state.Cluster, Tasks: fresh})
				for i := 0; err == nil && i < len(tasks.Tasks); i++ {
					task := tasks.Tasks[i]
					taskCtx, cancel := context.WithCancel(ctx)
					stop[*task.TaskArn] = cancel
					if aws.ToString(task.LastStatus) == "PROVISIONING" { // the others are the service's
						all.Go(func() { a.task(taskCtx, task) })
					}
				}
			}
			for arn, cancel := range stop {
				if !slices.Contains(running, arn) {
					cancel()
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(agentInterval):
		}
	}
}

// list returns the tasks of the cluster that are to run.
func (a *agent) list(ctx context.Context) (arns []string, err error) {
	pages := ecs.NewListTasksPaginator(a.ecs, &ecs.ListTasksInput{Cluster: &a.run.state.Cluster, DesiredStatus: types.DesiredStatusRunning})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		arns = append(arns, page.TaskArns...)
	}
	return arns, nil
}

// task runs one task to its end.
func (a *agent) task(ctx context.Context, task types.Task) {
	id := iam.ResourceName(*task.TaskArn)
	report := func(status, reason string, changes ...types.ContainerStateChange) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, err := a.ecs.SubmitTaskStateChange(ctx, &ecs.SubmitTaskStateChangeInput{
			Cluster: &a.run.state.Cluster, Task: task.TaskArn, Status: &status, Reason: &reason, Containers: changes,
		})
		fmt.Fprintf(a.log, "%s flow task %s %s %s\n", time.Now().Format("15:04:05"), id, status, reason)
		if err != nil {
			fmt.Fprintf(a.log, "report the task %s to ECS: %v\n", id, err)
		}
	}
	out, err := a.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: task.TaskDefinitionArn})
	if err != nil {
		report("STOPPED", "its definition cannot be read: "+err.Error())
		return
	}
	definition := *out.TaskDefinition
	execution, role := aws.ToString(definition.ExecutionRoleArn), aws.ToString(definition.TaskRoleArn)
	if o := task.Overrides; o != nil {
		if text := aws.ToString(o.ExecutionRoleArn); text != "" {
			execution = text
		}
		if text := aws.ToString(o.TaskRoleArn); text != "" {
			role = text
		}
	}
	report("PENDING", "")
	opt := a.opt
	opt.Definition, opt.Service, opt.Dir = definition, "", a.run.flowTaskDir()
	opt.AWS = a.proxy.Config(enforce.Execution, execution, id)
	opt.Platform = append(platform(a.run.state, a.proxy), a.proxy.Platform(id, role)...)
	opt.Notify = func(e ecstask.Event) {
		if err := a.events.write(e); err != nil {
			fmt.Fprintln(a.log, "record an event:", err)
		}
		if e.Kind == ecstask.Started {
			report("RUNNING", "")
		}
	}
	switch end := ecstask.RunOnce(ctx, opt, id, task.Overrides); end.Kind {
	case ecstask.Failed:
		report("STOPPED", end.Reason)
	default:
		report("STOPPED", end.Reason, types.ContainerStateChange{ContainerName: definition.ContainerDefinitions[0].Name, ExitCode: aws.Int32(int32(end.ExitCode)), Status: aws.String("STOPPED")})
	}
}

// platform are the variables that Fargate, and this machine in its place, gives a container
// beside its credentials. It must not find the user's AWS.
func platform(s State, proxy *enforce.Proxy) []string {
	env := slices.DeleteFunc(awsEnv(s), func(variable string) bool {
		return strings.HasPrefix(variable, "AWS_ACCESS_KEY_ID=") || strings.HasPrefix(variable, "AWS_SECRET_ACCESS_KEY=")
	})
	return append(env, "AWS_ENDPOINT_URL="+proxy.Endpoint())
}

// refused is the first call that was refused since this up and its worker began, and whether there is one: what an
// earlier one ended with may be fixed.
func (r *run) refused() (enforce.Call, bool) {
	calls := readJournal[enforce.Call](r.callPath())
	i := slices.IndexFunc(calls, func(c enforce.Call) bool {
		return !c.Allowed && c.Time.After(r.began) && c.Time.After(r.state.WorkerStarted)
	})
	if i < 0 {
		return enforce.Call{}, false
	}
	return calls[i], true
}

// allowed says which statements the calls of the run needed, or which call was refused.
func (r *run) allowed() (string, error) {
	if call, found := r.refused(); found {
		return "", errors.New(call.String())
	}
	count := map[enforce.Kind]int{}
	for _, c := range readJournal[enforce.Call](r.callPath()) {
		count[c.Kind]++
	}
	probe := ""
	if n := count[enforce.Function]; n > 0 {
		probe = fmt.Sprintf(", %d kinds by the probe", n)
	}
	return fmt.Sprintf("calls: %d by the task role, %d by the execution role%s, all allowed by: %s",
		count[enforce.Task], count[enforce.Execution], probe, strings.Join(r.statements(), "; ")), nil
}

// statements are those that allowed the calls of the run, sorted.
func (r *run) statements() []string {
	var all []string
	for _, c := range readJournal[enforce.Call](r.callPath()) {
		if c.Allowed && !slices.Contains(all, c.Statement) {
			all = append(all, c.Statement)
		}
	}
	slices.Sort(all)
	return all
}
