package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Event is one entry of the node's log. It is a hint: the thing it names holds
// the truth.
type Event struct {
	Pos     int64           `json:"pos" doc:"place in the log; what a reader resumes from"`
	At      time.Time       `json:"at"`
	Kind    string          `json:"kind" doc:"noun and state, such as content.stored"`
	Project int64           `json:"project"`
	Subject string          `json:"subject" doc:"noun and id, such as content/12"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Bounds of an event stream: the longest line, and the wait between two
// attempts to connect.
const (
	eventLine    = 1 << 20
	firstRedial  = 250 * time.Millisecond
	longestRetry = 5 * time.Second
)

// Events follows the log: what came after a position (0: from the beginning),
// then what comes, until ctx ends or the caller breaks off. Kind "" is every
// kind. A connection that breaks is made again at the last position seen, so
// that nothing is missed or told twice; an answer that retrying cannot mend,
// and any failure to connect the first time, is yielded and ends it. When ctx
// ends, its error is the last thing yielded.
func (c *Client) Events(ctx context.Context, after int64, kind string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		wait, connected := firstRedial, false
		for {
			body, err := c.openEvents(ctx, after, kind)
			if err != nil && ctx.Err() == nil && (!connected || !mendable(err)) {
				yield(Event{}, err)
				return
			}
			if err == nil {
				connected = true
				last, more := readEvents(body, after, yield)
				body.Close()
				if !more {
					return
				}
				if last > after {
					after, wait = last, firstRedial
				}
			}
			if !pause(ctx, wait) {
				yield(Event{}, ctx.Err())
				return
			}
			wait = min(2*wait, longestRetry)
		}
	}
}

// mendable reports whether connecting again may help: the node is away or says
// so itself.
func mendable(err error) bool {
	var e *Error
	return !errors.As(err, &e) || e.Kind == KindUnavailable || e.Kind == KindInternal || e.Kind == KindExhausted
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Client) openEvents(ctx context.Context, after int64, kind string) (io.ReadCloser, error) {
	pos := strconv.FormatInt(after, 10)
	res, err := c.send(ctx, call{
		method: http.MethodGet, path: "/v1/events", query: query("after", pos, "kind", kind),
		header: http.Header{"Accept": {"text/event-stream"}, "Last-Event-Id": {pos}},
	})
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// readEvents yields events until the stream ends, as text/event-stream frames
// them (WHATWG HTML, 9.2); comments and unknown fields are passed over. It returns the last position
// yielded and whether the caller wants more.
func readEvents(r io.Reader, after int64, yield func(Event, error) bool) (last int64, more bool) {
	last = after
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, eventLine)
	var data []string
	for lines.Scan() {
		line := lines.Text()
		if value, ok := strings.CutPrefix(line, "data:"); ok {
			data = append(data, strings.TrimPrefix(value, " "))
		}
		if line != "" || data == nil {
			continue
		}
		e, err := parseEvent(strings.Join(data, "\n"))
		data = nil
		switch {
		case err != nil:
			yield(Event{}, err)
			return last, false
		case e.Pos <= last:
			continue // told before the connection broke
		}
		last = e.Pos
		if !yield(e, nil) {
			return last, false
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		yield(Event{}, fmt.Errorf("event after position %d: line is longer than %d bytes", last, eventLine))
		return last, false
	}
	return last, true
}

func parseEvent(data string) (Event, error) {
	var e Event
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return e, fmt.Errorf("event %.80q: %w", data, err)
	}
	if e.Pos <= 0 {
		return e, fmt.Errorf("event %.80q: no position", data)
	}
	return e, nil
}
