package mk12_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	ma "github.com/multiformats/go-multiaddr"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/firth-project/firth/base/mk12"
)

// exchange is one recorded conversation with Boost 2.5.2's deal engine.
type exchange struct {
	Name     string
	Protocol string
	Request  *recorded
	Response *recorded
}

type recorded struct {
	Type    string
	Hex     string
	Decoded any
}

type message interface {
	cbg.CBORMarshaler
	cbg.CBORUnmarshaler
}

// fiveKeys is the one request without the two keys that 1.2.1 added.
const fiveKeys = "propose-f1-http-1.2.0-fivekeys"

func load(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func exchanges(t testing.TB) []exchange {
	t.Helper()
	var all []exchange
	load(t, "messages.json", &all)
	if len(all) != 62 {
		t.Fatalf("%d exchanges, want 62", len(all))
	}
	return all
}

func (r *recorded) bytes(t testing.TB) []byte {
	t.Helper()
	data, err := hex.DecodeString(r.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (r *recorded) message(t testing.TB) message {
	t.Helper()
	switch r.Type {
	case "DealParams":
		return new(mk12.DealParams)
	case "DealResponse":
		return new(mk12.DealResponse)
	case "DealStatusRequest":
		return new(mk12.DealStatusRequest)
	case "DealStatusResponse":
		return new(mk12.DealStatusResponse)
	case "AskRequest":
		return new(mk12.AskRequest)
	case "AskResponse":
		return new(mk12.AskResponse)
	case "RetrievalTransports":
		return new(mk12.TransportsResponse)
	}
	t.Fatalf("unknown message type %s", r.Type)
	return nil
}

func TestRecordedMessages(t *testing.T) {
	count := 0
	for _, e := range exchanges(t) {
		for direction, r := range map[string]*recorded{"request": e.Request, "response": e.Response} {
			if r == nil {
				continue
			}
			count++
			t.Run(e.Name+"/"+direction, func(t *testing.T) { checkRecorded(t, e.Name, r) })
		}
	}
	if count != 123 {
		t.Errorf("%d messages, want 123", count)
	}
}

func checkRecorded(t *testing.T, name string, r *recorded) {
	wire, m := r.bytes(t), r.message(t)
	if err := mk12.Decode(wire, m); err != nil {
		t.Fatal(err)
	}
	decoded := r.Decoded
	if name == fiveKeys && r.Type == "DealParams" {
		fields := decoded.(map[string]any)
		fields["RemoveUnsealedCopy"], fields["SkipIPNIAnnounce"] = false, false
	}
	if got := roundTrip(t, view(t, m)); !reflect.DeepEqual(got, decoded) {
		t.Errorf("decoded to\n%v\nwant\n%v", got, decoded)
	}
	again, err := mk12.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if name == fiveKeys && r.Type == "DealParams" {
		if len(again) <= len(wire) {
			t.Errorf("the five-key form must gain two keys")
		}
		return
	}
	if !bytes.Equal(again, wire) {
		t.Errorf("encoded to\n%x\nwant\n%x", again, wire)
	}
	streamed := r.message(t)
	if err := mk12.Read(bytes.NewReader(append(wire, "more"...)), streamed); err != nil || !reflect.DeepEqual(streamed, m) {
		t.Errorf("read from a stream that goes on: %v", err)
	}
}

// roundTrip turns a view into what encoding/json would have read.
func roundTrip(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

type fields map[string]any

// view writes a message as the recordings' "decoded" does.
func view(t *testing.T, m any) any {
	switch m := m.(type) {
	case *mk12.DealParams:
		return fields{
			"DealUUID": m.DealUUID, "IsOffline": m.IsOffline, "DealDataRoot": m.DealDataRoot.String(),
			"SkipIPNIAnnounce": m.SkipIPNIAnnounce, "RemoveUnsealedCopy": m.RemoveUnsealedCopy,
			"Transfer": fields{
				"Type": m.Transfer.Type, "ClientID": m.Transfer.ClientID, "Size": m.Transfer.Size,
				"Params": fields{"text": string(m.Transfer.Params)},
			},
			"ClientDealProposal": fields{
				"Proposal":        viewProposal(t, m.ClientDealProposal.Proposal),
				"ClientSignature": viewSignature(m.ClientDealProposal.ClientSignature),
			},
		}
	case *mk12.DealStatusRequest:
		return fields{"DealUUID": m.DealUUID, "Signature": viewSignature(m.Signature)}
	case *mk12.DealStatusResponse:
		out := fields{
			"DealUUID": m.DealUUID, "Error": m.Error, "IsOffline": m.IsOffline, "DealStatus": nil,
			"TransferSize": m.TransferSize, "NBytesReceived": m.NBytesReceived,
		}
		if m.DealStatus != nil {
			out["DealStatus"] = viewStatus(t, m.DealStatus)
		}
		return out
	case *mk12.AskRequest:
		return fields{"Miner": m.Miner.String()}
	case *mk12.AskResponse:
		a := m.Ask.Ask
		return fields{"Ask": fields{
			"Signature": viewSignature(*m.Ask.Signature),
			"Ask": fields{
				"Miner": a.Miner.String(), "Price": a.Price.String(), "VerifiedPrice": a.VerifiedPrice.String(),
				"SeqNo": a.SeqNo, "Timestamp": a.Timestamp, "Expiry": a.Expiry,
				"MinPieceSize": a.MinPieceSize, "MaxPieceSize": a.MaxPieceSize,
			},
		}}
	case *mk12.TransportsResponse:
		return fields{"Protocols": viewTransports(t, m.Protocols)}
	}
	return m // its Go fields are the recording's
}

func viewStatus(t *testing.T, s *mk12.DealStatus) fields {
	out := fields{
		"Error": s.Error, "Status": s.Status, "SealingStatus": s.SealingStatus, "ChainDealID": s.ChainDealID,
		"Proposal": viewProposal(t, s.Proposal), "SignedProposalCid": s.SignedProposalCid.String(), "PublishCid": nil,
	}
	if s.PublishCid != nil {
		out["PublishCid"] = s.PublishCid.String()
	}
	return out
}

func viewProposal(t *testing.T, p mk12.DealProposal) fields {
	label, err := p.Label.ToString()
	if err != nil {
		t.Fatal(err)
	}
	return fields{
		"PieceCID": p.PieceCID.String(), "PieceSize": p.PieceSize, "VerifiedDeal": p.VerifiedDeal,
		"Client": p.Client.String(), "Provider": p.Provider.String(), "Label": label,
		"StartEpoch": p.StartEpoch, "EndEpoch": p.EndEpoch, "StoragePricePerEpoch": p.StoragePricePerEpoch.String(),
		"ProviderCollateral": p.ProviderCollateral.String(), "ClientCollateral": p.ClientCollateral.String(),
	}
}

func viewSignature(s crypto.Signature) fields {
	return fields{"Type": s.Type, "DataHex": hex.EncodeToString(s.Data)}
}

func viewTransports(t *testing.T, all []mk12.Transport) []fields {
	var out []fields
	for _, transport := range all {
		var texts, hexes []string
		for _, binary := range transport.Addresses {
			a, err := ma.NewMultiaddrBytes(binary)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, a.String())
			hexes = append(hexes, hex.EncodeToString(binary))
		}
		out = append(out, fields{"Name": transport.Name, "Addresses": texts, "AddressesHex": hexes})
	}
	return out
}

// A status names the signed proposal of the request that made the deal.
func TestSignedProposalCID(t *testing.T) {
	proposals := map[string]mk12.ClientDealProposal{}
	checked := 0
	for _, e := range exchanges(t) {
		switch {
		case e.Request == nil:
		case e.Request.Type == "DealParams":
			var p mk12.DealParams
			if err := mk12.Decode(e.Request.bytes(t), &p); err != nil {
				t.Fatal(err)
			}
			if _, known := proposals[p.DealUUID.String()]; !known {
				proposals[p.DealUUID.String()] = p.ClientDealProposal
			}
		case e.Request.Type == "DealStatusRequest":
			var s mk12.DealStatusResponse
			if err := mk12.Decode(e.Response.bytes(t), &s); err != nil {
				t.Fatal(err)
			}
			proposal, known := proposals[s.DealUUID.String()]
			if want := mk12.UnknownDeal(s.DealUUID); s.Unknown() != (s.Error == want.Error) || s.Unknown() && !reflect.DeepEqual(s, want) {
				t.Errorf("%s: unknown deal = %v of %+v", e.Name, s.Unknown(), s)
			}
			if s.DealStatus == nil || !known {
				continue
			}
			got, err := mk12.SignedProposalCID(proposal)
			if err != nil || got != s.DealStatus.SignedProposalCid {
				t.Errorf("%s: signed proposal is %s (%v), Boost says %s", e.Name, got, err, s.DealStatus.SignedProposalCid)
			}
			if id, err := mk12.ProposalCID(proposal.Proposal); err != nil || id.Prefix().MhType != 0xb220 || id.Type() != cid.DagCBOR {
				t.Errorf("%s: proposal is %v, %v", e.Name, id, err)
			}
			checked++
		}
	}
	if checked != 15 {
		t.Errorf("%d statuses checked, want 15", checked)
	}
}

func TestRecordedTransfers(t *testing.T) {
	var all []struct {
		Name       string `json:"name"`
		Type       string `json:"type"`
		Size       uint64 `json:"size"`
		ParamsText string `json:"params_text"`
	}
	load(t, "transfer-params.json", &all)
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			recorded := mk12.Transfer{Type: v.Type, Params: []byte(v.ParamsText), Size: v.Size}
			params, err := recorded.HTTP()
			if v.Type != mk12.TransferHTTP {
				if err == nil {
					t.Errorf("type %q passed for HTTP", v.Type)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			made, err := mk12.HTTPTransfer(params.URL, params.Headers, v.Size)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(v.ParamsText, "Headers") && !reflect.DeepEqual(made, recorded) {
				t.Errorf("made %s, recorded %s", made.Params, v.ParamsText)
			}
		})
	}
}
