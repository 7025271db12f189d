package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"baton/broker/stomp"
)

// A producer sends until the run says that it is enough. One goroutine writes, another reads the receipts.
type producer struct {
	*run
	number uint32
	c      *conn
	body   []byte
	heads  [][]byte // of SEND, by selector share and destination
	rec    *recorder

	sent      int64
	asked     int64          // receipts
	confirmed atomic.Int64   // of those, that have come
	due       []atomic.Int64 // when what the receipts in the window are of was due; by their numbers
	wake      chan struct{}  // receipts have come
	reading   chan error     // the reader has ended
}

func (r *run) newProducer(ctx context.Context, number int) (*producer, error) {
	c, err := r.server.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("producer %d: %w", number, err)
	}
	p := &producer{
		run: r, number: uint32(number), c: c, body: newBody(r.w.Size, uint32(number)), rec: r.sends[number%len(r.sends)],
		due: make([]atomic.Int64, max(r.w.Window, 1)), wake: make(chan struct{}, 1), reading: make(chan error, 1),
	}
	shares := 1
	if r.w.Selectors {
		shares = r.w.Consumers
	}
	for i := range r.w.Destinations * shares {
		p.heads = append(p.heads, p.head(i%r.w.Destinations, i/r.w.Destinations))
	}
	return p, nil
}

// head is all of a SEND before its receipt.
func (p *producer) head(destination, share int) []byte {
	b := append([]byte(nil), "SEND\n"...)
	add := func(name, value string) { b = stomp.AppendHeader(b, stomp.V12, name, value) }
	add("destination", p.destination(destination))
	if p.w.Persistent || !p.server.Dialect.TransientUnsaid {
		add("persistent", strconv.FormatBool(p.w.Persistent))
	}
	if p.w.Selectors {
		add("share", strconv.Itoa(share))
	}
	if p.w.Tx > 0 {
		add("transaction", "t")
	}
	add("content-length", strconv.Itoa(p.w.Size))
	return b
}

// work sends all, and waits for the receipts: not every broker gives those before it answers DISCONNECT.
func (p *producer) work() error {
	go func() { p.reading <- p.readReceipts() }()
	err := p.sendAll()
	if err == nil {
		err = p.awaitReceipts(0, time.After(p.patience))
	}
	if err == nil {
		p.c.add("DISCONNECT", "receipt", goodbye)
		err = p.c.flush()
	}
	if err != nil { // the broker may have said why
		_ = p.c.SetReadDeadline(time.Now().Add(time.Second))
	}
	if said := <-p.reading; said != nil || err != nil {
		return fmt.Errorf("producer %d: %w", p.number, errors.Join(said, err))
	}
	return p.c.Close()
}

func (p *producer) sendAll() error {
	for {
		at, more := p.next()
		if !more {
			return p.endTx()
		}
		if err := p.await(at); err != nil {
			return err
		}
		if err := p.send(at); err != nil {
			return err
		}
	}
}

// next is when the next message is due; more is false if there is none.
func (p *producer) next() (at time.Duration, more bool) {
	if p.w.Backlog > 0 && p.sent >= p.quota(int(p.number)) {
		return 0, false
	}
	now := p.now()
	if at = now; p.w.Rate > 0 {
		at = time.Duration(float64(p.sent*int64(p.w.Producers)+int64(p.number)) / p.w.Rate * 1e9)
	}
	return at, p.w.Backlog > 0 || at < p.w.Duration
}

// quota is a producer's share of the backlog.
func (r *run) quota(producer int) int64 {
	n := int64(r.w.Producers)
	return (r.w.Backlog + n - 1 - int64(producer)) / n
}

// await waits until a message is due and may be sent. Before it waits, all that was written is sent.
func (p *producer) await(at time.Duration) error {
	if p.w.Rate > 0 && at > p.now() {
		if err := p.c.flush(); err != nil {
			return err
		}
		p.sleep(at)
	}
	if p.w.Ahead > 0 && p.sent%aheadEvery == 0 {
		if err := p.awaitSubscribers(); err != nil {
			return err
		}
	}
	return p.awaitReceipts(max(int64(p.w.Window)-1, 0), nil)
}

// awaitReceipts waits until at most so many are missing, or until the time is over.
func (p *producer) awaitReceipts(most int64, over <-chan time.Time) error {
	for p.asked-p.confirmed.Load() > most {
		if err := p.c.flush(); err != nil {
			return err
		}
		select {
		case <-p.wake:
		case err := <-p.reading:
			return p.ended(err)
		case <-over:
			return fmt.Errorf("%d receipts are missing, and %v are over", p.asked-p.confirmed.Load(), p.patience)
		}
	}
	return nil
}

var errEarly = errors.New("the broker has closed the connection")

// ended says why the broker does not answer any more.
func (p *producer) ended(err error) error {
	p.reading <- err // for work
	return cmp.Or(err, errEarly)
}

// aheadEvery is how many messages are sent before the subscribers are looked at again.
const aheadEvery = 32

// awaitSubscribers waits until the slowest is not too far behind.
func (p *producer) awaitSubscribers() error {
	for p.total.Load()-p.slowest() > p.w.Ahead-aheadEvery*int64(p.w.Producers) {
		if err := p.c.flush(); err != nil {
			return err
		}
		select {
		case err := <-p.reading:
			return p.ended(err)
		case <-time.After(50 * time.Microsecond):
		}
	}
	return nil
}

func (p *producer) send(at time.Duration) error {
	if p.w.Tx > 0 && p.sent%int64(p.w.Tx) == 0 {
		p.c.add("BEGIN", "transaction", "t")
		p.due[p.asked%int64(len(p.due))].Store(int64(at))
	}
	s := stamp{p.number, uint32(p.sent), at}
	s.put(p.body)
	receipt := int64(-1)
	if p.w.Window > 0 && p.w.Tx == 0 {
		receipt = p.asked
		p.due[receipt%int64(len(p.due))].Store(int64(at))
		p.asked++
	}
	p.c.send(p.headOf(s), receipt, p.body)
	p.sent++
	p.total.Add(1)
	if p.w.Tx > 0 && p.sent%int64(p.w.Tx) == 0 {
		p.commit()
	}
	if p.c.full() {
		return p.c.flush()
	}
	return nil
}

// headOf is the head of a SEND.
func (p *producer) headOf(s stamp) []byte {
	share := 0
	if p.w.Selectors {
		share = p.w.share(s)
	}
	return p.heads[share*p.w.Destinations+s.destination(p.w.Producers, p.w.Destinations)]
}

// share is which consumer's selector wants a message: they take turns, as the destinations do.
func (w *Workload) share(s stamp) int { return int(s.number) / w.Destinations % w.Consumers }

func (p *producer) commit() {
	p.c.add("COMMIT", "transaction", "t", "receipt", strconv.FormatInt(p.asked, 10))
	p.asked++
}

// endTx commits the last transaction, which is smaller.
func (p *producer) endTx() error {
	if p.w.Tx > 0 && p.sent%int64(p.w.Tx) != 0 {
		p.commit()
	}
	return p.c.flush()
}

// readReceipts ends with that of DISCONNECT.
func (p *producer) readReceipts() error {
	batch := make([]took, 0, 256)
	for {
		f, err := p.c.next()
		if err != nil {
			return err
		}
		if f.Command != stomp.CmdReceipt {
			return fmt.Errorf("%s came where a RECEIPT was due", f.Command)
		}
		id, _ := f.Header("receipt-id")
		if string(id) == goodbye {
			p.confirm(batch)
			return p.allConfirmed()
		}
		number, err := strconv.ParseInt(string(id), 10, 64)
		if err != nil || number < 0 {
			return fmt.Errorf("receipt %q came, which nobody asked for", id)
		}
		batch = append(batch, took{p.now(), time.Duration(p.due[number%int64(len(p.due))].Load())})
		if !p.c.in.Buffered() || len(batch) == cap(batch) {
			p.confirm(batch)
			batch = batch[:0]
		}
	}
}

// confirm notes receipts that have come.
func (p *producer) confirm(batch []took) {
	p.rec.noteAll(batch)
	p.confirmed.Add(int64(len(batch)))
	signal(p.wake)
}

func (p *producer) allConfirmed() error {
	if asked, confirmed := p.asked, p.confirmed.Load(); asked != confirmed {
		return fmt.Errorf("%d receipts came, %d were asked for", confirmed, asked)
	}
	return nil
}
