package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/firth-project/firth/client"
)

// newest is the flag of every list.
type newest struct {
	Limit int `short:"n" help:"Only the newest N; 0 is all. Default is 50 in a table, all with --json." default:"-1" placeholder:"N"`
}

// tableLimit is how much of a list a person is shown unasked.
const tableLimit = 50

// show asks the node for one thing and prints it: as its JSON, or as tell does.
func show[T any](c *call, get func(context.Context, *client.Client) (T, error), tell func(T)) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		v, err := get(ctx, cl)
		if err != nil {
			return err
		}
		if c.global.JSON {
			return c.printJSON(v)
		}
		tell(v)
		return nil
	})
}

// list asks the node for things and prints them: as one JSON array, or as a
// table with a row each. JSON is written as it comes; a table is held in memory
// to be aligned.
func list[T any](c *call, n newest, header string, ask func(context.Context, *client.Client) iter.Seq2[T, error], row func(T) []any) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		if c.global.JSON {
			return c.array(func(emit func(any) error) error {
				return upTo(n.Limit, ask(ctx, cl), func(v T) error { return emit(v) }, nil)
			})
		}
		limit := n.Limit
		if limit < 0 {
			limit = tableLimit
		}
		w, any := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0), false
		err := upTo(limit, ask(ctx, cl), func(v T) error {
			if !any {
				fmt.Fprintln(w, header)
			}
			any = true
			cells := row(v)
			for i, cell := range cells {
				cells[i] = plain(fmt.Sprint(cell))
			}
			_, err := fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf(strings.Repeat("%v\t", len(cells)), cells...), "\t"))
			return err
		}, func() { fmt.Fprintf(c.err, "(the newest %d; --limit 0 shows all)\n", limit) })
		if err != nil {
			return err
		}
		if !any {
			fmt.Fprintln(c.err, "(none)")
		}
		return w.Flush()
	})
}

// upTo does the first of a sequence, limit of them if above zero; more is
// called when something was left.
func upTo[T any](limit int, items iter.Seq2[T, error], do func(T) error, more func()) error {
	n := 0
	for v, err := range items {
		if err != nil {
			return err
		}
		if n++; limit > 0 && n > limit {
			if more != nil {
				more()
			}
			return nil
		}
		if err := do(v); err != nil {
			return err
		}
	}
	return nil
}

// array prints what fn emits as one JSON array on one line; nothing is printed
// when fn fails before it emitted anything.
func (c *call) array(fn func(emit func(any) error) error) error {
	between := "["
	err := fn(func(v any) error {
		raw, err := json.Marshal(v)
		if err == nil {
			_, err = io.WriteString(c.out, between+string(raw))
		}
		between = ","
		return err
	})
	if err != nil {
		return err
	}
	if between == "[" {
		_, err = io.WriteString(c.out, "[]\n")
	} else {
		_, err = io.WriteString(c.out, "]\n")
	}
	return err
}

// fact is one line about a thing.
type fact struct {
	label string
	value any
}

// facts prints what is known of a thing, a line each; what is empty is left out.
func (c *call) facts(all ...fact) {
	wide := 0
	for _, f := range all {
		if f.text() != "" {
			wide = max(wide, len(f.label))
		}
	}
	for _, f := range all {
		if text := f.text(); text != "" {
			fmt.Fprintf(c.out, "%-*s  %s\n", wide, f.label, text)
		}
	}
}

func (f fact) text() string {
	switch v := f.value.(type) {
	case nil:
		return ""
	case int64:
		if v == 0 {
			return ""
		}
	case []string:
		return plain(strings.Join(v, ", "))
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.Local().Format("2006-01-02 15:04:05") + " (" + relative(v) + ")"
	case *time.Time:
		if v == nil {
			return ""
		}
		return fact{"", *v}.text()
	}
	return plain(fmt.Sprint(f.value))
}

// removed tells what is gone.
func (c *call) removed(what string) error {
	if c.global.JSON {
		return c.printJSON(map[string]string{"removed": what})
	}
	_, err := fmt.Fprintf(c.out, "removed %s\n", plain(what))
	return err
}

// relative is a time as people say it: "3m ago", "in 2h".
func relative(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := time.Since(t)
	if d < 0 {
		return "in " + span(-d)
	}
	return span(d) + " ago"
}

func relativeOr(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return relative(*t)
}

// span is a duration in its largest fitting unit.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d/day))
}

// plain makes text from elsewhere fit for a line of a terminal: what could move
// the cursor or end the line is written as an escape.
func plain(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for at, r := range s {
		_, n := utf8.DecodeRuneInString(s[at:])
		switch {
		case r == utf8.RuneError && n == 1: // a byte that is no text
			fmt.Fprintf(&b, `\x%02x`, s[at])
		case unprintable(r):
			quoted := fmt.Sprintf("%q", r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// state is a state with its reason, where it has one.
func state(s, reason string) string {
	if reason == "" {
		return s
	}
	return s + ": " + reason
}

// or is a dash where there is nothing.
func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
