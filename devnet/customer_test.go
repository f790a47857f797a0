package devnet_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v9/market"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/p2p"
	"github.com/firth-project/firth/base/wallet"
	"github.com/firth-project/firth/devnet"
)

// customer is a client of the network as any other would be: what it knows it
// has from Info, from the chain's RPC and over libp2p.
type customer struct {
	*testing.T
	net   *devnet.Network
	info  devnet.Info
	chain *chain.Client
	deals *mk12.Client
	keys  []wallet.Key
	files string // base URL of the piece server
	mu    sync.Mutex
	serve map[string][]byte
	gets  []http.Header
}

// start starts a network whose chain moves by Advance alone.
func start(t *testing.T, c devnet.Config) *customer {
	c.Epoch = -1
	if c.Home == "" {
		c.Home = t.TempDir()
	}
	n, err := devnet.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	u := &customer{T: t, net: n, info: n.Info(), serve: map[string][]byte{}}
	host, err := p2p.New(p2p.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	u.deals = mk12.NewClient(host)
	if u.chain, err = chain.Dial(t.Context(), u.info.RPC, "", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.chain.Close)
	for _, w := range u.info.Wallets {
		key, err := wallet.Import([]byte(w.Key + "\n"))
		if err != nil || wallet.FormatAddress(key.Address()) != w.Address {
			t.Fatalf("wallet %s: %v", w.Address, err)
		}
		u.keys = append(u.keys, key)
	}
	files := httptest.NewServer(http.HandlerFunc(u.serveFile))
	t.Cleanup(files.Close)
	u.files = files.URL
	return u
}

func (u *customer) serveFile(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	data, ok := u.serve[r.URL.Path]
	u.gets = append(u.gets, r.Header.Clone())
	u.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (u *customer) must(err error) {
	u.Helper()
	if err != nil {
		u.Fatal(err)
	}
}

// offer is a deal that can be changed before it is proposed.
type offer struct {
	u      *customer
	key    wallet.Key
	to     peer.AddrInfo
	params mk12.DealParams
	status mk12.DealStatusResponse // the last seen
}

// offer makes a good offer to the i-th provider about data.
func (u *customer) offer(i, key int, data []byte) *offer {
	u.Helper()
	o := &offer{u: u, key: u.keys[key], params: mk12.DealParams{DealUUID: uuid.New()}}
	provider, err := wallet.ParseAddress(u.info.Providers[i].ID)
	u.must(err)
	miner, err := u.chain.MinerInfo(u.Context(), provider)
	u.must(err)
	o.to, err = miner.AddrInfo()
	u.must(err)
	head, err := u.chain.Head(u.Context())
	u.must(err)
	sum := commp.New()
	_, err = sum.Write(data)
	u.must(err)
	piece, err := sum.SumPadded(max(256, commp.PaddedSize(uint64(len(data)))))
	u.must(err)
	size := abi.PaddedPieceSize(piece.PaddedSize)
	bounds, err := u.chain.CollateralBounds(u.Context(), size, false)
	u.must(err)
	label, err := market.NewLabelFromString("a label")
	u.must(err)
	o.params.DealDataRoot = piece.CIDv1
	o.params.ClientDealProposal.Proposal = mk12.DealProposal{
		PieceCID: piece.CIDv1, PieceSize: size, Client: o.key.Address(), Provider: provider, Label: label,
		StartEpoch: head.Height + 100_000, EndEpoch: head.Height + 100_000 + 518400,
		StoragePricePerEpoch: big.NewInt(1000), ClientCollateral: big.Zero(),
		ProviderCollateral: big.Div(big.Mul(bounds.Min, big.NewInt(6)), big.NewInt(5)),
	}
	path := "/" + o.params.DealUUID.String() + ".car"
	u.mu.Lock()
	u.serve[path] = data
	u.mu.Unlock()
	o.params.Transfer, err = mk12.HTTPTransfer(u.files+path, map[string]string{"Authorization": "Bearer t"}, uint64(len(data)))
	u.must(err)
	return o
}

func (o *offer) proposal() *mk12.DealProposal { return &o.params.ClientDealProposal.Proposal }

// propose signs and sends.
func (o *offer) propose() mk12.DealResponse {
	o.u.Helper()
	var signed bytes.Buffer
	o.u.must(o.proposal().MarshalCBOR(&signed))
	var err error
	o.params.ClientDealProposal.ClientSignature, err = o.key.Sign(signed.Bytes())
	o.u.must(err)
	return o.send()
}

func (o *offer) send() mk12.DealResponse {
	o.u.Helper()
	answer, err := o.u.deals.Propose(o.u.Context(), o.to, o.params)
	o.u.must(err)
	return answer
}

// accepted proposes and expects a yes.
func (o *offer) accepted() *offer {
	o.u.Helper()
	if answer := o.propose(); !answer.Accepted {
		o.u.Fatalf("refused: %s", answer.Message)
	}
	return o
}

func (o *offer) ask() mk12.DealStatus {
	o.u.Helper()
	var err error
	o.status, err = o.u.deals.Status(o.u.Context(), o.to, o.params.DealUUID,
		func(b []byte) (crypto.Signature, error) { return o.key.Sign(b) })
	o.u.must(err)
	if o.status.Error != "" || o.status.DealStatus == nil {
		o.u.Fatalf("status: %s", o.status.Error)
	}
	return *o.status.DealStatus
}

// until asks again and again, an epoch apart, and returns every different
// "checkpoint/sealing" it saw.
func (o *offer) until(what string, done func(mk12.DealStatus) bool) (seen []string) {
	o.u.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; {
		s := o.ask()
		if state := string(s.Status) + "/" + s.SealingStatus; len(seen) == 0 || seen[len(seen)-1] != state {
			seen = append(seen, state)
		}
		if done(s) {
			return seen
		}
		if time.Now().After(deadline) {
			o.u.Fatalf("deal is never %s: saw %s, error %q", what, strings.Join(seen, " "), s.Error)
		}
		o.u.net.Advance(1)
	}
}

func proven(s mk12.DealStatus) bool { return s.SealingStatus == "Proving" }
func failed(s mk12.DealStatus) bool { return s.Error != "" }

// onChain returns what the chain says about the deal.
func (o *offer) onChain() (chain.MarketDeal, error) {
	return o.u.chain.MarketDeal(o.u.Context(), o.status.DealStatus.ChainDealID)
}

// get asks a provider's HTTP server.
func (u *customer) get(i int, path string, header map[string]string) (int, http.Header, []byte) {
	u.Helper()
	req, err := http.NewRequestWithContext(u.Context(), http.MethodGet, u.info.Providers[i].HTTP+path, nil)
	u.must(err)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	u.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	u.must(err)
	return resp.StatusCode, resp.Header, body
}

func dealCAR(t *testing.T) []byte {
	data, err := os.ReadFile("testdata/mk12/deal.car")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// memory keeps blocks in the order they came.
type memory struct {
	order  []blocks.Block
	byHash map[string]blocks.Block
}

func (m *memory) PutMany(_ context.Context, bs []blocks.Block) error {
	if m.byHash == nil {
		m.byHash = map[string]blocks.Block{}
	}
	for _, b := range bs {
		m.byHash[string(b.Cid().Hash())] = b
		m.order = append(m.order, b)
	}
	return nil
}

func (m *memory) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	b, ok := m.byHash[string(c.Hash())]
	if !ok {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	return b, nil
}

// treeCAR makes the CAR of a directory: docs/big, of the given content in
// several blocks, and docs/small.
func treeCAR(t *testing.T, content []byte) (root cid.Cid, car []byte) {
	var m memory
	profile, err := dag.ProfileNamed("")
	if err != nil {
		t.Fatal(err)
	}
	profile.ChunkSize = 64 << 10
	tree := dag.NewTree(&m, profile)
	for path, data := range map[string][]byte{"docs/big": content, "docs/small": []byte("small")} {
		if _, err := tree.AddFile(t.Context(), path, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	entry, err := tree.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = dag.WriteCAR(t.Context(), &out, []cid.Cid{entry.Cid}, func(yield func(blocks.Block, error) bool) {
		for _, b := range m.order {
			if !yield(b, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return entry.Cid, out.Bytes()
}
