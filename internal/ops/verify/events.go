package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"prefect-worker-ecs/internal/terraform/stackjson"
)

// events checks that what ECS says of tasks and deployments reaches who is to hear of it: the
// worker of an ecs pool, and the topic of the alarms.
func (c *checklist) events(ctx context.Context) finding {
	var s several
	rules := c.stack.Names("aws_cloudwatch_event_rule")
	for _, address := range rules {
		c.eventRule(ctx, &s, c.stack.Resource("aws_cloudwatch_event_rule", address))
	}
	for _, address := range c.stack.Names("aws_cloudwatch_event_target") {
		c.eventTarget(ctx, &s, c.stack.Resource("aws_cloudwatch_event_target", address))
	}
	return s.finding(fmt.Sprintf("%d rules of EventBridge are enabled, as configured", len(rules)))
}

func (c *checklist) eventRule(ctx context.Context, s *several, want map[string]any) {
	name, _ := want["name"].(string)
	got, err := c.aws.events.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &name})
	if is(err, "ResourceNotFoundException") {
		s.failed("there is no event rule "+name, c.deployFix())
		return
	}
	if err != nil {
		s.unread("the event rule "+name, err)
		return
	}
	pattern, _ := want["event_pattern"].(string)
	var wanted, there any // EventBridge may write the pattern in another way
	if json.Unmarshal([]byte(pattern), &wanted) != nil || json.Unmarshal([]byte(aws.ToString(got.EventPattern)), &there) != nil {
		s.unknown("the pattern of the event rule "+name+" is not JSON", "look at it in EventBridge")
	} else if found := compare("EventPattern", generic(wanted), generic(there), true); len(found) > 0 {
		s.failed("the event rule "+name+" is not that of the configuration: "+strings.Join(found, "; "), c.deploy())
	}
	if got.State == types.RuleStateDisabled {
		s.failed("the event rule "+name+" is disabled", "enable it: aws events enable-rule --name "+name)
	}
}

func (c *checklist) eventTarget(ctx context.Context, s *several, want map[string]any) {
	rule, err := c.stack.NameOf(want["rule"])
	if err != nil {
		s.unknown(err.Error(), "update workerctl")
		return
	}
	got, err := c.aws.events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &rule})
	if is(err, "ResourceNotFoundException") {
		return // eventRule says so
	}
	if err != nil {
		s.unread("the targets of the event rule "+rule, err)
		return
	}
	to, _ := want["arn"].(string)
	i := slices.IndexFunc(got.Targets, func(t types.Target) bool { return stackjson.Same(to, aws.ToString(t.Arn)) })
	if i < 0 {
		s.failed(fmt.Sprintf("the event rule %s does not lead to %s", rule, stackjson.Shown(to)), c.deploy())
		return
	}
	delete(want, "rule")
	if transformer, ok := want["input_transformer"].(map[string]any); ok {
		rename(transformer, "input_paths", "input_paths_map")
	}
	differs(c, s, "the target of the event rule "+rule, want, got.Targets[i])
}
