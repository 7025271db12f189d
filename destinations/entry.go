package destinations

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// An EntryKind says what an Entry records. The numbers are stored.
type EntryKind uint8

// The kinds of entries.
const (
	KindStart    EntryKind = 1  // the broker started; what is unacknowledged is redelivered from here on
	KindEnqueue  EntryKind = 2  // a message was put into a queue
	KindSettle   EntryKind = 3  // messages left a queue for good
	KindMove     EntryKind = 4  // a message went from a queue to a dead-letter queue
	KindAttempt  EntryKind = 5  // a message was delivered in vain
	KindPublish  EntryKind = 6  // a message was put into several queues
	KindDurable  EntryKind = 7  // a durable subscription was made
	KindForgo    EntryKind = 8  // and deleted
	KindDedup    EntryKind = 9  // the deduplication id of the message before it
	KindSchedule EntryKind = 10 // a message that waited for its time has come
	KindTake     EntryKind = 11 // a message that a topic had kept was put into a durable subscription
	KindSpill    EntryKind = 12 // copies of a message wait for subscribers of a topic, until the broker stops
)

var kindNames = [...]string{
	KindStart: "start", KindEnqueue: "enqueue", KindSettle: "settle", KindMove: "move", KindAttempt: "attempt",
	KindPublish: "publish", KindDurable: "durable", KindForgo: "forgo", KindSchedule: "schedule", KindDedup: "dedup",
	KindTake: "take", KindSpill: "spill",
}

// String is the name of the kind.
func (k EntryKind) String() string {
	if int(k) >= len(kindNames) || kindNames[k] == "" {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kindNames[k]
}

// An Entry is one change of the machine, to be appended to the log under its
// Seq. Its payload is Head followed by Body; Body shares memory with the
// message that is stored.
//
// Payloads are sequences of unsigned varints (Go's encoding/binary) and of
// strings, which are a varint length and the octets:
//
//	start    (empty)
//	enqueue  queue, flags, form, length of the header lines, dead letter if flag 1, Props if flag 2; then Body: the content
//	settle   queue, how many, first seq, then the difference to the one before; and if it says again what settles
//	         before it said, the Seq of the first of those
//	move     queue, seq, target queue, dead letter, Seq of the entry with the content, size as the machine counts it
//	attempt  queue, seq, attempts, and until when it is not delivered again, unless that is at once, in Unix ms
//	publish  topic, how many queues, each, flags, takers if flag 4, form, length of the header lines, properties if
//	         flag 2; then Body: the content
//	durable  queue, topic, flags (1: no-local; 2: it may take what it does not select; 4: a claim), selector;
//	         if flag 4: home, born and number of the claim; if only that is new: Seq of the durable entry before it
//	forgo    queue, Seq of the durable entry
//	schedule queue, seq, when it comes again in Unix ms, or 0, and how often after that (zigzag)
//	dedup    queue and topic, one of them empty; time in milliseconds, id
//	take     queue, Seq of the entry with the content, size as the machine counts it, Props
//	spill    topic, flags, form, length of the header lines, Props if flag 2; then Body: the content
//
// The queue of a durable subscription has a name that begins with NUL, see
// DurableID. A publish puts the message into its queues, and into those of the
// durable subscriptions that match its topic: all, or its takers, which are the
// Seqs of their durable entries, as a settle has them.
//
// where a dead letter is: reason, deliveries, time in milliseconds, original
// destination (0 queue or 1 topic, name), original Seq, original N. Moves that
// early versions wrote end with the dead letter. Props are as Props.encode has
// them.
type Entry struct {
	Seq  uint64
	Kind EntryKind
	Head []byte
	Body []byte
	// Joined says that the log must keep this entry and the one before it both
	// or neither.
	Joined bool
}

// maxHeadBytes bounds the head of an entry about one message without its Props:
// two names and a dead letter with a third, each of at most 512 octets with its
// length.
const maxHeadBytes = 2 << 10

// The flags of an enqueue and a publish.
const (
	flagDead = 1 << iota
	flagProps
	flagTakers
	flagsEnd
)

// The flags of a durable.
const (
	flagNoLocal = 1 << iota
	flagRetroactive
	flagClaim
	durableFlagsEnd
)

// A record is an entry decoded: what apply works on.
type record struct {
	seq         uint64
	kind        EntryKind
	replayed    bool        // msg.Content is the log's memory
	size        uint32      // move and take: of the message
	queue       string      // all but start, publish and spill
	target      string      // move: the dead-letter queue
	msg         *Message    // enqueue, publish, spill
	dead        *DeadLetter // enqueue, move
	content     uint64      // move and take: Seq of the entry with the content
	props       *Props      // take
	seqs        []uint64    // settle: all; move, attempt and forgo: the one; publish with chosen: the takers, ascending
	refs        []ref       // of a settle: the places of seqs, where they are known; not stored
	again       uint64      // settle: Seq of the first of those that it says again; 0: it says something new
	attempts    int         // attempt
	until       int64       // attempt: of the next delivery; 0: at once
	next        int64       // schedule: when it comes again; 0: not
	left        int32       // schedule: and how often after that
	topic       string      // publish, spill, durable and dedup; empty: none
	queues      []string    // publish
	chosen      bool        // publish: not all that match take it
	selector    string      // durable
	noLocal     bool        // durable
	retroactive bool        // durable
	claim       Claim       // durable
	instead     uint64      // durable: Seq of the entry before it of the same subscription, with another claim; 0: none
	id          string      // dedup
	at          int64       // dedup: Unix ms
}

// encode appends the head of r to dst.
func (r *record) encode(dst []byte) []byte {
	switch r.kind {
	case KindStart:
		return dst
	case KindPublish:
		return r.encodePublish(dst)
	case KindSpill:
		return r.encodeMessage(appendString(dst, r.topic), 0)
	}
	dst = appendString(dst, r.queue)
	switch r.kind {
	case KindEnqueue:
		var flags uint64
		if r.dead != nil {
			flags |= flagDead
		}
		props := r.msg.Props
		if props.stored() {
			flags |= flagProps
		}
		dst = binary.AppendUvarint(dst, flags)
		dst = binary.AppendUvarint(dst, uint64(r.msg.Form))
		dst = binary.AppendUvarint(dst, uint64(r.msg.HeaderBytes))
		if r.dead != nil {
			dst = r.dead.encode(dst)
		}
		if flags&flagProps != 0 {
			dst = props.encode(dst)
		}
	case KindSettle:
		dst = appendSeqs(dst, r.seqs)
		if r.again != 0 {
			dst = binary.AppendUvarint(dst, r.again)
		}
	case KindMove:
		dst = binary.AppendUvarint(dst, r.seqs[0])
		dst = appendString(dst, r.target)
		dst = r.dead.encode(dst)
		dst = binary.AppendUvarint(dst, r.content)
		dst = binary.AppendUvarint(dst, uint64(r.size))
	case KindAttempt:
		dst = binary.AppendUvarint(dst, r.seqs[0])
		dst = binary.AppendUvarint(dst, uint64(r.attempts))
		if r.until != 0 {
			dst = binary.AppendUvarint(dst, uint64(r.until))
		}
	case KindSchedule:
		dst = binary.AppendUvarint(dst, r.seqs[0])
		dst = binary.AppendUvarint(dst, uint64(r.next))
		dst = binary.AppendVarint(dst, int64(r.left))
	case KindDurable:
		dst = appendString(dst, r.topic)
		if dst = appendDurable(dst, r.noLocal, r.retroactive, r.selector, r.claim); r.instead != 0 {
			dst = binary.AppendUvarint(dst, r.instead)
		}
	case KindDedup:
		dst = r.encodeDedup(dst)
	case KindForgo:
		dst = binary.AppendUvarint(dst, r.seqs[0])
	case KindTake:
		dst = binary.AppendUvarint(dst, r.content)
		dst = binary.AppendUvarint(dst, uint64(r.size))
		dst = r.props.encode(dst)
	}
	return dst
}

func (r *record) encodePublish(dst []byte) []byte {
	dst = appendString(dst, r.topic)
	dst = binary.AppendUvarint(dst, uint64(len(r.queues)))
	for _, name := range r.queues {
		dst = appendString(dst, name)
	}
	return r.encodeMessage(dst, bitIf(r.chosen, flagTakers))
}

// encodeMessage appends what a publish and a spill say of their message, with these
// flags and what follows from them.
func (r *record) encodeMessage(dst []byte, flags uint64) []byte {
	props := r.msg.Props
	dst = binary.AppendUvarint(dst, flags|bitIf(props.stored(), flagProps))
	if r.chosen {
		dst = appendSeqs(dst, r.seqs)
	}
	dst = binary.AppendUvarint(dst, uint64(r.msg.Form))
	dst = binary.AppendUvarint(dst, uint64(r.msg.HeaderBytes))
	if props.stored() {
		dst = props.encode(dst)
	}
	return dst
}

func bitIf(is bool, bit uint64) uint64 {
	if is {
		return bit
	}
	return 0
}

// appendSeqs appends how many there are, and each as what it is above the one
// before. Differences wrap: the seqs of a settle need not ascend.
func appendSeqs(dst []byte, seqs []uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(seqs)))
	var before uint64
	for _, seq := range seqs {
		dst = binary.AppendUvarint(dst, seq-before)
		before = seq
	}
	return dst
}

func (d *DeadLetter) encode(dst []byte) []byte {
	dst = appendString(dst, d.Reason)
	dst = binary.AppendUvarint(dst, uint64(d.Deliveries))
	dst = binary.AppendUvarint(dst, uint64(d.Time.UnixMilli()))
	dst = appendDestination(dst, d.Destination)
	dst = binary.AppendUvarint(dst, d.ID.Seq)
	return binary.AppendUvarint(dst, d.ID.N)
}

func appendDestination(dst []byte, d Destination) []byte {
	var topic uint64
	if d.Topic {
		topic = 1
	}
	dst = binary.AppendUvarint(dst, topic)
	return appendString(dst, d.Name)
}

// Message returns the message of an entry that puts one somewhere, as read back
// from the log: what Delivery.Content leads to. It shares memory with e.Body.
func (e Entry) Message() (*Message, error) {
	if !e.holdsMessage() {
		return nil, fmt.Errorf("entry %d of kind %d holds no message", e.Seq, e.Kind)
	}
	r, err := e.decode()
	if err != nil {
		return nil, err
	}
	r.msg.PublishedOn(r.topic)
	return r.msg, nil
}

func (e Entry) holdsMessage() bool {
	return e.Kind == KindEnqueue || e.Kind == KindPublish || e.Kind == KindSpill
}

// payload is what there is to decode.
func (e Entry) payload() (decoder, error) {
	if len(e.Head) == 0 {
		return decoder{data: e.Body}, nil // an entry read back has all of its payload in Body
	}
	if !e.holdsMessage() && len(e.Body) > 0 {
		return decoder{}, fmt.Errorf("entry %d of kind %d has a body", e.Seq, e.Kind)
	}
	return decoder{data: e.Head}, nil
}

// decode reads e. The content of a message shares memory with e, the rest does
// not.
func (e Entry) decode() (record, error) {
	r := record{seq: e.Seq, kind: e.Kind}
	d, err := e.payload()
	if err != nil {
		return r, err
	}
	switch e.Kind {
	case KindStart:
		return r, d.end(e)
	case KindPublish:
		d.publish(&r, e)
		return r, d.end(e)
	case KindSpill:
		r.topic = d.string()
		flags, form, headerBytes := d.uvarint(), d.uvarint(), d.uvarint()
		d.message(&r, e, flags, form, headerBytes)
		return r, d.end(e)
	}
	r.queue = d.string()
	switch e.Kind {
	case KindEnqueue:
		d.enqueue(&r, e)
	case KindSettle:
		r.seqs = d.seqs()
		if len(d.data) > 0 {
			r.again = d.uvarint()
			d.bad = d.bad || r.again == 0 || r.again >= e.Seq
		}
	case KindMove:
		r.seqs = []uint64{d.uvarint()}
		r.target = d.string()
		r.dead = d.deadLetter()
		if len(d.data) > 0 {
			r.content = d.uvarint()
			r.size = d.uint32()
		} else {
			r.content, r.size = r.seqs[0], messageOverhead
		}
	case KindAttempt:
		r.seqs = []uint64{d.uvarint()}
		r.attempts = int(min(d.uvarint(), maxAttempts))
		if len(d.data) > 0 {
			r.until = d.millis()
			d.bad = d.bad || r.until == 0
		}
	case KindSchedule:
		r.seqs = []uint64{d.uvarint()}
		r.next = d.millis()
		left := d.varint()
		d.bad = d.bad || left < -1 || left > math.MaxInt32
		r.left = int32(left)
	case KindDurable:
		r.topic = d.string()
		d.durable(&r.noLocal, &r.retroactive, &r.selector, &r.claim)
		if len(d.data) > 0 {
			r.instead = d.uvarint()
			d.bad = d.bad || r.instead == 0
		}
	case KindForgo:
		r.seqs = []uint64{d.uvarint()}
	case KindTake:
		r.content, r.size, r.props = d.uvarint(), d.uint32(), &Props{}
		d.props(r.props, true)
	case KindDedup:
		d.dedup(&r)
	default:
		return r, fmt.Errorf("entry %d has the unknown kind %d: it was written by a newer version", e.Seq, e.Kind)
	}
	return r, d.end(e)
}

// A decoder reads a payload and remembers that it was short.
type decoder struct {
	data []byte
	bad  bool
}

var errShort = errors.New("its payload ends early or is malformed")

func (d *decoder) end(e Entry) error {
	if d.bad || len(d.data) > 0 {
		return fmt.Errorf("entry %d of kind %d cannot be read: %w", e.Seq, e.Kind, errShort)
	}
	return nil
}

func (d *decoder) uvarint() uint64 {
	if len(d.data) > 0 && d.data[0] < 0x80 { // as most are
		v := d.data[0]
		d.data = d.data[1:]
		return uint64(v)
	}
	return d.longUvarint()
}

func (d *decoder) longUvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.bad, d.data = true, nil
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// appendDurable appends what entries and checkpoints have of a durable, after its
// topic.
func appendDurable(dst []byte, noLocal, retroactive bool, selector string, c Claim) []byte {
	dst = binary.AppendUvarint(dst, bitIf(noLocal, flagNoLocal)|bitIf(retroactive, flagRetroactive)|bitIf(c != Claim{}, flagClaim))
	if dst = appendString(dst, selector); c != (Claim{}) {
		dst = appendString(dst, c.Home)
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, c.Born), c.Number)
	}
	return dst
}

// durable is the opposite of appendDurable.
func (d *decoder) durable(noLocal, retroactive *bool, selector *string, c *Claim) {
	flags := d.uvarint()
	d.bad = d.bad || flags >= durableFlagsEnd
	*noLocal, *retroactive = flags&flagNoLocal != 0, flags&flagRetroactive != 0
	*selector = d.string()
	if flags&flagClaim != 0 {
		c.Home, c.Born, c.Number = d.string(), d.uvarint(), d.uvarint()
		d.bad = d.bad || *c == Claim{}
	}
}

// millis reads a time after 1970.
func (d *decoder) millis() int64 {
	v := d.uvarint()
	d.bad = d.bad || v > math.MaxInt64
	return int64(v)
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	d.bad = d.bad || v > 1<<32-1
	return uint32(v)
}

// octets reads those of a string, without a copy.
func (d *decoder) octets() []byte {
	n := d.uvarint()
	if n > uint64(len(d.data)) {
		d.bad, d.data = true, nil
		return nil
	}
	b := d.data[:n:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) string() string { return string(d.octets()) }

func (d *decoder) enqueue(r *record, e Entry) {
	flags := d.uvarint()
	form := d.uvarint()
	headerBytes := d.uvarint()
	if flags&flagDead != 0 {
		r.dead = d.deadLetter()
	}
	d.message(r, e, flags&^flagDead, form, headerBytes)
}

func (d *decoder) publish(r *record, e Entry) {
	r.topic = d.string()
	n := d.uvarint()
	if n > uint64(len(d.data)) { // each takes an octet at least
		d.bad = true
		return
	}
	for range n {
		r.queues = append(r.queues, d.string())
	}
	flags := d.uvarint()
	if r.chosen = flags&flagTakers != 0; r.chosen {
		r.seqs = d.seqs()
	}
	form := d.uvarint()
	headerBytes := d.uvarint()
	d.message(r, e, flags&^flagTakers, form, headerBytes)
}

// message reads the properties, if there are any, and the content, which is the
// rest.
func (d *decoder) message(r *record, e Entry, flags, form, headerBytes uint64) {
	var props *Props
	if flags&flagProps != 0 {
		props = &Props{}
		d.props(props, true)
	}
	content := d.data
	if len(e.Head) > 0 {
		d.bad = d.bad || len(d.data) > 0
		content = e.Body
	}
	d.data = nil
	if d.bad || flags&^flagProps != 0 || form > 0xff || headerBytes >= uint64(min(len(content), math.MaxInt32)) || content[headerBytes] != '\n' {
		d.bad = true
		return
	}
	r.msg = &Message{
		Content:     content[:len(content):len(content)],
		HeaderBytes: int32(headerBytes),
		Form:        uint8(form),
		Persistent:  true,
		Props:       props,
	}
}

// seqs reads what appendSeqs wrote.
func (d *decoder) seqs() []uint64 {
	n := d.uvarint()
	if n > uint64(len(d.data)) { // each takes an octet at least
		d.bad = true
		return nil
	}
	seqs := make([]uint64, n)
	var seq uint64
	for i := range seqs {
		seq += d.uvarint()
		seqs[i] = seq
	}
	return seqs
}

func (d *decoder) deadLetter() *DeadLetter {
	l := &DeadLetter{}
	l.Reason = d.string()
	l.Deliveries = int(min(d.uvarint(), maxAttempts))
	l.Time = time.UnixMilli(int64(d.uvarint())).UTC()
	l.Destination.Topic = d.uvarint() == 1
	l.Destination.Name = d.string()
	l.ID.Seq = d.uvarint()
	l.ID.N = d.uvarint()
	return l
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// String describes e in a line, for people who look into a journal.
func (e Entry) String() string {
	r, err := e.decode()
	if err != nil {
		return err.Error()
	}
	switch e.Kind {
	case KindStart:
		return "start"
	case KindEnqueue:
		s := fmt.Sprintf("enqueue %s %d octets", Queue(r.queue), len(r.msg.Content)) + r.msg.Props.String()
		if r.dead != nil {
			s += " " + r.dead.String()
		}
		return s
	case KindSettle:
		s := fmt.Sprintf("settle %s %d", Queue(r.queue), r.seqs)
		if r.again != 0 {
			s += fmt.Sprintf(" again since %d", r.again)
		}
		return s
	case KindMove:
		return fmt.Sprintf("move %s %d to %s %s content=%d", Queue(r.queue), r.seqs[0], Queue(r.target), r.dead, r.content)
	case KindAttempt:
		s := fmt.Sprintf("attempt %s %d attempts=%d", Queue(r.queue), r.seqs[0], r.attempts)
		if r.until != 0 {
			s += fmt.Sprintf(" until=%d", r.until)
		}
		return s
	case KindSchedule:
		s := fmt.Sprintf("schedule %s %d", Queue(r.queue), r.seqs[0])
		if r.next != 0 {
			s += fmt.Sprintf(" next=%d left=%d", r.next, r.left)
		}
		return s
	case KindDurable:
		return fmt.Sprintf("durable %s of %s%s", Queue(r.queue), Topic(r.topic), r.limits())
	case KindDedup:
		return fmt.Sprintf("dedup %s %q", r.destination(), r.id)
	case KindTake:
		return fmt.Sprintf("take %s of %d%s", Queue(r.queue), r.content, r.props)
	case KindSpill:
		return fmt.Sprintf("spill %s %d octets", Topic(r.topic), len(r.msg.Content)) + r.msg.Props.String()
	case KindForgo:
		return fmt.Sprintf("forgo %s %d", Queue(r.queue), r.seqs[0])
	default:
		return "publish " + r.targets()
	}
}

// limits are what a durable subscription does not want.
func (r *record) limits() (s string) {
	if r.noLocal {
		s += " no-local"
	}
	if r.selector != "" {
		s += " selector=" + quote(r.selector)
	}
	if r.retroactive {
		s += " retroactive"
	}
	if c := r.claim; c != (Claim{}) {
		s += fmt.Sprintf(" claim=%s/%d/%d", c.Home, c.Born, c.Number)
	}
	return s
}

// targets describes where a publish puts its message.
func (r *record) targets() (s string) {
	for _, name := range r.queues {
		s += Queue(name).String() + " "
	}
	if r.topic != "" {
		s += Topic(r.topic).String() + " "
	}
	if r.chosen {
		s += fmt.Sprintf("to %d ", r.seqs)
	}
	return s + fmt.Sprintf("%d octets", len(r.msg.Content))
}

func (d *DeadLetter) String() string {
	return fmt.Sprintf("dead reason=%s deliveries=%d from=%s id=%d.%d", d.Reason, d.Deliveries, d.Destination, d.ID.Seq, d.ID.N)
}
