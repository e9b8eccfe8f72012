package verify

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/prefect/flowruns"
)

// View is what runs, on one screen: for a look, not for a judgement.
type View struct {
	// Lines are what is known, each a word and what there is to say.
	Lines []ViewLine `json:"lines"`
}

// ViewLine is one line of a View.
type ViewLine struct {
	// Name says what it is about.
	Name string `json:"name"`
	// Text is what there is.
	Text string `json:"text"`
}

// Print writes the view for a person, wrapped where w is a terminal.
func (v View) Print(w io.Writer) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	last := ""
	for _, line := range v.Lines {
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

// Look collects the view. What cannot be read is a line that says why.
func Look(ctx context.Context, opt Options) View {
	c := &checklist{opt: opt, env: opt.Environment, aws: newClients(opt.AWS)}
	var v View
	add := func(name, format string, args ...any) {
		v.Lines = append(v.Lines, ViewLine{name, fmt.Sprintf(format, args...)})
	}
	// What a check finds is said in its words; where it cannot go on, so can the view not.
	ask := func(name string, check func(*checklist, context.Context) finding) bool {
		f := check(c, ctx)
		if f.blocks {
			add(name, "%s", strings.ReplaceAll(f.detail, "\n", " "))
		}
		return !f.blocks
	}
	if !ask("AWS", (*checklist).account) || !ask("cluster", (*checklist).cluster) || !ask("service", (*checklist).ecsService) {
		return v
	}
	s, d := c.service.service, c.service.deployment
	add("service", "%s in %s: %d of %d tasks running, %d pending", aws.ToString(s.ServiceName), c.env.Cluster.Name, s.RunningCount, s.DesiredCount, s.PendingCount)
	add("deployment", "%s, begun %s", strings.ToLower(strings.ReplaceAll(string(d.RolloutState), "_", " ")), ago(d.CreatedAt))
	c.viewTasks(ctx, add)
	if ask("task definition", (*checklist).definition) && ask("credential", (*checklist).secret) && ask("Prefect API", (*checklist).apiAnswers) {
		add("Prefect API", "%s", variable(c.service.container, "PREFECT_API_URL"))
		c.viewPrefect(ctx, add, ask)
	} else if c.env.Monitoring.Enabled {
		c.viewFigures(ctx, add)
	}
	c.viewLog(ctx, add)
	return v
}

func ago(at *time.Time) string {
	if at == nil {
		return "an unknown time"
	}
	return time.Since(*at).Round(time.Second).String() + " ago"
}

func (c *checklist) viewTasks(ctx context.Context, add func(name, format string, args ...any)) {
	if c.service.tasksErr != nil {
		add("tasks", "could not be listed: %s", why(c.service.tasksErr))
		return
	}
	if len(c.service.tasks) == 0 {
		return
	}
	out, err := c.aws.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &c.env.Cluster.Name, Tasks: c.service.tasks})
	if err != nil {
		add("tasks", "could not be read: %s", why(err))
		return
	}
	for _, task := range out.Tasks {
		health := ""
		if task.HealthStatus != "" && task.HealthStatus != types.HealthStatusUnknown {
			health = ", " + strings.ToLower(string(task.HealthStatus))
		}
		started := ""
		if task.StartedAt != nil {
			started = ", started " + ago(task.StartedAt)
		}
		add("tasks", "%s %s%s%s", lastPart(aws.ToString(task.TaskArn)), strings.ToLower(aws.ToString(task.LastStatus)), health, started)
	}
}

func (c *checklist) viewPrefect(ctx context.Context, add func(name, format string, args ...any), ask func(string, func(*checklist, context.Context) finding) bool) {
	if !ask("work pool", (*checklist).pool) {
		return
	}
	pool := c.client.pool
	text := fmt.Sprintf("%s, %s", pool.Name, pool.Type)
	if pool.Paused {
		text += ", paused"
	}
	for _, q := range c.client.queues {
		if q.Paused {
			text += ", its queue " + q.Name + " paused"
		}
	}
	add("work pool", "%s", text)
	now := c.client.client.Now()
	workers, err := c.client.client.OnlineWorkers(ctx, pool.Name, time.Time{})
	if err != nil {
		add("workers", "could not be read: %v", err)
	}
	for _, w := range workers {
		add("workers", "%s, heartbeat %.0f s ago", w.Name, max(0, now.Sub(w.LastHeartbeat).Seconds()))
	}
	if err == nil && len(workers) == 0 {
		add("workers", "none online")
	}
	late, lateErr := c.client.client.Overdue(ctx, pool.Name, c.env.WorkPool.Queues, now.Add(-flowruns.LateAfter))
	underway, err := c.client.client.Underway(ctx, pool.Name, c.env.WorkPool.Queues)
	if lateErr != nil || err != nil {
		add("flow runs", "could not be read")
		return
	}
	add("flow runs", "%d underway, %d late", underway, len(late))
}

// viewFigures shows what the probe saw, where the API cannot be reached from here.
func (c *checklist) viewFigures(ctx context.Context, add func(name, format string, args ...any)) {
	if err := c.readFigures(ctx); err != nil {
		add("probe", "its figures could not be read: %s", why(err))
		return
	}
	f := c.watch.figures
	if f == nil {
		add("probe", "has sent no figures for %.0f minutes", freshFigures.Minutes())
		return
	}
	add("probe", "%s: %.0f workers online; flow runs: %.0f underway, %.0f due, %.0f late, %.0f orphaned, %.0f lost; %.0f questions failed", ago(&c.watch.at),
		f["WorkersOnline"], f["FlowRunsRunning"]+f["FlowRunsPending"], f["FlowRunsDue"], f["FlowRunsLate"], f["FlowRunsOrphaned"], f["FlowRunsLost"], f["CallsFailed"])
}

// viewLog shows the last line that says why something failed.
func (c *checklist) viewLog(ctx context.Context, add func(name, format string, args ...any)) {
	lines, err := c.logSince(ctx, c.env.Logs.Group, aws.ToTime(c.service.deployment.CreatedAt))
	if err != nil {
		add("log", "could not be read: %s", why(err))
		return
	}
	lines = withoutFrames(lines)
	for _, line := range slices.Backward(lines) {
		if isSymptom(line) || strings.Contains(line, "ERROR") {
			add("last error", "%.200s", strings.TrimSpace(line))
			return
		}
	}
	add("last error", "none in the log since the deployment")
}
