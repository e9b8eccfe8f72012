// Package query is a client of the few calls that the project makes to EC2, ECR, EventBridge, IAM, Lambda, RDS,
// Route 53, SNS and Systems Manager. The SDK's packages of these take longer to compile than everything else
// together. What is not particular to an operation is the SDK's: credentials, signing, retries, clock skew,
// options of aws.Config, and errors.
//
// EC2, IAM, RDS and SNS have the Query protocol: a POST of a form, answered in XML. ECR, EventBridge and Systems
// Manager have that of JSON; Lambda and EventBridge Scheduler a path for each operation, answered in JSON.
package query

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/hashicorp/aws-sdk-go-base/v2/endpoints"
)

// Params are the parameters of a call: strings, numbers, booleans, []string, Params and []Params.
// Empty strings are left out.
type Params map[string]any

// form returns the parameters of a Query request: lists are numbered and nested ones joined by
// points, as in Filter.1.Value.2.
func (p Params) form(prefix string, form url.Values) url.Values {
	for name, value := range p {
		name = prefix + name
		switch value := value.(type) {
		case Params:
			value.form(name+".", form)
		case []Params:
			for i, item := range value {
				item.form(name+"."+strconv.Itoa(i+1)+".", form)
			}
		case []string:
			for i, item := range value {
				form.Set(name+"."+strconv.Itoa(i+1), item)
			}
		default:
			if text := fmt.Sprint(value); text != "" {
				form.Set(name, text)
			}
		}
	}
	return form
}

// Client makes calls of all the services.
type Client struct {
	cfg     aws.Config
	retryer aws.Retryer
}

// New returns a client.
func New(cfg aws.Config) Client {
	c := Client{cfg: cfg, retryer: retry.NewStandard()}
	if cfg.Retryer != nil {
		c.retryer = cfg.Retryer()
	}
	if cfg.RetryMaxAttempts != 0 {
		c.retryer = retry.AddWithMaxAttempts(c.retryer, cfg.RetryMaxAttempts)
	}
	if c.cfg.HTTPClient == nil {
		c.cfg.HTTPClient = awshttp.NewBuildableClient()
	}
	return c
}

// In returns a client of the services in another region.
func (c Client) In(region string) Client {
	c.cfg.Region = region
	return c
}

// resolve returns the endpoint of a service and the region of the signature: what the user has configured
// (AWS_ENDPOINT_URL and the like, also for one service), or the public endpoint.
func (c Client) resolve(s Service) (endpoint, region string) {
	_, all := os.LookupEnv("AWS_ENDPOINT_URL")
	_, own := os.LookupEnv("AWS_ENDPOINT_URL_" + strings.ToUpper(strings.ReplaceAll(s.id, " ", "_")))
	fips := ""
	for _, source := range c.cfg.ConfigSources {
		if of, ok := source.(interface {
			GetServiceBaseEndpoint(context.Context, string) (string, bool, error)
		}); ok && (own || !all) && endpoint == "" {
			endpoint, _, _ = of.GetServiceBaseEndpoint(context.Background(), s.id)
		}
		if of, ok := source.(interface {
			GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error)
		}); ok {
			if state, _, _ := of.GetUseFIPSEndpoint(context.Background()); state == aws.FIPSEndpointStateEnabled {
				fips = "-fips"
			}
		}
	}
	if endpoint == "" {
		endpoint = aws.ToString(c.cfg.BaseEndpoint)
	}
	if endpoint != "" {
		return endpoint, c.cfg.Region
	}
	partition, _ := endpoints.PartitionForRegion(endpoints.DefaultPartitions(), c.cfg.Region)
	if partition.ID() == endpoints.AwsUsGovPartitionID {
		fips = "" // its endpoints are all validated
	}
	if global, ok := s.global[partition.ID()]; ok {
		return "https://" + strings.Replace(global[0], s.name, s.name+fips, 1), global[1]
	}
	host := s.name + fips
	if fips == "" && s.host != "" {
		host = s.host
	}
	return fmt.Sprintf("https://%s.%s.%s", host, c.cfg.Region, partition.DNSSuffix()), c.cfg.Region
}

// Call makes a call to a service with the Query protocol. out is a pointer to a struct with the fields of the answer
// that are read (encoding/xml), nil if there are none. The errors are those of the SDK.
func (c Client) Call(ctx context.Context, s Service, action string, params Params, out any) error {
	form := params.form("", url.Values{"Action": {action}, "Version": {s.version}})
	return c.send(ctx, s, action, http.MethodPost, "/", form.Encode(), out)
}

// CallJSON makes a call to a service with the JSON protocol.
func (c Client) CallJSON(ctx context.Context, s Service, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.send(ctx, s, operation, http.MethodPost, "/", string(body), out)
}

// send runs an operation through the steps of the SDK, which APIOptions of aws.Config may extend.
func (c Client) send(ctx context.Context, s Service, operation, method, path, body string, out any) error {
	endpoint, region := c.resolve(s)
	var skew time.Duration // between the clocks of this machine and of AWS, as the last attempt showed
	stack := middleware.NewStack(operation, smithyhttp.NewStackRequest)
	err := errors.Join(
		stack.Initialize.Add(&awsmiddleware.RegisterServiceMetadata{ServiceID: s.id, SigningName: s.name, Region: c.cfg.Region, OperationName: operation}, middleware.Before),
		stack.Serialize.Add(middleware.SerializeMiddlewareFunc("OperationSerializer", func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (result middleware.SerializeOutput, metadata middleware.Metadata, err error) {
			r := in.Request.(*smithyhttp.Request)
			r.Method = method
			if r.URL, err = url.Parse(strings.TrimRight(endpoint, "/") + path); err != nil {
				return result, metadata, &smithy.SerializationError{Err: err}
			}
			if method == http.MethodPost {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				if s.target != "" {
					r.Header.Set("Content-Type", "application/x-amz-json-1.1")
					r.Header.Set("X-Amz-Target", s.target+"."+operation)
				}
				if r, err = r.SetStream(strings.NewReader(body)); err != nil {
					return result, metadata, &smithy.SerializationError{Err: err}
				}
			}
			in.Request = r
			return next.HandleSerialize(ctx, in)
		}), middleware.After),
		// By this a service sees that a request is the same one again.
		stack.Build.Add(&awsmiddleware.ClientRequestID{}, middleware.After),
		stack.Finalize.Add(retry.NewAttemptMiddleware(c.retryer, smithyhttp.RequestCloner), middleware.After),
		stack.Finalize.Add(&v4.ComputePayloadSHA256{}, middleware.After),
		stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("Signing", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (result middleware.FinalizeOutput, metadata middleware.Metadata, err error) {
			credentials, err := c.cfg.Credentials.Retrieve(ctx)
			if err == nil {
				err = v4.NewSigner().SignHTTP(ctx, credentials, in.Request.(*smithyhttp.Request).Request, v4.GetPayloadHash(ctx), s.name, region, time.Now().Add(skew))
			}
			if err != nil {
				return result, metadata, &v4.SigningError{Err: err}
			}
			result, metadata, err = next.HandleFinalize(ctx, in)
			skew, _ = awsmiddleware.GetAttemptSkew(metadata)
			return result, metadata, err
		}), middleware.After),
		stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("OperationDeserializer", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (result middleware.DeserializeOutput, metadata middleware.Metadata, err error) {
			if result, metadata, err = next.HandleDeserialize(ctx, in); err != nil {
				return result, metadata, err
			}
			result.Result = out
			return result, metadata, s.read(operation, result.RawResponse.(*smithyhttp.Response), out)
		}), middleware.After),
		awsmiddleware.AddRecordResponseTiming(stack),
	)
	for _, option := range c.cfg.APIOptions {
		err = errors.Join(err, option(stack))
	}
	if err == nil {
		handler := middleware.DecorateHandler(smithyhttp.NewClientHandlerWithOptions(c.cfg.HTTPClient), stack)
		_, _, err = handler.Handle(middleware.SetLogger(ctx, c.cfg.Logger), nil)
	}
	if err != nil {
		return &smithy.OperationError{ServiceID: s.id, OperationName: operation, Err: err}
	}
	return nil
}

// read reads an answer, an error among them. EC2 has a list of errors where other services have one.
func (s Service) read(operation string, response *smithyhttp.Response, out any) error {
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return &smithy.DeserializationError{Err: err}
	}
	if s.target != "" || s.rest {
		return readJSON(content, response, out)
	}
	if response.StatusCode < 300 {
		var root struct{ XMLName xml.Name }
		err = xml.Unmarshal(content, &root)
		if name := root.XMLName.Local; err == nil && name != operation+"Response" {
			err = fmt.Errorf("the answer is a %s and no %sResponse", name, operation)
		}
		if err == nil && out != nil {
			err = xml.Unmarshal(content, out)
		}
		if err != nil {
			return &smithy.DeserializationError{Err: err}
		}
		return nil
	}
	type problem struct{ Code, Message string }
	var answer struct {
		One  problem `xml:"Error"`
		List problem `xml:"Errors>Error"`
	}
	err = errors.New("the answer is not one of AWS")
	if xml.Unmarshal(content, &answer) == nil && answer.One.Code+answer.List.Code != "" {
		err = &smithy.GenericAPIError{Code: answer.One.Code + answer.List.Code, Message: answer.One.Message + answer.List.Message}
	}
	return &smithyhttp.ResponseError{Response: response, Err: err}
}

// readJSON reads an answer of the JSON protocol.
func readJSON(content []byte, response *smithyhttp.Response, out any) error {
	if response.StatusCode < 300 {
		if err := json.Unmarshal(content, out); err != nil {
			return &smithy.DeserializationError{Err: err}
		}
		return nil
	}
	var answer struct {
		Type    string `json:"__type"`
		Message string
	}
	err := errors.New("the answer is not one of AWS")
	if json.Unmarshal(content, &answer) == nil {
		code, _, _ := strings.Cut(cmp.Or(answer.Type, response.Header.Get("X-Amzn-Errortype")), ":")
		if code != "" {
			err = &smithy.GenericAPIError{Code: code[strings.LastIndex(code, "#")+1:], Message: answer.Message}
		}
	}
	return &smithyhttp.ResponseError{Response: response, Err: err}
}
