package test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/client"
)

// A node with nothing to do, and deals that are kept, leaves the machine alone:
// less than 2 % of a core.
func TestIdle(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			n := startNetwork(t, 2, "--epoch", "1s")
			d := newNode(t, "the node", n)
			// Six times its own pace, at epochs thirty times mainnet's: no idler than in life.
			d.env = []string{"FIRTH_HOME=" + d.home, "FIRTH_CHAIN_FINALITY=1", "FIRTH_DEAL_INTERVAL=5s"}
			if engine == "postgres" {
				d.env = append(d.env, "FIRTH_DATABASE="+dbtest.PostgresURL(t))
			}
			d.start(t)
			introduce(t, n, d, d)
			keep(t, n, d, 1)
			added := decode[client.Content](t, d.firth(t, "add", "--json", plant(t, t.TempDir(), map[string]string{"a": "kept"})))
			d.firth(t, "bucket", "close", fmt.Sprint(added.Bucket))
			kept(t, d.client(t), added.ID, 5*time.Minute)

			// Neighbours on the machine only ever add to it: the calmest of a few
			// looks is the node's own.
			least := 1.0
			for range 4 {
				const watch = 8 * time.Second
				begin, at := cpuTime(t, d.cmd.Process.Pid), time.Now()
				<-time.After(watch)
				share := float64(cpuTime(t, d.cmd.Process.Pid)-begin) / float64(time.Since(at))
				t.Logf("%.2f %% of a core", 100*share)
				if least = min(least, share); least <= 0.02 {
					break
				}
			}
			if least > 0.02 {
				t.Errorf("an idle node takes %.2f %% of a core", 100*least)
			}
			d.stop(t)
		})
	}
}

// cpuTime is what a process has used so far, its kernel time included
// (proc_pid_stat(5): fields 14 and 15, in hundredths of a second).
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:13] {
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += v
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
