package stomp

import (
	"bytes"
	"hash/maphash"
	"iter"
	"slices"
)

// Frame is one frame as it came. It and all that its methods return stay valid until the next call of [Reader.Next].
type Frame struct {
	Command Command
	Body    []byte // empty for a frame that has none

	version Version
	head    []byte // command line, header lines and blank line
	parts   *parts // nil in a frame that is gone
}

// free forgets the frame.
func (f *Frame) free() {
	if f.parts != nil {
		f.parts.body.free()
	}
	*f = Frame{}
}

// Header returns the value of the first header called name, decoded as the version asks; ok tells an empty value from
// none (STOMP 1.2, "Repeated Header Entries").
func (f *Frame) Header(name string) (value []byte, ok bool) {
	if f.parts == nil {
		return nil, false
	}
	for i := range f.parts.lines {
		l := &f.parts.lines[i]
		if l.decoded != 0 {
			if h := f.parts.decoded[l.decoded-1]; string(h.name) == name {
				return h.value, true
			}
			continue
		}
		if int(l.nameEnd-l.nameStart) == len(name) && string(f.head[l.nameStart:l.nameEnd]) == name {
			return f.head[l.valueStart:l.valueEnd:l.valueEnd], true
		}
	}
	return nil, false
}

// Headers yields the decoded names and values in the order they came, repeated ones included.
func (f *Frame) Headers() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for i := range f.lines() {
			h := f.header(i)
			if !yield(h.name, h.value) {
				return
			}
		}
	}
}

// HeaderBytes returns an upper bound of what [Frame.AppendHeaders] appends.
func (f *Frame) HeaderBytes() int { return len(f.head) }

// AppendHeaders appends the header lines to dst as the bytes that came, each ended by LF alone, and says how they are
// written. Of repeated headers only the first is taken, and none of those for which drop returns true; drop gets the
// decoded name and may be nil.
func (f *Frame) AppendHeaders(dst []byte, drop func(name []byte) bool) ([]byte, Form) {
	if f.parts == nil {
		return dst, formOf(nil, f.version, 0, false)
	}
	few := len(f.parts.lines) <= fewLines
	if !few {
		f.parts.clearSeen()
	}
	from, lines, blanks := len(dst), 0, false
	for i, l := range f.parts.lines {
		name := f.header(i).name
		if string(name) == DroppedHeader || drop != nil && drop(name) || few && f.repeatsOf(i, name) || !few && f.repeats(i, name) {
			continue
		}
		rawName, rawValue := f.head[l.nameStart:l.nameEnd], f.head[l.valueStart:l.valueEnd]
		dst = append(dst, rawName...)
		dst = append(dst, ':')
		dst = append(dst, rawValue...)
		dst = append(dst, '\n')
		lines++
		blanks = blanks || blankEdge(rawName) || blankEdge(rawValue)
	}
	return dst, formOf(dst[from:], f.version, lines, blanks)
}

// fewLines is up to how many lines each is compared with all before it.
const fewLines = 8

// repeatsOf reports whether a line before line i has the same name.
func (f *Frame) repeatsOf(i int, name []byte) bool {
	for k := range i {
		if bytes.Equal(f.header(k).name, name) {
			return true
		}
	}
	return false
}

// hashSeed keeps clients from choosing names that collide.
var hashSeed = maphash.MakeSeed()

// repeats reports whether one of the lines it was asked about before has the same name, and remembers line i otherwise.
func (f *Frame) repeats(i int, name []byte) bool {
	seen := f.parts.seen
	mask := uint64(len(seen) - 1)
	slot := maphash.Bytes(hashSeed, name) & mask
	for seen[slot] != 0 {
		if bytes.Equal(f.header(int(seen[slot]-1)).name, name) {
			return true
		}
		slot = (slot + 1) & mask
	}
	seen[slot] = uint32(i + 1)
	return false
}

func (f *Frame) lines() []line {
	if f.parts == nil {
		return nil
	}
	return f.parts.lines
}

// header returns the decoded header of line i.
func (f *Frame) header(i int) header {
	l := &f.parts.lines[i]
	if l.decoded != 0 {
		return f.parts.decoded[l.decoded-1]
	}
	return header{f.head[l.nameStart:l.nameEnd:l.nameEnd], f.head[l.valueStart:l.valueEnd:l.valueEnd]}
}

// trims reports whether blanks around names and values are cut: in 1.0, which a client speaks, too, that names no version
// when it connects.
func (f *Frame) trims() bool {
	if f.version != verbatim {
		return f.version.trims()
	}
	_, accepts := f.Header("accept-version")
	_, chosen := f.Header("version")
	return !accepts && !chosen
}

// trim cuts the blanks around names and values; it returns the line, from 0, that is left without a name, or -1.
func (f *Frame) trim() int {
	for i := range f.parts.lines {
		l := &f.parts.lines[i]
		l.trim(f.head)
		if l.nameStart == l.nameEnd {
			return i
		}
	}
	return -1
}

func (l *line) trim(head []byte) {
	l.nameStart, l.nameEnd = trimSpan(head, l.nameStart, l.nameEnd)
	l.valueStart, l.valueEnd = trimSpan(head, l.valueStart, l.valueEnd)
}

func trimSpan(head []byte, start, end uint32) (uint32, uint32) {
	for start < end && blank(head[start]) {
		start++
	}
	for start < end && blank(head[end-1]) {
		end--
	}
	return start, end
}

// parts is where the parts of a frame lie that the buffer does not show.
type parts struct {
	lines   []line
	arena   []byte // decoded names and values
	decoded []header
	seen    []uint32 // hash table of names: number of the line, from 1
	body    spill
}

// line is one header line: where its name and value lie, from the start of the frame, blanks and line end excluded.
type line struct {
	nameStart, nameEnd, valueStart, valueEnd uint32
	decoded                                  int32 // in parts.decoded, from 1; 0: as it stands
}

type header struct{ name, value []byte }

func (p *parts) reset() {
	p.lines = p.lines[:0]
	p.arena = p.arena[:0]
	p.decoded = p.decoded[:0]
}

// unescape decodes the header of line i, which lies in head. The arena has the room, so that what is in it stays there.
func (p *parts) unescape(i int, head []byte, v Version) (undefined []byte) {
	l := &p.lines[i]
	name, value := head[l.nameStart:l.nameEnd], head[l.valueStart:l.valueEnd]
	if bytes.IndexByte(name, '\\') < 0 && bytes.IndexByte(value, '\\') < 0 {
		return nil
	}
	for _, text := range [...][]byte{name, value} {
		if undefined = undefinedEscape(text, v); undefined != nil {
			return undefined
		}
	}
	from := len(p.arena)
	p.arena, _ = AppendUnescaped(p.arena, name, v)
	middle := len(p.arena)
	p.arena, _ = AppendUnescaped(p.arena, value, v)
	p.decoded = append(p.decoded, header{p.arena[from:middle:middle], p.arena[middle:len(p.arena):len(p.arena)]})
	l.decoded = int32(len(p.decoded))
	return nil
}

// clearSeen makes the hash table empty, and large enough for all lines to stay half empty.
func (p *parts) clearSeen() {
	size := 4
	for size < 2*len(p.lines) {
		size *= 2
	}
	p.seen = slices.Grow(p.seen[:0], size)[:size]
	clear(p.seen)
}
