package devnet_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/devnet"
)

func TestParseFaults(t *testing.T) {
	for text, want := range map[string]map[int]devnet.Fault{
		"":                          {},
		"2:reject,3:lie":            {2: devnet.Reject, 3: devnet.Lie},
		" 1:slow , 1:wrong-bytes, ": {1: devnet.Slow | devnet.WrongBytes},
		"4:never-publish+slash":     {4: devnet.NeverPublish | devnet.Slash},
		"1:none":                    {1: 0},
		"1:stall,2:vanish":          {1: devnet.Stall, 2: devnet.Vanish},
	} {
		got, err := devnet.ParseFaults(text)
		if err != nil || len(got) != len(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		for n, f := range want {
			if got[n] != f {
				t.Errorf("%q: provider %d has %s, want %s", text, n, got[n], f)
			}
		}
	}
	for _, text := range []string{"reject", "0:reject", "-1:lie", "x:lie", "1:", "1:rejects", "1:lie+", "1"} {
		if got, err := devnet.ParseFaults(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add("slow+wrong-bytes")
	f.Add("none")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := devnet.ParseFault(s)
		if err != nil {
			return
		}
		if again, err := devnet.ParseFault(got.String()); err != nil || again != got {
			t.Errorf("%q is %s is %s, %v", s, got, again, err)
		}
	})
}

// faulty starts a network of one provider with a fault and offers it a deal.
func faulty(t *testing.T, f devnet.Fault) (*customer, *offer) {
	u := start(t, devnet.Config{Providers: 1, Faults: map[int]devnet.Fault{1: f}})
	return u, u.offer(0, 0, dealCAR(t))
}

func (u *customer) set(f devnet.Fault) {
	u.Helper()
	u.must(u.net.SetFault(u.info.Providers[0].ID, f))
}

func TestReject(t *testing.T) {
	u, o := faulty(t, devnet.Reject)
	if answer := o.propose(); answer.Accepted || answer.Message != "deal filter says no: maintenance window" {
		t.Errorf("answer %+v", answer)
	}
	u.set(0)
	o.accepted().until("proven", proven)
	if err := u.net.SetFault("f01009", devnet.Reject); !fault.Is(err, fault.NotFound) {
		t.Errorf("fault of nobody: %v", err)
	}
}

func TestStall(t *testing.T) {
	u, o := faulty(t, devnet.Stall)
	o.accepted()
	u.net.Advance(50)
	if s := o.ask(); s.Status != mk12.Accepted || o.status.NBytesReceived != 0 {
		t.Errorf("status %+v", o.status)
	}
	u.set(0)
	o.until("proven", proven)
}

func TestSlow(t *testing.T) {
	_, o := faulty(t, devnet.Slow)
	o.accepted().until("published", func(s mk12.DealStatus) bool { return s.PublishCid != nil })
	before, err := o.u.chain.Head(t.Context())
	o.u.must(err)
	o.until("proven", proven)
	after, err := o.u.chain.Head(t.Context())
	o.u.must(err)
	// Confirm 1, Add 1, Seal 2: ten times that.
	if took := after.Height - before.Height; took != 40 {
		t.Errorf("took %d epochs from published to proven, want 40", took)
	}
	begun := time.Now()
	_, _, _ = o.u.get(0, "/piece/"+o.proposal().PieceCID.String(), nil)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("a small piece took %s", took)
	}
}

func TestLie(t *testing.T) {
	u, o := faulty(t, devnet.Lie)
	o.accepted().until("failed", failed)
	want := "failed to verify CommP: commP expected=" + o.proposal().PieceCID.String() + ", actual="
	rest, found := strings.CutPrefix(o.status.DealStatus.Error, want)
	claimed, end, _ := strings.Cut(rest, ": ")
	c, err := cid.Decode(claimed)
	if !found || end != "commp mismatch" || err != nil || c.Prefix() != o.proposal().PieceCID.Prefix() || c == o.proposal().PieceCID {
		t.Errorf("error %q", o.status.DealStatus.Error)
	}
	if code, _, _ := u.get(0, "/piece/"+o.proposal().PieceCID.String(), nil); code != http.StatusNotFound {
		t.Errorf("piece of a failed deal: status %d", code)
	}
}

func TestNeverPublish(t *testing.T) {
	u, o := faulty(t, devnet.NeverPublish)
	o.accepted().until("transferred", func(s mk12.DealStatus) bool { return s.Status == mk12.Transferred })
	u.net.Advance(50)
	if s := o.ask(); s.Status != mk12.Transferred || s.PublishCid != nil || s.Error != "" {
		t.Errorf("status %+v", s)
	}
	u.set(0)
	o.until("proven", proven)
}

// TestTooLate: a provider that comes to publish after the start epoch gives up.
func TestTooLate(t *testing.T) {
	u, o := faulty(t, devnet.NeverPublish)
	o.accepted().until("transferred", func(s mk12.DealStatus) bool { return s.Status == mk12.Transferred })
	u.net.Advance(100_001)
	u.set(0)
	o.until("failed", failed)
	if s := o.status.DealStatus; s.Status != mk12.Complete || !strings.Contains(s.Error, "but it has expired: current chain height: ") {
		t.Errorf("status %s, error %q", s.Status, s.Error)
	}
}

func TestSlash(t *testing.T) {
	for name, first := range map[string]devnet.Fault{"from the start": devnet.Slash, "later": 0} {
		t.Run(name, func(t *testing.T) {
			u, o := faulty(t, first)
			o.accepted().until("proven", proven)
			u.set(devnet.Slash)
			u.net.Advance(2)
			o.ask()
			deal, err := o.onChain()
			u.must(err)
			if deal.State.SlashEpoch == chain.Undefined || deal.State.Active() {
				t.Errorf("on chain: %+v", deal.State)
			}
			if code, _, _ := u.get(0, "/piece/"+o.proposal().PieceCID.String(), nil); code != http.StatusNotFound {
				t.Errorf("piece of a slashed deal: status %d", code)
			}
		})
	}
}

func TestVanish(t *testing.T) {
	u, o := faulty(t, 0)
	o.accepted().until("published", func(s mk12.DealStatus) bool { return s.PublishCid != nil })
	u.set(devnet.Vanish)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := u.deals.Status(ctx, o.to, o.params.DealUUID, o.key.Sign); !fault.Is(err, fault.Unavailable) {
		t.Errorf("status from nobody: %v", err)
	}
	if resp, err := http.Get(u.info.Providers[0].HTTP + "/piece/x"); err == nil {
		resp.Body.Close()
		t.Errorf("HTTP answers %s", resp.Status)
	}
	u.net.Advance(50)
	u.set(devnet.Slow) // another fault is not this one
	u.set(0)
	if s := o.ask(); proven(s) {
		t.Error("sealed while away")
	}
	o.until("proven", proven)
	if code, _, _ := u.get(0, "/piece/"+o.proposal().PieceCID.String(), nil); code != http.StatusOK {
		t.Errorf("piece after the return: status %d", code)
	}
}

func TestVanishedFromTheStart(t *testing.T) {
	u, o := faulty(t, devnet.Vanish)
	if _, err := u.deals.Ask(t.Context(), o.to, o.proposal().Provider); !fault.Is(err, fault.Unavailable) {
		t.Errorf("ask from nobody: %v", err)
	}
	u.set(0)
	o.accepted().until("proven", proven)
}

func TestWrongBytes(t *testing.T) {
	u, o := faulty(t, devnet.WrongBytes)
	o.accepted().until("proven", proven)
	data := dealCAR(t)
	path := "/piece/" + o.proposal().PieceCID.String()
	if code, _, body := u.get(0, path, nil); code != http.StatusOK || len(body) != len(data) || bytes.Equal(body, data) {
		t.Errorf("whole piece: status %d, %d bytes, right: %t", code, len(body), bytes.Equal(body, data))
	}
	if _, _, body := u.get(0, path, map[string]string{"Range": "bytes=100-199"}); bytes.Equal(body, data[100:200]) {
		t.Error("a range is right")
	}
	const root = "bafkreihw6tfsvzkbhjsfn5yp3eb6xdhebnzhzsx2priqgiz7vmq4eqbwiu"
	c, err := cid.Decode(root)
	u.must(err)
	_, _, raw := u.get(0, "/ipfs/"+root+"?format=raw", nil)
	if got, err := c.Prefix().Sum(raw); err != nil || got == c {
		t.Errorf("raw block is right, %v", err)
	}
	_, _, car := u.get(0, "/ipfs/"+root+"?format=car", nil)
	if err := readCAR(car); err == nil {
		t.Error("CAR is right")
	}
	u.set(0)
	if _, _, car := u.get(0, "/ipfs/"+root+"?format=car", nil); readCAR(car) != nil {
		t.Error("CAR is wrong without the fault")
	}
}

func readCAR(car []byte) error {
	r, err := dag.NewCARReader(bytes.NewReader(car), dag.CAROptions{})
	for err == nil {
		_, _, err = r.Next()
	}
	var broken *dag.CARError
	if errors.As(err, &broken) {
		return broken
	}
	return nil
}
