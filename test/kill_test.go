package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/client"
	"github.com/ipfs/go-cid"
)

// Processes are killed at random moments while contents come in, are packed,
// dealt about and read, and started again, until the job is done. Then nothing
// that was acknowledged is lost, and nothing was done twice.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills := number(t, "FIRTH_TEST_KILLS", 6)
	seed := uint64(number(t, "FIRTH_TEST_SEED", int(time.Now().UnixNano()%1_000_000)))
	t.Logf("FIRTH_TEST_SEED=%d FIRTH_TEST_KILLS=%d", seed, kills)
	t.Run("together", func(t *testing.T) {
		t.Parallel()
		n := startNetwork(t, 4)
		d := newNode(t, "the node", n)
		s := newStorm(t, n, seed, d, d)
		s.rage((kills + 1) / 2)
	})
	t.Run("apart", func(t *testing.T) {
		t.Parallel()
		n := startNetwork(t, 4)
		doors, workers := newApart(t, n)
		s := newStorm(t, n, seed+1, doors, workers)
		s.rage(kills / 2)
	})
}

func number(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	v, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// storm is customers at work while processes die.
type storm struct {
	t       *testing.T
	n       network
	rng     *rand.Rand // of the killer
	seed    uint64
	doors   *node
	dealer  *node
	victims []*node // distinct
	client  *client.Client
	copies  int

	mu    sync.Mutex
	sent  map[string]int            // bytes of each upload ever begun, by name
	acked map[string]client.Content // what the node promised to keep, by name
}

func newStorm(t *testing.T, n network, seed uint64, doors, dealer *node) *storm {
	s := &storm{
		t: t, n: n, rng: rand.New(rand.NewPCG(seed, 0)), seed: seed, doors: doors, dealer: dealer, copies: 2,
		victims: []*node{doors}, sent: map[string]int{}, acked: map[string]client.Content{},
	}
	if dealer != doors {
		s.victims = append(s.victims, dealer)
	}
	return s
}

func (s *storm) rage(kills int) {
	t := s.t
	for _, v := range s.victims { // at birth: tables, keys and the first token are being made
		v.launch(t)
		s.waitOr(v, s.upTo(400))
		v.kill()
	}
	for _, v := range s.victims {
		v.launch(t)
	}
	for _, v := range s.victims {
		v.up(t)
	}
	introduce(t, s.n, s.doors, s.dealer)
	s.client = s.doors.client(t)
	keep(t, s.n, s.doors, s.copies)

	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for worker := range 2 {
		working.Go(func() { s.work(ctx, worker) })
	}
	for range kills {
		s.strike()
	}
	await(t, 3*time.Minute, "enough promises to hold them to", func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.acked) >= 2*kills+10 {
			return ""
		}
		return fmt.Sprintf("%d of %d", len(s.acked), 2*kills+10)
	})
	stop()
	working.Wait()
	for _, v := range s.victims {
		v.up(t)
	}
	s.settle()
	s.judge()
	for _, v := range s.victims {
		v.stop(t)
	}
}

// strike kills one process, sometimes while it starts, and starts the next.
func (s *storm) strike() {
	v := s.victims[s.rng.IntN(len(s.victims))]
	if s.rng.IntN(4) > 0 {
		v.up(s.t)
		s.waitOr(v, s.upTo(1500))
	} else {
		s.waitOr(v, s.upTo(300))
	}
	v.kill()
	v.launch(s.t)
}

func (s *storm) upTo(ms int) time.Duration { return time.Duration(s.rng.IntN(ms)) * time.Millisecond }

// waitOr lets time pass, and fails if the process ends without being killed.
func (s *storm) waitOr(v *node, d time.Duration) {
	select {
	case <-v.done:
		s.t.Fatalf("%s ended by itself", v.name)
	case <-time.After(d):
	}
}

// work is one customer: adds, closes buckets, reads what it was promised.
func (s *storm) work(ctx context.Context, worker int) {
	rng := rand.New(rand.NewPCG(s.seed, uint64(worker)+1))
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		name := fmt.Sprintf("w%d-%06d", worker, i)
		c, err := s.add(ctx, rng, name)
		switch {
		case err != nil:
			continue
		case i%4 == 0:
			_, _ = s.client.CloseBucket(ctx, c.Bucket) // whether it is done is seen at the end
		case i%7 == 0:
			s.read(ctx, name, c, "")
		}
	}
}

// add sends a content whose bytes follow from its name, sometimes slowly.
func (s *storm) add(ctx context.Context, rng *rand.Rand, name string) (client.Content, error) {
	size, slow := rng.IntN(40_000), time.Duration(0)
	switch rng.IntN(10) {
	case 0:
		size = 1 << 20 * (1 + rng.IntN(3))
	case 1, 2:
		slow = time.Duration(rng.IntN(20)) * time.Millisecond
	}
	s.mu.Lock()
	s.sent[name] = size
	s.mu.Unlock()
	c, err := s.client.AddFile(ctx, name, &trickle{bytes.NewReader(bytesOf(name, size)), slow}, client.AddOptions{})
	if err == nil {
		s.mu.Lock()
		s.acked[name] = c
		s.mu.Unlock()
	}
	return c, err
}

// bytesOf is the content that was sent under a name.
func bytesOf(name string, size int) []byte {
	seed := uint64(0)
	for _, b := range []byte(name) {
		seed = seed*31 + uint64(b)
	}
	return noise(seed, size)
}

// trickle gives its bytes in portions, with a pause before each.
type trickle struct {
	r     io.Reader
	pause time.Duration
}

func (r *trickle) Read(b []byte) (int, error) {
	if r.pause > 0 {
		<-time.After(r.pause)
		b = b[:min(len(b), 4096)]
	}
	return r.r.Read(b)
}

// read gets a content; a node that is away is no failure, other bytes are.
func (s *storm) read(ctx context.Context, name string, c client.Content, provider string) error {
	car, err := s.client.ContentCAR(ctx, c.CID, provider)
	if err != nil {
		if kind := client.KindOf(err); kind == client.KindNotFound {
			s.t.Errorf("%s: acknowledged as %s and not found: %v", name, c.CID, err)
		}
		return err
	}
	defer car.Close()
	got, err := unpack(s.t, car, c.CID)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, bytesOf(name, s.size(name))) {
		s.t.Errorf("%s: came back with other bytes from %q", name, car.Provider())
	}
	return nil
}

func (s *storm) size(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[name]
}

// unpack verifies a CAR of one file and returns its bytes.
func unpack(t *testing.T, car io.Reader, root string) ([]byte, error) {
	dir, err := os.MkdirTemp(t.TempDir(), "car")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	// The work of the test goes on a little after its context has ended.
	ctx := context.WithoutCancel(t.Context())
	store, err := block.Open(ctx, dir, block.Options{})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if _, err := dag.AddCAR(ctx, store, car, dag.CAROptions{}); err != nil {
		return nil, err
	}
	c, err := cid.Decode(root)
	if err != nil {
		return nil, err
	}
	f, _, err := dag.OpenFile(ctx, store, c)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// settle waits until every promise is kept on Filecoin.
func (s *storm) settle() {
	t := s.t
	t.Logf("%d uploads, %d of them acknowledged", len(s.sent), len(s.acked))
	await(t, 5*time.Minute, "everything on Filecoin", func() string {
		for b, err := range s.client.Buckets(t.Context(), client.BucketFilter{State: "open"}) {
			if err != nil {
				return err.Error()
			}
			if b.Contents > 0 {
				if _, err := s.client.CloseBucket(t.Context(), b.ID); err != nil {
					return err.Error()
				}
			}
		}
		var left []string
		for _, state := range []string{"stored", "packed"} {
			for c, err := range s.client.Contents(t.Context(), client.ContentFilter{State: state}) {
				if err != nil {
					return err.Error()
				}
				left = append(left, fmt.Sprintf("content %d in bucket %d is %s %s", c.ID, c.Bucket, c.State, c.Reason))
			}
		}
		if len(left) == 0 {
			return ""
		}
		return fmt.Sprintf("%d left, %s", len(left), left[len(left)-1])
	})
}

// judge holds what is there against what was promised.
func (s *storm) judge() {
	t := s.t
	s.judgeContents()
	s.judgeDeals()
	for name, c := range s.acked {
		provider := client.AnyProvider
		if len(name)%2 == 0 && len(s.acked) > 100 && c.ID%4 != 0 { // a long run reads every fourth from a provider
			provider = ""
		}
		if err := s.read(t.Context(), name, c, provider); err != nil {
			t.Errorf("%s: %s from %q: %v", name, c.CID, provider, err)
		}
	}
}

// judgeContents: every promise stands; what was not promised is there whole, or
// failed with a reason, or not at all.
func (s *storm) judgeContents() {
	t := s.t
	there := map[string]client.Content{}
	leased := 0
	for _, c := range all(t, s.client.Contents(t.Context(), client.ContentFilter{})) {
		if _, twice := there[c.Name]; twice {
			t.Errorf("%s is there twice", c.Name)
		}
		there[c.Name] = c
		_, promised := s.acked[c.Name]
		switch c.State {
		case "stored_on_filecoin":
			if !promised { // the promise was on its way when the process died
				s.acked[c.Name] = c
			}
		case "receiving":
			leased++ // ended by a sweep when nobody renews its lease
			fallthrough
		default:
			if promised || c.State == "failed" && c.Reason == "" {
				t.Errorf("%s: promised %v, is %s %q", c.Name, promised, c.State, c.Reason)
			}
		}
		if s.size(c.Name) != int(c.Size) && c.State == "stored_on_filecoin" {
			t.Errorf("%s: %d bytes were sent, the node says %d", c.Name, s.size(c.Name), c.Size)
		}
	}
	for name, c := range s.acked {
		if there[name].CID != c.CID {
			t.Errorf("%s: promised as %s, is %+v", name, c.CID, there[name])
		}
	}
	t.Logf("%d contents; %d uploads wait for the end of their lease", len(there), leased)
	if os.Getenv("FIRTH_TEST_KILLS") == "" {
		return
	}
	await(t, 5*time.Minute, "the end of uploads that broke off", func() string {
		left := all(t, s.client.Contents(t.Context(), client.ContentFilter{State: "receiving"}))
		if len(left) == 0 {
			return ""
		}
		return fmt.Sprintf("%d are still receiving", len(left))
	})
}

// judgeDeals: a provider has a piece once, in our books and on the chain, and
// both say the same.
func (s *storm) judgeDeals() {
	t := s.t
	pairs, ours, ended := map[string]string{}, map[string]client.Deal{}, map[string]int{}
	for _, d := range all(t, s.client.Deals(t.Context(), client.DealFilter{})) {
		switch d.State {
		case "slashed", "terminated", "expired", "rejected", "proposal_expired", "failed":
			why, _, _ := strings.Cut(d.Reason, ", ")
			ended[d.State+": "+why]++
			if d.Reason == "" {
				t.Errorf("deal %s ended as %s without a reason", d.UUID, d.State)
			}
		default:
			pair := d.PieceCID + " with " + d.Provider
			if other := pairs[pair]; other != "" {
				t.Errorf("%s twice: deals %s and %s", pair, other, d.UUID)
			}
			pairs[pair] = d.UUID
		}
		if d.DealID != 0 {
			ours[fmt.Sprint(d.DealID)] = d
		}
	}
	chainPairs := map[string]string{}
	for id, d := range s.n.deals(t) {
		pair := d.Proposal.PieceCID.String() + " with " + d.Proposal.Provider.String()
		if other := chainPairs[pair]; other != "" {
			t.Errorf("on chain: %s twice: deals %s and %s", pair, other, id)
		}
		chainPairs[pair] = id
		if o, known := ours[id]; !known || o.State != "active" && o.State != "published" ||
			!strings.HasSuffix(d.Proposal.Provider.String(), o.Provider[1:]) {
			t.Errorf("deal %s is on chain as %s, in our books (%v) as %+v", id, pair, known, o)
		}
	}
	t.Logf("%d deals in force, %d on chain, others: %v", len(pairs), len(chainPairs), ended)
}
