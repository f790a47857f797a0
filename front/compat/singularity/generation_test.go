package singularity

import (
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/firth-project/firth/flow/dataset"
)

// files is a chunk of n files and a directory before each page of them.
func files(n int, fail error) *fileList {
	page := func(from int) (all []dataset.Record, after string) {
		all = append(all, dataset.Record{Path: fmt.Sprint("d", from), Kind: dataset.KindDirectory})
		for i := from; i < min(n, from+1000); i++ {
			all = append(all, dataset.Record{Path: fmt.Sprintf("d%d/\"file\" %d", from, i), Size: int64(i)})
		}
		if from+1000 < n {
			after = fmt.Sprint(from + 1000)
		}
		return all, after
	}
	l := &fileList{root: "/data/", head: generationHead{ID: "7", Name: "n", Path: "/data", Index: 3}, tail: generationTail{State: "completed", PieceSize: 1 << 40}}
	l.page, l.after = page(0)
	l.next = func(after string) ([]dataset.Record, string, error) {
		if fail != nil {
			return nil, "", fail
		}
		var from int
		if _, err := fmt.Sscan(after, &from); err != nil {
			return nil, "", err
		}
		all, next := page(from)
		return all, next, nil
	}
	return l
}

// A list of any length is told whole.
func TestLongList(t *testing.T) {
	for _, n := range []int{0, 1, 999, 1000, 1001, 150_000} {
		r, w := io.Pipe()
		go func() { w.CloseWithError(files(n, nil).writeTo(w)) }()
		var got struct {
			generationHead
			generationTail
			Files []json.RawMessage `json:"fileList"`
		}
		if err := json.NewDecoder(r).Decode(&got); err != nil {
			t.Fatalf("%d files: %v", n, err)
		}
		if len(got.Files) != n || got.ID != "7" || got.Index != 3 || got.State != "completed" || got.PieceSize != 1<<40 || got.Files == nil {
			t.Errorf("%d files: %d told, %+v", n, len(got.Files), got.generationTail)
		}
		if n > 0 {
			var last file
			if err := json.Unmarshal(got.Files[n-1], &last); err != nil || last.Size != int64(n-1) || last.Name != fmt.Sprintf("\"file\" %d", n-1) {
				t.Errorf("%+v %v", last, err)
			}
		}
	}
}

// A list that breaks off is told to have.
func TestBrokenList(t *testing.T) {
	if err := files(2000, io.ErrUnexpectedEOF).writeTo(io.Discard); err != io.ErrUnexpectedEOF {
		t.Errorf("%v", err)
	}
}
