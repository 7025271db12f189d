package stomp

import (
	"bytes"
	"math"
)

// measureBody learns from content-length where the body of f ends (STOMP 1.2, "Header content-length").
func (r *Reader) measureBody(f *Frame) error {
	r.bodyBytes = -1
	value, ok := f.Header("content-length")
	if !ok {
		return nil
	}
	n, ok := parseLength(value)
	switch {
	case !ok:
		return r.broken("content-length %.32q is not a number of octets", value)
	case n > r.bodyLimit() && f.hasBody():
		return r.broken("content-length %.32s is more than the %d bytes allowed", value, r.bodyLimit())
	case n > r.bodyLimit():
		return r.bodyRefused()
	}
	r.bodyBytes = n
	return nil
}

// parseLength returns the number that value writes in decimal digits alone. What is more than an int holds is MaxInt,
// which is above every limit.
func parseLength(value []byte) (n int, ok bool) {
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (math.MaxInt-9)/10 {
			n = math.MaxInt
			continue
		}
		n = 10*n + int(c-'0')
	}
	return n, len(value) > 0
}

// hasBody reports whether f may have a body. That of SUBSCRIBE is read and ignored in 1.0 (STOMP 1.0, "SUBSCRIBE").
func (f *Frame) hasBody() bool { return f.Command.hasBody() || f.ignoresBody() }

func (f *Frame) ignoresBody() bool { return f.Command == CmdSubscribe && f.version == V10 }

func (r *Reader) bodyLimit() int {
	if r.frame().hasBody() {
		return r.limits.BodyBytes
	}
	return maxPaddingBytes
}

func (r *Reader) bodyRefused() error {
	return r.broken("it may not have a body")
}

func (r *Reader) readBody() (bool, error) {
	if r.bodyBytes >= 0 {
		return r.readMeasured()
	}
	return r.readUnmeasured()
}

// readMeasured reads a body of bodyBytes and the NUL after it.
func (r *Reader) readMeasured() (bool, error) {
	left := r.bodyBytes - r.frame().parts.body.n
	came := min(left, r.end-r.pos)
	if err := r.checkPadding(r.buf[r.pos : r.pos+came]); err != nil {
		return false, err
	}
	if r.end-r.pos <= left {
		return false, nil
	}
	if c := r.buf[r.pos+left]; c != 0 {
		return false, r.broken("octet 0x%02x instead of NUL after the %d octets of content-length", c, r.bodyBytes)
	}
	r.finish(left)
	return true, nil
}

// readUnmeasured reads a body up to the first NUL.
func (r *Reader) readUnmeasured() (bool, error) {
	fresh := r.buf[r.pos+r.scanned : r.end]
	i := bytes.IndexByte(fresh, 0)
	if i >= 0 {
		fresh = fresh[:i]
	}
	if err := r.checkPadding(fresh); err != nil {
		return false, err
	}
	r.scanned += len(fresh)
	if r.frame().parts.body.n+r.scanned > r.bodyLimit() {
		return false, r.broken("its body is longer than %d bytes", r.bodyLimit())
	}
	if i < 0 {
		return false, nil
	}
	r.finish(r.scanned)
	return true, nil
}

// checkPadding refuses a body where none may be. Line ends before the NUL are taken for none: clients write them.
func (r *Reader) checkPadding(text []byte) error {
	if r.frame().hasBody() {
		return nil
	}
	for _, c := range text {
		if c != '\n' && c != '\r' {
			return r.bodyRefused()
		}
	}
	return nil
}

// finish completes the frame with the n bytes of body at pos and the NUL after them.
func (r *Reader) finish(n int) {
	f := r.frame()
	f.head = r.buf[r.start:r.pos:r.pos]
	body := r.buf[r.pos : r.pos+n : r.pos+n]
	if f.parts.body.n > 0 {
		f.parts.body.write(body)
		body = f.parts.body.join()
	}
	if f.Command.hasBody() {
		f.Body = body
	}
	r.pos += n + 1
	r.start, r.scanned = r.pos, 0
	r.stage, r.ready = betweenFrames, true
}
