package job_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/job"
)

const childURL = "FIRTH_TEST_JOB_CHILD"

var killed = job.Kind[note]{Name: "test.killed", Attempts: 2}

// TestProcessToKill is not a test: it is the process that TestKilledProcess
// starts, with a job that never ends.
func TestProcessToKill(t *testing.T) {
	url := os.Getenv(childURL)
	if url == "" {
		t.Skip("only for TestKilledProcess")
	}
	c := newClient(t, dbtest.Reopen(t, url), job.Options{Handlers: []job.Handler{killed.Handle(func(context.Context, note) error {
		fmt.Println("job began")
		select {}
	}, nil)}})
	c.Run(t.Context())
}

// killWhileRunning has another process take a job and kills it with SIGKILL.
func killWhileRunning(t *testing.T, url string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcessToKill$")
	cmd.Env = append(os.Environ(), childURL+"="+url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "job began") {
	}
	cmd.Process.Kill()
	cmd.Wait()
}

// A job whose process was killed is taken over: at once by the next process on
// SQLite, when the lease has run out by another one on PostgreSQL. Kills do not
// use up its attempts until there were very many, and then the noun is told.
func TestKilledProcess(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *db.DB) {
		buried := make(chan error, 1)
		c := newClient(t, d, job.Options{Handlers: []job.Handler{killed.Handle(func(context.Context, note) error {
			t.Error("a job with no attempts left ran")
			return nil
		}, func(_ context.Context, _ note, reason error) error {
			buried <- reason
			return nil
		})}})
		enqueue(t, d, c, killed, 1)
		killWhileRunning(t, d.URL())
		if j := settle(t, c, killed.Name, job.Running); j.Attempt != 1 {
			t.Errorf("after the first kill: %+v", j)
		}
		if d.Engine() == db.PostgreSQL {
			endLeases(t, d)
		}
		killWhileRunning(t, d.URL()) // it takes the job from the first, and dies too
		j := settle(t, c, killed.Name, job.Running)
		if j.Attempt != 2 || j.MaxAttempts != 3 {
			t.Errorf("after the second kill: %+v", j)
		}
		if _, err := d.SQL().ExecContext(t.Context(), "UPDATE river_job SET attempt = 50, max_attempts = 50"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		run(t, c)
		if d.Engine() == db.PostgreSQL {
			endLeases(t, d)
		}
		reason := receive(t, buried)
		t.Logf("taken over after %v", time.Since(began))
		if !strings.Contains(reason.Error(), "process") {
			t.Errorf("reason = %v", reason)
		}
		if j := settle(t, c, killed.Name, job.Dead); !strings.Contains(j.Error, "process") {
			t.Errorf("dead: %+v", j)
		}
	})
}

// endLeases makes the dead look eight seconds dead, unless the tests may take
// that long. A living process that it hits as well enlists again.
func endLeases(t *testing.T, d *db.DB) {
	t.Helper()
	if os.Getenv("FIRTH_TEST_LONG") != "" {
		return
	}
	if _, err := d.SQL().ExecContext(t.Context(), "UPDATE job_worker SET seen_at = seen_at - INTERVAL '1 hour'"); err != nil {
		t.Fatal(err)
	}
}

// A process that was thought dead lets go of its jobs.
func TestLostLeaseEndsJobs(t *testing.T) {
	t.Parallel()
	d := dbtest.Reopen(t, dbtest.PostgresURL(t))
	if err := job.Migrate(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	k := job.Kind[note]{Name: "test.lost"}
	began, ended := make(chan struct{}, 9), make(chan error, 9)
	var lost atomic.Bool
	c := newClient(t, d, job.Options{Workers: map[job.Queue]int{job.Light: 1}, Handlers: []job.Handler{k.Handle(func(ctx context.Context, _ note) error {
		began <- struct{}{}
		if lost.Swap(true) {
			return nil
		}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return ctx.Err()
	}, nil)}})
	run(t, c)
	enqueue(t, d, c, k, 1)
	receive(t, began)
	if _, err := d.SQL().ExecContext(t.Context(), "DELETE FROM job_worker"); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, ended); !strings.Contains(err.Error(), "lease") {
		t.Errorf("ended by %v", err)
	}
	settle(t, c, k.Name, job.Done)
}
