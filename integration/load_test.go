package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"baton/integration/client"
	"baton/integration/history"
)

// load is four producers and four consumers that work on three queues until their broker dies, and write down all they do:
//
//	receipts ──> a ──> individual, transactional ──> c
//	receipts ──> b ──> cumulative, erratic              c ──> erratic
//	transactions, mixed ──> a and b
type load struct {
	history *history.History
	clients atomic.Uint32 // connections so far; numbers them
	txs     atomic.Uint32 // transactions so far
	numbers [producers]uint32
}

const (
	producers = 5  // four, and the transactional consumer, which forwards
	prefetch  = 20 // of every consumer
	window    = 64 // SENDs and COMMITs of a producer that wait for receipts
	forwarder = 4  // the producer number of the transactional consumer
)

// Queue numbers in the history are places in this list.
var queues = [...]string{"/queue/a", "/queue/b", "/queue/c"}

const (
	queueA = iota
	queueB
	queueC
)

func newLoad() *load { return &load{history: history.New()} }

// start lets all clients work at the broker. The returned wait returns when all have lost their connections; an error is
// something that a dying broker does not excuse.
func (l *load) start(ctx context.Context, addr string, rng *rand.Rand) (wait func() error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	jobs := []func(worker) error{
		func(w worker) error { return w.produce(0, queueA, 0) },
		func(w worker) error { return w.produce(1, queueB, 0) },
		func(w worker) error { return w.produce(2, queueA, 1) },
		func(w worker) error { return w.produce(3, queueB, 0.3) },
		worker.individual, worker.cumulative, worker.transactional, worker.erratic,
	}
	errs := make([]error, len(jobs))
	var all sync.WaitGroup
	for i, job := range jobs {
		w := worker{load: l, ctx: ctx, addr: addr, rng: rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))}
		all.Go(func() { errs[i] = excuse(job(w)) })
	}
	return func() error {
		all.Wait()
		cancel()
		return errors.Join(errs...)
	}
}

// lost are the ways in which a connection ends when the other side dies.
var lost = []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED, net.ErrClosed, errLeft}

// excuse forgives a lost connection, and nothing else: no ERROR frame, no frame that cannot be read, no silence.
func excuse(err error) error {
	for _, end := range lost {
		if errors.Is(err, end) {
			return nil
		}
	}
	return err
}

// protocolError is an answer that no broker should give.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// worker is one client's share of the load.
type worker struct {
	*load
	ctx  context.Context
	addr string
	rng  *rand.Rand
}

func (w worker) dial() (*client.Conn, uint32, error) {
	c, err := client.Dial(w.ctx, w.addr, client.Options{})
	if err != nil {
		return nil, 0, err
	}
	// A broker that stands still must not hang the test: then the deadline shows as an error that is not excused.
	deadline, _ := w.ctx.Deadline()
	c.SetDeadline(deadline)
	return c, w.clients.Add(1), nil
}

// produce sends to one queue, and inside transactions to a and b, as fast as the window allows. A share of its work, 0 to
// 1, is transactions.
func (w worker) produce(producer uint32, queue uint32, transactions float64) error {
	c, number, err := w.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	p := &producing{worker: w, c: c, client: number, producer: producer, slots: make(chan struct{}, window), done: make(chan struct{})}
	go p.readReceipts()
	for p.acquire() && err == nil {
		if w.rng.Float64() < transactions {
			err = p.transaction()
		} else {
			err = p.send(queue, 0)
		}
	}
	<-p.done // reads on to the end, to see an ERROR that came before it
	return p.failed
}

type producing struct {
	worker
	c        *client.Conn
	client   uint32
	producer uint32
	slots    chan struct{} // one taken by each SEND or COMMIT without its receipt
	done     chan struct{} // closed when the reader has ended
	failed   error         // why; read after done
}

// acquire waits for room in the window, and flushes before it has to wait. It returns false when the connection is lost.
func (p *producing) acquire() bool {
	select {
	case p.slots <- struct{}{}:
		return true
	default:
	}
	if p.c.Flush() != nil {
		return false
	}
	select {
	case p.slots <- struct{}{}:
		return true
	case <-p.done:
		return false
	}
}

func (p *producing) readReceipts() {
	defer close(p.done)
	for {
		f, err := p.c.Next()
		if err == nil {
			err = p.receipted(f)
		}
		if err != nil {
			p.failed = err
			return
		}
		<-p.slots
	}
}

// receipted takes "s1-7", the receipt of message 1-7, or "t5", that of transaction 5.
func (p *producing) receipted(f *client.Frame) error {
	receipt := f.Header("receipt-id")
	if f.Command != "RECEIPT" || receipt == "" {
		return protocolError(fmt.Sprintf("a producer got %s", f))
	}
	if receipt[0] == 't' {
		tx, err := strconv.ParseUint(receipt[1:], 10, 32)
		p.history.Add(history.Op{Kind: history.Committed, Client: p.client, Tx: uint32(tx)})
		return err
	}
	id, err := history.ParseID(receipt[1:])
	p.history.Add(history.Op{Kind: history.SendReceipted, Client: p.client, Message: id})
	return err
}

// send writes the next message of the producer: with a receipt when it stands alone.
func (p *producing) send(queue, tx uint32) error {
	return p.load.send(p.c, p.rng, p.client, p.producer, queue, tx)
}

func (l *load) send(c *client.Conn, rng *rand.Rand, number, producer, queue, tx uint32) error {
	l.numbers[producer]++
	id := history.ID{Producer: producer, N: l.numbers[producer]}
	body := randomBody(rng)
	l.history.Add(history.Op{Kind: history.Sent, Client: number, Message: id, Queue: queue, Tx: tx, Hash: history.Hash(body)})
	headers := []string{"destination", queues[queue], "x-id", id.String()}
	if tx == 0 {
		headers = append(headers, "receipt", "s"+id.String())
	} else {
		headers = append(headers, "transaction", strconv.Itoa(int(tx)))
	}
	return c.Write("SEND", body, headers...)
}

// randomBody is mostly small, sometimes bigger than a buffer, and holds every octet.
func randomBody(rng *rand.Rand) []byte {
	size := rng.IntN(1 << 10)
	if rng.IntN(50) == 0 {
		size = rng.IntN(64 << 10)
	}
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	return body
}

// transaction sends some messages to a and b, sometimes many, and commits five times out of six. The slot it holds is freed
// by the receipt.
func (p *producing) transaction() error {
	tx := p.begin(p.c, p.client)
	size := 1 + p.rng.IntN(6)
	if p.rng.IntN(20) == 0 {
		size *= 30
	}
	for range size {
		if err := p.send(uint32(p.rng.IntN(2)), tx); err != nil {
			return err
		}
	}
	if p.rng.IntN(6) == 0 {
		<-p.slots
		return p.abort(p.c, p.client, tx)
	}
	return p.commit(p.c, p.client, tx)
}

func (l *load) begin(c *client.Conn, number uint32) (tx uint32) {
	tx = l.txs.Add(1)
	l.history.Add(history.Op{Kind: history.Began, Client: number, Tx: tx})
	c.Write("BEGIN", nil, "transaction", strconv.Itoa(int(tx))) // an error shows at the next write
	return tx
}

func (l *load) commit(c *client.Conn, number, tx uint32) error {
	l.history.Add(history.Op{Kind: history.Committing, Client: number, Tx: tx})
	name := strconv.Itoa(int(tx))
	return c.Write("COMMIT", nil, "transaction", name, "receipt", "t"+name)
}

func (l *load) abort(c *client.Conn, number, tx uint32) error {
	l.history.Add(history.Op{Kind: history.Aborting, Client: number, Tx: tx})
	return c.Write("ABORT", nil, "transaction", strconv.Itoa(int(tx)))
}
