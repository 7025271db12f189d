package stomp

import (
	"bytes"
	"strconv"
)

// DroppedHeader names the header that [AppendBlock] adds when it had to leave headers out; its value is their number.
// A client's own header of this name is never taken.
const DroppedHeader = "x-header-dropped"

// Form says how the header lines of a block are written, so that a copy of them is made only for readers that read the
// copy alike. It is stored beside the block on disk; its bits never change:
//
//	bits 0-1  the Version whose escapes the lines use
//	bit 2     plain: no backslash, no CR, no second colon in a line, no blank or control character at an edge of a name
//	          or value; every version reads the block alike
//	bit 3     canonical: the lines are as AppendHeader writes them in that version
//	bits 4-7  zero
//
// The zero Form is safe for any block of 1.0 lines: it makes AppendBlock encode them anew.
type Form uint8

const (
	formVersion   Form = 0b0011
	formPlain     Form = 0b0100
	formCanonical Form = 0b1000
)

// Version returns the version whose escapes the lines use.
func (f Form) Version() Version { return Version(f & formVersion) }

// Plain reports whether every version reads the block alike.
func (f Form) Plain() bool { return f&formPlain != 0 }

// Canonical reports whether the block is what we would write in its own version.
func (f Form) Canonical() bool { return f&formCanonical != 0 }

// FormOf returns the Form of a block of header lines written in version v, such as [AppendHeader] makes.
func FormOf(block []byte, v Version) Form {
	lines, blanks := 0, false
	for line := range bytes.Lines(block) {
		name, value, _ := bytes.Cut(bytes.TrimSuffix(line, lf), colon)
		lines++
		blanks = blanks || blankEdge(name) || blankEdge(value)
	}
	return formOf(block, v, lines, blanks)
}

var (
	lf    = []byte{'\n'}
	colon = []byte{':'}
)

// formOf is FormOf for one who knows the number of lines and whether blanks stand around a name or value.
func formOf(block []byte, v Version, lines int, blanks bool) Form {
	if v == verbatim {
		v = V10
	}
	moreColons := bytes.Count(block, colon) != lines
	cr := bytes.IndexByte(block, '\r') >= 0
	form := Form(v)
	switch {
	case !moreColons && !cr && !blanks && bytes.IndexByte(block, '\\') < 0:
		return form | formPlain | formCanonical
	case v == V10 && !cr && !blanks, v == V11 && !moreColons, v == V12 && !moreColons && !cr:
		return form | formCanonical
	}
	return form
}

// AppendBlock appends to dst the header lines of block, which is of the form from, as a client of version to must get
// them: copied where it reads the copy alike, otherwise decoded and encoded line by line. Lines that to cannot express
// are left out and counted in one line [DroppedHeader]: for 1.0 those with CR or LF, a colon or outer blanks in the name;
// for every version those with NUL or without a name. It appends at most 2*len(block)+40 bytes.
func AppendBlock(dst, block []byte, from Form, to Version) []byte {
	if from.Plain() || from.Canonical() && from.Version() == to {
		return append(dst, block...)
	}
	dropped := 0
	for len(block) > 0 {
		var line []byte
		line, block, _ = bytes.Cut(block, lf)
		mark := len(dst)
		var ok bool
		if dst, ok = appendLine(dst, line, from.Version(), to); !ok {
			dst = dst[:mark]
			dropped++
		}
	}
	if dropped > 0 {
		dst = append(dst, DroppedHeader...)
		dst = append(dst, ':')
		dst = strconv.AppendInt(dst, int64(dropped), 10)
		dst = append(dst, '\n')
	}
	return dst
}

// LineValue returns the value of one line, without its LF, of a block of the form from, if its header has this name. It
// allocates only for what is escaped.
func LineValue(line []byte, from Form, name string) (value []byte, ok bool) {
	head, value, found := bytes.Cut(line, colon)
	v := from.Version()
	if v.trims() {
		head, value = trimBlanks(head), trimBlanks(value)
	}
	if !found {
		return nil, false
	}
	if from.Plain() || !v.escapes() || bytes.IndexByte(line, '\\') < 0 {
		return value, string(head) == name
	}
	if head, ok = AppendUnescaped(nil, head, v); !ok || string(head) != name {
		return nil, false
	}
	return AppendUnescaped(nil, value, v)
}

// appendLine appends one line of a block in another version; ok is false if that cannot express it.
func appendLine(dst, line []byte, from, to Version) (_ []byte, ok bool) {
	name, value, found := bytes.Cut(line, colon)
	if from.trims() {
		name, value = trimBlanks(name), trimBlanks(value)
	}
	if !found || len(name) == 0 || string(name) == DroppedHeader {
		return dst, false
	}
	mark := len(dst)
	if dst, ok = appendRecoded(dst, name, from, to); !ok {
		return dst, false
	}
	if to == V10 && misread10(dst[mark:]) {
		return dst, false
	}
	dst = append(dst, ':')
	if dst, ok = appendRecoded(dst, value, from, to); !ok {
		return dst, false
	}
	return append(dst, '\n'), true
}

// misread10 reports whether a client of version 1.0 would take name for another one.
func misread10(name []byte) bool {
	return blankEdge(name) || bytes.IndexByte(name, ':') >= 0
}

// appendRecoded appends text, written in version from, as version to writes it.
func appendRecoded(dst, text []byte, from, to Version) (_ []byte, ok bool) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' && from.escapes() {
			if c, ok = unescape(text[i:], from); !ok {
				return dst, false
			}
			i++
		}
		if !special(c) {
			dst = append(dst, c)
			continue
		}
		if dst, ok = appendSpecial(dst, to, c); !ok {
			return dst, false
		}
	}
	return dst, true
}
