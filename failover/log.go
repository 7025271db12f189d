package failover

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"baton/journal"
)

// LogOptions of a Log.
type LogOptions struct {
	Data string // the node's directory; the journal is DATA/journal
	Node string // this node's name
	// Journal are the options of the journal. Dir and OnDurable are the Log's own.
	Journal journal.Options
	// Retain is how many octets behind a standby may be before what it lacks is given up; it needs a snapshot then.
	// 0: 1 GiB.
	Retain int64
	// SyncRate is how many octets a second a standby is sent that was away, or twice what the log grows by, if that is more.
	// 0: as fast as it can.
	SyncRate int64
	// OnDurable is called when records are durable on this node: journal.Options.OnDurable.
	OnDurable func(seq uint64)
	// OnAppended is called at the end of each Append, from who called that. What it speaks of may be durable here and flushed
	// there before; nil: nobody is told.
	OnAppended func(end journal.Position)
	// Rest is called before the journal is closed, to be cut or replaced: when it has returned nobody uses the Log until
	// resume is called. nil: nobody does anyway.
	Rest func() (resume func())
}

// A Log is the log of a node of a pair: its journal, and what makes it the same on both nodes. It has all methods of the
// broker's Log. What the broker calls durable is what is committed: durable on every member required. The Log does not
// decide that: Commit tells it.
//
// As a master's, it keeps what it appends in a buffer for the standby (see Sender). As a standby's, a Receiver appends to
// it, cuts and replaces its journal.
type Log struct {
	opt     LogOptions
	fs      journal.FS
	logger  *zap.Logger
	journal atomic.Pointer[journal.Journal]
	buffer  *buffer
	wakes   atomic.Pointer[[]*func()] // of the streams that are connected; of two, one is about to end

	attaching   sync.Mutex // held while wakes is replaced
	changing    sync.Mutex // held while the journal is cut or replaced
	remembering sync.Mutex // held while the pair file is written

	appending sync.Mutex // held from the journal to the buffer, so that no record is missed between them

	mu        sync.Mutex
	changed   *sync.Cond
	pair      Pair
	promised  atomic.Uint32 // pair.Promised
	resync    bool          // the journal cannot follow as it is
	committed uint64
	closed    bool
	broken    error // the journal has failed
	trim      deferred[uint64]
	census    deferred[journal.Census]
	growth    growth
	peer      uint64  // everything up to here is durable on the other node
	leeway    int64   // octets that are retained beyond LogOptions.Retain, for a snapshot to be worth its while
	grantee   *Sender // of that snapshot; nil: it is sent
	sender    *Sender // the newest; nil: it has ended

	retaining sync.Mutex // held while the journal is told what to retain
}

// OpenLog opens the log of a node, and finishes what a crash left half done in its directory. The caller looks at Pair
// afterwards: whether it speaks of this journal.
func OpenLog(opt LogOptions) (*Log, error) {
	if opt.Retain <= 0 {
		opt.Retain = 1 << 30
	}
	if opt.OnDurable == nil {
		opt.OnDurable = func(uint64) {}
	}
	if opt.OnAppended == nil {
		opt.OnAppended = func(journal.Position) {}
	}
	if opt.Rest == nil {
		opt.Rest = func() func() { return func() {} }
	}
	if opt.Journal.Logger == nil {
		opt.Journal.Logger = zap.NewNop()
	}
	l := &Log{opt: opt, fs: orOS(opt.Journal.FS), logger: opt.Journal.Logger.Named("failover")}
	l.changed = sync.NewCond(&l.mu)
	limit := opt.Journal.BufferBytes
	if limit <= 0 {
		limit = 16 << 20
	}
	l.buffer = newBuffer(limit)
	l.growth.init(opt.Retain)
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open the log of node %s: %w", opt.Node, err)
	}
	return l, nil
}

// open reads the pair file, mends the directory and opens the journal.
func (l *Log) open() error {
	if err := l.fs.MkdirAll(l.opt.Data); err != nil {
		return err
	}
	pair, _, err := LoadPair(l.fs, l.opt.Data, l.opt.Node)
	if err != nil {
		return err
	}
	l.setPair(pair)
	if err := l.finishReplacing(); err != nil {
		return err
	}
	return l.reopen(0)
}

// reopen opens the journal, of which everything up to a Seq is known to be committed.
func (l *Log) reopen(committed uint64) error {
	opt := l.opt.Journal
	opt.Dir, opt.OnDurable, opt.OnFatal = l.path(journalName), l.durable, func(err error) { _ = l.fatal(err) }
	if l.journal.Load() != nil { // each says anew what it sees of the disk
		if opt.OnSpace != nil {
			opt.OnSpace(false, -1)
		}
		if opt.OnFull != nil {
			opt.OnFull(false)
		}
	}
	j, err := journal.Open(opt)
	if err != nil {
		return err
	}
	l.journal.Store(j)
	end := j.End()
	l.buffer.forget(end)
	l.mu.Lock()
	if l.closed { // meanwhile, with the journal that was there before
		l.mu.Unlock()
		return errors.Join(j.Close(), journal.ErrClosed)
	}
	l.committed = min(l.committed, committed)
	l.trim, l.census = deferred[uint64]{}, deferred[journal.Census]{}
	l.growth.reset(end.Seq)
	l.mu.Unlock()
	l.retain()
	return nil
}

func (l *Log) path(name string) string { return filepath.Join(l.opt.Data, name) }

func (l *Log) setPair(p Pair) {
	l.mu.Lock()
	l.pair = p
	l.mu.Unlock()
	l.promised.Store(p.Promised)
}

// Pair is what the node remembers of the pair.
func (l *Log) Pair() Pair {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pair
}

// Remember changes what the node remembers of the pair, durably: it is on disk when Remember returns. change must not touch
// the lineage's entries in place. A promise that falls, or the revision of the register within one, is a programming error and
// panics (S6). After Close, when another process may have the directory, nothing is changed.
func (l *Log) Remember(change func(*Pair)) error {
	l.remembering.Lock()
	defer l.remembering.Unlock()
	l.mu.Lock()
	before, closed := l.pair, l.closed
	l.mu.Unlock()
	if closed {
		return journal.ErrClosed
	}
	next := before
	next.Node = l.opt.Node
	change(&next)
	if next.Promised < before.Promised || next.Promised == before.Promised && next.RegRev < before.RegRev {
		panic(fmt.Sprintf("BUG: failover: promised epoch %d and revision %d after %d and %d",
			next.Promised, next.RegRev, before.Promised, before.RegRev))
	}
	if err := next.Store(l.fs, l.opt.Data); err != nil {
		return err
	}
	l.setPair(next)
	return nil
}

// ID identifies the journal. It changes when a snapshot takes the journal's place.
func (l *Log) ID() [16]byte { return l.j().ID() }

// Ours says whether the pair file speaks of this journal. Where it does not, the journal was replaced: the node is no member
// that counts, and must resync.
func (l *Log) Ours() bool {
	pair := l.Pair()
	return pair.Journal == ID(l.ID())
}

// End is where the log ends, durable or not.
func (l *Log) End() journal.Position { return l.j().End() }

// Durable is the Seq up to which everything is durable on this node.
func (l *Log) Durable() uint64 { return l.j().Durable() }

// Hello fills in what the log knows of itself.
func (l *Log) Hello(h Hello) Hello {
	l.mu.Lock()
	pair, resync := l.pair, l.resync
	l.mu.Unlock()
	j := l.j()
	h.Node, h.Cluster, h.Journal = l.opt.Node, pair.Cluster, ID(j.ID())
	h.Promised, h.RegRev, h.Lineage = pair.Promised, pair.RegRev, pair.Lineage
	h.End, h.First = j.End(), j.First()
	h.Resync = h.Resync || resync || pair.Member() && pair.Journal != h.Journal
	return h
}

// Resync asks for a snapshot in the place of the journal, with the next connection.
func (l *Log) Resync() {
	l.mu.Lock()
	l.resync = true
	l.mu.Unlock()
}

func (l *Log) j() *journal.Journal { return l.journal.Load() }

// Append adds a batch to the log of a master. It waits while the journal's buffer is full or, while a standby is required,
// that of what it has not flushed. See journal.Journal.Append.
func (l *Log) Append(recs []journal.Record) error {
	size := 0
	for i := range recs {
		size += recordFixedBytes + len(recs[i].Head) + len(recs[i].Body)
	}
	if err := l.buffer.await(size); err != nil {
		return err
	}
	end, err := l.append(recs, size)
	if err == nil {
		l.opt.OnAppended(end)
	}
	return err
}

// append adds a batch to the journal and to the buffer.
func (l *Log) append(recs []journal.Record, size int) (end journal.Position, err error) {
	l.appending.Lock()
	defer l.appending.Unlock()
	j := l.j()
	prev := j.End()
	if err := j.Append(recs); err != nil {
		return prev, err
	}
	end = j.End()
	l.mu.Lock()
	grown := l.growth.add(end.Seq, size)
	l.mu.Unlock()
	if grown {
		l.retain()
	}
	if l.buffer.add(recs, size, prev, end) >= chunkBytes/2 {
		l.awake()
	}
	return end, nil
}

// Sync asks that everything appended be made durable soon, on both nodes.
func (l *Log) Sync() {
	j := l.j()
	l.buffer.sync(j.End().Seq)
	l.awake()
	j.Sync()
}

// durable is the journal's OnDurable.
func (l *Log) durable(seq uint64) {
	l.stir()
	l.awake()
	l.opt.OnDurable(seq)
}

// awake has each stream look for what there is to send.
func (l *Log) awake() {
	if wakes := l.wakes.Load(); wakes != nil {
		for _, wake := range *wakes {
			(*wake)()
		}
	}
}

// stir has those look again who wait for something to change.
func (l *Log) stir() {
	l.mu.Lock()
	l.changed.Broadcast()
	l.mu.Unlock()
}

// Flush waits until all that was appended is durable on this node, or never will be.
func (l *Log) Flush(ctx context.Context) error {
	j := l.j()
	end := j.End().Seq
	woken := context.AfterFunc(ctx, l.stir)
	defer woken()
	l.mu.Lock()
	defer l.mu.Unlock()
	for j.Durable() < end {
		if err := ctx.Err(); err != nil || l.broken != nil || l.closed {
			return errors.Join(err, l.broken, fmt.Errorf("seq %d is not durable yet: %d is", end, j.Durable()))
		}
		l.changed.Wait()
	}
	return nil
}

// Begin notes, durably, that an epoch of which this node is the master begins after all that there is: nobody else appends any more.
// Before that no standby is told of a plan.
func (l *Log) Begin(epoch uint32) error {
	first := l.Last() + 1
	err := l.Remember(func(p *Pair) { p.Lineage = p.Lineage.With(epoch, first) })
	if err == nil {
		l.awake()
	}
	return err
}

// Read is journal.Journal.Read: it gives what is durable on this node.
func (l *Log) Read(from uint64, fn func(journal.Record) error) error { return l.j().Read(from, fn) }

// Get is journal.Journal.Get.
func (l *Log) Get(seq uint64) (journal.Record, error) { return l.j().Get(seq) }

// Last is the Seq of the last record appended.
func (l *Log) Last() uint64 { return l.j().Last() }

// Checkpoint is journal.Journal.Checkpoint.
func (l *Log) Checkpoint() (from, upto uint64, parts [][]byte, ok bool) { return l.j().Checkpoint() }

// Room is journal.Journal.Room.
func (l *Log) Room() int64 { return l.j().Room() }

// Stats is journal.Journal.Stats.
func (l *Log) Stats() journal.Stats { return l.j().Stats() }

// Trim is journal.Journal.Trim, once all that it was decided on is committed: what is not may be cut one day, and what it
// settled must still be there.
func (l *Log) Trim(before uint64) {
	l.retain()
	last := l.Last()
	l.mu.Lock()
	l.trim.put(last, before)
	l.mu.Unlock()
	l.handOn()
}

// Clean is journal.Journal.Clean, once all that the census knows of is committed.
func (l *Log) Clean(needed journal.Census) {
	l.mu.Lock()
	l.census.put(needed.AsOf(), needed)
	l.mu.Unlock()
	l.handOn()
}

// WriteCheckpoint is journal.Journal.WriteCheckpoint, once everything up to upto is committed: it blocks until then.
func (l *Log) WriteCheckpoint(from, upto uint64, parts func(yield func(part []byte) error) error) error {
	l.mu.Lock()
	for l.committed < upto && !l.closed {
		l.changed.Wait()
	}
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return fmt.Errorf("write checkpoint from seq %d to %d: %w", from, upto, journal.ErrClosed)
	}
	return l.j().WriteCheckpoint(from, upto, parts)
}

// Commit says that everything up to a Seq is committed: durable on every member that is required. It does no I/O.
func (l *Log) Commit(seq uint64) {
	l.mu.Lock()
	advanced := seq > l.committed
	if advanced {
		l.committed = seq
		l.changed.Broadcast()
	}
	idle := l.trim.empty() && l.census.empty()
	l.mu.Unlock()
	if advanced && !idle {
		l.handOn()
	}
}

// Committed is the newest Seq that Commit said.
func (l *Log) Committed() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.committed
}

// handOn gives the journal what waited for a commit.
func (l *Log) handOn() {
	l.mu.Lock()
	before, trim := l.trim.take(l.committed)
	needed, clean := l.census.take(l.committed)
	l.mu.Unlock()
	j := l.j()
	if trim {
		j.Trim(before)
	}
	if clean {
		j.Clean(needed)
	}
}

// Require says whether a standby must flush what is appended: then nothing that it lacks is dropped from the buffer, and
// Append waits for it.
func (l *Log) Require(required bool) { l.want(func(b *buffer) { b.required = required }) }

// want changes what the buffer is wanted for. Only to begin with, it waits for an Append to end.
func (l *Log) want(change func(*buffer)) {
	if l.buffer.change(change) {
		return
	}
	l.appending.Lock()
	defer l.appending.Unlock()
	l.buffer.begin(l.End(), change)
}

// attach says what a stream is woken by, until detach is called. The stream of an old connection may come after that of the new
// one.
func (l *Log) attach(wake func()) (detach func()) {
	l.changeWakes(func(all []*func()) []*func() { return append(all, &wake) })
	return func() {
		l.changeWakes(func(all []*func()) []*func() {
			return slices.DeleteFunc(all, func(w *func()) bool { return w == &wake })
		})
	}
}

func (l *Log) changeWakes(change func([]*func()) []*func()) {
	l.attaching.Lock()
	defer l.attaching.Unlock()
	var all []*func()
	if wakes := l.wakes.Load(); wakes != nil {
		all = slices.Clone(*wakes)
	}
	all = change(all)
	l.wakes.Store(&all)
}

// passed notes that everything up to a Seq is durable on the other node. What it lacks is kept, up to LogOptions.Retain;
// of one that was never heard of, that is everything.
func (l *Log) passed(seq uint64) {
	l.mu.Lock()
	l.peer = seq
	l.mu.Unlock()
}

// A Lag is how far a standby is behind.
type Lag struct {
	Records uint64
	Bytes   int64 // of their content
	About   bool  // Bytes is an estimate: some of the records are older than this process, or than what it remembers
	Copying bool  // it is sent a copy of the journal, and lacks all of it until that is whole
}

// grown is how many octets of content the log has grown by since it was opened.
func (l *Log) grown() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.growth.total
}

// Lag is how far the other node is behind, as far as it has told.
func (l *Log) Lag() Lag {
	end, bytes := l.End(), l.Stats().Bytes
	first := l.j().First()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.grantee != nil:
		return Lag{Records: end.Seq + 1 - min(first, end.Seq), Bytes: bytes, Copying: true}
	case l.peer >= end.Seq:
		return Lag{}
	}
	lag := Lag{Records: end.Seq - l.peer}
	known, before := l.growth.since(l.peer)
	lag.Bytes = known
	if before > 0 { // records of an earlier process: about as large as all are
		lag.About = true
		lag.Bytes += int64(float64(before) * float64(bytes) / float64(max(1, end.Seq-min(first, end.Seq))))
	}
	return lag
}

// retain keeps what the other node lacks, as long as that is not too much.
func (l *Log) retain() {
	l.retaining.Lock()
	defer l.retaining.Unlock()
	l.mu.Lock()
	after := l.peer
	switch behind, _ := l.growth.since(after); {
	case behind-l.leeway > l.opt.Retain:
		after = noLimit
	case behind <= l.opt.Retain && l.leeway < everything: // it has come back
		l.leeway = 0
	}
	l.mu.Unlock()
	l.j().Retain(after)
}

// everything is a leeway that no log uses up.
const everything = math.MaxInt64

// sends notes that a Sender is the newest.
func (l *Log) sends(s *Sender) {
	l.mu.Lock()
	l.sender = s
	l.mu.Unlock()
}

// sendsNot is for a Sender that ends.
func (l *Log) sendsNot(s *Sender) {
	l.mu.Lock()
	if l.sender == s {
		l.sender = nil
	}
	l.mu.Unlock()
}

// joined has what follows a Seq retained for the other node, which goes on there: no copy is sent to it, though an older Sender, which
// sends one, may not have ended. That one changes nothing any more.
func (l *Log) joined(s *Sender, seq uint64) {
	l.mu.Lock()
	if l.sender == s {
		l.peer = seq
		if l.grantee != nil {
			l.leeway, l.grantee = 0, nil
		}
	}
	l.mu.Unlock()
	l.retain()
}

// copying has all retained from a Seq on that comes while a Sender sends a snapshot, until the newest that does has sent it or ends.
func (l *Log) copying(s *Sender, from uint64) {
	l.mu.Lock()
	l.leeway, l.grantee, l.peer = everything, s, from
	l.mu.Unlock()
	l.retain()
}

// copied has retained, when a snapshot was sent, as much again as came meanwhile, in which time the standby is to come back.
func (l *Log) copied(s *Sender) {
	l.mu.Lock()
	if l.grantee == s {
		behind, _ := l.growth.since(l.peer)
		l.leeway, l.grantee = 2*behind, nil
	}
	l.mu.Unlock()
	l.retain()
}

// copiedNot is for a Sender that ends before.
func (l *Log) copiedNot(s *Sender) {
	l.mu.Lock()
	if l.grantee == s {
		l.leeway, l.grantee = 0, nil
	}
	l.mu.Unlock()
	l.retain()
}

// noLimit is a Seq that no log reaches.
const noLimit = 1<<64 - 2

// Close ends every wait for the log and closes the journal.
func (l *Log) Close() error {
	l.remembering.Lock()
	l.mu.Lock()
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()
	l.remembering.Unlock()
	l.buffer.close()
	return l.j().Close()
}
