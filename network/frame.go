package network

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// A frameKind says what a frame is for.
type frameKind string

const (
	frameHello    frameKind = "hello"    // to all: I am here
	frameBye      frameKind = "bye"      // to all: I am not any more
	frameDemand   frameKind = "demand"   // to all: what my consumers want, as far as that has changed
	frameWant     frameKind = "want"     // I lack a part of your demand: tell all of it
	frameHold     frameKind = "hold"     // keep this batch, or a part of it, out of sight
	frameHeld     frameKind = "held"     // I do, and it is durable
	frameRefused  frameKind = "refused"  // I do not, and why
	frameRelease  frameKind = "release"  // it is yours
	frameReleased frameKind = "released" // it is in its queue, and durable
	frameDrop     frameKind = "drop"     // it is not
	frameAsk      frameKind = "ask"      // I hold this: whose is it?
	framePublish  frameKind = "publish"  // messages for the subscribers of a topic
)

// A frame is what one broker says to another, or to all of its network.
type frame struct {
	Kind        frameKind `json:"k"`
	From        string    `json:"f"` // member
	Incarnation string    `json:"i"` // of From: another one after each start and takeover
	Transfer    string    `json:"t,omitempty"`
	Queue       string    `json:"q,omitempty"`
	Topic       string    `json:"b,omitempty"` // of a publish
	Messages    int       `json:"n,omitempty"`
	Head        int       `json:"h,omitempty"` // of a hold: octets of the header lines of its note
	Persistent  bool      `json:"d,omitempty"` // some of the batch is
	Part        int       `json:"p,omitempty"` // of a hold, from 0
	Parts       int       `json:"o,omitempty"`
	Reason      string    `json:"r,omitempty"`
	After       string    `json:"u,omitempty"` // of a release: not before this one, if that is held
	Life        string    `json:"l,omitempty"` // of a drop or a demand: whose data the sender has
	Version     uint64    `json:"v,omitempty"` // of a demand: after it; of a hello or released: of what was told last
	Full        bool      `json:"a,omitempty"` // of a demand: what is not in it up to Done is none
	Mode        Mode      `json:"m,omitempty"` // of a hello
	Done        bool      `json:"z,omitempty"`
	Demand      []demand  `json:"e,omitempty"`

	body   []byte // of a hold: that part of the note with the batch; of a publish: all of it
	buffer []byte // with room for the head, and then the body; nil: the body is elsewhere
}

// frameRoom is what a head usually takes less than.
const frameRoom = 512

// A demand is what the consumers of one broker want of one queue; of a topic, only
// whether there are some.
type demand struct {
	Queue     string   `json:"q,omitempty"`
	Topic     string   `json:"b,omitempty"` // perhaps with wildcards
	Consumers int      `json:"c"`           // 0: there is none any more
	Window    int      `json:"w,omitempty"` // messages that they may have in flight
	Free      int      `json:"f,omitempty"` // of these, how many more they could take now
	Ready     int      `json:"r,omitempty"` // messages that wait for them already
	Selectors []string `json:"s,omitempty"` // nil: everything
	Durable   *durable `json:"d,omitempty"` // it is of this durable subscription; nil: of none
}

// encode is the length of the head, the head as JSON, and the body: in its buffer,
// where it has one.
func (f *frame) encode() []byte {
	head, err := json.Marshal(f)
	if err != nil {
		panic("BUG: a frame cannot be written: " + err.Error())
	}
	if start := frameRoom - 4 - len(head); start >= 0 && f.buffer != nil {
		b := f.buffer[start:]
		binary.BigEndian.PutUint32(b, uint32(len(head)))
		copy(b[4:], head)
		return b
	}
	b := make([]byte, 0, 4+len(head)+len(f.body))
	b = binary.BigEndian.AppendUint32(b, uint32(len(head)))
	b = append(b, head...)
	return append(b, f.body...)
}

// decodeFrame reads what encode made. The body shares memory with b.
func decodeFrame(b []byte) (f frame, err error) {
	if len(b) < 4 || int64(binary.BigEndian.Uint32(b)) > int64(len(b)-4) {
		return f, fmt.Errorf("a frame of %d octets is cut short", len(b))
	}
	n := int(binary.BigEndian.Uint32(b))
	if err := json.Unmarshal(b[4:4+n], &f); err != nil {
		return f, fmt.Errorf("the head of a frame: %w", err)
	}
	f.body = b[4+n:]
	return f, nil
}
