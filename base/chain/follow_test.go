package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
)

// node is a stand-in for somebody else's node that can do what the devnet never
// does: forks, lost connections, lagging answers. It speaks ChainHead,
// ChainGetTipSet and, unless deaf, ChainNotify.
type node struct {
	t    *testing.T
	url  string
	deaf bool

	mu      sync.Mutex
	known   map[string]*TipSet
	forgets bool // does not answer ChainGetTipSet
	head    *TipSet
	pushes  chan []HeadChange // to the one websocket
	drop    chan struct{}     // ends the websocket
}

func newNode(t *testing.T, deaf bool) *node {
	n := &node{t: t, deaf: deaf, known: map[string]*TipSet{}, pushes: make(chan []HeadChange), drop: make(chan struct{})}
	srv := httptest.NewServer(n)
	t.Cleanup(srv.Close)
	n.url = srv.URL
	return n
}

// grow makes a tipset on top of another; tags tell forks apart.
func (n *node) grow(parent *TipSet, tag string) *TipSet {
	n.t.Helper()
	c, err := abi.CidBuilder.Sum([]byte("root"))
	if err != nil {
		n.t.Fatal(err)
	}
	miner, err := address.NewIDAddress(1000)
	if err != nil {
		n.t.Fatal(err)
	}
	b := &BlockHeader{
		Miner: miner, Ticket: &Ticket{VRFProof: []byte(tag)}, Parents: []cid.Cid{c}, ParentWeight: big.Zero(),
		ParentStateRoot: c, ParentMessageReceipts: c, Messages: c, ParentBaseFee: big.Zero(),
	}
	if parent != nil {
		b.Parents, b.Height = parent.Cids, parent.Height+1
	}
	name, err := b.Cid()
	if err != nil {
		n.t.Fatal(err)
	}
	ts := &TipSet{Cids: []cid.Cid{name}, Blocks: []*BlockHeader{b}, Height: b.Height}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[ts.Key().String()], n.head = ts, ts
	return ts
}

func (n *node) setHead(ts *TipSet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.head = ts
}

func (n *node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgets = true
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		if n.deaf {
			http.Error(w, "no websockets here", http.StatusForbidden)
			return
		}
		n.serveSocket(w, r)
		return
	}
	var req struct {
		ID     int64
		Method string
		Params []json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		n.t.Error(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	ts := n.head
	if req.Method == "Filecoin.ChainGetTipSet" {
		var key TipSetKey
		if err := json.Unmarshal(req.Params[0], &key); err != nil {
			n.t.Error(err)
		}
		if ts = n.known[key.String()]; ts == nil || n.forgets {
			fmt.Fprintf(w, `{"id":%d,"error":{"code":1,"message":"tipset not found"}}`, req.ID)
			return
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id": req.ID, "result": ts})
}

func (n *node) serveSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	var req struct{ ID int64 }
	_, data, err := conn.Read(r.Context())
	if err != nil || json.Unmarshal(data, &req) != nil {
		return
	}
	ctx := conn.CloseRead(context.Background())
	write := func(v any) {
		data, err := json.Marshal(v)
		if err != nil {
			n.t.Error(err)
		}
		_ = conn.Write(ctx, websocket.MessageText, data)
	}
	n.mu.Lock()
	head := n.head
	n.mu.Unlock()
	write(map[string]any{"id": req.ID, "result": 5})
	send := func(changes []HeadChange) {
		write(map[string]any{"method": "xrpc.ch.val", "params": []any{5, changes}})
	}
	send([]HeadChange{{HeadCurrent, head}})
	for {
		select {
		case c := <-n.pushes:
			send(c)
		case <-n.drop:
			return
		case <-ctx.Done():
			return
		}
	}
}

// story reads what Follow yields, as "apply 3b".
type story struct {
	t    *testing.T
	next func() (HeadChange, error, bool)
	errs int
}

func follow(t *testing.T, n *node) *story {
	t.Helper()
	c := dial(t, n.url, "", PollEvery(2*time.Millisecond))
	c.follow.retryMin, c.follow.retryMax = time.Millisecond, 2*time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	next, stop := iter.Pull2(c.Follow(ctx))
	t.Cleanup(func() { cancel(); stop() })
	return &story{t: t, next: next}
}

// want reads as many changes as are named and compares.
func (s *story) want(changes ...string) {
	s.t.Helper()
	var got []string
	for len(got) < len(changes) {
		ch, err, ok := s.next()
		if !ok {
			s.t.Fatalf("the story ended after %v, want %v", got, changes)
		}
		if err != nil {
			s.errs++
			continue
		}
		got = append(got, fmt.Sprintf("%s %d%s", ch.Type, ch.Val.Height, ch.Val.Blocks[0].Ticket.VRFProof))
	}
	if !slices.Equal(got, changes) {
		s.t.Fatalf("told %v, want %v", got, changes)
	}
}

func TestFollowByPolling(t *testing.T) {
	n := newNode(t, true)
	a0 := n.grow(nil, "a")
	s := follow(t, n)
	s.want("current 0a")
	a1 := n.grow(a0, "a")
	s.want("apply 1a")
	n.setHead(a0) // a node that lags behind the one asked before
	n.setHead(n.grow(n.grow(n.grow(a1, "a"), "a"), "a"))
	s.want("apply 2a", "apply 3a", "apply 4a")
	n.grow(n.grow(a1, "b"), "b")
	s.want("revert 4a", "revert 3a", "revert 2a", "apply 2b", "apply 3b")
	if s.errs != 0 {
		t.Errorf("%d errors: a refused websocket is none", s.errs)
	}
}

func TestFollowByWebsocket(t *testing.T) {
	n := newNode(t, false)
	a0 := n.grow(nil, "a")
	s := follow(t, n)
	s.want("current 0a")
	a1 := n.grow(a0, "a")
	n.pushes <- []HeadChange{{HeadApply, a1}}
	s.want("apply 1a")
	b1 := n.grow(a0, "b")
	b2 := n.grow(b1, "b")
	n.pushes <- []HeadChange{{HeadRevert, a1}, {HeadApply, b1}, {HeadApply, b2}}
	s.want("revert 1a", "apply 1b", "apply 2b")

	b3 := n.grow(b2, "b")
	b4 := n.grow(b3, "b")
	n.drop <- struct{}{}
	s.want("apply 3b", "apply 4b")
	if s.errs == 0 {
		t.Error("a lost connection was not told")
	}
	n.pushes <- []HeadChange{{HeadApply, n.grow(b4, "b")}}
	s.want("apply 5b")
}

func TestFollowTellsAGapItCannotFill(t *testing.T) {
	t.Run("the node has forgotten", func(t *testing.T) {
		n := newNode(t, true)
		a0 := n.grow(nil, "a")
		s := follow(t, n)
		s.want("current 0a")
		n.forget()
		a1 := n.grow(a0, "a")
		s.want("apply 1a")
		far := grownFar(n, a1, 3)
		s.want(fmt.Sprintf("current %da", far.Height))
	})
	t.Run("too long", func(t *testing.T) {
		n := newNode(t, true)
		a0 := n.grow(nil, "a")
		s := follow(t, n)
		s.want("current 0a")
		far := grownFar(n, a0, bridgeTipSets+5)
		s.want(fmt.Sprintf("current %da", far.Height))
		n.grow(far, "a")
		s.want(fmt.Sprintf("apply %da", far.Height+1))
	})
}

// grownFar grows without showing the tipsets between as heads.
func grownFar(n *node, ts *TipSet, by int) *TipSet {
	aside := &node{t: n.t, known: map[string]*TipSet{}}
	for range by {
		ts = aside.grow(ts, "a")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, v := range aside.known {
		n.known[k] = v
	}
	n.head = ts
	return ts
}

func TestFollowGoesOnAfterTrouble(t *testing.T) {
	n := newNode(t, true)
	n.grow(nil, "a")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "starting", http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	c := dial(t, srv.URL, "")
	c.follow.retryMin, c.follow.retryMax = time.Millisecond, 2*time.Millisecond
	seen := 0
	for _, err := range c.Follow(t.Context()) {
		if err == nil || !strings.Contains(err.Error(), "503") {
			t.Fatalf("error %v", err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range c.Follow(ctx) {
		if errors.Is(err, context.Canceled) {
			t.Error("the caller's own cancel was told as trouble")
		}
		cancel()
	}
}
