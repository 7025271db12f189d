package journal

import (
	"cmp"
	"container/list"
	"encoding/binary"
	"fmt"
	"sort"
	"sync"
)

// aheadBytes is the most that is read at once where Gets go through a segment in order.
const aheadBytes = 512 << 10

// cache keeps the blocks that Get used last. A block that is being read is in it too, so that nobody else reads it.
type cache struct {
	mu     sync.Mutex // a leaf; no I/O is done under it
	blocks map[blockKey]*block
	used   list.List // of *block, the last used first; without those being read
	bytes  int64
	limit  int64
}

// blockKey tells a block from all others, and from those of a file that had the same name: that is another segment.
type blockKey struct {
	segment *segment
	begin   int64
}

// block is a stretch of a segment as it was read from disk and verified.
type block struct {
	stretch
	key  blockKey
	read int64 // bytes that were read at once, this block's included

	ready   chan struct{} // closed when the following are set
	err     error         // why it cannot be read, or the first damage in it
	data    []byte
	records []uint32 // where in data each sound record begins, in the order of their Seqs

	place *list.Element // in cache.used; guarded by cache.mu
}

func (c *cache) init(limit int64) {
	c.blocks, c.limit = map[blockKey]*block{}, limit
}

// claim returns the block of stretch number n of s. Blocks that are claimed by this call must be read and handed to
// loaded; they lie one after the other, and the one asked for is the first of them. A last block from a time when the
// segment was not so far as seq is replaced.
func (c *cache) claim(s *segment, entries []indexEntry, n int, seq uint64) (b *block, claimed []*block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := s.stretch(entries, n)
	if b = c.blocks[blockKey{s, t.begin}]; b != nil && seq <= b.upto {
		if b.place != nil {
			c.used.MoveToFront(b.place)
		}
		return b, nil
	}
	ahead := int64(0)
	if n > 0 {
		if before := c.blocks[blockKey{s, s.stretch(entries, n-1).begin}]; before != nil {
			ahead = min(2*before.read, aheadBytes)
		}
	}
	if b != nil {
		c.forget(b)
	}
	for first := t.begin; ; {
		b := &block{stretch: t, key: blockKey{s, t.begin}, ready: make(chan struct{})}
		c.blocks[b.key] = b
		claimed = append(claimed, b)
		if n++; n > len(entries) {
			break
		}
		if t = s.stretch(entries, n); t.end-first > ahead || c.blocks[blockKey{s, t.begin}] != nil {
			break
		}
	}
	for _, b := range claimed {
		b.read = claimed[len(claimed)-1].end - claimed[0].begin
	}
	return claimed[0], claimed
}

// loaded makes the claimed blocks known to those who wait for them, keeps the good ones, and gives others up for them.
func (c *cache) loaded(blocks []*block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(blocks) - 1; i >= 0; i-- { // the first is needed first
		b := blocks[i]
		close(b.ready)
		switch {
		case b.err != nil:
			c.forget(b)
		case c.blocks[b.key] == b:
			b.place = c.used.PushFront(b)
			c.bytes += b.size()
		}
	}
	for c.bytes > c.limit {
		c.forget(c.used.Back().Value.(*block))
	}
}

// forget takes b out; those who have it keep it. The caller holds mu.
func (c *cache) forget(b *block) {
	if c.blocks[b.key] == b {
		delete(c.blocks, b.key)
	}
	if b.place != nil {
		c.used.Remove(b.place)
		b.place = nil
		c.bytes -= b.size()
	}
}

// drop forgets all blocks of s, which has left the journal.
func (c *cache) drop(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, b := range c.blocks {
		if key.segment == s {
			c.forget(b)
		}
	}
}

func (b *block) size() int64 { return int64(cap(b.data) + 4*cap(b.records)) }

// verify checks every record of b and notes where each begins. Past damage, whose first place it returns, it notes what can
// be read; but where Seqs are out of order nothing of b is to be trusted.
func (b *block) verify(s *segment) (damage error) {
	sc := scanBytes(b.data, &s.segmentHeader, b.begin)
	for seq := b.seq - 1; sc.offset < sc.end; {
		h, _, offset, err := sc.next()
		if err != nil {
			damage = cmp.Or(damage, err)
			if err := sc.skip(); err != nil {
				return err
			}
			continue
		}
		if h.typ >= typeMark {
			continue
		}
		if err := s.follows(seq, &h, offset); err != nil && (damage == nil || h.seq <= seq) {
			b.records = nil
			return err
		}
		seq = h.seq
		b.records = append(b.records, uint32(offset-b.begin))
	}
	return damage
}

// record returns the one with that Seq.
func (b *block) record(s *segment, seq uint64) (Record, error) {
	n := sort.Search(len(b.records), func(i int) bool { return b.seqAt(i) >= seq })
	if n < len(b.records) && b.seqAt(n) == seq {
		at := b.data[b.records[n]:]
		size := binary.LittleEndian.Uint32(at[4:])
		return Record{
			Seq: seq, Epoch: binary.LittleEndian.Uint32(at[16:]), Type: at[2], PrevChain: binary.LittleEndian.Uint32(at[24:]),
			Body: at[recordHeaderBytes:][:size:size],
		}, nil
	}
	if b.err != nil {
		return Record{}, b.err
	}
	if s.sparse {
		return Record{}, fmt.Errorf("%w: it has been cleaned away", ErrNotFound)
	}
	return Record{}, corrupt(s.name(), b.end, "the record with seq %d is missing before here", seq)
}

func (b *block) seqAt(n int) uint64 { return binary.LittleEndian.Uint64(b.data[b.records[n]+8:]) }
