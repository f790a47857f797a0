package dataset

import (
	"io"
	"iter"
)

// Catalog is a finished list of records, in path order or in name order.
type Catalog struct{ r io.ReaderAt }

// OpenCatalog opens a catalog of size bytes.
func OpenCatalog(r io.ReaderAt, size int64) (*Catalog, error) { return &Catalog{r}, nil }

// Len returns the number of records.
func (c *Catalog) Len() int64 { return 0 }

// Counts returns what the records add up to.
func (c *Catalog) Counts() Counts { return Counts{} }

// From yields the records from path on; "" is all of them.
func (c *Catalog) From(path string) iter.Seq2[Record, error] {
	return func(func(Record, error) bool) {}
}

// Lookup returns the record of a path, NotFound when there is none.
func (c *Catalog) Lookup(path string) (Record, error) { return Record{}, nil }
