package failover

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing/synctest"
	"time"

	"baton/journal"
)

// A simBroker keeps messages: each is an entry M, and an entry S when a client has settled it. It follows the log, and as the
// master writes it.
type simBroker struct {
	t       *simTerm
	applied uint64
	live    map[int]simEntry // messages that are not settled
	settled map[int]bool
	commit  uint64
	epoch   uint32 // of the master that it is; 0: it follows
	begun   uint64 // Seq of the entry that begins the epoch
	serving bool
	paused  bool
	busy    bool // an entry is on its way to the log
	stopped bool
	resting bool         // the journal is closed, to be cut or replaced
	given   map[int]bool // to a client of this master
	waiting []simReceipt // in order
	tended  uint64
}

type simEntry struct {
	seq  uint64
	size int64
}

// A simReceipt is due when its entry is committed.
type simReceipt struct {
	seq  uint64
	kind byte
	id   int
}

// follow is a Receiver's OnCommit.
func (b *simBroker) follow(seq uint64) {
	defer b.t.n.catchUp()
	b.commit = max(b.commit, seq)
	b.t.n.s.checker.follows(b.t, seq)
	b.t.later(b.look)
}

// rest is LogOptions.Rest.
func (b *simBroker) rest() (resume func()) {
	defer b.t.n.catchUp()
	b.resting = true
	return func() {
		defer b.t.n.catchUp()
		b.resting = false
		b.t.later(b.look)
	}
}

// look does what a commit allows.
func (b *simBroker) look() {
	if b.stopped || b.resting || b.t.dead {
		return
	}
	if err := b.apply(b.commit); err != nil {
		b.broke(err)
		return
	}
	b.tend()
	if b.epoch != 0 && !b.serving && b.commit >= b.begun && b.begun != 0 {
		b.serving = true
		b.t.n.s.checker.serves(b.t)
		b.t.later(func() { b.t.decide(Event{Kind: OnActivated}) })
	}
	b.receipt(b.t.permit.Valid)
}

// receipt tells clients what is committed.
func (b *simBroker) receipt(valid func() bool) {
	upto := b.commit
	if b.t.n.s.mutant.hasty {
		upto = b.t.log.Durable()
	}
	for len(b.waiting) > 0 && b.waiting[0].seq <= upto && valid() {
		b.t.n.s.clients.receipted(b.t, b.waiting[0])
		b.waiting = b.waiting[1:]
	}
}

// broke is for a log that cannot be read, unless the process has died meanwhile.
func (b *simBroker) broke(err error) {
	if !b.t.gone() {
		b.t.fault(err)
	}
}

// apply reads the log up to a Seq.
func (b *simBroker) apply(upto uint64) error {
	if upto <= b.applied {
		return nil
	}
	from := b.applied + 1
	if b.applied == 0 {
		from = 0
	}
	err := b.t.log.Read(from, func(r journal.Record) error {
		if r.Seq > upto {
			return errFull
		}
		b.enter(&r)
		return nil
	})
	if err != nil && err != errFull {
		return fmt.Errorf("read the log: %w", err)
	}
	b.applied = upto
	return nil
}

func (b *simBroker) enter(r *journal.Record) {
	what, id, _ := parseSimEntry(r)
	switch what {
	case 'M':
		b.live[id] = simEntry{r.Seq, int64(len(r.Body)) + 64}
	case 'S':
		delete(b.live, id)
		b.settled[id] = true
	}
}

func parseSimEntry(r *journal.Record) (what byte, id int, of uint64) {
	head, _, _ := bytes.Cut(append(slices.Clone(r.Head), r.Body...), []byte{'\n'})
	_, _ = fmt.Sscanf(string(head), "%c %d %d", &what, &id, &of)
	return what, id, of
}

// tend gives back what is not needed.
func (b *simBroker) tend() {
	if b.applied < b.tended+20 {
		return
	}
	b.tended = b.applied
	floor := b.applied + 1
	for _, e := range b.live {
		floor = min(floor, e.seq)
	}
	b.t.log.Trim(floor)
	b.t.log.Clean(&simCensus{t: b.t, asOf: b.applied, live: maps.Clone(b.live)})
}

// A simCensus knows what a simBroker needed at one moment. To the journal's cleaner it says that it knows nothing, until the
// simulation has it clean while nothing else happens.
type simCensus struct {
	t     *simTerm
	asOf  uint64
	live  map[int]simEntry
	asked atomic.Int32
	open  atomic.Bool
}

func (c *simCensus) AsOf() uint64 {
	switch c.asked.Add(1) {
	case 1: // by the Log, which waits for a commit
		return c.asOf
	case 2: // by the journal, which is given it by the Log
		c.t.mu.Lock()
		c.t.census = c
		c.t.mu.Unlock()
	}
	if c.open.Load() {
		return c.asOf
	}
	return 0
}

// clean has the cleaner work.
func (c *simCensus) clean() {
	c.t.n.s.note("%s cleans up to %d", c.t.n.name, c.asOf)
	c.open.Store(true)
	c.t.log.j().Clean(c)
	synctest.Wait()
	c.open.Store(false)
}

func (c *simCensus) Bytes(first, last uint64) (n int64) {
	for _, e := range c.live {
		if e.seq >= first && e.seq <= last {
			n += e.size
		}
	}
	return n
}

func (c *simCensus) Keep(r journal.Record, gone func(uint64) bool) bool {
	switch what, id, of := parseSimEntry(&r); what {
	case 'M':
		return c.live[id].seq == r.Seq
	case 'S':
		return !gone(of)
	}
	return true
}

// recover applies the rest of the log and begins an epoch.
func (b *simBroker) recover(epoch uint32) {
	if b.stopped {
		return
	}
	if err := b.apply(b.t.log.Last()); err != nil {
		b.broke(err)
		return
	}
	b.epoch, b.given = epoch, map[int]bool{}
	b.begun = b.t.log.Last() + 1
	b.append('E', int(epoch), 0, 0)
}

// append has an entry written, which may take a while, and returns its Seq.
func (b *simBroker) append(what byte, id int, of uint64, size int) uint64 {
	log, n := b.t.log, b.t.n
	text := fmt.Appendf(nil, "%c %d %d\n", what, id, of)
	r := journal.Record{Seq: log.Last() + 1, Epoch: b.epoch, Type: 1, Head: text, Body: bytes.Repeat([]byte{'.'}, size)}
	n.s.note("%s appends %c %d at %d", n.name, what, id, r.Seq)
	b.busy = true
	n.job(func() func() {
		if log.Append([]journal.Record{r}) == nil {
			log.Sync()
		}
		return func() { b.busy = false }
	})
	return r.Seq
}

// room says that an append would not wait for long.
func (b *simBroker) room() bool {
	buffer := b.t.log.buffer
	buffer.mu.Lock()
	defer buffer.mu.Unlock()
	return len(b.waiting) < 12 && b.t.log.Last() < b.t.log.Durable()+16 && (!buffer.required || buffer.bytes+4096 < buffer.limit)
}

func (b *simBroker) accepts() bool {
	return b.serving && !b.stopped && !b.paused && !b.busy && !b.t.dead && !b.t.over && b.t.state.role.IsMaster() && b.room()
}

// leave tells what is committed, whatever the permit says: all of it is on the other node.
func (b *simBroker) leave() { b.receipt(func() bool { return true }) }

func (b *simBroker) stop() { b.stopped, b.serving, b.waiting = true, false, nil }

// simClients send, receive and settle. What they know is what a user may rely on.
type simClients struct {
	s     *sim
	next  int
	asked map[int]bool // to be settled
	// By message, the first epoch of a master that has confirmed it or its settlement, or given it to a client.
	sent, settled, seen map[int]uint32
	receiptedSince      int // since the peace
}

func (c *simClients) begin(s *sim) {
	*c = simClients{s: s, asked: map[int]bool{}, sent: map[int]uint32{}, settled: map[int]uint32{}, seen: map[int]uint32{}}
	s.after(0, c.produce)
	s.after(0, c.consume)
}

// someone is a broker that serves as far as it knows: perhaps both do.
func (c *simClients) someone() *simBroker {
	var serving []*simBroker
	for _, n := range c.s.nodes {
		if n.term != nil && n.up && !n.paused && n.term.broker.accepts() {
			serving = append(serving, &n.term.broker)
		}
	}
	if len(serving) == 0 {
		return nil
	}
	return serving[c.s.rng.IntN(len(serving))]
}

func (c *simClients) produce() {
	c.s.after(c.s.between(10*time.Millisecond, 150*time.Millisecond), c.produce)
	b := c.someone()
	if b == nil || len(b.live) > 60 {
		return
	}
	for range 1 + c.s.rng.IntN(3) {
		c.next++
		size := c.s.rng.IntN(300)
		if c.s.chance(15) {
			size = c.s.rng.IntN(3000)
		}
		seq := b.append('M', c.next, 0, size)
		b.waiting = append(b.waiting, simReceipt{seq, 'M', c.next})
		c.s.settle() // the writer takes one by one
		if b.t.dead || !b.accepts() {
			return
		}
	}
}

// consume is given a message, and settles it some time later.
func (c *simClients) consume() {
	c.s.after(c.s.between(10*time.Millisecond, 120*time.Millisecond), c.consume)
	b := c.someone()
	if b == nil || !b.t.permit.Valid() {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(b.live)) {
		if e := b.live[id]; b.given[id] || e.seq > b.commit {
			continue
		}
		b.given[id] = true
		c.s.checker.dispatches(b.t, id)
		if !c.s.checker.void(b.t) {
			first(c.seen, id, b.epoch)
		}
		if !c.s.chance(10) { // some are never settled by this client
			b.t.after(c.s.between(0, 300*time.Millisecond), func() { c.settle(b, id) })
		}
		return
	}
}

func (c *simClients) settle(b *simBroker, id int) {
	e, live := b.live[id]
	if !live || !b.accepts() {
		return
	}
	c.asked[id] = true
	b.waiting = append(b.waiting, simReceipt{b.append('S', id, e.seq, 0), 'S', id})
}

// receipted is what a client is told.
func (c *simClients) receipted(t *simTerm, r simReceipt) {
	c.s.note("%s confirms %c %d at %d", t.n.name, r.kind, r.id, r.seq)
	if c.s.checker.void(t) {
		return
	}
	c.s.checker.receipts(t, r)
	if r.kind == 'M' {
		first(c.sent, r.id, t.broker.epoch)
	} else {
		first(c.settled, r.id, t.broker.epoch)
	}
	if c.s.calm {
		c.receiptedSince++
	}
}

// first notes an epoch, unless an earlier one is noted.
func first(in map[int]uint32, id int, epoch uint32) {
	if before, ok := in[id]; !ok || epoch < before {
		in[id] = epoch
	}
}
