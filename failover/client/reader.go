package client

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
	stepBytes      = 1 << 20 // a body is allocated as it comes, beyond this
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
		return nil, fmt.Errorf("the broker sent %s, which is no frame of STOMP", strconv.Quote(excerpt(command)))
	}
	f := frame.New(command)
	if err := r.headers(f); err != nil {
		return nil, fmt.Errorf("headers of %s: %w", command, noEOF(err))
	}
	if err := r.body(f); err != nil {
		return nil, fmt.Errorf("body of %s: %w", command, noEOF(err))
	}
	return f, nil
}

// line is the next one without its end, valid until the next read.
func (r *reader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("a line is longer than %d octets", maxLineBytes)
	}
	if err != nil && len(line) > 0 {
		return nil, noEOF(err)
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
			return fmt.Errorf("%s is no header", strconv.Quote(excerpt(string(line))))
		}
		if f.Command != frame.CONNECTED { // STOMP 1.2, "Value Encoding"
			name, value = unescape(name), unescape(value)
		}
		f.Header.Add(name, value)
	}
}

var unescaper = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\c`, ":", `\\`, `\`)

func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	return unescaper.Replace(text)
}

func (r *reader) body(f *frame.Frame) (err error) {
	length, ok := f.Header.Contains(frame.ContentLength)
	if !ok {
		f.Body, err = r.untilNUL()
		return err
	}
	n, err := strconv.ParseUint(length, 10, 63)
	switch {
	case err != nil:
		return fmt.Errorf("content-length %s is no length", strconv.Quote(excerpt(length)))
	case n > uint64(r.maxBody):
		return fmt.Errorf("%d octets are more than %d", n, r.maxBody)
	}
	if f.Body, err = r.octets(int(n)); err != nil {
		return err
	}
	if end, err := r.in.ReadByte(); err != nil || end != 0 {
		return errors.Join(err, errors.New("it does not end with NUL"))
	}
	return nil
}

func (r *reader) octets(n int) ([]byte, error) {
	if n <= stepBytes {
		body := make([]byte, n)
		_, err := io.ReadFull(r.in, body)
		return body, err
	}
	var body bytes.Buffer
	_, err := io.CopyN(&body, r.in, int64(n))
	return body.Bytes(), err
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

// noEOF tells an end inside a frame from an end between frames.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func excerpt(text string) string {
	if len(text) > 64 {
		text = text[:64] + "..."
	}
	return text
}
