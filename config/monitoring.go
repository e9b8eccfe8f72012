package config

import "fmt"

// HasProbe reports whether the stack has the probe, whose metrics alarms and scaling are on.
func (e *Environment) HasProbe() bool { return e.Monitoring.Enabled || e.Worker.Scales() }

// Probe returns the name of the function that reads the Prefect API, and of its schedule.
func (e *Environment) Probe() string { return e.Worker.ServiceName + "-probe" }

// ProbeRole returns the name of the role of the probe's code.
func (e *Environment) ProbeRole() string { return e.Probe() }

// ScheduleRole returns the name of the role with which the schedule starts the probe.
func (e *Environment) ScheduleRole() string { return e.Probe() + "-schedule" }

// ProbeLogGroup returns the log group of the probe, which Lambda names after the function.
func (e *Environment) ProbeLogGroup() string { return "/aws/lambda/" + e.Probe() }

// AlarmTopic returns the name of the topic that alarms are sent to, where the stack makes it.
func (e *Environment) AlarmTopic() string { return e.Worker.ServiceName + "-alarms" }

// DeploymentRule returns the name of the event rule for failed deployments, the longest name that
// is made of the service's.
func (e *Environment) DeploymentRule() string { return e.Worker.ServiceName + "-failed-deployment" }

// ProbeInVPC reports whether the probe must be in the VPC, because nothing else reaches the API.
func (e *Environment) ProbeInVPC() bool { return e.Server.Enabled || e.insideAPI() }

// monitoring rejects alarms without a recipient, and a probe that could not work.
func (v *validator) monitoring() {
	e, m, feature := v.env, v.env.Monitoring, "monitoring.enabled"
	kind, name := "an event rule", e.DeploymentRule()
	switch {
	case !m.Enabled:
		v.rejectIgnored("there are no alarms", "set monitoring.enabled to true, or remove it", sectionKeys("monitoring.")...)
		feature, kind, name = "worker.scaling.max", "a role", e.ScheduleRole()
	case m.TopicARN != "":
		v.rejectIgnored("the alarms are sent to the topic that exists", "subscribe the addresses to it, or remove topic_arn", "monitoring.emails")
	case len(m.Emails) == 0:
		v.reject("monitoring.emails", "", "an alarm needs a recipient", "write the addresses to notify, or set monitoring.topic_arn", "monitoring.enabled")
	}
	if !e.HasProbe() {
		return
	}
	const longest = 64 // of the names of rules, roles and functions (PutRule, CreateRole, CreateFunction in the API references)
	if len(name) > longest {
		v.reject("worker.service_name", e.Worker.ServiceName, fmt.Sprintf("%s is called %s, and its name has at most %d characters, so the service's at most %d", kind, name, longest, longest-len(name)+len(e.Worker.ServiceName)),
			"shorten it", feature)
	}
	if e.ProbeInVPC() && (e.Network.PublicIP() || e.Network.Isolated()) {
		v.reject("network.nat", e.Network.NAT, "only the VPC reaches this Prefect API, and a function in a VPC never has a public address: without a NAT gateway the probe reaches neither its secret nor CloudWatch",
			"set network.nat to single, or remove "+feature, feature)
	}
}
