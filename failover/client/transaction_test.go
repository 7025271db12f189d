package client

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
)

// wantTransaction reads a whole one of so many frames between BEGIN and COMMIT, which is last.
func (p *peer) wantTransaction(bodies ...string) (commit *frame.Frame) {
	p.t.Helper()
	name := p.want("BEGIN").Header.Get("transaction")
	if name == "" {
		p.t.Fatal("the transaction has no name")
	}
	for _, body := range bodies {
		f := p.next()
		got := string(f.Body)
		if f.Command != "SEND" {
			got = f.Command + " " + f.Header.Get("id")
		}
		if got != body || f.Header.Get("transaction") != name {
			p.t.Fatalf("got %s %v %q, want %s", f.Command, f.Header, f.Body, body)
		}
		p.receipt(f) // which says nothing about the transaction
	}
	return p.want("COMMIT", "transaction", name)
}

func begin(t *testing.T, c *Client, bodies ...string) *Transaction {
	t.Helper()
	tx := c.Begin()
	for _, body := range bodies {
		if err := tx.Send("/queue/a", "", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	return tx
}

func commit(t *testing.T, tx *Transaction) <-chan error {
	t.Helper()
	ctx := within(t)
	return async(func() error { return tx.Commit(ctx) })
}

func TestTransaction(t *testing.T) {
	t.Parallel()
	c, p := pair(t, listen(t), "", Options{})
	s, f := subscribe(t, c, p, stomp.AckClientIndividual)
	p.message(f, "1", "in")
	p.message(f, "2", "bad")
	tx := begin(t, c, "out")
	if err := errors.Join(tx.Ack(receive(t, s, "in")), tx.Nack(receive(t, s, "bad"), stomp.SubscribeOpt.Id("x"))); err == nil {
		t.Error("an option for another frame was taken")
	}
	done := commit(t, tx)
	p.receipt(p.wantTransaction("out", "ACK 1"))
	waitNil(t, done)
	for _, err := range []error{tx.Commit(within(t)), tx.Send("/queue/a", "", nil)} {
		if !errors.Is(err, ErrTransactionEnded) {
			t.Errorf("after the end: %v", err)
		}
	}
	if err := c.Begin().Commit(within(t)); err != nil {
		t.Errorf("an empty one: %v", err)
	}
	aborted := begin(t, c, "never")
	aborted.Abort()
	if err := aborted.Commit(within(t)); !errors.Is(err, ErrTransactionEnded) {
		t.Errorf("an aborted one: %v", err)
	}
	next := send(t, c, "x")
	p.receipt(p.wantSend("x")) // and nothing of those two
	waitNil(t, next)
}

// One of messages with ids alone is sent again as a whole, until it is answered.
func TestTransactionIsSentAgain(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	done := commit(t, begin(t, c, "1", "2"))
	p.want("BEGIN")
	id := p.wantSend("1").Header.Get("deduplication-id")
	p.Close()
	p = b.connected()
	p.wantTransaction("1", "2")
	p.Close()
	p = b.connected()
	p.want("BEGIN")
	if again := p.wantSend("1").Header.Get("deduplication-id"); again != id {
		t.Errorf("deduplication-id %s, and before %s", again, id)
	}
	p.wantSend("2")
	p.receipt(p.want("COMMIT"))
	waitNil(t, done)
}

// One without ids, or with acknowledgements, is in doubt when its COMMIT has no answer, and is not sent again.
func TestTransactionInDoubt(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{NoDeduplication: true}, {}} {
		b := listen(t)
		c, p := pair(t, b, "", o)
		tx := begin(t, c, "1")
		want := []string{"1"}
		if !o.NoDeduplication {
			s, f := subscribe(t, c, p, stomp.AckClientIndividual)
			p.message(f, "7", "in")
			if err := tx.Ack(receive(t, s, "in")); err != nil {
				t.Fatal(err)
			}
			want = append(want, "ACK 7")
		}
		done := commit(t, tx)
		p.wantTransaction(want...)
		p.Close()
		if err := wait(t, done); !errors.Is(err, ErrInDoubt) {
			t.Errorf("got %v", err)
		}
		p = b.connected()
		if !o.NoDeduplication {
			p.receipt(p.want("SUBSCRIBE"))
		}
		next := send(t, c, "x")
		p.receipt(p.wantSend("x"))
		waitNil(t, next)
	}
}

// What has not left is sent later, if it acknowledges nothing; else it is rolled back.
func TestTransactionOfALostConnection(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{NoDeduplication: true})
	s, f := subscribe(t, c, p, stomp.AckClientIndividual)
	p.message(f, "1", "in")
	m := receive(t, s, "in")
	before := begin(t, c, "with an ACK")
	if err := before.Ack(m); err != nil {
		t.Fatal(err)
	}
	lost := make(chan error, 1)
	c.mu.Lock() // nothing is written until the connection is gone
	p.Close()
	go func() { lost <- before.Commit(within(t)) }()
	bare := commit(t, begin(t, c, "bare"))
	c.mu.Unlock()
	if err := wait(t, lost); !errors.Is(err, ErrRolledBack) && !errors.Is(err, ErrInDoubt) {
		t.Errorf("got %v", err)
	}
	p = b.connected()
	p.receipt(p.want("SUBSCRIBE"))
	after := begin(t, c, "with an old ACK")
	if err := after.Ack(m); !errors.Is(err, ErrLostAck) {
		t.Errorf("an acknowledgement of an earlier connection: %v", err)
	}
	if err := after.Commit(within(t)); !errors.Is(err, ErrRolledBack) {
		t.Errorf("its transaction: %v", err)
	}
	select {
	case err := <-bare: // it was written to the connection that was lost
		if !errors.Is(err, ErrInDoubt) {
			t.Errorf("got %v", err)
		}
	case f := <-frames(p):
		if f.Command != "BEGIN" {
			t.Fatalf("got %s", f.Command)
		}
		p.wantSend("bare")
		p.receipt(p.want("COMMIT"))
		waitNil(t, bare)
	}
}

func frames(p *peer) <-chan *frame.Frame {
	ch := make(chan *frame.Frame, 1)
	go func() {
		if f, err := p.in.Read(); err == nil {
			ch <- f
		}
	}()
	return ch
}

// A message of it that the broker refuses ends the transaction.
func TestTransactionIsRefused(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	done := commit(t, begin(t, c, "good", "bad"))
	p.want("BEGIN")
	p.wantSend("good")
	f := p.wantSend("bad")
	p.say("ERROR", "message", "no", "receipt-id", f.Header.Get("receipt"))
	var refused stomp.Error
	if err := wait(t, done); !errors.As(err, &refused) || errors.Is(err, ErrInDoubt) {
		t.Errorf("got %v", err)
	}
	p = b.connected()
	next := send(t, c, "x")
	p.receipt(p.wantSend("x"))
	waitNil(t, next)
}

func TestTransactionIsTooLarge(t *testing.T) {
	t.Parallel()
	c, _ := pair(t, listen(t), "maxCacheSize=2000", Options{})
	tx := begin(t, c, "1")
	if err := tx.Send("/queue/a", "", []byte(strings.Repeat("x", 2000))); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "maxCacheSize") {
		t.Errorf("got %v", err)
	}
}

// What acknowledges messages of two connections is rolled back: the first of them are given out again.
func TestTransactionOverTwoConnections(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	s, f := subscribe(t, c, p, stomp.AckClientIndividual)
	p.message(f, "1", "old")
	tx := c.Begin()
	if err := tx.Ack(receive(t, s, "old")); err != nil {
		t.Fatal(err)
	}
	p.Close()
	p = b.connected()
	f = p.want("SUBSCRIBE")
	p.receipt(f)
	p.message(f, "2", "new")
	if err := tx.Ack(receive(t, s, "new")); !errors.Is(err, ErrLostAck) {
		t.Errorf("got %v", err)
	}
	if err := tx.Commit(within(t)); !errors.Is(err, ErrRolledBack) {
		t.Errorf("got %v", err)
	}
	next := send(t, c, "next")
	p.receipt(p.wantSend("next")) // and nothing of it before
	waitNil(t, next)
}

// A COMMIT that the broker answers with "not carried out" is not in doubt: it is rolled back, or made again.
func TestCommitIsRefused(t *testing.T) {
	t.Parallel()
	for copies, want := range map[string]error{"0": ErrRolledBack, "1": ErrInDoubt} {
		b := listen(t)
		c, p := pair(t, b, "", Options{})
		s, f := subscribe(t, c, p, stomp.AckClientIndividual)
		p.message(f, "1", "in")
		tx := begin(t, c, "out")
		if err := tx.Ack(receive(t, s, "in")); err != nil {
			t.Fatal(err)
		}
		done := commit(t, tx)
		f = p.wantTransaction("out", "ACK 1")
		p.say("ERROR", "message", "alone", "code", "not-replicated", "copies", copies, "receipt-id", f.Header.Get("receipt"))
		if err := wait(t, done); !errors.Is(err, want) {
			t.Errorf("copies:%s: got %v", copies, err)
		}
		p.wantEnd()
	}
	b := listen(t)
	c, p := pair(t, b, "", Options{NoDeduplication: true})
	done := commit(t, begin(t, c, "bare"))
	f := p.wantTransaction("bare")
	p.say("ERROR", "message", "alone", "code", "not-replicated", "copies", "0", "receipt-id", f.Header.Get("receipt"))
	p = b.connected()
	p.receipt(p.wantTransaction("bare"))
	waitNil(t, done)
}
