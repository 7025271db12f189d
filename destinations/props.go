package destinations

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// Props are what a message asks for beyond being delivered. Most messages have
// none. Like the rest of a Message they never change after Step was given them;
// what Step resolves, it puts into Props of its own.
type Props struct {
	Priority uint8  // 0 to 9, higher first; see DefaultPriority
	Expires  int64  // Unix ms when it is of no use any more; 0: never
	Deliver  int64  // Unix ms when it may be delivered first; 0: at once
	Delay    int64  // ms from Step's now, or with Cron from each of its times, that Step resolves into Deliver; 0: none
	TTL      int64  // ms from Step's now, that Step resolves into Expires; 0: none
	Period   int64  // ms from one copy to the next of a message that repeats; without Deliver, Delay and Cron, also until the first
	Repeat   int32  // how many copies follow the first; with Cron, how many follow each of its times
	Cron     string // a copy comes at each of these times, see CheckCron; empty: none
	Group    string // JMSXGroupID: those of a group go to one consumer, in order; empty: none
	GroupSeq int32  // JMSXGroupSeq; negative: the group is closed after it
	DedupID  string // those with an id that was seen lately are accepted and dropped; empty: none
	Key      string // of a last-value queue; empty: none

	// Job is the machine's: what the message was called while it waited for its
	// time, unless what came shares its content; see Delivery.Job.
	Job   MessageID
	topic string // where the message was published, if something but a subscriber that was there took it; not stored here

	// What Step notes of a message that a topic keeps, and of one that waits to be
	// published.
	Sent   int64  // Unix ms when it was kept
	Client string // the client-id of who sent it; empty where no durable subscription can have it
	sender uint64 // the session that sent it, see Machine.sentBy; in images only
}

// DefaultPriority is that of a message without Props.
const DefaultPriority = 4

// MaxPriority is the highest one.
const MaxPriority = 9

// MaxPropBytes bounds each string in Props.
const MaxPropBytes = 512

// Longest bounds each duration in Props, in a Consumer and in a Refusal, and the
// delays before redeliveries, so that times can be added up.
const Longest = 10 * 365 * 24 * time.Hour

// level is where the message goes in a queue: its priority, unless it waits for
// its time.
func (m *Message) level() uint8 {
	switch {
	case m.Props == nil:
		return DefaultPriority
	case m.Props.Deliver != 0:
		return levelWaiting
	}
	return m.Props.Priority
}

// later says that p asks for a delivery that is not at once. It may yet be that its
// time has passed.
func (p *Props) later() bool {
	return p != nil && (p.Deliver != 0 || p.Delay != 0 || p.Cron != "" || p.Period != 0)
}

// waits says what of p must be known of a message while it waits, when its
// content is only in the log: nil if that is nothing. Its priority is where it
// waits.
func (p *Props) waits() *Props {
	switch {
	case p == nil || p.Expires == 0 && p.Deliver == 0 && p.Group == "" && p.Key == "":
		return nil
	case p.DedupID == "" && (p.Cron == "" && p.Client == "" || p.Deliver != 0):
		return p
	}
	waits := *p
	waits.DedupID = ""
	if p.Deliver == 0 {
		waits.Cron, waits.Client = "", ""
	}
	return &waits
}

// waiting is what a message with p has in a queue beyond what all have, nil if that
// is nothing.
func (p *Props) waiting() *extra { return p.waits().extra() }

// extra is what a message has in a queue of which p matters there.
func (p *Props) extra() *extra {
	if p == nil {
		return nil
	}
	return &extra{props: p}
}

// noteClient notes who sent a message. A client-id that is too long for a durable
// subscription is not needed.
func (p *Props) noteClient(id string) {
	if p.Client = id; len(id) > maxDurableBytes {
		p.Client = ""
	}
}

// sentBy is the session that sent a message which a topic keeps, or which waits to
// be published; 0: one that has ended, for that was before the start.
func (m *Machine) sentBy(at ref) uint64 {
	if s := at.slot(); s.stored() && s.seq < m.start {
		return 0
	}
	return at.props().sender
}

// textBytes is what the texts of p take in memory.
func (p *Props) textBytes() int64 {
	if p == nil {
		return 0
	}
	return int64(len(p.Cron) + len(p.Group) + len(p.DedupID) + len(p.Key) + len(p.Client))
}

// waitingBytes bounds what must be in memory of a message with p, wherever its
// content is.
func (p *Props) waitingBytes() int64 {
	if p == nil {
		return 0
	}
	n := p.textBytes()
	if p.Delay > 0 || p.Deliver > 0 || p.Cron != "" {
		n += waitBytes
	}
	return n
}

// bury is what is still worth knowing of p in a dead-letter queue, where nothing
// of it has an effect: when the message expired, or would have, and its Job.
func (p *Props) bury() *Props {
	if p == nil || p.Expires == 0 && p.Job == (MessageID{}) {
		return nil
	}
	return &Props{Priority: DefaultPriority, Expires: p.Expires, Job: p.Job}
}

// unpublished is p for another topic.
func (p *Props) unpublished() *Props {
	if p == nil || p.topic == "" {
		return p
	}
	other := *p
	if other.topic = ""; other.fields() == 0 {
		return nil
	}
	return &other
}

// stored says that there is something in p to store.
func (p *Props) stored() bool { return p != nil && p.fields() != 0 }

// headBytes bounds what p takes in the head of an entry.
func (p *Props) headBytes() int64 {
	if p == nil {
		return 0
	}
	return 15*binary.MaxVarintLen64 + p.textBytes()
}

// The fields of Props as they are stored: a bit each. What is resolved is not
// there.
const (
	propPriority = 1 << iota
	propExpires
	propDeliver
	propPeriod
	propRepeat
	propCron
	propGroup
	propGroupSeq
	propDedupID
	propKey
	propDelay
	propJob // its Seq and N
	propSent
	propClient
	propsEnd
)

// fields says which of p differ from those of a message without Props.
func (p *Props) fields() (set uint64) {
	add := func(is bool, field uint64) {
		if is {
			set |= field
		}
	}
	add(p.Priority != DefaultPriority, propPriority)
	add(p.Expires != 0, propExpires)
	add(p.Deliver != 0, propDeliver)
	add(p.Period != 0, propPeriod)
	add(p.Repeat != 0, propRepeat)
	add(p.Cron != "", propCron)
	add(p.Group != "", propGroup)
	add(p.GroupSeq != 0, propGroupSeq)
	add(p.DedupID != "", propDedupID)
	add(p.Key != "", propKey)
	add(p.Delay != 0 && p.Cron != "", propDelay)
	add(p.Job != MessageID{}, propJob)
	add(p.Sent != 0, propSent)
	add(p.Client != "", propClient)
	return set
}

// encode appends which fields p has, and those in their order: numbers that may
// be negative in zigzag, times in Unix ms.
func (p *Props) encode(dst []byte) []byte {
	set := p.fields()
	dst = binary.AppendUvarint(dst, set)
	number := func(field uint64, v int64) {
		if set&field != 0 {
			dst = binary.AppendVarint(dst, v)
		}
	}
	text := func(field uint64, s string) {
		if set&field != 0 {
			dst = appendString(dst, s)
		}
	}
	number(propPriority, int64(p.Priority))
	number(propExpires, p.Expires)
	number(propDeliver, p.Deliver)
	number(propPeriod, p.Period)
	number(propRepeat, int64(p.Repeat))
	text(propCron, p.Cron)
	text(propGroup, p.Group)
	number(propGroupSeq, int64(p.GroupSeq))
	text(propDedupID, p.DedupID)
	text(propKey, p.Key)
	number(propDelay, p.Delay)
	number(propJob, int64(p.Job.Seq))
	number(propJob, int64(p.Job.N))
	number(propSent, p.Sent)
	text(propClient, p.Client)
	return dst
}

// props reads what encode wrote into p. Unless it keeps them, texts are only
// checked; it returns their octets.
func (d *decoder) props(p *Props, keep bool) (textBytes int64) {
	set := d.uvarint()
	d.bad = d.bad || set >= propsEnd
	number := func(field uint64, least, most, otherwise int64) int64 {
		if set&field == 0 {
			return otherwise
		}
		v := d.varint()
		d.bad = d.bad || v < least || v > most
		return v
	}
	text := func(field uint64) string {
		if set&field == 0 {
			return ""
		}
		b := d.octets()
		d.bad = d.bad || len(b) > MaxPropBytes
		textBytes += int64(len(b))
		if !keep {
			return ""
		}
		return string(b)
	}
	const most32, most = 1<<31 - 1, 1<<63 - 1
	p.Priority = uint8(number(propPriority, 0, MaxPriority, DefaultPriority))
	p.Expires = number(propExpires, 0, most, 0)
	p.Deliver = number(propDeliver, 0, most, 0)
	p.Period = number(propPeriod, 0, most, 0)
	p.Repeat = int32(number(propRepeat, -1, most32, 0))
	p.Cron = text(propCron)
	p.Group = text(propGroup)
	p.GroupSeq = int32(number(propGroupSeq, -most32-1, most32, 0))
	p.DedupID = text(propDedupID)
	p.Key = text(propKey)
	p.Delay = number(propDelay, 0, most, 0)
	p.Job.Seq = uint64(number(propJob, 0, most, 0))
	p.Job.N = uint64(number(propJob, 0, most, 0))
	p.Sent = number(propSent, 0, most, 0)
	p.Client = text(propClient)
	return textBytes
}

// String lists what p has, each with a space before it.
func (p *Props) String() string {
	if p == nil {
		return ""
	}
	var b strings.Builder
	set := p.fields()
	add := func(field uint64, name string, v any) {
		if set&field != 0 {
			fmt.Fprintf(&b, " %s=%v", name, v)
		}
	}
	add(propPriority, "priority", p.Priority)
	add(propExpires, "expires", p.Expires)
	add(propDeliver, "deliver", p.Deliver)
	add(propPeriod, "period", p.Period)
	add(propRepeat, "repeat", p.Repeat)
	add(propCron, "cron", quote(p.Cron))
	add(propGroup, "group", quote(p.Group))
	add(propGroupSeq, "group-seq", p.GroupSeq)
	add(propDedupID, "dedup", quote(p.DedupID))
	add(propKey, "key", quote(p.Key))
	add(propDelay, "delay", p.Delay)
	add(propJob, "job", fmt.Sprintf("%d.%d", p.Job.Seq, p.Job.N))
	add(propSent, "sent", p.Sent)
	add(propClient, "client", quote(p.Client))
	return b.String()
}
