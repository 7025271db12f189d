package failover

import (
	"testing"
	"time"
)

// A master that is lost is looked for at once; one with which every connection comes to nothing, more and more seldom.
func TestRedial(t *testing.T) {
	t.Parallel()
	var r redial
	for _, lasted := range []time.Duration{time.Minute, time.Minute, 0} {
		if !r.ended(lasted) {
			t.Errorf("one that has lasted %v, the first of no use at the most, is not made again at once", lasted)
		}
	}
	last := dialEvery
	for n := range 20 {
		if r.ended(time.Millisecond) {
			t.Fatalf("after %d connections that were of no use the next one is due at once", n+2)
		}
		next := 2 * last
		if n > 6 {
			next = dialSeldom
		}
		if got := r.wait(); got < min(next, dialSeldom)/2 || got >= min(next, dialSeldom)*3/2 {
			t.Errorf("after %d it is due after %v, want about %v", n+2, got, next)
		}
		last = next
	}
	if !r.ended(livedEnough) {
		t.Error("one that was of use again is not made again at once")
	}
	if got := r.wait(); got >= dialEvery*3/2 {
		t.Errorf("after one that was of use it is due after %v", got)
	}
}

// A copy for which there is no room is begun more and more seldom, and nothing else is.
func TestRedialForWantOfRoom(t *testing.T) {
	t.Parallel()
	var r redial
	now := time.Unix(1000, 0)
	for _, want := range []int{2, 4, 8, 16, 32, 60, 60} {
		if r.room(false, now); r.due.Sub(now) != time.Duration(want)*time.Second || r.ended(time.Hour) {
			t.Errorf("the next copy is due after %v, want %d s", r.due.Sub(now), want)
		}
	}
	if got := r.wait(); got < dialSeldom/2 {
		t.Errorf("who may not rest makes the next connection after %v", got)
	}
	if r.room(true, now); r.due.After(now) || !r.ended(time.Hour) {
		t.Error("a copy is waited for that had room")
	}
}
