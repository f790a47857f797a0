package wallet

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// hexBytes are bytes written in hexadecimal, with or without 0x.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(bytes.TrimPrefix(text, []byte("0x"))))
	*h = b
	return err
}

func read[T any](t testing.TB, file string) T {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return out
}

func parse(t testing.TB, s string) address.Address {
	t.Helper()
	a, err := ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type keyVector struct {
	Name      string   `json:"name"`
	Kind      Kind     `json:"type"`
	Bytes     hexBytes `json:"address_bytes_hex"`
	Mainnet   string   `json:"address_mainnet"`
	Testnet   string   `json:"address_testnet"`
	Eth       hexBytes `json:"eth_address"`
	Export    string   `json:"lotus_export"`
	Private   hexBytes `json:"private_key_hex"`
	PublicKey hexBytes `json:"public_key_hex"`
}

func readKeys(t testing.TB) map[string]Key {
	t.Helper()
	out := make(map[string]Key)
	for _, v := range read[[]keyVector](t, "keys.json") {
		k, err := Import([]byte(v.Export))
		if err != nil {
			t.Fatal(err)
		}
		out[v.Mainnet] = k
	}
	return out
}

func TestKeyVectors(t *testing.T) {
	vectors := read[[]keyVector](t, "keys.json")
	if len(vectors) != 6 {
		t.Fatalf("%d keys, want 6", len(vectors))
	}
	for _, v := range vectors {
		k, err := NewKey(v.Kind, v.Private)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if k.Kind() != v.Kind || !bytes.Equal(k.Address().Bytes(), v.Bytes) || FormatAddress(k.Address()) != v.Mainnet {
			t.Errorf("%s: %s %s %x", v.Name, k.Kind(), k, k.Address().Bytes())
		}
		if string(k.Export()) != v.Export {
			t.Errorf("%s: export %s", v.Name, k.Export())
		}
		file, err := os.ReadFile("testdata/" + v.Name + ".lotus-export.txt")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Import(file); err != nil || !same(again, k) {
			t.Errorf("%s: import of the file: %v, %v", v.Name, again, err)
		}
		for _, s := range []string{v.Mainnet, v.Testnet} {
			if a := parse(t, s); a != k.Address() {
				t.Errorf("%s parsed as %s", s, FormatAddress(a))
			}
		}
		switch payload := k.Address().Payload(); v.Kind {
		case BLS:
			if !bytes.Equal(payload, v.PublicKey) {
				t.Errorf("%s: public key %x", v.Name, payload)
			}
		case Delegated:
			if !bytes.Equal(payload[1:], v.Eth) {
				t.Errorf("%s: ethereum address %x", v.Name, payload[1:])
			}
		}
	}
}

type signatureVector struct {
	Name      string         `json:"name"`
	Address   string         `json:"address"`
	Signer    string         `json:"signer"`
	Message   hexBytes       `json:"message_hex"`
	Proposal  hexBytes       `json:"proposal_cbor_hex"`
	Ask       hexBytes       `json:"ask_cbor_hex"`
	Data      hexBytes       `json:"signature_data_hex"`
	Type      crypto.SigType `json:"signature_type"`
	Verifies  bool           `json:"verifies"`
	WithType  hexBytes       `json:"signature_bytes_with_type_hex"`
	Signature hexBytes       `json:"signature_cbor_hex"`
}

func (v signatureVector) signature() crypto.Signature {
	return crypto.Signature{Type: v.Type, Data: v.Data}
}

// check verifies the recorded signature over msg, then signs with our own key:
// byte-equal where the scheme is deterministic.
func (v signatureVector) check(t *testing.T, keys map[string]Key, signer string, msg []byte) {
	t.Helper()
	addr := parse(t, signer)
	if err := Verify(v.signature(), addr, msg); err != nil {
		t.Errorf("%s: %v", v.Name, err)
	}
	sig, err := keys[signer].Sign(msg)
	if err != nil {
		t.Fatal(err)
	}
	if sig.Type != v.Type || v.Type == crypto.SigTypeBLS && !bytes.Equal(sig.Data, v.Data) {
		t.Errorf("%s: signed %d %x", v.Name, sig.Type, sig.Data)
	}
	if err := Verify(sig, addr, msg); err != nil {
		t.Errorf("%s: our own: %v", v.Name, err)
	}
	if err := Verify(sig, addr, append(bytes.Clone(msg), 0)); !fault.Is(err, fault.Forbidden) {
		t.Errorf("%s: our own over other bytes: %v", v.Name, err)
	}
}

func TestRawVectors(t *testing.T) {
	keys := readKeys(t)
	vectors := read[[]signatureVector](t, "raw.json")
	if len(vectors) != 15 {
		t.Fatalf("%d signatures, want 15", len(vectors))
	}
	for _, v := range vectors {
		v.check(t, keys, v.Signer, v.Message)
	}
}

func TestProposalVectors(t *testing.T) {
	keys := readKeys(t)
	vectors := read[[]signatureVector](t, "proposals.json")
	if len(vectors) != 5 {
		t.Fatalf("%d proposals, want 5", len(vectors))
	}
	for _, v := range vectors {
		v.check(t, keys, v.Signer, v.Proposal)
		sig := v.signature()
		var cbor bytes.Buffer
		if err := sig.MarshalCBOR(&cbor); err != nil || !bytes.Equal(cbor.Bytes(), v.Signature) {
			t.Errorf("%s: CBOR %x, %v", v.Name, cbor.Bytes(), err)
		}
		if with, err := sig.MarshalBinary(); err != nil || !bytes.Equal(with, v.WithType) {
			t.Errorf("%s: with type %x, %v", v.Name, with, err)
		}
	}
}

func TestAskVector(t *testing.T) {
	v := read[signatureVector](t, "ask.json")
	v.check(t, readKeys(t), v.Signer, v.Ask)
}

func TestNegativeVectors(t *testing.T) {
	vectors := read[[]signatureVector](t, "negatives.json")
	bad := 0
	for _, v := range vectors {
		err := Verify(v.signature(), parse(t, v.Address), v.Message)
		if v.Verifies != (err == nil) {
			t.Errorf("%s: %v", v.Name, err)
		}
		if !v.Verifies {
			bad++
			if !fault.Is(err, fault.Forbidden) && !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: kind of %v", v.Name, err)
			}
		}
	}
	if len(vectors) != 26 || bad != 23 {
		t.Errorf("%d vectors, %d bad", len(vectors), bad)
	}
}

// RFC 6979 signatures and their high-s twins: all of them verify.
func TestRFC6979Vectors(t *testing.T) {
	for _, v := range read[[]signatureVector](t, "rfc6979.json") {
		if err := Verify(v.signature(), parse(t, v.Address), v.Message); err != nil || !v.Verifies {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

func TestBoostCommandLine(t *testing.T) {
	keys := readKeys(t)
	for _, v := range read[[]struct {
		Message hexBytes `json:"message_hex"`
		Address string   `json:"address"`
		Output  hexBytes `json:"output_signature_with_type_byte_hex"`
		Export  string   `json:"export_output"`
	}](t, "boost-cli-sign.json") {
		var sig crypto.Signature
		if err := sig.UnmarshalBinary(v.Output); err != nil {
			t.Fatal(err)
		}
		if err := Verify(sig, parse(t, v.Address), v.Message); err != nil {
			t.Errorf("%s: %v", v.Address, err)
		}
		if got := string(keys[v.Address].Export()); got != v.Export {
			t.Errorf("%s: export %s", v.Address, got)
		}
	}
}

type messageVector struct {
	Name        string              `json:"name"`
	Message     chain.Message       `json:"message"`
	CBOR        hexBytes            `json:"message_cbor_hex"`
	CID         string              `json:"message_cid"`
	SignedBytes hexBytes            `json:"signed_bytes_hex"`
	Data        hexBytes            `json:"signature_data_hex"`
	Type        crypto.SigType      `json:"signature_type"`
	Signed      chain.SignedMessage `json:"signed_message_json"`
	SignedCBOR  hexBytes            `json:"signed_message_cbor_hex"`
	SignedCID   string              `json:"signed_message_cid"`
	RLPUnsigned hexBytes            `json:"eth_rlp_unsigned_hex"`
	RLPSigned   hexBytes            `json:"eth_rlp_signed_hex"`
	TxHash      hexBytes            `json:"eth_tx_hash"`
}

// mainnet is the chain id the recorded Ethereum transaction was made for.
const mainnet = 314

func TestMessageVectors(t *testing.T) {
	keys := readKeys(t)
	vectors := read[[]messageVector](t, "messages.json")
	if len(vectors) != 3 {
		t.Fatalf("%d messages, want 3", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			v.checkRecorded(t)
			sm, err := SignEthMessage(keys[FormatAddress(v.Message.From)], v.Message, mainnet)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyMessage(sm, mainnet); err != nil {
				t.Errorf("our own signature: %v", err)
			}
			if v.Type == crypto.SigTypeBLS && !bytes.Equal(sm.Signature.Data, v.Data) {
				t.Errorf("signed %s", base64.StdEncoding.EncodeToString(sm.Signature.Data))
			}
			sm.Message.Nonce++
			if err := VerifyMessage(sm, mainnet); !fault.Is(err, fault.Forbidden) {
				t.Errorf("another nonce: %v", err)
			}
		})
	}
}

func (v messageVector) checkRecorded(t *testing.T) {
	t.Helper()
	c, err := v.Message.Cid()
	if err != nil || c.String() != v.CID {
		t.Errorf("cid %s, %v", c, err)
	}
	signed, err := SigningBytes(v.Message, mainnet)
	if err != nil || !bytes.Equal(signed, v.SignedBytes) {
		t.Errorf("signing bytes %x, %v", signed, err)
	}
	if err := VerifyMessage(v.Signed, mainnet); err != nil {
		t.Error(err)
	}
	var cbor bytes.Buffer
	if err := v.Signed.MarshalCBOR(&cbor); err != nil || !bytes.Equal(cbor.Bytes(), v.SignedCBOR) {
		t.Errorf("signed CBOR %x, %v", cbor.Bytes(), err)
	}
	if c, err := v.Signed.Cid(); err != nil || c.String() != v.SignedCID {
		t.Errorf("signed cid %s, %v", c, err)
	}
	if v.RLPSigned == nil {
		return
	}
	if !bytes.Equal(signed, v.RLPUnsigned) {
		t.Errorf("unsigned transaction %x", signed)
	}
	raw, hash, err := EthTransaction(v.Signed, mainnet)
	if err != nil || !bytes.Equal(raw, v.RLPSigned) || !bytes.Equal(hash[:], v.TxHash) {
		t.Errorf("transaction %x, hash %x, %v", raw, hash, err)
	}
	if err := VerifyMessage(v.Signed, mainnet+1); !fault.Is(err, fault.Forbidden) {
		t.Errorf("on another chain: %v", err)
	}
}
