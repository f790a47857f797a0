package devnet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/ipld/go-car/v2"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/wallet"
	"github.com/firth-project/firth/devnet"
)

// TestDeal follows one deal by each wallet to its end and gets the bytes back.
func TestDeal(t *testing.T) {
	u := start(t, devnet.Config{Seed: "deal"})
	for key := range u.keys {
		data := dealCAR(t)
		o := u.offer(key, key, data).accepted()
		seen := o.until("proven", proven)
		want := []string{
			"Published/deal not found", "PublishConfirmed/deal not found",
			"AddedPiece/AddPiece", "IndexedAndAnnounced/WaitSeed", "IndexedAndAnnounced/Proving",
		}
		// How long the pull takes is not a matter of epochs.
		seen = slices.DeleteFunc(seen, func(s string) bool {
			return s == "Accepted/deal not found" || s == "Transferred/deal not found"
		})
		if !slices.Equal(seen, want) {
			t.Errorf("saw %q\nwant %q", seen, want)
		}
		if o.status.NBytesReceived != uint64(len(data)) || o.status.DealStatus.PublishCid == nil {
			t.Errorf("status %+v", o.status)
		}
		signed, err := mk12.SignedProposalCID(o.params.ClientDealProposal)
		u.must(err)
		if o.status.DealStatus.SignedProposalCid != signed {
			t.Errorf("signed proposal CID %s, want %s", o.status.DealStatus.SignedProposalCid, signed)
		}
		onChain, err := o.onChain()
		u.must(err)
		if !onChain.State.Active() || onChain.Proposal.PieceCID != o.proposal().PieceCID {
			t.Errorf("on chain: %+v", onChain)
		}
		if _, err := u.chain.SearchMsg(t.Context(), *o.status.DealStatus.PublishCid); err != nil {
			t.Errorf("publish message: %v", err)
		}
		for _, h := range u.gets {
			if h.Get("Authorization") != "Bearer t" {
				t.Error("pulled without the deal's header")
			}
		}
		o.until("complete", func(s mk12.DealStatus) bool { return s.Status == mk12.Complete && s.Error == "" && proven(s) })
		code, header, body := u.get(key, "/piece/"+o.proposal().PieceCID.String(), nil)
		if code != http.StatusOK || !bytes.Equal(body, data) || header.Get("ETag") == "" {
			t.Errorf("piece: status %d, %d bytes, %v", code, len(body), header)
		}
		u.net.Advance(700_000)
		if code, _, _ := u.get(key, "/piece/"+o.proposal().PieceCID.String(), nil); code != http.StatusNotFound {
			t.Errorf("piece after the deal's end: status %d", code)
		}
	}
}

// TestRetrieval asks in every way for a tree of files.
func TestRetrieval(t *testing.T) {
	u := start(t, devnet.Config{Providers: 2})
	content := make([]byte, 300_000)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(content)
	root, car := treeCAR(t, content)
	o := u.offer(0, 0, car).accepted()
	o.until("proven", proven)

	sum := commp.New()
	_, err := sum.Write(car)
	u.must(err)
	piece, err := sum.Sum()
	u.must(err)
	for _, c := range []cid.Cid{piece.CIDv1, piece.CIDv2, o.proposal().PieceCID} {
		code, header, body := u.get(0, "/piece/"+c.String(), map[string]string{"Range": "bytes=1000-70999"})
		if code != http.StatusPartialContent || !bytes.Equal(body, car[1000:71000]) {
			t.Errorf("range of %s: status %d, %d bytes, %s", c, code, len(body), header.Get("Content-Range"))
		}
	}
	resp, err := http.Head(u.info.Providers[0].HTTP + "/piece/" + piece.CIDv2.String())
	u.must(err)
	if resp.ContentLength != int64(len(car)) || resp.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("HEAD: %d bytes, %v", resp.ContentLength, resp.Header)
	}
	resp.Body.Close()

	for query, want := range map[string]struct {
		path           string
		blocks, leaves int
	}{
		"all":          {"", 9, 6},
		"all of a dir": {"/docs?dag-scope=all", 9, 6},
		"entity":       {"/docs/big?dag-scope=entity", 8, 5},
		"entity bytes": {"/docs/big?dag-scope=entity&entity-bytes=0:70000", 5, 2},
		"block":        {"/docs/small?dag-scope=block", 3, 1},
	} {
		code, header, body := u.get(0, "/ipfs/"+root.String()+want.path, map[string]string{"Accept": "application/vnd.ipld.car"})
		if code != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "application/vnd.ipld.car") {
			t.Errorf("%s: status %d: %.200s", query, code, body)
			continue
		}
		r, err := dag.NewCARReader(bytes.NewReader(body), dag.CAROptions{})
		u.must(err)
		blocks, leaves := 0, 0
		for {
			b, _, err := r.Next()
			if err == io.EOF {
				break
			}
			u.must(err)
			blocks++
			if b.Cid().Type() == cid.Raw {
				leaves++
			}
		}
		if blocks != want.blocks || leaves != want.leaves {
			t.Errorf("%s: %d blocks, %d of them leaves; want %d, %d", query, blocks, leaves, want.blocks, want.leaves)
		}
	}
	code, _, raw := u.get(0, "/ipfs/"+root.String()+"?format=raw", nil)
	if again, err := root.Prefix().Sum(raw); code != http.StatusOK || err != nil || again != root {
		t.Errorf("raw root: status %d, %s", code, again)
	}
	if code, _, body := u.get(0, "/ipfs/"+root.String()+"/docs/small", nil); code != http.StatusNotAcceptable {
		t.Errorf("a plain file from a trustless gateway: status %d: %s", code, body)
	}
	if code, _, body := u.get(1, "/ipfs/"+root.String()+"?format=raw", nil); code != http.StatusNotFound {
		t.Errorf("block of another provider: status %d: %s", code, body)
	}
	if code, _, _ := u.get(1, "/piece/"+piece.CIDv2.String(), nil); code != http.StatusNotFound {
		t.Errorf("piece of another provider: status %d", code)
	}
	if code, _, _ := u.get(0, "/piece/"+root.String(), nil); code != http.StatusBadRequest {
		t.Errorf("piece by a CID that is none: status %d", code)
	}
	checkRouting(u, root)
	checkTransports(u, o)
}

// checkRouting asks the indexer, at both places it is served.
func checkRouting(u *customer, root cid.Cid) {
	for _, base := range []string{u.info.RPC, u.info.Providers[1].HTTP} {
		resp, err := http.Get(base + "/routing/v1/providers/" + root.String())
		u.must(err)
		var answer struct {
			Providers []struct {
				Schema, ID       string
				Addrs, Protocols []string
			}
		}
		u.must(json.NewDecoder(resp.Body).Decode(&answer))
		resp.Body.Close()
		if len(answer.Providers) != 1 || answer.Providers[0].ID != u.info.Providers[0].PeerID ||
			!strings.HasSuffix(answer.Providers[0].Addrs[0], "/http") {
			u.Errorf("routing at %s: %+v", base, answer)
		}
	}
	if code, _, _ := u.get(0, "/routing/v1/providers/bafkqaaa", nil); code != http.StatusNotFound {
		u.Errorf("routing of what nobody has: status %d", code)
	}
}

func checkTransports(u *customer, o *offer) {
	transports, err := u.deals.Transports(u.Context(), o.to)
	u.must(err)
	if len(transports.Protocols) != 1 || transports.Protocols[0].Name != "http" {
		u.Errorf("transports: %+v", transports)
	}
}

// TestAsk verifies the signature of the ask by the worker's key.
func TestAsk(t *testing.T) {
	u := start(t, devnet.Config{Providers: 1, Terms: devnet.Terms{Price: big.NewInt(500_000_000), MaxPieceSize: 1 << 20}})
	o := u.offer(0, 0, dealCAR(t))
	ask, err := u.deals.Ask(t.Context(), o.to, o.proposal().Provider)
	u.must(err)
	if !ask.Ask.Price.Equals(big.NewInt(500_000_000)) || ask.Ask.MaxPieceSize != 1<<20 || ask.Ask.Expiry <= ask.Ask.Timestamp {
		t.Errorf("ask %+v", ask.Ask)
	}
	miner, err := u.chain.MinerInfo(t.Context(), o.proposal().Provider)
	u.must(err)
	worker, err := u.chain.AccountKey(t.Context(), miner.Worker)
	u.must(err)
	var signed bytes.Buffer
	u.must(ask.Ask.MarshalCBOR(&signed))
	u.must(wallet.Verify(*ask.Signature, worker, signed.Bytes()))
	o.proposal().StoragePricePerEpoch = big.Zero()
	if answer := o.propose(); answer.Accepted || !strings.Contains(answer.Message, "storage price per epoch less than asking price: 0 < 1907") {
		t.Errorf("answer %+v", answer)
	}
}

// TestRefusals are refusals that need a chain.
func TestRefusals(t *testing.T) {
	u := start(t, devnet.Config{Providers: 1})
	data := dealCAR(t)
	o := u.offer(0, 0, data).accepted()
	if answer := o.send(); answer.Accepted || !strings.Contains(answer.Message, "deal proposal is identical to deal "+o.params.DealUUID.String()) {
		t.Errorf("sent twice: %+v", answer)
	}
	same := u.offer(0, 1, data)
	same.params.DealUUID = o.params.DealUUID
	if answer := same.propose(); answer.Accepted || !strings.Contains(answer.Message, "deal has the same uuid as deal "+o.params.DealUUID.String()) {
		t.Errorf("same uuid: %+v", answer)
	}
	dear := u.offer(0, 0, data)
	dear.proposal().StoragePricePerEpoch = big.NewInt(1e18)
	if answer := dear.propose(); answer.Accepted || !strings.Contains(answer.Message, "client available funds in escrow 1000000000000000000000 not enough") {
		t.Errorf("more than the escrow: %+v", answer)
	}
	forged := u.offer(0, 0, data)
	forged.key = u.keys[1]
	if answer := forged.propose(); answer.Accepted || answer.Message != "failed validation: server error: validating signature" {
		t.Errorf("signed by another: %+v", answer)
	}
	stranger := u.offer(0, 0, data)
	stranger.key, _ = wallet.Generate(wallet.Secp256k1, bytes.NewReader(make([]byte, 64)))
	status, err := u.deals.Status(t.Context(), o.to, o.params.DealUUID, u.keys[1].Sign)
	u.must(err)
	if status.Error != "signature verification failed" || status.DealStatus != nil {
		t.Errorf("status for a stranger: %+v", status)
	}
	status, err = u.deals.Status(t.Context(), o.to, uuid.Nil, o.key.Sign)
	u.must(err)
	if status.Error != "no storage deal found with deal UUID "+uuid.Nil.String() {
		t.Errorf("status of no deal: %+v", status)
	}
	o.until("proven", proven)
}

// TestClientByID names the client by its f0 address, as Singularity does.
func TestClientByID(t *testing.T) {
	u := start(t, devnet.Config{Providers: 1})
	o := u.offer(0, 1, dealCAR(t))
	id, err := u.chain.LookupID(t.Context(), o.key.Address())
	u.must(err)
	o.proposal().Client = id
	o.accepted().until("proven", proven)
}

// TestBadData: what was promised is not what is served.
func TestBadData(t *testing.T) {
	u := start(t, devnet.Config{Providers: 1, Home: t.TempDir()})
	good := dealCAR(t)
	wrong := bytes.Clone(good)
	wrong[len(wrong)-1] ^= 1
	text := []byte(strings.Repeat("this is no CAR. ", 200))
	for name, c := range map[string]struct {
		offered, served []byte
		size            uint64
		want            string
	}{
		"other bytes":  {good, wrong, 0, ": commp mismatch"},
		"not a CAR":    {text, text, 0, "failed to verify CommP: failed to generate CommP: performing local commp: failed to get CARv2 reader: "},
		"broken CAR":   {wrong, wrong, 0, "failed to verify CommP: generating index: CAR section "},
		"other length": {good, good[:100], 0, "data-transfer failed: deal size mismatch: head: 100, dealInfo: 3097"},
		"size zero":    {good, good, 1, "data-transfer failed: deal size mismatch: head: 3097, dealInfo: 1"},
		"too long":     {good, good, 1 << 30, "data-transfer failed: deal size 1073741824 is more than the 1054672 bytes the file of a piece of size 4096 can have"},
	} {
		t.Run(name, func(t *testing.T) {
			o := u.offer(0, 0, c.offered)
			o.proposal().EndEpoch += abi.ChainEpoch(len(name)) // not the same proposal twice
			u.mu.Lock()
			u.serve["/"+o.params.DealUUID.String()+".car"] = c.served
			u.mu.Unlock()
			if c.size != 0 {
				o.params.Transfer.Size = c.size
			}
			o.accepted().until("failed", failed)
			if s := o.status.DealStatus; !strings.Contains(s.Error, c.want) || s.Status != mk12.Complete || s.PublishCid != nil {
				t.Errorf("status %s, error %q\nwant %q", s.Status, s.Error, c.want)
			}
		})
	}
}

// TestOfflineDeal waits for its data, refuses wrong ones, takes the right.
func TestOfflineDeal(t *testing.T) {
	u := start(t, devnet.Config{Providers: 1})
	data := dealCAR(t)
	o := u.offer(0, 0, data)
	o.params.IsOffline, o.params.Transfer = true, mk12.Transfer{}
	o.accepted()
	u.net.Advance(10)
	if s := o.ask(); s.Status != mk12.Accepted || !o.status.IsOffline {
		t.Errorf("before the import: %+v", o.status)
	}
	provider, wrong := u.info.Providers[0].ID, bytes.Replace(data, []byte{0}, []byte{1}, 1)
	give := func(id uuid.UUID, data []byte) error {
		return u.net.Import(t.Context(), provider, id, bytes.NewReader(data))
	}
	if err := give(o.params.DealUUID, make([]byte, 2<<20)); !fault.Is(err, fault.Invalid) {
		t.Errorf("import of more than the piece: %v", err)
	}
	if err := give(o.params.DealUUID, wrong); !fault.Is(err, fault.Invalid) {
		t.Errorf("import of wrong data: %v", err)
	}
	u.must(give(o.params.DealUUID, data))
	if err := give(o.params.DealUUID, data); !fault.Is(err, fault.Conflict) {
		t.Errorf("import twice: %v", err)
	}
	if err := give(uuid.New(), data); !fault.Is(err, fault.NotFound) {
		t.Errorf("import for no deal: %v", err)
	}
	o.until("proven", proven)
}

// TestManyDeals makes deals of two clients with five providers at once; what
// is verified in the same epoch shares a message, and the same piece is kept once.
func TestManyDeals(t *testing.T) {
	home := t.TempDir()
	u := start(t, devnet.Config{Providers: 5, Home: home})
	var offers []*offer
	for i := range 20 {
		o := u.offer(i%5, i%2, dealCAR(t))
		o.proposal().EndEpoch += abi.ChainEpoch(i)
		offers = append(offers, o)
	}
	var answers sync.WaitGroup
	for _, o := range offers {
		answers.Go(func() {
			if answer := o.propose(); !answer.Accepted {
				t.Error(answer.Message)
			}
		})
	}
	answers.Wait()
	ids := map[abi.DealID]bool{}
	for _, o := range offers {
		o.until("proven", proven)
		deal, err := o.onChain()
		if err != nil || !deal.State.Active() {
			t.Errorf("on chain: %+v, %v", deal, err)
		}
		if deal.Proposal.EndEpoch != o.proposal().EndEpoch {
			t.Errorf("deal %d is another's", o.status.DealStatus.ChainDealID)
		}
		ids[o.status.DealStatus.ChainDealID] = true
	}
	if len(ids) != len(offers) {
		t.Errorf("%d deals have %d ids", len(offers), len(ids))
	}
	kept, err := filepath.Glob(filepath.Join(home, "devnet", "f0*", "pieces", "*"))
	u.must(err)
	staged, err := filepath.Glob(filepath.Join(home, "devnet", "f0*", "staging", "*"))
	u.must(err)
	if len(kept) != 5 || len(staged) != 0 {
		t.Errorf("kept %d files, staged %d", len(kept), len(staged))
	}
}

// TestSeed: two networks of one seed differ in ports alone.
func TestSeed(t *testing.T) {
	plain := func(seed string) (names []string) {
		info := start(t, devnet.Config{Seed: seed, Providers: 3}).info
		for _, p := range info.Providers {
			names = append(names, p.ID, p.PeerID)
		}
		for _, w := range info.Wallets {
			names = append(names, w.Address, w.Key)
		}
		return names
	}
	a, b, c := plain("a"), plain("a"), plain("b")
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Errorf("%q\n%q\n%q", a, b, c)
	}
	if a[0] != "f01000" || a[2] != "f01001" || a[4] != "f01002" {
		t.Errorf("provider ids %q", a)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []devnet.Config{
		{Providers: -1}, {Providers: 101}, {Providers: 2, Faults: map[int]devnet.Fault{3: devnet.Lie}},
	} {
		if n, err := devnet.Start(t.Context(), c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", c, err)
			n.Close()
		}
	}
	if _, err := devnet.Start(t.Context(), devnet.Config{RPC: "256.0.0.1:1"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("listening nowhere: %v", err)
	}
}

// TestCARv2 delivers a piece wrapped in a CARv2, index and all: the CARv1 inside
// is the piece and is what comes back.
func TestCARv2(t *testing.T) {
	u := start(t, devnet.Config{Providers: 1})
	var wrapped bytes.Buffer
	u.must(car.WrapV1(bytes.NewReader(dealCAR(t)), &wrapped))
	o := u.offer(0, 0, dealCAR(t))
	o.params.Transfer.Size = uint64(wrapped.Len())
	u.mu.Lock()
	u.serve["/"+o.params.DealUUID.String()+".car"] = wrapped.Bytes()
	u.mu.Unlock()
	o.accepted().until("proven", proven)
	if _, _, body := u.get(0, "/piece/"+o.proposal().PieceCID.String(), nil); !bytes.Equal(body, dealCAR(t)) {
		t.Errorf("%d bytes came back", len(body))
	}
	if code, _, body := u.get(0, "/ipfs/bafkreihw6tfsvzkbhjsfn5yp3eb6xdhebnzhzsx2priqgiz7vmq4eqbwiu?format=car", nil); code != http.StatusOK || readCAR(body) != nil {
		t.Errorf("blocks: status %d, %v", code, readCAR(body))
	}
}

// TestWishes are the two booleans of mk1.2.1: no announcement, no copy to serve.
func TestWishes(t *testing.T) {
	u := start(t, devnet.Config{Providers: 1})
	o := u.offer(0, 0, dealCAR(t))
	o.params.SkipIPNIAnnounce, o.params.RemoveUnsealedCopy = true, true
	o.accepted().until("in a sector", func(s mk12.DealStatus) bool { return s.Status == mk12.AddedPiece })
	piece := o.proposal().PieceCID.String()
	if code, _, _ := u.get(0, "/routing/v1/providers/"+piece, nil); code != http.StatusNotFound {
		t.Errorf("announced: status %d", code)
	}
	if code, _, _ := u.get(0, "/piece/"+piece, nil); code != http.StatusOK {
		t.Errorf("before sealing: status %d", code)
	}
	o.until("proven", proven)
	if code, _, _ := u.get(0, "/piece/"+piece, nil); code != http.StatusNotFound {
		t.Errorf("after sealing: status %d", code)
	}
}

// TestBadDealInBatch: of two proposals that differ in their signatures alone
// the chain takes one, and the others of the message are none the worse.
func TestBadDealInBatch(t *testing.T) {
	u := start(t, devnet.Config{Providers: 1, Faults: map[int]devnet.Fault{1: devnet.NeverPublish}})
	a, twin, other := u.offer(0, 0, dealCAR(t)), u.offer(0, 0, dealCAR(t)), u.offer(0, 1, dealCAR(t))
	*twin.proposal() = *a.proposal()
	for _, o := range []*offer{a, twin, other} {
		o.accepted().until("transferred", func(s mk12.DealStatus) bool { return s.Status == mk12.Transferred })
	}
	u.set(0)
	other.until("proven", proven)
	a.until("proven", proven)
	twin.until("failed", failed)
	if s := twin.status.DealStatus; !strings.HasPrefix(s.Error, "recoverable error to publish deal "+twin.params.DealUUID.String()) {
		t.Errorf("error %q", s.Error)
	}
	if code, _, _ := u.get(0, "/piece/"+a.proposal().PieceCID.String(), nil); code != http.StatusOK {
		t.Errorf("piece of the deals that stand: status %d", code)
	}
}

// TestControl does over HTTP what another process would.
func TestControl(t *testing.T) {
	u := start(t, devnet.Config{Providers: 1})
	post := func(path, header string, body []byte) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u.info.RPC+"/devnet/"+path, bytes.NewReader(body))
		u.must(err)
		if header != "" {
			req.Header.Set(header, "1")
		}
		resp, err := http.DefaultClient.Do(req)
		u.must(err)
		resp.Body.Close()
		return resp.StatusCode
	}
	o := u.offer(0, 0, dealCAR(t))
	o.params.IsOffline, o.params.Transfer = true, mk12.Transfer{}
	before, err := u.chain.Head(t.Context())
	u.must(err)
	const header = "X-Firth-Devnet"
	for _, c := range []struct {
		path, header string
		want         int
	}{
		{"advance?epochs=7", "", http.StatusForbidden},
		{"advance?epochs=7", header, http.StatusNoContent},
		{"advance?epochs=-7", header, http.StatusBadRequest},
		{"fault?provider=f01000&fault=nonsense", header, http.StatusBadRequest},
		{"fault?provider=f01005&fault=lie", header, http.StatusNotFound},
		{"fault?provider=f01000&fault=reject%2Blie", header, http.StatusNoContent},
		{"import?provider=f01000&deal=x", header, http.StatusBadRequest},
	} {
		if got := post(c.path, c.header, nil); got != c.want {
			t.Errorf("%s: status %d, want %d", c.path, got, c.want)
		}
	}
	after, err := u.chain.Head(t.Context())
	u.must(err)
	if after.Height != before.Height+7 {
		t.Errorf("from %d to %d", before.Height, after.Height)
	}
	if answer := o.propose(); answer.Accepted {
		t.Error("accepted despite the fault")
	}
	u.set(0)
	o.accepted()
	if got := post("import?provider=f01000&deal="+o.params.DealUUID.String(), header, dealCAR(t)); got != http.StatusNoContent {
		t.Errorf("import: status %d", got)
	}
	o.until("proven", proven)
	resp, err := http.Get(u.info.RPC + "/devnet/info")
	u.must(err)
	defer resp.Body.Close()
	var info devnet.Info
	u.must(json.NewDecoder(resp.Body).Decode(&info))
	if info.RPC != u.info.RPC || len(info.Providers) != 1 || len(info.Wallets) != 2 {
		t.Errorf("info %+v", info)
	}
}

// TestRunningClock lets the chain move by itself.
func TestRunningClock(t *testing.T) {
	n, err := devnet.Start(t.Context(), devnet.Config{Providers: 1, Epoch: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c, err := chain.Dial(t.Context(), n.Info().RPC, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	seen := 0
	for _, err := range c.Follow(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 5 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}
