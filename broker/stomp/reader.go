package stomp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
)

// maxEmptyReads is how often a source may return nothing and no error before it counts as broken.
const maxEmptyReads = 100

// Reader reads frames from a byte stream. It is for one goroutine.
type Reader struct {
	src     io.Reader
	lazy    LazyReader // src, if it is one
	lend    func() []byte
	unlend  func()
	version Version
	limits  Limits
	server  bool

	// The buffer: buf[start:end] is the frame being read and what follows it; before pos it is parsed, and the
	// scanned bytes after pos hold no end of what is looked for.
	space                    *space // nil while nothing is buffered
	buf                      []byte
	start, pos, scanned, end int

	stage     stage
	headers   int // from start: where the header lines begin
	checked   int // from start: before it the headers hold no NUL
	bodyBytes int // length of the body, -1 if only its NUL tells
	frames    [2]Frame
	current   int  // in frames: the frame that Next returned last; the other one is being read
	ready     bool // the other one is complete

	err     error // for ever
	readErr error // of the source, due when everything before it is parsed
}

// stage is the part of a frame that comes next.
type stage uint8

const (
	betweenFrames stage = iota
	inCommand
	inHeaders
	inBody
)

// NewReader returns a Reader of the frames that clients send in version v, within the limits l. CONNECT, STOMP and
// CONNECTED are read alike in all versions. If src is a [LazyReader], the Reader holds no memory while it waits with
// nothing buffered.
func NewReader(src io.Reader, v Version, l Limits) *Reader {
	r := &Reader{src: src, version: v, limits: l}
	if lazy, ok := src.(LazyReader); ok {
		r.lazy, r.lend, r.unlend = lazy, r.borrow, r.giveBack
	}
	return r
}

// AcceptServerFrames makes the Reader take CONNECTED, MESSAGE, RECEIPT and ERROR too, and returns it.
func (r *Reader) AcceptServerFrames() *Reader {
	r.server = true
	return r
}

// SetVersion sets the version from the next frame on. Call it before Buffered or Next looks at that frame.
func (r *Reader) SetVersion(v Version) { r.version = v }

// SetLimits sets the limits from the next frame on. Call it before Buffered or Next looks at that frame.
func (r *Reader) SetLimits(l Limits) { r.limits = l }

// Next returns the next frame; it blocks until one is complete. The frame before it is gone then.
//
// It returns io.EOF at the end of the stream between frames, io.ErrUnexpectedEOF within one, a *ProtocolError for what
// breaks the protocol or a limit, and otherwise the error of the source as it is. After a timeout Next may be called
// again and goes on where it was; any other error is final.
func (r *Reader) Next() (*Frame, error) {
	r.frames[r.current].free()
	for !r.Buffered() {
		r.fill()
	}
	switch {
	case r.ready:
		r.ready = false
		r.current = 1 - r.current
		return &r.frames[r.current], nil
	case r.err != nil:
		r.giveBack()
		return nil, r.err
	}
	return nil, r.sourceError()
}

// Buffered reports whether Next will return, a frame or an error, without reading from the source. The frame that Next
// returned last stays valid.
func (r *Reader) Buffered() bool {
	for !r.ready && r.err == nil {
		advanced, err := r.advance()
		if err != nil {
			r.err = r.withReceipt(err)
		} else if !advanced {
			return r.readErr != nil
		}
	}
	return true
}

// InFrame reports whether something has come that is not complete, a frame or half a line end between frames: the source
// is asked for the rest of it.
func (r *Reader) InFrame() bool { return r.stage != betweenFrames || r.end > r.pos }

// Release gives the memory back; the Reader and its last frame are of no use then. Next returns [ErrReleased].
func (r *Reader) Release() {
	r.ready = false
	r.err = ErrReleased
	r.giveBack()
}

// frame returns the frame being read.
func (r *Reader) frame() *Frame { return &r.frames[1-r.current] }

// sourceError takes the error of the source. Any but a timeout is final.
func (r *Reader) sourceError() error {
	err := r.readErr
	r.readErr = nil
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	if err == io.EOF && !r.idle() {
		err = io.ErrUnexpectedEOF
	}
	r.err = err
	r.giveBack()
	return err
}

// idle reports whether nothing of a next frame has come.
func (r *Reader) idle() bool { return r.stage == betweenFrames && r.start == r.end }

// fill reads from the source once and leaves more bytes or readErr.
func (r *Reader) fill() {
	for range maxEmptyReads {
		n, err := r.read()
		r.readErr = err
		if n > 0 || err != nil {
			return
		}
	}
	r.readErr = io.ErrNoProgress
}

func (r *Reader) read() (int, error) {
	if r.idle() {
		r.giveBack()
		if r.lazy != nil {
			return r.readLazy()
		}
	}
	room, filled := r.room()
	n, err := r.src.Read(room)
	*filled += n
	return n, err
}

func (r *Reader) readLazy() (int, error) {
	n, err := r.lazy.ReadLazy(r.lend, r.unlend)
	if n == 0 {
		r.giveBack()
	}
	r.end += n
	return n, err
}

// advance parses the next part of the frame being read; false if more bytes are needed for it.
func (r *Reader) advance() (bool, error) {
	switch r.stage {
	case betweenFrames:
		return r.skipEOLs()
	case inCommand:
		return r.readCommand()
	case inHeaders:
		return r.readHeaders()
	default:
		return r.readBody()
	}
}

// skipEOLs passes over the line ends between frames, which are heart-beats too.
func (r *Reader) skipEOLs() (bool, error) {
	for ; r.pos < r.end; r.pos++ {
		r.start = r.pos
		switch c := r.buf[r.pos]; {
		case c == '\n':
			r.start++
		case c != '\r':
			r.begin()
			return true, nil
		case r.pos+1 == r.end:
			return false, nil
		case r.buf[r.pos+1] != '\n':
			return false, protocolError("CR without LF between frames")
		}
	}
	return false, nil
}

// begin starts a frame at pos.
func (r *Reader) begin() {
	f := r.frame()
	f.version = r.version
	f.parts = &r.space.parts[1-r.current]
	f.parts.reset()
	r.stage, r.scanned = inCommand, 0
}

// lineEnd returns the position of the LF that ends the line at pos; false if it has not come.
func (r *Reader) lineEnd() (int, bool) {
	from := r.pos + r.scanned
	i := bytes.IndexByte(r.buf[from:r.end], '\n')
	if i < 0 {
		r.scanned = r.end - r.pos
		return r.end, false
	}
	return from + i, true
}

// passLine goes on after the line that ends with the LF at the position end.
func (r *Reader) passLine(end int) { r.pos, r.scanned = end+1, 0 }

func cutCR(text []byte) []byte {
	if n := len(text); n > 0 && text[n-1] == '\r' {
		return text[:n-1]
	}
	return text
}

func (r *Reader) readCommand() (bool, error) {
	end, complete := r.lineEnd()
	text := cutCR(r.buf[r.pos:end])
	if len(text) > maxCommandBytes {
		return false, protocolError("command line is longer than %d bytes", maxCommandBytes)
	}
	if !complete {
		return false, nil
	}
	r.passLine(end)
	f := r.frame()
	f.Command = parseCommand(text)
	switch {
	case f.Command == 0:
		return false, unknownCommand(text)
	case f.Command.fromServer() && !r.server:
		return false, protocolError("%s is not a command of clients", f.Command)
	case f.Command.connects():
		f.version = verbatim
	}
	r.headers = r.pos - r.start
	r.checked = r.headers
	r.stage = inHeaders
	return true, nil
}

// unknownCommand names the command if it looks like one. Other noise is not repeated: it may be a secret that lost its
// place.
func unknownCommand(text []byte) error {
	for _, c := range text {
		if c < 'A' || c > 'Z' && c < 'a' || c > 'z' {
			return protocolError("what should be a command line is not one")
		}
	}
	if command := parseCommand(bytes.ToUpper(text)); command != 0 {
		return protocolError("unknown command %q; it is written %s", text, command)
	}
	return protocolError("unknown command %q", text)
}

// readHeaders reads header lines up to and with the blank line.
func (r *Reader) readHeaders() (bool, error) {
	for {
		end, complete := r.lineEnd()
		if !complete {
			return false, r.checkPartialHead()
		}
		text := r.buf[r.pos:end]
		if len(text) == 0 || len(text) == 1 && text[0] == '\r' {
			r.passLine(end)
			return true, r.endHead()
		}
		if err := r.addHeader(text); err != nil {
			return false, err
		}
		r.passLine(end)
	}
}

// checkPartialHead looks at a head that has not ended, so that a client is told of its mistake without waiting.
func (r *Reader) checkPartialHead() error {
	text := cutCR(r.buf[r.pos:r.end])
	switch {
	case len(text) > r.limits.HeaderLineBytes:
		return r.lineTooLong()
	case r.headerBytes(len(text)) > r.limits.HeaderBytes:
		return r.headTooLong()
	}
	return r.checkNUL(r.end)
}

// headerBytes returns how many bytes the header lines take with n bytes of the line at pos.
func (r *Reader) headerBytes(n int) int { return r.pos + n - r.start - r.headers }

func (r *Reader) lineTooLong() error {
	return r.broken("header line %d is longer than %d bytes", r.lineNumber(), r.limits.HeaderLineBytes)
}

// lineNumber returns the number of the header line at pos, from 1.
func (r *Reader) lineNumber() int { return len(r.frame().parts.lines) + 1 }

func (r *Reader) headTooLong() error {
	return r.broken("the headers are longer than %d bytes", r.limits.HeaderBytes)
}

// broken returns the error for the frame being read.
func (r *Reader) broken(format string, args ...any) error {
	return protocolError("%s: "+format, append([]any{r.frame().Command}, args...)...)
}

// checkNUL looks for a NUL in the head up to the position end (STOMP 1.2, "Augmented BNF": no NUL within a header).
func (r *Reader) checkNUL(end int) error {
	i := bytes.IndexByte(r.buf[r.start+r.checked:end], 0)
	if i >= 0 {
		number := bytes.Count(r.buf[r.start:r.start+r.checked+i], lf)
		return r.broken("NUL in header line %d; a blank line must end the headers", number)
	}
	r.checked = end - r.start
	return nil
}

// addHeader enters the header line text at pos, which is without its LF.
func (r *Reader) addHeader(text []byte) error {
	f := r.frame()
	whole := len(text) + 1
	if f.version.cutsCR() {
		text = cutCR(text)
	}
	i := bytes.IndexByte(text, ':')
	switch {
	case len(text) > r.limits.HeaderLineBytes:
		return r.lineTooLong()
	case r.headerBytes(whole) > r.limits.HeaderBytes:
		return r.headTooLong()
	case r.lineNumber() > r.limits.Headers:
		return r.broken("more than %d headers", r.limits.Headers)
	case i < 0:
		return r.broken("header line %d has no colon", r.lineNumber())
	case i == 0:
		return r.broken("header line %d has no name", r.lineNumber())
	}
	start := r.pos - r.start
	f.parts.lines = append(f.parts.lines, line{
		nameStart:  uint32(start),
		nameEnd:    uint32(start + i),
		valueStart: uint32(start + i + 1),
		valueEnd:   uint32(start + len(text)),
	})
	return nil
}

// endHead looks at the complete head and learns from it how the body ends.
func (r *Reader) endHead() error {
	if err := r.checkNUL(r.pos); err != nil {
		return err
	}
	f := r.frame()
	f.head = r.buf[r.start:r.pos]
	if f.trims() {
		if i := f.trim(); i >= 0 {
			return r.broken("header line %d has no name", i+1)
		}
	}
	if err := r.unescapeHead(f); err != nil {
		return err
	}
	r.stage = inBody
	return r.measureBody(f)
}

func (r *Reader) unescapeHead(f *Frame) error {
	if !f.version.escapes() || bytes.IndexByte(f.head, '\\') < 0 {
		return nil
	}
	f.parts.arena = slices.Grow(f.parts.arena, len(f.head))
	for i := range f.parts.lines {
		if bad := f.parts.unescape(i, f.head, f.version); bad != nil {
			return r.broken("undefined escape %s in header line %d, %s (STOMP %s, \"Value Encoding\")",
				quoteEscape(bad), i+1, quoteName(f.header(i).name), f.version)
		}
	}
	return nil
}

// withReceipt gives err the receipt header of the broken frame, if that has come.
func (r *Reader) withReceipt(err error) error {
	var broken *ProtocolError
	if r.stage < inHeaders || !errors.As(err, &broken) {
		return err
	}
	f := r.frame()
	for _, l := range f.parts.lines {
		if string(r.buf[r.start:][l.nameStart:l.nameEnd]) != "receipt" {
			continue
		}
		value := r.buf[r.start:][l.valueStart:l.valueEnd]
		if value, ok := AppendUnescaped(nil, value, f.version); ok {
			broken.Receipt = string(value)
		}
		break
	}
	return err
}
