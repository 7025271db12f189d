package destinations

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A window is the deduplication ids that were lately sent to a destination: the
// newest Policy.DedupCount of them, none older than Policy.DedupWindow.
//
// An id of a stored message has an entry of its own in the log, which stays as
// long as the id is remembered: so the message itself can be consumed and its
// entry go, and the id survives a crash. The entry is joined to that of the
// message: the log has both or neither.
type window struct {
	destination Destination
	policy      *Policy
	seen        map[string]int // how often an id is in sightings: twice, if it was forgotten in between
	sightings   fifo[sighting] // oldest first
}

// A sighting is when an id was seen.
type sighting struct {
	id  string
	at  int64  // Unix ms
	seq uint64 // of its entry; 0: its message was not stored, nor was it
}

// sightingBytes is counted for each beyond its id, in memory and in the log.
const sightingBytes = 128

func (s *sighting) size() int64 { return int64(len(s.id)) + sightingBytes }

// trimEvery is how often windows are looked at to which nothing is sent.
const trimEvery = time.Second

// dedupID is the id by which o is told from a copy of it; empty if it has none. A
// composite one is known by its first destination.
func (m *Machine) dedupID(o *Outgoing) string {
	if p := o.Message.Props; p != nil && !o.Destination.Temporary() {
		return p.DedupID
	}
	return ""
}

// duplicate says whether the id of o was seen before.
func (m *Machine) duplicate(o *Outgoing) bool {
	w := m.windows[o.Destination]
	if w == nil {
		return false
	}
	m.trim(w, m.now.UnixMilli(), m.others.ahead)
	return w.seen[m.dedupID(o)] > 0
}

// onlyDuplicates says whether a transaction was carried out before: it has ids,
// and all of them were seen. What it sends without an id is then left out too,
// for the producer that sends it again means all of it. Where one id is new, a
// message without one is too.
func (m *Machine) onlyDuplicates(sends []Outgoing) bool {
	any := false
	for i := range sends {
		o := &sends[i]
		if o.Forwarded { // each is on its own
			return false
		}
		if m.dedupID(o) == "" {
			continue
		}
		if any = true; !m.duplicate(o) {
			return false
		}
	}
	return any
}

// acceptOnce accepts a message unless it is a duplicate, and remembers its id.
// repeated is what becomes of one without.
func (m *Machine) acceptOnce(c *Command, o *Outgoing, repeated bool, out *Effects) {
	id := m.dedupID(o)
	if id != "" {
		repeated = m.duplicate(o)
	}
	if repeated {
		out.Duplicates++
		return
	}
	if id == "" {
		m.accept(c, o, out)
		return
	}
	whole, before := m.whole, m.last
	m.whole = true
	m.accept(c, o, out)
	r := record{kind: KindDedup, id: id, at: m.now.UnixMilli()}
	r.toward(o.Destination)
	if m.last > before {
		m.record(&r, out)
	} else {
		m.remember(&r)
	}
	if m.whole = whole; !whole {
		m.joined = false
	}
}

// toward says which destination a dedup is about.
func (r *record) toward(d Destination) {
	if d.Topic {
		r.topic = d.Name
	} else {
		r.queue = d.Name
	}
}

// destination is what a dedup is about.
func (r *record) destination() Destination {
	if r.topic != "" {
		return Topic(r.topic)
	}
	return Queue(r.queue)
}

// applyDedup remembers an id, unless the checkpoint knows it.
func (m *Machine) applyDedup(r *record) {
	if m.recovery == nil {
		m.live.add(r.seq, (&sighting{id: r.id}).size())
		m.remember(r)
	}
}

// remember adds an id to the window of its destination. What that leaves no
// place for is forgotten.
func (m *Machine) remember(r *record) {
	w := m.window(r.destination())
	m.see(w, sighting{id: r.id, at: r.at, seq: r.seq})
	if r.replayed {
		m.others.said = r.at
		m.trim(w, r.at, 0)
	} else {
		m.trim(w, r.at, m.others.ahead)
	}
}

// otherClock is that of who made the entries that are replayed. Either may be wrong by more than
// a window lasts: what was seen by that one is as old as that one says.
type otherClock struct {
	said  int64  // Unix ms: by the last entry that tells
	heard int64  // what it said when they were compared
	ahead int64  // ms that this clock showed more, or a little more than that; 0: they were not compared
	until uint64 // the Seq up to which entries go by that one; 0: all do
}

func (c *otherClock) compare(now time.Time) {
	if c.until == 0 && c.said != c.heard {
		c.heard, c.ahead = c.said, now.UnixMilli()-c.said
	}
}

// window is that of d, made if there is none.
func (m *Machine) window(d Destination) *window {
	w := m.windows[d]
	if w == nil {
		w = &window{destination: d, policy: m.policies.of(d), seen: map[string]int{}}
		if m.windows == nil {
			m.windows = map[Destination]*window{}
		}
		m.windows[d] = w
	}
	return w
}

func (m *Machine) see(w *window, s sighting) {
	w.seen[s.id]++
	w.sightings.push(s)
	m.bytes += s.size()
}

// trim forgets the ids of w that are too many or too old, by a clock that is so far ahead of
// the other one.
func (m *Machine) trim(w *window, now, ahead int64) {
	for w.sightings.len() > 0 {
		oldest := w.sightings.at(0)
		at := oldest.at
		if oldest.seq != 0 && (m.others.until == 0 || oldest.seq <= m.others.until) {
			at += ahead
		}
		if w.sightings.len() <= w.policy.DedupCount && at > now-w.policy.DedupWindow.Milliseconds() {
			return
		}
		if w.seen[oldest.id]--; w.seen[oldest.id] == 0 {
			delete(w.seen, oldest.id)
		}
		if oldest.seq != 0 {
			m.live.remove(oldest.seq, oldest.size())
		}
		m.bytes -= oldest.size()
		w.sightings.pop()
	}
	delete(m.windows, w.destination)
}

// trimWindows does it now and then for all.
func (m *Machine) trimWindows() {
	if m.now.Sub(m.trimmed) < trimEvery {
		return
	}
	m.trimmed = m.now
	for _, w := range m.windows {
		m.trim(w, m.now.UnixMilli(), m.others.ahead)
	}
}

// Forget is for a machine that only replays, and takes no memory but of what is
// stored: it forgets the deduplication ids that are too old by now, as a Step
// does by the way. It makes no entry. How old they are it knows by the clock of who
// made the entries.
func (m *Machine) Forget(now time.Time) {
	m.now, m.millis = now, now.UnixMilli()
	m.others.compare(now)
	m.trimWindows()
}

func (r *record) encodeDedup(dst []byte) []byte {
	dst = appendString(dst, r.topic)
	dst = binary.AppendUvarint(dst, uint64(r.at))
	return appendString(dst, r.id)
}

func (d *decoder) dedup(r *record) {
	r.topic, r.at, r.id = d.string(), int64(d.uvarint()), d.string()
}

// maxSightings bounds those in a part of a checkpoint.
const maxSightings = 4096

// captureWindows adds the windows to the checkpoint.
func (c *Checkpoint) captureWindows() {
	windows := slices.SortedFunc(maps.Values(c.m.windows), func(a, b *window) int {
		return strings.Compare(a.destination.String(), b.destination.String())
	})
	for _, w := range windows {
		for i := 0; i < w.sightings.len(); i += maxSightings {
			p := Part{kind: partWindow, destination: w.destination}
			for j := i; j < min(i+maxSightings, w.sightings.len()); j++ {
				p.sightings = append(p.sightings, *w.sightings.at(j))
			}
			c.parts = append(c.parts, p)
		}
	}
}

func (p *Part) appendWindow(dst []byte) []byte {
	dst = appendDestination(dst, p.destination)
	for i := range p.sightings {
		s := &p.sightings[i]
		dst = binary.AppendUvarint(dst, s.seq)
		dst = binary.AppendUvarint(dst, uint64(s.at))
		dst = appendString(dst, s.id)
	}
	return dst
}

func (m *Machine) restoreWindow(d *decoder) error {
	of := Destination{Topic: d.uvarint() == 1}
	of.Name = d.string()
	if d.bad || of.Name == "" {
		return fmt.Errorf("a window of deduplication ids in the checkpoint is malformed")
	}
	w := m.window(of)
	for len(d.data) > 0 {
		s := sighting{seq: d.uvarint(), at: int64(d.uvarint()), id: d.string()}
		if d.bad || s.id == "" || s.seq > maxSeq {
			return fmt.Errorf("the deduplication ids of %s in the checkpoint are malformed", of)
		}
		m.see(w, s)
	}
	return nil
}
