package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Reason returns an AWS error as one short line.
func Reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("there was no answer within %s", Timeout)
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
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
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode())
}

const (
	loginFix   = "log in to AWS (aws sso login, or AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
	networkFix = "AWS cannot be reached from here: check the network, the proxy (HTTPS_PROXY) and the region"
)

// Codes with which AWS rejects the credentials themselves ("Common errors" in the API
// references of STS, ECS and EC2).
var badCredentials = []string{"InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException", "SignatureDoesNotMatch",
	"UnrecognizedClientException", "AuthFailure", "InvalidAccessKeyId", "IncompleteSignature", "RequestExpired"}

// Codes with which AWS says that the caller may not do this one thing.
var notAllowed = []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "KMSAccessDeniedException"}

// unreadable returns the finding for what AWS did not return: neither right nor wrong. what
// says what it is.
func unreadable(what string, err error) finding {
	detail := what + " could not be read: " + Reason(err)
	var api smithy.APIError
	switch {
	case is(err, badCredentials...):
		return unknown(detail, loginFix)
	case is(err, notAllowed...):
		return unknown(detail, fmt.Sprintf("use a role that may call %s, such as one with the managed policy ReadOnlyAccess", operation(err)))
	case errors.Is(err, context.DeadlineExceeded), !errors.As(err, &api) && errors.As(err, new(*smithyhttp.RequestSendError)):
		return unknown(detail, networkFix)
	}
	return unknown(detail, "try again")
}

// errEmpty stands for an answer of success without the requested data, as a proxy may give it.
var errEmpty = errors.New("the answer is empty")

// orEmpty returns the error of a call, or errEmpty if its answer lacks what it is about.
func orEmpty(err error, empty bool) error {
	if err == nil && empty {
		return errEmpty
	}
	return err
}

// operation returns the name of the API operation that failed, such as ecs:DescribeServices.
func operation(err error) string {
	failed, ok := errors.AsType[*smithy.OperationError](err)
	if !ok {
		return "it"
	}
	prefix := strings.ToLower(strings.ReplaceAll(failed.Service(), " ", ""))
	return strings.Replace(prefix, "cloudwatchlogs", "logs", 1) + ":" + failed.Operation()
}
