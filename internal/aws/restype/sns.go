package restype

import "strings"

// snsTypes are those of SNS.
var snsTypes = []Type{
	{
		Name: "aws_sns_topic",
		ARN:  "sns:{name}",
		Find: func(f *Search, r Resource) (string, error) {
			topic := ARN(f.Account, "sns:"+r.text("name"))
			_, err := f.aws.Topic(f.Context, topic)
			return topic, err
		},
		Loss:     Nothing,
		Replaces: []string{"name"},
		Grants: []Grant{
			{Read: "sns:GetTopicAttributes sns:ListTagsForResource", On: "sns:{name}"},
			{Write: "sns:CreateTopic sns:SetTopicAttributes sns:DeleteTopic sns:TagResource sns:UntagResource", On: "sns:{name}"},
		},
	},
	{
		Name:        "aws_sns_topic_policy",
		NotImported: "it is a setting of the topic, and replaces the one that is there",
		Loss:        Nothing,
		Replaces:    []string{"arn"},
		Grants: []Grant{
			{Read: "sns:GetTopicAttributes", On: "sns:{arn}"},
			{Write: "sns:SetTopicAttributes", On: "sns:{arn}"},
		},
	},
	{
		Name:     "aws_sns_topic_subscription",
		Find:     (*Search).subscription,
		Loss:     Nothing,
		Replaces: []string{"endpoint", "protocol", "topic_arn"},
		Grants: []Grant{
			{Read: "sns:GetSubscriptionAttributes", On: "sns:{topic_arn}"},
			// verify and adopt: who is notified of alarms.
			{Read: "sns:ListSubscriptionsByTopic", On: "sns:{topic_arn}"},
			{Write: "sns:Subscribe sns:Unsubscribe", On: "sns:{topic_arn}"},
		},
	},
}

// subscription finds no subscription that is not confirmed: it has no ARN until then.
func (f *Search) subscription(r Resource) (string, error) {
	subscriptions, err := f.aws.Subscriptions(f.Context, r.text("topic_arn"))
	if err != nil {
		return "", err
	}
	for _, s := range subscriptions {
		if s.Endpoint == r.text("endpoint") && s.Protocol == r.text("protocol") && strings.HasPrefix(s.ARN, "arn:") {
			return s.ARN, nil
		}
	}
	return "", errNone
}
