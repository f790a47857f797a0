package indexdag

// page is one node of a tree of entries.
type page struct{ entries []Entry }
