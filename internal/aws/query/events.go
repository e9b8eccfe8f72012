package query

import (
	"context"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Events is a client of Amazon EventBridge.
type Events struct{ client }

// NewEvents returns a client of EventBridge.
func NewEvents(cfg aws.Config) Events {
	return Events{newClient(cfg, service{id: "EventBridge", name: "events", target: "AWSEvents"})}
}

// Rule returns an error if there is no rule of the name: ResourceNotFoundException.
func (c Events) Rule(ctx context.Context, name string) error {
	return c.CallJSON(ctx, "DescribeRule", map[string]string{"Name": name}, &struct{}{})
}

// Targets returns the ids of a rule's targets by their ARNs. A rule has at most five.
func (c Events) Targets(ctx context.Context, rule string) (map[string]string, error) {
	var out struct{ Targets []struct{ ID, ARN string } }
	err := c.CallJSON(ctx, "ListTargetsByRule", map[string]string{"Rule": rule}, &out)
	ids := map[string]string{}
	for _, t := range out.Targets {
		ids[t.ARN] = t.ID
	}
	return ids, err
}

// Scheduler is a client of Amazon EventBridge Scheduler.
type Scheduler struct{ client }

// NewScheduler returns a client of EventBridge Scheduler.
func NewScheduler(cfg aws.Config) Scheduler {
	return Scheduler{newClient(cfg, service{id: "Scheduler", name: "scheduler", rest: true})}
}

// Schedule returns an error if there is no schedule of the name in the default group: ResourceNotFoundException.
func (c Scheduler) Schedule(ctx context.Context, name string) error {
	return c.send(ctx, "GetSchedule", http.MethodGet, "/schedules/"+url.PathEscape(name), "", &struct{}{})
}
