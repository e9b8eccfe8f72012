package restype

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
)

// eventsTypes are those of EventBridge.
var eventsTypes = []Type{
	{
		Name: "aws_cloudwatch_event_rule",
		ARN:  "events:rule/{name}",
		Find: func(f *Search, r Resource) (string, error) {
			_, err := f.aws.events.DescribeRule(f.Context, &eventbridge.DescribeRuleInput{Name: aws.String(r.text("name"))})
			return r.text("name"), err
		},
		Loss:     Nothing,
		Replaces: []string{"name"},
		Grants: []Grant{
			{Read: "events:DescribeRule events:ListTagsForResource", On: "events:rule/{name}"},
			{Write: "events:PutRule events:DeleteRule events:TagResource events:UntagResource", On: "events:rule/{name}"},
		},
	},
	{
		Name:     "aws_cloudwatch_event_target",
		Find:     (*Search).eventTarget,
		Loss:     Nothing,
		Replaces: []string{"rule"},
		Grants: []Grant{
			{Read: "events:ListTargetsByRule", On: "events:rule/{rule}"},
			{Write: "events:PutTargets events:RemoveTargets", On: "events:rule/{rule}"},
		},
	},
}

func (f *Search) eventTarget(r Resource) (string, error) {
	rule, err := f.Stack.NameOf(r.arguments["rule"])
	if err != nil {
		return "", err
	}
	out, err := f.aws.events.ListTargetsByRule(f.Context, &eventbridge.ListTargetsByRuleInput{Rule: &rule})
	if err != nil {
		return "", err
	}
	for _, t := range out.Targets {
		if aws.ToString(t.Arn) == r.text("arn") {
			return rule + "/" + aws.ToString(t.Id), nil
		}
	}
	return "", errNone
}
