package verify

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// why makes one short line of an AWS error.
func why(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	// The SDK's own errors are chains; what went wrong is at their end.
	text := err.Error()
	if i := strings.LastIndex(text, ", "); i >= 0 && len(text) > 160 {
		text = text[i+2:]
	}
	return text
}

func is(err error, codes ...string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode())
}

const (
	loginFix   = "log in to AWS (aws sso login, or AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
	networkFix = "AWS cannot be reached from here: check the network, the proxy (HTTPS_PROXY) and the region"
)

// Codes with which AWS refuses the credentials themselves ("Common errors" in the API
// references of STS, ECS and EC2).
var badCredentials = []string{"InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException", "SignatureDoesNotMatch",
	"UnrecognizedClientException", "AuthFailure", "InvalidAccessKeyId", "IncompleteSignature", "RequestExpired"}

// Codes with which AWS says that the caller may not do this one thing.
var notAllowed = []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "KMSAccessDeniedException"}

// unread is the finding for something that AWS did not tell: neither right nor wrong. what
// says what it is.
func unread(what string, err error) finding {
	detail := what + " could not be read: " + why(err)
	var api smithy.APIError
	switch {
	case is(err, badCredentials...):
		return unknown(detail, loginFix)
	case is(err, notAllowed...):
		return unknown(detail, fmt.Sprintf("ask for a role that may call %s, or for the managed policy ReadOnlyAccess", operation(err)))
	case !errors.As(err, &api):
		if sent := (*smithyhttp.RequestSendError)(nil); errors.As(err, &sent) {
			return unknown(detail, networkFix)
		}
	}
	return unknown(detail, "try again")
}

// operation is the name of the API operation that failed, such as ecs:DescribeServices.
func operation(err error) string {
	var failed *smithy.OperationError
	if !errors.As(err, &failed) {
		return "it"
	}
	prefix := strings.ToLower(strings.ReplaceAll(failed.Service(), " ", ""))
	return strings.Replace(prefix, "cloudwatchlogs", "logs", 1) + ":" + failed.Operation()
}
