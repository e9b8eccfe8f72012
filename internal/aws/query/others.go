package query

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// ImageID is the tag of an image or, if it is given, its digest.
type ImageID struct {
	Tag    string `json:"imageTag,omitempty"`
	Digest string `json:"imageDigest,omitempty"`
}

// Image returns how many images a repository of a registry, which is an account, has of an id. The errors are
// RepositoryNotFoundException and ImageNotFoundException where there is none.
func (c Client) Image(ctx context.Context, registry, repository string, id ImageID) (int, error) {
	var out struct {
		Details []struct{} `json:"imageDetails"`
	}
	err := c.CallJSON(ctx, ECR, "DescribeImages", map[string]any{"registryId": registry, "repositoryName": repository, "imageIds": []ImageID{id}}, &out)
	return len(out.Details), err
}

// RepositoryPolicy returns the policy of a repository of a registry. The error is RepositoryPolicyNotFoundException where
// there is none.
func (c Client) RepositoryPolicy(ctx context.Context, registry, repository string) (string, error) {
	var out struct {
		PolicyText string `json:"policyText"`
	}
	err := c.CallJSON(ctx, ECR, "GetRepositoryPolicy", map[string]any{"registryId": registry, "repositoryName": repository}, &out)
	return out.PolicyText, orEmpty(err, out.PolicyText)
}

// EventRule returns an error if there is no rule of the name: ResourceNotFoundException.
func (c Client) EventRule(ctx context.Context, name string) error {
	return c.CallJSON(ctx, EventBridge, "DescribeRule", map[string]string{"Name": name}, &struct{}{})
}

// EventTargets returns the ids of a rule's targets by their ARNs. A rule has at most five.
func (c Client) EventTargets(ctx context.Context, rule string) (map[string]string, error) {
	var out struct{ Targets []struct{ ID, ARN string } }
	err := c.CallJSON(ctx, EventBridge, "ListTargetsByRule", map[string]string{"Rule": rule}, &out)
	ids := map[string]string{}
	for _, t := range out.Targets {
		ids[t.ARN] = t.ID
	}
	return ids, err
}

// Schedule returns an error if there is no schedule of the name in the default group: ResourceNotFoundException.
func (c Client) Schedule(ctx context.Context, name string) error {
	return c.send(ctx, Scheduler, "GetSchedule", http.MethodGet, "/schedules/"+url.PathEscape(name), "", &struct{}{})
}

// Function is a function of Lambda.
type Function struct {
	// CodeSHA256 is the checksum of its archive in base64.
	CodeSHA256 string
	// Role is the ARN of its role.
	Role string
	// Environment holds its variables.
	Environment struct{ Variables map[string]string }
}

// Function returns the configuration of a function. The error is ResourceNotFoundException if there is none.
func (c Client) Function(ctx context.Context, name string) (f Function, err error) {
	err = c.send(ctx, Lambda, "GetFunctionConfiguration", http.MethodGet, "/2015-03-31/functions/"+url.PathEscape(name)+"/configuration", "", &f)
	return f, err
}

// InstanceStatus returns the status of a database, empty if there is none.
func (c Client) InstanceStatus(ctx context.Context, identifier string) (string, error) {
	var out struct {
		Status string `xml:"DescribeDBInstancesResult>DBInstances>DBInstance>DBInstanceStatus"`
	}
	err := c.Call(ctx, RDS, "DescribeDBInstances", Params{"DBInstanceIdentifier": identifier}, &out)
	return out.Status, err
}

// SubnetGroup returns an error if there is no subnet group of the name.
func (c Client) SubnetGroup(ctx context.Context, name string) error {
	return c.Call(ctx, RDS, "DescribeDBSubnetGroups", Params{"DBSubnetGroupName": name}, nil)
}

// ParameterGroup reports whether there is a parameter group of the name.
func (c Client) ParameterGroup(ctx context.Context, name string) (bool, error) {
	var out struct {
		Names []string `xml:"DescribeDBParameterGroupsResult>DBParameterGroups>DBParameterGroup>DBParameterGroupName"`
	}
	err := c.Call(ctx, RDS, "DescribeDBParameterGroups", Params{"DBParameterGroupName": name}, &out)
	return len(out.Names) > 0, err
}

// ZoneVPCs returns the ids of the VPCs that a private hosted zone is associated with.
func (c Client) ZoneVPCs(ctx context.Context, zone string) ([]string, error) {
	var out struct {
		IDs []string `xml:"VPCs>VPC>VPCId"`
	}
	err := c.send(ctx, Route53, "GetHostedZone", http.MethodGet, "/2013-04-01/hostedzone/"+strings.TrimPrefix(zone, "/hostedzone/"), "", &out)
	return out.IDs, err
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
func (c Client) Topic(ctx context.Context, arn string) (t Topic, err error) {
	err = c.Call(ctx, SNS, "GetTopicAttributes", Params{"TopicArn": arn}, &t)
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
func (c Client) Subscriptions(ctx context.Context, topic string) (all []Subscription, err error) {
	for token := ""; ; {
		var page SubscriptionPage
		if err := c.Call(ctx, SNS, "ListSubscriptionsByTopic", Params{"TopicArn": topic, "NextToken": token}, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Subscriptions...)
		if token = page.NextToken; token == "" {
			return all, nil
		}
	}
}

// Parameter reports whether the Parameter Store has a parameter of one of the names, and which key encrypts it. It
// reads no value.
func (c Client) Parameter(ctx context.Context, names ...string) (found bool, key string, err error) {
	in := map[string]any{"ParameterFilters": []any{map[string]any{"Key": "Name", "Option": "Equals", "Values": names}}}
	for {
		var out struct {
			Parameters []struct{ KeyID string }
			NextToken  string
		}
		if err := c.CallJSON(ctx, SSM, "DescribeParameters", in, &out); err != nil || len(out.Parameters) == 0 && out.NextToken == "" {
			return false, "", err
		}
		if len(out.Parameters) > 0 {
			return true, out.Parameters[0].KeyID, nil
		}
		in["NextToken"] = out.NextToken
	}
}
