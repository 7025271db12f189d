package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"baton/broker/stomp"
)

func survivor() *run {
	return &run{w: Workload{Producers: 2, Consumers: 2}.withDefaults(), server: Server{Failover: []string{"a:1", "b:1"}, Dialect: Dialects[0]}}
}

// A message may come again to any consumer of a queue if it says so; then it does not count.
func TestFlaggedMessagesMayComeAgain(t *testing.T) {
	t.Parallel()
	r := survivor()
	one, two := r.newLedger(), r.newLedger()
	for _, c := range []struct {
		of            *ledger
		number        uint32
		again, counts bool
	}{
		{one, 0, false, true}, {one, 1, false, true}, {two, 2, true, true}, {one, 0, true, false}, {two, 1, true, false}, {two, 0, false, true},
	} {
		if counts := c.of.take(stamp{number: c.number}, c.again); counts != c.counts {
			t.Errorf("%+v counts: %v", c, counts)
		}
	}
	one.merge(two)
	if got := one.settle([]int64{3, 0}); got != (Checks{Doubled: 1}) || r.failover().Flagged != 2 {
		t.Errorf("got %+v, %+v", got, r.failover())
	}

	// Of a topic, each has had its own.
	r.w.Topic = true
	one, two = r.newLedger(), r.newLedger()
	if !one.take(stamp{}, false) || !two.take(stamp{}, false) || two.take(stamp{}, true) {
		t.Error("subscribers share what they have had")
	}
}

func TestLongestGap(t *testing.T) {
	t.Parallel()
	r := survivor()
	for _, now := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 6 * time.Second} {
		r.survival.confirmed(now)
	}
	if gap := r.failover().Gap; gap != 3 {
		t.Errorf("%v s", gap)
	}
	if (&run{}).failover() != nil {
		t.Error("a run that ends with its connection tells of failovers")
	}
}

// Only the loss of a connection is survived, and what a broker says that goes.
func TestBroken(t *testing.T) {
	t.Parallel()
	r := survivor()
	ended, end := context.WithCancel(t.Context())
	end()
	frame := func(code string) error {
		in := stomp.NewReader(strings.NewReader("ERROR\nmessage:m\ncode:"+code+"\n\n\x00"), stomp.V12, stomp.AfterConnect()).AcceptServerFrames()
		f, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		return refusal(f)
	}
	gone := fmt.Errorf("producer 1: %w", errGone)
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want bool
	}{
		{t.Context(), gone, true}, {t.Context(), &net.OpError{Err: errors.New("reset")}, true}, {t.Context(), frame("failover"), true},
		{t.Context(), frame("shutdown"), true}, {t.Context(), frame("disk-full"), false}, {t.Context(), errUnconfirmed, false},
		{t.Context(), nil, false}, {ended, gone, false},
	} {
		if got := r.broken(c.ctx, c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
	r.server = Server{Addr: "a:1"}
	if r.broken(t.Context(), gone) {
		t.Error("a run with one broker goes on without it")
	}
}

// A lost connection is followed by one to the next address.
func TestRedialBeginsBehindTheLost(t *testing.T) {
	t.Parallel()
	first, second := newTestRelay(t), newTestRelay(t)
	s := Server{Failover: []string{first.Addr(), second.Addr()}, Dialect: Dialects[0]}
	for lost, want := range map[string]string{"": first.Addr(), first.Addr(): second.Addr(), second.Addr(): first.Addr()} {
		c, err := s.redial(t.Context(), lost)
		if err != nil {
			t.Fatal(err)
		}
		if c.addr != want {
			t.Errorf("behind %q came %s, want %s", lost, c.addr, want)
		}
		c.Close()
	}
}

// What has no receipt is written again as it was: alone, or with its transaction; and the transaction that is open.
func TestResend(t *testing.T) {
	t.Parallel()
	for tx, want := range map[int][]string{
		0: {"SEND 1", "SEND 3", "SEND 4"},
		2: {"BEGIN ", "SEND 2", "SEND 3", "COMMIT 1", "BEGIN ", "SEND 4"},
	} {
		r := survivor()
		r.w.Tx, r.w.Size, r.w.Window = tx, 100, 5
		relay := newTestRelay(t)
		r.server.Failover, r.sends = []string{relay.Addr()}, newRecorders(1)
		p, err := r.newProducer(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if err := p.send(0); err != nil {
				t.Fatal(err)
			}
			if n := p.asked - 1; n == 0 || n == 2 { // answered
				p.slot(n).Store(0)
			}
		}
		p.c.out = nil
		p.resend()
		var got []string
		in := stomp.NewReader(strings.NewReader(string(p.c.out)), stomp.V12, stomp.AfterConnect())
		for f, err := in.Next(); err == nil; f, err = in.Next() {
			receipt, _ := f.Header("receipt")
			if s, ok := readStamp(f.Body); ok {
				id, _ := f.Header("deduplication-id")
				receipt = fmt.Append(nil, s.number)
				if want := fmt.Sprintf("%s-0-%d", r.name, s.number); string(id) != want {
					t.Errorf("deduplication-id %q, want %q", id, want)
				}
			}
			got = append(got, fmt.Sprintf("%s %s", f.Command, receipt))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("transactions of %d: got %v, want %v", tx, got, want)
		}
		p.c.Close()
	}
}
