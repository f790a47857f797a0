package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/firth-project/firth/base/fault"
)

// view is a CAR that can send itself, up to a fault.
type view struct {
	*bytes.Reader
	fault error
	sent  bool
}

func (v *view) CopyN(w io.Writer, n int64) (int64, error) {
	v.sent = true
	if got, err := io.CopyN(w, struct{ io.Reader }{v.Reader}, min(n, int64(v.Len()))); err != nil || got == n {
		return got, err
	} else {
		return got, v.fault
	}
}

// deaf is a client that has gone.
type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestStreamTellsWhoseFaultItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "car")
	if err := os.WriteFile(path, make([]byte, 2*step+10), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	changed := fault.New(fault.Conflict, "file changed")
	for what, one := range map[string]struct {
		car  io.ReadSeeker
		w    io.Writer
		n    int64
		want error
	}{
		"a whole file":     {f, io.Discard, 2*step + 10, nil},
		"a file cut short": {f, io.Discard, 2*step + 20, errShort},
		"a file, no one":   {f, deaf{}, 10, nil},
		"a whole view":     {&view{Reader: bytes.NewReader(make([]byte, 20))}, io.Discard, 20, nil},
		"a broken view":    {&view{Reader: bytes.NewReader(make([]byte, 20)), fault: changed}, io.Discard, 30, changed},
		"a view, no one":   {&view{Reader: bytes.NewReader(make([]byte, 20)), fault: changed}, deaf{}, 30, nil},
	} {
		if _, err := one.car.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		s := &stream{ReadSeeker: one.car, ctx: t.Context()}
		n, _ := s.CopyN(one.w, one.n)
		if !errors.Is(s.failure(), one.want) || one.want == nil && s.failure() != nil || one.want == nil && one.w == io.Discard && n != one.n {
			t.Errorf("%s: %d bytes, %v", what, n, s.failure())
		}
	}
}

// What stands as a file goes out by the connection's own ReadFrom, through all
// that is wrapped around it, and a view sends itself.
func TestWrappersKeepTheShortWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "car")
	body := bytes.Repeat([]byte("0123456789"), fileStep/5)
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	d := &door{log: slog.New(slog.DiscardHandler)}
	short := &view{Reader: bytes.NewReader(body)}
	mux := http.NewServeMux()
	seen := &sending{}
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = io.CopyN(w, &stream{ReadSeeker: f, ctx: r.Context()}, int64(len(body)))
	})
	mux.HandleFunc("/view", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = io.CopyN(w, &stream{ReadSeeker: short, ctx: r.Context()}, int64(len(body)))
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.ResponseWriter = w
		paced(d.cacheable(mux)).ServeHTTP(seen, r)
	}))
	defer server.Close()
	for _, path := range []string{"/file", "/view"} {
		res, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	if seen.files != (len(body)+fileStep-1)/fileStep || !short.sent {
		t.Errorf("%d steps of a file, view %v", seen.files, short.sent)
	}
}

// sending counts the files it is asked to send.
type sending struct {
	http.ResponseWriter
	files int
}

func (s *sending) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if _, ok := limited.R.(*os.File); ok {
			s.files++
		}
	}
	return io.Copy(s.ResponseWriter, r)
}

func (s *sending) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func TestLimits(t *testing.T) {
	from := func(addr string) *http.Request { return &http.Request{RemoteAddr: addr} }
	if newLimits(0).of(from("10.0.0.1:5")) != nil {
		t.Error("no limit is one")
	}
	l := newLimits(1)
	one := l.of(from("10.0.0.1:5"))
	if l.of(from("10.0.0.1:6")) != one || l.of(from("10.0.0.2:5")) == one {
		t.Error("limits are not by address")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	car := &stream{ReadSeeker: &view{Reader: bytes.NewReader(make([]byte, 2*step))}, ctx: ctx, limit: one}
	if n, err := io.CopyN(io.Discard, car, step); n != step || err != nil {
		t.Errorf("what is free: %d, %v", n, err)
	}
	cancel()
	if n, err := car.CopyN(io.Discard, step); n != 0 || err == nil || car.failure() != nil {
		t.Errorf("beyond the limit: %d, %v, %v", n, err, car.failure())
	}
	for i := range 3 * maxClients {
		l.of(from(fmt.Sprintf("c%d:1", i)))
	}
	if len(l.clients) > maxClients+1 {
		t.Errorf("%d clients are remembered", len(l.clients))
	}
	if l.of(from("10.0.0.1:7")) != one || one.Limit() != rate.Limit(1) {
		t.Error("a busy client is forgotten")
	}
}

// A client who takes nothing for longer than the patience is let go of, and one
// who takes a little now and then is not.
func TestSlowReadersTimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := &stream{ReadSeeker: &view{Reader: bytes.NewReader(make([]byte, 3*step))}, ctx: r.Context()}
			_, err := io.CopyN(w, s, 3*step)
			ended <- err
		})
		here, there := net.Pipe()
		server := &http.Server{Handler: paced(handler)}
		go func() { _ = server.Serve(&oneConn{conn: there, closed: make(chan struct{})}) }()
		defer server.Close()
		if _, err := here.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 8 { // 32 KiB at the most, each within the patience
			<-time.After(patience / 10)
			if _, err := here.Read(make([]byte, 4096)); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the answer ended with %v", err)
		}
		if took := time.Since(began); took > 3*patience {
			t.Errorf("after %s", took)
		}
		_ = here.Close()
	})
}

// oneConn is a listener to whom one connection comes.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
