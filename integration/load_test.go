package integration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"baton/integration/client"
	"baton/integration/history"
)

// load is clients that work until their broker dies, and write down all they do. The plain ones, four producers and four
// consumers on three queues, are always there:
//
//	receipts ──> a ──> individual, transactional ──> c
//	receipts ──> b ──> cumulative, erratic              c ──> erratic
//	transactions, mixed ──> a and b
//
// Those of each feature come and go from one broker to the next.
type load struct {
	history *history.History
	clients atomic.Uint32 // connections so far; numbers them
	txs     atomic.Uint32 // transactions so far
	answers atomic.Uint32 // that came to requesters
	numbers [producers]uint32
	begun   bool         // whoever gets copies has subscribed
	last    []identified // sent by the deduplicator; the oldest first

	turns  sync.RWMutex // held for reading by each client that roams, while it works
	parted atomic.Bool  // those that roam may not connect

	roams bool                                                     // clients may give up connections that their brokers have not
	reach func(ctx context.Context, addr string) (net.Conn, error) // how clients get their connections; nil: over TCP
}

const (
	prefetch = 20 // of a consumer, at most
	window   = 64 // SENDs and COMMITs of a producer that wait for receipts
)

// Producers by their numbers in the history, beside the first four.
const (
	forwarder = 4 + iota // the transactional consumer
	scheduler
	deduplicator
	grouper
	ranker
	requester
	expirer
	copier // the last, for a copy's producer has the number of its place added
	producers
)

// place is where messages wait for consumers. The history knows it by its number as a queue.
type place struct {
	destination string   // that is subscribed to
	to          string   // and that is sent to; "": the same
	client      string   // client-id of the consumer; "": none
	durable     []string // headers of SUBSCRIBE that make messages wait here without a consumer
	prefetch    int      // of its consumers; 0: prefetch
	end         []string // headers that put a message behind all others
	producer    uint32   // the only one that sends here, where the end takes its time; else 0
}

const (
	queueA = iota
	queueB
	queueC
	queueScheduled
	queueDeduplicated
	queueGrouped
	queueRanked
	queueRequests
	queueExpired
	queueLeft
	queueRight
	virtualA
	virtualB
	durableActiveMQ
	durableArtemis
	durableRabbitMQ
)

var places = [...]place{
	queueA: {destination: "/queue/a"},
	queueB: {destination: "/queue/b"},
	queueC: {destination: "/queue/c"},
	// What was sent later and waits as long as any comes last.
	queueScheduled:    {destination: "/queue/scheduled", producer: scheduler, end: []string{"AMQ_SCHEDULED_DELAY", fmt.Sprint(maxDelay.Milliseconds())}},
	queueDeduplicated: {destination: "/queue/deduplicated"},
	queueGrouped:      {destination: "/queue/grouped"},
	// A credit of one message tells when each was chosen.
	queueRanked:   {destination: "/queue/ranked", prefetch: 1, end: []string{"priority", "0"}},
	queueRequests: {destination: "/queue/requests"},
	queueExpired: {destination: "/queue/expired", to: "/queue/expiring", producer: expirer,
		end: []string{"expiration", fmt.Sprint(maxDelay.Milliseconds())}},
	queueLeft:       {destination: "/queue/left"},
	queueRight:      {destination: "/queue/right"},
	virtualA:        {destination: "/queue/Consumer.A.VirtualTopic.copied"},
	virtualB:        {destination: "/queue/Consumer.B.VirtualTopic.copied"},
	durableActiveMQ: {destination: "/topic/copied", client: "one", durable: []string{"activemq.subscriptionName", "copies"}},
	durableArtemis:  {destination: "/topic/copied", client: "two", durable: []string{"durable-subscription-name", "copies"}},
	durableRabbitMQ: {destination: "/topic/copied", durable: []string{"durable", "true", "auto-delete", "false"}},
}

// feature is something that a broker has to remember, and the clients that use it.
type feature struct {
	name string
	jobs []func(worker) error
}

var plain = feature{"plain", []func(worker) error{
	func(w worker) error { return w.plain(0, queueA, 0) },
	func(w worker) error { return w.plain(1, queueB, 0) },
	func(w worker) error { return w.plain(2, queueA, 1) },
	func(w worker) error { return w.plain(3, queueB, 0.3) },
	func(w worker) error { return w.individual(queueA) },
	worker.cumulative, worker.transactional,
	func(w worker) error { return w.erratic(queueB, queueC) },
}}

// features beside the plain work.
var features = []feature{scheduled, deduplicated, grouped, ranked, copied, temporary, expiring}

// mix is the plain work and that of some features. The seed chooses them.
type mix []feature

func chooseMix(rng *rand.Rand) mix {
	chosen := mix{plain}
	for _, f := range features {
		if rng.IntN(2) == 0 {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

func (m mix) String() string {
	names := make([]string, len(m))
	for i, f := range m {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

func newLoad() *load { return &load{history: history.New()} }

// start lets a mix of clients work at the broker. The returned wait returns when all have lost their connections; an error
// is something that a dying broker does not excuse.
func (l *load) start(ctx context.Context, addr string, rng *rand.Rand, chosen mix) (wait func() error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	if !l.begun {
		l.begun = true
		if err := (worker{load: l, ctx: ctx, addr: addr}).subscribeAll(); err != nil {
			return func() error { cancel(); return err }
		}
	}
	var jobs []func(worker) error
	for _, f := range chosen {
		jobs = append(jobs, f.jobs...)
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

	find func(context.Context, client.Options) (*client.Conn, error) // in place of addr: gives a connection to whoever serves
	pace time.Duration                                               // between two messages of a producer
}

func (w worker) dial(o client.Options) (*client.Conn, uint32, error) {
	if w.find != nil {
		c, err := w.find(w.ctx, o)
		return c, w.clients.Add(1), err
	}
	c, err := client.Dial(w.ctx, w.addr, o)
	if err != nil {
		return nil, 0, err
	}
	// A broker that stands still must not hang the test: then the deadline shows as an error that is not excused.
	deadline, _ := w.ctx.Deadline()
	c.SetDeadline(deadline)
	return c, w.clients.Add(1), nil
}

// plain sends to one queue, and inside transactions to a and b. A share of its work, 0 to 1, is transactions.
func (w worker) plain(producer, queue uint32, transactions float64) error {
	return w.produce(func(p *producing) error {
		if w.rng.Float64() < transactions {
			return p.transaction(func(tx uint32) error {
				return p.send(sending{producer: producer, places: []uint32{uint32(w.rng.IntN(2))}, tx: tx})
			})
		}
		return p.send(sending{producer: producer, places: []uint32{queue}})
	})
}

// produce calls next as fast as the window allows, each time for one SEND or transaction, until the connection is lost.
func (w worker) produce(next func(*producing) error) error {
	return w.converse(func(*producing) error { return nil }, next)
}

// converse is produce for who gets answers: begin is called once, before anything is read.
func (w worker) converse(begin, next func(*producing) error) error {
	c, number, err := w.dial(client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	p := &producing{worker: w, c: c, client: number, slots: make(chan struct{}, window), done: make(chan struct{})}
	if err := begin(p); err != nil {
		return err
	}
	go p.read()
	for p.acquire() && err == nil {
		err = next(p)
	}
	<-p.done // reads on to the end, to see an ERROR that came before it
	return p.failed
}

type producing struct {
	worker
	c        *client.Conn
	client   uint32
	answered func(*client.Frame) error // takes a MESSAGE; nil: none is due
	slots    chan struct{}             // one taken by each SEND or COMMIT without its receipt
	done     chan struct{}             // closed when the reader has ended
	failed   error                     // why; read after done
}

// acquire waits for room in the window, and flushes before it has to wait. It returns false when the connection is lost.
func (p *producing) acquire() bool {
	if p.pace > 0 {
		if p.c.Flush() != nil {
			return false
		}
		time.Sleep(p.pace)
	}
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

func (p *producing) read() {
	defer close(p.done)
	for p.failed == nil {
		f, err := p.c.Next()
		switch {
		case err != nil:
			p.failed = err
		case f.Command == "MESSAGE" && p.answered != nil:
			p.failed = p.answered(f)
		default:
			p.failed = p.receipted(f)
			<-p.slots
		}
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

// sending is what a SEND says beside its body.
type sending struct {
	producer uint32
	places   []uint32      // where the message must arrive; to several only the copier sends
	to       string        // destination; "": that of its place
	tx       uint32        // 0: none
	delay    time.Duration // 0: at once
	group    uint32        // 0: none
	priority uint8
	headers  []string // more of them
}

// send writes the next message of a producer: with a receipt when it stands alone.
func (p *producing) send(s sending) error {
	return p.load.send(p.c, p.rng, p.client, s)
}

// number is the id of the next message of a producer.
func (l *load) number(producer uint32) history.ID {
	l.numbers[producer]++
	return history.ID{Producer: producer, N: l.numbers[producer]}
}

func (l *load) send(c *client.Conn, rng *rand.Rand, number uint32, s sending) error {
	id := l.number(s.producer)
	body := randomBody(rng)
	receipt := "s" + id.String()
	alone := s.tx == 0
	if alone && s.producer == copier {
		s.tx = l.txs.Add(1) // for the history only
		receipt = "t" + strconv.Itoa(int(s.tx))
	}
	for _, place := range s.places {
		l.history.Add(history.Op{Kind: history.Sent, Client: number, Message: copyOf(id, place), Queue: place, Tx: s.tx, Lingers: l.roams,
			Hash: history.Hash(body), Delay: s.delay, Group: s.group, Priority: s.priority})
	}
	if alone && s.tx != 0 {
		l.history.Add(history.Op{Kind: history.Committing, Client: number, Tx: s.tx})
	}
	headers := append(s.headers, "destination", cmp.Or(s.to, places[s.places[0]].to, places[s.places[0]].destination), "x-id", id.String())
	if alone {
		headers = append(headers, "receipt", receipt)
	} else {
		headers = append(headers, "transaction", strconv.Itoa(int(s.tx)))
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

// transaction sends some messages, sometimes many, and commits five times out of six. The slot it holds is freed by the
// receipt.
func (p *producing) transaction(send func(tx uint32) error) error {
	tx := p.begin(p.c, p.client)
	size := 1 + p.rng.IntN(6)
	if p.rng.IntN(20) == 0 {
		size *= 30
	}
	for range size {
		if err := send(tx); err != nil {
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
