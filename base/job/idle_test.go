package job_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/job"
)

// Nothing to do costs this process less than 1 % of a core, with all queues.
func TestIdleIsCheap(t *testing.T) {
	if os.Getenv("FIRTH_TEST_LONG") == "" {
		t.Skip("takes 10 s; set FIRTH_TEST_LONG=1")
	}
	each(t, func(t *testing.T, d *db.DB) {
		k := job.Kind[note]{Name: "test.idle"}
		ran := make(chan struct{}, 1)
		c := newClient(t, d, job.Options{Handlers: []job.Handler{k.Handle(noop(ran), nil)}})
		run(t, c)
		enqueue(t, d, c, k, 1)
		receive(t, ran)
		settle(t, c, k.Name, job.Done)

		const period = 5 * time.Second
		before := processorTime(t)
		<-time.After(period)
		share := float64(processorTime(t)-before) / float64(period)
		t.Logf("idle: %.2f %% of a core", 100*share)
		if share > 0.01 {
			t.Error("more than 1 %")
		}
	})
}

// processorTime is what this process has used.
func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
