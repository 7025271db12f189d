package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Result is what a run has measured. What is of producers that asked for no receipts, or of consumers that there were
// none, is zero.
type Result struct {
	Workload  Workload `json:"workload"`
	Sent      int64    `json:"sent"`
	Received  int64    `json:"received"`
	SendRate  float64  `json:"send_rate"`  // SENDs a second, to their receipts
	Rate      float64  `json:"rate"`       // deliveries a second
	Receipts  Latency  `json:"receipts"`   // from when a SEND was due to its RECEIPT
	Latencies Latency  `json:"deliveries"` // from when a SEND was due to its MESSAGE
	Sending   []Point  `json:"sending"`
	Receiving []Point  `json:"receiving"`
	Checks    Checks   `json:"checks"`

	Failover *Failover `json:"failover,omitempty"` // of a run that survives lost connections
}

// Progress is what a run has done so far.
type Progress struct {
	Elapsed        time.Duration
	Sent, Received int64
}

// Patience is how long a run waits for the next message, when all were sent and some are missing.
const Patience = 30 * time.Second

// maxRecorders is how many recorders the clients of one kind share.
const maxRecorders = 8

// A run is shared by its clients.
type run struct {
	w        Workload
	server   Server
	name     string // that no other run has
	patience time.Duration
	fail     context.CancelCauseFunc // ends all that clients do

	clock time.Time    // when Run was called
	began atomic.Int64 // how long after that the run began

	sending time.Duration // until the last receipt

	unready    atomic.Int64 // consumers that have not subscribed yet
	subscribed chan struct{}

	sends, receives []*recorder
	consumers       []*consumer
	consuming       errgroup.Group // ends when all of them have left
	total           atomic.Int64   // SENDs written
	received        atomic.Int64
	expected        atomic.Int64  // deliveries; a lot while producers work
	wake            chan struct{} // received has come up to expected

	survival survival
}

// Run carries out w and checks all that comes. report, which may be nil, is called each second. The error says what made the
// clients stop, or what was wrong with the messages. When all was sent there is a result even so, of what came until then.
func Run(ctx context.Context, server Server, w Workload, report func(Progress)) (*Result, error) {
	return runFor(ctx, server, w, report, Patience)
}

func runFor(ctx context.Context, server Server, w Workload, report func(Progress), patience time.Duration) (*Result, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	ctx, fail := context.WithCancelCause(ctx)
	r := &run{
		w: w.withDefaults(), server: server, patience: patience, fail: fail, name: fmt.Sprintf("bench-%016x", rand.Uint64()),
		sends: newRecorders(w.Producers), receives: newRecorders(w.Consumers), wake: make(chan struct{}, 1), subscribed: make(chan struct{}), clock: time.Now(),
	}
	defer func() { fail(nil); _ = r.consuming.Wait() }() // whose error was returned, if it was the first
	r.expected.Store(1 << 62)
	defer r.reports(report)()
	if w.Backlog > 0 {
		return r.fillAndDrain(ctx)
	}
	return r.flow(ctx)
}

func newRecorders(clients int) []*recorder {
	recorders := make([]*recorder, min(max(clients, 1), maxRecorders))
	for i := range recorders {
		recorders[i] = newRecorder()
	}
	return recorders
}

// flow has all clients work at the same time.
func (r *run) flow(ctx context.Context) (*Result, error) {
	if err := r.subscribe(ctx); err != nil {
		return nil, err
	}
	sent, err := r.produce(ctx)
	if err != nil {
		return nil, err
	}
	return r.finish(ctx, sent)
}

// fillAndDrain has the consumers come when all was sent.
func (r *run) fillAndDrain(ctx context.Context) (*Result, error) {
	sent, err := r.produce(ctx)
	if err != nil {
		return nil, err
	}
	r.begin() // deliveries are measured by themselves
	if err := r.subscribe(ctx); err != nil {
		return nil, err
	}
	result, err := r.finish(ctx, sent)
	result.Latencies = Latency{} // they waited for the consumers
	for i, p := range result.Receiving {
		result.Receiving[i] = Point{At: p.At, Rate: p.Rate}
	}
	return result, err
}

// subscribe has all consumers subscribe and work. One that fails ends the run.
func (r *run) subscribe(ctx context.Context) error {
	var dialing errgroup.Group
	dialing.SetLimit(8 * runtime.GOMAXPROCS(0))
	r.consumers = make([]*consumer, r.w.Consumers)
	for i := range r.consumers {
		dialing.Go(func() (err error) {
			r.consumers[i], err = r.newConsumer(ctx, i)
			return err
		})
	}
	if err := dialing.Wait(); err != nil {
		return err
	}
	if r.unready.Store(int64(len(r.consumers))); len(r.consumers) == 0 {
		return nil
	}
	for _, c := range r.consumers {
		r.consuming.Go(func() error { return r.failed(c.survive(ctx)) })
	}
	select {
	case <-r.subscribed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(r.patience):
		return fmt.Errorf("%d consumers have waited %v for the receipts of their SUBSCRIBE", r.unready.Load(), r.patience)
	}
}

// failed passes on what became of a client. If it has failed, so has the run: its connections are closed.
func (r *run) failed(err error) error {
	if err != nil {
		r.fail(err)
	}
	return err
}

// produce has all producers send, and says how many messages each sent.
func (r *run) produce(ctx context.Context) ([]int64, error) {
	producers := make([]*producer, r.w.Producers)
	for i := range producers {
		p, err := r.newProducer(ctx, i)
		if err != nil {
			return nil, err
		}
		producers[i] = p
	}
	r.begin()
	var group errgroup.Group
	for _, p := range producers {
		group.Go(func() error { return r.failed(p.survive(ctx)) })
	}
	if err := group.Wait(); err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	r.sending = r.now()
	sent := make([]int64, len(producers))
	for i, p := range producers {
		sent[i] = p.sent
	}
	return sent, nil
}

// finish waits until all has come that was sent, lets the consumers leave, and sums up.
func (r *run) finish(ctx context.Context, sent []int64) (*Result, error) {
	result := &Result{Workload: r.w}
	for _, n := range sent {
		result.Sent += n
	}
	copies := int64(min(1, r.w.Consumers))
	if r.w.Topic {
		copies = int64(r.w.Consumers)
	}
	r.expected.Store(result.Sent * copies)
	err := r.awaitAll(ctx)
	err = cmp.Or(err, r.leave()) // the first is the cause
	result.Checks = r.settle(sent)
	if context.Cause(ctx) == nil { // else much did not come because it was not waited for
		err = errors.Join(err, result.Checks.Err())
	}
	result.Received = r.received.Load()
	result.SendRate = float64(result.Sent) / r.sending.Seconds()
	if last := lastOf(r.receives); last > 0 {
		result.Rate = float64(result.Received) / last.Seconds()
	}
	result.Receipts, result.Latencies = latencyOf(r.sends), latencyOf(r.receives)
	result.Sending, result.Receiving = points(r.sends), points(r.receives)
	result.Failover = r.failover()
	return result, err
}

var errMissing = errors.New("messages are missing")

// leave has all consumers leave.
func (r *run) leave() (err error) {
	for _, c := range r.consumers {
		err = errors.Join(err, c.leave())
	}
	return errors.Join(err, r.consuming.Wait())
}

// awaitAll waits as long as messages still come.
func (r *run) awaitAll(ctx context.Context) error {
	for {
		received, expected := r.received.Load(), r.expected.Load()
		if received >= expected {
			return nil
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(r.patience):
			if r.received.Load() == received {
				return fmt.Errorf("%w: %d of %d deliveries have come, and for %v none", errMissing, received, expected, r.patience)
			}
		}
	}
}

// settle compares what was sent with what each consumer has had: of a queue, all of them together. All have left.
func (r *run) settle(sent []int64) (checks Checks) {
	if len(r.consumers) == 0 {
		return checks
	}
	if r.w.Topic {
		for _, c := range r.consumers {
			checks.add(c.ledger.settle(sent))
		}
		return checks
	}
	all := r.consumers[0].ledger
	for _, c := range r.consumers[1:] {
		all.merge(c.ledger)
	}
	return all.settle(sent)
}

// slowest is how much the slowest subscriber has had.
func (r *run) slowest() int64 {
	least := int64(1 << 62)
	for _, c := range r.consumers {
		least = min(least, c.had.Load())
	}
	return least
}

// destination is the name of one.
func (r *run) destination(n int) string {
	kind := "/queue/"
	if r.w.Topic {
		kind = "/topic/"
	}
	return fmt.Sprintf("%s%s.%d", kind, r.name, n)
}

// begin sets now to 0.
func (r *run) begin() { r.began.Store(int64(time.Since(r.clock))) }

// now is the time since the run began.
func (r *run) now() time.Duration { return time.Since(r.clock) - time.Duration(r.began.Load()) }

// reports calls fn each second, until the function is called that it returns.
func (r *run) reports(fn func(Progress)) (end func()) {
	if fn == nil {
		return func() {}
	}
	begun := time.Now()
	ticker, done, ended := time.NewTicker(time.Second), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ticker.C:
				fn(Progress{time.Since(begun), r.total.Load(), r.received.Load()})
			case <-done:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done); <-ended }
}

// signal wakes who waits for ch, or will.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// sleep waits until a time since the run began.
func (r *run) sleep(until time.Duration) {
	if d := until - r.now(); d > 0 {
		sleepFor(d)
	}
}
