package registertest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"baton/failover"
	"baton/failover/registertest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func record(nonce string) failover.Record {
	return failover.Record{
		Cluster: failover.ID{1}, Epoch: 1, Master: "a", InSync: []failover.Member{{Node: "a", JournalID: failover.ID{2}}},
		Nonce: nonce, By: "a", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func cas(t *testing.T, r *registertest.Register, expect uint64, nonce string) uint64 {
	t.Helper()
	revision, err := r.CAS(t.Context(), expect, record(nonce))
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func wantRead(t *testing.T, r failover.Register, revision uint64, nonce string) {
	t.Helper()
	got, err := r.Read(t.Context())
	if err != nil || got.Revision != revision || got.Record.Nonce != nonce || got.Found != (nonce != "") {
		t.Errorf("read %+v, %v, want revision %d of %q", got, err, revision, nonce)
	}
}

func TestHonestRegister(t *testing.T) {
	t.Parallel()
	r := registertest.New(nil)
	wantRead(t, r, 0, "")
	first := cas(t, r, 0, "1")
	second := cas(t, r, first, "2")
	for _, expect := range []uint64{0, first, second + 1} {
		if _, err := r.CAS(t.Context(), expect, record("3")); !errors.Is(err, failover.ErrLost) {
			t.Errorf("a CAS at %d of %d: %v, want ErrLost", expect, second, err)
		}
	}
	wantRead(t, r, second, "2")
	if _, err := r.CAS(t.Context(), second, failover.Record{}); err == nil || errors.Is(err, failover.ErrLost) {
		t.Errorf("what is no record: %v", err)
	}
}

func TestFatesOfACAS(t *testing.T) {
	t.Parallel()
	for fate, nonce := range map[registertest.Fate]string{
		registertest.NoAnswer: "1", registertest.LostReply: "2", registertest.Delayed: "1",
	} {
		r := registertest.New(registertest.Script(registertest.Honest, fate))
		first := cas(t, r, 0, "1")
		if _, err := r.CAS(t.Context(), first, record("2")); err == nil || errors.Is(err, failover.ErrLost) {
			t.Errorf("fate %d: %v, want an unknown outcome", fate, err)
		}
		if got, err := r.Read(t.Context()); err != nil || got.Record.Nonce != nonce {
			t.Errorf("fate %d: %+v is there, %v, want %s", fate, got, err, nonce)
		}
	}
}

// A CAS that comes late is done when nobody was faster, and is lost when somebody was.
func TestDelayedCAS(t *testing.T) {
	t.Parallel()
	r := registertest.New(registertest.Script(registertest.Delayed, registertest.Delayed, registertest.Delayed))
	for _, nonce := range []string{"1", "2", "3"} {
		_, _ = r.CAS(t.Context(), 0, record(nonce))
	}
	r.Lose(2)
	if r.Pending() != 2 || !r.Deliver(1) {
		t.Fatalf("%d pending, want two, of which the second is done", r.Pending())
	}
	wantRead(t, r, 1, "2")
	if r.Deliver(0) || r.Pending() != 0 {
		t.Error("the other was done too")
	}
	wantRead(t, r, 1, "2")
}

func TestFatesOfARead(t *testing.T) {
	t.Parallel()
	r := registertest.New(nil)
	first := cas(t, r, 0, "1")
	r.Choose(registertest.Script(registertest.Stale))
	wantRead(t, r, 0, "")
	second := cas(t, r, first, "2")
	r.Choose(registertest.Script(registertest.Stale, registertest.NoAnswer))
	wantRead(t, r, first, "1")
	if _, err := r.Read(t.Context()); !errors.Is(err, registertest.ErrNoAnswer) {
		t.Errorf("got %v", err)
	}
	wantRead(t, r, second, "2")
}

func TestWhatAnOperatorMayDo(t *testing.T) {
	t.Parallel()
	r := registertest.New(nil)
	first := cas(t, r, 0, "1")
	second := cas(t, r, first, "2")
	r.Delete()
	wantRead(t, r, second+1, "")
	if _, err := r.CAS(t.Context(), 0, record("3")); !errors.Is(err, failover.ErrLost) {
		t.Errorf("a deleted register takes a first value: %v", err)
	}
	r.Spoil()
	got, err := r.Read(t.Context())
	if !errors.Is(err, failover.ErrRecord) || got.Found {
		t.Errorf("spoilt: %+v, %v", got, err)
	}
	cas(t, r, got.Revision, "3")
	r.Remove()
	if _, err := r.Read(t.Context()); !errors.Is(err, failover.ErrNoRegister) {
		t.Errorf("removed: %v", err)
	}
	if _, err := r.CAS(t.Context(), 0, record("4")); err == nil || errors.Is(err, failover.ErrLost) {
		t.Errorf("removed: %v, want an unknown outcome", err)
	}
	r.SetBack(first)
	wantRead(t, r, first, "1")
	if again := cas(t, r, first, "5"); again != second {
		t.Errorf("the next revision is %d, want %d once more", again, second)
	}
	r.SetBack(0)
	wantRead(t, r, 0, "")
}

func TestWatcher(t *testing.T) {
	t.Parallel()
	r := registertest.New(nil)
	w := r.Watcher()
	next := func(news bool, revision uint64, target error) {
		t.Helper()
		reading, err, ok := w.Next()
		if ok != news || reading.Revision != revision || !errors.Is(err, target) {
			t.Errorf("got %+v, %v, %t, want revision %d, %v, %t", reading, err, ok, revision, target, news)
		}
	}
	next(true, 0, nil)
	next(false, 0, nil)
	first := cas(t, r, 0, "1")
	next(true, first, nil)
	r.Choose(registertest.Script(registertest.Again, registertest.NoAnswer, registertest.NoAnswer, registertest.Honest, registertest.Stale))
	next(true, first, nil)
	next(true, 0, registertest.ErrNoAnswer)
	next(false, 0, registertest.ErrNoAnswer)
	next(true, first, nil)
	next(true, 0, nil)
	next(true, first, nil)
	r.Remove()
	next(true, 0, failover.ErrNoRegister)
}

func TestWatchUntilTheEnd(t *testing.T) {
	t.Parallel()
	r := registertest.New(nil)
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan string)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Watch(ctx, func(reading failover.Reading, _ error) { seen <- reading.Record.Nonce })
	}()
	revision := uint64(0)
	for _, nonce := range []string{"", "1", "2"} {
		if nonce != "" {
			revision = cas(t, r, revision, nonce)
		}
		if got := <-seen; got != nonce {
			t.Errorf("saw %q, want %q", got, nonce)
		}
	}
	cancel()
	<-ended
}

// Whatever happens to operations: what was confirmed was done, what was refused never is, and each change was made at the
// revision that it expected.
func TestHostileRegisterKeepsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		source := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		r := registertest.New(registertest.Hostile(source, rapid.IntRange(0, 100).Draw(t, "percent")))
		var confirmed, refused []string
		expects := map[string]uint64{}
		for i := range rapid.IntRange(1, 60).Draw(t, "operations") {
			if n := r.Pending(); n > 0 && source.IntN(3) == 0 {
				r.Deliver(source.IntN(n))
				continue
			}
			reading, err := r.Read(context.Background())
			if err != nil {
				continue
			}
			nonce := fmt.Sprint("n", i)
			expects[nonce] = reading.Revision
			switch revision, err := r.CAS(context.Background(), reading.Revision, record(nonce)); {
			case err == nil && revision <= reading.Revision:
				t.Fatalf("revision %d comes after %d", revision, reading.Revision)
			case err == nil:
				confirmed = append(confirmed, nonce)
			case errors.Is(err, failover.ErrLost):
				refused = append(refused, nonce)
			}
		}
		before := uint64(0)
		for _, done := range r.Accepted() {
			nonce := done.Record.Nonce
			if expects[nonce] != before || slices.Contains(refused, nonce) {
				t.Fatalf("%s, which expected %d, was done after revision %d", nonce, expects[nonce], before)
			}
			before = done.Revision
			confirmed = slices.DeleteFunc(confirmed, func(c string) bool { return c == nonce })
		}
		if len(confirmed) > 0 {
			t.Fatalf("%v were confirmed and not done", confirmed)
		}
	})
}

// A seed is a run.
func TestSameSeedSameRun(t *testing.T) {
	t.Parallel()
	run := func() (log []string) {
		r := registertest.New(registertest.Hostile(rand.New(rand.NewPCG(7, 7)), 50))
		for i := range 200 {
			reading, readErr := r.Read(context.Background())
			revision, err := r.CAS(context.Background(), reading.Revision, record(fmt.Sprint("n", i)))
			log = append(log, fmt.Sprint(reading, readErr, revision, err))
		}
		return log
	}
	if first, second := run(), run(); !slices.Equal(first, second) {
		t.Error("two runs with one seed differ")
	}
}
