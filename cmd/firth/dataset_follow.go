package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

// Help says what kong prints below the arguments.
func (datasetStatusCmd) Help() string {
	return `With --follow it shows rate and time left until the preparation is over, and ends with the exit code of firth pack:
0 when all is packed, 8 when files were skipped, another when it failed or was paused. For example
  firth dataset start photos --source /srv/photos && firth dataset status photos --follow`
}

// followEvery is how often a preparation is looked at.
const followEvery = time.Second

// follow waits until the latest preparation of a dataset is over. A node that
// ends meanwhile is waited for: preparations go on where they were.
func (c *call) follow(ctx context.Context, cl *client.Client, ref string) (client.Dataset, error) {
	line := c.waiting("")
	defer line.done()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for seen := false; ; {
		d, err := cl.Dataset(ctx, ref)
		var answered *client.Error
		switch {
		case err == nil && d.Preparation == nil:
			return d, fault.New(fault.Conflict, "dataset %q: was not started yet; `firth dataset start %s` does", d.Name, d.Name)
		case err == nil && d.Preparation.State != "active" && !goesOn(*d.Preparation):
			return d, nil
		case err == nil:
			seen = true
			line.show(howFar(*d.Preparation))
		case ctx.Err() != nil || !seen || errors.As(err, &answered):
			return d, err
		default:
			line.show("the node does not answer; waiting for it")
		}
		select {
		case <-ctx.Done():
			return d, ctx.Err()
		case <-tick.C:
		}
	}
}

// goesOn reports whether chunks of a failed preparation are still to be packed
// without anybody's doing.
func goesOn(p client.Preparation) bool {
	return p.State == "failed" && (p.NextAttempt != nil || p.Chunks["packing"].Chunks > 0)
}

// over is how a command ends that has waited for a preparation.
func over(d client.Dataset) error {
	p := d.Preparation
	switch {
	case p.State == "complete" && p.Skipped > 0:
		return skippedError{p.Skipped}
	case p.State == "complete":
		return nil
	case p.State == "failed" && p.Reason != "":
		return fault.New(fault.Unavailable, "dataset %q: its preparation failed: %s; `firth dataset retry %s` tries again", d.Name, p.Reason, d.Name)
	case p.State == "failed":
		return fault.New(fault.Unavailable, "dataset %q: chunks of its preparation failed; `firth dataset chunks %s` says why, `firth dataset retry %s` tries again", d.Name, d.Name, d.Name)
	}
	return fault.New(fault.Conflict, "dataset %q: its preparation is %s; `firth dataset resume %s` has it go on", d.Name, p.State, d.Name)
}

// howFar is how far a preparation is, on a line of 78 columns at most.
func howFar(p client.Preparation) string {
	parts := []string{map[string]string{"scan": "scanning", "pack": "packing", "index": "indexing"}[p.Stage]}
	switch {
	case p.Reason != "" && p.NextAttempt != nil:
		return cut(fmt.Sprintf("%s  waits, again %s: %s", parts[0], relative(*p.NextAttempt), plain(p.Reason)), 60)
	case p.Stage == "scan":
		parts = append(parts, plural(int(p.Files), "file")+", "+size(p.Bytes))
	}
	if p.Total.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s (%s)", size(p.Done.Bytes), size(p.Total.Bytes), share(p.Done.Bytes, p.Total.Bytes)))
	}
	if pace := paceOf(p); pace != "" {
		parts = append(parts, pace)
	}
	return strings.Join(parts, "  ")
}

// paceOf is the rate of a preparation and the time that remains, as far as they
// are known.
func paceOf(p client.Preparation) string {
	if p.Rate <= 0 {
		return ""
	}
	text := size(int64(p.Rate)) + "/s"
	if p.Remaining > 0 {
		text += ", " + span(time.Duration(p.Remaining)*time.Second) + " left"
	}
	return text
}

// cut shortens a text to a number of characters.
func cut(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}
