package source

import (
	"context"
	"fmt"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// Wait is a pause before a source that did not answer is asked again.
type Wait struct {
	Reason error     // why the last try failed; nil says that a source that was waited for answers again
	Tried  int       // so many tries have failed in a row
	Of     int       // and so many are made at most
	Next   time.Time // of the next one
}

// String is the reason with the tries, without the time: "source s3:b: cannot
// reach s3.example:443: connection refused (2 of 9 tries failed)".
func (w Wait) String() string {
	if w.Reason == nil {
		return "answers again"
	}
	return fmt.Sprintf("%v (%d of %d tries failed)", w.Reason, w.Tried, w.Of)
}

// onWait is the key of a context's observer.
type onWait struct{}

// OnWait has tell be told of every Wait of what is asked with the context it
// returns: of Open, Walk, and the reads of files that were opened with it. It is
// called from the goroutine that waits, of which there may be several, and must
// not block.
func OnWait(ctx context.Context, tell func(Wait)) context.Context {
	return context.WithValue(ctx, onWait{}, tell)
}

// tellWait tells the observer of ctx, if there is one.
func tellWait(ctx context.Context, w Wait) {
	if tell, ok := ctx.Value(onWait{}).(func(Wait)); ok {
		tell(w)
	}
}

// naming is ctx with a name before the reasons that its observer is told.
func naming(ctx context.Context, format string, args ...any) context.Context {
	tell, ok := ctx.Value(onWait{}).(func(Wait))
	if !ok {
		return ctx
	}
	return OnWait(ctx, func(w Wait) {
		w.Reason = fault.Wrap(w.Reason, format, args...)
		tell(w)
	})
}
