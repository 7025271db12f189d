package failover

import (
	"slices"
	"sync"

	"baton/journal"
)

const (
	// chunkBytes is from how many octets on a chunk takes no further batch. One batch is never parted.
	chunkBytes = 128 << 10
	// idleBytes is how much of empty chunks is kept to be used again.
	idleBytes = 8 << 20
)

// A chunk is an APPEND in the making: whole batches of the master, as the log took them. Its octets are encoded once, and
// sent from where they are.
type chunk struct {
	frame     []byte // room for the headers, then records
	prev, end journal.Position
	count     uint32
	sealed    bool // it was sent: nothing more comes to it
	users     int  // senders that have it in hand: it cannot be used again
}

func (c *chunk) open() bool { return !c.sealed && len(c.frame) < chunkBytes }

// A buffer holds the newest records of a master's log, in chunks without a gap, so that the standby gets them while the
// master still writes them. What it had to drop is read back from the journal.
type buffer struct {
	limit int // octets

	mu       sync.Mutex // a leaf
	changed  *sync.Cond
	streams  int  // that want records
	required bool // none may be dropped before it is flushed: Append waits instead
	closed   bool
	chunks   []*chunk
	idle     []*chunk
	spare    int              // octets of idle
	bytes    int              // of chunks
	tail     journal.Position // where the last chunk ends, or where the log did when somebody began to want records
	syncTo   uint64           // everything up to here is to be made durable on the other side too
}

func newBuffer(limit int) *buffer {
	b := &buffer{limit: limit}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// await waits until size octets more may be added.
func (b *buffer) await(size int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.required && !b.closed && b.bytes > 0 && b.bytes+size > b.limit {
		b.changed.Wait()
	}
	if b.closed {
		return journal.ErrClosed
	}
	return nil
}

// add keeps one batch, which follows prev. It returns how many octets nobody has taken yet.
func (b *buffer) add(recs []journal.Record, size int, prev, end journal.Position) (waiting int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.wanted() {
		return 0
	}
	if n := len(b.chunks); n > 0 && b.chunks[n-1].end != prev {
		b.drop(n) // records came while nobody wanted them
	}
	for b.bytes > 0 && b.bytes+size > b.limit { // not while one is required: await has waited
		b.drop(1)
	}
	c := b.last(prev)
	before := len(c.frame)
	c.frame = slices.Grow(c.frame, size)
	for i := range recs {
		c.frame = appendRecord(c.frame, &recs[i])
	}
	c.end, c.count = end, c.count+uint32(len(recs))
	b.tail = end
	b.bytes += len(c.frame) - before
	return len(c.frame)
}

// last is the chunk that takes what follows prev; the caller holds mu.
func (b *buffer) last(prev journal.Position) *chunk {
	if n := len(b.chunks); n > 0 && b.chunks[n-1].open() {
		return b.chunks[n-1]
	}
	c := new(chunk)
	if n := len(b.idle); n > 0 {
		c, b.idle = b.idle[n-1], b.idle[:n-1]
		b.spare -= cap(c.frame)
	} else {
		c.frame = make([]byte, 0, chunkBytes+chunkBytes/4)
	}
	*c = chunk{frame: c.frame[:frameHeaderBytes+appendFixedBytes], prev: prev, end: prev}
	b.bytes += len(c.frame)
	b.chunks = append(b.chunks, c)
	return c
}

// drop gives up the n oldest chunks; the caller holds mu.
func (b *buffer) drop(n int) {
	for _, c := range b.chunks[:n] {
		b.bytes -= len(c.frame)
		b.recycle(c)
	}
	rest := copy(b.chunks, b.chunks[n:])
	clear(b.chunks[rest:])
	b.chunks = b.chunks[:rest]
	b.changed.Broadcast()
}

func (b *buffer) recycle(c *chunk) {
	if c.users == 0 && b.spare+cap(c.frame) <= idleBytes {
		b.idle = append(b.idle, c)
		b.spare += cap(c.frame)
	}
}

// take returns the chunk that follows a position, for the caller to send and then release. Where none does, upto is the
// Seq up to which the journal must be read: there the next chunk begins, or the log ends. A small chunk that nobody has
// asked to sync stays, unless some of it is durable here: more may come to it.
func (b *buffer) take(after journal.Position, durable uint64) (c *chunk, sync bool, upto uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.chunks {
		switch {
		case c.prev.Seq > after.Seq:
			return nil, false, c.prev.Seq
		case c.prev.Seq < after.Seq || c.prev.Chain != after.Chain:
			continue
		}
		sync = max(b.syncTo, durable) > c.prev.Seq
		if c.users > 0 || !sync && len(c.frame) < chunkBytes/2 {
			return nil, false, after.Seq
		}
		c.sealed, c.users = true, c.users+1
		return c, sync, 0
	}
	return nil, false, b.tail.Seq
}

// release says that a chunk is sent.
func (b *buffer) release(c *chunk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.users--; len(b.chunks) == 0 || b.chunks[0].prev.Seq > c.prev.Seq { // it was dropped meanwhile
		b.recycle(c)
	}
}

// flushed says that a standby has made everything durable up to a Seq. ok is false where it has another chain there.
func (b *buffer) flushed(seq uint64, chain uint32) (ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.chunks) && b.chunks[n].end.Seq <= seq {
		n++
	}
	ok = n == 0 || b.chunks[n-1].end.Seq != seq || b.chunks[n-1].end.Chain == chain
	if n > 0 {
		b.drop(n)
	}
	return ok
}

// sync notes that everything up to a Seq is to be made durable on the other side too.
func (b *buffer) sync(seq uint64) {
	b.mu.Lock()
	b.syncTo = max(b.syncTo, seq)
	b.mu.Unlock()
}

func (b *buffer) syncedTo() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.syncTo
}

func (b *buffer) wanted() bool { return b.streams > 0 || b.required }

// change changes what records are kept for. It does nothing and returns false where they have not been kept so far: then
// begin is to be called.
func (b *buffer) change(fn func(b *buffer)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.wanted() {
		return false
	}
	fn(b)
	if !b.wanted() {
		b.drop(len(b.chunks))
		b.idle, b.spare = nil, 0
	}
	b.changed.Broadcast()
	return true
}

// begin is change where records have not been kept so far. tail is where the log ends, and no record is on its way from
// there to the buffer.
func (b *buffer) begin(tail journal.Position, fn func(b *buffer)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.wanted() {
		b.tail = tail
	}
	fn(b)
}

// forget drops everything: the log is another one.
func (b *buffer) forget(tail journal.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(len(b.chunks))
	b.tail, b.syncTo = tail, 0
}

// close ends every wait.
func (b *buffer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.changed.Broadcast()
}
