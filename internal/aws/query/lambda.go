package query

import (
	"context"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Lambda is a client of AWS Lambda.
type Lambda struct{ client }

// NewLambda returns a client of Lambda.
func NewLambda(cfg aws.Config) Lambda {
	return Lambda{newClient(cfg, service{id: "Lambda", name: "lambda", rest: true})}
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
func (c Lambda) Function(ctx context.Context, name string) (f Function, err error) {
	err = c.send(ctx, "GetFunctionConfiguration", http.MethodGet, "/2015-03-31/functions/"+url.PathEscape(name)+"/configuration", "", &f)
	return f, err
}
