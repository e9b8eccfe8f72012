package query

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// SSM is a client of AWS Systems Manager.
type SSM struct{ client }

// NewSSM returns a client of Systems Manager.
func NewSSM(cfg aws.Config) SSM {
	return SSM{newClient(cfg, service{id: "SSM", name: "ssm", target: "AmazonSSM"})}
}

// Parameter reports whether the Parameter Store has a parameter of one of the names, and which key encrypts it. It
// reads no value.
func (c SSM) Parameter(ctx context.Context, names ...string) (found bool, key string, err error) {
	in := map[string]any{"ParameterFilters": []any{map[string]any{"Key": "Name", "Option": "Equals", "Values": names}}}
	for {
		var out struct {
			Parameters []struct{ KeyID string }
			NextToken  string
		}
		if err := c.CallJSON(ctx, "DescribeParameters", in, &out); err != nil || len(out.Parameters) == 0 && out.NextToken == "" {
			return false, "", err
		}
		if len(out.Parameters) > 0 {
			return true, out.Parameters[0].KeyID, nil
		}
		in["NextToken"] = out.NextToken
	}
}
