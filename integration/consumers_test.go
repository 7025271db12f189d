package integration

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"baton/integration/client"
	"baton/integration/history"
)

// consuming is a connection that receives. One goroutine reads and writes it.
type consuming struct {
	worker
	c        *client.Conn
	client   uint32
	promises map[string]history.Op // what a RECEIPT would mean, by receipt-id
	covers   map[string][]held     // the messages that the receipt settles or gives back
}

// held is a message that was delivered and not yet acknowledged.
type held struct {
	id            history.ID
	queue         uint32
	ack           string
	count         uint32 // which delivery it was
	replyTo       string
	correlationID string
}

// consume subscribes to places and hands every message to take, until the connection is lost or take returns an error.
func (w worker) consume(mode string, from []uint32, take func(*consuming, held) error) error {
	c, number, err := w.dial(client.Options{ClientID: places[from[0]].client})
	if err != nil {
		return err
	}
	defer c.Close()
	defer w.history.Add(history.Op{Kind: history.Leaving, Client: number}) // once more, for who left on purpose
	s := &consuming{worker: w, c: c, client: number, promises: map[string]history.Op{}, covers: map[string][]held{}}
	for _, queue := range from {
		if err := subscribeTo(c, mode, queue); err != nil {
			return err
		}
	}
	for err == nil {
		err = s.next(take)
	}
	return s.lastWord(err)
}

// subscribeTo writes SUBSCRIBE with the number of the place as id.
func subscribeTo(c *client.Conn, mode string, queue uint32) error {
	p := places[queue]
	return c.Write("SUBSCRIBE", nil, append([]string{"destination", p.destination, "id", strconv.Itoa(int(queue)), "ack", mode,
		"prefetch-count", strconv.Itoa(cmp.Or(p.prefetch, prefetch))}, p.durable...)...)
}

// lastWord looks for an ERROR frame that explains why a write failed.
func (s *consuming) lastWord(err error) error {
	var answered client.Error
	if excuse(err) == nil && errors.As(s.c.Drain(), &answered) {
		return answered
	}
	return err
}

// next handles one frame.
func (s *consuming) next(take func(*consuming, held) error) error {
	f, err := s.c.Receive()
	if err != nil {
		return err
	}
	if f.Command == "RECEIPT" {
		return s.receipted(f.Header("receipt-id"))
	}
	m, err := s.delivered(f)
	if err != nil {
		return err
	}
	return take(s, m)
}

func (s *consuming) delivered(f *client.Frame) (held, error) {
	op, err := deliveredOp(f, s.client)
	if err != nil {
		return held{}, err
	}
	s.history.Add(op)
	return held{id: op.Message, queue: op.Queue, ack: f.Header("ack"), count: op.Count,
		replyTo: f.Header("reply-to"), correlationID: f.Header("correlation-id")}, nil
}

func deliveredOp(f *client.Frame, number uint32) (history.Op, error) {
	id, err := history.ParseID(f.Header("x-id"))
	queue, err2 := strconv.Atoi(f.Header("subscription"))
	if f.Command != "MESSAGE" || err != nil || err2 != nil || f.Header("ack") == "" {
		return history.Op{}, protocolError(fmt.Sprintf("a consumer got %s", f))
	}
	count, err := strconv.Atoi(cmp.Or(f.Header("delivery-count"), "1"))
	if err != nil || f.Header("message-id") == "" {
		return history.Op{}, protocolError(fmt.Sprintf("a consumer got %s", f))
	}
	return history.Op{
		Kind: history.Delivered, Client: number, Message: copyOf(id, uint32(queue)), Queue: uint32(queue),
		Hash: history.Hash(f.Body), Name: history.Hash([]byte(f.Header("message-id"))),
		Redelivered: f.Header("redelivered") == "true", Count: uint32(count),
	}, nil
}

func (s *consuming) receipted(receipt string) error {
	op, ok := s.promises[receipt]
	if !ok {
		return protocolError(fmt.Sprintf("a consumer got a RECEIPT for %q, which it never asked for", receipt))
	}
	delete(s.promises, receipt)
	if op.Kind == history.Committed {
		s.history.Add(op)
	}
	for _, m := range s.covers[receipt] {
		s.history.Add(history.Op{Kind: op.Kind, Client: s.client, Message: m.id, Queue: m.queue, Count: m.count})
	}
	delete(s.covers, receipt)
	return nil
}

// ack acknowledges the last of the messages, which covers all of them: they are one, or the subscription is cumulative.
func (s *consuming) ack(receipt bool, messages ...held) error {
	for _, m := range messages {
		s.history.Add(history.Op{Kind: history.Acked, Client: s.client, Message: m.id, Queue: m.queue})
	}
	last := messages[len(messages)-1]
	if !receipt {
		return s.c.Write("ACK", nil, "id", last.ack)
	}
	name := "a" + last.id.String()
	s.promises[name] = history.Op{Kind: history.AckReceipted}
	s.covers[name] = messages
	return s.c.Write("ACK", nil, "id", last.ack, "receipt", name)
}

// nack refuses a message, two times out of three with a receipt.
func (s *consuming) nack(m held) error { return s.refuse(m, 0) }

// refuse is nack of a message that is to come again so much later; 0: at once.
func (s *consuming) refuse(m held, delay time.Duration) error {
	s.history.Add(history.Op{Kind: history.Nacked, Client: s.client, Message: m.id, Queue: m.queue, Count: m.count, Delay: delay})
	headers := []string{"id", m.ack}
	if delay > 0 {
		headers = append(headers, "delay", strconv.FormatInt(delay.Milliseconds(), 10))
	}
	if s.rng.IntN(3) == 0 {
		return s.c.Write("NACK", nil, headers...)
	}
	name := fmt.Sprintf("n%v-%d", m.id, m.count)
	s.promises[name] = history.Op{Kind: history.NackReceipted}
	s.covers[name] = []held{m}
	return s.c.Write("NACK", nil, append(headers, "receipt", name)...)
}

// individual acknowledges each message by itself, every third with a receipt, and in disorder: the one before last first.
// One in twenty it refuses, and gets it again.
func (w worker) individual(from uint32) error {
	var waiting []held
	return w.consume("client-individual", []uint32{from}, func(s *consuming, m held) error {
		if w.rng.IntN(20) == 0 {
			return s.nack(m)
		}
		waiting = append(waiting, m)
		if len(waiting) < 2 {
			return nil
		}
		for _, m := range []held{waiting[1], waiting[0]} {
			if err := s.ack(m.id.N%3 == 0, m); err != nil {
				return err
			}
		}
		waiting = waiting[:0]
		return nil
	})
}

// cumulative acknowledges up to ten messages with one ACK, always with a receipt.
func (w worker) cumulative() error {
	var waiting []held
	target := 1
	return w.consume("client", []uint32{queueB}, func(s *consuming, m held) error {
		waiting = append(waiting, m)
		if len(waiting) < target {
			return nil
		}
		covered := waiting
		waiting, target = nil, 1+w.rng.IntN(10)
		return s.ack(true, covered...)
	})
}

// transactional acknowledges up to five messages in one transaction that also sends one message to queue c. Not all are
// committed; those who leave come back.
func (w worker) transactional() error {
	for {
		var waiting []held
		target := 1
		err := w.consume("client-individual", []uint32{queueA}, func(s *consuming, m held) error {
			waiting = append(waiting, m)
			if len(waiting) < target {
				return nil
			}
			messages := waiting
			waiting, target = nil, 1+w.rng.IntN(5)
			return s.settleTogether(messages)
		})
		if err != errLeft {
			return err
		}
	}
}

func (s *consuming) settleTogether(messages []held) error {
	tx := s.begin(s.c, s.client)
	name := strconv.Itoa(int(tx))
	for _, m := range messages {
		s.history.Add(history.Op{Kind: history.Acked, Client: s.client, Message: m.id, Queue: m.queue, Tx: tx})
		if err := s.c.Write("ACK", nil, "id", m.ack, "transaction", name); err != nil {
			return err
		}
	}
	if err := s.load.send(s.c, s.rng, s.client, sending{producer: forwarder, places: []uint32{queueC}, tx: tx}); err != nil {
		return err
	}
	return s.endTogether(tx, messages)
}

// endTogether commits seven times out of ten. Else it aborts, and acknowledges outside, or aborts and leaves, or leaves.
func (s *consuming) endTogether(tx uint32, messages []held) error {
	choice := s.rng.IntN(10)
	if choice > 2 {
		s.promises["t"+strconv.Itoa(int(tx))] = history.Op{Kind: history.Committed, Client: s.client, Tx: tx}
		return s.commit(s.c, s.client, tx)
	}
	if choice < 2 {
		if err := s.abort(s.c, s.client, tx); err != nil {
			return err
		}
	}
	if choice > 0 {
		return s.leave()
	}
	for _, m := range messages {
		if err := s.ack(true, m); err != nil {
			return err
		}
	}
	return nil
}

// errLeft ends a connection of the erratic consumer.
var errLeft = errors.New("left on purpose")

// leave drops the connection with all that it holds. What was written before may reach the broker or not.
func (s *consuming) leave() error {
	if err := s.c.Flush(); err != nil {
		return err
	}
	s.history.Add(history.Op{Kind: history.Leaving, Client: s.client})
	s.c.Abort()
	return errLeft
}

// erratic acknowledges half of what it gets, then drops the connection and comes back, until the broker has gone.
func (w worker) erratic(from ...uint32) error {
	for {
		got, end := 0, 1+w.rng.IntN(prefetch)
		err := w.consume("client-individual", from, func(s *consuming, m held) error {
			if got++; got >= end {
				return s.leave()
			}
			if got%2 == 0 {
				return nil
			}
			return s.ack(got%3 == 0, m)
		})
		if err != errLeft {
			return err
		}
	}
}
