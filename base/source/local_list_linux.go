package source

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firth-project/firth/base/fault"
)

// listing is a directory that is being read. A mount whose server is gone gives
// a call to the system back never, and with it the goroutine that made it: who
// waits goes on without, behind the name at hand.
type listing struct {
	mu    sync.Mutex
	dir   *os.File   // once all names are known; until then it is its reader's alone
	names []string   // all of them are known when there is a dir
	out   []entry    // what is known of the first names
	steps int        // so many calls have come back
	turn  int        // readers with another one are given up
	mute  fault.Kind // of the error when not even the directory answers
	err   error
}

// namesAtOnce is how many names of a directory are asked for in a call.
const namesAtOnce = 4096

// readDir lists a directory with one stat a name, relative to the open
// directory: no path is looked up twice. A name for which no answer comes in
// time is told as unreadable.
func (l *local) readDir(ctx context.Context, dir string) ([]entry, error) {
	d := &listing{mute: fault.Forbidden} // one directory, of many
	if dir == "" {
		d.mute = fault.Unavailable
	}
	over := make(chan struct{}, 1)
	go d.read(l, dir, 0, over)
	limit := time.NewTimer(l.patience)
	defer limit.Stop()
	for seen := 0; ; {
		select {
		case <-over:
			return d.end()
		case <-ctx.Done():
			d.leave()
			return nil, ctx.Err()
		case <-limit.C:
		}
		limit.Reset(l.patience)
		steps, goOn := d.skip(seen, l.patience)
		if seen = steps; goOn != nil {
			over = make(chan struct{}, 1)
			go goOn(over)
		}
	}
}

// read opens the directory and lists it.
func (d *listing) read(l *local, dir string, turn int, over chan<- struct{}) {
	defer func() { over <- struct{}{} }()
	f, err := l.openFile(rootOr(dir))
	if err != nil {
		d.step(turn, func() { d.err = err })
		return
	}
	wanted := d.step(turn, func() {})
	for wanted && err == nil {
		var more []string
		more, err = f.Readdirnames(namesAtOnce)
		wanted = d.step(turn, func() { d.names = append(d.names, more...) })
	}
	fd := int(f.Fd())
	all := errors.Is(err, io.EOF) && d.step(turn, func() { d.dir, d.out = f, make([]entry, 0, len(d.names)) })
	if all {
		d.stat(fd, 0, turn)
		return
	}
	f.Close()
	d.step(turn, func() { d.err = err })
}

// stat asks for the names from one on.
func (d *listing) stat(fd, from, turn int) {
	var st unix.Stat_t
	for _, name := range d.names[from:] {
		e := entry{name: name}
		if err := retryInterrupted(func() error { return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
			e.bad, e.note = true, localFault(err).Error()
		} else {
			describeStat(&e, &st)
		}
		if e.kind == KindSymlink {
			readLink(&e, fd, int(st.Size))
		}
		if !d.step(turn, func() { d.out = append(d.out, e) }) {
			return
		}
	}
}

// step takes what a call has told, unless nobody waits for it any more.
func (d *listing) step(turn int, take func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if turn != d.turn {
		return false
	}
	d.steps++
	take()
	return true
}

// skip gives up the call at hand if none has come back since seen were: what
// to go on with is returned, if there is anything.
func (d *listing) skip(seen int, patience time.Duration) (steps int, goOn func(over chan<- struct{})) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.steps != seen {
		return d.steps, nil
	}
	d.turn++
	why := fault.New(d.mute, "no answer for %s: a mount whose server is gone, perhaps", patience)
	if d.dir == nil {
		d.err = why
		return d.steps, func(over chan<- struct{}) { over <- struct{}{} }
	}
	if len(d.out) < len(d.names) {
		d.out = append(d.out, entry{name: d.names[len(d.out)], kind: KindOther, bad: true, note: why.Error()})
	}
	fd, from, turn := int(d.dir.Fd()), len(d.out), d.turn
	return d.steps, func(over chan<- struct{}) {
		d.stat(fd, from, turn)
		over <- struct{}{}
	}
}

// leave gives up whatever call is at hand.
func (d *listing) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn++
	d.close()
}

// end returns what was listed.
func (d *listing) end() ([]entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.close()
	if d.err != nil {
		return nil, d.err
	}
	return d.out, nil
}

// close lets go of the directory. A reader that was given up asks at most one
// more thing by its number, and is not believed.
func (d *listing) close() {
	if d.dir != nil {
		d.dir.Close()
	}
}
