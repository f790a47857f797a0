package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"google.golang.org/api/googleapi"

	"github.com/rclone/rclone/backend/webdav/api"
	rclone "github.com/rclone/rclone/fs"

	"github.com/firth-project/firth/base/fault"
)

// remoteFault gives an error of a back end its kind. What nobody knows is
// taken for trouble on the way: retried, and Unavailable in the end.
func remoteFault(err error) error {
	var known *fault.Error
	var u *url.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &u): // it quotes the URL, signature and all
		return remoteFault(u.Err)
	case errors.Is(err, rclone.ErrorDirNotFound):
		return fault.New(fault.NotFound, "no such bucket or directory; some servers also say so to an access key they do not know")
	case errors.Is(err, rclone.ErrorObjectNotFound), errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "gone: %w", err)
	case errors.Is(err, rclone.ErrorIsDir), errors.Is(err, rclone.ErrorNotAFile):
		return fault.New(fault.Conflict, "changed since the scan: is a directory now: %w", err)
	case errors.Is(err, rclone.ErrorPermissionDenied), errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Forbidden, "may not be read: %w", err)
	}
	if status := statusOf(err); status != 0 {
		return busyFor(kindOfStatus(status, inShort(status, err)), headerOf(err))
	}
	if away := networkFault(err); away != nil {
		return away
	}
	for _, words := range []string{"unable to authenticate", "knownhosts:", "host key", "ssh: no key found", "x509:"} {
		if strings.Contains(err.Error(), words) {
			return fault.Mark(fault.Forbidden, err)
		}
	}
	return fault.Mark(fault.Unavailable, err)
}

// statusOf finds the HTTP status in the errors of the back ends' libraries, 0
// when there is none.
func statusOf(err error) int {
	var aws interface{ HTTPStatusCode() int }
	var google *googleapi.Error
	var azure *azcore.ResponseError
	var dav *api.Error
	switch {
	case errors.As(err, &aws) && aws.HTTPStatusCode() == http.StatusMovedPermanently:
		return http.StatusMisdirectedRequest // the bucket's region is known now
	case errors.As(err, &aws):
		return aws.HTTPStatusCode()
	case errors.As(err, &google):
		return google.Code
	case errors.As(err, &azure):
		return azure.StatusCode
	case errors.As(err, &dav):
		return dav.StatusCode
	}
	// The http back end's errors are text.
	_, text, found := strings.Cut(err.Error(), "HTTP Error: ")
	if !found || len(text) < 3 {
		return 0
	}
	status := 0
	for _, c := range text[:3] {
		if c < '0' || c > '9' {
			return 0
		}
		status = status*10 + int(c-'0')
	}
	return status
}

// headerOf is what the answer behind an error of the back ends' libraries said
// besides; nil where they do not tell.
func headerOf(err error) http.Header {
	var aws *awshttp.ResponseError
	var google *googleapi.Error
	var azure *azcore.ResponseError
	switch {
	case errors.As(err, &aws) && aws.Response != nil && aws.Response.Response != nil:
		return aws.Response.Header
	case errors.As(err, &google):
		return google.Header
	case errors.As(err, &azure) && azure.RawResponse != nil:
		return azure.RawResponse.Header
	}
	return nil
}

// inShort says in a line what S3's and Azure's libraries say in many.
func inShort(status int, err error) error {
	var aws interface {
		ErrorCode() string
		ErrorMessage() string
	}
	var azure *azcore.ResponseError
	switch {
	case errors.As(err, &aws) && aws.ErrorMessage() != "":
		return fmt.Errorf("the server says %d %s: %s", status, aws.ErrorCode(), aws.ErrorMessage())
	case errors.As(err, &aws):
		return fmt.Errorf("the server says %d %s", status, aws.ErrorCode())
	case errors.As(err, &azure):
		return fmt.Errorf("the server says %d %s", status, azure.ErrorCode)
	}
	return err
}

// networkFault is the error of a server that could not be spoken to, in words
// that name it; nil for other errors.
func networkFault(err error) error {
	var name *net.DNSError
	var op *net.OpError
	var trust *tls.CertificateVerificationError
	switch {
	case errors.As(err, &trust):
		return fault.New(fault.Forbidden, "the server's certificate is not trusted: %w", trust.Err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fault.New(fault.Invalid, "the server speaks plain HTTP: write http:// instead of https://")
	case errors.As(err, &name) && name.IsNotFound:
		return fault.New(fault.Unavailable, "cannot reach %s: there is no host of that name", name.Name)
	case errors.As(err, &name):
		return fault.New(fault.Unavailable, "cannot reach %s: the name server does not answer: %s", name.Name, name.Err)
	case errors.As(err, &op) && op.Op == "dial" && op.Addr != nil:
		var system syscall.Errno
		switch {
		case op.Timeout():
			return fault.New(fault.Unavailable, "cannot reach %s: no answer", op.Addr)
		case errors.As(op, &system):
			return fault.New(fault.Unavailable, "cannot reach %s: %w", op.Addr, system)
		}
		return fault.New(fault.Unavailable, "cannot reach %s: %w", op.Addr, op.Err)
	}
	return nil
}

func kindOfStatus(status int, err error) error {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.New(fault.Forbidden, "may not be read: %w", err)
	case status == http.StatusNotFound, status == http.StatusGone:
		return fault.New(fault.NotFound, "gone: %w", err)
	case status == http.StatusPreconditionFailed, status == http.StatusRequestedRangeNotSatisfiable:
		return fault.New(fault.Conflict, "changed since the scan: %w", err)
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly,
		status == http.StatusMisdirectedRequest, status >= 500:
		return fault.Mark(fault.Unavailable, err)
	}
	return fault.Mark(fault.Invalid, err)
}
