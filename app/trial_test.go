package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/app"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

// The whole life of a file in one process: stored, packed, dealt, fetched back.
func TestTrial(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	trial, err := app.StartTrial(ctx, app.TrialConfig{Home: t.TempDir(), Providers: 3, Copies: 2, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := trial.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	c, err := client.New(trial.API, client.Options{Token: trial.Token})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := c.AddFile(ctx, "hello.txt", strings.NewReader("hello, firth"), client.AddOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CloseBucket(ctx, stored.Bucket); err != nil {
		t.Fatal(err)
	}
	for e, err := range c.Events(ctx, 0, "") {
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s %s", e.Kind, e.Subject)
		if e.Kind == "content.stored_on_filecoin" {
			break
		}
	}
	car, err := c.ContentCAR(ctx, stored.CID, client.AnyProvider)
	if err != nil {
		t.Fatal(err)
	}
	defer car.Close()
	r, err := dag.NewCARReader(car, dag.CAROptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := r.Next()
	if err != nil || string(b.RawData()) != "hello, firth" {
		t.Errorf("came back as %v, %v", b, err)
	}
}

// A trial that could not be set up is gone: nobody has to stop it.
func TestTrialThatCannotStart(t *testing.T) {
	trial, err := app.StartTrial(t.Context(), app.TrialConfig{Home: t.TempDir(), Providers: 1, Copies: -1, Log: t.Output()})
	if trial != nil || !fault.Is(err, fault.Invalid) {
		t.Errorf("%v, %v", trial, err)
	}
}
