package destinations

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"baton/destinations/selector"
)

// Options sets the machine's limits and policies. Zero values are the defaults.
type Options struct {
	// Where Policies say nothing else:
	Prefetch         int    // of a subscription that does not say; 0: 100 messages
	PrefetchBytes    int64  // the same in octets; 0: 8 MiB
	MaxDeliveries    int    // in vain, before a message is dead-lettered; 0: 10
	DeadLetterPrefix string // of dead-letter queues; empty: "DLQ."
	Pending          Pending

	Member           string    // of a network, that this broker is; empty: of none
	Policies         *Policies // nil: all destinations are alike
	Routes           []Route
	MemoryBytes      int64 // of contents and queues in memory; more contents are only in the log; 0: 1 GiB
	MaxSubscriptions int   // of one session; 0: 1000
	MaxCommitBytes   int64 // that one transaction may take in the log; 0: 120 MiB
	gatherAfter      int   // 0: the constant; less in tests

	// Fields are those of a message that selectors read. It is called only when
	// there are selectors, and what it returns is used before the next call.
	Fields func(*Message) selector.Fields
}

// WithDefaults returns o with its zero values replaced.
func (o Options) WithDefaults() Options {
	setDefault(&o.Prefetch, 100)
	setDefault(&o.PrefetchBytes, 8<<20)
	setDefault(&o.MaxDeliveries, 10)
	setDefault(&o.DeadLetterPrefix, "DLQ.")
	setDefault(&o.Pending.Messages, 10_000)
	setDefault(&o.Pending.Bytes, 16<<20)
	setDefault(&o.Pending.SpillBytes, 1<<30)
	setDefault(&o.MemoryBytes, 1<<30)
	setDefault(&o.MaxSubscriptions, 1000)
	setDefault(&o.MaxCommitBytes, 120<<20)
	setDefault(&o.gatherAfter, gatherAfter)
	return o
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// maxAttempts is where the count of failed deliveries of a message stops.
const maxAttempts = 1<<16 - 1

// A Machine is the state of all destinations. See the package comment.
type Machine struct {
	opts     Options
	policies policyBook
	last     uint64            // Seq of the newest entry
	start    uint64            // Seq of the newest start entry
	unstored uint64            // messages since the start that were not stored
	bytes    int64             // size of the contents and the queues in memory
	reserved int64             // of what is free, for the rest of the Step in progress
	buried   map[original]bool // of topics: in a dead-letter queue there is a copy
	aside    int               // messages set aside, for their content could not be read
	live     liveSet
	spilled  liveSet           // entries with copies for topic subscribers, see spill.go and loan.go
	freed    uint64            // spilled copies that have gone
	burials  map[uint64]burial // of spilled copies, by their Seqs
	queues   map[string]*queue
	recent   *queue         // of queues, the one that was looked for last
	roster   roster[*queue] // all of queues
	topics   map[string]*topic
	durables durables
	routes   patternSet[*Route]
	sessions map[uint64]*session
	windows  map[Destination]*window // of deduplication ids
	trimmed  time.Time               // when all windows were looked at
	others   otherClock              // of ids that this machine has from the log

	watchers patternSet[*subscription] // those with wildcards or several destinations
	watching int                       // patterns in watchers
	viewed   uint64                    // views ever made
	round    uint64                    // counts what was sent to topics while there were such
	sender   uint64                    // session of the Step in progress
	job      MessageID                 // what it sent, if that waits for its time

	stored    uint64 // Seq of the newest entry of this machine that is for more than spilled copies
	spillable bool   // copies may be spilled now
	spilledAs uint64 // Seq of the entry with the message that is being shown, once it was spilled

	observers int      // subscriptions and patterns for topics of reports
	out       *Effects // of the Step in progress, for facts

	now     time.Time // of the Step in progress
	millis  int64     // the same in Unix ms
	work    int       // that the Tick in progress may still do
	timers  timers
	started bool // timers are set only from then on

	whole         bool             // the Step in progress is a transaction
	joined        bool             // and has an entry already
	newest        uint64           // the highest Claim.Number that was heard of
	telling       bool             // Demands are wanted
	stirred       []*queue         // of which the demand may have changed since they were told
	listeners     map[string]int   // subscribers by topic or pattern, of this broker
	spools        int              // queues that hold messages for other brokers
	wilds         map[string]*wild // those who take from queues by wildcards, by pattern
	stirredWilds  []*wild          // of which the demand may have changed
	stirredTopics []string         // of listeners, where there are such or none since they were told
	touched       []*queue         // by the Step in progress: have something new to dispatch
	seqs          []uint64         // to be settled by recordSettle
	refs          []ref            // their places, where all of them are known
	settled       *queue           // where they are
	takers        []*durable       // scratch of a publish

	lastPublished *Props // of a plain message that was published: its topic

	superseded []superseded // by what the Step in progress put into queues

	gathered []*queue        // whose gatherings are to be said again
	spans    map[string]span // by queue: of those that were; never nil once there are such
	doubted  uint64          // settlements before this Seq may not have been gathered: see comesBack

	recovery *recovery // while entries are replayed that a checkpoint knows in part
}

// New makes an empty machine.
func New(o Options) *Machine {
	return &Machine{
		opts:     o.WithDefaults(),
		policies: newPolicyBook(o),
		routes:   newRoutes(o.Routes),
		queues:   map[string]*queue{},
		topics:   map[string]*topic{},
		sessions: map[uint64]*session{},
	}
}

// Step carries out one command. It appends to out what must be logged and what
// is to be sent. An error is always an *Error: the command was refused and has
// changed nothing.
//
// c stays the caller's: it is not changed, and the machine keeps no reference to
// it, to its Consumer or More, nor to a slice in More. What it keeps is the
// Message, those of Sends, the Selector and such of a Consumer, an Examination,
// and strings.
func (m *Machine) Step(now time.Time, c *Command, out *Effects) error {
	if len(m.seqs) > 0 && !m.joins(c) {
		m.recordSettle(out) // what Steps before did
	}
	before := m.last
	if m.out = out; now != m.now { // one time for all of a batch
		m.now, m.millis = now, now.UnixMilli()
	}
	if err := m.do(c, out); err != nil {
		return err
	}
	if len(m.seqs) > 0 && !(out.Continues && m.joins(c) && !c.WantReceipt && len(m.superseded) == 0) {
		m.recordSettle(out)
	}
	if len(m.superseded) > 0 {
		m.settleSuperseded(before, out)
	}
	m.confirm(c, before, out)
	for i := 0; i < len(m.touched); i++ { // what expires on the way touches further ones
		m.dispatch(m.touched[i], out)
		m.touched[i] = nil
	}
	m.touched = m.touched[:0]
	if len(m.gathered) > 0 {
		m.sayAgain(out)
	}
	return nil
}

func (m *Machine) do(c *Command, out *Effects) error {
	m.sender, m.spillable, m.job = c.Session, !c.DiskLow, MessageID{}
	if len(m.windows) > 0 {
		m.trimWindows()
	}
	switch c.Op {
	case Start:
		m.others.until = m.last
		m.record(&record{kind: KindStart}, out)
		m.startTimers()
		return nil
	case Send:
		return m.send(c, out)
	case Subscribe:
		return m.subscribe(c.own(), out)
	case Unsubscribe:
		return m.unsubscribe(c.own(), out)
	case Ack, Nack:
		return m.acknowledge(c, out)
	case Commit:
		return m.commit(c, out)
	case Abort:
		m.abort(c)
		return nil
	case Disconnect:
		m.disconnect(c, out)
		return nil
	case Sent:
		m.sent(c, out)
		return nil
	case Unreadable:
		m.unreadable(c, out)
		return nil
	case Tick:
		m.tick(out)
		return nil
	case Examined:
		switch e := c.more().Examination; {
		case e.copies != nil && e.copies.browser == nil:
			m.broughtFor(e.copies, e, out)
		case e.copies != nil:
			m.glanced(e)
		case e.burial != 0:
			m.broughtDead(e, out)
		case e.Selector == nil:
			m.brought(e, out)
		default:
			m.examined(e, out)
		}
		return nil
	case Cancel:
		m.cancel(c, out)
		return nil
	case Grant:
		m.grant(c)
		return nil
	case Learn:
		return m.learn(c, out)
	case Note:
		return nil
	}
	panic(fmt.Sprintf("BUG: unknown command %d", c.Op))
}

// confirm answers the receipt that c asks for. It leaves before anything that
// the command sets free, so that the RECEIPT of a SUBSCRIBE is ahead of its
// first MESSAGE. before was the newest entry before the command.
func (m *Machine) confirm(c *Command, before uint64, out *Effects) {
	if !c.WantReceipt && c.Copies == 0 {
		return
	}
	o := out.output()
	o.Kind, o.Session, o.ReceiptID = Receipt, c.Session, c.Receipt
	if !c.WantReceipt {
		o.Kind = Mark
	}
	switch c.Op {
	case Send:
		// What a duplicate is one of may not be durable yet.
		if c.Message.Persistent && !c.Destination.Temporary() &&
			(!c.Destination.Topic || m.stored > before || c.Message.Props != nil && c.Message.Props.DedupID != "") {
			o.After = m.last
		}
		o.Delivery.ID = m.job
	case Subscribe, Unsubscribe:
		if m.last > before { // a durable subscription was made or deleted
			o.After = m.last
		}
	case Ack, Nack, Commit, Disconnect, Cancel:
		// What this command settles may have been settled by an earlier one
		// that nobody waited for: wait for all of it.
		o.After = m.last
	}
	if o.After > 0 {
		o.Copies, out.Sync = c.Copies, true
	}
}

// Replay applies an entry of the log: in recovery before the first Step, and
// on a standby. Entries come in the order of their Seqs. It keeps no memory of
// e.
func (m *Machine) Replay(e Entry) error {
	if e.Seq <= m.last {
		return fmt.Errorf("entry %d is replayed after entry %d", e.Seq, m.last)
	}
	if err := m.recovery.accept(e); err != nil {
		return err
	}
	r, err := e.decode()
	if err != nil {
		return err
	}
	r.replayed = true
	m.last = e.Seq
	if m.recovery != nil && e.Seq > m.recovery.upto {
		m.recovery = nil
	}
	m.apply(&r)
	return nil
}

// Resume says that the log goes on after last, which may be later than the
// last entry that was replayed: those at the end may all have been given back.
// An error says that the end of the checkpoint was missing.
func (m *Machine) Resume(last uint64) error {
	if m.recovery != nil && !m.recovery.complete {
		return errors.New("the last part of the checkpoint is missing")
	}
	m.recovery = nil
	m.last = max(m.last, last)
	return nil
}

// record gives r the next Seq, applies it and appends it to the entries.
func (m *Machine) record(r *record, out *Effects) {
	m.last++
	r.seq = m.last
	at := len(out.arena)
	out.arena = r.encode(out.arena)
	e := Entry{Seq: r.seq, Kind: r.kind, Head: out.arena[at:len(out.arena):len(out.arena)], Joined: m.joined}
	m.joined = m.whole
	if r.kind != KindSpill {
		m.stored = r.seq
	}
	if r.msg != nil {
		e.Body = r.msg.Content
	}
	out.Entries = append(out.Entries, e)
	if r.kind != KindSettle && r.kind != KindAttempt && r.kind != KindSpill {
		out.Sync = true
	}
	m.apply(r)
}

// apply changes the stored state: the only place that does. What a queue has
// from a checkpoint is not done to it again.
func (m *Machine) apply(r *record) {
	switch r.kind {
	case KindStart:
		m.start, m.unstored = r.seq, 0
	case KindSpill: // nothing: what it is for ends before a start
	case KindEnqueue:
		m.enliven(r.seq, r.msg.size())
		if !m.recovery.has(r.queue, r.seq) {
			m.put(m.queue(r.queue), r)
		}
	case KindSettle:
		if q := m.changing(r); q != nil {
			m.applySettle(q, r)
		}
	case KindMove:
		m.applyMove(r)
	case KindAttempt:
		if q := m.changing(r); q != nil {
			if at, ok := q.find(r.seqs[0], 0); ok {
				at.setAttempts(r.attempts, r.until)
			}
		}
	case KindSchedule:
		if q := m.changing(r); q != nil {
			m.applySchedule(q, r)
		}
	case KindPublish:
		m.applyPublish(r)
	case KindDurable:
		m.applyDurable(r)
	case KindForgo:
		m.applyForgo(r)
	case KindTake:
		m.applyTake(r)
	case KindDedup:
		m.applyDedup(r)
	}
}

// changing returns the queue whose messages r changes, nil if there is none:
// they are in a part of the log that was given back, or were changed already
// when a checkpoint was taken.
func (m *Machine) changing(r *record) *queue {
	if m.recovery.has(r.queue, r.seq) {
		return nil
	}
	return m.find(r.queue)
}

// put adds the message of r at the end of q. Where there is no room for the
// content, or nobody to read it soon, only its place is remembered.
func (m *Machine) put(q *queue, r *record) {
	s := slot{seq: r.seq, size: slotSize(r.msg), marks: markStored}
	if m.room(q, r.msg.size()) && !q.offline() {
		s.msg = r.msg
		if r.replayed {
			s.msg.Content, r.replayed = slices.Clone(s.msg.Content), false
		}
	}
	if r.dead != nil { // its times are over
		m.push(q, s, DefaultPriority, &extra{dead: r.dead})
		return
	}
	level, props := m.places(q, r.msg)
	m.push(q, s, level, props.extra())
}

func (m *Machine) applySettle(q *queue, r *record) {
	for i, seq := range r.seqs {
		at, ok := r.settled(q, i)
		if ok && m.discard(q, at) {
			m.gather(q, r, seq)
		}
	}
	if r.again != 0 {
		m.applyAgain(q, r)
	}
	m.collect(q)
}

// settled returns the place of the i-th message that r settles.
func (r *record) settled(q *queue, i int) (at ref, ok bool) {
	if r.refs != nil {
		return r.refs[i], true
	}
	if at, ok = q.find(r.seqs[i], 0); !ok {
		at, ok = q.findWaiting(r.seqs[i], 0) // that was cancelled
	}
	return at, ok
}

// applyMove takes a message out of its queue and puts it into another. r itself
// says what there is to put when the message is not there: when a checkpoint has
// the one queue without it and the other not yet with it, and when it was in a
// durable subscription, or a virtual topic's queue, of which the log has given
// back that it ever was.
func (m *Machine) applyMove(r *record) {
	s := slot{seq: r.seq, size: r.size, marks: markStored}
	if !m.recovery.has(r.queue, r.seq) {
		if !m.moveOut(r, &s) {
			if !publishedTo(r.queue) && r.content == r.seqs[0] {
				return
			}
			m.comesBack(r)
		}
	}
	m.enliven(r.seq, moveBytes)
	m.enliven(r.content, int64(s.size))
	if !m.recovery.has(r.target, r.seq) {
		m.push(m.queue(r.target), s, DefaultPriority, &extra{dead: r.dead, content: r.content})
	}
}

// moveOut takes the message that r moves out of its queue, and says whether it was
// there. One whose content is elsewhere may not be: the entry that put it there,
// which is of a message that comes again and again, is not needed for anything
// else, so the log may have given it back.
func (m *Machine) moveOut(r *record, s *slot) bool {
	q := m.find(r.queue)
	if q == nil {
		return false
	}
	at, ok := q.find(r.seqs[0], 0)
	if !ok {
		return false
	}
	s.msg, s.size, r.content = at.slot().msg, at.slot().size, at.content()
	m.discard(q, at)
	m.collect(q)
	return true
}

// moveBytes is what a move takes in the log, roughly.
const moveBytes = 128

// enliven says that the entry with this seq must stay in the log, for one holder
// more.
func (m *Machine) enliven(seq uint64, size int64) {
	if m.recovery == nil { // or the checkpoint has it
		m.live.add(seq, size)
	}
}

// expire says that the entries that hold a stored message need not stay. It
// tells whether the one that put it there must nevertheless, for others.
func (m *Machine) expire(at ref) (shared bool) {
	s, content := at.slot(), at.content()
	if m.recovery != nil {
		return m.live.has(s.seq)
	}
	shared = m.live.remove(content, int64(s.size))
	if s.seq != content {
		shared = m.live.remove(s.seq, moveBytes)
	}
	if x := at.c.extra(at.i); x != nil && x.latest != 0 {
		m.live.remove(x.latest, moveBytes)
	}
	return shared
}

// room says whether a message of this size may be in memory for q. What a queue
// may have depends on what is left: one long backlog takes at most half of the
// memory, and there is always some for the others. An eighth is for what cannot be
// in the log only.
func (m *Machine) room(q *queue, size int64) bool {
	most := m.opts.MemoryBytes - m.opts.MemoryBytes/8
	return q.resident+size <= most-m.bytes-m.reserved
}

func slotSize(msg *Message) uint32 { return uint32(min(msg.size(), 1<<32-1)) }

// push adds a message that is ready, or waits for its time, at the end of its
// level of q, and counts its memory.
// x is what it has beyond what all have, nil if that is nothing.
func (m *Machine) push(q *queue, s slot, level uint8, x *extra) {
	if s.msg != nil {
		m.retain(s.msg)
	} else if x != nil {
		m.bytes += x.props.textBytes()
	}
	if level == levelWaiting {
		m.bytes += waitBytes
	}
	q.unused = 0
	at := q.push(s, level)
	if x != nil {
		at.setExtra(*x)
		if x.props != nil {
			m.setTimes(q, at)
			m.succeed(q, at)
		}
	}
	m.touch(q)
}

// discard takes a message out of q for good. It tells whether the entry that put
// it there must stay in the log for others.
func (m *Machine) discard(q *queue, at ref) (shared bool) {
	switch {
	case q.lasts(at.slot()):
		shared = m.expire(at)
	case at.logged() != 0:
		m.unspill(at)
	}
	if at.slot().state == slotAside {
		m.aside--
	}
	if q.newest != nil {
		m.forgetKey(q, at)
	}
	if q.groups != nil {
		m.ungroup(q, at)
	}
	m.release(at)
	q.remove(at)
	if q.stale() {
		q.forgetStale()
	}
	return shared
}

// retain counts that one backlog more holds msg.
func (m *Machine) retain(msg *Message) {
	if msg.refs++; msg.refs == 1 {
		m.bytes += msg.memory()
	}
}

// release counts that one backlog less holds what is at a place.
func (m *Machine) release(at ref) {
	if at.c.priority == levelWaiting {
		m.bytes -= waitBytes
	}
	msg := at.slot().msg
	if msg == nil {
		m.bytes -= at.props().textBytes()
		return
	}
	if at.slot().lent() && at.extra().kept != nil {
		m.letGo(at.extra().kept)
	}
	m.letGo(msg)
}

// letGo is the opposite of retain.
func (m *Machine) letGo(msg *Message) {
	if msg.refs--; msg.refs == 0 {
		m.bytes -= msg.memory()
		if m.buried != nil {
			delete(m.buried, original{msg: msg})
		}
	}
}

// queueBytes is counted for each queue, so that a flood of queues meets the
// limit of memory as well.
const queueBytes = 512

// queue returns the queue called name, made if there is none.
func (m *Machine) queue(name string) *queue {
	q := m.find(name)
	if q == nil {
		q = &queue{destination: Queue(name), policy: m.policies.of(Queue(name))}
		q.shared = m.shares(q.destination)
		if q.spool = strings.HasPrefix(name, spoolPrefix); q.spool {
			m.spools++
		}
		m.archiveOf(q)
		q.plain = q.policy.plain() && q.archive == nil && !q.destination.virtual() && !q.destination.Temporary()
		m.queues[name], m.recent = q, q
		m.roster.add(q)
		m.bytes += queueBytes
		m.discovered(q)
		m.noteDestination(DestinationMade, q.destination)
	}
	return q
}

// find returns the queue called name, nil if there is none. A Step mostly looks
// for the same one several times.
func (m *Machine) find(name string) *queue {
	if q := m.recent; q != nil && q.destination.Name == name {
		return q
	}
	q := m.queues[name]
	if q != nil {
		m.recent = q
	}
	return q
}

// collect forgets a queue in which nothing is and that nobody consumes. One that
// is durable goes by an entry, when its time has come.
func (m *Machine) collect(q *queue) {
	if q.durable != nil {
		m.idle(q)
		return
	}
	// A queue that was forgotten before may have a successor of the same name.
	if q.live == 0 && q.consumers == 0 && q.owner == 0 && m.queues[q.destination.Name] == q && !m.lingers(q) {
		delete(m.queues, q.destination.Name)
		m.recent = nil
		m.roster.remove(q)
		m.noteDestination(DestinationGone, q.destination)
		if m.telling {
			m.stirWilds(q) // while it is known whose credit was used up here
		}
		q.abandon()
		if q.spool {
			m.spools--
		}
		m.bytes -= int64(len(q.views))*viewBytes + int64(len(q.groups))*groupBytes
		m.bytes -= queueBytes
		m.stopTimer(&q.timer)
		m.endGathering(q)
		q.waits = nil
	}
}

// lingers says that a queue which nobody uses is remembered for a while yet.
func (m *Machine) lingers(q *queue) bool {
	after := q.unusedFor()
	if after == 0 || !m.started || !q.visible() {
		return false
	}
	if q.unused == 0 {
		q.unused = m.millis
	}
	if q.unused+after <= m.millis {
		return false
	}
	m.wake(q, q.unused+after)
	return true
}

// touch remembers to dispatch q at the end of the Step.
func (m *Machine) touch(q *queue) {
	m.stir(q)
	if q.members.empty() {
		return
	}
	if n := len(m.touched); n == 0 || m.touched[n-1] != q {
		m.touched = append(m.touched, q)
	}
}

// Last returns the Seq of the newest entry.
func (m *Machine) Last() uint64 { return m.last }

// Oldest returns the Seq of the oldest entry that a recovery needs: Last()+1
// when it needs none.
func (m *Machine) Oldest() uint64 {
	return min(m.live.oldestOr(m.last+1), m.spilled.oldestOr(m.last+1))
}

// Bytes returns the size of what is in memory: contents, with what a message
// costs beyond them, queues, and the texts of Props. Nothing else is counted of
// messages whose content is only in the log: one takes 24 octets, or 1 to 4 when
// many wait in a row, and some 200 more, or 10 to 30, if it has Props.
func (m *Machine) Bytes() int64 { return m.bytes }

// Stats are figures about the machine at one moment.
type Stats struct {
	Queues, Topics, Subscriptions int
	Durables                      int   // durable subscriptions, with and without consumers
	Messages                      int   // in queues, in flight or not
	Kept                          int   // messages that topics keep for those who subscribe later
	Bytes                         int64 // see Machine.Bytes
	Unreadable                    int   // of Messages, set aside for their content could not be read
}

// Stats counts. It takes time in proportion to the number of destinations.
func (m *Machine) Stats() Stats {
	s := Stats{Queues: len(m.queues) - m.durables.count, Durables: m.durables.count, Topics: len(m.topics), Bytes: m.bytes, Unreadable: m.aside}
	for _, q := range m.queues {
		if q.archive != nil {
			s.Queues--
			s.Kept += q.live
		} else {
			s.Messages += q.live
		}
	}
	for _, session := range m.sessions {
		s.Subscriptions += len(session.subs)
	}
	return s
}
