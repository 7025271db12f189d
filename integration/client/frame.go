package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Frame is what the broker sent.
type Frame struct {
	Command string
	Body    []byte

	lines []byte // the header lines as they came, each with its LF
}

// Header is the value of the first header of that name, "" when there is none.
func (f *Frame) Header(name string) string {
	rest := f.lines
	for len(rest) > 0 {
		line, more, _ := bytes.Cut(rest, []byte("\n"))
		if len(line) > len(name) && line[len(name)] == ':' && string(line[:len(name)]) == name {
			return string(line[len(name)+1:])
		}
		rest = more
	}
	return ""
}

// Has says whether there is a header of that name.
func (f *Frame) Has(name string) bool {
	return bytes.HasPrefix(f.lines, []byte(name+":")) || bytes.Contains(f.lines, []byte("\n"+name+":"))
}

// Clone is a copy that outlives the next call of Next.
func (f *Frame) Clone() *Frame {
	return &Frame{Command: f.Command, Body: bytes.Clone(f.Body), lines: bytes.Clone(f.lines)}
}

func (f *Frame) String() string {
	return fmt.Sprintf("%s\n%s\n%s", f.Command, f.lines, f.Body)
}

// Error is an ERROR frame.
type Error struct{ *Frame }

func (e Error) Error() string { return fmt.Sprintf("the broker answered %s", e.Frame) }

var errNoNUL = errors.New("frame does not end with NUL")

// maxBody guards a test against a broker that invents a length.
const maxBody = 64 << 20

// readFrame reads the next frame into f, reusing its memory. EOLs before it are heart-beats; it counts them.
func readFrame(r *bufio.Reader, f *Frame, beats *int) error {
	command, err := readCommand(r, beats)
	if err != nil {
		return err
	}
	f.Command = command
	if f.lines, err = readLines(r, f.lines[:0]); err != nil {
		return fmt.Errorf("headers of %s: %w", command, err)
	}
	if f.Body, err = readBody(r, f.Body[:0], f.Header("content-length")); err != nil {
		return fmt.Errorf("body of %s: %w", command, err)
	}
	return nil
}

var commands = []string{"MESSAGE", "RECEIPT", "CONNECTED", "ERROR"}

func readCommand(r *bufio.Reader, beats *int) (string, error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(line) == 1 {
			*beats++
			continue
		}
		for _, known := range commands {
			if string(line[:len(line)-1]) == known {
				return known, nil
			}
		}
		return "", fmt.Errorf("the broker sent an unknown command %q", line)
	}
}

func readLines(r *bufio.Reader, lines []byte) ([]byte, error) {
	for {
		start := len(lines)
		line, err := r.ReadSlice('\n')
		lines = append(lines, line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.ReadSlice('\n')
			lines = append(lines, line...)
		}
		if err != nil {
			return lines, noEOF(err)
		}
		if len(lines) == start+1 {
			return lines[:start], nil
		}
	}
}

func readBody(r *bufio.Reader, body []byte, length string) ([]byte, error) {
	if length == "" {
		rest, err := r.ReadBytes(0)
		if err != nil {
			return body, noEOF(err)
		}
		return append(body, rest[:len(rest)-1]...), nil
	}
	n, err := strconv.ParseUint(length, 10, 31)
	if err != nil || n > maxBody {
		return body, fmt.Errorf("content-length %q", length)
	}
	if uint64(cap(body)) < n {
		body = make([]byte, n)
	}
	body = body[:n]
	if _, err := io.ReadFull(r, body); err != nil {
		return body, noEOF(err)
	}
	end, err := r.ReadByte()
	if err != nil {
		return body, noEOF(err)
	}
	if end != 0 {
		return body, errNoNUL
	}
	return body, nil
}

// noEOF tells an end inside a frame from an end between frames.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
