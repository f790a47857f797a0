package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/firth-project/firth/base/fault"
)

// fullWatch ends a run whose home has no room left even for the note that it
// has none: the work is tried again for ever then, and only the log knows why.
// What it says of that is not for the terminal; the run's error tells it once.
type fullWatch struct {
	slog.Handler
	stop context.CancelCauseFunc
}

// errFull is the cause of a run that was ended for want of room.
var errFull = fault.New(fault.Exhausted, "the disk is full")

// Handle passes on what is not about a full disk.
func (w fullWatch) Handle(ctx context.Context, r slog.Record) error {
	full := isFull(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		full = full || isFull(a.Value.String())
		return !full
	})
	if full {
		w.stop(errFull)
		return nil
	}
	return w.Handler.Handle(ctx, r)
}

// WithAttrs keeps watching.
func (w fullWatch) WithAttrs(attrs []slog.Attr) slog.Handler {
	return fullWatch{w.Handler.WithAttrs(attrs), w.stop}
}

// WithGroup keeps watching.
func (w fullWatch) WithGroup(name string) slog.Handler {
	return fullWatch{w.Handler.WithGroup(name), w.stop}
}

// isFull recognises the words of the system and of SQLite, which are all that
// is left of some errors when they come here.
func isFull(text string) bool {
	for _, words := range []string{syscall.ENOSPC.Error(), syscall.EDQUOT.Error(), "database or disk is full", errFull.Error()} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// roomFor is what a home takes while it is packed in: measured with 1 and with
// 20,000 files, and rounded up.
const roomFor = "packing takes about 4 MiB there and 1.5 KiB for each file"

// explainFull says of a full disk which place it is, what it takes and what
// can be done. Other errors are returned as they are.
func (p *packing) explainFull(ctx context.Context, home string, err error) error {
	if err == nil || !isFull(err.Error()) && !errors.Is(context.Cause(ctx), errFull) {
		return err
	}
	why := firstFull(err)
	if p.place != "" && strings.Contains(why, p.place) {
		return fault.New(fault.Exhausted, "--out %s: the disk is full (%s): a CAR takes up to the piece size, and is whole or not there%s", p.cmd.Out, why, p.goesOn())
	}
	if p.kept {
		return fault.New(fault.Exhausted, "--home %s: the disk is full (%s): %s%s", home, why, roomFor, p.goesOn())
	}
	return fault.New(fault.Exhausted, "%s, the place for temporary files: the disk is full (%s): %s; set TMPDIR to a place with more room, or name one with --home DIR",
		os.TempDir(), why, roomFor)
}

func (p *packing) goesOn() string {
	if p.kept {
		return "; make room, and the same command goes on from here"
	}
	return "; make room, or choose another place"
}

// firstFull is the line of an error that tells of the disk, without what was
// added for the case that it passes by itself.
func firstFull(err error) string {
	for line := range strings.Lines(err.Error()) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "; the same command")
		if line, _, _ = strings.Cut(line, "; sql:"); isFull(line) && line != errFull.Error() {
			return line
		}
	}
	return syscall.ENOSPC.Error()
}
