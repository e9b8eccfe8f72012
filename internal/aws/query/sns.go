package query

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// SNS is a client of Amazon SNS.
type SNS struct{ client }

// NewSNS returns a client of SNS.
func NewSNS(cfg aws.Config) SNS {
	return SNS{newClient(cfg, service{id: "SNS", name: "sns", version: "2010-03-31"})}
}

// Topic holds the attributes of a topic, such as Policy and KmsMasterKeyId.
type Topic struct {
	Attributes []Attribute `xml:"GetTopicAttributesResult>Attributes>entry"`
}

// Attribute is one of a topic.
type Attribute struct {
	Name  string `xml:"key"`
	Value string `xml:"value"`
}

// Attribute returns the value of an attribute, empty if the topic has none.
func (t Topic) Attribute(name string) string {
	for _, a := range t.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// Topic returns a topic. The error is NotFound if there is none.
func (c SNS) Topic(ctx context.Context, arn string) (t Topic, err error) {
	err = c.Call(ctx, "GetTopicAttributes", Params{"TopicArn": arn}, &t)
	return t, err
}

// Subscription is one of a topic. Its ARN is PendingConfirmation until it is confirmed.
type Subscription struct {
	ARN                string `xml:"SubscriptionArn"`
	Endpoint, Protocol string
}

// SubscriptionPage is an answer with some of a topic's subscriptions.
type SubscriptionPage struct {
	Subscriptions []Subscription `xml:"ListSubscriptionsByTopicResult>Subscriptions>member"`
	NextToken     string         `xml:"ListSubscriptionsByTopicResult>NextToken"`
}

// Subscriptions returns the subscriptions of a topic. The error is NotFound if there is no such topic.
func (c SNS) Subscriptions(ctx context.Context, topic string) (all []Subscription, err error) {
	for token := ""; ; {
		var page SubscriptionPage
		if err := c.Call(ctx, "ListSubscriptionsByTopic", Params{"TopicArn": topic, "NextToken": token}, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Subscriptions...)
		if token = page.NextToken; token == "" {
			return all, nil
		}
	}
}
