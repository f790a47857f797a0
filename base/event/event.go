package event

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this package.
var Migrations fs.FS = migrations

// Event is one thing that happened to one subject.
type Event struct {
	Pos     int64           `json:"pos"`            // from 1, without gaps; given some time after commit
	At      time.Time       `json:"at"`             // when it happened, UTC; now if zero on Append
	Kind    string          `json:"kind"`           // "content.stored"
	Project int64           `json:"project"`        // 0 if of none
	Subject string          `json:"subject"`        // "content/12"
	Data    json.RawMessage `json:"data,omitempty"` // what the kind says, an object; may be nil
}

// JSON encodes what a kind says, for Event.Data. A value that cannot be encoded
// is a programmer's error and panics.
func JSON(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("event: data of type %T does not encode: %v", v, err))
	}
	return data
}

type row struct {
	bun.BaseModel `bun:"table:event_log"`

	ID      int64 `bun:",pk,autoincrement"`
	Pos     *int64
	At      time.Time
	Kind    string
	Project int64
	Subject string
	Data    string
}

// topic wakes the sequencers and the followers of all processes.
const topic = "event"

// Append adds an event in the transaction of the change it tells of. Readers see
// it within milliseconds after the commit where some process runs a Log. Pos is
// ignored.
func Append(ctx context.Context, tx *db.Tx, e Event) error {
	if e.Kind == "" || e.Data != nil && !json.Valid(e.Data) {
		return fault.New(fault.Internal, "event %q of %s: needs a kind, and data that is JSON or nil", e.Kind, e.Subject)
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	_, err := tx.NewInsert().Model(&row{
		At: db.Now(e.At), Kind: e.Kind, Project: e.Project, Subject: e.Subject, Data: string(e.Data),
	}).ExcludeColumn("id", "pos").Returning("NULL").Exec(ctx)
	if err != nil {
		return fault.Wrap(err, "append event %s of %s", e.Kind, e.Subject)
	}
	tx.Wake(topic)
	return nil
}

func (r row) event() Event {
	e := Event{Pos: *r.Pos, At: r.At.UTC(), Kind: r.Kind, Project: r.Project, Subject: r.Subject}
	if r.Data != "" {
		e.Data = json.RawMessage(r.Data)
	}
	return e
}
