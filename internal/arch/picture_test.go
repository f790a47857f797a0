package arch

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "draw the picture in docs/ARCHITECTURE.md again")

// The picture stands between these lines of docs/ARCHITECTURE.md.
const (
	pictureBegin = "<!-- picture: drawn by go test ./internal/arch -update -->"
	pictureEnd   = "<!-- end of picture -->"
)

// TestPicture holds the picture in the documentation to the tables it is drawn
// from.
func TestPicture(t *testing.T) {
	page := filepath.Join(house, "docs", "ARCHITECTURE.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), pictureBegin)
	_, after, closed := strings.Cut(rest, pictureEnd)
	if !found || !closed {
		t.Fatalf("%s has no place for the picture: it needs the lines\n%s\n%s", page, pictureBegin, pictureEnd)
	}
	want := before + pictureBegin + "\n\n" + picture() + "\n" + pictureEnd + after
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("the picture in %s is not that of the rules; draw it again: go test ./internal/arch -update", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// picture draws floors, rooms and arrows as a diagram and two tables.
func picture() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("```mermaid\nflowchart TD")
	for _, f := range floors {
		if hidden(f) {
			continue
		}
		if !hasRooms(f.name) {
			line("  %s[\"<b>%s</b>\"]", f.name, f.name)
			continue
		}
		line("  subgraph %s", f.name)
		line("    direction LR")
		for _, r := range rooms {
			if r.floor == f.name {
				line("    %s_%s[%s]", r.floor, r.name, r.name)
			}
		}
		for _, a := range arrows {
			if a.floor == f.name {
				line("    %s_%s --> %s_%s", a.floor, a.from, a.floor, a.to)
			}
		}
		line("  end")
	}
	for _, f := range floors {
		for _, to := range f.sees {
			if !hidden(f) && !implied(f, to) {
				line("  %s --> %s", f.name, to)
			}
		}
	}
	line("```\n\nEverything in base may also import `fault`.\n")
	line("| floor | holds | may import |\n| --- | --- | --- |")
	for _, f := range floors {
		line("| `%s` | %s | %s |", f.name, f.holds, list(f.sees))
	}
	line("\n| room | holds | its neighbours, and why |\n| --- | --- | --- |")
	for _, r := range rooms {
		line("| `%s/%s` | %s | %s |", r.floor, r.name, r.holds, neighbours(r))
	}
	return b.String()
}

// hidden floors are no part of the product and only blur the picture.
func hidden(f floor) bool { return slices.Contains([]string{"test", "bench", "internal"}, f.name) }

func hasRooms(floor string) bool {
	return slices.ContainsFunc(rooms, func(r room) bool { return r.floor == floor })
}

// implied reports whether to is also reached through another floor that f sees,
// so that drawing it would add nothing.
func implied(f floor, to string) bool {
	return slices.ContainsFunc(f.sees, func(via string) bool {
		v, _ := findFloor(via)
		return slices.Contains(v.sees, to)
	})
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing of ours"
	}
	return "`" + strings.Join(names, "`, `") + "`"
}

func neighbours(r room) string {
	var out []string
	for _, a := range arrows {
		if a.floor == r.floor && a.from == r.name {
			out = append(out, fmt.Sprintf("`%s`: %s", a.to, a.why))
		}
	}
	return strings.Join(out, "; ")
}

// A room or an arrow that stands twice in the tables would be drawn twice.
func TestTablesNameThingsOnce(t *testing.T) {
	seen := map[string]bool{}
	once := func(what string) {
		if seen[what] {
			t.Errorf("%s is listed twice", what)
		}
		seen[what] = true
	}
	for _, r := range rooms {
		once(r.floor + "/" + r.name)
	}
	for _, a := range arrows {
		once(a.floor + "/" + a.from + " to " + a.to)
	}
}
