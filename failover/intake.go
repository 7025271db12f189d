package failover

import (
	"fmt"
	"slices"
)

const (
	intakeBytes = 512 << 10 // of a buffer: what one read takes at most, and some frames
	usedBytes   = 16 << 20  // of buffers that are kept until what lies in them is settled

	betweenBytes = 1 + maxSignals*signalFrameBytes // of signals within a frame
)

// An intake cuts what is read into frames. A frame is accepted where it was read: records are written to the journal from
// there. So a buffer is used again only when what lies in it is settled. The signals within a long frame are accepted as they
// come, and the gaps that they leave are closed.
type intake struct {
	stream     Stream
	buf        []byte
	start, end int // of what was read and is not accepted
	parted     int // octets of the frame at start before the last signals within it
	used       []usedBuffer
	kept       int // octets of used
}

type usedBuffer struct {
	buf  []byte
	mark uint64
}

// room is where to read to.
func (in *intake) room() []byte {
	if in.start == in.end && in.stream.settled(in.stream.mark()) {
		in.start, in.end = 0, 0
	}
	need := frameHeaderBytes
	if in.end-in.start >= frameHeaderBytes {
		need, _ = frameSize(in.buf[in.start:]) // took has checked it
	}
	if need > partBytes {
		need += betweenBytes
	}
	if len(in.buf)-in.start < need || in.end == len(in.buf) {
		in.turn(need)
	}
	return in.buf[in.end:min(len(in.buf), in.end+intakeBytes)]
}

// turn goes on in another buffer, where need octets fit.
func (in *intake) turn(need int) {
	rest := in.buf[in.start:in.end]
	next := in.another(need)
	if len(in.buf) > 0 && in.kept+len(in.buf) <= usedBytes {
		in.used = append(in.used, usedBuffer{in.buf, in.stream.mark()})
		in.kept += len(in.buf)
	}
	in.buf, in.start, in.end = next, 0, copy(next, rest)
}

// another is a buffer for need octets: the oldest that is large enough, or a new one.
func (in *intake) another(need int) []byte {
	for i, u := range in.used {
		if !in.stream.settled(u.mark) {
			break
		}
		if len(u.buf) >= need {
			in.used = slices.Delete(in.used, i, i+1)
			in.kept -= len(u.buf)
			return u.buf
		}
	}
	return make([]byte, max(need, intakeBytes))
}

// took accepts the frames that are whole after n octets more.
func (in *intake) took(n int) error {
	in.end += n
	for in.end-in.start >= frameHeaderBytes {
		size, err := frameSize(in.buf[in.start:])
		if err != nil {
			return err
		}
		if whole, err := in.hear(size); err != nil || !whole {
			return err
		}
		if err := in.stream.Accept(in.buf[in.start : in.start+size : in.start+size]); err != nil {
			return err
		}
		in.start, in.parted = in.start+size, 0
	}
	return nil
}

// hear takes the signals out that have come within the frame of size octets that is being read, and says whether that is whole.
func (in *intake) hear(size int) (whole bool, err error) {
	for in.parted+partBytes < size {
		at := in.start + in.parted + partBytes
		if in.end <= at {
			return false, nil
		}
		if n := int(in.buf[at]); n > maxSignals {
			return false, fmt.Errorf("%d signals come within a frame, the most is %d", n, maxSignals)
		}
		after := at + 1 + int(in.buf[at])*signalFrameBytes
		if in.end < after {
			return false, nil
		}
		for b := in.buf[at+1 : after]; len(b) > 0; b = b[signalFrameBytes:] {
			if !kind(b[4]).isSignal() {
				return false, fmt.Errorf("a %s comes within a frame", kind(b[4]))
			}
			if err := in.stream.Accept(b[:signalFrameBytes]); err != nil {
				return false, err
			}
		}
		in.end = at + copy(in.buf[at:], in.buf[after:in.end])
		in.parted += partBytes
		in.stream.coming()
	}
	return in.end-in.start >= size, nil
}
