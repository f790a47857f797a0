package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"

	smithy "github.com/aws/smithy-go"
	transporthttp "github.com/aws/smithy-go/transport/http"

	"github.com/firth-project/firth/base/fault"
)

// classify gives an error of the server its kind, says what helps, and names
// the operand. Other errors (the caller's reader, the context) keep their kind.
func (s *Store) classify(ctx context.Context, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fault.Wrap(ctx.Err(), format, args...)
	}
	return fault.Wrap(s.kind(err), format, args...)
}

// kind is the error as people can act on it. What the server says is repeated
// only where it says more than its code; no message of it holds the keys.
func (s *Store) kind(err error) error {
	var api smithy.APIError
	var operation *smithy.OperationError
	code, says := "", ""
	if !errors.As(err, &operation) {
		return err // none of the client's
	}
	if errors.As(err, &api) {
		code, says = api.ErrorCode(), api.ErrorMessage()
	}
	bucket := s.place.Bucket
	switch code {
	case "NoSuchKey", "NotFound":
		return fault.New(fault.NotFound, "there is no such object")
	case "NoSuchBucket":
		return fault.New(fault.Invalid, "bucket %q: does not exist there; make it, or mend the name or the endpoint", bucket)
	case "RequestTimeTooSkewed", "RequestExpired":
		return fault.New(fault.Forbidden, "the clock of this machine and the server's are too far apart; set it, by NTP: %s", says)
	case "SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidClientTokenId", "ExpiredToken", "InvalidToken":
		return fault.New(fault.Forbidden, "the server does not know these credentials (%s); mend the access key and its secret", code)
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "MovedPermanently":
		return fault.New(fault.Invalid, "bucket %q: is in another region; name it with region=: %s", bucket, says)
	case "QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "EntityTooLarge":
		return fault.New(fault.Exhausted, "the server has no room for it (%s); make room: %s", code, says)
	case "NoSuchUpload":
		return fault.New(fault.Unavailable, "the upload was given up by somebody else; it is tried again from its beginning")
	}
	switch status := statusOf(err); {
	case status == http.StatusNotFound:
		return fault.New(fault.NotFound, "there is no such object")
	case status == http.StatusForbidden || status == http.StatusUnauthorized || code == "AccessDenied":
		return fault.New(fault.Forbidden, "the credentials may not do that with bucket %q; they need to list, read, write and delete", bucket)
	case status == http.StatusInsufficientStorage:
		return fault.New(fault.Exhausted, "the server has no room for it; make room")
	case status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect:
		return fault.New(fault.Invalid, "bucket %q: is in another region, or behind another endpoint; name it with region= or endpoint=", bucket)
	case status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout && status != http.StatusConflict:
		return fault.New(fault.Invalid, "the server refuses it (%d %s): %s", status, code, says)
	case status == 0 && lacksCredentials(err):
		return fault.New(fault.Forbidden, "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile= of the shared credentials file")
	}
	return fault.Mark(fault.Unavailable, operation.Err) // the caller names the operation better
}

// lacksCredentials tells that no request was sent because there was nothing to
// sign it with: the client has no type for it.
func lacksCredentials(err error) bool {
	return strings.Contains(err.Error(), "get identity") || strings.Contains(err.Error(), "refresh cached credentials")
}

func statusOf(err error) int {
	var response *transporthttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		return response.HTTPStatusCode()
	}
	return 0
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func isStatus(err error, status int) bool { return err != nil && statusOf(err) == status }
