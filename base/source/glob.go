package source

import (
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// glob is one pattern, taken apart once so that matching neither parses nor
// allocates.
type glob struct {
	steps   []step
	whole   bool // against the whole path, not the last name
	dirOnly bool
}

// step is one element of a pattern.
type step struct {
	kind stepKind
	lit  string    // literal; of **, "/" when it stands for whole names
	set  [4]uint64 // class: one bit a byte
}

type stepKind uint8

const (
	literal  stepKind = iota
	oneByte           // ?
	class             // [a-z]
	star              // *
	deepStar          // ** and "**/"
)

func parseGlob(text string) (glob, error) {
	var g glob
	if len(text) > maxGlobSize {
		return g, fault.New(fault.Invalid, "glob of %d bytes: at most %d", len(text), maxGlobSize)
	}
	rest := text
	if strings.HasSuffix(rest, "/") {
		g.dirOnly = true
		rest = strings.TrimRight(rest, "/")
	}
	g.whole = strings.Contains(rest, "/")
	rest = strings.TrimPrefix(rest, "/")
	if rest == "" {
		return g, fault.New(fault.Invalid, "glob %q: matches nothing; write a name, or ** for everything", text)
	}
	for whole := rest; rest != ""; {
		s, n, err := parseStep(rest, len(rest) == len(whole) || whole[len(whole)-len(rest)-1] == '/')
		if err != nil {
			return g, fault.Wrap(err, "glob %q", text)
		}
		g.add(s)
		rest = rest[n:]
	}
	return g, nil
}

// add appends a step, joining neighbours: literals into one, stars into the
// deepest.
func (g *glob) add(s step) {
	if n := len(g.steps); n > 0 {
		last := &g.steps[n-1]
		switch {
		case last.kind == literal && s.kind == literal:
			last.lit += s.lit
			return
		case last.kind == deepStar && last.lit == "" && (s.kind == star || s.kind == deepStar && s.lit == ""):
			return
		case last.kind == star && (s.kind == star || s.kind == deepStar && s.lit == ""):
			*last = s
			return
		}
	}
	g.steps = append(g.steps, s)
}

// parseStep reads one step from the front of a pattern, and says how long it
// is. "**/" stands for whole names only where a name begins.
func parseStep(s string, begins bool) (step, int, error) {
	switch s[0] {
	case '?':
		return step{kind: oneByte}, 1, nil
	case '*':
		switch {
		case begins && strings.HasPrefix(s, "**/"):
			return step{kind: deepStar, lit: "/"}, 3, nil
		case strings.HasPrefix(s, "**"):
			return step{kind: deepStar}, 2, nil
		}
		return step{kind: star}, 1, nil
	case '[':
		return parseClass(s)
	case '\\':
		if len(s) < 2 {
			return step{}, 0, fault.New(fault.Invalid, `ends in \: write \\ for that byte`)
		}
		return step{kind: literal, lit: s[1:2]}, 2, nil
	}
	n := strings.IndexAny(s, `?*[\`)
	if n < 0 {
		n = len(s)
	}
	return step{kind: literal, lit: s[:n]}, n, nil
}

// parseClass reads "[a-z_]" or "[!a-z_]"; "]" right behind the opening is
// itself. "/" is in no class.
func parseClass(s string) (step, int, error) {
	out := step{kind: class}
	i := 1
	negated := i < len(s) && (s[i] == '!' || s[i] == '^')
	if negated {
		i++
	}
	for first := true; ; first = false {
		if i >= len(s) {
			return out, 0, fault.New(fault.Invalid, `"[" is not closed: write \[ for that byte`)
		}
		if s[i] == ']' && !first {
			break
		}
		lo, n := classByte(s[i:])
		i += n
		hi := lo
		if i+1 < len(s) && s[i] == '-' && s[i+1] != ']' {
			hi, n = classByte(s[i+1:])
			i += 1 + n
		}
		if lo > hi {
			return out, 0, fault.New(fault.Invalid, "range %q-%q runs backwards", lo, hi)
		}
		for b := int(lo); b <= int(hi); b++ {
			out.set[b>>6] |= 1 << (b & 63)
		}
	}
	if negated {
		for k := range out.set {
			out.set[k] = ^out.set[k]
		}
	}
	out.set['/'>>6] &^= 1 << ('/' & 63)
	return out, i + 1, nil
}

func classByte(s string) (byte, int) {
	if s[0] == '\\' && len(s) > 1 {
		return s[1], 2
	}
	return s[0], 1
}

// match holds a path, whose last name is name, against the glob.
func (g *glob) match(path, name string, dir bool) bool {
	if g.dirOnly && !dir {
		return false
	}
	if !g.whole {
		path = name
	}
	return matchSteps(g.steps, path)
}

// retry is a star's next chance: the steps behind it, and where they were
// tried last.
type retry struct {
	steps []step
	s     string
	whole bool // may only move on by whole names
	set   bool
}

// matchSteps is greedy with one point of return for * and one for **, so its
// cost is bounded by steps × bytes of path², and nothing is allocated.
func matchSteps(steps []step, s string) bool {
	var near, deep retry
	for {
		if len(steps) == 0 && s == "" {
			return true
		}
		if len(steps) > 0 {
			st := &steps[0]
			if st.kind == star {
				near = retry{steps: steps[1:], s: s, set: true}
				steps = steps[1:]
				continue
			}
			if st.kind == deepStar {
				near.set = false
				deep = retry{steps: steps[1:], s: s, whole: st.lit != "", set: true}
				steps = steps[1:]
				continue
			}
			if n := st.eat(s); n > 0 {
				s, steps = s[n:], steps[1:]
				continue
			}
		}
		switch {
		case near.set && near.s != "" && near.s[0] != '/':
			near.s = near.s[1:]
			steps, s = near.steps, near.s
		case deep.set && deep.advance():
			near.set = false
			steps, s = deep.steps, deep.s
		default:
			return false
		}
	}
}

// advance moves the chance one byte, or one whole name, to the right.
func (r *retry) advance() bool {
	n := min(1, len(r.s))
	if r.whole {
		n = strings.IndexByte(r.s, '/') + 1
	}
	r.s = r.s[n:]
	return n > 0
}

// eat returns how many bytes of s the step takes, 0 when it does not match.
func (st *step) eat(s string) int {
	switch {
	case s == "":
		return 0
	case st.kind == literal:
		if strings.HasPrefix(s, st.lit) {
			return len(st.lit)
		}
		return 0
	case st.kind == oneByte && s[0] != '/', st.kind == class && st.set[s[0]>>6]&(1<<(s[0]&63)) != 0:
		return 1
	}
	return 0
}
