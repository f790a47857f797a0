package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/front"
)

// places bound how many requests are answered at a time. While three quarters
// are taken, a client who has a quarter of all gets no more, so that one who
// takes all he can get leaves some for others.
type places struct {
	most int

	mu    sync.Mutex
	taken int
	by    map[string]int // client
}

// limited lets n requests in at a time.
func limited(n int, next http.Handler) http.Handler {
	all := &places{most: n, by: map[string]int{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := clientOf(r)
		if err := all.take(client); err != nil {
			w.Header().Set("Retry-After", "5")
			front.WriteProblem(w, r, err)
			return
		}
		defer all.give(client)
		next.ServeHTTP(w, r)
	})
}

func (p *places) take(client string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch share := p.most / 4; {
	case p.taken >= p.most:
		return fault.New(fault.Unavailable, "gateway: %d readers at a time is the limit; try again", p.most)
	case share > 0 && p.by[client] >= share && p.taken >= p.most-share:
		return fault.New(fault.Unavailable, "gateway: %d of %d readers are yours, the places left are for others; try again", p.by[client], p.most)
	}
	p.taken++
	p.by[client]++
	return nil
}

func (p *places) give(client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.by[client]--; p.by[client] == 0 {
		delete(p.by, client)
	}
}

// clientOf names who asks: the address, of IPv6 the 64 bits that a network
// is given, for whoever has them has any number of addresses.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}
