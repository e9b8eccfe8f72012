package restype

// eventsTypes are those of EventBridge.
var eventsTypes = []Type{
	{
		Name: "aws_cloudwatch_event_rule",
		ARN:  "events:rule/{name}",
		Find: func(f *Search, r Resource) (string, error) {
			return r.text("name"), f.aws.EventRule(f.Context, r.text("name"))
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
	targets, err := f.aws.EventTargets(f.Context, rule)
	if err != nil {
		return "", err
	}
	if id, found := targets[r.text("arn")]; found {
		return rule + "/" + id, nil
	}
	return "", errNone
}
