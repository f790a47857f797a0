package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
)

// pageSize is how many things an iterator asks for at a time.
const pageSize = 200

// Page is one answer of a list, newest first. Next is the value of "before"
// that continues it, absent at the end.
type Page[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"value of before that continues the list; absent at its end"`
}

// list walks a list page by page, from the newest thing to the oldest. The
// iterator ends after the first error it yields; breaking off is free.
func list[T any](ctx context.Context, c *Client, path string, q url.Values) iter.Seq2[T, error] {
	return walk[T](ctx, c, path, q, "before")
}

// onward walks a list page by page in its own order, from the first to the
// last, as list does.
func onward[T any](ctx context.Context, c *Client, path string, q url.Values) iter.Seq2[T, error] {
	return walk[T](ctx, c, path, q, "after")
}

// walk goes from page to page by the cursor of a name.
func walk[T any](ctx context.Context, c *Client, path string, q url.Values, cursor string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		q := copied(q)
		q.Set("limit", strconv.Itoa(pageSize))
		for {
			var p Page[T]
			if err := c.do(ctx, http.MethodGet, path, q, nil, &p); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.Next == "" || p.Next == q.Get(cursor) {
				return
			}
			q.Set(cursor, p.Next)
		}
	}
}

// copied copies a query, so that an iterator may be walked twice.
func copied(q url.Values) url.Values {
	out := url.Values{}
	for name, values := range q {
		out[name] = append([]string(nil), values...)
	}
	return out
}
