package devnet

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/wallet"
)

// recorded is one exchange between a client and Boost's deal engine.
type recorded struct {
	Name    string
	Request struct {
		Type, Hex string
	}
	Response struct {
		Decoded struct {
			Accepted bool
			Message  string
		}
	}
}

// recordedHead, recordedTerms and recordedFunds are what the chain and the
// provider behind the recorded engine said.
const recordedHead = 6564052

func recordedStanding() standing {
	return standing{
		provider:  idAddress(1000),
		head:      recordedHead,
		bounds:    chain.CollateralBounds{Min: big.NewInt(1_000_000), Max: big.NewInt(2_000_000)},
		available: big.NewInt(99999999999750000),
		terms: Terms{
			Price: big.NewInt(500_000_000), VerifiedPrice: big.Zero(), MinPieceSize: 256, MaxPieceSize: 32 << 30,
		},
	}
}

// recordedClients resolves the clients of the recording: three keys, two of
// which have the ids f01500 and f01501.
func recordedClients(t *testing.T) *Ledger {
	l := newLedger(ledgerConfig{Head: recordedHead})
	for i, name := range []string{
		"f1ex7d2t5ps72dq3vmkf62opsv2eikz4oul2tnniy",
		"f3ulno5pj2u6ji2guhqwlykbqwcxedjtkid34cvh3crjjutnwtcb532rijrsil4nopwzkpnscmoi2ah3cpe4ca",
		"f410foo62b2rr7baigcapeh5och75fif623cyomnbnjq",
	} {
		a, err := wallet.ParseAddress(name)
		if err != nil {
			t.Fatal(err)
		}
		if id := l.AddAccount(a, big.Zero()); id != idAddress(abi.ActorID(1500+i)) {
			t.Fatalf("%s got id %s", name, id)
		}
	}
	return l
}

// testProvider answers proposals; its transfers never start.
func testProvider(l *Ledger) *provider {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return &provider{
		id: idAddress(1000), name: "f01000", ledger: l, log: slog.New(slog.DiscardHandler), ctx: ctx,
		changed: make(chan struct{}), pulling: make(chan struct{}, 1),
		deals: map[uuid.UUID]*agreement{}, proposals: map[cid.Cid]*agreement{},
	}
}

var proposedAt = regexp.MustCompile(`proposed at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC`)

// TestRecordedProposals feeds what Boost's CLI, Boost's client package and
// Singularity sent to Boost's engine, and expects the engine's answers.
func TestRecordedProposals(t *testing.T) {
	data, err := os.ReadFile("testdata/mk12/messages.json")
	if err != nil {
		t.Fatal(err)
	}
	var exchanges []recorded
	if err := json.Unmarshal(data, &exchanges); err != nil {
		t.Fatal(err)
	}
	p := testProvider(recordedClients(t))
	count := 0
	for _, x := range exchanges {
		if x.Request.Type != "DealParams" {
			continue
		}
		count++
		t.Run(x.Name, func(t *testing.T) {
			got := p.answerRecorded(t, x)
			want := mk12.DealResponse{Accepted: x.Response.Decoded.Accepted, Message: x.Response.Decoded.Message}
			want.Message = proposedAt.ReplaceAllString(want.Message, "proposed at T")
			got.Message = proposedAt.ReplaceAllString(got.Message, "proposed at T")
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
	if count != 42 {
		t.Errorf("%d proposals in the recording", count)
	}
	p.work.Wait()
}

// answerRecorded is Propose with the recording's state in place of the ledger's.
func (p *provider) answerRecorded(t *testing.T, x recorded) mk12.DealResponse {
	raw, err := hex.DecodeString(x.Request.Hex)
	if err != nil {
		t.Fatal(err)
	}
	var params mk12.DealParams
	if err := params.UnmarshalCBOR(bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock() // deals accepted before are at work
	p.faults = 0
	if x.Name == "reject-deal-filter" {
		p.faults = Reject
	}
	p.mu.Unlock()
	s := recordedStanding()
	if strings.Contains(x.Name, "verified") && !strings.Contains(x.Name, "no-datacap") {
		datacap := big.NewInt(1 << 40)
		s.datacap = &datacap
	}
	signer, _, err := p.ledger.client(params.ClientDealProposal.Proposal.Client)
	if err != nil {
		t.Fatal(err)
	}
	a, err := agree(params, signer, s)
	if err != nil {
		return mk12.DealResponse{Message: "failed validation: " + err.Error()}
	}
	if err := p.accept(a); err != nil {
		return mk12.DealResponse{Message: err.Error()}
	}
	return mk12.DealResponse{Accepted: true}
}

// TestLimits covers what the recording has no example of.
func TestLimits(t *testing.T) {
	datacap := big.NewInt(1024)
	for name, c := range map[string]struct {
		change func(*standing, *mk12.DealProposal)
		want   string
	}{
		"end too far": {func(_ *standing, p *mk12.DealProposal) {
			p.EndEpoch += 3_300_000
			p.StartEpoch += 2_000_000
		}, "invalid deal end epoch 10388451: cannot be more than 3680640 past current epoch 6564052"},
		"too large": {func(s *standing, _ *mk12.DealProposal) { s.terms.MaxPieceSize = 2048 },
			"piece size more than maximum allowed size: 4096 > 2048"},
		"little datacap": {func(s *standing, p *mk12.DealProposal) { p.VerifiedDeal, s.datacap = true, &datacap },
			"verified deal DataCap 1024 too small for proposed piece size 4096"},
		"start at the head": {func(s *standing, p *mk12.DealProposal) { s.head = p.StartEpoch }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := recordedStanding(), goodProposal(t)
			c.change(&s, &p)
			got := ""
			if err := s.check(p); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func goodProposal(t *testing.T) mk12.DealProposal {
	piece, err := cid.Decode("baga6ea4seaqo345jz3n6hzj6cpw7ajkx2k43p4hxft256i2maip7l7kzs67y4da")
	if err != nil {
		t.Fatal(err)
	}
	return mk12.DealProposal{
		PieceCID: piece, PieceSize: 4096, Client: idAddress(1500), Provider: idAddress(1000),
		StartEpoch: 6570051, EndEpoch: 7088451, StoragePricePerEpoch: big.NewInt(10000),
		ProviderCollateral: big.NewInt(1_200_000), ClientCollateral: big.Zero(),
	}
}

// TestSignatureOfAnotherKey makes sure that a good signature counts only for
// the client it is of.
func TestSignatureOfAnotherKey(t *testing.T) {
	for _, kind := range []wallet.Kind{wallet.Secp256k1, wallet.BLS} {
		key, err := wallet.Generate(kind, bytes.NewReader(bytes.Repeat([]byte{7}, 64)))
		if err != nil {
			t.Fatal(err)
		}
		other, err := wallet.Generate(kind, bytes.NewReader(bytes.Repeat([]byte{8}, 64)))
		if err != nil {
			t.Fatal(err)
		}
		p := mk12.ClientDealProposal{Proposal: goodProposal(t)}
		var signed bytes.Buffer
		if err := p.Proposal.MarshalCBOR(&signed); err != nil {
			t.Fatal(err)
		}
		if p.ClientSignature, err = key.Sign(signed.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := checkSignature(p, key.Address()); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for _, signer := range []address.Address{other.Address(), idAddress(1500)} {
			if err := checkSignature(p, signer); err == nil {
				t.Errorf("%s: signature accepted as %s's", kind, signer)
			}
		}
	}
}
