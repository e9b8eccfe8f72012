package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/fatih/color"

	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/local/ecstask"
)

// Status shows which processes of the local run are running. It changes nothing.
func Status(ctx context.Context, opt Options) error {
	r, err := opt.run()
	if err != nil {
		return err
	}
	p := terminal.NewProgress(opt.Out)
	switch err := r.load(opt.Environment); {
	case errors.Is(err, errNoRun):
		return opt.noRun(p)
	case err != nil:
		return err
	}
	s := r.state
	if s.idle() {
		p.Line("The last local run of %s has ended; its logs are in %s until %s.", opt.Environment, r.dir, opt.command("down"))
		return nil
	}
	show := func(name string, running bool, pid int, detail string) {
		mark, word := color.GreenString("✓"), "running"
		if !running {
			mark, word = color.RedString("✗"), "not running"
		}
		p.Line("  %s %-15s %-12s pid %-8d %s", mark, name, word, pid, detail)
	}
	if s.Emulator != nil {
		show("AWS emulator", s.Emulator.Process.Alive() && s.Emulator.Ready(ctx), s.Emulator.Process.PID, s.Emulator.Endpoint)
	}
	if s.Prefect != nil {
		show("Prefect server", s.Prefect.Process.Alive() && s.Prefect.Ready(ctx), s.Prefect.Process.PID, s.Prefect.URL())
	}
	if s.Supervisor.PID != 0 {
		show("task supervisor", s.Supervisor.Alive(), s.Supervisor.PID, s.TaskDefinition)
	}
	started, health, last := r.workers()
	for i, e := range started {
		switch alive, newest := e.Process.Alive(), i == len(started)-1; {
		case !alive && newest && last == ecstask.StoppedByService:
			p.Line("  – %-15s no task is wanted", "worker")
		case alive || newest:
			show("worker", alive, e.Process.PID, fmt.Sprintf("task %s, health %s", e.TaskID, health[e.TaskID]))
		}
	}
	for _, e := range r.flowTasks().Events() {
		if e.Kind == ecstask.Started && e.Process.Alive() {
			show("flow task", true, e.Process.PID, "task "+e.TaskID)
		}
	}
	if last != "" {
		p.Line("    last: %s", last)
	}
	p.Line("  files: %s", r.dir)
	return nil
}

// workers returns the starts of the service's tasks, the health of each task by its id, and the reason of the last
// event.
func (r *run) workers() (started []ecstask.Event, health map[string]ecstask.Health, last string) {
	health = map[string]ecstask.Health{}
	for _, e := range r.tasks().Events() {
		last = e.Reason
		switch e.Kind {
		case ecstask.Started:
			started, health[e.TaskID] = append(started, e), ecstask.HealthUnknown
		case ecstask.HealthChanged:
			health[e.TaskID] = e.Health
		}
	}
	return started, health, last
}
