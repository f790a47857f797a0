package dataset

import "io"

// Query says which records are looked for; empty fields match all.
type Query struct {
	PathPrefix string      // bytes the path begins with; "dir/" is a directory and all below it
	NamePrefix string      // the last name of the path begins with it, upper and lower case alike
	Contains   string      // somewhere in the path, upper and lower case alike
	Glob       string      // of the name, or of the whole path when it has a slash; "**" crosses slashes
	States     []FileState // any of these
}

// WriteNames writes the records of a catalog in order of their folded names.
func WriteNames(w io.Writer, c *Catalog, dir string) error { return nil }

// Find returns up to limit records and the cursor behind the last record
// looked at, "" when all were. paths is a catalog, names what WriteNames made
// of it or nil.
func Find(paths, names *Catalog, q Query, after string, limit int) (found []Record, next string, err error) {
	return nil, "", nil
}
