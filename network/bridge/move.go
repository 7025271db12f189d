package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	subscription = "bridge"
	subscribed   = "subscribed" // receipts
	goodbye      = "goodbye"

	batchBytes = 64 << 10 // is when a batch of SENDs is not made longer
)

var errStopped = errors.New("stopped")

// A move is the work of one pair of connections.
type move struct {
	b              *Bridge
	source, target *link
	translate      *translator
	begun          time.Time
	room           *semaphore.Weighted // messages in hand
	arrived        chan handed
	acks           chan flight // has room for all that is in hand

	mu         sync.Mutex // guards what follows, and the memories of the bridge
	subscribed bool
	stopping   bool // nothing more is taken in hand
	inHand     int
	flights    []flight // not acknowledged; the first is not answered either
	first      uint64   // number of flights[0]
}

// A handed message waits to be sent.
type handed struct {
	*frame.Frame
	weight int64
}

// A flight is a message from when it is written to the target until it is acknowledged at the source.
type flight struct {
	name, ack string
	weight    int64
	sent      time.Time
	answered  bool
	known     bool // the target had it before
}

func newMove(b *Bridge, source, target *link) *move {
	return &move{
		b: b, source: source, target: target, translate: newTranslator(&b.o, source.server, target.server), begun: time.Now(),
		room: semaphore.NewWeighted(b.o.WindowBytes), arrived: make(chan handed, b.o.Window), acks: make(chan flight, b.o.Window),
	}
}

// run subscribes and moves until something fails, or until ctx ends and what is in hand is done.
func (m *move) run(ctx context.Context) error {
	if err := m.subscribe(); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	group, work := errgroup.WithContext(context.WithoutCancel(ctx))
	cut := context.AfterFunc(work, func() {
		_ = m.source.Close()
		_ = m.target.Close()
	})
	defer cut()
	group.Go(func() error { return told("source", m.readSource(work)) })
	group.Go(func() error { return told("target", m.writeTarget(work)) })
	group.Go(func() error { return told("target", m.readTarget()) })
	group.Go(func() error { return told("source", m.writeSource(ctx, work)) })
	group.Go(func() error { return m.watch(ctx, work) })
	err := group.Wait()
	m.leave()
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

func told(which string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", which, err)
}

// leave notes which messages the target may have.
func (m *move) leave() {
	for _, f := range m.flights {
		if !f.answered {
			m.b.doubtful.add(f.name)
		}
	}
}

func (m *move) subscribe() error {
	window := strconv.Itoa(m.b.o.Window)
	f := frame.New(frame.SUBSCRIBE, frame.Id, subscription, frame.Destination, m.b.o.Source.Destination, frame.Ack, "client-individual",
		"prefetch-count", window, "activemq.prefetchSize", window, frame.Receipt, subscribed)
	if m.b.o.Selector != "" {
		f.Header.Add("selector", m.b.o.Selector)
	}
	return m.source.write(encode(f))
}

func encode(f *frame.Frame) []byte {
	var out bytes.Buffer
	_ = frame.NewWriter(&out).Write(f) // into memory
	return out.Bytes()
}

// readSource takes messages in hand while there is room for them.
func (m *move) readSource(work context.Context) error {
	least := max(1, m.b.o.WindowBytes/int64(m.b.o.Window))
	for {
		f, err := m.source.in.next()
		if err != nil {
			return err
		}
		switch f.Command {
		case frame.ERROR:
			return refusal(f)
		case frame.RECEIPT:
			if f.Header.Get(frame.ReceiptId) == goodbye {
				return errStopped
			}
			m.begin()
		case frame.MESSAGE:
			h := handed{f, min(max(int64(len(f.Body)), least), m.b.o.WindowBytes)}
			if err := m.room.Acquire(work, h.weight); err != nil {
				return err
			}
			if !m.take() {
				m.room.Release(h.weight)
				continue
			}
			m.arrived <- h // has room for all that is in hand
		}
	}
}

func (m *move) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.subscribed {
		m.subscribed = true
		m.b.enter(Moving)
	}
}

// take says whether a message is to be taken in hand. What is not goes to others when the source sees us go.
func (m *move) take() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return false
	}
	m.inHand++
	return true
}

// writeTarget sends what has arrived, many at a time, and heart-beats when there is nothing.
func (m *move) writeTarget(work context.Context) error {
	beat := m.target.ticker()
	defer beat.Stop()
	var batch bytes.Buffer
	frames := frame.NewWriter(&batch)
	for {
		batch.Reset()
		select {
		case h := <-m.arrived:
			m.send(h, frames)
		case <-beat.C:
			batch.WriteByte('\n')
		case <-work.Done():
			return nil // another one knows why
		}
		for more := true; more && batch.Len() < batchBytes; {
			select {
			case h := <-m.arrived:
				m.send(h, frames)
			default:
				more = false
			}
		}
		if err := m.target.write(batch.Bytes()); err != nil {
			return err
		}
		if batch.Cap() > 16*batchBytes {
			batch = bytes.Buffer{}
		}
	}
}

// send adds the SEND of a message to a batch, unless the target has it.
func (m *move) send(h handed, to *frame.Writer) {
	f := flight{name: m.translate.name(h.Frame), ack: h.Header.Get(frame.Ack), weight: h.weight, sent: time.Now()}
	m.mu.Lock()
	f.known = m.b.answered.has(f.name)
	again := h.Header.Get(headerRedelivered) == "true" || m.b.doubtful.has(f.name)
	receipt := strconv.FormatUint(m.first+uint64(len(m.flights)), 10)
	m.flights = append(m.flights, f)
	if f.known {
		m.answer(len(m.flights) - 1)
	}
	m.mu.Unlock()
	if f.known {
		return
	}
	if again {
		m.b.count(0, 1)
	}
	_ = to.Write(m.translate.send(h.Frame, f.name, receipt, again)) // into memory
}

// readTarget settles what the target answers.
func (m *move) readTarget() error {
	for {
		f, err := m.target.in.next()
		if err != nil {
			return err
		}
		switch f.Command {
		case frame.ERROR:
			return refusal(f)
		case frame.RECEIPT:
			if err := m.receipt(f.Header.Get(frame.ReceiptId)); err != nil {
				return err
			}
		}
	}
}

func (m *move) receipt(id string) error {
	number, err := strconv.ParseUint(id, 10, 64)
	m.mu.Lock()
	defer m.mu.Unlock()
	at := number - m.first
	if err != nil || at >= uint64(len(m.flights)) || m.flights[at].answered {
		return fmt.Errorf("a receipt came for %.40q, which is nothing that waits for one", id)
	}
	m.b.answered.add(m.flights[at].name)
	m.b.count(1, 0)
	m.answer(int(at))
	return nil
}

// answer notes that the target has a message, and has those acknowledged that all before have been answered too. The lock is
// held.
func (m *move) answer(at int) {
	m.flights[at].answered = true
	done := 0
	for done < len(m.flights) && m.flights[done].answered {
		m.acks <- m.flights[done] // has room for all that is in hand
		done++
	}
	m.flights, m.first = m.flights[done:], m.first+uint64(done)
}

// writeSource acknowledges, and says goodbye when ctx has ended and nothing is in hand any more.
func (m *move) writeSource(ctx, work context.Context) error {
	beat := m.source.ticker()
	defer beat.Stop()
	end := ctx.Done()
	var batch bytes.Buffer
	frames := frame.NewWriter(&batch)
	for {
		batch.Reset()
		done, weight := 0, int64(0)
		acknowledge := func(f flight) {
			_ = frames.Write(frame.New(frame.ACK, frame.Id, f.ack)) // into memory
			done, weight = done+1, weight+f.weight
		}
		select {
		case f := <-m.acks:
			acknowledge(f)
			for range len(m.acks) {
				acknowledge(<-m.acks)
			}
		case <-beat.C:
			batch.WriteByte('\n')
		case <-end:
			end = nil
		case <-work.Done():
			return nil // another one knows why
		}
		if m.settle(done, end == nil) {
			_ = frames.Write(frame.New(frame.DISCONNECT, frame.Receipt, goodbye)) // into memory
		}
		if batch.Len() > 0 {
			if err := m.source.write(batch.Bytes()); err != nil {
				return err
			}
		}
		m.room.Release(weight)
	}
}

// settle counts what is acknowledged, and says that nothing is in hand and nothing will be.
func (m *move) settle(done int, stopping bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inHand -= done
	m.stopping = m.stopping || stopping
	return m.stopping && m.inHand == 0
}

// watch ends the work when something takes too long.
func (m *move) watch(ctx, work context.Context) error {
	look := time.NewTicker(min(m.b.o.Timeout, m.b.o.ReceiptTimeout) / 8)
	defer look.Stop()
	end := ctx.Done()
	var over <-chan time.Time
	for {
		select {
		case <-look.C:
			if err := m.late(time.Now()); err != nil {
				return err
			}
		case <-end:
			end, over = nil, time.After(m.b.o.Timeout)
		case <-over:
			return errStopped
		case <-work.Done():
			return nil // another one knows why
		}
	}
}

// late says what takes too long.
func (m *move) late(now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.subscribed && now.Sub(m.begun) > m.b.o.Timeout {
		return fmt.Errorf("source: no RECEIPT came for SUBSCRIBE within %v", m.b.o.Timeout)
	}
	if len(m.flights) > 0 && now.Sub(m.flights[0].sent) > m.b.o.ReceiptTimeout {
		return fmt.Errorf("target: no RECEIPT came for a SEND within %v", m.b.o.ReceiptTimeout)
	}
	return nil
}
