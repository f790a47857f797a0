package dataset

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// Limits of one Find.
const (
	maxFound  = 10_000
	maxLooked = 50_000 // records: about 6 MiB read, some milliseconds
	maxQuery  = 4 << 10
)

// Query says which records are looked for. Empty fields match all; a record
// matches when it matches every field.
type Query struct {
	PathPrefix string      // bytes the path begins with; "dir/" is a directory and all below it
	NamePrefix string      // the last name of the path begins with it, upper and lower case alike
	Contains   string      // somewhere in the path, upper and lower case alike
	Glob       string      // of the last name, or of the whole path when it has a slash: *, ?, ** over slashes
	States     []FileState // any of these
}

// Find returns up to limit records that match, and the cursor to go on with
// by the same query, "" when all were looked at. paths is a catalog in path
// order; names is what WriteNames made of it, or nil. A search by a prefix
// reads the blocks that hold its page; other conditions look at 50,000 records
// a call at most, so a page may have fewer than limit, or none, and a cursor
// all the same. Records come in the order of the list that has less to look
// at: by path or by name; those by name come without Tops.
func Find(paths, names *Catalog, q Query, after string, limit int) (found []Record, next string, err error) {
	if limit < 1 || limit > maxFound {
		return nil, "", fault.New(fault.Invalid, "find: %d records a page, from 1 to %d", limit, maxFound)
	}
	m, err := q.matcher()
	if err != nil {
		return nil, "", err
	}
	from, in, err := openCursor(after)
	if err != nil {
		return nil, "", err
	}
	list, prefix := paths, q.PathPrefix
	byNames := names != nil && q.NamePrefix != "" && names.blocksOf(string(m.name)) <= paths.blocksOf(prefix)
	if after != "" {
		byNames = in == byName
	}
	if byNames {
		list, prefix = names, string(m.name)
	}
	if list == nil {
		return nil, "", fault.New(fault.Invalid, "find: the cursor is of another list")
	}
	looked, more, seen := 0, false, []byte(nil)
	begin := []byte(prefix)
	err = list.scan(max(prefix, from), func(key []byte, at *cursor) (bool, error) {
		if !bytes.HasPrefix(key, begin) {
			return false, nil
		}
		if more = len(found) == limit || looked == maxLooked; more {
			return false, nil
		}
		looked++
		seen = append(seen[:0], key...)
		if !m.match(at) {
			return true, nil
		}
		r, err := at.record()
		found = append(found, r)
		return true, err
	})
	if err != nil {
		return nil, "", fault.Wrap(err, "find")
	}
	if more {
		next = closeCursor(list.order, seen)
	}
	return found, next, nil
}

// closeCursor writes down that a list was looked at up to a key, included.
func closeCursor(o order, key []byte) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{byte(o)}, key...))
}

// openCursor returns the key from which to go on: what follows the last one.
func openCursor(s string) (from string, o order, err error) {
	if s == "" {
		return "", byPath, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 2 || order(b[0]) >= orders || len(b) > 3*MaxPath {
		return "", 0, fault.New(fault.Invalid, "find: cursor %.80q: not one of ours", s)
	}
	return string(b[1:]) + "\x00", order(b[0]), nil
}

// matcher is a Query made ready.
type matcher struct {
	q              Query
	name, contains []byte // folded
	glob           *regexp.Regexp
	globPath       bool
	scratch        []byte
}

func (q Query) matcher() (*matcher, error) {
	if n := len(q.NamePrefix) + len(q.Contains) + len(q.Glob); n > maxQuery || len(q.PathPrefix) > MaxPath {
		return nil, fault.New(fault.Invalid, "find: a query of %d bytes, limit %d", n+len(q.PathPrefix), maxQuery)
	}
	m := &matcher{q: q, name: appendFolded(nil, []byte(q.NamePrefix)), contains: appendFolded(nil, []byte(q.Contains))}
	if q.Glob != "" {
		re, err := regexp.Compile(globPattern(q.Glob))
		if err != nil {
			return nil, fault.New(fault.Invalid, "find: glob %q: %w", q.Glob, err)
		}
		m.glob, m.globPath = re, strings.Contains(q.Glob, "/")
	}
	return m, nil
}

// match asks the cheap questions first.
func (m *matcher) match(at *cursor) bool {
	if len(m.q.States) > 0 && !slices.Contains(m.q.States, at.state()) {
		return false
	}
	if p := m.q.PathPrefix; p != "" {
		m.scratch = byPath.appendKey(m.scratch[:0], at.path, at.kind())
		if !bytes.HasPrefix(m.scratch, []byte(p)) {
			return false
		}
	}
	if len(m.name) > 0 {
		m.scratch = appendFolded(m.scratch[:0], baseName(at.path))
		if !bytes.HasPrefix(m.scratch, m.name) {
			return false
		}
	}
	if len(m.contains) > 0 {
		m.scratch = appendFolded(m.scratch[:0], at.path)
		if !bytes.Contains(m.scratch, m.contains) {
			return false
		}
	}
	if m.glob == nil {
		return true
	}
	if m.globPath {
		return m.glob.Match(at.path)
	}
	return m.glob.Match(baseName(at.path))
}

// globPattern writes a glob as a regular expression, which costs no more than
// its length times the path's.
func globPattern(glob string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(glob); i++ {
		switch rest := glob[i:]; {
		case strings.HasPrefix(rest, "**/"):
			b.WriteString(`(?:.*/)?`)
			i += 2
		case strings.HasPrefix(rest, "**"):
			b.WriteString(`.*`)
			i++
		case glob[i] == '*':
			b.WriteString(`[^/]*`)
		case glob[i] == '?':
			b.WriteString(`[^/]`)
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	return b.String() + `\z`
}
