package client

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
)

// A Transaction is sent as a whole when it is committed; until then it is the client's alone, and takes room in its cache.
type Transaction struct {
	c *Client

	mu         sync.Mutex
	frames     []*frame.Frame // without BEGIN and COMMIT
	bytes      int64
	bare       bool   // a message has no id
	generation uint64 // of the messages that it acknowledges; 0: none
	lost       bool   // it acknowledges a message of an earlier connection
	ended      bool
}

// Begin begins a transaction.
func (c *Client) Begin() *Transaction { return &Transaction{c: c} }

// Send adds a message; see Client.Send. The body must not be changed until Commit has returned.
func (t *Transaction) Send(destination, contentType string, body []byte, opts ...func(*frame.Frame) error) error {
	f, err := t.c.sendFrame(destination, contentType, body, opts)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.add(f); err != nil {
		return err
	}
	t.bare = t.bare || !hasID(f)
	return nil
}

// Ack adds an acknowledgement. ErrLostAck says that the message is of an earlier connection; Commit will say ErrRolledBack then.
func (t *Transaction) Ack(m *Message, opts ...func(*frame.Frame) error) error {
	return t.settle(frame.ACK, m, opts)
}

// Nack adds a refusal; see Ack.
func (t *Transaction) Nack(m *Message, opts ...func(*frame.Frame) error) error {
	return t.settle(frame.NACK, m, opts)
}

func (t *Transaction) settle(command string, m *Message, opts []func(*frame.Frame) error) error {
	if m.Subscription.mode == stomp.AckAuto {
		return fmt.Errorf("%s in a transaction: the subscription acknowledges by itself", command)
	}
	f, err := settlement(command, m, opts)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	other := t.generation != 0 && t.generation != m.Generation // a message of the connection before is in it
	if t.lost = t.lost || other || m.Generation != t.c.generation(); t.lost {
		return ErrLostAck
	}
	if err := t.add(f); err != nil {
		return err
	}
	t.generation = m.Generation
	return nil
}

// add appends a frame, if there is room for it.
func (t *Transaction) add(f *frame.Frame) error {
	if t.ended {
		return ErrTransactionEnded
	}
	bytes := frameBytes(f)
	if t.bytes+bytes > t.c.url.MaxCacheBytes {
		return fmt.Errorf("the transaction would be larger than maxCacheSize: %d of %d octets: %w", t.bytes+bytes, t.c.url.MaxCacheBytes, ErrFull)
	}
	t.bytes += bytes
	t.frames = append(t.frames, f)
	return nil
}

// Abort drops the transaction. Nothing of it was sent, and what it would have acknowledged may still be.
func (t *Transaction) Abort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended, t.frames = true, nil
}

// Commit has the transaction carried out and waits for the receipt. One without acknowledgements is sent again after a lost
// connection, if each of its messages has an id, or if it had not left. ErrRolledBack says that nothing of it was carried out,
// ErrInDoubt that nobody knows.
func (t *Transaction) Commit(ctx context.Context) error {
	answer := make(chan error, 1)
	r, err := t.request(func(err error) { answer <- err })
	if r == nil || err != nil {
		return err
	}
	if err := t.c.submit(ctx, r); err != nil {
		return err
	}
	return t.c.await(ctx, r, answer)
}

// request ends the transaction and makes what is to be sent of it; nothing, if it is empty.
func (t *Transaction) request(done func(error)) (*request, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil, ErrTransactionEnded
	}
	t.ended = true
	if t.lost {
		return nil, ErrRolledBack
	}
	if len(t.frames) == 0 {
		return nil, nil
	}
	r := &request{kind: kindCommit, bytes: t.bytes, generation: t.generation, done: done}
	switch {
	case t.generation != 0:
		r.kind = kindAckCommit
	case t.bare:
		r.kind = kindBareCommit
	}
	name := t.c.name + "-" + fmt.Sprint(t.c.transactions.Add(1))
	r.frames = append(r.frames, frame.New(frame.BEGIN, frame.Transaction, name))
	for _, f := range t.frames {
		f.Header.Set(frame.Transaction, name)
		r.frames = append(r.frames, f)
	}
	r.frames = append(r.frames, frame.New(frame.COMMIT, frame.Transaction, name))
	return r, nil
}
