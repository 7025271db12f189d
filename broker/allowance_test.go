package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A queuer asks an allowance for shares and notes who was granted his.
type queuer struct {
	t      *testing.T
	from   *allowance
	shares []*share
}

func newQueuer(t *testing.T, limit int64, octets ...int64) *queuer {
	q := &queuer{t: t, from: newAllowance(limit)}
	for _, n := range octets {
		q.ask(n)
	}
	return q
}

func (q *queuer) ask(octets int64) {
	s := newShare()
	q.shares = append(q.shares, &s)
	q.from.ask(&s, octets)
}

// wantHeld checks which shares are held, by their numbers.
func (q *queuer) wantHeld(want ...int) {
	q.t.Helper()
	var held []int
	octets := int64(0)
	for i, s := range q.shares {
		if !s.since.IsZero() {
			held = append(held, i)
			octets += s.octets
		}
		if token := len(s.granted) > 0; token == s.since.IsZero() {
			q.t.Errorf("share %d: a token: %t", i, token)
		}
	}
	if fmt.Sprint(held) != fmt.Sprint(want) {
		q.t.Errorf("held are %v, want %v", held, want)
	}
	if q.from.held != octets || q.from.holders != len(held) {
		q.t.Errorf("%d octets of %d are counted, want %d of %d", q.from.held, q.from.holders, octets, len(held))
	}
}

func (q *queuer) leave(n int) { q.from.leave(q.shares[n]) }

// Shares are granted in the order of asking: nobody overtakes a large one that
// waits for room.
func TestAllowanceIsFair(t *testing.T) {
	t.Parallel()
	q := newQueuer(t, 100, 40, 40, 60, 10, 10)
	q.wantHeld(0, 1)
	q.leave(0)
	q.wantHeld(1, 2)
	q.leave(1)
	q.wantHeld(2, 3, 4)
	q.ask(30)
	q.leave(2)
	q.wantHeld(3, 4, 5)
}

// A share larger than the allowance is granted alone.
func TestAllowanceOfALargeOne(t *testing.T) {
	t.Parallel()
	q := newQueuer(t, 100, 1000)
	q.wantHeld(0)
	q.ask(1)
	q.ask(1000)
	q.wantHeld(0)
	q.leave(0)
	q.wantHeld(1)
	q.leave(1)
	q.wantHeld(2)
}

// Who leaves while he waits lets the others go on; a share can be asked for
// again, and asking twice is asking once.
func TestAllowanceIsLeft(t *testing.T) {
	t.Parallel()
	q := newQueuer(t, 100, 60, 60, 40)
	q.from.ask(q.shares[0], 1)
	q.from.ask(q.shares[1], 1)
	q.wantHeld(0)
	q.leave(1)
	q.wantHeld(0, 2)
	q.leave(1)
	q.leave(0)
	if !q.from.ask(q.shares[0], 10) {
		t.Error("a share is not granted though there is room")
	}
	q.wantHeld(0, 2)
}

// However many are slow, small messages do not use up the allowance.
func TestPortionsOfVeryMany(t *testing.T) {
	t.Parallel()
	const limit, message = 32 << 20, 600
	q := newQueuer(t, limit)
	for i := range 20_000 {
		q.ask(max(q.from.portion(), message))
		if i == 0 && q.shares[0].octets != fetchBytes {
			t.Errorf("the first may ask for %d octets", q.shares[0].octets)
		}
	}
	if n := len(q.from.waiting); n > 0 {
		t.Errorf("%d wait", n)
	}
}

// A share is overdue only while others wait.
func TestShareIsOverdue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueuer(t, 100, 60)
		want := func(want bool) {
			t.Helper()
			if got := q.from.overdue(q.shares[0], time.Minute); got != want {
				t.Errorf("overdue: %t", got)
			}
		}
		time.Sleep(time.Hour)
		want(false)
		q.ask(60)
		want(true)
		q.leave(0)
		want(false)
		q.leave(1)
		q.from.ask(q.shares[0], 60)
		q.ask(60)
		want(false)
		time.Sleep(time.Minute)
		want(true)
	})
}
