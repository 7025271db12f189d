package destinations

import "encoding/binary"

// A Checkpoint captures what a machine has stored, a few queues at a time while
// the machine goes on: each queue as it is at one moment, and at the end the
// live set. With the entries after From it gives the state again, for each part
// says up to which entry it knows.
//
//	c := m.BeginCheckpoint()
//	for done := false; !done; {
//		parts, done = c.Next(limit) // then carry out a batch of commands
//		// elsewhere: encode parts with Part.AppendTo
//	}
//	// keep the parts, From and Upto, once the log is durable up to Upto
//
// and after a start:
//
//	for each part { m.Restore(part) } // an error: take a new machine and replay all
//	for each entry in the log after From { m.Replay(entry) }
//	m.Resume(log.Last())
type Checkpoint struct {
	m        *Machine
	from     uint64
	upto     uint64
	queues   []*queue         // that were there at the beginning; nil where there was none
	open     Part             // begun
	durable  []durableSection // of the queues that were captured
	gathered []gatheringSection
	size     int    // of its images
	parts    []Part // of the Next in progress
}

// partBytes is where a part that consists of queues ends, roughly.
const partBytes = 256 << 10

// BeginCheckpoint begins a checkpoint of the entries so far. It takes time in
// proportion to the number of queues, a nanosecond each.
func (m *Machine) BeginCheckpoint() *Checkpoint {
	return &Checkpoint{m: m, from: m.last, queues: append([]*queue(nil), m.roster.places...)}
}

// From is the Seq of the newest entry when the checkpoint began. Replay goes on
// after it.
func (c *Checkpoint) From() uint64 { return c.from }

// Upto is the Seq of the newest entry that a part knows, when all are captured.
func (c *Checkpoint) Upto() uint64 { return c.upto }

// Next captures further queues and returns the parts that are ready. limit
// bounds the work: it is how many queues are looked at, and chunks of up to 128
// messages that have changed since the last checkpoint; each takes about a
// microsecond. A queue is captured whole, even if it takes more.
func (c *Checkpoint) Next(limit int) (parts []Part, done bool) {
	for len(c.queues) > 0 && limit > 0 {
		if q := c.queues[0]; q != nil {
			limit -= 1 + c.capture(q.destination.Name)
		}
		c.queues = c.queues[1:]
	}
	if done = len(c.queues) == 0; done {
		c.finish()
	}
	parts, c.parts = c.parts, nil
	return parts, done
}

// capture captures the queue of this name and returns how many images it made.
// If it is gone by now, that is noted: entries between From and now would make
// another of it.
func (c *Checkpoint) capture(name string) (made int) {
	q := c.m.queues[name]
	if q != nil && q.durable != nil {
		c.durable = append(c.durable, q.durable.section())
	}
	if q != nil && q.gathering != nil {
		c.gathered = append(c.gathered, c.m.gatheringSection(q))
	}
	if q == nil || len(q.levels) == 0 {
		c.section(name, DefaultPriority)
		return 0
	}
	for _, l := range q.levels {
		made += c.captureLevel(name, l)
	}
	return made
}

func (c *Checkpoint) captureLevel(name string, l *level) (made int) {
	c.section(name, l.priority)
	for _, chunk := range l.chunks {
		image, fresh := chunk.picture()
		if fresh {
			made++
		}
		if image == nil {
			continue
		}
		if c.size > partBytes {
			c.section(name, l.priority)
		}
		s := &c.open.sections[len(c.open.sections)-1]
		s.images = append(s.images, image)
		c.size += len(image)
		chunk.pack()
	}
	return made
}

// section begins a section about a level of a queue, in a new part if the one is
// large.
func (c *Checkpoint) section(name string, priority uint8) {
	if c.size > partBytes {
		c.flush()
	}
	c.open.kind = partQueues
	c.open.sections = append(c.open.sections, section{queue: name, priority: priority, asOf: c.m.last})
	c.size += len(name)
}

func (c *Checkpoint) flush() {
	if c.open.kind != 0 {
		c.parts = append(c.parts, c.open)
	}
	c.open, c.size = Part{}, 0
}

// finish captures what is not in queues.
func (c *Checkpoint) finish() {
	c.flush()
	c.upto = c.m.last
	const most, mostShared = partBytes / (2 * bitmapWords), partBytes / (4 * stretchSeqs)
	const mostDurable, mostGathered = partBytes / 512, partBytes / gatheringBytes
	live := c.m.live.picture()
	for rest := live; len(rest) > 0; {
		n := min(most, len(rest))
		c.parts = append(c.parts, Part{kind: partLive, stretches: rest[:n]})
		rest = rest[n:]
	}
	for shared := live.shared(); len(shared) > 0; {
		n := min(mostShared, len(shared))
		c.parts = append(c.parts, Part{kind: partShares, stretches: shared[:n]})
		shared = shared[n:]
	}
	for rest := c.durable; len(rest) > 0; {
		n := min(mostDurable, len(rest))
		c.parts = append(c.parts, Part{kind: partDurables, durables: rest[:n]})
		rest = rest[n:]
	}
	for rest := c.gathered; len(rest) > 0; {
		n := min(mostGathered, len(rest))
		c.parts = append(c.parts, Part{kind: partGatherings, gatherings: rest[:n]})
		rest = rest[n:]
	}
	c.captureWindows()
	c.parts = append(c.parts, Part{kind: partEnd, from: c.from, upto: c.upto, start: c.m.start})
}

// A Part is a piece of a checkpoint. It never changes, and any goroutine may
// encode it.
type Part struct {
	kind       partKind
	sections   []section          // partQueues
	stretches  stretches          // partLive, partShares
	durables   []durableSection   // partDurables
	gatherings []gatheringSection // partGatherings

	destination Destination // partWindow
	sightings   []sighting  // partWindow

	from, upto, start uint64 // partEnd
}

// A partKind says what a part holds. The numbers are stored; a part of another
// layout gets another number.
type partKind uint8

const (
	partPlainQueues partKind = 1 // as early versions wrote them: without priorities
	partLive        partKind = 2
	partEnd         partKind = 3 // the last one
	partQueues      partKind = 4
	partShares      partKind = 5
	partDurables    partKind = 6
	partWindow      partKind = 7
	partGatherings  partKind = 8
)

// A section is a level of a queue as of one entry, or a piece of it. All of a
// queue are as of the same one. They may be empty.
type section struct {
	queue    string
	priority uint8
	asOf     uint64
	images   [][]byte
}

// AppendTo appends the encoded part to dst. It is the kind, in an octet, and
//
//	queues  for each section: queue, asOf, priority, how many images, and each as a string
//	live    for each stretch: number, live octets, how many are live, and their offsets if
//	        they are at most 16: the first, and the differences; else 64 words of bits, 2 octets each
//	shares  for each stretch: number, how many are shared, and each: its offset, as the
//	        difference to the one before, and its holders beyond the first
//	durables for each: queue, Seq of its durable entry, topic, flags, selector, as in that entry
//	window  destination (0 queue or 1 topic, name), and for each id, oldest first: Seq of its entry
//	        or 0, time in milliseconds, id
//	gatherings for each: queue, Seq of the first settle that is said again, of the newest entry that says
//	        some again or 0, and what was settled since, as in a settle
//	end     From, Upto, Seq of the newest start entry
//
// in varints and strings as an Entry has them, words little-endian.
func (p Part) AppendTo(dst []byte) []byte {
	dst = append(dst, byte(p.kind))
	switch p.kind {
	case partQueues:
		for i := range p.sections {
			dst = p.sections[i].appendTo(dst)
		}
	case partLive:
		for i := range p.stretches {
			dst = p.stretches[i].appendTo(dst)
		}
	case partShares:
		for i := range p.stretches {
			dst = p.stretches[i].appendShares(dst)
		}
	case partDurables:
		for i := range p.durables {
			dst = p.durables[i].appendTo(dst)
		}
	case partGatherings:
		for i := range p.gatherings {
			dst = p.gatherings[i].appendTo(dst)
		}
	case partWindow:
		dst = p.appendWindow(dst)
	case partEnd:
		dst = binary.AppendUvarint(dst, p.from)
		dst = binary.AppendUvarint(dst, p.upto)
		dst = binary.AppendUvarint(dst, p.start)
	}
	return dst
}

func (s *section) appendTo(dst []byte) []byte {
	dst = appendString(dst, s.queue)
	dst = binary.AppendUvarint(dst, s.asOf)
	dst = binary.AppendUvarint(dst, uint64(s.priority))
	dst = binary.AppendUvarint(dst, uint64(len(s.images)))
	for _, image := range s.images {
		dst = binary.AppendUvarint(dst, uint64(len(image)))
		dst = append(dst, image...)
	}
	return dst
}

func (s *stretch) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, s.number)
	dst = binary.AppendUvarint(dst, uint64(s.bytes))
	dst = binary.AppendUvarint(dst, uint64(s.count))
	if s.count <= few {
		var before uint16
		s.each(func(offset uint16) {
			dst = binary.AppendUvarint(dst, uint64(offset-before))
			before = offset
		})
		return dst
	}
	for _, word := range s.set {
		dst = binary.LittleEndian.AppendUint16(dst, word)
	}
	return dst
}

// shared are the stretches that have entries with several holders.
func (l stretches) shared() (shared stretches) {
	for i := range l {
		if len(l[i].shares) > 0 {
			shared = append(shared, l[i])
		}
	}
	return shared
}

func (s *stretch) appendShares(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, s.number)
	dst = binary.AppendUvarint(dst, uint64(len(s.shares)))
	var before uint16
	for _, share := range s.shares {
		dst = binary.AppendUvarint(dst, uint64(share.offset-before))
		dst = binary.AppendUvarint(dst, uint64(share.more))
		before = share.offset
	}
	return dst
}

// A durableSection is what is stored of a durable beside what is in its queue,
// as of the section of the queue.
type durableSection struct {
	queue, topic, selector string
	seq                    uint64
	noLocal, retroactive   bool
	claim                  Claim
}

func (d *durable) section() durableSection {
	return durableSection{d.queue.destination.Name, d.topic, d.selector, d.seq, d.noLocal, d.retroactive, d.claim}
}

func (s *durableSection) appendTo(dst []byte) []byte {
	dst = appendString(dst, s.queue)
	dst = binary.AppendUvarint(dst, s.seq)
	dst = appendString(dst, s.topic)
	return appendDurable(dst, s.noLocal, s.retroactive, s.selector, s.claim)
}
