package pack

import "sync"

// Windows bounds the memory of many readers: so many of them may read 16 MiB at
// a time, the others 4 MiB. The memory goes from reader to reader; once nobody
// reads, that of one window stays.
type Windows struct {
	places chan struct{}

	mu    sync.Mutex
	spare [][]byte
}

// NewWindows returns n windows.
func NewWindows(n int) *Windows { return &Windows{places: make(chan struct{}, n)} }

// take returns the memory of a window, nil while there is none. Without Windows
// there always is.
func (w *Windows) take() []byte {
	if w == nil {
		return newWindow()
	}
	select {
	case w.places <- struct{}{}:
	default:
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := len(w.spare) - 1; last >= 0 {
		b := w.spare[last]
		w.spare = w.spare[:last]
		return b
	}
	b := newWindow()
	if b == nil {
		<-w.places
	}
	return b
}

// give takes back what take returned. As many are kept as are in use.
func (w *Windows) give(b []byte) {
	if w == nil {
		_ = freeMemory(b[:cap(b)])
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	<-w.places
	w.spare = append(w.spare, b)
	for len(w.spare) > max(len(w.places), 1) {
		last := len(w.spare) - 1
		_ = freeMemory(w.spare[last][:cap(w.spare[last])])
		w.spare = w.spare[:last]
	}
}

// newWindow returns memory of windowSize bytes, nil if there is none to be had.
// It is outside the heap, where it may lie in large pages: the processor finds
// its way through sixteen leaves at once in a tenth less time.
func newWindow() []byte {
	const large = 2 << 20
	b, err := newMemory((windowSize + large - 1) / large * large) // begins at a large page then
	if err != nil {
		return nil
	}
	largePages(b[:windowSize/large*large])
	return b[:windowSize]
}
