// Package status shows what runs of an environment, on one screen: to look at, not to judge.
package status

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/prefect/flowruns"
	"prefect-worker-ecs/internal/prefect/metrics"
	"prefect-worker-ecs/internal/prefect/symptoms"
)

// Status is what runs.
type Status struct {
	// Lines are what is known.
	Lines []Line `json:"lines"`
	// Incomplete says that something could not be read.
	Incomplete bool `json:"incomplete,omitempty"`
}

// Line is one line of a Status.
type Line struct {
	// Name says what it is about.
	Name string `json:"name"`
	// Text is what there is, for a person.
	Text string `json:"text"`
	// Data is the same for a program. Nil: there is only the text, of what could not be read.
	Data data `json:"data,omitempty"`
}

// data are values by name. Times are in the form of RFC 3339.
type data map[string]any

// Print writes the status for a person, wrapped where w is a terminal.
func (s Status) Print(w io.Writer) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	last := ""
	for _, line := range s.Lines {
		name := line.Name
		if name == last {
			name = ""
		}
		last = line.Name
		fmt.Fprintf(table, "%s\t%s\n", name, line.Text)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, terminal.Wrap(text.String(), terminal.Width(w)))
	return err
}

// reader collects the lines.
type reader struct {
	Status
	opt verify.Options
	verify.Evidence
	// heartbeat is the last of a worker of this service. Zero: none is known.
	heartbeat time.Time
}

func (r *reader) add(name string, data data, format string, args ...any) {
	r.Lines = append(r.Lines, Line{name, fmt.Sprintf(format, args...), data})
}

// unread adds a line for what could not be read.
func (r *reader) unread(name, what string, err error) {
	r.Incomplete = true
	r.add(name, nil, "%s: %s", what, verify.Reason(err))
}

// Read collects the status. What could not be read is a line that says why.
func Read(ctx context.Context, opt verify.Options) Status {
	evidence, report, done := verify.Read(ctx, opt)
	defer done()
	r := &reader{opt: opt, Evidence: evidence}
	for _, check := range report.Checks {
		// The lines of the service and of the pool show what is wrong with them.
		shown := check.Name == "ECS service" && evidence.Service.ServiceName != nil || check.Name == "work pool" && evidence.Pool.Name != ""
		if !shown && (check.Status == verify.Failed || check.Status == verify.Unknown) {
			r.Incomplete = r.Incomplete || check.Status == verify.Unknown
			r.add(check.Name, data{"check": check.Status}, "%s", strings.ReplaceAll(check.Detail, "\n", " "))
		}
	}
	if evidence.Service.ServiceName == nil {
		return r.Status
	}
	ctx, cancel := context.WithTimeout(ctx, verify.Timeout)
	defer cancel()
	s, d := evidence.Service, evidence.Deployment
	r.add("service", data{"name": s.ServiceName, "cluster": opt.Environment.Cluster.Name, "running": s.RunningCount, "desired": s.DesiredCount, "pending": s.PendingCount},
		"%s in %s: %d of %d tasks running, %d pending", aws.ToString(s.ServiceName), opt.Environment.Cluster.Name, s.RunningCount, s.DesiredCount, s.PendingCount)
	r.add("deployment", data{"state": d.RolloutState, "begun": d.CreatedAt}, "%s, begun %s", strings.ToLower(strings.ReplaceAll(string(d.RolloutState), "_", " ")), verify.Ago(aws.ToTime(d.CreatedAt)))
	if w := opt.Environment.Worker; w.Scales() {
		r.scaling(ctx, w.Scaling)
	}
	r.tasks(ctx)
	switch {
	case evidence.Pool.Name != "":
		r.prefect(ctx)
	case opt.Environment.HasProbe():
		r.metrics(ctx)
	}
	r.log(ctx)
	return r.Status
}

func (r *reader) tasks(ctx context.Context) {
	if r.TasksErr != nil {
		r.unread("tasks", "could not be listed", r.TasksErr)
	}
	if len(r.Tasks)+len(r.Finishing) == 0 {
		return
	}
	out, err := ecs.NewFromConfig(r.opt.AWS).DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &r.opt.Environment.Cluster.Name, Tasks: slices.Concat(r.Tasks, r.Finishing)})
	if err != nil {
		r.unread("tasks", "could not be read", err)
		return
	}
	for _, task := range out.Tasks {
		health := ""
		if task.HealthStatus != "" && task.HealthStatus != types.HealthStatusUnknown {
			health = ", " + strings.ToLower(string(task.HealthStatus))
		}
		started := ""
		if task.StartedAt != nil {
			started = ", started " + verify.Ago(aws.ToTime(task.StartedAt))
		}
		id, finishing := iam.ResourceName(aws.ToString(task.TaskArn)), ""
		if slices.Contains(r.Finishing, id) {
			finishing = ", of the deployment before until its flow runs have ended"
		}
		r.add("tasks", data{"id": id, "status": task.LastStatus, "health": task.HealthStatus, "started": task.StartedAt, "finishing": finishing != ""}, "%s %s%s%s%s", id, strings.ToLower(aws.ToString(task.LastStatus)), health, started, finishing)
	}
}

func (r *reader) prefect(ctx context.Context) {
	env := r.opt.Environment
	url := r.Variable("PREFECT_API_URL")
	r.add("Prefect API", data{"url": url}, "%s", url)
	text, paused := fmt.Sprintf("%s, %s", r.Pool.Name, r.Pool.Type), []string{}
	if r.Pool.Paused {
		text += ", paused"
	}
	for _, q := range r.Queues {
		if q.Paused {
			text, paused = text+", its queue "+q.Name+" paused", append(paused, q.Name)
		}
	}
	r.add("work pool", data{"name": r.Pool.Name, "type": r.Pool.Type, "paused": r.Pool.Paused, "paused_queues": paused}, "%s", text)
	now := r.API.Now()
	workers, err := r.API.OnlineWorkers(ctx, r.Pool.Name, time.Time{})
	if err != nil {
		r.unread("workers", "could not be read", err)
	}
	for _, w := range workers {
		if r.IsCurrent(env, w.Name) && w.LastHeartbeat.After(r.heartbeat) {
			r.heartbeat = w.LastHeartbeat
		}
		r.add("workers", data{"name": w.Name, "heartbeat": w.LastHeartbeat}, "%s, heartbeat %.0f s ago", w.Name, max(0, now.Sub(w.LastHeartbeat).Seconds()))
	}
	if err == nil && len(workers) == 0 {
		r.add("workers", nil, "none online")
	}
	survey, err := flowruns.Pool{Environment: env, API: r.API, ECS: ecs.NewFromConfig(r.opt.AWS)}.Survey(ctx)
	if err != nil {
		r.unread("flow runs", "could not be read", err)
		return
	}
	underway := survey.Count(env.WorkPool.Queues...)
	r.add("flow runs", data{"underway": underway, "late": len(survey.Late), "orphaned": len(survey.Orphaned), "lost": len(survey.Lost)},
		"%d underway, %d late, %d orphaned, %d lost", underway, len(survey.Late), len(survey.Orphaned), len(survey.Lost))
	for _, run := range slices.Concat(survey.Orphaned, survey.Lost) {
		r.add("flow runs", data{"issue": run.Issue, "since": run.Since, "id": run.ID, "name": run.Name}, "%s for %s: %s %s", run.Issue, now.Sub(run.Since).Round(time.Second), run.ID, run.Name)
	}
}

// scaling shows how many tasks the flow runs need.
func (r *reader) scaling(ctx context.Context, w config.Scaling) {
	last, err := metrics.Read(ctx, cloudwatch.NewFromConfig(r.opt.AWS), r.opt.Environment.Worker.ServiceName)
	if err != nil {
		r.unread("scaling", "the probe's metrics could not be read", err)
		return
	}
	values := data{"min": w.Min, "max": w.Max}
	needed := "how many are needed was not published lately"
	if value, known := last.Values["TasksNeeded"]; known {
		needed = fmt.Sprintf("%.0f needed %s", value, verify.Ago(last.At))
		values["needed"], values["at"] = value, last.At
	}
	r.add("scaling", values, "%d to %d tasks, %s", w.Min, w.Max, needed)
}

// metrics shows what the probe published, where the API cannot be reached from here.
func (r *reader) metrics(ctx context.Context) {
	last, err := metrics.Read(ctx, cloudwatch.NewFromConfig(r.opt.AWS), r.opt.Environment.Worker.ServiceName)
	value := last.Values
	switch {
	case err != nil:
		r.unread("probe", "its metrics could not be read", err)
	case value == nil:
		r.add("probe", nil, "has published no metrics for %.0f minutes", metrics.Fresh.Minutes())
	default:
		if value["WorkersOnline"] > 0 {
			r.heartbeat = last.At
		}
		r.add("probe", data{"at": last.At, "metrics": value}, "%s: %.0f workers online; flow runs: %.0f underway, %.0f due, %.0f late, %.0f orphaned, %.0f lost; %.0f queries failed", verify.Ago(last.At),
			value["WorkersOnline"], value["FlowRunsRunning"]+value["FlowRunsPending"], value["FlowRunsDue"], value["FlowRunsLate"], value["FlowRunsOrphaned"], value["FlowRunsLost"], value["ProbeErrors"])
	}
}

// log shows the last line that says why something failed, and whether that is over: the worker has sent a heartbeat since
// then or, if a flow run could not be started, has started one.
func (r *reader) log(ctx context.Context) {
	client := cloudwatchlogs.NewFromConfig(r.opt.AWS)
	_, lines, err := r.Log(ctx, client, r.opt.Environment)
	if err != nil {
		r.unread("log", "could not be read", err)
		return
	}
	telling := func(lines []string) []string { return symptoms.WithoutFrames(symptoms.OfWorker(lines)) }
	all := telling(lines)
	for i, line := range slices.Backward(all) {
		symptom, known := symptoms.Of(line)
		if !known && !strings.Contains(line, "ERROR") {
			continue
		}
		text, over := r.Hide(strings.TrimSpace(line)), ""
		switch {
		case symptom.OfRun && symptoms.Submitted(all[i+1:]):
			over = "before the last flow run was started: "
		case !symptom.OfRun && !r.heartbeat.IsZero():
			since := r.Evidence
			since.Deployment.CreatedAt = &r.heartbeat
			_, after, err := since.Log(ctx, client, r.opt.Environment)
			if err != nil {
				r.unread("log", "could not be read", err)
				return
			}
			if before := lines[:max(0, len(lines)-len(after))]; i < len(telling(before)) {
				over = "before the last heartbeat: "
			}
		}
		r.add("last error", data{"line": text, "over": over != ""}, "%s%.200s", over, text)
		return
	}
	r.add("last error", nil, "none in the log since the deployment")
}
