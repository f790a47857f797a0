package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

// silent is a pipe into which nobody writes; reading tells when it is read.
type silent struct {
	reading context.CancelFunc
	closed  chan struct{}
}

func (s silent) Read([]byte) (int, error) {
	s.reading()
	<-s.closed
	return 0, io.EOF
}

// A command that waits for standard input ends when it is interrupted.
func TestInterruptedOverStandardInput(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer node.Close()
	for _, line := range []string{"commp -", "wallet import", "add - --token x --api " + node.URL} {
		t.Run(line, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			in := silent{interrupt, make(chan struct{})}
			defer close(in.closed)
			var out, said bytes.Buffer
			code := run(ctx, strings.Fields(line+" --home "+t.TempDir()), nil, stdio{in, &out, &said})
			if code != fault.Unavailable.ExitCode() || out.Len() > 0 || !strings.HasPrefix(said.String(), "firth: interrupted") {
				t.Errorf("exit %d: %s%s", code, out.String(), said.String())
			}
		})
	}
}
