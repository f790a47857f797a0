package source

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
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
		return kindOfStatus(status, err)
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

func kindOfStatus(status int, err error) error {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.New(fault.Forbidden, "may not be read: %w", err)
	case status == http.StatusNotFound, status == http.StatusGone:
		return fault.New(fault.NotFound, "gone: %w", err)
	case status == http.StatusPreconditionFailed, status == http.StatusRequestedRangeNotSatisfiable:
		return fault.New(fault.Conflict, "changed since the scan: %w", err)
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= 500:
		return fault.Mark(fault.Unavailable, err)
	}
	return fault.Mark(fault.Invalid, err)
}
