package destinations

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A recovery is under way from the first part of a checkpoint until the entries
// that it knows in part are replayed. Its methods do without one, too.
type recovery struct {
	asOf     map[string]uint64 // of each queue that was captured: the newest entry it knows
	upto     uint64
	complete bool // the last part was there
}

// has says that the checkpoint knows what the entry with this seq did to queue.
func (r *recovery) has(queue string, seq uint64) bool {
	return r != nil && seq <= r.asOf[queue]
}

// accept checks that e may be replayed now.
func (r *recovery) accept(e Entry) error {
	if r != nil && !r.complete {
		return fmt.Errorf("entry %d is replayed before the last part of the checkpoint", e.Seq)
	}
	return nil
}

// Restore takes back a part of a checkpoint, as Part.AppendTo wrote it. All of
// them come in their order before the first Replay, and then the entries after
// From. After an error the machine is of no use: take a new one and replay
// everything. It keeps no memory of part.
func (m *Machine) Restore(part []byte) error {
	if m.recovery == nil {
		if m.last > 0 || len(m.queues) > 0 {
			return fmt.Errorf("a checkpoint cannot be restored after entry %d", m.last)
		}
		m.recovery = &recovery{asOf: map[string]uint64{}}
	}
	if m.recovery.complete {
		return fmt.Errorf("the checkpoint has a part after the last one")
	}
	if len(part) == 0 {
		return fmt.Errorf("a part of the checkpoint is empty")
	}
	d := decoder{data: part[1:]}
	switch kind := partKind(part[0]); kind {
	case partPlainQueues:
		return m.restoreQueues(&d, true)
	case partQueues:
		return m.restoreQueues(&d, false)
	case partLive:
		return m.restoreLive(&d)
	case partShares:
		return m.restoreShares(&d)
	case partDurables:
		return m.restoreDurables(&d)
	case partGatherings:
		return m.restoreGatherings(&d)
	case partWindow:
		return m.restoreWindow(&d)
	case partEnd:
		return m.restoreEnd(&d)
	default:
		return fmt.Errorf("a part of the checkpoint has the unknown kind %d: it was written by a newer version", kind)
	}
}

// restoreQueues restores sections. Plain ones do not say of which priority they
// are.
func (m *Machine) restoreQueues(d *decoder, plain bool) error {
	for len(d.data) > 0 {
		name, asOf, priority := d.string(), d.uvarint(), uint64(DefaultPriority)
		if !plain {
			priority = d.uvarint()
		}
		images := d.uvarint()
		if before, more := m.recovery.asOf[name]; d.bad || asOf > maxSeq || priority > levelWaiting || more && before != asOf {
			return fmt.Errorf("a section of the checkpoint about %s is malformed", quote(name))
		}
		m.recovery.asOf[name] = asOf
		for images > 0 {
			n := min(images, restoreTogether)
			if err := m.restoreImages(name, uint8(priority), d, int(n), asOf); err != nil {
				return fmt.Errorf("%s in the checkpoint: %w", quote(name), err)
			}
			images -= n
		}
	}
	return nil
}

// restoreTogether is how many chunks, and how many stretches of the live set,
// share what is allocated for them: a start is much faster so, and one old
// message does not pin all of the checkpoint.
const restoreTogether = 32

// restoreImages restores the next n chunks of a level of a queue.
func (m *Machine) restoreImages(name string, priority uint8, d *decoder, n int, asOf uint64) error {
	var images [restoreTogether][]byte
	size := 0
	for i := range n {
		images[i] = d.octets()
		size += len(images[i])
	}
	q := m.queue(name)
	l := q.level(priority)
	chunks, space := make([]chunk, n), make([]byte, 0, size)
	for i, image := range images[:n] {
		o, err := outlineOf(image)
		if err != nil {
			return err
		}
		if n := len(l.chunks); o.last > asOf || priority == levelWaiting && o.waiting < o.n || n > 0 && o.first <= l.chunks[n-1].last {
			return errImage
		}
		at := len(space)
		space = append(space, image...)
		q.restore(&chunks[i], priority, space[at:len(space):len(space)], o)
		if m.bytes += o.texts; priority == levelWaiting {
			m.bytes += int64(o.n) * waitBytes
		}
	}
	return nil
}

func (m *Machine) restoreLive(d *decoder) error {
	var space []uint16
	for len(d.data) > 0 {
		if cap(space)-len(space) < bitmapWords {
			space = make([]uint16, 0, restoreTogether*bitmapWords)
		}
		s, ok := d.stretch(&space)
		n := len(m.live.stretches)
		if !ok || n > 0 && s.number <= m.live.stretches[n-1].number {
			return fmt.Errorf("stretch %d in the checkpoint is malformed", s.number)
		}
		m.live.stretches = append(m.live.stretches, s)
	}
	return nil
}

// stretch reads one, with its set in space; ok is false when it is malformed.
func (d *decoder) stretch(space *[]uint16) (s stretch, ok bool) {
	s.number = d.uvarint()
	live, count := d.uvarint(), d.uvarint()
	if d.bad || s.number > maxSeq>>stretchBits || count == 0 || count > stretchSeqs || live > count<<32 {
		return s, false
	}
	s.bytes, s.count = int64(live), uint16(count)
	if count > few {
		s.set = carve(space, bitmapWords)
		return s, d.bitmap(&s)
	}
	s.set = carve(space, int(count))
	var offset uint64
	for i := range s.set {
		step := d.uvarint()
		if offset += step; i > 0 && step == 0 || step > offsetMask || offset > offsetMask {
			return s, false
		}
		s.set[i] = uint16(offset)
	}
	return s, !d.bad
}

// carve takes n words of space, which has them.
func carve(space *[]uint16, n int) []uint16 {
	at := len(*space)
	*space = (*space)[:at+n]
	return (*space)[at : at+n : at+n]
}

func (d *decoder) bitmap(s *stretch) bool {
	if len(d.data) < 2*bitmapWords {
		return false
	}
	n := 0
	for i := range s.set {
		s.set[i] = binary.LittleEndian.Uint16(d.data[2*i:])
		n += bits.OnesCount16(s.set[i])
	}
	d.data = d.data[2*bitmapWords:]
	return n == int(s.count)
}

func (m *Machine) restoreShares(d *decoder) error {
	for len(d.data) > 0 {
		number, n := d.uvarint(), d.uvarint()
		i, ok := m.live.search(number)
		if !ok || n == 0 || n > stretchSeqs || m.live.stretches[i].shares != nil || !d.shares(&m.live.stretches[i], int(n)) {
			return fmt.Errorf("what is shared of stretch %d in the checkpoint is malformed", number)
		}
	}
	return nil
}

// shares reads n of s; ok is false when they are malformed.
func (d *decoder) shares(s *stretch, n int) (ok bool) {
	s.shares = make([]share, n)
	var offset uint64
	for i := range s.shares {
		step := d.uvarint()
		if offset += step; i > 0 && step == 0 || step > offsetMask || offset > offsetMask || !s.has(uint16(offset)) {
			return false
		}
		more := d.uint32()
		if more == 0 {
			return false
		}
		s.shares[i] = share{uint16(offset), more}
	}
	return !d.bad
}

func (m *Machine) restoreDurables(d *decoder) error {
	for len(d.data) > 0 {
		s := durableSection{queue: d.string(), seq: d.uvarint(), topic: d.string()}
		d.durable(&s.noLocal, &s.retroactive, &s.selector, &s.claim)
		asOf, captured := m.recovery.asOf[s.queue]
		if d.bad || !captured || s.seq > asOf {
			return fmt.Errorf("the durable subscription %s in the checkpoint is malformed", quote(Queue(s.queue).String()))
		}
		q := m.queue(s.queue)
		if q.durable != nil {
			return fmt.Errorf("the durable subscription %s is in the checkpoint twice", quote(q.destination.String()))
		}
		m.attach(&durable{queue: q, seq: s.seq, topic: s.topic, selector: s.selector, noLocal: s.noLocal, retroactive: s.retroactive, claim: s.claim})
	}
	return nil
}

func (m *Machine) restoreGatherings(d *decoder) error {
	for len(d.data) > 0 {
		s := gatheringSection{queue: d.string()}
		s.span, s.seqs = span{from: d.uvarint(), upto: d.uvarint()}, d.seqs()
		asOf, captured := m.recovery.asOf[s.queue]
		if d.bad || !captured || s.span.from == 0 || max(s.span.from, s.span.upto) > asOf || s.span.upto != 0 && s.span.upto <= s.span.from {
			return fmt.Errorf("what the checkpoint says of the settlements of %s is malformed", quote(Queue(s.queue).String()))
		}
		q := m.find(s.queue)
		if q == nil {
			continue
		}
		if q.gathering != nil {
			return fmt.Errorf("what %s has settled is in the checkpoint twice", quote(q.destination.String()))
		}
		m.restoreGathering(q, s.gathering)
	}
	return nil
}

func (m *Machine) restoreEnd(d *decoder) error {
	r := m.recovery
	from, upto, start := d.uvarint(), d.uvarint(), d.uvarint()
	if d.bad || len(d.data) > 0 || from > upto || upto > maxSeq || start > upto {
		return fmt.Errorf("the last part of the checkpoint is malformed")
	}
	for name, asOf := range r.asOf {
		if asOf < from || asOf > upto {
			return fmt.Errorf("%s in the checkpoint is as of entry %d, which is not in it", quote(name), asOf)
		}
	}
	if n := len(m.live.stretches); n > 0 && m.live.stretches[n-1].number > upto>>stretchBits {
		return fmt.Errorf("the checkpoint says that entry %d lives, which is not in it", m.live.stretches[n-1].number<<stretchBits)
	}
	m.last, m.start, r.upto, r.complete = from, start, upto, true
	return nil
}
