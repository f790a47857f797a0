package front_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/front"
)

// An operator reads of what broke, not of visitors who left.
func TestErrorsAreLogged(t *testing.T) {
	away := fault.New(fault.Unavailable, "read the body: %w", context.Canceled)
	broken := fault.New(fault.Internal, "row 7 is no number")
	for _, test := range []struct {
		name string
		err  error
		left bool
		want bool
	}{
		{"the visitor left", away, true, false},
		{"something is away", away, false, true},
		{"something broke", broken, false, true},
		{"something broke after the visitor left", broken, true, true},
		{"the visitor is wrong", fault.New(fault.Invalid, "no such thing"), false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError}))
			door := front.NewDoorman(nil, log).Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				front.WriteProblem(w, r, test.err)
			}))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if test.left {
				leave()
			}
			door.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
			if logged := out.Len() > 0; logged != test.want {
				t.Errorf("logged %q", out.String())
			}
		})
	}
}
