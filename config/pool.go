package config

// FlowsAreTasks reports whether each flow run is an ECS task of its own: then there are roles, log
// streams, a template and task events for flows.
func (p WorkPool) FlowsAreTasks() bool { return p.Type == PoolECS }

// FlowsInWorker reports whether flow runs are processes in the worker's task: then they share its
// CPU, memory, role and environment, and end with it.
func (p WorkPool) FlowsInWorker() bool { return p.Type == PoolProcess }
