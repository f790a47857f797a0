package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/client"
)

var timeZero time.Time

func frame(pos int) string {
	return fmt.Sprintf("id: %d\nevent: content.stored\ndata: {\"pos\":%d,\ndata: \"kind\":\"content.stored\",\"subject\":\"content/%d\"}\n\n", pos, pos, pos)
}

// The stream is cut three times, once in the middle of an event and once by a
// proxy's 503; every event is told once, in order.
func TestEventsResume(t *testing.T) {
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { fmt.Fprint(w, ": hello\n\n", frame(1), frame(2), "id: 3\nda") },
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		func(w http.ResponseWriter) { fmt.Fprint(w, frame(2), strings.ReplaceAll(frame(3), "\n", "\r\n")) },
		func(w http.ResponseWriter) { fmt.Fprint(w, frame(4)) },
	}
	var asked []string
	c := node(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID")+" "+r.URL.RawQuery)
		answers[min(len(asked), len(answers))-1](w)
	})
	var got []int64
	for e, err := range c.Events(t.Context(), 0, "content.stored") {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.Pos); e.Pos == 4 {
			break
		}
	}
	if !slices.Equal(got, []int64{1, 2, 3, 4}) {
		t.Errorf("told %v", got)
	}
	want := []string{"0 after=0&kind=content.stored", "2 after=2&kind=content.stored", "2 after=2&kind=content.stored", "3 after=3&kind=content.stored"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
}

func TestEventsEndWithTheirContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := node(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, frame(1))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	var last error
	for e, err := range c.Events(ctx, 0, "") {
		if e.Pos == 1 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("ended with %v", last)
	}
}

// What connecting again cannot mend ends the stream with the reason.
func TestEventsEndWithAReason(t *testing.T) {
	for name, answer := range map[string]string{
		"refused":    "",
		"garbage":    "data: {\"pos\":\n\n",
		"no pos":     "data: {}\n\n",
		"endless":    "data: " + strings.Repeat("x", 2<<20) + "\n\n",
		"not at all": "closed",
	} {
		t.Run(name, func(t *testing.T) {
			c := node(t, func(w http.ResponseWriter, _ *http.Request) {
				switch answer {
				case "":
					w.WriteHeader(http.StatusUnauthorized)
				case "closed":
					panic(http.ErrAbortHandler)
				default:
					_, _ = io.WriteString(w, answer)
				}
			})
			n := 0
			for _, err := range c.Events(t.Context(), 0, "") {
				if n++; err == nil {
					t.Error("an event came of it")
				}
			}
			if n != 1 {
				t.Errorf("%d yields", n)
			}
		})
	}
}

// Whatever bytes come, the reader ends, yields rising positions and no panic.
func FuzzEvents(f *testing.F) {
	f.Add("")
	f.Add(frame(1) + frame(2))
	f.Add(": c\n\n" + strings.ReplaceAll(frame(7), "\n", "\r\n"))
	f.Add("data\ndata:\n\n\n")
	f.Add("data: {\"pos\":-1}\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		var last int64
		client.ReadEvents(strings.NewReader(stream), 0, func(e client.Event, err error) bool {
			if err == nil && e.Pos <= last {
				t.Errorf("position %d after %d", e.Pos, last)
			}
			last = e.Pos
			return err == nil
		})
	})
}
