package deal

import (
	"strings"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

func TestTemplate(t *testing.T) {
	for text, want := range map[Template]string{
		"":                                      "",
		"https://cdn.example/{piece_cid}.car":   "https://cdn.example/two.car",
		"http://[::1]:80/a?one={piece_cid_v1}":  "http://[::1]:80/a?one=one",
		"https://x/{piece_cid_v1}/{piece_cid}/": "https://x/one/two/",
	} {
		if err := text.Check(); err != nil || text.URL("two", "one") != want {
			t.Errorf("%s: %s, %v", text, text.URL("two", "one"), err)
		}
	}
	for text, word := range map[Template]string{
		"https://cdn.example/":                                        "neither {piece_cid}",
		"https://cdn.example/{PIECE_CID}":                             "neither {piece_cid}",
		"https://cdn.example/{cid}/{piece_cid}":                       "another word in braces",
		"https://cdn.example/{piece_cid}}":                            "another word in braces",
		"cdn.example/{piece_cid}":                                     "no http(s) URL",
		"ftp://x/{piece_cid}":                                         "no http(s) URL",
		"https://:80/{piece_cid}":                                     "no http(s) URL",
		"https://x:port/{piece_cid}":                                  "no http(s) URL",
		"https://me:pass@x/{piece_cid}":                               "names a user",
		"https://{piece_cid}.cdn.example/":                            "in its host",
		"https://x/#{piece_cid}":                                      "fragment",
		"https://x/a b/{piece_cid}":                                   "spaces or control",
		"https://x/\r\nX-Y: z/{piece_cid}":                            "spaces or control",
		"https://x/\u0085{piece_cid}":                                 "spaces or control",
		Template("https://x/{piece_cid}" + strings.Repeat("a", 2048)): "limit 2048",
	} {
		if err := text.Check(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "pass") {
			t.Errorf("%.60q: %v, want %q", string(text), err, word)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("https://cdn.example/{piece_cid}.car?x={piece_cid_v1}")
	f.Add("http://[::1%25eth0]:80/{piece_cid_v1}")
	f.Fuzz(func(t *testing.T, text string) {
		if one := Template(text); text != "" && one.Check() == nil && (one.URL("two", "one") == one.URL("ii", "i") || one.origin() == "") {
			t.Errorf("%q is taken, and tells no pieces apart", text)
		}
	})
}

func TestCheckHeaders(t *testing.T) {
	got, err := checkHeaders(map[string]string{"authorization": " Bearer x ", "x-key": "a\tb"})
	if err != nil || len(got) != 2 || got["Authorization"] != "Bearer x" || got["X-Key"] != "a\tb" {
		t.Errorf("%q, %v", got, err)
	}
	many := map[string]string{}
	for i := range 17 {
		many["X-"+strings.Repeat("a", i+1)] = "v"
	}
	for name, bad := range map[string]map[string]string{
		"is no name": {"a b": "secret"}, "no name of": {"": "secret"}, "limit 16": many,
		"provider's to send": {"range": "secret"}, "given twice": {"x-a": "secret", "X-A": "secret"},
		"printable ASCII": {"X": "secret\r\nY: z"}, "is empty": {"X": " "}, "limit 8192": {"X": strings.Repeat("secret", 2000)},
	} {
		if _, err := checkHeaders(bad); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFetchFailed(t *testing.T) {
	for words, want := range map[string][2]bool{
		"data-transfer failed: http HEAD req failed: code: 404, status: 404 Not Found": {true, false},
		"data-transfer failed: failed to send HEAD http req: dial tcp: no such host":   {true, false},
		"data-transfer failed: deal size mismatch: head: 9, dealInfo: 10":              {true, false},
		"fetching piece: HTTP status 403 Forbidden":                                    {true, false},
		"failed to verify CommP: commP expected=baga1, actual=baga2: commp mismatch":   {true, true},
		"failed to publish deal: message exited with code: 16":                         {false, false},
		"failed to add piece: no sealing slots for 500 http requests":                  {false, false},
		"the provider no longer knows the deal":                                        {false, false},
	} {
		if failed, own := fetchFailed(words); failed != want[0] || own != want[1] {
			t.Errorf("%s: %v, %v", words, failed, own)
		}
	}
}
