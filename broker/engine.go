package broker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"baton/destinations"
	"baton/journal"
)

// A Log keeps entries. *journal.Journal is one.
type Log interface {
	// Read calls fn for each record from Seq from on, in order; from 0: for all
	// that there are.
	Read(from uint64, fn func(journal.Record) error) error
	// Last is the Seq of the last record that was appended, even if it is not
	// there any more.
	Last() uint64
	// Append takes a batch that is kept whole or not at all. The records are
	// safe once the log has called Server.Durable with their Seq, and no Body is
	// changed before.
	Append(records []journal.Record) error
	// Sync asks that all that was appended be made durable now.
	Sync()
	// Trim says that no record with a Seq below before is needed any more.
	Trim(before uint64)
	// Clean says which records are needed, among those that Trim leaves. It does
	// not block.
	Clean(needed journal.Census)
	// Get returns one durable record, whose Body stays as it is for ever.
	Get(seq uint64) (journal.Record, error)
	// Checkpoint returns what WriteCheckpoint last wrote, if that is whole.
	Checkpoint() (from, upto uint64, parts [][]byte, ok bool)
	// WriteCheckpoint keeps parts beside the log: what is known of the records up
	// to upto, which are durable, when those after from are read again. It blocks.
	WriteCheckpoint(from, upto uint64, parts func(yield func(part []byte) error) error) error
	// Room is how many octets can be appended before the disk is low.
	Room() int64
	// Stats says among others how much of the log was found damaged, and whether
	// its disk answers. It does no I/O.
	Stats() journal.Stats
	// ID tells the log from any other: one that was put in the place of this, such as
	// a copy of another broker's, has another.
	ID() [16]byte
	// Close ends every wait for the log. What was appended is made durable, if
	// that is possible now; the error says why not.
	Close() error
}

// tendInterval is how often the log is told what is not needed any more, and
// how often a checkpoint may be begun.
const tendInterval = time.Second

// relieveBytes is after how many octets the log need not wait for that: it makes
// its next segment of one that it is rid of.
const relieveBytes = 64 << 20

// An engine owns the machine: it alone steps it.
type engine struct {
	machine    *destinations.Machine
	options    destinations.Options // of the machine
	log        Log
	logID      [16]byte
	rebuilt    bool // the machine has the state of that log up to its Last(), and nothing further
	epoch      uint32
	box        *mailbox
	budget     *budget
	logger     *zap.Logger
	progress   func(done, total uint64) // of the start
	stored     func(messages int)
	sessions   map[uint64]*session // those that have sent a mail and not ended
	batches    uint64
	ticked     time.Time   // when what was due was last done
	alarm      *time.Timer // for when something is due again
	ringing    time.Time   // when alarm goes off; zero: it does not
	effects    destinations.Effects
	records    []journal.Record
	parcels    []parcel // of the batch in progress
	following  []int    // of each output in a parcel, the one behind it there
	trimmed    uint64   // Last() when the log was last trimmed
	freed      uint64   // Freed() at that time
	grown      int      // octets appended since it was last relieved
	promised   uint64   // Last() when the log was last asked to note that all is durable
	dropped    dropLog  // copies for topic subscribers
	unclaimed  dropLog  // messages for temporary queues
	overflowed dropLog  // messages of queues that are full

	checkpoints checkpointer
	examiner    *examiner

	curious *session // an agent that wants to know of demands; nil: none does

	reports  reports
	observed atomic.Bool // somebody subscribes to reports

	disk     disk
	low      bool       // the disk, as of the batch in progress
	room     int64      // octets that may still be stored in that batch
	cramped  bool       // something was parked for want of that
	ailment  ailment    // of the log, as of the last tick
	told     ailment    // as it was reported
	parked   []*session // those with mails that wait for room on it, in the order of the first
	lot      *lot
	stopping atomic.Bool // the broker says goodbye
	refusing atomic.Bool // what waits for others to keep it is answered with an ERROR

	halt     atomic.Pointer[halt] // nil: it does not rest
	left     chan struct{}        // closed by endRest
	endsRest sync.Once

	doing atomic.Int32  // idle, working or appending
	ended chan struct{} // closed by Server.Serve when run has returned

	durable atomic.Uint64
	mu      sync.Mutex
	waiting []waiter // outboxes with outputs that are not durable
	fresh   []waiter // the same, of the batch in progress; the engine's own
}

// A waiter is an outbox that can go on when seq is durable.
type waiter struct {
	seq uint64
	out *outbox
}

// run steps the machine until the mailbox is closed and empty, or the log
// fails.
func (e *engine) run() error {
	tick := time.NewTicker(tendInterval)
	defer tick.Stop()
	e.alarm = time.NewTimer(time.Hour)
	e.alarm.Stop()
	defer e.alarm.Stop()
	e.setAlarm(time.Now())
	var posts []*post
	for {
		e.doing.Store(idle)
		if h := e.halt.Load(); h != nil && !e.rest(h) {
			return nil
		}
		e.checkpoints.write(e.durable.Load())
		select {
		case <-e.box.wake:
			if e.halt.Load() != nil {
				continue
			}
		case now := <-tick.C:
			e.doing.Store(working)
			e.tend(now)
			// The alarm is late when the clock was set forward.
			if !e.reports.turn() && !e.due(now) && !e.cramped && !e.logAils() {
				continue
			}
			if err := e.batch(nil); err != nil {
				return err
			}
			continue
		case <-e.alarm.C:
			e.ringing = time.Time{}
			if err := e.batch(nil); err != nil {
				return err
			}
			continue
		case <-e.checkpoints.turn():
			e.checkpoints.slice()
			continue
		case o := <-e.checkpoints.written:
			e.checkpoints.end(time.Now(), o)
			continue
		}
		var open bool
		posts, open = e.box.take(posts)
		if err := e.batch(posts); err != nil {
			return err
		}
		for i, p := range posts {
			p.done()
			posts[i] = nil
		}
		if !open {
			return nil
		}
	}
}

// What the engine is doing.
const (
	idle      int32 = iota
	working         // carrying out what it was asked
	appending       // it may be waiting for the log
)

func (e *engine) hasEnded() bool {
	select {
	case <-e.ended:
		return true
	default:
		return false
	}
}

// batch carries out some posts as one append to the log.
func (e *engine) batch(posts []*post) error {
	e.doing.Store(working)
	now := time.Now()
	e.batches++
	e.effects.Reset()
	e.effects.Continues = true
	e.readDisk()
	e.tick(now)
	taken := e.unpark(now)
	for _, p := range posts {
		taken += e.stepAll(now, p.from, p.mails)
	}
	taken += e.unpark(now) // some of these may have made place
	e.report(now)
	e.machine.Finish(&e.effects)
	// The machine holds it now, or nobody does. Counted twice for a moment, it
	// could have others refused.
	e.budget.give(taken)
	e.budget.held.Store(e.machine.Bytes())
	if err := e.append(now); err != nil {
		return err
	}
	e.deliver()
	e.tellDemands()
	if e.grown >= relieveBytes {
		e.relieve(now)
	}
	e.countDrops()
	e.tellDrops(now)
	for _, id := range e.effects.Lapsed {
		e.logger.Info("a durable subscription was deleted: nobody had used it for the durable.offline_ttl of its policy",
			zap.Stringer("subscription", id))
	}
	e.setAlarm(now)
	return nil
}

// tickInterval is how often what is due is done at most: a little late, and then
// more of it together.
const tickInterval = 20 * time.Millisecond

// tick lets the machine do what is due.
func (e *engine) tick(now time.Time) {
	if !e.due(now) || now.Sub(e.ticked) < tickInterval {
		return
	}
	e.ticked = now
	_ = e.machine.Step(now, &destinations.Command{Op: destinations.Tick, DiskLow: e.low}, &e.effects) // a Tick is not refused
}

// due says whether the machine has something to do that is due.
func (e *engine) due(now time.Time) bool {
	next, ok := e.machine.NextTick()
	return ok && !next.After(now)
}

// setAlarm sees to it that there is a batch when something is due.
func (e *engine) setAlarm(now time.Time) {
	next, ok := e.machine.NextTick()
	if soonest := e.ticked.Add(tickInterval); ok && next.Before(soonest) {
		next = soonest
	}
	switch {
	case !ok && e.ringing.IsZero(), ok && next.Equal(e.ringing):
	case !ok:
		e.alarm.Stop()
		e.ringing = time.Time{}
	default:
		e.alarm.Reset(next.Sub(now))
		e.ringing = next
	}
}

// stepAll carries out the mails of a session and returns how many octets of the
// budget the machine has taken over.
func (e *engine) stepAll(now time.Time, s *session, mails []mail) (taken int) {
	for i := range mails {
		e.step(now, s, &mails[i])
		taken += mails[i].taken
	}
	return taken
}

// step carries out one mail. After the first that is refused, nothing else that
// the client asked is done (STOMP 1.2, "ERROR"), but what was written to it is
// still taken note of.
func (e *engine) step(now time.Time, s *session, m *mail) {
	switch m.command.Op {
	case opTell:
		e.tell(s)
		return
	case opOpened:
		e.opened(s)
		return
	case destinations.Disconnect:
		e.end(now, s, m)
		return
	case destinations.Unreadable:
		e.setAside(now, m)
		return
	case destinations.Examined:
		m.command.DiskLow = e.low
		_ = e.machine.Step(now, &m.command, &e.effects) // it is not refused
		return
	}
	if s.ended || s.refused && m.command.Op != destinations.Sent {
		return
	}
	e.sessions[s.id] = s
	err := m.err
	if err == nil && (e.low || e.room < ampleRoom || len(s.parked) > 0) {
		var parked bool
		if parked, err = e.ration(s, m); parked {
			return
		}
	} else {
		e.room -= int64(m.taken)
	}
	if err == nil {
		m.command.DiskLow = e.low
		err = e.machine.Step(now, &m.command, &e.effects)
	}
	if waits(err) && s.agent == nil && !e.stopping.Load() {
		e.park(s, m)
		return
	}
	switch {
	case err != nil && s.agent != nil:
		e.output(destinations.Output{Kind: destinations.Refused, Session: s.id, ReceiptID: m.command.Receipt, Err: err})
	case err != nil:
		s.refused = true
		e.output(destinations.Output{Kind: destinations.Evict, Session: s.id, Err: whyRefused(err, &m.command, s)})
	}
}

// setAside takes a message that cannot be read out of the way of the others. If
// its delivery has ended meanwhile, whoever gets it next will find out.
func (e *engine) setAside(now time.Time, m *mail) {
	before := e.effects.SetAside
	_ = e.machine.Step(now, &m.command, &e.effects) // an Unreadable is not refused
	if e.effects.SetAside > before {
		e.logger.Error("a message cannot be read from the journal: it stays there, set aside, and the others are delivered; see baton journal verify",
			zap.Stringer("destination", m.command.Destination), zap.Error(m.err))
	}
}

// end carries out the Disconnect of a session, its last mail. That of a client
// that said goodbye waits for what is parked.
func (e *engine) end(now time.Time, s *session, m *mail) {
	c := &m.command
	if s.ended {
		return
	}
	if len(s.parked) > 0 && c.Clean && !s.refused {
		e.park(s, m)
		return
	}
	e.dropParked(s)
	s.ended = true
	if s.agent != nil && s.agent.listening {
		e.curious = nil
		e.machine.TellDemands(false)
	}
	s.cause = m.err
	e.sessions[s.id] = s
	if s.refused {
		c.WantReceipt = false
	}
	_ = e.machine.Step(now, c, &e.effects) // a Disconnect is not refused
	e.closed(s)
	e.output(destinations.Output{Kind: outputEnd, Session: s.id})
}

func (e *engine) output(o destinations.Output) {
	e.effects.Outputs = append(e.effects.Outputs, o)
}

// appendBytes is the size from which what one batch made is appended in parts:
// a standby that was away is sent whole Appends, and is to be sent a steady
// trickle. A transaction is never parted; the machine refuses one that would be
// too large for the log.
const appendBytes = 64 << 10

// recordOverhead is about what the log adds to an entry.
const recordOverhead = 36

// append gives the entries of the batch to the log.
func (e *engine) append(now time.Time) error {
	size, all := 0, 0
	for i := range e.effects.Entries {
		n := &e.effects.Entries[i]
		if size >= appendBytes && !n.Joined {
			if err := e.appendRecords(); err != nil {
				return err
			}
			size = 0
		}
		size += len(n.Head) + len(n.Body)
		all += recordOverhead + len(n.Head) + len(n.Body)
		e.records = append(e.records, recordOf(n, e.epoch))
	}
	if err := e.appendRecords(); err != nil {
		return err
	}
	e.checkpoints.grew(now, all)
	e.grown += all
	if e.effects.Sync && e.durable.Load() < e.machine.Last() {
		e.log.Sync()
	}
	return nil
}

func (e *engine) appendRecords() error {
	if len(e.records) == 0 {
		return nil
	}
	e.doing.Store(appending)
	err := e.log.Append(e.records)
	e.doing.Store(working)
	clear(e.records)
	e.records = e.records[:0]
	if err != nil {
		return fmt.Errorf("append to the journal: %w", err)
	}
	return nil
}

// deliver pushes the outputs of the batch into their outboxes, and wakes those
// that can go on.
func (e *engine) deliver() {
	e.sort()
	outputs := e.effects.Outputs
	for i := range e.parcels {
		p := &e.parcels[i]
		p.out.mu.Lock()
		for at := p.first; ; at = e.following[at] {
			e.announce(p.out, p.out.add(&outputs[at]))
			if at == p.last {
				break
			}
		}
		p.out.mu.Unlock()
	}
	clear(e.parcels)
	e.parcels = e.parcels[:0]
	e.await()
}

// A parcel is the outputs of a batch for one session, in order: of effects.Outputs
// the first, the one that is following that, and so on.
type parcel struct {
	out         *outbox
	first, last int
}

// sort makes the parcels of a batch, and does what its outputs ask beyond being
// written.
func (e *engine) sort() {
	outputs := e.effects.Outputs
	if cap(e.following) < len(outputs) || cap(e.following) > 4*cap(outputs) {
		e.following = make([]int, cap(outputs))
	}
	e.following = e.following[:len(outputs)]
	var s *session
	for i := range outputs {
		o := &outputs[i]
		if o.Kind == destinations.Examine {
			e.examiner.ask(o)
			e.announce(e.examiner.gate, o.After)
			continue
		}
		if s == nil || s.id != o.Session {
			if s = e.sessions[o.Session]; s == nil {
				continue
			}
		}
		e.addTo(s, i)
		switch o.Kind {
		case destinations.Evict:
			s.refused = true
			s.stop(asClientError(o.Err)) // what its reader then sends us comes after this batch
		case outputEnd:
			delete(e.sessions, s.id)
			s = nil
		}
	}
}

// addTo adds an output to the parcel for s.
func (e *engine) addTo(s *session, output int) {
	if s.sorted != e.batches {
		s.sorted, s.parcel = e.batches, len(e.parcels)
		e.parcels = append(e.parcels, parcel{s.out, output, output})
		return
	}
	p := &e.parcels[s.parcel]
	e.following[p.last] = output
	p.last = output
}

// announce notes that out has something to write once gate is durable: once a
// batch and gate.
func (e *engine) announce(out *outbox, gate uint64) {
	if out.batch == e.batches && out.awaited == gate {
		return
	}
	out.batch, out.awaited = e.batches, gate
	e.fresh = append(e.fresh, waiter{gate, out})
}

// await wakes the outboxes in fresh: now, or when what they wait for is
// durable.
func (e *engine) await() {
	if len(e.fresh) == 0 {
		return
	}
	e.mu.Lock()
	durable := e.durable.Load()
	now := e.fresh[:0]
	for _, w := range e.fresh {
		if w.seq > durable {
			e.waiting = append(e.waiting, w)
		}
		if w.seq <= durable || e.refusing.Load() {
			now = append(now, w)
		}
	}
	e.mu.Unlock()
	for _, w := range now {
		w.out.signal()
	}
	clear(e.fresh)
	e.fresh = e.fresh[:0]
}

// release lets everything out that waits for entries up to seq.
func (e *engine) release(seq uint64) {
	e.mu.Lock()
	e.durable.Store(seq)
	still := e.waiting[:0]
	for _, w := range e.waiting {
		if w.seq > seq {
			still = append(still, w)
		} else {
			w.out.signal()
		}
	}
	clear(e.waiting[len(still):])
	e.waiting = still
	e.mu.Unlock()
}

// relieve tells the log which of its oldest records are not needed any more, as far
// as the newest checkpoint allows, and begins the next.
func (e *engine) relieve(now time.Time) {
	e.grown = 0
	if !e.checkpoints.busy() {
		e.log.Trim(e.machine.Oldest())
	}
	e.beginCheckpoint(now)
}

func (e *engine) beginCheckpoint(now time.Time) {
	if e.checkpoints.due(now) {
		e.checkpoints.begin(e.machine)
	}
}

// tend tells the log what is not needed any more and sees to checkpoints.
func (e *engine) tend(now time.Time) {
	e.tellDrops(now)
	last, freed := e.machine.Last(), e.machine.Freed()
	if (last != e.trimmed || freed != e.freed) && !e.checkpoints.busy() {
		e.trimmed, e.freed = last, freed
		e.log.Trim(e.machine.Oldest())
		live := e.machine.Live()
		e.log.Clean(census{live})
		e.stored(live.Count())
	}
	e.beginCheckpoint(now)
	if last != e.promised {
		// When nothing more comes, this is how the log learns that its last
		// records are durable, and can tell damage to them from a torn write. While
		// something is not durable yet, it is a Sync like others.
		if e.durable.Load() >= last {
			e.promised = last
		}
		e.log.Sync()
	}
}
