package mk12_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/mk12"
)

var messageTypes = []string{
	"DealParams", "DealResponse", "DealStatusRequest", "DealStatusResponse", "AskRequest", "AskResponse", "RetrievalTransports",
}

// Whatever can be decoded can be encoded, and that form is stable; whatever
// cannot is Invalid.
func FuzzDecode(f *testing.F) {
	for _, e := range exchanges(f) {
		for _, r := range []*recorded{e.Request, e.Response} {
			if r != nil {
				f.Add(r.bytes(f))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range messageTypes {
			r := &recorded{Type: name}
			m := r.message(t)
			if err := mk12.Decode(data, m); err != nil {
				if !fault.Is(err, fault.Invalid) {
					t.Fatalf("%s: %v error: %v", name, fault.KindOf(err), err)
				}
				continue
			}
			wire, err := mk12.Encode(m)
			if err != nil {
				continue // decoded, but not fit to be sent, such as a piece CID of Undef
			}
			again := r.message(t)
			if err := mk12.Decode(wire, again); err != nil {
				t.Fatalf("%s: own encoding %x: %v", name, wire, err)
			}
			if stable, err := mk12.Encode(again); err != nil || !bytes.Equal(stable, wire) {
				t.Fatalf("%s: encoded to %x, then to %x (%v)", name, wire, stable, err)
			}
			if p, ok := m.(*mk12.DealParams); ok {
				if _, err := mk12.SignedProposalCID(p.ClientDealProposal); err != nil {
					t.Fatalf("signed proposal of %x: %v", wire, err)
				}
			}
		}
	})
}

func FuzzTransferHTTP(f *testing.F) {
	for _, seed := range []string{`{"URL":"http://h/x","Headers":null}`, `{"URL":"http://h/x"}`, `{}`, `[]`, ``, `{"URL":"libp2p:///ip4/1.2.3.4","Headers":{"A":"b"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, params []byte) {
		p, err := mk12.Transfer{Type: mk12.TransferHTTP, Params: params}.HTTP()
		if err != nil && !fault.Is(err, fault.Invalid) || err == nil && p.URL == "" {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// A short message that claims long contents must not make room for them.
func TestClaimedLengthsCostNothing(t *testing.T) {
	transfer := "a1" + "68" + hex.EncodeToString([]byte("Transfer")) + "a1" + "66" + hex.EncodeToString([]byte("Params"))
	protocols := "a1" + "69" + hex.EncodeToString([]byte("Protocols"))
	claims := map[string]string{
		"params of 64 KiB":      transfer + "5a00010000",
		"params of 2 MiB":       transfer + "5a00200000",
		"params of 2^64-1":      transfer + "5bffffffffffffffff",
		"64 protocols":          protocols + "9840",
		"8192 protocols":        protocols + "992000",
		"2^64-1 protocols":      protocols + "9bffffffffffffffff",
		"map of 2^64-1":         "bbffffffffffffffff",
		"map of 2^63":           "bb8000000000000000",
		"unknown key, long":     "a161787a001f0000",
		"key of 100 KiB":        "a17a00019000",
		"tags without end":      strings.Repeat("d82a", 70_000),
		"nested without end":    strings.Repeat("81", 140_000),
		"fans out without end":  strings.Repeat("990fff", 50_000),
		"an address of 100 KiB": "a1654d696e65725a00019000",
	}
	for name, text := range claims {
		t.Run(name, func(t *testing.T) {
			data, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, typeName := range messageTypes {
				m := (&recorded{Type: typeName}).message(t)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := mk12.Read(bytes.NewReader(data), m)
				runtime.ReadMemStats(&after)
				if !fault.Is(err, fault.Invalid) {
					t.Errorf("%s: %v", typeName, err)
				}
				if cost := after.TotalAlloc - before.TotalAlloc; cost > uint64(4*len(data)+64<<10) {
					t.Errorf("%s: %d bytes were allocated for a message of %d", typeName, cost, len(data))
				}
			}
		})
	}
}

func TestReadTellsStreamFromMessage(t *testing.T) {
	wire, err := mk12.Encode(&mk12.DealResponse{Accepted: true, Message: "at high tide"})
	if err != nil {
		t.Fatal(err)
	}
	var got mk12.DealResponse
	if err := mk12.Read(iotest.OneByteReader(bytes.NewReader(wire)), &got); err != nil || got.Message != "at high tide" {
		t.Errorf("byte by byte: %+v, %v", got, err)
	}
	for n := range wire {
		if err := mk12.Read(bytes.NewReader(wire[:n]), &got); !fault.Is(err, fault.Invalid) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
		gone := io.MultiReader(bytes.NewReader(wire[:n]), iotest.ErrReader(errors.New("cable cut")))
		if err := mk12.Read(gone, &got); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "cable cut") {
			t.Errorf("broken after %d bytes: %v", n, err)
		}
	}
	if err := mk12.Decode(append(wire, 0), &got); !fault.Is(err, fault.Invalid) {
		t.Errorf("a byte too many: %v", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, m := range map[string]message{
		"no CIDs, no addresses": &mk12.DealParams{},
		"no address":            &mk12.AskRequest{},
		"no signature":          &mk12.DealStatusRequest{},
		"long text":             &mk12.DealResponse{Message: strings.Repeat("x", 8193)},
		"too many transports":   &mk12.TransportsResponse{Protocols: make([]mk12.Transport, 65)},
	} {
		if _, err := mk12.Encode(m); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
