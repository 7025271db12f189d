package bridge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-stomp/stomp/v3/frame"
)

const (
	maxLineBytes   = 64 << 10 // of a command or header
	maxHeaderBytes = 1 << 20  // of all headers of a frame
	maxHeaders     = 1000
)

// A reader reads the frames of a broker, within limits.
type reader struct {
	in      *bufio.Reader
	maxBody int
}

func newReader(from io.Reader, maxBody int) *reader {
	return &reader{in: bufio.NewReaderSize(from, maxLineBytes), maxBody: maxBody}
}

// next reads a frame. Heart-beats before it are skipped.
func (r *reader) next() (*frame.Frame, error) {
	command := ""
	for command == "" {
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		command = string(line)
	}
	switch command {
	case frame.MESSAGE, frame.RECEIPT, frame.ERROR, frame.CONNECTED:
	default:
		return nil, fmt.Errorf("%.40q is no frame of STOMP", command)
	}
	f := frame.New(command)
	if err := r.headers(f); err != nil {
		return nil, fmt.Errorf("headers of %s: %w", command, err)
	}
	body, err := r.body(f)
	if err != nil {
		return nil, fmt.Errorf("body of %s: %w", command, err)
	}
	f.Body = body
	return f, nil
}

// line is the next one without its end, valid until the next read.
func (r *reader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("a line is longer than %d octets", maxLineBytes)
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'}), err
}

func (r *reader) headers(f *frame.Frame) error {
	octets := 0
	for {
		line, err := r.line()
		if err != nil || len(line) == 0 {
			return err
		}
		if octets += len(line); octets > maxHeaderBytes || f.Header.Len() == maxHeaders {
			return fmt.Errorf("more than %d headers or %d octets", maxHeaders, maxHeaderBytes)
		}
		name, value, ok := strings.Cut(string(line), ":")
		if !ok || name == "" {
			return fmt.Errorf("%.40q is no header", line)
		}
		if f.Command != frame.CONNECTED { // STOMP 1.2, "Value Encoding"
			name, value = unescaper.Replace(name), unescaper.Replace(value)
		}
		f.Header.Add(name, value)
	}
}

var unescaper = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\c`, ":", `\\`, `\`)

// body reads as much as content-length says, or else up to the first NUL (STOMP 1.2, "Body").
func (r *reader) body(f *frame.Frame) ([]byte, error) {
	length, ok := f.Header.Contains(frame.ContentLength)
	if !ok {
		return r.untilNUL()
	}
	n, err := strconv.ParseUint(length, 10, 63)
	if err != nil || n > uint64(r.maxBody) {
		return nil, fmt.Errorf("content-length %.40q: want at most %d", length, r.maxBody)
	}
	// Memory is taken as octets come, and not because a length was named.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r.in, int64(n)); err != nil {
		return nil, err
	}
	if end, err := r.in.ReadByte(); err != nil || end != 0 {
		return nil, errors.Join(err, errors.New("it does not end with NUL"))
	}
	return body.Bytes(), nil
}

func (r *reader) untilNUL() (body []byte, err error) {
	for {
		part, err := r.in.ReadSlice(0)
		if len(body)+len(part) > r.maxBody+1 {
			return nil, fmt.Errorf("more than %d octets", r.maxBody)
		}
		body = append(body, part...)
		if err == nil {
			return body[:len(body)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}
