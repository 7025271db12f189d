package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"baton/broker/stomp"
)

// A producer sends until the run says that it is enough. One goroutine writes, another reads the receipts.
type producer struct {
	*run
	number   uint32
	c        *conn
	body     []byte
	heads    [][]byte // of SEND, by selector share and destination
	idPrefix string   // of the header by which a SEND is known again
	rec      *recorder

	sent      int64
	begun     time.Duration  // when the first SEND of the transaction was due
	asked     int64          // receipts
	confirmed atomic.Int64   // of those, that have come
	due       []atomic.Int64 // of what each receipt in the window is, by its number: when it was due, and 1 ns; 0: it is not waited for
	wake      chan struct{}  // receipts have come
	reading   chan error     // the reader has ended
}

func (r *run) newProducer(ctx context.Context, number int) (*producer, error) {
	c, err := r.server.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("producer %d: %w", number, err)
	}
	p := &producer{
		run: r, idPrefix: fmt.Sprintf("deduplication-id:%s-%d-", r.name, number), number: uint32(number), c: c, body: newBody(r.w.Size, uint32(number)), rec: r.sends[number%len(r.sends)],
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

// session sends all, and waits for the receipts: not every broker gives those before it answers DISCONNECT.
func (p *producer) session() error {
	go func() { p.reading <- p.readReceipts() }()
	err := p.sendAll()
	if err == nil {
		err = p.awaitLast()
	}
	if err == nil {
		p.c.add("DISCONNECT", "receipt", goodbye)
		err = p.c.flush()
	}
	if err != nil { // the broker may have said why
		_ = p.c.SetReadDeadline(time.Now().Add(time.Second))
	}
	said := <-p.reading
	if errors.Is(said, os.ErrDeadlineExceeded) { // it has not
		said = nil
	}
	if err = cmp.Or(said, err); err != nil {
		return fmt.Errorf("producer %d: %w", p.number, err)
	}
	return p.c.Close()
}

func (p *producer) sendAll() error {
	for {
		at, more := p.next()
		if !more {
			return p.endTx()
		}
		at, err := p.await(at)
		if err != nil {
			return err
		}
		if err := p.send(at); err != nil {
			return err
		}
	}
}

var errUnconfirmed = errors.New("receipts are missing")

// awaitLast waits for all receipts, as long as some still come.
func (p *producer) awaitLast() error {
	for {
		before := p.confirmed.Load()
		err := p.awaitReceipts(p.unconfirmed, time.After(p.patience))
		if !errors.Is(err, errUnconfirmed) || p.confirmed.Load() == before {
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

// await waits until a message is due and may be sent. Before it waits, all that was written is sent. It returns when the
// message was due: at a rate that stays, whatever it had to wait for, but without one it is due when it may be sent.
func (p *producer) await(at time.Duration) (due time.Duration, err error) {
	if p.w.Rate > 0 && at > p.now() {
		if err := p.c.flush(); err != nil {
			return 0, err
		}
		p.sleep(at)
	}
	waited := false
	if p.w.Ahead > 0 && p.sent%aheadEvery == 0 {
		if waited, err = p.awaitSubscribers(); err != nil {
			return 0, err
		}
	}
	if p.windowFull() {
		waited = true
		if err := p.awaitReceipts(p.windowFull, nil); err != nil {
			return 0, err
		}
	}
	if waited && p.w.Rate == 0 {
		return p.now(), nil
	}
	return at, nil
}

// awaitReceipts waits while some are missing, or until the time is over.
func (p *producer) awaitReceipts(missing func() bool, over <-chan time.Time) error {
	for missing() {
		if err := p.c.flush(); err != nil {
			return err
		}
		select {
		case <-p.wake:
		case err := <-p.reading:
			return p.ended(err)
		case <-over:
			return fmt.Errorf("%w: %d of %d, and for %v none has come", errUnconfirmed, p.asked-p.confirmed.Load(), p.asked, p.patience)
		}
	}
	return nil
}

// unconfirmed says whether any receipt has not come yet.
func (p *producer) unconfirmed() bool { return p.confirmed.Load() < p.asked }

// windowFull says whether the next receipt must not be asked for before one has come.
func (p *producer) windowFull() bool { return p.w.Window > 0 && p.slot(p.asked).Load() != 0 }

// slot is where it is noted of what a receipt is.
func (p *producer) slot(receipt int64) *atomic.Int64 { return &p.due[receipt%int64(len(p.due))] }

// ask notes that a receipt is asked for of what was due then, and returns its number.
func (p *producer) ask(due time.Duration) (receipt int64) {
	receipt = p.asked
	p.slot(receipt).Store(int64(due) + 1)
	p.asked++
	return receipt
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
func (p *producer) awaitSubscribers() (waited bool, err error) {
	for ; p.total.Load()-p.slowest() > p.w.Ahead-aheadEvery*int64(p.w.Producers); waited = true {
		if err := p.c.flush(); err != nil {
			return waited, err
		}
		select {
		case err := <-p.reading:
			return waited, p.ended(err)
		case <-time.After(50 * time.Microsecond):
		}
	}
	return waited, nil
}

func (p *producer) send(at time.Duration) error {
	if p.w.Tx > 0 && p.sent%int64(p.w.Tx) == 0 {
		p.c.add("BEGIN", "transaction", "t")
		p.begun = at
	}
	s := stamp{p.number, uint32(p.sent), at}
	receipt := int64(-1)
	if p.w.Window > 0 && p.w.Tx == 0 {
		receipt = p.ask(at)
	}
	p.write(s, receipt)
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

// write writes a SEND. Where it may have to be written again, it has an id.
func (p *producer) write(s stamp, receipt int64) {
	s.put(p.body)
	p.c.begin(p.headOf(s))
	if p.server.survives() {
		p.c.out = append(p.c.out, p.idPrefix...)
		p.c.out = strconv.AppendUint(p.c.out, uint64(s.number), 10)
		p.c.out = append(p.c.out, '\n')
	}
	p.c.send(receipt, p.body)
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

func (p *producer) commit() { p.writeCommit(p.ask(p.begun)) }

func (p *producer) writeCommit(receipt int64) {
	p.c.add("COMMIT", "transaction", "t", "receipt", strconv.FormatInt(receipt, 10))
}

// endTx commits the last transaction, which is smaller.
func (p *producer) endTx() error {
	if p.asked*int64(p.w.Tx) < p.sent && p.w.Tx > 0 {
		p.commit()
	}
	return p.c.flush()
}

// readReceipts ends with that of DISCONNECT, which is asked for when all others have come.
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
			return nil
		}
		number, err := strconv.ParseInt(string(id), 10, 64)
		due := int64(0)
		if err == nil && number >= 0 {
			due = p.slot(number).Swap(0)
		}
		if due == 0 {
			return fmt.Errorf("receipt %q came, which nobody waits for", id)
		}
		batch = append(batch, took{p.now(), time.Duration(due - 1)})
		if !p.c.in.Buffered() || len(batch) == cap(batch) {
			p.confirm(batch)
			batch = batch[:0]
		}
	}
}

// confirm notes receipts that have come.
func (p *producer) confirm(batch []took) {
	p.rec.noteAll(batch)
	if p.server.survives() && len(batch) > 0 {
		p.survival.confirmed(batch[len(batch)-1].now)
	}
	p.confirmed.Add(int64(len(batch)))
	signal(p.wake)
}
