package dataset

import "io"

// CatalogWriter writes a catalog as its records come.
type CatalogWriter struct{ w io.Writer }

// NewCatalogWriter begins a catalog.
func NewCatalogWriter(w io.Writer) *CatalogWriter { return &CatalogWriter{w} }

// ResumeCatalog continues the catalog that f holds up to any byte; what is
// behind the last whole block is cut off. It returns the last record, whose
// path the scan goes on after; its path is empty when there is none.
func ResumeCatalog(f CatalogFile) (*CatalogWriter, Record, error) { return nil, Record{}, nil }

// CatalogFile is what ResumeCatalog needs of an *os.File.
type CatalogFile interface {
	io.ReaderAt
	io.WriteSeeker
	Truncate(size int64) error
}

// Add writes the next record. One that is not behind the last is Invalid, a
// path twice Conflict.
func (w *CatalogWriter) Add(r Record) error { return nil }

// Flush ends the block, so that a ResumeCatalog finds all records added so far.
func (w *CatalogWriter) Flush() error { return nil }

// Counts returns what was added so far.
func (w *CatalogWriter) Counts() Counts { return Counts{} }

// Close ends the catalog. It does not close what is written to.
func (w *CatalogWriter) Close() error { return nil }
