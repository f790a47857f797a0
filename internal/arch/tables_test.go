package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// table is one CREATE TABLE of our migrations.
type table struct {
	name, owner string // owner is the package folder: "flow/piece"
	at          string
}

var (
	sqlComment  = regexp.MustCompile(`--[^\n]*|/\*(?s:.*?)\*/`)
	createTable = regexp.MustCompile(`(?i)\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"?(\w+)"?`)
	tableInDDL  = regexp.MustCompile(`(?i)\b(?:ALTER\s+TABLE|DROP\s+TABLE(?:\s+IF\s+EXISTS)?|CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?:IF\s+NOT\s+EXISTS\s+)?\w+\s+ON|INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+"?(\w+)"?`)
	references  = regexp.MustCompile(`(?i)\bREFERENCES\s+"?(\w+)"?`)
	migration   = regexp.MustCompile(`^(\d{5})_[a-z0-9_]+\.sql$`)

	// unportable is SQL that one of the two engines has not, or means otherwise.
	unportable = regexp.MustCompile(`(?i)\b(JSONB?|UUID|SERIAL|BIGSERIAL|AUTOINCREMENT|INTEGER|INT|SMALLINT|REAL|DOUBLE|VARCHAR|CHAR|BLOB|DATETIME|TIMESTAMPTZ|ILIKE|SKIP\s+LOCKED|FOR\s+UPDATE|NOW\s*\(|PRAGMA|GENERATED)\b|::`)

	// query is SQL text in Go: it starts as a statement does, or joins tables
	// in the capitals our SQL is written in.
	query       = regexp.MustCompile(`(?is)^\s*(SELECT\b.*\bFROM\b|INSERT\s+INTO\s|UPDATE\s+\w+\s+(AS\s+\w+\s+)?SET\s|DELETE\s+FROM\s|WITH\s+\w+\s.*\bAS\s*\(|CREATE\s+TABLE|LEFT\s+JOIN\s|JOIN\s+\w+\s)`)
	tableInTag  = regexp.MustCompile(`bun:"(?:[^"]*,)?table:(\w+)`)
	tableInText = regexp.MustCompile(`(?i)\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+"?(\w+)"?`)
)

func stripComments(sql string) string {
	return sqlComment.ReplaceAllStringFunc(sql, func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
}

// ownerOf returns the package a script belongs to: its folder, or the one above
// when the folder is called migrations.
func ownerOf(rel string) string {
	dir := path.Dir(rel)
	if path.Base(dir) == "migrations" {
		return path.Dir(dir)
	}
	return dir
}

func (m *module) tables() (out []table) {
	for _, s := range m.sql {
		for _, c := range createTable.FindAllStringSubmatch(stripComments(s.text), -1) {
			out = append(out, table{strings.ToLower(c[1]), ownerOf(s.rel), s.rel})
		}
	}
	return out
}

// tablesBearTheirName: a table is named after the package that owns it.
func tablesBearTheirName(m *module) (out []finding) {
	seen := map[string]table{}
	for _, t := range m.tables() {
		noun := path.Base(t.owner)
		if t.name != noun && !strings.HasPrefix(t.name, noun+"_") {
			out = append(out, finding{t.at, fmt.Sprintf("table %s in package %s", t.name, noun)})
		}
		if other, twice := seen[t.name]; twice && other.owner != t.owner {
			out = append(out, finding{t.at, fmt.Sprintf("table %s is also created by %s", t.name, other.owner)})
		}
		seen[t.name] = t
	}
	return out
}

// tablesAreTheirOwners: a package's migrations and statements touch its own
// tables only.
func tablesAreTheirOwners(m *module) (out []finding) {
	owner := map[string]string{}
	for _, t := range m.tables() {
		owner[t.name] = t.owner
	}
	for _, s := range m.sql {
		for _, c := range tableInDDL.FindAllStringSubmatch(stripComments(s.text), -1) {
			if o := owner[strings.ToLower(c[1])]; o != "" && o != ownerOf(s.rel) {
				out = append(out, finding{s.rel, fmt.Sprintf("touches %s, which is %s's", c[1], o)})
			}
		}
	}
	for _, f := range m.files(written) {
		for _, n := range f.tableNames() {
			o := owner[strings.ToLower(n.name)]
			if o != "" && !under(f.in.rel, o) {
				out = append(out, finding{m.at(n.pos), fmt.Sprintf("touches %s, which is %s's", n.name, o)})
			}
		}
	}
	return out
}

// keysFollowArrows: a foreign key is an arrow.
func keysFollowArrows(m *module) (out []finding) {
	owner := map[string]string{}
	for _, t := range m.tables() {
		owner[t.name] = t.owner
	}
	for _, s := range m.sql {
		from := ownerOf(s.rel)
		for _, c := range references.FindAllStringSubmatch(stripComments(s.text), -1) {
			to := owner[strings.ToLower(c[1])]
			if to == "" || to == from {
				continue
			}
			if floorOf(from) != floorOf(to) || !mayStandBeside(floorOf(from), roomOf(from), roomOf(to)) {
				out = append(out, finding{s.rel, fmt.Sprintf("a key of %s refers to %s's %s", path.Base(from), path.Base(to), c[1])})
			}
		}
	}
	return out
}

// migrationsInOrder: numbers are global and each is used once.
func migrationsInOrder(m *module) (out []finding) {
	taken := map[string]string{}
	for _, s := range m.sql {
		if path.Base(path.Dir(s.rel)) != "migrations" {
			out = append(out, finding{s.rel, "SQL outside a folder called migrations"})
			continue
		}
		parts := migration.FindStringSubmatch(path.Base(s.rel))
		if parts == nil {
			out = append(out, finding{s.rel, "is not called 00100_noun.sql"})
			continue
		}
		if other := taken[parts[1]]; other != "" {
			out = append(out, finding{s.rel, fmt.Sprintf("number %s is %s's", parts[1], other)})
		}
		taken[parts[1]] = s.rel
		if !strings.Contains(s.text, "-- +goose Up") {
			out = append(out, finding{s.rel, "has no -- +goose Up"})
		}
	}
	return out
}

// portableSQL: one set of files works on both engines.
func portableSQL(m *module) (out []finding) {
	for _, s := range m.sql {
		for i, line := range strings.Split(stripComments(s.text), "\n") {
			if w := unportable.FindString(line); w != "" {
				out = append(out, finding{fmt.Sprintf("%s:%d", s.rel, i+1), w})
			}
		}
	}
	return out
}

// isStore reports whether a file is where its package's SQL may stand.
func isStore(f *file) bool {
	return f.name == "store.go" || strings.HasPrefix(f.name, "store_")
}

// sqlInStores: in flow, statements stand in store files.
func sqlInStores(m *module) (out []finding) {
	builders := []string{"NewSelect", "NewInsert", "NewUpdate", "NewDelete", "NewRaw", "QueryContext", "QueryRowContext", "ExecContext"}
	for _, f := range m.files(func(f *file) bool { return written(f) && floorOf(f.in.rel) == "flow" && !isStore(f) }) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if text, ok := literal(n); ok && query.MatchString(text) {
					out = append(out, finding{m.at(n.Pos()), "a statement"})
				}
			case *ast.SelectorExpr:
				if slices.Contains(builders, n.Sel.Name) {
					out = append(out, finding{m.at(n.Sel.Pos()), n.Sel.Name})
				}
			}
			return true
		})
	}
	return out
}

func literal(n ast.Expr) (string, bool) {
	b, ok := n.(*ast.BasicLit)
	if !ok || b.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(b.Value)
	return text, err == nil
}

// tableNames lists the words of a file that may be tables: in SQL text, in bun
// tags, and in the arguments of bun's Table, TableExpr, ModelTableExpr and Join.
func (f *file) tableNames() (out []named) {
	add := func(pos token.Pos, names ...string) {
		for _, n := range names {
			out = append(out, named{n, pos})
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if text, ok := literal(n); ok && query.MatchString(text) {
				for _, c := range tableInText.FindAllStringSubmatch(text, -1) {
					add(n.Pos(), c[1])
				}
			}
		case *ast.Field:
			if n.Tag != nil {
				for _, c := range tableInTag.FindAllStringSubmatch(n.Tag.Value, -1) {
					add(n.Tag.Pos(), c[1])
				}
			}
		case *ast.CallExpr:
			s, ok := n.Fun.(*ast.SelectorExpr)
			if ok && len(n.Args) > 0 && slices.Contains([]string{"Table", "TableExpr", "ModelTableExpr"}, s.Sel.Name) {
				if text, ok := literal(n.Args[0]); ok {
					add(n.Pos(), identifier.FindString(text))
				}
			}
		}
		return true
	})
	return out
}
