package block

import (
	"fmt"

	"github.com/firth-project/firth/base/fault"
)

// full reports whether the map should be sealed.
func (x *index) full() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.mem) >= x.limit
}

// seal hands the map to the goroutine, with the state that is published when
// it has become a run. It waits while two maps are on their way. When they
// cannot be written (a full disk) the map stays and grows, and sealed is false,
// up to a bound at which seal returns the reason.
func (x *index) seal(state any) (sealed bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.nudge()
	for len(x.sealing) >= 2 && x.failure == nil {
		x.changed.Wait()
	}
	if len(x.sealing) >= 2 {
		if len(x.mem) < 8*x.limit {
			return false, nil
		}
		return false, fault.Wrap(x.failure, "keep the index of %s", x.fs)
	}
	x.sealing = append(x.sealing, sealedMap{x.mem, state})
	x.mem = map[key]loc{}
	x.epoch++
	x.nudge()
	return true, nil
}

// settle makes runs of all sealed maps, then merges runs.
func (x *index) settle() {
	for x.sealAll() && x.merge() {
		continue
	}
}

// sealAll makes runs of all sealed maps; false when that fails.
func (x *index) sealAll() bool {
	for {
		x.mu.RLock()
		var s sealedMap
		more := len(x.sealing) > 0
		if more {
			s = x.sealing[0]
		}
		x.mu.RUnlock()
		if !more {
			return true
		}
		err := x.sealOne(s)
		x.mu.Lock()
		x.failure = err
		x.changed.Broadcast()
		x.mu.Unlock()
		if err != nil {
			x.log.Error("index not sealed", "err", err)
			return false
		}
	}
}

func (x *index) sealOne(s sealedMap) error {
	runs := x.runs // only this goroutine changes it
	if len(s.mem) > 0 {
		r, err := writeRun(x.fs, x.runName(), len(s.mem), sortedEntries(s.mem))
		if err != nil {
			return err
		}
		runs = append([]*run{r}, runs...)
	}
	if err := x.publish(names(runs), s.state); err != nil {
		if len(s.mem) > 0 {
			x.discard(runs[:1])
		}
		return err
	}
	x.state = s.state
	x.mu.Lock()
	x.runs, x.sealing = runs, x.sealing[1:]
	x.mu.Unlock()
	return nil
}

func (x *index) runName() string {
	x.next++
	return fmt.Sprintf("%s/%08d.run", indexFolder, x.next)
}

// discard removes files that no list names any more. Readers that still hold
// one read on; the runtime closes it behind the last of them.
func (x *index) discard(runs []*run) {
	for _, r := range runs {
		if err := x.fs.remove(r.name); err != nil {
			x.log.Warn("old index run not removed", "run", r.name, "err", err)
		}
	}
}

func names(runs []*run) []string {
	out := make([]string, len(runs))
	for i, r := range runs {
		out[i] = r.name
	}
	return out
}
