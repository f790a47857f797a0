package dataset

import (
	"context"
	"fmt"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// rateWindow is how far back a rate looks.
const rateWindow = 2 * time.Minute

// Status returns what a preparation has done and has still to do, from its rows
// alone, whoever works on it. The reason may be that of a chunk which waits.
func (s *Service) Status(ctx context.Context, project, preparation int64) (Status, error) {
	row, err := preparationByID(ctx, s.db.Read(), project, preparation)
	if err != nil {
		return Status{}, err
	}
	counts, err := countChunks(ctx, s.db.Read(), preparation)
	if err != nil {
		return Status{}, err
	}
	st := Status{Preparation: row.preparation(), Chunks: map[ChunkState]Count{}}
	for _, n := range counts {
		st.Chunks[n.State] = Count{Chunks: n.Chunks, Files: n.Files, Bytes: n.Bytes}
		st.Total.Chunks += n.Chunks
		st.Done.Files += n.DoneFiles
		st.Done.Bytes += n.DoneBytes
		if n.State == ChunkPacked || n.State == ChunkRemoved {
			st.Done.Chunks += n.Chunks
		}
		if n.State != ChunkRemoved {
			st.Total.Files += n.Files
			st.Total.Bytes += n.Bytes
		}
	}
	if p := &st.Preparation; p.Reason == "" && p.State.works() {
		c, err := waitingChunk(ctx, s.db.Read(), preparation)
		if err != nil {
			return st, err
		}
		if c.Ordinal != 0 {
			p.Reason, p.Fault, p.NextAttempt = fmt.Sprintf("chunk %d: %s", c.Ordinal, c.Reason), fault.KindNamed(c.Fault), utc(c.NextAttempt)
		}
	}
	return st, s.pace(ctx, &st)
}

// pace works out the rate and the time that remains.
func (s *Service) pace(ctx context.Context, st *Status) error {
	p := st.Preparation
	if !p.State.works() {
		return nil
	}
	now := s.now()
	since := now.Add(-rateWindow)
	if p.StartedAt.After(since) {
		since = p.StartedAt
	}
	recent, err := recentChunks(ctx, s.db.Read(), p.ID, since)
	if err != nil {
		return err
	}
	st.BytesPerSec = rate(recent, since, now)
	if left := st.Total.Bytes - st.Done.Bytes; st.BytesPerSec > 0 && left > 0 && p.Stage != Scanning {
		st.Remaining = time.Duration(float64(left) / st.BytesPerSec * float64(time.Second)).Round(time.Second)
	}
	return nil
}

// rate is how many bytes a second chunks have progressed between two times,
// each at its own average while it was worked on.
func rate(chunks []chunkRow, since, now time.Time) float64 {
	total := 0.0
	for _, c := range chunks {
		if c.StartedAt == nil {
			continue
		}
		from, to := *c.StartedAt, c.UpdatedAt
		worked, bytes := to.Sub(from), max(0, c.DoneBytes-c.BaseBytes)
		if worked <= 0 {
			continue
		}
		if from.Before(since) {
			from = since
		}
		total += float64(bytes) * float64(to.Sub(from)) / float64(worked)
	}
	if span := now.Sub(since).Seconds(); span > 0 {
		return total / span
	}
	return 0
}
