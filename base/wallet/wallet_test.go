package wallet

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/crypto"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

var kinds = [...]Kind{Secp256k1, BLS, Delegated}

func generate(t testing.TB, kind Kind) Key {
	t.Helper()
	k, err := Generate(kind, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// same compares what a key signs with, which == does not.
func same(a, b Key) bool {
	return a.addr == b.addr && a.kind == b.kind && bytes.Equal(a.Export(), b.Export())
}

func TestGenerate(t *testing.T) {
	for _, kind := range kinds {
		k := generate(t, kind)
		again, err := Import(k.Export())
		if err != nil || !same(again, k) {
			t.Errorf("%s: export does not come back: %v", kind, err)
		}
		seed := bytes.Repeat([]byte{7}, 64)
		a, errA := Generate(kind, bytes.NewReader(seed))
		b, errB := Generate(kind, bytes.NewReader(seed))
		if errA != nil || errB != nil || !same(a, b) || same(a, k) {
			t.Errorf("%s: the same randomness gave %s and %s, %v, %v", kind, a, b, errA, errB)
		}
		if _, err := Generate(kind, iotest.ErrReader(io.ErrNoProgress)); err == nil {
			t.Errorf("%s: broken randomness made a key", kind)
		}
	}
	if _, err := Generate(Secp256k1, bytes.NewReader(make([]byte, 1024))); !fault.Is(err, fault.Internal) {
		t.Errorf("zero randomness: %v", err)
	}
	if _, err := Generate("ed25519", rand.Reader); !fault.Is(err, fault.Invalid) {
		t.Errorf("unknown kind: %v", err)
	}
}

// Zero, the order of the group and anything above it are no keys.
func TestNewKeyRefuses(t *testing.T) {
	const (
		secpOrder = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
		blsOrder  = "01000000fffffffffe5bfeff02a4bd5305d8a10908d83933487d9d2953a7ed73" // little-endian
	)
	top := strings.Repeat("ff", 32)
	zero := strings.Repeat("00", 32)
	for kind, privates := range map[Kind][]string{
		Secp256k1: {zero, secpOrder, top, "", zero[:62], top + "ff"},
		Delegated: {zero, secpOrder, top, ""},
		BLS:       {zero, blsOrder, top, ""},
		"":        {top},
		"bls ":    {"01" + zero[2:]},
	} {
		for _, p := range privates {
			private, err := hex.DecodeString(p)
			if err != nil {
				t.Fatal(err)
			}
			if k, err := NewKey(kind, private); !fault.Is(err, fault.Invalid) || k != (Key{}) {
				t.Errorf("%s %s: %v", kind, p, err)
			}
		}
	}
}

func TestZeroKeySignsNothing(t *testing.T) {
	if _, err := (Key{}).Sign([]byte("x")); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestKeyDoesNotLeak(t *testing.T) {
	for _, kind := range kinds {
		k := generate(t, kind)
		addr := FormatAddress(k.Address())
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(verb, k); got != addr {
				t.Errorf("%s prints %s", verb, got)
			}
			for _, holder := range []any{[]Key{k}, struct{ k Key }{k}, &struct{ k *Key }{&k}, Keystore{keys: map[address.Address]Key{k.addr: k}}} {
				got := fmt.Sprintf(verb, holder)
				for _, secret := range []string{fmt.Sprintf(verb, *k.secret), fmt.Sprintf(verb, k.secret[:]), string(k.secret[:])} {
					if strings.Contains(got, secret) {
						t.Errorf("%s of %T leaks", verb, holder)
					}
				}
			}
		}
		if text, err := json.Marshal(k); err != nil || string(text) != `"`+addr+`"` {
			t.Errorf("JSON %s, %v", text, err)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	asHex := func(s string) []byte { return hex.AppendEncode(nil, []byte(s)) }
	secret := "c2VjcmV0"
	for name, in := range map[string][]byte{
		"nothing":     nil,
		"white space": []byte(" \n"),
		"no hex":      []byte("zz" + secret),
		"odd hex":     []byte("abc"),
		"no JSON":     asHex(secret),
		"no key":      asHex(`{"Type":"bls"}`),
		"no type":     asHex(`{"PrivateKey":"` + secret + `"}`),
		"short key":   asHex(`{"Type":"bls","PrivateKey":"` + secret + `"}`),
		"number":      asHex(`{"Type":1,"PrivateKey":"` + secret + `"}`),
		"too long":    bytes.Repeat([]byte("a"), maxExport+2),
		"two objects": asHex(`{"Type":"bls"}{"Type":"bls"}`),
	} {
		_, err := Import(in)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds the input: %v", name, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	actor, err := address.NewActorAddress([]byte("actor"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"f00", "f01000", FormatAddress(actor)} {
		a, err := ParseAddress(s)
		if err != nil || FormatAddress(a) != s {
			t.Errorf("%s became %s, %v", s, FormatAddress(a), err)
		}
		if b, err := ParseAddress("t" + s[1:]); err != nil || b != a {
			t.Errorf("t%s: %v, %v", s[1:], b, err)
		}
	}
	for _, s := range []string{"", "<empty>", "f", "f1", "x01000", "f0x", "f5abc", "f1ex7d2t5ps72dq3vmkf62opsv2eikz4oul2tnniz", strings.Repeat("f1", 200)} {
		if a, err := ParseAddress(s); !fault.Is(err, fault.Invalid) || a != address.Undef {
			t.Errorf("%.30q: %v, %v", s, a, err)
		}
	}
	if got := FormatAddress(address.Undef); got != "" {
		t.Errorf("undefined address prints %q", got)
	}
}

// A signature must not verify for another kind of key over the same bytes.
func TestKindsDoNotMix(t *testing.T) {
	msg := []byte("firth")
	for _, kind := range kinds {
		sig, err := generate(t, kind).Sign(msg)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range kinds {
			for _, claimed := range []crypto.SigType{crypto.SigTypeSecp256k1, crypto.SigTypeBLS, crypto.SigTypeDelegated} {
				sig.Type = claimed
				if err := Verify(sig, generate(t, other).Address(), msg); !fault.Is(err, fault.Forbidden) {
					t.Errorf("%s signature as type %d for %s: %v", kind, claimed, other, err)
				}
			}
		}
	}
	if err := Verify(crypto.Signature{Type: crypto.SigTypeBLS}, address.Undef, msg); !fault.Is(err, fault.Invalid) {
		t.Errorf("no address: %v", err)
	}
}

func message(from address.Address) chain.Message {
	return chain.Message{
		To: builtin.StorageMarketActorAddr, From: from, Method: 2,
		Value: abi.NewTokenAmount(1), GasFeeCap: abi.NewTokenAmount(2), GasPremium: abi.NewTokenAmount(1),
	}
}

func TestSignMessage(t *testing.T) {
	for _, kind := range kinds {
		k := generate(t, kind)
		sm, err := SignMessage(k, message(k.Address()))
		if kind == Delegated {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("delegated without a chain id: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyMessage(sm, 0); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := SignMessage(generate(t, kind), sm.Message); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: another key signed: %v", kind, err)
		}
	}
}

func TestEthForms(t *testing.T) {
	k := generate(t, Delegated)
	call := func(change func(m *chain.Message)) chain.Message {
		m := message(k.Address())
		m.To, m.Method = k.Address(), builtin.MethodsEVM.InvokeContract
		change(&m)
		return m
	}
	for name, change := range map[string]func(m *chain.Message){
		"transfer":    func(*chain.Message) {},
		"id receiver": func(m *chain.Message) { m.To = builtin.StorageMarketActorAddr },
		"call data":   func(m *chain.Message) { m.Params = []byte{0x43, 1, 2, 3} },
		"creation": func(m *chain.Message) {
			m.To, m.Method = builtin.EthereumAddressManagerActorAddr, builtin.MethodsEAM.CreateExternal
			m.Params = []byte{0x41, 0x60}
		},
	} {
		sm, err := SignEthMessage(k, call(change), mainnet)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := VerifyMessage(sm, mainnet); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := EthTransaction(sm, mainnet); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(m *chain.Message){
		"plain send":       func(m *chain.Message) { m.Method = 0 },
		"to f1":            func(m *chain.Message) { m.To = generate(t, Secp256k1).Address() },
		"version":          func(m *chain.Message) { m.Version = 1 },
		"negative gas":     func(m *chain.Message) { m.GasLimit = -1 },
		"negative value":   func(m *chain.Message) { m.Value = big.NewInt(-1) },
		"no value":         func(m *chain.Message) { m.Value = big.Int{} },
		"params no bytes":  func(m *chain.Message) { m.Params = []byte{0x01} },
		"params too short": func(m *chain.Message) { m.Params = []byte{0x5a, 0xff, 0xff, 0xff, 0xff} },
		"params trailing":  func(m *chain.Message) { m.Params = []byte{0x41, 1, 2} },
	} {
		if _, err := SignEthMessage(k, call(change), mainnet); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := EthTransaction(chain.SignedMessage{Message: call(func(*chain.Message) {})}, mainnet); !fault.Is(err, fault.Invalid) {
		t.Errorf("no signature: %v", err)
	}
}

func FuzzImport(f *testing.F) {
	for _, v := range read[[]keyVector](f, "keys.json") {
		f.Add([]byte(v.Export + "\n"))
	}
	f.Add([]byte("7b7d"))
	f.Fuzz(func(t *testing.T, in []byte) {
		k, err := Import(in)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		if again, err := Import(k.Export()); err != nil || !same(again, k) {
			t.Fatalf("does not come back: %v", err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	for _, v := range read[[]signatureVector](f, "negatives.json") {
		f.Add(byte(v.Type), []byte(v.Data), []byte(parse(f, v.Address).Bytes()), []byte(v.Message))
	}
	f.Fuzz(func(t *testing.T, kind byte, data, addr, msg []byte) {
		a, err := address.NewFromBytes(addr)
		if err != nil {
			return
		}
		err = Verify(crypto.Signature{Type: crypto.SigType(kind), Data: data}, a, msg)
		if err != nil && !fault.Is(err, fault.Forbidden) && !fault.Is(err, fault.Invalid) {
			t.Fatal(err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, v := range read[[]keyVector](f, "keys.json") {
		f.Add(v.Mainnet)
		f.Add(v.Testnet)
	}
	f.Add("f01000")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if b, err := ParseAddress(FormatAddress(a)); err != nil || b != a {
			t.Fatalf("%q became %q, %v", s, FormatAddress(a), err)
		}
	})
}
