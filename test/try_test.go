package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/commp"
)

// trial is the JSON contract of `firth try`, as outsiders rely on it.
type trial struct {
	Content struct {
		CID   string `json:"cid"`
		Size  int64  `json:"size"`
		Files int64  `json:"files"`
	} `json:"content"`
	Pieces []struct {
		PieceCID   string `json:"piece_cid"`
		PieceCIDv1 string `json:"piece_cid_v1"`
		Root       string `json:"root"`
		CARSize    int64  `json:"car_size"`
		PaddedSize int64  `json:"padded_size"`
	} `json:"pieces"`
	Deals []struct {
		UUID     string `json:"uuid"`
		Provider string `json:"provider"`
		PieceCID string `json:"piece_cid"`
		State    string `json:"state"`
		DealID   int64  `json:"deal_id"`
	} `json:"deals"`
	Retrieval struct {
		Provider string `json:"provider"`
		Bytes    int64  `json:"bytes"`
		Verified bool   `json:"verified"`
	} `json:"retrieval"`
}

// Whatever people point it at, `firth try` tells the whole truth in one line.
func TestTry(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T, name, text string) string {
		return filepath.Join(plant(t, t.TempDir(), map[string]string{name: text}), name)
	}
	for _, c := range []struct {
		name        string
		paths       func(t *testing.T) []string
		size, files int64
		cid         string // as Kubo's unixfs-v1-2025 profile gives it, "" where nobody wrote it down
	}{
		{"one file", func(t *testing.T) []string { return []string{file(t, "hello.txt", "hello, firth")} }, 12, 1, ""},
		{"an empty file", func(t *testing.T) []string { return []string{file(t, "empty", "")} }, 0, 1,
			"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
		{"an empty directory", func(t *testing.T) []string { return []string{t.TempDir()} }, 0, 0,
			"bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"},
		{"a curious tree", func(t *testing.T) []string { return []string{curious(t)} }, 2*(3<<20+17) + 15, 19, ""},
		{"several paths", func(t *testing.T) []string {
			return []string{file(t, "one", "1"), file(t, "=two, three;\n\xff", "22"), curious(t), deep(t, 3)}
		}, 2*(3<<20+17) + 15 + 3 + 5, 22, ""},
		{"a deep tree", func(t *testing.T) []string { return []string{deep(t, 200)} }, 5, 1, ""},
		{"a wide directory", func(t *testing.T) []string { return []string{wide(t, 10_000)} }, 38_890, 10_000, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := command(t, nil, "", append([]string{"try", "--json", "--home", t.TempDir()}, c.paths(t)...)...)
			if o.code != 0 || strings.Count(o.out, "\n") != 1 {
				t.Fatalf("exit %d\n%s%s", o.code, o.out, o.err)
			}
			got := read(t, o.out)
			if got.Content.Size != c.size || got.Content.Files != c.files || got.Content.CID == "" || c.cid != "" && got.Content.CID != c.cid {
				t.Errorf("content %+v", got.Content)
			}
			if got.Retrieval.Bytes != c.size {
				t.Errorf("retrieved %d bytes of %d", got.Retrieval.Bytes, c.size)
			}
			got.check(t, 3)
		})
	}
}

func TestTryRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	used := plant(t, t.TempDir(), map[string]string{"firth.db": ""})
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"try " + dir + "/absent", 3, "absent"},
		{"try --copies 4 " + dir, 2, "--providers"},
		{"try /dev/null", 2, "/dev/null"},
		{"try", 2, "path"},
		{"try --home " + used + " " + dir, 4, used},
	} {
		o := command(t, nil, "", strings.Fields(c.args)...)
		if o.code != c.code || !strings.Contains(o.err, c.says) || strings.Contains(o.err, "goroutine") {
			t.Errorf("firth %s: exit %d, want %d and %q\n%s%s", c.args, o.code, c.code, c.says, o.out, o.err)
		}
	}
	left, err := os.ReadDir(used)
	if err != nil || len(left) != 1 {
		t.Errorf("a refused trial left %v, %v", left, err)
	}
}

// read decodes the contract: a field that is not part of it fails.
func read(t *testing.T, line string) (got trial) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return got
}

// check holds the parts of an answer against each other.
func (got trial) check(t *testing.T, copies int) {
	t.Helper()
	if len(got.Pieces) == 0 {
		t.Error("no pieces")
	}
	active := map[string]map[string]bool{}
	for _, d := range got.Deals {
		if d.State != "active" || d.UUID == "" || d.DealID == 0 || d.Provider == "" {
			t.Errorf("deal %+v", d)
		}
		if active[d.PieceCID] == nil {
			active[d.PieceCID] = map[string]bool{}
		}
		active[d.PieceCID][d.Provider] = true
	}
	for _, p := range got.Pieces {
		c, version, err := commp.ParseCID(p.PieceCID)
		if err != nil || version != 2 {
			t.Errorf("piece %+v: version %d, %v", p, version, err)
			continue
		}
		parsed, err := commp.FromCIDv2(c)
		if err != nil || parsed.CIDv1.String() != p.PieceCIDv1 || int64(parsed.PaddedSize) != p.PaddedSize || p.CARSize == 0 || p.Root == "" {
			t.Errorf("piece %+v says of itself %+v, %v", p, parsed, err)
		}
		if len(active[p.PieceCID]) != copies {
			t.Errorf("piece %s has %d copies with different providers, want %d", p.PieceCID, len(active[p.PieceCID]), copies)
		}
	}
	if !got.Retrieval.Verified || !strings.HasPrefix(got.Retrieval.Provider, "f0") {
		t.Errorf("retrieval %+v", got.Retrieval)
	}
}
