package chain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
)

type messageVector struct {
	Name          string          `json:"name"`
	Message       json.RawMessage `json:"message"`
	CBOR          string          `json:"message_cbor_hex"`
	Cid           string          `json:"message_cid"`
	SignedCBOR    string          `json:"signed_message_cbor_hex"`
	SignedCid     string          `json:"signed_message_cid"`
	SignedMessage json.RawMessage `json:"signed_message_json"`
}

func loadMessages(t testing.TB) []messageVector {
	t.Helper()
	data, err := os.ReadFile("testdata/messages.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []messageVector
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	return vectors
}

// The vectors were made by Lotus: JSON, CBOR and CID must agree both ways.
func TestMessagesAgreeWithLotus(t *testing.T) {
	for _, v := range loadMessages(t) {
		t.Run(v.Name, func(t *testing.T) {
			var m Message
			var s SignedMessage
			mustJSON(t, v.Message, &m)
			mustJSON(t, v.SignedMessage, &s)
			if got := cborHex(t, &m); got != v.CBOR {
				t.Errorf("message CBOR\n got %s\nwant %s", got, v.CBOR)
			}
			if got := cborHex(t, &s); got != v.SignedCBOR {
				t.Errorf("signed CBOR\n got %s\nwant %s", got, v.SignedCBOR)
			}
			if c, err := m.Cid(); err != nil || c.String() != v.Cid {
				t.Errorf("message CID %v %v, want %s", c, err, v.Cid)
			}
			if c, err := s.Cid(); err != nil || c.String() != v.SignedCid {
				t.Errorf("signed CID %v %v, want %s", c, err, v.SignedCid)
			}
			raw, err := hex.DecodeString(v.SignedCBOR)
			if err != nil {
				t.Fatal(err)
			}
			var back SignedMessage
			if err := back.UnmarshalCBOR(bytes.NewReader(raw)); err != nil {
				t.Fatal(err)
			}
			sameJSON(t, back, v.SignedMessage)
			sameJSON(t, back.Message, v.Message)
		})
	}
}

func TestZeroMessageEncodes(t *testing.T) {
	var m Message
	m.To, m.From = builtin.StorageMarketActorAddr, builtin.StorageMarketActorAddr
	if cborHex(t, &m) == "" {
		t.Error("nothing written")
	}
	if !m.RequiredFunds().Equals(big.Zero()) {
		t.Error("a message without gas costs something")
	}
}

// Boost decoded this block and named it as it then asked for: a CID that was
// computed by Lotus' own code from the same fields.
func TestBlockCidAgreesWithLotus(t *testing.T) {
	const want = "bafy2bzacec3pmpifbzwctx3gbev2uc6hqjmwezwopywwry37fbxxgzrv4x2ku"
	for _, e := range loadExchanges(t, "boost-engine.json") {
		if e.Request.Method != "Filecoin.ChainHead" {
			continue
		}
		var ts TipSet
		mustJSON(t, e.Response.Result, &ts)
		c, err := ts.Blocks[0].Cid()
		if err != nil {
			t.Fatal(err)
		}
		if c.String() == want {
			return
		}
	}
	t.Errorf("no head of the transcript has the CID %s", want)
}

func FuzzSignedMessage(f *testing.F) {
	for _, v := range loadMessages(f) {
		raw, err := hex.DecodeString(v.SignedCBOR)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s SignedMessage
		if s.UnmarshalCBOR(bytes.NewReader(data)) != nil {
			return
		}
		var out bytes.Buffer
		if err := s.MarshalCBOR(&out); err != nil {
			t.Fatal(err)
		}
		var again SignedMessage
		if err := again.UnmarshalCBOR(&out); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}

func TestEpochs(t *testing.T) {
	genesis := time.Unix(1598306400, 0)
	for seconds, want := range map[int]int64{0: 0, 29: 0, 30: 1, 3000: 100, -1: -1, -30: -1, -31: -2} {
		if got := EpochAt(genesis, EpochDuration, genesis.Add(time.Duration(seconds)*time.Second)); int64(got) != want {
			t.Errorf("EpochAt(genesis%+ds) = %d, want %d", seconds, got, want)
		}
	}
	if got := TimeOf(genesis, EpochDuration, 6564074).Unix(); got != 1795228620 {
		t.Errorf("TimeOf = %d", got)
	}
}

func TestDealEventRoundTrip(t *testing.T) {
	want := DealEvent{Type: DealActivated, ID: 77, Client: 1500, Provider: 1000}
	got, ok := ActorEvent{Entries: want.Entries()}.Deal()
	if !ok || got != want {
		t.Errorf("Deal() = %+v %v, want %+v", got, ok, want)
	}
	if _, ok := (ActorEvent{Entries: DealEvent{Type: "claim"}.Entries()}).Deal(); ok {
		t.Error("an event of another kind was taken for a deal's")
	}
	if _, ok := (ActorEvent{Entries: want.Entries()[:1]}).Deal(); ok {
		t.Error("an event without an id was taken for a deal's")
	}
}
