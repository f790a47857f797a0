// Package arch holds the shape of the house as tests: which package may import
// which, where a foreign library may be known, who owns a table, what a thing
// may be called, and how large a file may grow.
//
// It owns the rules as tables (floors, arrows, foreign libraries, names,
// habits, sizes). A failure prints the place and the sentence that explains the
// rule; changing a rule is changing a line of a table, in review. It promises
// to read sources only, so it also works on a tree that does not compile. It
// refuses to be imported: there is no code here but tests.
//
// The picture in docs/ARCHITECTURE.md is drawn from the same tables:
//
//	go test ./internal/arch -update
package arch
