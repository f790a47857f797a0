package gateway

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/firth-project/firth/base/fault"
)

// step is how much of a CAR is sent at a time: patience is for each of them.
const step = 256 << 10

// errShort is of a file that was cut off while it was sent.
var errShort = fault.New(fault.Internal, "the CAR is shorter than its piece")

// stream is a CAR on its way to a client. It remembers why reading ended early,
// which net/http does not tell.
type stream struct {
	io.ReadSeeker // an *os.File or a *piece.Reader
	ctx           context.Context
	limit         *rate.Limiter // nil is none
	begun         atomic.Bool   // there were bytes
	broken        atomic.Pointer[error]
}

// failure is why reading, not the client, ended an answer early. Of an answer
// in several parts, net/http reads in a goroutine of its own.
func (s *stream) failure() error {
	if err := s.broken.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *stream) fail(err error) {
	if !errors.Is(err, fs.ErrClosed) { // a reader closed under whoever reads for a client that has gone
		s.broken.Store(&err)
	}
}

// wait lets n bytes, step at most, pass.
func (s *stream) wait(n int) error {
	if s.limit == nil {
		return nil
	}
	return s.limit.WaitN(s.ctx, n)
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.ReadSeeker.Read(b[:min(len(b), step)])
	if n > 0 {
		s.begun.Store(true)
	}
	if err != nil && err != io.EOF {
		s.fail(err)
		return n, err
	}
	if waited := s.wait(n); err == nil {
		err = waited
	}
	return n, err
}

// CopyN sends the next n bytes without a copy: of a file by sendfile, of a view
// from the memory it was hashed in. The pacer calls it.
func (s *stream) CopyN(w io.Writer, n int64) (int64, error) {
	if f, ok := s.ReadSeeker.(*os.File); ok {
		return s.sendFile(w, f, n)
	}
	view, ok := s.ReadSeeker.(interface {
		CopyN(w io.Writer, n int64) (int64, error)
	})
	if !ok {
		sent, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(struct{ io.Reader }{s}, n), make([]byte, step))
		if err == nil {
			s.ended(sent, n, nil)
		}
		return sent, err
	}
	client := &meter{w: w, s: s}
	sent, err := view.CopyN(client, n)
	if client.err == nil {
		s.ended(sent, n, err)
	}
	return sent, err
}

// fileStep is how much of a file is sent at a time where nothing is counted.
const fileStep = 1 << 20

func (s *stream) sendFile(w io.Writer, f *os.File, n int64) (sent int64, err error) {
	most := int64(fileStep)
	if s.limit != nil {
		most = step
	}
	for sent < n && err == nil {
		k := min(n-sent, most)
		if err = s.wait(int(k)); err != nil {
			return sent, err
		}
		var copied int64
		copied, err = io.CopyN(w, f, k) // w is a pacer, which passes the file on
		sent += copied
	}
	var broken *fs.PathError
	if err == nil || err == io.EOF || errors.As(err, &broken) {
		s.ended(sent, n, err)
	}
	return sent, err
}

// ended notes why a CAR has fewer bytes than it should have.
func (s *stream) ended(sent, want int64, err error) {
	switch {
	case sent == want:
	case err == nil || err == io.EOF:
		s.fail(errShort)
	default:
		s.fail(err)
	}
}

// meter passes on what the limit lets pass, and remembers the client's errors.
type meter struct {
	w   io.Writer
	s   *stream
	err error
}

func (m *meter) Write(b []byte) (int, error) {
	if m.err = m.s.wait(min(len(b), step)); m.err != nil {
		return 0, m.err
	}
	m.s.begun.Store(true)
	n, err := m.w.Write(b)
	m.err = err
	return n, err
}

// limits bound how fast each client, see clientOf, reads pieces. Clients are
// forgotten when they could not be told from new ones.
type limits struct {
	perSecond int64 // bytes; 0 is without limit

	mu      sync.Mutex
	clients map[string]*rate.Limiter
}

// maxClients is how many clients are remembered before idle ones are looked for.
const maxClients = 1024

func newLimits(perSecond int64) *limits {
	return &limits{perSecond: perSecond, clients: map[string]*rate.Limiter{}}
}

// of returns the limiter that all requests of a client share.
func (l *limits) of(r *http.Request) *rate.Limiter {
	if l.perSecond <= 0 {
		return nil
	}
	client := clientOf(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if one, known := l.clients[client]; known {
		return one
	}
	if len(l.clients) >= maxClients {
		for c, one := range l.clients {
			if one.Tokens() >= float64(one.Burst()) {
				delete(l.clients, c)
			}
		}
	}
	one := rate.NewLimiter(rate.Limit(l.perSecond), step)
	l.clients[client] = one
	return one
}
