package config

import (
	"fmt"
	"net/url"
	"strings"
)

// Probe is the name of the function that asks the Prefect API, and of its schedule.
func (e *Environment) Probe() string { return e.Worker.ServiceName + "-probe" }

// ProbeRole is the name of the role of the probe's code.
func (e *Environment) ProbeRole() string { return e.Probe() }

// ScheduleRole is the name of the role with which the schedule starts the probe.
func (e *Environment) ScheduleRole() string { return e.Probe() + "-schedule" }

// ProbeLogGroup is the log group of the probe, which Lambda names after the function.
func (e *Environment) ProbeLogGroup() string { return "/aws/lambda/" + e.Probe() }

// AlarmTopic is the name of the topic that alarms are sent to, where the stack makes it.
func (e *Environment) AlarmTopic() string { return e.Worker.ServiceName + "-alarms" }

// DeploymentRule is the name of the event rule for failed deployments, the longest name that
// is made of the service's.
func (e *Environment) DeploymentRule() string { return e.Worker.ServiceName + "-failed-deployment" }

// ProbeInVPC says that the probe must be in the VPC, because nothing else reaches the API: it
// is the stack's own server, or has a private address or a name that no public zone has.
func (e *Environment) ProbeInVPC() bool {
	if e.Server.Enabled {
		return true
	}
	u, err := url.Parse(e.Prefect.APIURL)
	if err != nil || e.Prefect.APIURL == "" {
		return false
	}
	host := u.Hostname()
	if ip, isAddress := parseAddress(host); isAddress {
		return ip.IsPrivate()
	}
	return privateName.MatchString(host) || strings.HasSuffix(host, "."+e.Cluster.Namespace)
}

// monitoring refuses a probe that could not work, and settings of one that there is not.
func (v *validator) monitoring() {
	e, m := v.env, v.env.Monitoring
	if !m.Enabled {
		v.rejectIgnored("nothing watches the worker", "set monitoring.enabled to true, or remove it", sectionKeys("monitoring.")...)
		return
	}
	if m.TopicARN != "" {
		v.rejectIgnored("the alarms are sent to the topic that exists", "subscribe the addresses to it, or remove topic_arn", "monitoring.emails")
	} else if len(m.Emails) == 0 {
		v.reject("monitoring.emails", "", "an alarm that nobody gets is none", "write the addresses of who is to know, or set monitoring.topic_arn", "monitoring.enabled")
	}
	const longest = 64 // of the names of rules, roles and functions (PutRule, CreateRole, CreateFunction in the API references)
	if name := e.DeploymentRule(); len(name) > longest {
		v.reject("worker.service_name", e.Worker.ServiceName, fmt.Sprintf("an event rule is called %s, and a rule's name has at most %d characters, so the service's at most %d", name, longest, longest-len(name)+len(e.Worker.ServiceName)),
			"shorten it", "monitoring.enabled")
	}
	if e.ProbeInVPC() && (e.Network.PublicIP() || e.Network.Isolated()) {
		v.reject("network.nat", e.Network.NAT, "only the VPC reaches this Prefect API, and a function in a VPC never has a public address: without a NAT gateway the probe reaches neither its secret nor CloudWatch",
			"set network.nat to single, or remove monitoring.enabled", "monitoring.enabled")
	}
}
