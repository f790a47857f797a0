package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a long read or write is, how fast it goes and when it
// will end. Where nobody looks (no terminal, or --json) it shows nothing.
type progress struct{ bar *progressbar.ProgressBar }

// progress starts a line on standard error; total is in bytes, 0 is unknown.
func (c *call) progress(label string, total int64) *progress {
	if !c.interactive() || c.global.JSON {
		return &progress{}
	}
	if total <= 0 {
		total = -1
	}
	return &progress{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(c.err),
		progressbar.OptionSetDescription(label),
		progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(total > 0),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetWidth(24),
	)}
}

// interactive reports whether a person watches standard error.
func (c *call) interactive() bool {
	f, ok := c.err.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *progress) add(n int64) {
	if p.bar != nil {
		_ = p.bar.Add64(n)
	}
}

// to sets how far a read is, and of how much, 0 where nobody knows yet.
func (p *progress) to(total, done int64) {
	if p.bar == nil {
		return
	}
	if total > 0 {
		p.bar.ChangeMax64(max(total, done))
	}
	_ = p.bar.Set64(done)
}

// describe says what is being read now.
func (p *progress) describe(label string) {
	if p.bar != nil {
		p.bar.Describe(label)
	}
}

// hide clears the line, so that another may be printed in its place.
func (p *progress) hide() {
	if p != nil && p.bar != nil {
		_ = p.bar.Clear()
	}
}

func (p *progress) done() {
	if p.bar != nil {
		_ = p.bar.Finish()
		_ = p.bar.Clear()
	}
}

// reader counts what is read through it and stops reading when ctx ends.
func (p *progress) reader(ctx context.Context, r io.Reader) io.Reader {
	return &countingReader{ctx, r, p}
}

type countingReader struct {
	ctx context.Context
	r   io.Reader
	p   *progress
}

func (r *countingReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(b)
	r.p.add(int64(n))
	return n, err
}

// waiting shows a state that changes now and then, on a line that is rewritten.
type waiting struct {
	bar *progressbar.ProgressBar
}

func (c *call) waiting(label string) *waiting {
	if !c.interactive() || c.global.JSON {
		return &waiting{}
	}
	return &waiting{progressbar.NewOptions(-1,
		progressbar.OptionSetWriter(c.err),
		progressbar.OptionSetDescription(label),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionClearOnFinish(),
	)}
}

func (w *waiting) show(state string) {
	if w.bar != nil {
		w.bar.Describe(state)
		_ = w.bar.Add(1)
	}
}

// hide clears the line, so that another may be printed in its place.
func (w *waiting) hide() {
	if w != nil && w.bar != nil {
		_ = w.bar.Clear()
	}
}

func (w *waiting) done() {
	if w.bar != nil {
		_ = w.bar.Finish()
		_ = w.bar.Clear()
	}
}

// printJSON prints one value as one line.
func (c *call) printJSON(v any) error { return json.NewEncoder(c.out).Encode(v) }

// table prints rows of aligned columns under a header.
func (c *call) table(header string, rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, header)
	rows(w)
	return w.Flush()
}

// size prints bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
