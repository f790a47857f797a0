package dag

import (
	"fmt"

	"github.com/firth-project/firth/base/fault"
)

// CARFault is what is wrong with a CAR.
type CARFault string

// What can be wrong with a CAR. doc.go says where readers differ and how we
// decide.
const (
	CAREmpty          CARFault = "empty"               // no bytes at all
	CARTruncated      CARFault = "truncated"           // ends inside something, or before what it announced
	CARBadHeader      CARFault = "bad_header"          // no header, or not by the schema
	CARBadVersion     CARFault = "bad_version"         // neither 1 nor 2
	CARBadVarint      CARFault = "bad_varint"          // a length beyond 63 bits or not minimal
	CARBadCID         CARFault = "bad_cid"             // no CID, or none whose digest proves anything
	CARTooLarge       CARFault = "too_large"           // a length above the limit; nothing was allocated for it
	CARZeroSection    CARFault = "zero_length_section" // a section of no bytes
	CARDigestMismatch CARFault = "digest_mismatch"     // data that are not what their CID says
)

// CARError says where a CAR is broken. It always arrives inside an error of
// kind Invalid; errors.As finds it.
type CARError struct {
	Fault   CARFault
	Section int   // counted from 1; 0 is the header
	Offset  int64 // of the section's or header's first byte in the stream
	Err     error // detail, may be nil
}

func (e *CARError) Error() string {
	where := "header"
	if e.Section > 0 {
		where = fmt.Sprintf("section %d", e.Section)
	}
	if e.Err == nil {
		return fmt.Sprintf("CAR %s at byte %d: %s", where, e.Offset, e.Fault)
	}
	return fmt.Sprintf("CAR %s at byte %d: %s: %v", where, e.Offset, e.Fault, e.Err)
}

// Unwrap returns the detail.
func (e *CARError) Unwrap() error { return e.Err }

// broken makes the error for a fault at the section being read.
func (r *CARReader) broken(f CARFault, detail error) error {
	return fault.Mark(fault.Invalid, &CARError{Fault: f, Section: r.section, Offset: r.start, Err: detail})
}
