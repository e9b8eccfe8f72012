package config

// Scales reports whether the number of worker tasks follows the flow runs.
func (w Worker) Scales() bool { return w.Scaling.Max > 0 }

// MostTasks returns the greatest number of worker tasks outside of a deployment.
func (w Worker) MostTasks() int { return max(w.DesiredCount, w.Scaling.Max) }

// scaling refuses a range that is none, and what has no effect beside it.
func (v *validator) scaling() {
	w := v.env.Worker
	if v.env.WorkPool.FlowsAreTasks() {
		v.rejectIgnored("the worker of an ecs pool only starts the tasks of flow runs: one is enough, and its end stops none of them",
			"remove it; worker.concurrency_limit bounds the flow tasks that run at a time", "worker.scaling.min", "worker.scaling.max", "worker.protect_runs")
		return
	}
	if !w.Scales() {
		v.rejectIgnored("without worker.scaling.max the number of tasks is worker.desired_count", "set worker.scaling.max, or remove it", "worker.scaling.min")
		return
	}
	if w.Scaling.Min > w.Scaling.Max {
		v.reject("worker.scaling.min", w.Scaling.Min, "the least number of tasks is not above the greatest", "lower it, or raise worker.scaling.max", "worker.scaling.max")
	}
	v.rejectIgnored("the number of tasks follows the flow runs", "remove it; worker.scaling.min is the number without flow runs", "worker.desired_count")
	if !w.ProtectRuns {
		v.reject("worker.protect_runs", w.ProtectRuns, "a scale-in stops tasks, and without protection the flow runs in them", "remove it, or worker.scaling")
	}
}
