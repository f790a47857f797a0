package client_test

import (
	"encoding/json"
	"testing"

	"github.com/firth-project/firth/client"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]client.Size{
		"0": 0, "1": 1, "32GiB": 32 << 30, "32 GiB": 32 << 30, " 1.5 TiB ": 3 << 39, "64g": 64 << 30, "10 GB": 10e9, "4096 bytes": 4096, "2M": 2 << 20, "1e3": -1,
		"": -1, "GiB": -1, "-1": -1, "1 parsec": -1, "9999999PiB": -1, "1.2.3": -1, "99999999999999999999": -1, "NaN": -1, "0x10": -1,
	} {
		got, err := client.ParseSize(text)
		if (want < 0) != (err != nil) || want >= 0 && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for n, want := range map[client.Size]string{0: "0", 1: "1", 32 << 30: "32GiB", 3 << 39: "1536GiB", 4 << 40: "4TiB", 1000: "1000", 5 << 10: "5KiB"} {
		back, err := client.ParseSize(n.String())
		if n.String() != want || err != nil || back != n {
			t.Errorf("%d: %s, and back %d, %v", n, n, back, err)
		}
	}
	var all []client.Size
	if err := json.Unmarshal([]byte(`["4MiB", 7, null]`), &all); err != nil || len(all) != 3 || all[0] != 4<<20 || all[1] != 7 {
		t.Errorf("%v %v", all, err)
	}
	for _, bad := range []string{`"much"`, `true`, `-1`, `{}`} {
		if err := json.Unmarshal([]byte(bad), new(client.Size)); err == nil {
			t.Errorf("%s is a size", bad)
		}
	}
	if text, err := json.Marshal(client.Size(4 << 20)); err != nil || string(text) != "4194304" {
		t.Errorf("%s %v", text, err)
	}
}
