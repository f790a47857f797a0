package arch

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// call is a selector of an imported package, such as time.Now.
type call struct {
	pkg, name string
	pos       token.Pos
	node      ast.Node
}

// calls lists every use of an imported package's name in a file.
func (f *file) calls() (out []call) {
	local := map[string]string{}
	for _, s := range f.ast.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(p)
		if s.Name != nil {
			name = s.Name.Name
		}
		local[name] = p
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && local[x.Name] != "" {
			out = append(out, call{local[x.Name], sel.Sel.Name, sel.Pos(), sel})
		}
		return true
	})
	return out
}

// uses finds uses of pkg.name in the files that keep accepts.
func (m *module) uses(keep func(*file) bool, pkg string, names ...string) (out []finding) {
	for _, f := range m.files(keep) {
		for _, c := range f.calls() {
			if c.pkg == pkg && slices.Contains(names, c.name) {
				out = append(out, finding{m.at(c.pos), path.Base(pkg) + "." + c.name})
			}
		}
	}
	return out
}

func isCommand(f *file) bool { return f.ast.Name.Name == "main" }

// noInit: nothing happens because a package was imported.
func noInit(m *module) (out []finding) {
	for _, f := range m.files(func(f *file) bool { return !f.generated }) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, finding{m.at(fn.Pos()), "func init()"})
			}
		}
	}
	return out
}

// noSleep: waiting is on a signal, a context or a fake clock. Inside a
// synctest bubble a sleep takes no time and is how the clock is moved.
func noSleep(m *module) (out []finding) {
	for _, f := range m.files(func(*file) bool { return true }) {
		var bubbles []ast.Node
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok {
				if s, ok := c.Fun.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "synctest" {
						bubbles = append(bubbles, c)
					}
				}
			}
			return true
		})
		for _, c := range f.calls() {
			inside := slices.ContainsFunc(bubbles, func(b ast.Node) bool { return b.Pos() <= c.pos && c.pos < b.End() })
			if c.pkg == "time" && c.name == "Sleep" && !inside {
				out = append(out, finding{m.at(c.pos), "time.Sleep"})
			}
		}
	}
	return out
}

// clockIsGiven: in flow, time and chance are parameters.
func clockIsGiven(m *module) []finding {
	flow := func(f *file) bool { return written(f) && floorOf(f.in.rel) == "flow" }
	out := m.uses(flow, "time", "Now", "Since", "Until")
	return append(out, m.imports(func(f *file, p string) bool {
		return flow(f) && slices.Contains([]string{"crypto/rand", "math/rand", "math/rand/v2"}, p)
	})...)
}

// noPanic: a constructor may panic at a programmer's mistake. Elsewhere a panic
// says why on its line, or the function's comment says that it panics.
func noPanic(m *module) (out []finding) {
	may := regexp.MustCompile(`^([Nn]ew|[Mm]ust)([A-Z]|$)`)
	for _, f := range m.files(written) {
		reasons := m.commentedLines(f)
		for _, d := range f.ast.Decls {
			fn, isFunc := d.(*ast.FuncDecl)
			if isFunc && (may.MatchString(fn.Name.Name) || strings.Contains(fn.Doc.Text(), "panics")) {
				continue
			}
			for _, c := range panicsIn(d) {
				if !reasons[m.fset.Position(c.End()).Line] {
					out = append(out, finding{m.at(c.Pos()), "panic"})
				}
			}
		}
	}
	return out
}

// panicsIn lists the calls of panic, save those that pass on what the same
// declaration recovered.
func panicsIn(d ast.Decl) (out []*ast.CallExpr) {
	var recovered []string
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if x, ok := n.Lhs[0].(*ast.Ident); ok && len(n.Rhs) == 1 && calls(n.Rhs[0], "recover") {
				recovered = append(recovered, x.Name)
			}
		case *ast.CallExpr:
			if !calls(n, "panic") {
				return true
			}
			if x, ok := n.Args[0].(*ast.Ident); !ok || !slices.Contains(recovered, x.Name) {
				out = append(out, n)
			}
		}
		return true
	})
	return out
}

// calls reports whether x calls the built-in of that name.
func calls(x ast.Expr, name string) bool {
	c, ok := x.(*ast.CallExpr)
	if !ok {
		return false
	}
	fn, ok := c.Fun.(*ast.Ident)
	return ok && fn.Name == name
}

func (m *module) commentedLines(f *file) map[int]bool {
	lines := map[int]bool{}
	for _, g := range f.ast.Comments {
		lines[m.fset.Position(g.Pos()).Line] = true
	}
	return lines
}

// oneExit: only main ends the process.
func oneExit(m *module) []finding {
	below := func(f *file) bool { return written(f) && !isCommand(f) }
	out := m.uses(below, "os", "Exit")
	return append(out, m.imports(func(f *file, p string) bool { return below(f) && p == "log" })...)
}

// quiet: what is logged goes to the logger that was passed in, and what is
// printed is printed by a command.
func quiet(m *module) []finding {
	below := func(f *file) bool { return written(f) && !isCommand(f) }
	out := m.uses(below, "fmt", "Print", "Println", "Printf")
	return append(out, m.uses(below, "log/slog", "Debug", "Info", "Warn", "Error", "Default", "SetDefault",
		"DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Log", "With")...)
}

// plainErrors: an error names its operation and operand. The devnet's providers
// answer in Boost's words, which its clients look for.
func plainErrors(m *module) (out []finding) {
	for _, f := range m.files(func(f *file) bool { return written(f) && floorOf(f.in.rel) != "devnet" }) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING && strings.Contains(strings.ToLower(s.Value), "failed to ") {
				out = append(out, finding{m.at(s.Pos()), s.Value})
			}
			return true
		})
	}
	return out
}

// noMutableGlobals: a package-level variable is never assigned to.
func noMutableGlobals(m *module) (out []finding) {
	for _, p := range m.pkgs {
		globals := map[string]bool{}
		for _, f := range p.files {
			if written(f) {
				for _, name := range packageVars(f.ast) {
					globals[name] = true
				}
			}
		}
		for _, f := range p.files {
			if written(f) {
				out = append(out, assigned(m, f, globals)...)
			}
		}
	}
	return out
}

func packageVars(tree *ast.File) (out []string) {
	for _, d := range tree.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			for _, name := range s.(*ast.ValueSpec).Names {
				out = append(out, name.Name)
			}
		}
	}
	return out
}

// assigned finds assignments inside functions whose left side is, or is inside,
// a package-level variable. A function that declares the name itself means its
// own.
func assigned(m *module, f *file, globals map[string]bool) (out []finding) {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		locals := localsOf(fn)
		check := func(x ast.Expr) {
			if root := rootOf(x); root != nil && globals[root.Name] && !locals[root.Name] && root.Name != "_" {
				out = append(out, finding{m.at(x.Pos()), root.Name + " is assigned to"})
			}
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			switch s := n.(type) {
			case *ast.AssignStmt:
				if s.Tok != token.DEFINE {
					for _, x := range s.Lhs {
						check(x)
					}
				}
			case *ast.IncDecStmt:
				check(s.X)
			}
			return true
		})
	}
	return out
}

// localsOf lists every name a function declares: receiver, parameters, results,
// :=, var and range.
func localsOf(fn *ast.FuncDecl) map[string]bool {
	out := map[string]bool{}
	add := func(xs ...ast.Expr) {
		for _, x := range xs {
			if id, ok := x.(*ast.Ident); ok {
				out[id.Name] = true
			}
		}
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				add(name)
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				add(n.Lhs...)
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				add(n.Key, n.Value)
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				add(name)
			}
		}
		return true
	})
	return out
}

// rootOf returns the identifier that a, a.b, a[i] and *a begin with.
func rootOf(x ast.Expr) *ast.Ident {
	switch x := x.(type) {
	case *ast.Ident:
		return x
	case *ast.SelectorExpr:
		return rootOf(x.X)
	case *ast.IndexExpr:
		return rootOf(x.X)
	case *ast.StarExpr:
		return rootOf(x.X)
	case *ast.ParenExpr:
		return rootOf(x.X)
	}
	return nil
}
