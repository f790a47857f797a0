package main

import (
	"fmt"
	"time"
)

// waits tells once that a run waits for its source, and why.
func (p *packing) waits(reason string, next *time.Time) {
	if next == nil || next.Equal(p.waited) {
		return
	}
	p.waited = *next
	p.line.hide()
	p.tellWait(reason, *next)
}

// tellWait tells on the side that a source is waited for.
func (c *call) tellWait(reason string, next time.Time) {
	when := "trying again"
	if left := time.Until(next); left >= time.Second {
		when = "next attempt in " + span(left)
	}
	fmt.Fprintf(c.err, "firth: %s; %s\n", plain(reason), when)
}
