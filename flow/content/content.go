package content

import (
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// State is where a content is in its life.
type State string

// The states of a content. It is acknowledged from Stored on.
const (
	Receiving        State = "receiving"          // bytes are coming in
	Fetching         State = "fetching"           // bytes are being fetched by us
	Stored           State = "stored"             // durable here, in a bucket
	Packed           State = "packed"             // part of a piece with a known commitment
	StoredOnFilecoin State = "stored_on_filecoin" // as many copies are active as its policy wants
	Failed           State = "failed"             // never acknowledged; the reason says why
	Removed          State = "removed"            // its owner wants it no more
)

// States lists all states, in the order of a life.
func States() []State {
	return []State{Receiving, Fetching, Stored, Packed, StoredOnFilecoin, Failed, Removed}
}

// Held reports whether the content's bytes are promised to be here.
func (s State) Held() bool { return s == Stored || s == Packed || s == StoredOnFilecoin }

// Content is one stored object of a project: a file or a tree.
type Content struct {
	ID        int64
	Project   int64
	Name      string // for people; valid UTF-8, at most maxName bytes
	CID       string // "" until stored
	Size      int64  // bytes of file content
	Files     int64
	Profile   string // import profile, see dag.Profiles
	State     State
	Reason    string // why it failed
	Bucket    int64  // 0 until stored
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Add says what to store.
type Add struct {
	Project int64
	Name    string
	Profile string // "" is the default profile
	Plain   bool   // a tree of nothing but one file at its top is that file
}

// Kind is what an entry of a tree is.
type Kind int

// The kinds of entry.
const (
	File Kind = iota
	Directory
	Symlink
)

// Entry is one entry of a tree on its way in. Directories that hold entries
// need not be named; naming an empty one keeps it.
type Entry struct {
	Path   string // slash-separated, relative; bytes, not always UTF-8
	Kind   Kind
	Target string    // where a symlink points
	Body   io.Reader // a file's bytes, valid until the next entry is asked for
}

// Filter picks contents; the zero value picks all that are not removed.
type Filter struct {
	State  State
	CID    string
	Name   string // exact
	Bucket int64
	Before int64 // ids below this, 0 is from the newest
	Limit  int   // 0 is 50, at most 1000
}

// Bounds of a content's name and of the reason why it failed, in bytes.
const (
	maxName   = 1024
	maxReason = 4096
)

// cleanText makes a text that every engine stores and every terminal prints:
// what is no UTF-8 or a control character becomes U+FFFD, and what is longer
// than limit bytes is cut. The bytes of names inside a tree are the DAG's and
// are kept as they are.
func cleanText(text string, limit int) string {
	text = text[:min(len(text), 4*limit)] // no need to clean what is cut off
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
	for len(text) > limit {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return text
}

// pageLimit turns a wanted page size into one that is allowed.
func pageLimit(n int) int64 {
	switch {
	case n <= 0:
		return 50
	case n > 1000:
		return 1000
	}
	return int64(n)
}

// canonical returns the CID as it is stored, so that v0 and v1 spellings in any
// base find the same content.
func canonical(s string) (string, error) {
	c, err := cid.Decode(s)
	if err != nil {
		return "", fault.New(fault.Invalid, "%q is neither a content's id nor a CID: %w", s, err)
	}
	return c.String(), nil
}
