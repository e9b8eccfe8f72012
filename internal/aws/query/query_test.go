package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"prefect-worker-ecs/internal/test/testtools"
)

// answering returns the configuration for a server that gives these answers in turn, a status and a
// body each, and the requests. A status may be followed by the type of the error: 404+NotFound.
func answering(t *testing.T, answers ...string) (aws.Config, *[]*http.Request) {
	t.Helper()
	var requests []*http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Form, _ = url.ParseQuery(string(body))
		requests = append(requests, r)
		status, answer, _ := strings.Cut(answers[min(len(requests), len(answers))-1], " ")
		status, kind, _ := strings.Cut(status, "+")
		w.Header().Set("X-Amzn-ErrorType", kind)
		code, _ := strconv.Atoi(status)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return aws.Config{Region: "eu-west-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("id", "secret", "token"), RetryMaxAttempts: 2}, &requests
}

func TestCallsAndAnswers(t *testing.T) {
	// GIVEN two pages of subnets
	cfg, requests := answering(t,
		`200 <DescribeSubnetsResponse xmlns="http://ec2"><requestId>r</requestId><subnetSet><item><subnetId>a</subnetId><availableIpAddressCount>7</availableIpAddressCount></item></subnetSet><nextToken>n&amp;1</nextToken></DescribeSubnetsResponse>`,
		`200 <DescribeSubnetsResponse xmlns="http://ec2"><requestId>r</requestId><subnetSet><item><subnetId>b</subnetId><vpcId>v</vpcId></item></subnetSet></DescribeSubnetsResponse>`)
	// WHEN they are read
	params := Filters("vpc-id", "v", "tag:Name", "x y")
	subnets, err := Subnets(t.Context(), New(cfg), params)
	// THEN all are there
	if err != nil || len(subnets) != 2 || subnets[0] != (Subnet{ID: "a", FreeAddresses: 7}) || subnets[1] != (Subnet{ID: "b", VPCID: "v"}) {
		t.Errorf("%v, %v", subnets, err)
	}
	// AND the requests have the form of the Query protocol, and a signature
	first, second := (*requests)[0], (*requests)[1]
	const form = "Action=DescribeSubnets&Filter.1.Name=vpc-id&Filter.1.Value.1=v&Filter.2.Name=tag%3AName&Filter.2.Value.1=x+y&Version=2016-11-15"
	if first.Form.Encode() != form || second.Form.Get("NextToken") != "n&1" || params["NextToken"] != nil {
		t.Errorf("forms %s and %s", first.Form.Encode(), second.Form.Encode())
	}
	if auth := first.Header.Get("Authorization"); !strings.Contains(auth, "Credential=id/") || !strings.Contains(auth, "/eu-west-1/ec2/aws4_request") || first.Header.Get("X-Amz-Security-Token") != "token" {
		t.Errorf("signed as %s", auth)
	}
	// AND what is nested is numbered, and what is empty left out
	nested := Params{"A": Params{"Value": true}, "B": []Params{{"C": []string{"x", "y"}}}, "Empty": "", "None": []string(nil)}
	if got := nested.form("", url.Values{}).Encode(); got != "A.Value=true&B.1.C.1=x&B.1.C.2=y" {
		t.Errorf("form %s", got)
	}
}

// TestJSON: the same with the JSON protocol.
func TestJSON(t *testing.T) {
	// GIVEN an image, and one that is not there
	cfg, requests := answering(t, `200 {"imageDetails":[{"imageDigest":"sha256:1"}]}`, `400 {"__type":"com.amazonaws.ecr#ImageNotFoundException","message":"none"}`)
	found, err := New(cfg).Image(t.Context(), "123456789012", "team/flows", ImageID{Tag: "7"})
	_, missing := New(cfg).Image(t.Context(), "123456789012", "team/flows", ImageID{Digest: "sha256:2"})
	// THEN both are said
	var answer smithy.APIError
	if err != nil || found != 1 || !errors.As(missing, &answer) || answer.ErrorCode() != "ImageNotFoundException" || answer.ErrorMessage() != "none" {
		t.Errorf("%d, %v, %v", found, err, missing)
	}
	// AND the request names the operation, and is signed for ECR
	r := (*requests)[0]
	body := url.Values{`{"imageIds":[{"imageTag":"7"}],"registryId":"123456789012","repositoryName":"team/flows"}`: {""}}
	if r.Header.Get("X-Amz-Target") != "AmazonEC2ContainerRegistry_V20150921.DescribeImages" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" ||
		!strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/ecr/aws4_request") || r.Form.Encode() != body.Encode() {
		t.Errorf("%v, %v", r.Header, r.Form)
	}
	// WHEN a parameter is on the second page
	cfg, requests = answering(t, `200 {"Parameters":[],"NextToken":"n"}`, `200 {"Parameters":[{"Name":"/a","KeyId":"k"}]}`)
	there, key, err := New(cfg).Parameter(t.Context(), "/a")
	if err != nil || !there || key != "k" || len(*requests) != 2 || !strings.Contains((*requests)[1].Form.Encode(), "NextToken") {
		t.Errorf("%t, %v, %v", there, err, *requests)
	}
	// AND what is no answer of AWS is an error
	cfg, _ = answering(t, `200 <html>`, `503 <html>`)
	for range 2 {
		if there, _, err := New(cfg).Parameter(t.Context(), "/a"); err == nil || there {
			t.Errorf("%t, %v", there, err)
		}
	}
}

func TestErrors(t *testing.T) {
	const denied = `403 <Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors></Response>`
	vpcs := func(ctx context.Context, cfg aws.Config) error {
		_, err := VPCs(ctx, New(cfg), nil)
		return err
	}
	role := func(ctx context.Context, cfg aws.Config) error {
		_, err := New(cfg).Role(ctx, "x")
		return err
	}
	for _, test := range []struct {
		name, code string
		attempts   int
		answers    []string
		call       func(context.Context, aws.Config) error
	}{
		{"of EC2", "UnauthorizedOperation", 1, []string{denied}, vpcs},
		{"of IAM", "NoSuchEntity", 1, []string{`404 <ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>none</Message></Error></ErrorResponse>`}, role},
		{"that passes", "", 2, []string{"503 ", `200 <DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances><DBInstance><DBInstanceStatus>available</DBInstanceStatus></DBInstance></DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>`}, func(ctx context.Context, cfg aws.Config) error {
			status, err := New(cfg).InstanceStatus(ctx, "x")
			if err == nil && status != "available" {
				err = errors.New(status)
			}
			return err
		}},
		{"that is none: a page of a proxy", "none", 1, []string{"200 <html></html>"}, vpcs},
		{"that is none: nothing", "none", 1, []string{"200 <GetRoleResponse></GetRoleResponse>"}, role},
		{"of a proxy", "none", 2, []string{"502 <html>"}, func(ctx context.Context, cfg aws.Config) error {
			_, err := New(cfg).ZoneVPCs(ctx, "/hostedzone/Z")
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg, requests := answering(t, test.answers...)
			err := test.call(t.Context(), cfg)
			var api smithy.APIError
			code := ""
			if errors.As(err, &api) {
				code = api.ErrorCode()
			} else if err != nil {
				code = "none"
			}
			if code != test.code || len(*requests) != test.attempts {
				t.Errorf("%d attempts, error %v", len(*requests), err)
			}
			for i, r := range *requests { // a service knows by both that it is the same request again
				if r.Header.Get("Amz-Sdk-Invocation-Id") != (*requests)[0].Header.Get("Amz-Sdk-Invocation-Id") || !strings.Contains(r.Header.Get("Amz-Sdk-Request"), fmt.Sprintf("attempt=%d", i+1)) {
					t.Errorf("attempt %d: %v", i+1, r.Header)
				}
			}
			if operation := (*smithy.OperationError)(nil); err != nil && !errors.As(err, &operation) && err.Error() != "the answer is empty" {
				t.Errorf("%v does not name the operation", err)
			}
		})
	}
	// AND who cannot be reached is known
	cfg, _ := answering(t, "200 ")
	cfg.BaseEndpoint, cfg.RetryMaxAttempts = aws.String("http://127.0.0.1:1"), 1
	if _, err := VPCs(t.Context(), New(cfg), nil); !errors.As(err, new(*smithyhttp.RequestSendError)) {
		t.Errorf("error %v", err)
	}
}

func TestAClockThatIsWrongIsCorrected(t *testing.T) {
	// GIVEN AWS's clock an hour ahead
	cfg, requests := answering(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*requests = append(*requests, r)
		now := time.Now().Add(time.Hour).UTC()
		w.Header().Set("Date", now.Format(http.TimeFormat))
		if at, _ := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date")); now.Sub(at).Abs() > 5*time.Minute {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired</Message></Error></ErrorResponse>`)
			return
		}
		_, _ = io.WriteString(w, "<GetUserResponse/>")
	}))
	defer server.Close()
	cfg.BaseEndpoint = &server.URL
	// WHEN a call is made THEN its second attempt is signed with AWS's time
	if err := New(cfg).Call(t.Context(), IAM, "GetUser", nil, nil); err != nil || len(*requests) != 2 {
		t.Errorf("%d attempts, %v", len(*requests), err)
	}
}

func TestEndpoints(t *testing.T) {
	for _, test := range []struct {
		region    string
		variables map[string]string
		ec2, iam  string
		signed    string
	}{
		{"eu-west-1", nil, "https://ec2.eu-west-1.amazonaws.com", "https://iam.amazonaws.com", "us-east-1"},
		{"cn-northwest-1", nil, "https://ec2.cn-northwest-1.amazonaws.com.cn", "https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		{"us-gov-east-1", map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}, "https://ec2.us-gov-east-1.amazonaws.com", "https://iam.us-gov.amazonaws.com", "us-gov-west-1"},
		{"us-east-1", map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}, "https://ec2-fips.us-east-1.amazonaws.com", "https://iam-fips.amazonaws.com", "us-east-1"},
		{"eu-west-1", map[string]string{"AWS_ENDPOINT_URL": "http://one"}, "http://one", "http://one", "eu-west-1"},
		{"eu-west-1", map[string]string{"AWS_ENDPOINT_URL_IAM": "http://two"}, "https://ec2.eu-west-1.amazonaws.com", "http://two", "eu-west-1"},
		{"eu-west-1", map[string]string{"AWS_ENDPOINT_URL": "http://one", "AWS_ENDPOINT_URL_IAM": "http://two"}, "http://one", "http://two", "eu-west-1"},
	} {
		t.Run(test.region, func(t *testing.T) {
			for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
				t.Setenv(name, "/dev/null")
			}
			for name, value := range test.variables {
				t.Setenv(name, value)
			}
			cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(test.region))
			testtools.NoError(t, err)
			ec2, ec2Region := New(cfg).resolve(EC2)
			iam, iamRegion := New(cfg).resolve(IAM)
			if ec2 != test.ec2 || iam != test.iam || ec2Region != test.region || iamRegion != test.signed {
				t.Errorf("EC2 %s in %s, IAM %s in %s", ec2, ec2Region, iam, iamRegion)
			}
		})
	}
}

// TestTopicsRulesAndFunctions: what has one call or two, in each of the protocols.
func TestTopicsRulesAndFunctions(t *testing.T) {
	// GIVEN a topic with two pages of subscriptions
	cfg, requests := answering(t,
		`200 <GetTopicAttributesResponse><GetTopicAttributesResult><Attributes><entry><key>Policy</key><value>{"a": 1}</value></entry></Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>`,
		`200 <ListSubscriptionsByTopicResponse><ListSubscriptionsByTopicResult><NextToken>n</NextToken><Subscriptions><member><SubscriptionArn>PendingConfirmation</SubscriptionArn><Endpoint>a@b.de</Endpoint><Protocol>email</Protocol></member></Subscriptions></ListSubscriptionsByTopicResult></ListSubscriptionsByTopicResponse>`,
		`200 <ListSubscriptionsByTopicResponse><ListSubscriptionsByTopicResult><Subscriptions><member><SubscriptionArn>arn:s</SubscriptionArn></member></Subscriptions></ListSubscriptionsByTopicResult></ListSubscriptionsByTopicResponse>`)
	topic, err := New(cfg).Topic(t.Context(), "arn:t")
	subscriptions, failed := New(cfg).Subscriptions(t.Context(), "arn:t")
	// THEN all is read
	if err != nil || topic.Attribute("Policy") != `{"a": 1}` || topic.Attribute("Other") != "" {
		t.Errorf("%v, %v", topic, err)
	}
	if want := []Subscription{{"PendingConfirmation", "a@b.de", "email"}, {ARN: "arn:s"}}; failed != nil || !slices.Equal(subscriptions, want) || (*requests)[2].Form.Get("NextToken") != "n" {
		t.Errorf("%v, %v", subscriptions, failed)
	}
	// WHEN a rule's targets, a function and a schedule are read
	cfg, requests = answering(t, `200 {"Targets":[{"Id":"1","Arn":"arn:q"}]}`, `200 {"CodeSha256":"c","Role":"arn:r","Environment":{"Variables":{"A":"1"}}}`, `404+ResourceNotFoundException:http://a/ {"Message":"none"}`, `200 {"Name":"s"}`)
	targets, err := New(cfg).EventTargets(t.Context(), "r")
	if err != nil || targets["arn:q"] != "1" {
		t.Errorf("%v, %v", targets, err)
	}
	function, err := New(cfg).Function(t.Context(), "f")
	if err != nil || function.CodeSHA256 != "c" || function.Role != "arn:r" || function.Environment.Variables["A"] != "1" {
		t.Errorf("%v, %v", function, err)
	}
	var answer smithy.APIError
	if err := New(cfg).Schedule(t.Context(), "a b"); !errors.As(err, &answer) || answer.ErrorCode() != "ResourceNotFoundException" || answer.ErrorMessage() != "none" {
		t.Errorf("a schedule that is not there: %v", err)
	}
	if err := New(cfg).Schedule(t.Context(), "s"); err != nil {
		t.Error(err)
	}
	// THEN each request is that of its API
	for i, want := range []string{"POST /", "GET /2015-03-31/functions/f/configuration", "GET /schedules/a%20b", "GET /schedules/s"} {
		if r := (*requests)[i]; r.Method+" "+r.URL.EscapedPath() != want {
			t.Errorf("%s %s, want %s", r.Method, r.URL.EscapedPath(), want)
		}
	}
	if target := (*requests)[0].Header.Get("X-Amz-Target"); target != "AWSEvents.ListTargetsByRule" {
		t.Error(target)
	}
}
