// Package db is one handle over SQLite and PostgreSQL.
//
// It owns opening, transactions, migrations merged from the packages that own
// them, and the few places where the two engines differ in ways a caller can
// see. It promises that the same SQL and the same migration files work on both,
// that times come back in UTC, that a commit which returned is durable, and
// that misuse of a transaction fails at once instead of hanging.
// It refuses to know any table, to build queries (bun does), and to hide that
// PostgreSQL runs at Read Committed: every change of state is a compare-and-swap
// and every "at most one" is a unique index, on both engines.
package db
