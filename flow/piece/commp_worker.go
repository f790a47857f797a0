package piece

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// Claim is an import that a worker owns.
type Claim struct {
	ID, Epoch int64
	Size      int64  // bytes of the file
	Limit     int64  // bytes of a CAR that fits into a piece
	Root      string // that was given; "" is the CAR's own
	URL       string // where the CAR is; "" is: the node has it
	Version   string // of what the URL names, as its server says
	Parts     int    // of earlier claims, to go on from
	Lease     time.Duration
}

// Result is what a worker found, beside the index.
type Result struct {
	Root string
	At   int64 // where the CAR begins in the file
}

// Upstream is the node whose imports a worker computes. An import that is lost
// to another owner is fault.Conflict in everything but Claim.
type Upstream interface {
	Imports
	// Claim makes the worker the owner of an import; fault.NotFound is: none waits.
	Claim(ctx context.Context) (Claim, error)
	// Finish hands the index in.
	Finish(ctx context.Context, c Claim, r Result, index io.Reader) error
	// GiveUp ends the attempt; retry says whether another one may succeed.
	GiveUp(ctx context.Context, c Claim, reason string, retry bool) error
}

// Imports are an upstream's imports while they are computed.
type Imports interface {
	// Open streams the file from a byte on, over broken connections too. What is
	// not the version that was claimed is fault.Conflict.
	Open(ctx context.Context, c Claim, from int64) (io.ReadCloser, error)
	// Progress renews the lease.
	Progress(ctx context.Context, c Claim, done int64) error
	// Part reads a part that was kept.
	Part(ctx context.Context, c Claim, number int) (io.ReadCloser, error)
	// Keep keeps a part, from which the next owner goes on; part 0 replaces all.
	Keep(ctx context.Context, c Claim, number int, part io.Reader) error
}

// Worker computes commitments for a node whose database it does not know, some
// imports side by side. Memory is 21 MiB each, and 32 bytes for each 127 KiB of
// CAR, whatever is in it.
type Worker struct {
	up       Upstream
	parallel int
	pause    time.Duration
	clock    func() time.Time
	log      *slog.Logger
	buffers  *Buffers
	every    pace
}

// workerSlots is a window of a worker's scan, 8 MiB; two are there for each
// import.
const workerSlots = 64

// NewWorker returns a worker that does so many imports side by side, and asks
// for work every pause where there is none.
func NewWorker(up Upstream, parallel int, pause time.Duration, clock func() time.Time, log *slog.Logger) *Worker {
	return &Worker{up, parallel, pause, clock, log, NewBuffers(2*parallel, workerSlots), pace{}}
}

// Keep sets how much of a CAR, and how long, is at most between two points that
// another worker can go on from; 0 is 1 GiB and 15 s. It is called before Run.
func (w *Worker) Keep(bytes int64, after time.Duration) { w.every = pace{bytes, after} }

// Run works until ctx ends. What is under way then is given back.
func (w *Worker) Run(ctx context.Context) error {
	places := make(chan struct{}, w.parallel)
	var working sync.WaitGroup
	defer working.Wait()
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := w.up.Claim(ctx)
		if err == nil {
			working.Go(func() {
				defer func() { <-places }()
				w.work(ctx, c)
			})
			continue
		}
		<-places
		if !fault.Is(err, fault.NotFound) && ctx.Err() == nil {
			w.log.Warn("no work from upstream", "err", err)
		}
		wait.Reset(w.pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// work does one import, or says why not.
func (w *Worker) work(ctx context.Context, c Claim) {
	begun, stopped := ctx, false
	err := w.compute(ctx, c)
	switch {
	case err == nil:
		w.log.Info("commitment computed", "import", c.ID, "bytes", c.Size)
		return
	case begun.Err() != nil:
		stopped = true
	case fault.Is(err, fault.Conflict): // another owner has it, or the file is another
		w.log.Warn("import lost", "import", c.ID, "err", err)
	default:
		w.log.Warn("import given up", "import", c.ID, "err", err)
	}
	reason, retry := err.Error(), stopped || fault.KindOf(err).Retry()
	if stopped {
		reason = "the worker stopped"
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := w.up.GiveUp(ctx, c, reason, retry); err != nil && !fault.Is(err, fault.Conflict) {
		w.log.Warn("upstream does not know that an import was given up", "import", c.ID, "err", err) // the lease tells it
	}
}

// compute reads a CAR and hands its index in.
func (w *Worker) compute(ctx context.Context, c Claim) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done atomic.Int64
	var beating sync.WaitGroup
	defer beating.Wait()
	defer cancel(nil)
	beating.Go(func() { w.beat(ctx, c, &done, cancel) })
	err := w.hand(ctx, c, &done)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func (w *Worker) hand(ctx context.Context, c Claim, done *atomic.Int64) error {
	car, err := w.scan(ctx, c)
	if err != nil {
		return err
	}
	defer car.Close()
	done.Store(car.size)
	car.progress = done.Store
	in, err := w.up.Open(ctx, c, car.offset())
	if err != nil {
		return err
	}
	defer in.Close()
	if err := car.run(ctx, in); err != nil {
		return err
	}
	index, into := io.Pipe()
	go func() { _ = into.CloseWithError(car.spool.WriteIndex(ctx, into, car.header, car.size, car.tree)) }()
	defer index.Close()
	return w.up.Finish(ctx, c, Result{car.root.String(), car.at}, index)
}

// scan begins the scan of a claim, behind the parts that were kept if they are
// of use.
func (w *Worker) scan(ctx context.Context, c Claim) (*scan, error) {
	number := 0
	o := scanning{buffers: w.buffers, limit: c.Limit, hint: c.Size, every: w.every, clock: w.clock}
	o.keep = func(ctx context.Context, p *stretch) error {
		in := p.stream()
		defer in.Close()
		err := w.up.Keep(ctx, c, number, in)
		if err == nil {
			number++
		} else if !fault.Is(err, fault.Conflict) {
			w.log.Warn("import goes on without being kept", "import", c.ID, "err", err)
		}
		return err
	}
	if c.Root != "" {
		var err error
		if o.want, err = cid.Decode(c.Root); err != nil {
			return nil, fault.Mark(fault.Invalid, err)
		}
	}
	s, err := newScan(o)
	if err != nil {
		return nil, err
	}
	for ; number < c.Parts && err == nil; number++ {
		err = w.load(ctx, s, c, number)
	}
	if err != nil && ctx.Err() == nil {
		w.log.Warn("import starts over", "import", c.ID, "err", err)
		number, err = 0, s.reset()
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	if number > 0 {
		w.log.Info("import goes on", "import", c.ID, "at", s.size)
	}
	return s, nil
}

func (w *Worker) load(ctx context.Context, s *scan, c Claim, number int) error {
	in, err := w.up.Part(ctx, c, number)
	if err != nil {
		return err
	}
	defer in.Close()
	return s.load(in)
}

// beat tells how far an import is, three times a lease, and ends it when it is
// lost. That upstream cannot be reached for a while does not end it: the lease
// may outlast that, and if not, the result is refused.
func (w *Worker) beat(ctx context.Context, c Claim, done *atomic.Int64, lost context.CancelCauseFunc) {
	tick := time.NewTicker(max(c.Lease/3, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := w.up.Progress(ctx, c, done.Load()); fault.Is(err, fault.Conflict) {
			lost(err)
			return
		}
	}
}
