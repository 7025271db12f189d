package destinations

import (
	"encoding/binary"
	"slices"
)

// The log must keep a settlement for as long as it has the message. One that
// several queues hold is there until the last has settled it, and with it were
// the settlements of all the others: some 60 octets each, where consumers
// acknowledge each message by itself. Of 99 durable subscriptions that have taken
// what the hundredth has not, that is more than the messages are.
//
// So a queue remembers which messages it has settled that others still hold, and
// when they are many, one settle entry says again what those entries said: an
// octet or two for each. Replayed, it finds nothing left to do. But it must stay
// as long as they would, by the same rule, and so they need not: see Live.Keep.

// gatherAfter is how many settlements of a queue are said again together.
const gatherAfter = 128

// gatherMost bounds how many are remembered in a replay, which says nothing
// again: the log may be of a version that never did.
const gatherMost = 16 * gatherAfter

// gatheringBytes is counted for each gathering of more than a few; those are part
// of what is counted for the queue.
const (
	gatheringBytes = 2 * 8 * gatherAfter
	gatheringFew   = 8
)

// A gathering is what a queue has settled lately.
type gathering struct {
	seqs []uint64 // what was settled since the newest entry that says it again, and was still held by others
	span span     // the entries that are said again; what was settled before it began is not known
	many bool     // there were more than a few, and they are counted
	due  bool     // the queue is in Machine.gathered
}

// A span is where settlements of a queue lie in the log that are said again.
type span struct {
	from uint64 // Seq of the first
	upto uint64 // of the newest entry that says some of them again; 0: there is none yet
}

// has says that an entry with this Seq is said again, or settles nothing that others
// held.
func (s span) has(seq uint64) bool { return s.from <= seq && seq < s.upto }

// gather notes that r took a message out of q that others still hold.
func (m *Machine) gather(q *queue, r *record, seq uint64) {
	if r.again != 0 {
		return
	}
	if q.gathering == nil {
		q.gathering = &gathering{span: span{from: r.seq}}
	}
	g := q.gathering
	if r.replayed && len(g.seqs) >= gatherMost {
		g.seqs, g.span = nil, span{from: r.seq}
		delete(m.spans, q.destination.Name)
	}
	g.seqs = append(g.seqs, seq)
	m.weigh(g)
	m.ripen(q)
}

// ripen has what q has gathered said again, if that is enough.
func (m *Machine) ripen(q *queue) {
	if g := q.gathering; !g.due && len(g.seqs) >= m.opts.gatherAfter {
		g.due = true
		m.gathered = append(m.gathered, q)
	}
}

// weigh counts the memory of g.
func (m *Machine) weigh(g *gathering) {
	if !g.many && len(g.seqs) > gatheringFew {
		g.many = true
		m.bytes += gatheringBytes
	}
}

// endGathering forgets what q has settled: the entries about it stay.
func (m *Machine) endGathering(q *queue) {
	g := q.gathering
	if g == nil {
		return
	}
	if g.many {
		m.bytes -= gatheringBytes
	}
	if g.due { // a standby says nothing again, and would keep all such queues
		m.gathered = slices.DeleteFunc(m.gathered, func(other *queue) bool { return other == q })
	}
	q.gathering = nil
	delete(m.spans, q.destination.Name)
}

// sayAgain records what queues have settled that have gathered enough.
func (m *Machine) sayAgain(out *Effects) {
	for i, q := range m.gathered {
		m.gathered[i] = nil
		g := q.gathering
		if g == nil {
			continue
		}
		if g.due = false; len(g.seqs) >= m.opts.gatherAfter { // else a replay had an entry that says it
			slices.Sort(g.seqs)
			m.record(&record{kind: KindSettle, queue: q.destination.Name, seqs: g.seqs, again: max(g.span.from, m.doubted)}, out)
		}
	}
	m.gathered = m.gathered[:0]
}

// applyAgain notes that r, which is about q, says again what entries before it
// said.
func (m *Machine) applyAgain(q *queue, r *record) {
	if q.gathering == nil {
		q.gathering = &gathering{}
	}
	g := q.gathering
	if g.seqs = g.seqs[:0]; cap(g.seqs) > 2*gatherAfter {
		g.seqs = nil
	}
	g.span = span{from: r.again, upto: r.seq}
	m.setSpan(q)
}

// comesBack is for an entry of a replay that gives a queue a message from one that the
// log does not know any more. If nobody else has it, those who settled it before
// did so while it seemed that nobody held it, and did not gather it. So no
// settlement from before r is said again.
func (m *Machine) comesBack(r *record) {
	if m.recovery == nil && !m.live.has(r.content) {
		m.doubted = r.seq
	}
}

// setSpan lets pictures know of what q has gathered.
func (m *Machine) setSpan(q *queue) {
	if m.spans == nil {
		m.spans = map[string]span{}
	}
	m.spans[q.destination.Name] = q.gathering.span
}

// A gatheringSection is the gathering of a queue, as of the section of the queue.
type gatheringSection struct {
	queue string
	gathering
}

func (m *Machine) gatheringSection(q *queue) gatheringSection {
	g := q.gathering
	s := span{from: max(g.span.from, m.doubted), upto: g.span.upto}
	if s.upto <= s.from {
		s.upto = 0
	}
	return gatheringSection{q.destination.Name, gathering{seqs: slices.Clone(g.seqs), span: s}}
}

func (s *gatheringSection) appendTo(dst []byte) []byte {
	dst = appendString(dst, s.queue)
	dst = binary.AppendUvarint(dst, s.span.from)
	dst = binary.AppendUvarint(dst, s.span.upto)
	return appendSeqs(dst, s.seqs)
}

// restoreGathering gives q the gathering that a checkpoint has of it.
func (m *Machine) restoreGathering(q *queue, g gathering) {
	if q.gathering = &g; g.span.upto != 0 {
		m.setSpan(q)
	}
	m.weigh(&g)
	m.ripen(q)
}
