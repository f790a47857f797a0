package chain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// exchange is one request and answer of the transcripts in testdata/rpc.
type exchange struct {
	Flow        string
	RequestText string `json:"request_body_text"`
	Request     struct {
		Method string            `json:"method"`
		Params []json.RawMessage `json:"params"`
	} `json:"request"`
	Response struct {
		Result json.RawMessage `json:"result"`
		Error  *rpcError       `json:"error"`
	} `json:"response"`
}

func loadExchanges(t testing.TB, file string) []exchange {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "rpc", file))
	if err != nil {
		t.Fatal(err)
	}
	var flows []struct {
		Flow      string     `json:"flow"`
		Exchanges []exchange `json:"exchanges"`
	}
	if err := json.Unmarshal(data, &flows); err != nil {
		t.Fatal(err)
	}
	var all []exchange
	for _, f := range flows {
		for _, e := range f.Exchanges {
			e.Flow = f.Flow
			all = append(all, e)
		}
	}
	return all
}

func mustJSON(t testing.TB, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%v in %.200s", err, data)
	}
}

// sameJSON holds that v encodes to the same document as want.
func sameJSON(t testing.TB, v any, want []byte) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	mustJSON(t, data, &a)
	mustJSON(t, want, &b)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("JSON differs\n got %s\nwant %s", data, want)
	}
}

func cborHex(t testing.TB, v interface{ MarshalCBOR(io.Writer) error }) string {
	t.Helper()
	var buf bytes.Buffer
	if err := v.MarshalCBOR(&buf); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(buf.Bytes())
}
