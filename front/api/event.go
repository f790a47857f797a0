package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/front"
)

const (
	heartbeat  = 15 * time.Second // between two signs of life on a quiet stream
	writeLimit = 10 * time.Second // for one event to be taken
)

type eventStream struct {
	Exchange
	After int64  `query:"after" minimum:"0" doc:"position to begin after; 0 is the oldest that is kept"`
	Kind  string `query:"kind" doc:"exact, such as content.stored"`
	Last  int64  `header:"Last-Event-ID" minimum:"0" doc:"position to go on after, as browsers send it; holds before after"`
}

func (d *door) eventRoute() {
	add(d, route{
		id: "streamEvents", method: http.MethodGet, path: "/v1/events", tag: "event", scope: account.ReadContent,
		summary: "Follow what happens",
		detail: "Server-sent events: what was, then what comes, in order and without gaps. `id` is the position, `event` the kind, " +
			"`data` the event as JSON. A token sees its project's events, an admin's all. A position that is no longer kept is 404. " +
			"The stream ends when the token or the node does; go on from the last position then.",
	}, func(ctx context.Context, g account.Grant, in *eventStream) (*streamed, error) {
		after := in.After
		if in.Last > 0 {
			after = in.Last
		}
		if _, err := d.Events.Read(ctx, after, 1); err != nil {
			return nil, err
		}
		return &streamed{func(huma.Context) { front.Note(ctx, d.sendEvents(ctx, g, in, after)) }}, nil
	})
}

// sendEvents streams until the caller goes, the token or the node ends or a
// write is not taken.
func (d *door) sendEvents(ctx context.Context, g account.Grant, in *eventStream, after int64) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out := sse{in.answer, http.NewResponseController(in.answer)}
	if err := out.begin(); err != nil {
		return err
	}
	events, failed := make(chan event.Event), make(chan error, 1)
	go func() {
		defer close(events)
		for e, err := range d.Events.Subscribe(ctx, after) {
			if err != nil {
				failed <- err
				return
			}
			if (in.Kind != "" && e.Kind != in.Kind) || (e.Project != g.Project && !g.Allows(account.Admin)) {
				continue
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-d.Stopping:
			return nil
		case e, more := <-events:
			if !more {
				select {
				case err := <-failed:
					return err
				default:
					return nil
				}
			}
			err = out.send(e)
		case <-beat.C:
			if !d.stillAdmitted(ctx, in.request) {
				return nil
			}
			err = out.write(": \n\n")
		}
		if err != nil {
			return err
		}
	}
}

// stillAdmitted reports whether the request's token would be let in now.
func (d *door) stillAdmitted(ctx context.Context, r *http.Request) bool {
	_, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	_, err := d.Account.Authenticate(ctx, strings.TrimSpace(secret))
	return err == nil
}

// sse writes text/event-stream (WHATWG HTML, 9.2).
type sse struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s sse) begin() error {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that gathers an answer before passing it on would hold events back
	s.w.WriteHeader(http.StatusOK)
	return s.write(": \n\n")
}

func (s sse) send(e event.Event) error {
	data, err := json.Marshal(client.Event(e))
	if err != nil {
		return err
	}
	return s.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.Pos, e.Kind, data))
}

func (s sse) write(frame string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeLimit)) // a test's recorder has none
	if _, err := s.w.Write([]byte(frame)); err != nil {
		return err
	}
	return s.control.Flush()
}
