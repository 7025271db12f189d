package destinations

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"
)

// An image is what is stored of a chunk, in as few octets as are needed: 1 to 4
// a message. It never changes. A chunk of which nothing is in memory nor in
// flight is its image; checkpoints consist of images.
//
//	how many slots, from 1 to 128; the first seq
//	column of what each further seq is above the one before, and 1
//	column of the sizes
//	column of the attempts
//	column of the marks (returned)
//	for each slot a dead letter; nothing if there is none, and no extra
//	for each slot an extra; nothing if there is none
//
// A column is: its least value, then the octets that the rest of it takes, then
// for each slot a varint, how much it is above the least; or 0 octets if all are
// alike. A dead letter is: 0 none; or 1 with the reason and the destination of the
// one before, or 2 with its own; then deliveries, and as differences (zigzag) to
// the one before, time in milliseconds, original Seq and content; and original N.
// An extra is which of these follow, a bit each: 1 the content, of a slot without
// a dead letter, as a difference (zigzag) to the seq; 2 Props, as Props.encode has
// them; 4 until when it is not delivered again, or when it comes again, in Unix ms
// (zigzag); 8 the entry that says so, as a difference (zigzag) to the seq, and how
// often it comes after that (zigzag); 16 the session that sent it, see
// Machine.sentBy. Everything is an unsigned varint or a string, as in an Entry.

// maxSeq bounds the Seqs of an image, so that adding them up cannot wrap.
const maxSeq = 1 << 56

// maxImageBytes bounds an image without dead letters and extras.
const maxImageBytes = 2 << 10

var errImage = errors.New("an image of a chunk is malformed")

// makeImage returns the image of c, nil if nothing in it is stored.
func (c *chunk) makeImage() []byte {
	var seqs, sizes, attempts, marks [chunkSlots]uint64
	n, letters, more := 0, false, false
	var last uint64
	for i := range c.slots {
		s := &c.slots[i]
		if s.state == slotGone || !s.stored() {
			continue
		}
		seqs[n] = s.seq - last - 1
		sizes[n] = uint64(s.size)
		attempts[n] = uint64(s.attempts)
		marks[n] = uint64(s.marks & markReturned)
		last = s.seq
		if x := c.extra(i); x != nil {
			letters = letters || x.dead != nil
			more = more || x.fields() != 0
		}
		n++
	}
	if n == 0 {
		return nil
	}
	var space [maxImageBytes]byte
	dst := binary.AppendUvarint(space[:0], uint64(n))
	dst = binary.AppendUvarint(dst, seqs[0]+1)
	dst = appendColumn(dst, seqs[1:n])
	dst = appendColumn(dst, sizes[:n])
	dst = appendColumn(dst, attempts[:n])
	dst = appendColumn(dst, marks[:n])
	if letters || more {
		dst = c.appendLetters(dst)
	}
	if more {
		dst = c.appendExtras(dst)
	}
	return slices.Clone(dst)
}

func appendColumn(dst []byte, values []uint64) []byte {
	if len(values) == 0 {
		return append(dst, 0, 0)
	}
	least, most := slices.Min(values), slices.Max(values)
	dst = binary.AppendUvarint(dst, least)
	if least == most {
		return append(dst, 0)
	}
	size := 0
	for _, v := range values {
		size += uvarintBytes(v - least)
	}
	dst = binary.AppendUvarint(dst, uint64(size))
	for _, v := range values {
		dst = binary.AppendUvarint(dst, v-least)
	}
	return dst
}

func uvarintBytes(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// A column is one that is read.
type column struct {
	least uint64
	rest  decoder // empty if all are alike
	equal bool
}

func (d *decoder) column() column {
	least := d.uvarint()
	rest := d.octets()
	return column{least: least, rest: decoder{data: rest}, equal: len(rest) == 0}
}

// next returns the next value.
func (c *column) next() uint64 {
	if c.equal {
		return c.least
	}
	return c.least + c.rest.uvarint()
}

// sum adds up the n values; ok says that there are so many and that none is
// above most.
func (c column) sum(n int, most uint64) (sum uint64, ok bool) {
	if c.least > most {
		return 0, false
	}
	sum = c.least * uint64(n)
	if c.equal {
		return sum, true
	}
	data := c.rest.data
	for i := 0; i < len(data); n-- {
		above, size := uint64(data[i]), 1
		if above >= 0x80 {
			if above, size = binary.Uvarint(data[i:]); size <= 0 {
				return 0, false
			}
		}
		if above > most-c.least {
			return 0, false
		}
		sum += above
		i += size
	}
	return sum, n == 0
}

// An outline is what must be known of an image while nobody looks into it.
type outline struct {
	n           int
	first, last uint64
	bytes       int64 // of all sizes
	expires     int64 // when the first of them does; never if none does
	waiting     int   // how many have a time before which they are not delivered
	texts       int64 // see Props.textBytes
}

// outlineOf checks all of an image, and returns its outline. It takes no memory.
func outlineOf(image []byte) (outline, error) {
	d := decoder{data: image}
	o := outline{expires: never}
	n := d.uvarint()
	if n == 0 || n > chunkSlots {
		return o, errImage
	}
	o.n, o.first = int(n), d.uvarint()
	seqs, ok1 := d.column().sum(o.n-1, maxSeq)
	sizes, ok2 := d.column().sum(o.n, 1<<32-1)
	_, ok3 := d.column().sum(o.n, maxAttempts)
	_, ok4 := d.column().sum(o.n, uint64(markReturned))
	if d.bad || !ok1 || !ok2 || !ok3 || !ok4 || o.first == 0 || o.first > maxSeq {
		return o, errImage
	}
	o.last = o.first + seqs + n - 1
	o.bytes = int64(sizes)
	if len(d.data) > 0 {
		d.letters(o.n, nil)
	}
	if len(d.data) > 0 {
		d.extras(&o, nil, nil)
	}
	if d.bad || len(d.data) > 0 || o.last > maxSeq {
		return o, errImage
	}
	return o, nil
}

// readImage returns the slots of an image that was checked, and what they have
// beyond what all have, nil if none has anything.
func readImage(image []byte) (slots []slot, extras []*extra) {
	d := decoder{data: image}
	n := int(d.uvarint())
	seq := d.uvarint()
	steps, sizes, attempts, marks := d.column(), d.column(), d.column(), d.column()
	slots = make([]slot, n)
	for i := range slots {
		if i > 0 {
			seq += 1 + steps.next()
		}
		slots[i] = slot{
			seq:      seq,
			size:     uint32(sizes.next()),
			attempts: uint16(attempts.next()),
			marks:    markStored | slotMarks(marks.next()),
		}
	}
	if len(d.data) > 0 {
		extras = make([]*extra, n)
		d.letters(n, extras)
	}
	if len(d.data) > 0 {
		d.extras(&outline{n: n}, slots, extras)
	}
	if d.bad {
		panic("BUG: an image is not what was checked")
	}
	return slots, extras
}

// The forms of a dead letter in an image.
const (
	letterNone = iota
	letterSame
	letterFull
)

// appendLetters appends a dead letter, or that there is none, for each slot that
// is in the image.
func (c *chunk) appendLetters(dst []byte) []byte {
	before, content, first := &DeadLetter{Time: time.UnixMilli(0)}, uint64(0), true
	for i := range c.slots {
		if s := &c.slots[i]; s.state == slotGone || !s.stored() {
			continue
		}
		var x extra
		if at := c.extra(i); at != nil {
			x = *at
		}
		l := x.dead
		switch {
		case l == nil:
			dst = append(dst, letterNone)
			continue
		case !first && l.Reason == before.Reason && l.Destination == before.Destination:
			dst = append(dst, letterSame)
		default:
			dst = append(dst, letterFull)
			dst = appendString(dst, l.Reason)
			dst = appendDestination(dst, l.Destination)
		}
		dst = binary.AppendUvarint(dst, uint64(l.Deliveries))
		dst = binary.AppendVarint(dst, l.Time.UnixMilli()-before.Time.UnixMilli())
		dst = binary.AppendVarint(dst, int64(l.ID.Seq-before.ID.Seq))
		dst = binary.AppendVarint(dst, int64(x.content-content))
		dst = binary.AppendUvarint(dst, l.ID.N)
		before, content, first = l, x.content, false
	}
	return dst
}

// letters reads those of n slots into to, or, if that is nil, only checks that
// it can.
func (d *decoder) letters(n int, to []*extra) {
	var before, l DeadLetter
	var content uint64
	var millis int64
	var same bool
	for i := range n {
		switch form := d.uvarint(); {
		case form == letterNone:
			continue
		case form == letterSame && same:
		case form == letterFull:
			reason, topic, name := d.octets(), d.uvarint(), d.octets()
			d.bad = d.bad || topic > 1
			if to != nil {
				l.Reason, l.Destination = string(reason), Destination{Topic: topic == 1, Name: string(name)}
			}
			same = true
		default:
			d.bad = true
		}
		deliveries := d.uvarint()
		d.bad = d.bad || deliveries > maxAttempts
		l.Deliveries = int(deliveries)
		millis += d.varint()
		l.ID.Seq = before.ID.Seq + uint64(d.varint())
		content += uint64(d.varint())
		l.ID.N = d.uvarint()
		if d.bad {
			return
		}
		before = l
		if to != nil {
			l.Time = time.UnixMilli(millis).UTC()
			letter := l
			to[i] = &extra{dead: &letter, content: content}
		}
	}
}

// The fields of an extra in an image.
const (
	extraContent = 1 << iota
	extraProps
	extraUntil
	extraLatest
	extraSender
	extraEnd
)

// fields says what of x is not in the dead letter.
func (x *extra) fields() (set uint64) {
	if x.dead == nil && x.content != 0 {
		set |= extraContent
	}
	if x.props != nil {
		set |= extraProps
	}
	if x.until != 0 {
		set |= extraUntil
	}
	if x.latest != 0 {
		set |= extraLatest
	}
	if x.props != nil && x.props.sender != 0 {
		set |= extraSender
	}
	return set
}

// appendExtras appends an extra, or that there is none, for each slot that is in
// the image.
func (c *chunk) appendExtras(dst []byte) []byte {
	for i := range c.slots {
		s := &c.slots[i]
		if s.state == slotGone || !s.stored() {
			continue
		}
		x := c.extra(i)
		if x == nil {
			dst = append(dst, 0)
			continue
		}
		set := x.fields()
		dst = binary.AppendUvarint(dst, set)
		if set&extraContent != 0 {
			dst = binary.AppendVarint(dst, int64(x.content-s.seq))
		}
		if set&extraProps != 0 {
			dst = x.props.encode(dst)
		}
		if set&extraUntil != 0 {
			dst = binary.AppendVarint(dst, x.until)
		}
		if set&extraLatest != 0 {
			dst = binary.AppendVarint(dst, int64(x.latest-s.seq))
			dst = binary.AppendVarint(dst, int64(x.left))
		}
		if set&extraSender != 0 {
			dst = binary.AppendUvarint(dst, x.props.sender)
		}
	}
	return dst
}

// extras reads those of the slots of o into to, or, if that is nil, only checks that
// it can. It completes o.
func (d *decoder) extras(o *outline, slots []slot, to []*extra) {
	for i := range o.n {
		set := d.uvarint()
		d.bad = d.bad || set >= extraEnd
		if set == 0 {
			continue
		}
		var x extra
		if to != nil && to[i] != nil {
			x = *to[i]
		}
		if set&extraContent != 0 {
			content := uint64(d.varint())
			if slots != nil {
				x.content = slots[i].seq + content
			}
		}
		if set&extraProps != 0 {
			var p Props
			o.texts += d.props(&p, to != nil)
			if p.Expires != 0 {
				o.expires = min(o.expires, p.Expires)
			}
			if p.Deliver != 0 {
				o.waiting++
			}
			if to != nil {
				kept := p
				x.props = &kept
			}
		}
		if set&extraUntil != 0 {
			x.until = d.varint()
		}
		if set&extraLatest != 0 {
			latest, left := uint64(d.varint()), d.varint()
			d.bad = d.bad || left < -1 || left > math.MaxInt32
			if slots != nil {
				x.latest, x.left = slots[i].seq+latest, int32(left)
			}
		}
		if set&extraSender != 0 {
			sender := d.uvarint()
			if d.bad = d.bad || set&extraProps == 0; to != nil && !d.bad {
				x.props.sender = sender
			}
		}
		if d.bad {
			return
		}
		if to != nil {
			to[i] = &x
		}
	}
}
